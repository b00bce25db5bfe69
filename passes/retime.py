"""Lags of populations on a chip whose hops take steps: one schedule for the whole network.

On the reference an undelayed edge acts in the same step; on a chip a hop takes ``hop`` steps.  A population may lag the
reference by a constant number of steps without harm, as long as all that meets there lags alike.  So each edge gets the extra
delay ``lag[target] - lag[source] + delay - hop >= 0``; the smallest lags solve a longest-path problem.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from nirhw.diagnostics import error
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
        LegalizeError: NIRHW-E030 where such a cycle exists.
    """
    import networkx as nx

    graph = nx.DiGraph()
    graph.add_edges_from(("", name, {"weight": 0}) for name in network.populations)
    for p in network.projections:
        weight = p.min_delay - hop(p)
        if not graph.has_edge(p.source, p.target) or graph[p.source][p.target]["weight"] > weight:
            graph.add_edge(p.source, p.target, weight=weight)
    try:
        distance = nx.single_source_bellman_ford_path_length(graph, "")
    except nx.NetworkXUnbounded:
        cycle = tuple(n for c in nx.strongly_connected_components(graph) if len(c) > 1 for n in c)
        what, mend = "a cycle has more hops than its delays pay for", "put a delay of a step more into the cycle"
        raise error("NIRHW-E030", what, sorted(cycle), fix=mend) from None
    lag = {name: -int(distance[name]) for name in network.populations}
    extra = {p.name: lag[p.target] - lag[p.source] + p.delay - hop(p) for p in network.projections}
    return Schedule(lag, extra)


def unaligned(network: Network, hop: Callable[[Projection], int]) -> dict[str, Ints]:
    """Return the extra delays when only NIR's own delays are kept, and branches may meet out of step.

    A recurrent edge is one step late already, which its hop provides.
    """
    return {p.name: np.maximum(p.delay - (hop(p) if p.recurrent else 0), 0) for p in network.projections}
