"""Lags of populations on a chip whose hops take steps: one schedule for the whole network.

On the reference an undelayed edge acts in the same step; on a chip a hop takes ``hop`` steps.  A population may lag the
reference by a constant number of steps without harm, as long as all that meets there lags alike.  So each edge gets the extra
delay ``lag[target] - lag[source] + delay - hop >= 0``; the smallest lags solve a longest-path problem.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import networkx as nx
import numpy as np

from nirhw.network import Ints, Network, Projection


@dataclass(frozen=True)
class Schedule:
    """Lags and what they ask of every edge.

    Attributes:
        lag: steps by which a population lags the reference.
        extra: steps of delay that each projection needs on the chip beyond its hop, in the form of its ``delay``.
    """

    lag: Mapping[str, int]
    extra: Mapping[str, Ints]


def schedule(network: Network, hop: Callable[[Projection], int]) -> Schedule:
    """Return the smallest lags, inputs at 0, under which no edge needs a negative delay.

    Every cycle of the IR holds a delay of a step or more, which pays for its hops; a cycle whose hops outweigh its delays has no
    schedule.

    Raises:
        networkx.NetworkXUnbounded: where such a cycle exists.
    """
    graph = nx.DiGraph()
    graph.add_edges_from(("", name, {"weight": 0}) for name in network.populations)
    for p in network.projections:
        weight = p.min_delay - hop(p)
        if not graph.has_edge(p.source, p.target) or graph[p.source][p.target]["weight"] > weight:
            graph.add_edge(p.source, p.target, weight=weight)
    distance = nx.single_source_bellman_ford_path_length(graph, "")
    lag = {name: -int(distance[name]) for name in network.populations}
    extra = {p.name: lag[p.target] - lag[p.source] + p.delay - hop(p) for p in network.projections}
    return Schedule(lag, extra)


def unaligned(network: Network, hop: Callable[[Projection], int], lag: Mapping[str, int]) -> dict[str, Ints]:
    """Return the extra delays when only NIR's own delays are kept, and branches may meet out of step.

    A recurrent edge is one step late already, which its hop provides.
    """
    return {p.name: np.maximum(p.delay - (hop(p) if p.recurrent else 0), 0) for p in network.projections}
