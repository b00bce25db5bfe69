"""Which neurons are held to one spike a step, see :mod:`.hold`: those in loops that burst often, where there is room."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nirhw.network import Network, Population
from nirhw.operators import Array
from nirhw.pipeline import Context

#: register beyond the threshold, in thresholds: a share of the largest rise within a step, and at most so many
SHARE, FARTHEST = 0.5, 8.0
#: a neuron is held where its few strongest sources, firing in every step, lift it by so many thresholds a step.  Measured on the
#: Braille networks: from 3 to 4 the one that bursts is kept, and the one that hardly does is left alone
FEW, RISE = 2, 4.0
#: decay codes of the membranes that are held: one that keeps nothing takes nothing into the next step, and a unit of constant
#: drive lifts a membrane by ``2 ** code`` units
FASTEST, SLOWEST = 1, 8
#: starters whose events add up to a neuron's kick
KICKS = 2
#: connections that a held neuron needs of its own: onto itself and its relay
OWN_TARGETS = 2


@dataclass(frozen=True)
class ChooseHeld:
    """Find neurons that may send several spikes a step, and hold them where relays and connections suffice."""

    name: str = "choose-held"

    def apply(self, network: Network, context: Context) -> Network:
        """Fill ``record.reach``: register beyond the threshold by population, in thresholds, 0 for a neuron that is not held."""
        options = context.options
        # one spike a chip step is not one a row of several
        if options.bursts == "allow" or options.gain == "none" or options.time_stretch > 1:
            return network
        layer, wanted = context.record.layer, {}
        for pop in network.populations.values():
            if pop.rule == "spiking" and pop.role == "network" and layer[pop.name] == "hidden" and _excites(network, pop):
                reach = np.where(_free_targets(network, pop, context), _reach(network, pop), 0.0)
                if np.any(reach):
                    wanted[pop.name] = reach
        neurons = sum(int(np.count_nonzero(r)) for r in wanted.values())
        if neurons and _fits(network, neurons, context):
            context.record.reach.update(wanted)
        return network


def _excites(network: Network, pop: Population) -> bool:
    """Return whether spikes of a population come back as excitation: elsewhere a burst brings the sum that it should."""
    return any(w.recurrent and w.operator.matrix.max() > 0 for w in network.out_of(pop.name))


def _reach(network: Network, pop: Population) -> Array:
    """Return the register beyond the threshold, in thresholds, ``(neurons,)``; 0 where bursts are rare."""
    assert pop.membrane is not None and pop.threshold is not None  # it spikes
    rises = []
    for way in network.into(pop.name):
        port = pop.port(way.port)
        with np.errstate(divide="ignore"):
            area = 1.0 if port.decay is None else np.minimum(1.0 / (1.0 - port.decay), 1e6)
        gain = np.abs(port.gain) * area * pop.membrane.gain / np.maximum(pop.threshold, 1e-300)
        rises.append(np.maximum(way.operator.matrix.toarray(), 0.0) * gain[:, None])
    sources = np.sort(np.concatenate(rises, axis=1), axis=1)
    often, code = (sources[:, -FEW:].sum(axis=1) >= RISE) & (pop.threshold > 0), pop.codes["v_mem_decay"]
    return np.where(often & (code >= FASTEST) & (code <= SLOWEST), np.clip(SHARE * sources.sum(axis=1), 1.0, FARTHEST), 0.0)


def _free_targets(network: Network, pop: Population, context: Context) -> NDArray[np.bool_]:
    """Return which neurons have connections left."""
    used = np.zeros(pop.size, np.int64)
    pairs: dict[str, Array] = {}
    for way in network.out_of(pop.name):
        if context.record.layer[way.target] == "hidden":
            matrix = abs(way.operator.matrix)
            pairs[way.target] = pairs[way.target] + matrix if way.target in pairs else matrix
    for matrix in pairs.values():
        used += np.asarray((matrix != 0).sum(axis=0)).ravel()
    return np.asarray(used + OWN_TARGETS <= context.hardware["fan_out"])


def serves(context: Context) -> int:
    """Return how many neurons a clock or starter serves, besides the starters or its relay."""
    return int(context.hardware["fan_out"]) - KICKS


def groups(neurons: int, context: Context) -> int:
    """Return how many clocks that takes."""
    return -(-neurons // serves(context))


def _fits(network: Network, neurons: int, context: Context) -> bool:
    """Return whether there is room for what so many held neurons need, also between those that inputs and outputs reach."""
    hardware, layer = context.hardware, context.record.layer
    added = neurons + (1 + 2 * KICKS) * groups(neurons, context)
    hidden = [p for p in network.populations.values() if layer[p.name] == "hidden"]
    taking = {w.target for w in network.projections if layer[w.source] == "input"}
    feeding = {w.source for w in network.projections if layer[w.target] == "output"}
    takes, feeds = (sum(p.size for p in hidden if p.name in names) for names in (taking, feeding))
    neither = added + sum(p.size for p in hidden if p.name not in taking | feeding)
    between = max(0, neither - max(0, hardware["input_reach"] - takes))
    pairs = sum(w.operator.matrix.nnz for w in network.projections if {layer[w.source], layer[w.target]} == {"hidden"})
    return bool(
        sum(p.size for p in hidden) + added <= hardware["hidden_neurons"]
        and (taking.isdisjoint(feeding) or between + feeds <= hardware["output_reach"])
        and pairs + (4 + 2 * KICKS) * neurons + 3 * added <= hardware["recurrent_pairs"]
    )
