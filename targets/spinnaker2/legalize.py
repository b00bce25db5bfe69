"""Which networks SpiNNaker2 can hold: every finding, each with its node, reason and mend; and what it does by another rule."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from nirhw.diagnostics import Diagnostic
from nirhw.network import Network, Population
from nirhw.pipeline import Context

from .dead import dead_pes


@dataclass(frozen=True)
class CheckRules:
    """Refuse what the chip cannot express, with all findings at once; list what it does by another rule."""

    name: str = "check-rules"

    def apply(self, network: Network, context: Context) -> Network:
        """Add findings and ledger entries.

        Raises:
            LegalizeError: NIRHW-E030 with every finding.
            UsageError: NIRHW-E003 where a dead PE of the description does not exist.
        """
        dead_pes(context.hardware)
        for pop in network.populations.values():
            context.findings.extend(_findings(network, pop))
            if context.options.vendor:
                context.findings.extend(_vendor_findings(network, pop))
        if context.options.vendor and network.integrator == "exponential":
            context.findings.append(
                Diagnostic(
                    "NIRHW-E030",
                    "py-spinnaker2's converter has no integrator of this kind",
                    why="it keeps 1 - g and adds g: 'euler' and 'exact' here; 'exponential' takes them apart",
                    fix="compile with integrator='exact' or 'euler', or without conversion='vendor'",
                )
            )
        context.stop_on_errors()
        for pop in network.populations.values():
            _list_semantics(network, pop, context)
        return network


def _refusal(pop: Population, what: str, why: str, fix: str) -> Diagnostic:
    return Diagnostic("NIRHW-E030", what, pop.nodes or (pop.name,), why, fix)


def _findings(network: Network, pop: Population) -> Iterator[Diagnostic]:
    feeds = bool(network.out_of(pop.name))
    if pop.rule == "sum" and feeds:
        yield _refusal(
            pop,
            "a weighted sum feeds other nodes and cannot be dissolved",
            "neurons send spikes only; nothing carries analog values from PE to PE",
            "put a neuron behind the sum, or join the linear maps",
        )
    if pop.rule == "analog" and feeds:
        yield _refusal(
            pop,
            "an analog population feeds others",
            "neurons send spikes only; a neuron has one synaptic filter and one membrane",
            "put a threshold behind it, or merge it with the neuron that it feeds",
        )


def _vendor_findings(network: Network, pop: Population) -> Iterator[Diagnostic]:
    fix = "compile without conversion='vendor'"
    if pop.rule in ("analog", "sum"):
        yield _refusal(pop, "py-spinnaker2's converter takes no analog readout", "its nodes are LIF, CubaLIF and IF", fix)
    if pop.rule == "spiking" and pop.reset == "none":
        yield _refusal(pop, "py-spinnaker2's converter takes no Threshold", "its nodes are LIF, CubaLIF and IF", fix)
    if len(pop.ports) > 1:
        yield _refusal(
            pop, "py-spinnaker2's converter takes one synaptic filter a neuron", "its nodes are LIF, CubaLIF and IF", fix
        )
    late = any(np.any(p.delay - (1 if p.recurrent else 0) > 0) for p in network.into(pop.name))
    if late or any(port.onsets for port in pop.ports):
        yield _refusal(pop, "py-spinnaker2's converter takes no Delay nodes", "delays of the network would be lost", fix)


def _list_semantics(network: Network, pop: Population, context: Context) -> None:
    membrane = pop.membrane
    if pop.rule != "spiking" or membrane is None:
        return
    if pop.reset == "none" and np.any(membrane.decay):
        context.deviate(
            "semantic",
            "reset-subtract",
            pop.nodes,
            "a neuron resets at every spike, by subtraction here; the network asks for: no reset",
        )
    if not context.options.vendor:
        return
    if pop.reset == "value" and np.any(pop.v_reset):
        context.deviate(
            "semantic", "reset-zero", pop.nodes, "py-spinnaker2's converter resets to 0; the network asks for v_reset"
        )
    if network.dt != 1.0 and np.any(np.isinf(membrane.tau)):
        context.deviate(
            "semantic",
            "integrator-without-dt",
            pop.nodes,
            f"py-spinnaker2's converter leaves dt out of IF: a spike counts 1 / dt = {1.0 / network.dt:g} times as much",
        )
