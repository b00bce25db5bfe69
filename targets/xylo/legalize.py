"""Which networks Xylo can hold: every finding, each with its node, limit and mend; and the layer of every population."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nirhw.diagnostics import Diagnostic
from nirhw.limits import over_limit
from nirhw.network import Network, Population
from nirhw.pipeline import Context

from .stretch import part_of

#: time constants beyond this many steps count as an integrator: the slowest code is 2 ** 15
SLOWEST_STEPS = 2.0**15.5


@dataclass(frozen=True)
class AssignLayers:
    """Put every population into the input, hidden or output layer of the chip.

    Output neurons take spikes of hidden neurons only, through one synapse, and feed nothing; every other population is hidden.
    """

    name: str = "assign-layers"

    def apply(self, network: Network, context: Context) -> Network:
        """Fill ``record.layer``; the network stays as it is."""
        layers = context.record.layer
        for name, pop in network.populations.items():
            layers[name] = "input" if pop.rule == "input" else "hidden"
        for name in dict.fromkeys(network.outputs.values()):
            pop = network.populations[name]
            ways = network.into(name)
            hidden_only = all(layers[w.source] == "hidden" and w.source != name for w in ways)
            single = len(pop.ports) <= context.hardware["output_synapses"]
            if ways and hidden_only and single and not network.out_of(name) and pop.rule in ("spiking", "analog"):
                layers[name] = "output"
        return network


@dataclass(frozen=True)
class CheckRules:
    """Refuse what the chip cannot express, with all findings at once; list what it does by another rule."""

    name: str = "check-rules"

    def apply(self, network: Network, context: Context) -> Network:
        """Add findings and ledger entries.

        Raises:
            LegalizeError: NIRHW-E030, E031, E032 with every finding.
        """
        for pop in network.populations.values():
            context.findings.extend(_population_findings(network, pop, context))
        context.findings.extend(_size_findings(network, context))
        context.stop_on_errors()
        _list_semantics(network, context)
        return network


def _population_findings(network: Network, pop: Population, context: Context) -> list[Diagnostic]:
    found: list[Diagnostic] = []
    hardware = context.hardware

    def refuse(code: str, what: str, why: str = "", fix: str = "") -> None:
        found.append(Diagnostic(code, what, pop.nodes or (pop.name,), why, fix))

    if pop.rule == "sum":
        refuse(
            "NIRHW-E030",
            "a weighted sum ends outside a neuron",
            "Xylo computes in neurons only; nothing adds up analog values",
            "end the network with a LIF, CubaLIF, LI or CubaLI layer; apply a last linear layer on the host",
        )
    if pop.rule == "analog" and network.out_of(pop.name):
        refuse(
            "NIRHW-E030",
            "an analog population feeds others",
            "Xylo's neurons send spikes only; filters in a row fit one synapse and one membrane at most",
            "put a threshold behind it, or merge it with the neuron that it feeds",
        )
    if len(pop.ports) > hardware["hidden_synapses"]:
        refuse(
            "NIRHW-E031",
            f"{len(pop.ports)} synapses with own time constants end in one neuron, {hardware['hidden_synapses']} exist",
            hardware.limits["hidden_synapses"].source,
            "give filters equal time constants, or compile for a variant with two synapses",
        )
    if pop.threshold is not None and np.any(pop.threshold < 0):
        refuse("NIRHW-E030", "a threshold is negative", "such a neuron fires without end on the chip", "use a positive threshold")
    if pop.membrane is not None and np.any(pop.membrane.gain == 0):
        refuse(
            "NIRHW-E030",
            "a membrane has gain 0",
            "nothing reaches its potential",
            "remove the neuron, or give r a value",
        )
    if any(port.onsets for port in pop.ports):
        refuse(
            "NIRHW-E030",
            "a bias stands behind a delay",
            "the chip's constant drives begin with the first step",
            "move the bias behind the Delay node",
        )
    for port in pop.ports:
        if port.decay is not None and np.any(part_of(port.decay, context.options.time_stretch) > 1.0 - 1.0 / SLOWEST_STEPS):
            refuse(
                "NIRHW-E032",
                f"a synaptic time constant is longer than {SLOWEST_STEPS:.0f} chip steps",
                f"the slowest code is {hardware['decay_max']}: {2 ** hardware['decay_max']} steps",
                "use a larger dt or a shorter time constant",
            )
    return found


def _size_findings(network: Network, context: Context) -> list[Diagnostic]:
    hardware, layers = context.hardware, context.record.layer
    found = []
    for layer, limit, unit in (
        ("input", "input_channels", "input channels"),
        ("hidden", "hidden_neurons", "hidden neurons"),
        ("output", "output_neurons", "output neurons"),
    ):
        members = [p for p in network.populations.values() if layers[p.name] == layer]
        if layer == "output":  # hidden populations that are outputs take output neurons as relays, too
            relayed = {network.populations[n].name: network.populations[n] for n in network.outputs.values()}
            members += [p for p in relayed.values() if layers[p.name] == "hidden" and p.rule == "spiking"]
        used = sum(p.size for p in members)
        if used > hardware[limit]:
            found.append(over_limit(hardware, limit, used, unit, [p.name for p in members]))
    return found


def _list_semantics(network: Network, context: Context) -> None:
    for pop in network.populations.values():
        if pop.rule == "spiking" and pop.reset != "subtract":
            kind = {"value": "set to v_reset", "zero": "set to 0", "none": "no reset"}[pop.reset]
            context.deviate(
                "semantic",
                "reset-subtract",
                pop.nodes,
                f"Xylo subtracts the threshold at a spike; the network asks for: {kind}",
            )
