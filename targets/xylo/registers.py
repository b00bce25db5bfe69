"""Thresholds and constant drives to the chip's registers, and the registers and synapses of relays."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirhw.network import Network, Population, Quantized
from nirhw.operators import Array, frozen
from nirhw.pipeline import Context

from .knobs import depth
from .matrices import matrix_of


def with_registers(pop: Population, scale: Array, context: Context) -> Population:
    """Set threshold and bias; a spike needs v > threshold, so the integer threshold is the next whole number above."""
    hardware = context.hardware
    codes = dict(pop.codes)
    if pop.threshold is None:
        codes["threshold"] = np.full(pop.size, hardware["threshold_max"], np.int64)
    else:
        level = np.floor(depth(pop, context) * pop.threshold * scale).astype(np.int64) + 1
        codes["threshold"] = np.clip(level, hardware["threshold_min"], hardware["threshold_max"])
        _check_integrators(pop, codes, context)
        _list_linear_tail(pop, codes, context)
    wanted = context.record.constant[pop.name] * scale
    codes["v_mem_bias"] = np.rint(wanted).astype(np.int64)
    return replace(pop, codes=codes)


def _list_linear_tail(pop: Population, codes: dict[str, NDArray[np.int64]], context: Context) -> None:
    """List from where on a membrane no longer decays exponentially: below ``2 ** code`` it loses one unit a step."""
    share = float((2.0 ** codes["v_mem_decay"] / codes["threshold"]).max())
    context.deviate(
        "rounded",
        "linear-tail",
        pop.nodes,
        f"below {share:.2%} of the threshold a membrane leaks {_units(context.options.time_stretch)} a step instead of a share",
    )


def _check_integrators(pop: Population, codes: dict[str, NDArray[np.int64]], context: Context) -> None:
    assert pop.membrane is not None  # spiking
    perfect = pop.membrane.decay > 1.0 - 2.0**-15.5
    if not np.any(perfect):
        return
    lost = context.options.time_stretch
    share = float((lost / codes["threshold"][perfect]).max())
    if share > context.options.leak_bound:
        from nirhw.diagnostics import error

        raise error(
            "NIRHW-E034",
            f"an integrator leaks {share:.2%} of its threshold a step",
            pop.nodes,
            f"the slowest decay still takes {_units(lost)} a step; the bound is {context.options.leak_bound:.2%}",
            "use an LIF neuron, scale weights and thresholds apart, or raise options={'leak_bound': ...}",
        )
    context.deviate(
        "semantic", "integrator-leaks", pop.nodes, f"an integrator loses {_units(lost)} a step, {share:.3%} of its threshold"
    )


def _units(number: int) -> str:
    return "one unit" if number == 1 else f"{number} units"


def relay_registers(network: Network, pop: Population, context: Context) -> tuple[Population, dict[str, Quantized]]:
    """Return a relay with the smallest weights in proportion 2 : -1 over both matrices, and its synapses."""
    shifts, layer = context.record.shifts, context.record.layer
    ways = network.into(pop.name)
    groups = {p.name: matrix_of(p, layer) for p in ways}
    unit = 1
    for proj in ways:
        needed = shifts[groups[proj.name]] - (1 if proj.operator.matrix.max() > 0 else 0)
        unit = max(unit, 2 ** max(0, needed))
    scale = frozen(np.full(pop.size, 2.0 * unit))
    quantized = {}
    for proj in ways:
        shift = shifts[groups[proj.name]]
        integers = proj.operator.matrix.copy()
        integers.data = integers.data * (2 * unit) / 2**shift
        quantized[proj.name] = Quantized(integers.astype(np.int64), shift, scale)
    codes: dict[str, Any] = {
        **pop.codes,
        "threshold": np.full(pop.size, unit, np.int64),
        "v_mem_bias": np.zeros(pop.size, np.int64),
    }
    context.record.scale[pop.name] = scale
    return replace(pop, codes=codes), quantized
