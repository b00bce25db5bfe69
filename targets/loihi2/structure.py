"""What the chip's rules call for: delays in hops, neurons that fire in every step for biases, matrices of one sign.

Every hop takes one step, that of the host's input included, and synapses add 0 to 62 steps, so branches are aligned by synaptic
delays and need no neurons.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nirhw.calibration.gains import layers_of, tuned_drive
from nirhw.diagnostics import Diagnostic, error_of
from nirhw.network import Ints, Membrane, Network, Population, Port, Projection
from nirhw.operators import Array, Sparse, frozen
from nirhw.passes.retime import schedule, unaligned
from nirhw.pipeline import Context

from .convolution import shared_kernel
from .knobs import carried
from .packing import axon_bits, synapse_bits

#: the neuron that fires in every step
SOURCE = "bias~"
#: ends the name of the synapses of neurons onto themselves
CARRY_SUFFIX = "~carry"


@dataclass(frozen=True)
class AddBiasSources:
    """Feed constant drives from a neuron that fires in every step where a register would not do.

    A register adds to the membrane at once and from the first step of the chip.  A neuron's drive passes the synapse's filter and
    its delay starts it with the first input, so it is exact; its weights have 8 bits and a correction of 8 more.
    """

    name: str = "add-bias-sources"

    def apply(self, network: Network, context: Context) -> Network:
        """Move drives to projections of ``SOURCE``; fill ``record.constant`` with what registers keep."""
        wires: list[Projection] = []
        changed = []
        layer = layers_of(network)
        for pop in network.populations.values():
            if pop.rule == "input":
                continue
            new, found, constant = _split(pop, layer, context)
            wires.extend(found)
            changed.append(new)
            context.record.constant[pop.name] = frozen(constant)
        network = network.with_populations(changed)
        if not wires:
            return network
        context.record.models[SOURCE] = "lif"
        populations = {SOURCE: _always_firing(), **network.populations}
        return replace(network, populations=populations, projections=(*network.projections, *wires))


def _split(pop: Population, layer: Mapping[str, str], context: Context) -> tuple[Population, list[Projection], Array]:
    """Return the population without the drives that a neuron brings, those wires, and what registers add a step."""
    port, options = pop.ports[0], context.options
    choice = "register" if options.netx and options.bias == "auto" else options.bias
    gain = np.ones(pop.size) if pop.membrane is None else pop.membrane.gain
    leak = np.zeros(pop.size) if pop.membrane is None else pop.membrane.leak
    filtered = port.decay is not None and bool(np.any(port.decay))
    wires = []
    sourced = choice == "source" or (choice == "auto" and filtered)
    factor, lift = tuned_drive(pop, layer, context)
    drive, constant = factor * port.bias, leak
    if sourced and not filtered:
        reach = port.gain * gain  # without a filter the leak may take the synapse's way, too
        through = reach != 0
        drive = drive + np.divide(leak, reach, out=np.zeros(pop.size), where=through)
        constant = np.where(through, 0.0, leak)
    if sourced and np.any(drive):
        wires.append(_wire(pop, port, "bias", drive, np.zeros((), np.int64)))
    elif np.any(drive):
        area = 1.0 / (1.0 - port.decay) if filtered and port.decay is not None else 1.0
        constant = constant + gain * port.gain * drive * area
        if filtered:
            context.deviate(
                "semantic",
                "bias-skips-ramp",
                pop.nodes,
                "a bias enters the membrane at once instead of through its synapse; equal after the synapse has settled",
            )
    for k, onset in enumerate(port.onsets):
        wires.append(
            _wire(pop, port, f"onset{k}", factor * onset.drive, np.broadcast_to(onset.step, (pop.size,)).astype(np.int64))
        )
    bare = replace(port, bias=frozen(np.zeros(pop.size)), onsets=())
    return pop.with_port(bare), wires, np.asarray(constant + lift, float)


def _wire(pop: Population, port: Port, label: str, drive: Array, delay: Ints) -> Projection:
    from scipy.sparse import csr_array

    operator = Sparse((1,), pop.shape, weight=csr_array(np.asarray(drive, float)[:, None]))
    by: Any = "target" if delay.ndim else "all"
    name = f"{SOURCE}->{pop.name}.{label}"
    return Projection(name, SOURCE, pop.name, port.name, operator, frozen(delay, np.int64), by, nodes=pop.nodes)


def _always_firing() -> Population:
    zero, one = frozen(np.zeros(1)), frozen(np.ones(1))
    codes = {"du": np.array([4095]), "dv": np.array([4096]), "threshold": np.array([0])}
    codes |= {"bias_mantissa": np.array([1]), "bias_exponent": np.array([0])}
    return Population(
        SOURCE,
        (1,),
        "spiking",
        "spike",
        (Port("in", one, one),),
        Membrane(zero, one, zero, zero),
        threshold=frozen(np.full(1, 0.5)),
        v_reset=zero,
        reset="zero",
        role="bias",
        codes=codes,
    )


@dataclass(frozen=True)
class AddCarries:
    """Give neurons whose reset drops what was above the threshold a part of it back, where calibration asks for it."""

    name: str = "add-carries"

    def apply(self, network: Network, context: Context) -> Network:
        """Add a synapse of each such neuron onto itself."""
        wires = []
        for pop in network.populations.values():
            share = carried(pop, network, context)
            if share > 0.0:
                wires.append(_carry(pop, share))
                context.deviate(
                    "rounded",
                    "reset-carry",
                    pop.nodes,
                    f"a spike gives {share:.3g} thresholds back, in place of what the reset drops",
                )
        return replace(network, projections=(*network.projections, *wires)) if wires else network


def _carry(pop: Population, share: float) -> Projection:
    """Return the synapse that lifts a membrane without leak by ``share`` thresholds once its current has faded."""
    from scipy.sparse import diags_array

    port = pop.ports[0]
    assert pop.threshold is not None and pop.membrane is not None  # it has a reset
    kept = 0.0 if port.decay is None else port.decay
    weight = share * pop.threshold * (1.0 - kept) / (port.gain * pop.membrane.gain)
    operator = Sparse(pop.shape, pop.shape, weight=diags_array(weight).tocsr())
    delay = frozen(np.ones((), np.int64), np.int64)
    return Projection(
        f"{pop.name}{CARRY_SUFFIX}", pop.name, pop.name, port.name, operator, delay, recurrent=True, nodes=pop.nodes
    )


@dataclass(frozen=True)
class AlignDelays:
    """Turn delays into the chip's own: one step a hop, the rest in synapses; branches that meet again stay aligned."""

    name: str = "align-delays"

    def apply(self, network: Network, context: Context) -> Network:
        """Set delays; fill ``record.lag`` and ``record.delays``.

        Raises:
            LegalizeError: NIRHW-E031 where a synapse cannot wait as long.
        """
        record = context.record
        plan = schedule(network, hop)
        extra = dict(plan.extra)
        if context.options.align == "never":
            for name, steps in unaligned(network, hop).items():
                if np.any(extra[name] > steps) and not name.startswith(SOURCE):
                    proj = next(p for p in network.projections if p.name == name)
                    context.deviate(
                        "retimed",
                        "branch-early",
                        (*network.populations[proj.source].nodes, *network.populations[proj.target].nodes),
                        f"spikes of one branch arrive {int(np.max(extra[name] - steps))} step(s) before those of the longest one",
                    )
                    extra[name] = steps
        record.lag.update(plan.lag)
        most, found = context.hardware["delay_max"], []
        for proj in network.projections:
            longest = int(np.max(extra[proj.name], initial=0))
            if longest > most:
                entry = context.hardware.limits["delay_max"]
                found.append(
                    Diagnostic(
                        "NIRHW-E031",
                        f"a synapse would wait {longest} steps, the longest delay is {most}",
                        proj.nodes or (proj.target,),
                        f"limit delay_max = {most} ({entry.certainty}: {entry.source})",
                        "enlarge dt, shorten the delay, or put a relay population in its way",
                    )
                )
            if longest or (proj.max_delay and not proj.recurrent):
                row = {"projection": proj.name, "wanted_steps": proj.max_delay, "synaptic_steps": longest}
                record.delays.append({**row, "relay_stages": 0, "shared_relay_neurons": 0})
        if found:
            raise error_of(found)
        for name, constant in record.constant.items():
            lag, pop = record.lag[name], network.populations[name]
            if lag and np.any(constant):
                context.deviate(
                    "retimed",
                    "bias-early",
                    pop.nodes,
                    f"registers add from the chip's first step, {lag} before the first input arrives; bias='source' waits",
                )
        aligned = tuple(replace(p, delay=frozen(extra[p.name] + hop(p), np.int64)) for p in network.projections)
        return replace(network, projections=aligned)


