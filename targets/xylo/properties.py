"""What Xylo does otherwise than a network, one property at a time and with nothing that makes up for it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from nirhw.network import Network, Population, Port, Projection
from nirhw.operators import Array, frozen
from nirhw.passes.retime import unaligned
from nirhw.pipeline import Context
from nirhw.properties import (
    Property,
    bias_at_once,
    can_burst,
    changed,
    constant_drive,
    decays,
    filtering,
    latency,
    network_populations,
    per_unit,
    resets,
    weights,
)

from .fit import SHORTEST_SYNAPSE, area_of, nearest_code
from .kernels import SECOND, kept
from .knobs import gains
from .stretch import part_of, sum_over
from .structure import hop

#: what the shortest synapse keeps of its current a step
SHORTEST = 1.0 - 2.0**-SHORTEST_SYNAPSE


def properties(network: Network, lowered: Network, context: Context) -> tuple[Property, ...]:
    """Return the chip's properties for a network; see :class:`nirhw.pipeline.Target`.

    With time stretch they are what they amount to in a step of the network: what a state keeps in a chip step, to the power of
    the steps; up to so many times the spikes.
    """
    layer, hardware, steps = context.record.layer, context.hardware, context.options.time_stretch
    spiking = [p for p in network.populations.values() if p.rule == "spiking"]
    members = network_populations(network)
    membrane = {p.name: kept(lowered.populations[p.name].codes["v_mem_decay"]) ** steps for p in members}
    port = {(p.name, way.name): _one_synapse(way, steps, hardware["decay_max"]) for p in members for way in p.ports}
    bursting = {node for d in context.deviations if d.rule == "several-spikes" for node in d.nodes}
    repeating = [p for p in spiking if not bursting.isdisjoint(p.nodes)]
    burst, extra = hardware["hidden_spikes"], unaligned(network, lambda p: hop(p, layer))
    often = {p.name: steps * (burst if layer[p.name] == "hidden" else 1) for p in repeating}
    hops = latency(network, context, extra, lambda p: hop(p, layer))
    return (
        Property("decay-rounding", "time constants are powers of two of dt", decays(network, membrane, port)),
        Property(
            "decay-before-use",
            "a synapse decays before its current is used, so an event counts less",
            changed([p for p in members if any(np.any(filtering(way)) for way in p.ports)], partial(_decayed_first, steps)),
        ),
        Property(
            "no-instant-synapse",
            "a synapse that should not filter passes half of its current, then half of the rest",
            changed([p for p in members if not all(np.all(filtering(way)) for way in p.ports)], partial(_filtered, steps)),
        ),
        Property(
            "several-spikes",
            f"a hidden neuron sends up to {burst} spikes a step, as often as its threshold fits"
            + (f", and a step of the network is {steps} of the chip" if steps > 1 else ""),
            changed([p for p in repeating if can_burst(p)], lambda pop: replace(pop, burst=often[pop.name])),
        ),
        Property(
            "soft-reset",
            "a spike takes the threshold off, whatever reset the network asks for",
            resets([p for p in spiking if p.reset != "subtract"], "subtract"),
        ),
        Property(
            "8-bit-weights",
            "weights are 8-bit integers, one shift a matrix",
            weights(network, lowered, _weights(lowered, context)),
        ),
        Property(
            "bias-registers",
            "biases are 8-bit registers, clipped, that act at once and not through the synapse",
            bias_at_once({p.name: _registers(p, context) for p in members if np.any(constant_drive(p))}),
        ),
        # parts of a step of the network are delays that its floats do not have
        hops if steps == 1 else replace(hops, meaning=f"{hops.meaning}; not shown with time stretch", rewrite=None, lag={}),
    )


def _one_synapse(port: Port, steps: int, slowest: int) -> Array:
    """Return what one synapse keeps in the place of a filter in so many chip steps, ``(size,)``; 0 where nothing filters."""
    if port.decay is None:
        return np.zeros(port.gain.shape)
    code = nearest_code(area_of(port.decay ** (1.0 / steps)), SHORTEST_SYNAPSE, slowest)
    return np.asarray(np.where(filtering(port), kept(code) ** steps, 0.0))


def _decayed_first(steps: int, pop: Population) -> Population:
    def weaker(port: Port) -> Port:
        if port.decay is None:
            return port
        return replace(port, gain=frozen(np.where(filtering(port), port.gain * part_of(port.decay, steps), port.gain)))

    return replace(pop, ports=tuple(weaker(p) for p in pop.ports))


def _filtered(steps: int, pop: Population) -> Population:
    shortest = SHORTEST**steps

    def slower(port: Port) -> Port:
        kept = filtering(port)
        decay = shortest if port.decay is None else np.where(kept, port.decay, shortest)
        gain = np.where(kept, port.gain, port.gain * (1.0 - shortest))
        return replace(port, gain=frozen(gain), decay=frozen(np.broadcast_to(decay, gain.shape)))

    return replace(pop, ports=tuple(slower(p) for p in pop.ports))


def _weights(lowered: Network, context: Context) -> dict[str, object]:
    """Return the weights that the chip's integers stand for, without the gains that make up for other properties."""
    record, quiet = context.record, replace(context, deviations=[])
    own = replace(lowered, projections=tuple(p for p in lowered.projections if lowered.populations[p.source].role != "bias"))
    found = {}
    for proj in own.projections:
        pop = own.populations[proj.target]
        if proj.quantized is not None and pop.role == "network":
            unit = proj.quantized.scale * record.factor[pop.name, proj.port]
            found[proj.name] = per_unit(proj.quantized.weight, unit, proj.quantized.shift).multiply(
                _share(proj, context)[:, None] / _gain(proj, own, unit, quiet)
            )
    return found


def _share(proj: Projection, context: Context) -> Array:
    """Return the part of a connection that a projection is, ``(post,)``: two synapses may stand for one."""
    split = context.record.splits.get((proj.target, proj.port.removesuffix(SECOND)))
    return np.ones(proj.operator.matrix.shape[0]) if split is None else split.shares[int(proj.port.endswith(SECOND))]


def _gain(proj: Projection, network: Network, unit: Array, context: Context) -> Array:
    return np.broadcast_to(
        gains(proj, proj.operator.matrix.toarray() * unit[:, None], network, context), proj.operator.matrix.shape
    )


def _registers(pop: Population, context: Context) -> Array:
    """Return what a register of the neuron's own can add to its membrane in a step of the network, in the network's units."""
    hardware, scale = context.hardware, context.record.scale[pop.name]
    assert pop.membrane is not None  # network_populations
    often = sum_over(pop.membrane.decay, context.options.time_stretch)
    register = np.clip(np.rint(constant_drive(pop) / often * scale), hardware["bias_min"], hardware["bias_max"])
    return np.asarray(register / scale * often)
