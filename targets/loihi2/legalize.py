"""Which networks Loihi 2 can hold: exact rewrites first, then every finding, each with its node, limit and mend."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from nirhw.diagnostics import Diagnostic
from nirhw.network import Network, Onset, Population, Port, Projection
from nirhw.operators import Scaling, chain, frozen
from nirhw.pipeline import Context

#: a synapse slower than this many steps is nearer to no decay at all than to the slowest code
SLOWEST_STEPS = 8192.0


@dataclass(frozen=True)
class MergePorts:
    """Make one port of ports with the same decay: a neuron has one current.  Exact."""

    name: str = "merge-ports"

    def apply(self, network: Network, context: Context) -> Network:
        """Return the network with one port for each distinct decay of a population."""
        for pop in network.populations.values():
            if len(pop.ports) > 1:
                network = _with_merged_ports(network, pop)
        return network


def _same_decay(a: Port, b: Port) -> bool:
    first, second = (np.zeros(p.gain.shape) if p.decay is None else p.decay for p in (a, b))
    return bool(np.array_equal(first, second))


def _with_merged_ports(network: Network, pop: Population) -> Network:
    kept: list[Port] = []
    renamed: dict[str, str] = {}
    for port in pop.ports:
        first = next((p for p in kept if _same_decay(p, port)), None)
        if first is None:
            kept.append(port)
            continue
        renamed[port.name] = first.name
        unified, added = _at_unit_gain(first), _at_unit_gain(port)
        merged = replace(
            unified,
            bias=frozen(unified.bias + added.bias),
            onsets=(*unified.onsets, *added.onsets),
            nodes=(*first.nodes, *port.nodes),
        )
        kept[kept.index(first)] = merged
    if not renamed:
        return network
    gains = {p.name: p.gain for p in pop.ports}
    touched = {*renamed, *renamed.values()}

    def moved(proj: Projection) -> Projection:
        if proj.target != pop.name or proj.port not in touched:
            return proj
        operator, gain = proj.operator, gains[proj.port]
        if np.any(gain != 1.0):
            operator = chain([operator, Scaling(operator.out_shape, operator.out_shape, factor=gain)])
        return replace(proj, port=renamed.get(proj.port, proj.port), operator=operator)

    changed = network.with_populations([replace(pop, ports=tuple(kept))])
    return replace(changed, projections=tuple(moved(p) for p in network.projections))


def _at_unit_gain(port: Port) -> Port:
    onsets = tuple(Onset(o.step, frozen(o.drive * port.gain)) for o in port.onsets)
    return replace(port, gain=frozen(np.ones(port.gain.shape)), bias=frozen(port.bias * port.gain), onsets=onsets)


@dataclass(frozen=True)
class ShiftResets:
    """Measure the membrane from its reset value, so that the chip's reset to zero is the network's.

    With ``x = v - v_reset`` the threshold falls by ``v_reset`` and ``v_reset * (1 - decay)`` leaves the constant drive.  Exact,
    but for the start: the network's membrane starts at 0, the chip's at the reset value.
    """

    name: str = "shift-resets"

    def apply(self, network: Network, context: Context) -> Network:
        """Return the network in which every reset to a value is one to zero."""
        changed = []
        for pop in network.populations.values():
            if pop.rule != "spiking" or pop.reset != "value":
                continue
            assert pop.v_reset is not None and pop.threshold is not None and pop.membrane is not None
            zero = frozen(np.zeros(pop.size))
            if not np.any(pop.v_reset):
                changed.append(replace(pop, reset="zero"))
                continue
            leak = frozen(pop.membrane.leak - pop.v_reset * (1.0 - pop.membrane.decay))
            membrane, threshold = replace(pop.membrane, leak=leak), frozen(pop.threshold - pop.v_reset)
            changed.append(replace(pop, membrane=membrane, threshold=threshold, v_reset=zero, reset="zero"))
            context.deviate(
                "semantic",
                "starts-at-reset",
                pop.nodes,
                "the membrane starts at v_reset instead of 0; equal after the first spike, or once the start is forgotten",
            )
        return network.with_populations(changed)


@dataclass(frozen=True)
class CheckRules:
    """Refuse what the chip cannot express, with all findings at once; list what it does by another rule."""

    name: str = "check-rules"

    def apply(self, network: Network, context: Context) -> Network:
        """Add findings and ledger entries; fill ``record.models``.

        Raises:
            LegalizeError: NIRHW-E030, E031, E032 with every finding; UsageError: NIRHW-E002 for more chips than there are.
        """
        for pop in network.populations.values():
            context.findings.extend(_population_findings(network, pop, context))
        context.findings.extend(_board_findings(network, context))
        context.stop_on_errors()
        for pop in network.populations.values():
            context.record.models[pop.name] = _model_of(pop, context)
        return network


def _population_findings(network: Network, pop: Population, context: Context) -> list[Diagnostic]:
    found: list[Diagnostic] = []

    def refuse(code: str, what: str, why: str = "", fix: str = "") -> None:
        found.append(Diagnostic(code, what, pop.nodes or (pop.name,), why, fix))

    if pop.rule in ("analog", "sum") and network.out_of(pop.name):
        kind = "an analog population" if pop.rule == "analog" else "a weighted sum"
        refuse(
            "NIRHW-E030",
            f"{kind} feeds others",
            "lava's neurons with decays send spikes; a state is read by the host",
            "put a threshold behind it, or merge it with the neuron that it feeds",
        )
    if len(pop.ports) > 1:
        refuse(
            "NIRHW-E031",
            f"{len(pop.ports)} synapses with own time constants end in one neuron, which has one current",
            "lava-nc 0.10.0, proc/lif/models.py: u is one register",
            "give filters equal time constants, or put a spiking neuron behind one of them",
        )
    if pop.threshold is not None and np.any(pop.threshold < 0):
        refuse(
            "NIRHW-E030",
            "a threshold lies below the reset value",
            "such a neuron fires without end",
            "use a threshold above v_reset",
        )
    for port in pop.ports:
        if port.decay is not None and np.any(port.decay > 1.0 - 1.0 / SLOWEST_STEPS):
            refuse(
                "NIRHW-E032",
                f"a synaptic time constant is longer than {SLOWEST_STEPS:.0f} steps",
                "the slowest code loses 1/4096 a step, and a current that never decays overflows",
                "use a larger dt or a shorter time constant",
            )
    return found


def _board_findings(network: Network, context: Context) -> list[Diagnostic]:
    hardware, found = context.hardware, []
    if context.options.chips > hardware["chips"]:
        found.append(
            Diagnostic(
                "NIRHW-E002",
                f"option 'chips' is {context.options.chips}, {hardware.title} has {hardware['chips']}",
                why=hardware.limits["chips"].source,
            )
        )
    cells = {p.name: p.size for p in network.populations.values() if p.rule != "input"}
    chips = chips_of(context)
    most = chips * hardware["cores_per_chip"] * hardware["neurons_per_core"]
    if sum(cells.values()) > most:
        entry = hardware.limits["neurons_per_core"]
        found.append(
            Diagnostic(
                "NIRHW-E031",
                f"{sum(cells.values())} neurons are needed, {chips} chip(s) have {most} ({sum(cells.values()) - most} too many)",
                tuple(cells),
                f"limit neurons_per_core = {int(entry.value)} ({entry.certainty}: {entry.source})",
                "train with fewer neurons, or choose a board with more chips",
            )
        )
    return found


def chips_of(context: Context) -> int:
    """Return how many chips may be used."""
    return int(context.options.chips or context.hardware["chips"])


def _model_of(pop: Population, context: Context) -> str:
    """Return the neuron program of a population; list where its reset is another than the network's."""
    if pop.rule == "input":
        return "input"
    if pop.rule != "spiking" or pop.reset == "zero":
        return "lif"
    assert pop.membrane is not None
    if not np.any(pop.membrane.decay):
        return "lif"  # nothing is kept over a step, so no reset matters
    if pop.reset == "subtract" and context.options.soft_reset:
        return "lif_subtract"
    kind = {"subtract": "take the threshold off", "none": "no reset"}[pop.reset]
    context.deviate("semantic", "reset-zero", pop.nodes, f"lava's LIF falls to zero at a spike; the network asks for: {kind}")
    return "lif"
