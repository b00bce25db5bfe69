"""Gains by kind of weight: knobs that most targets share, and how their quantizers read them.

Kinds: weights in loops, positive and negative ones apart; else those onto output neurons; else those of inputs; else those from
hidden to hidden neurons.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby

import numpy as np

from nirhw.calibration.knobs import Knob
from nirhw.network import Network, Population, Projection
from nirhw.operators import Array
from nirhw.pipeline import Context

#: in the order of the report
PHRASES = {
    "input": "weights of inputs",
    "forward": "weights from hidden to hidden neurons that close no loop",
    "excitatory": "positive weights in loops of neurons",
    "inhibitory": "negative weights in loops of neurons",
    "output": "weights to output neurons",
}


def gain_knobs(kinds: Iterable[str], low: float, high: float) -> list[Knob]:
    """Return a knob ``gain.<kind>`` from ``low`` to ``high`` for each of ``kinds`` that has a meaning."""
    present = set(kinds)
    return [Knob(f"gain.{k}", 1.0, low, high, "log", f"factor on {phrase}") for k, phrase in PHRASES.items() if k in present]


def kinds_between(source: str, target: str, analog: bool, loop: bool) -> tuple[str, ...]:
    """Return the kinds of a projection's weights: one, or that of the positive and that of the negative weights.

    Args:
        source: layer from which it comes: "input", "hidden" or "output".
        target: layer in which it ends.
        analog: whether the target sends no spikes; a gain on an analog output is a change of its unit, so it has no knob.
        loop: whether it closes a loop.
    """
    if loop:
        return ("excitatory", "inhibitory")
    if target == "output":
        return ("analog",) if analog else ("output",)
    return ("input",) if source == "input" else ("forward",)


def layers_of(network: Network) -> dict[str, str]:
    """Return the layer of every population: "input", "hidden" or "output"; a relay belongs to what it repeats."""
    served = set(network.outputs.values())

    def layer(pop: Population) -> str:
        while pop.role == "relay":
            pop = network.populations[network.into(pop.name)[0].source]
        return "input" if pop.rule == "input" else "output" if pop.name in served else "hidden"

    return {name: layer(pop) for name, pop in network.populations.items()}


def kinds_of(network: Network) -> dict[str, tuple[str, ...]]:
    """Return the kinds of all projections by name; none for constant drives and relays."""
    layer, loops = layers_of(network), _loops(network)
    found: dict[str, tuple[str, ...]] = {}
    for proj in network.projections:
        source, target = network.populations[proj.source], network.populations[proj.target]
        if source.role == "bias" or target.role != "network":
            found[proj.name] = ()
            continue
        loop = loops[proj.source] == loops[proj.target]
        found[proj.name] = kinds_between(layer[proj.source], layer[proj.target], target.rule != "spiking", loop)
    return found


def tuned_weights(weights: Array, proj: Projection, network: Network, context: Context) -> Array:
    """Return weights of a projection, of any shape, with the gains of their kinds."""
    if not context.tuning:
        return weights
    factors = [context.tuned(f"gain.{kind}", 1.0) for kind in kinds_of(network)[proj.name]]
    if all(f == 1.0 for f in factors):
        return weights
    return np.asarray(weights * (factors[0] if len(factors) == 1 else np.where(weights > 0, *factors)))


def tuned_drive(pop: Population, layer: Mapping[str, str], context: Context) -> tuple[float, Array]:
    """Return the factor on biases of a population, and its constant drive a step by ``offset.<layer>``, ``(size,)``.

    The offset is in thresholds; populations without threshold have none.
    """
    where = layer[pop.name]
    lift = np.zeros(pop.size) if pop.threshold is None else context.tuned(f"offset.{where}", 0.0) * pop.threshold
    return context.tuned(f"bias.{where}", 1.0), np.asarray(lift)


def drive_knobs(network: Network, most: float) -> list[Knob]:
    """Return knobs of the constant drives of each layer: offsets up to ``most`` thresholds a step, and factors on biases."""
    layer, found = layers_of(network), []
    by_layer = sorted((p for p in network.populations.values() if p.role == "network"), key=lambda p: layer[p.name])
    for name, pops in groupby(by_layer, key=lambda p: layer[p.name]):
        members = list(pops)
        if any(p.rule == "spiking" for p in members):
            found.append(Knob(f"offset.{name}", 0.0, -most, most, "linear", f"constant drive of {name} neurons, in thresholds"))
        if any(np.any(port.bias) for p in members for port in p.ports):
            found.append(Knob(f"bias.{name}", 1.0, 0.8, 1.25, "log", f"factor on biases of {name} neurons"))
    return found


def _loops(network: Network) -> dict[str, int]:
    """Return by population the number of the set of populations that reach each other; a population alone has one of its own."""
    import networkx as nx

    graph = nx.DiGraph()
    graph.add_nodes_from(network.populations)
    graph.add_edges_from((p.source, p.target) for p in network.projections)
    return {name: k for k, members in enumerate(nx.strongly_connected_components(graph)) for name in members}
