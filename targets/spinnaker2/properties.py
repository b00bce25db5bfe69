"""What SpiNNaker2 does otherwise than a network, one property at a time and with nothing that makes up for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from nirhw.network import Ints, Network, Population
from nirhw.operators import Chain, Operator, frozen
from nirhw.passes.retime import unaligned
from nirhw.pipeline import Context
from nirhw.properties import (
    Property,
    bias_at_once,
    changed,
    latency,
    network_populations,
    per_unit,
    resets,
    skips_ramp,
    weights,
)

from .config import DELAYED
from .structure import hop


def properties(network: Network, lowered: Network, context: Context) -> tuple[Property, ...]:
    """Return the chip's properties for a network; see :class:`nirhw.pipeline.Target`."""
    vendor, cut = context.options.vendor, ", cut towards zero" if context.options.truncates else ""
    members = network_populations(network)
    spiking = [p for p in members if p.rule == "spiking"]
    unitless = [p for p in members if vendor and network.dt != 1.0 and np.any(np.isinf(p.membrane.tau))]  # type: ignore[union-attr]
    properties = [
        Property(
            "8-bit-weights",
            f"weights are integers of 7 bits and a sign{cut}",
            weights(network, lowered, _weights(lowered, context, delayed=False)),
        ),
        Property(
            "4-bit-weights",
            f"weights of synapses with delays are integers of 4 bits and a sign{cut}",
            weights(network, lowered, _weights(lowered, context, delayed=True)),
        ),
        Property(
            "soft-reset",
            "a neuron resets at each spike: the threshold is taken off",
            resets([p for p in spiking if p.reset == "none" and np.any(p.membrane.decay)], "subtract"),  # type: ignore[union-attr]
        ),
        Property(
            "bias-offset",
            "a constant drive of the chip acts at once and not through the synapse",
            bias_at_once(skips_ramp(network)),
        ),
    ]
    if vendor:
        properties += [
            Property(
                "zero-reset",
                "py-spinnaker2's converter resets to 0, whatever v_reset is",
                resets([p for p in spiking if p.reset == "value" and np.any(p.v_reset)], "zero"),
            ),
            Property("if-without-dt", "py-spinnaker2's converter leaves dt out of IF", changed(unitless, _without(network.dt))),
        ]
    return (*properties, latency(network, context, unaligned(network, hop), hop))


def _without(dt: float) -> Any:
    def change(pop: Population) -> Population:
        assert pop.membrane is not None  # the caller's condition
        gain = np.where(np.isinf(pop.membrane.tau), pop.membrane.gain / dt, pop.membrane.gain)
        return replace(pop, membrane=replace(pop.membrane, gain=frozen(gain)))

    return change


def _weights(lowered: Network, context: Context, delayed: bool) -> Mapping[str, Any]:
    """Return the weights that the integers stand for, of synapses with delay fields or of those without."""
    record, found = context.record, {}
    for proj in lowered.projections:
        pop = lowered.populations[proj.target]
        application = record.application[pop.name]
        if pop.role != "network" or lowered.populations[proj.source].role == "bias" or (application in DELAYED) != delayed:
            continue
        unit = record.scale[pop.name] * record.factor[pop.name, proj.port]
        if proj.quantized is not None:
            found[proj.name] = per_unit(proj.quantized.weight, unit)
        else:
            found[proj.name] = per_unit(_matrix(record.kernels[proj.name], proj.operator), unit)
    return found


def _matrix(kernel: Ints, operator: Operator) -> Any:
    """Return the integers ``[in_channel, out_channel, row, column]`` of a kernel as matrix ``[post, pre]``."""
    parts = operator.parts if isinstance(operator, Chain) else (operator,)
    *pools, convolution = (p for p in parts if not p.is_identity)
    matrix = replace(convolution, weight=frozen(kernel.swapaxes(0, 1))).matrix  # type: ignore[call-arg]  # kernel_of took it for one
    for pool in pools:  # an average's divisor is in the kernel
        matrix = matrix @ replace(pool, average=False).matrix  # type: ignore[call-arg]
    return matrix