def hop(projection: Projection) -> int:
    """Return the steps from a spike to its arrival: always 1, from the host's input, too."""
    return 1


@dataclass(frozen=True)
class SplitSigns:
    """Make two projections of one whose weights have both signs: each then has a bit more, and an exponent of its own.

    Under "auto" only where all synapses of the population still fit one core.  Shared kernels stay whole; 1-bit weights leave no
    choice.
    """

    name: str = "split-signs"

    def apply(self, network: Network, context: Context) -> Network:
        """Return the network with projections of one sign each."""
        options = context.options
        forced = options.signs == "split" or options.weight_bits == 1
        joint = options.signs == "joint" or (options.signs == "auto" and options.netx)
        if options.conversion == "lava" or (joint and not forced):
            return network
        parts: list[Projection] = []
        for name in network.populations:
            ways = network.into(name)
            split: list[Projection] = []
            for proj in ways:
                scale = context.record.weight_scale[name, proj.port]
                split += [proj] if _is_shared(proj, context) else _by_sign(proj, scale)
            parts.extend(split if forced or fits_one_core(split, context) else ways)
        return replace(network, projections=tuple(parts))


def _is_shared(proj: Projection, context: Context) -> bool:
    """Whether a projection may stay a kernel; of both signs it needs more than a bit."""
    options = context.options
    return options.share_kernels and options.weight_bits > 1 and shared_kernel(proj.operator) is not None


