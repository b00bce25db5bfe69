"""Which networks Speck can hold: every finding, each with its node, limit and mend."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nirhw.diagnostics import Diagnostic
from nirhw.network import Network, Population
from nirhw.pipeline import Context


@dataclass(frozen=True)
class CheckRules:
    """Refuse neuron rules, delays and cycles that the chip does not have; list what it does by another rule."""

    name: str = "check-rules"

    def apply(self, network: Network, context: Context) -> Network:
        """Add findings and ledger entries.

        Raises:
            LegalizeError: NIRHW-E030 with every finding.
        """
        for pop in network.populations.values():
            if pop.rule != "input":
                context.findings.extend(_findings(network, pop, context))
        for name, source in network.inputs.items():
            if source in network.outputs.values():
                context.findings.append(
                    Diagnostic("NIRHW-E030", "an input is also an output", (name,), "only cores send spikes to the host")
                )
        context.stop_on_errors()
        _list_semantics(network, context)
        return network


def step_bias(pop: Population) -> np.ndarray:
    """Return what is added to the membrane every step, in the network's units, ``(size,)``."""
    assert pop.membrane is not None  # every layer is spiking
    drive = sum((port.gain * port.bias for port in pop.ports), np.zeros(pop.size))
    return np.asarray(pop.membrane.gain * drive + pop.membrane.leak)


def room_of(pop: Population) -> np.ndarray:
    """Return the distance from reset potential to threshold, ``(size,)``: what a layer's weights are measured in."""
    assert pop.threshold is not None and pop.v_reset is not None  # every layer is spiking
    return pop.threshold - pop.v_reset if pop.reset == "value" else pop.threshold


def _findings(network: Network, pop: Population, context: Context) -> list[Diagnostic]:
    found: list[Diagnostic] = []

    def refuse(what: str, why: str = "", fix: str = "") -> None:
        found.append(Diagnostic("NIRHW-E030", what, pop.nodes or (pop.name,), why, fix))

    if pop.rule != "spiking":
        last = "a weighted sum" if pop.rule == "sum" else "an analog neuron"
        refuse(
            f"{last} stands where Speck needs integrate-and-fire neurons",
            "every core ends in neurons that spike; nothing else leaves the chip",
            "put an IF node behind it; apply a last linear layer on the host",
        )
        return found
    assert pop.membrane is not None  # spiking
    if np.any(pop.membrane.decay != 1.0):
        refuse(
            "the membrane leaks",
            "Speck's neurons integrate without leak (sinabs docs; only IAF layers are accepted there, too)",
            "train with IF neurons",
        )
    if any(port.decay is not None and np.any(port.decay) for port in pop.ports):
        refuse("a synapse filters its current", "an event acts at once and leaves no trace", "train with IF neurons")
    if any(port.onsets for port in pop.ports):
        refuse("a bias stands behind a delay", fix="move the bias behind the Delay node")
    if pop.reset == "none":
        refuse("the neuron is never reset", "a Speck neuron is set to zero, or loses its threshold, at a spike")
    elif np.any(room_of(pop) <= 0):
        refuse("a threshold is not above the reset potential", "such a neuron fires without end")
    if np.any(pop.membrane.gain == 0):
        refuse("a membrane has gain 0", "nothing reaches its potential", "remove the neuron, or give r a value")
    for proj in network.into(pop.name):
        if proj.recurrent or proj.source == proj.target:
            refuse(
                f"a recurrent connection comes from {proj.source}",
                "the asynchronous cores can deadlock in a cycle; the vendor supports none (sinabs issue 270)",
                "train a feed-forward network",
            )
        elif proj.max_delay > 0:
            refuse(f"the connection from {proj.source} has a delay", "Speck passes events on at once", "remove the Delay node")
    if np.any(step_bias(pop)) and context.options.bias == "refuse":
        refuse(
            "a bias is not zero",
            "Speck adds biases on ticks of a slow clock, not on time steps",
            "train without bias, or compile with options={'bias': 'leak'} and drive the slow clock once every 'tick_steps' steps",
        )
    return found


def _list_semantics(network: Network, context: Context) -> None:
    ticks = context.options.tick_steps
    for pop in network.populations.values():
        if pop.rule == "spiking" and np.any(step_bias(pop)):
            context.deviate(
                "semantic",
                "bias-becomes-leak",
                pop.nodes,
                f"the bias of {ticks} steps is added on a tick of the slow clock, which has to come once every {ticks} steps",
            )
