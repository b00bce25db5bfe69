"""What Loihi 2 does otherwise than a network, one property at a time and with nothing that makes up for it."""

from __future__ import annotations

from typing import Any

import numpy as np

from nirhw.network import Ints, Network
from nirhw.operators import Array, Convolution, frozen
from nirhw.passes.retime import schedule, unaligned
from nirhw.pipeline import Context
from nirhw.properties import (
    Property,
    bias_at_once,
    decays,
    filtering,
    latency,
    network_populations,
    per_unit,
    resets,
    skips_ramp,
    weights,
)

from .config import Kernel
from .formats import keeps
from .legalize import MergePorts
from .structure import hop


def properties(network: Network, lowered: Network, context: Context) -> tuple[Property, ...]:
    """Return the chip's properties for a network; see :class:`nirhw.pipeline.Target`."""
    members = network_populations(network)
    codes = {p.name: lowered.populations[p.name].codes for p in members}
    kept = {name: keeps(c["du"], c["dv"]) for name, c in codes.items()}
    port = {(p.name, way.name): np.where(filtering(way), kept[p.name][0], 0.0) for p in members for way in p.ports}
    hard = [p for p in members if p.rule == "spiking" and context.record.models[p.name] == "lif"]
    hard = [p for p in hard if p.reset in ("subtract", "none") and np.any(p.membrane.decay)]  # type: ignore[union-attr]
    bits = context.options.weight_bits
    return (
        Property(
            "decay-codes",
            f"decays have 12 bits, and a population at most {context.options.groups} pairs of them",
            decays(network, {name: v for name, (_, v) in kept.items()}, port),
        ),
        Property(
            f"{bits}-bit-weights",
            f"weights are {bits}-bit integers, one exponent a matrix",
            weights(network, lowered, _weights(lowered, context), MergePorts()),
        ),
        Property("hard-reset", "a spike sets the membrane to zero", resets(hard, "zero")),
        Property(
            "bias-registers",
            "a bias register acts at once and not through the synapse",
            bias_at_once(skips_ramp(network)),
        ),
        latency(network, context, _extra(network), hop),
    )


def _extra(network: Network) -> dict[str, Ints]:
    """Return steps beyond the hop where branches are not aligned: those that would have to wait do not."""
    plan, asked = schedule(network, hop), unaligned(network, hop)
    return {n: asked[n] if np.any(steps > asked[n]) else steps for n, steps in plan.extra.items()}


def _weights(lowered: Network, context: Context) -> dict[str, Any]:
    record, found = context.record, {}
    for proj in lowered.projections:
        pop, quantized = lowered.populations[proj.target], proj.quantized
        if quantized is None or pop.role != "network" or lowered.populations[proj.source].role == "bias":
            continue
        unit: Array = quantized.scale * record.weight_scale[pop.name, proj.port]
        integers = _matrix(quantized.weight) if isinstance(quantized.weight, Kernel) else quantized.weight
        found[proj.name] = per_unit(integers, unit, quantized.shift)
    return found


def _matrix(kernel: Kernel) -> Any:
    """Return a shared kernel as matrix ``[post, pre]`` of its integers."""
    pads = tuple((p, p) for p in kernel.padding)
    convolution = Convolution(
        kernel.in_shape,
        kernel.out_shape,
        weight=frozen(kernel.weight),
        stride=kernel.stride,
        pads=pads,
        dilation=kernel.dilation,
        groups=kernel.groups,
    )
    return convolution.matrix