def _by_sign(proj: Projection, scale: Array) -> list[Projection]:
    """Return the parts of a projection by the sign of its weights times ``scale`` of the target."""
    matrix = proj.operator.matrix
    signed = matrix.data * np.repeat(scale, np.diff(matrix.indptr))
    if not np.any(signed > 0) or not np.any(signed < 0):
        return [proj]
    parts = []
    for suffix, chosen in (("+", signed > 0), ("-", signed < 0)):
        values = matrix.copy()
        values.data = np.where(chosen, matrix.data, 0.0)
        values.eliminate_zeros()
        operator = Sparse(proj.operator.in_shape, proj.operator.out_shape, weight=values)
        parts.append(replace(proj, name=proj.name + suffix, operator=operator))
    return parts


def fits_one_core(ways: list[Projection], context: Context) -> bool:
    """Whether sparse synapses of all ``ways`` into a population fit one core, if no weight becomes zero."""
    hardware, bits, axons = context.hardware, 0, 0
    for proj in ways:
        matrix = proj.operator.matrix
        count = np.bincount(matrix.indices)
        count = count[count > 0].astype(np.int64)
        width = synapse_bits(context.options.weight_bits, proj.max_delay > 1, matrix.shape[0], True, hardware)
        bits, axons = bits + int(axon_bits(count, width, hardware).sum()), axons + count.size
    return bits <= 8 * hardware["synaptic_bytes_per_core"] and axons <= hardware["in_axons_per_core"]
