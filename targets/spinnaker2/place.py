"""Slices onto PEs: those that talk to each other into one quad.

Cost: for every slice its neurons times the quads that its spikes go to, since the router sends one packet to each quad, whatever
the number of PEs there.  Up to ``MOST_EXACT`` slices CP-SAT finds the smallest cost with proof; beyond, the best of three orders
is improved by exchanging slices, and a lower bound says how far it can be from the best.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from nirhw.network import Network
from nirhw.pipeline import Context

from .board import CHIPS, PES_PER_QUAD, QUADS
from .dead import Place, dead_pes
from .traffic import Traffic, traffic

#: up to so many slices the exact search takes part of a second
MOST_EXACT = 16
#: deterministic time of the exact search, about seconds
EXACT_TIME = 2.0
#: exchanges tried by the heuristic, and pairs of slices looked at for them
MOST_EXCHANGES = 1500
MOST_PAIRS = 1_000_000


@dataclass(frozen=True)
class PlaceSlices:
    """Give every slice its chip, quad and PE."""

    name: str = "place-slices"

    def apply(self, network: Network, context: Context) -> Network:
        """Fill ``record.places`` and ``record.placement``; the partition has made sure that the slices fit."""
        graph = traffic(network, context)
        quads = _free_quads(context)
        rooms = [len(pes) for _, pes in quads]
        groups, bound, how = group_slices(graph, rooms, context.patience)
        context.record.places = _places(groups, quads)
        cost = cost_of(graph, groups)
        context.record.placement = {
            "quads": len(set(groups)),
            "chips": len({chip for chip, _, _ in context.record.places}),
            "packets_if_all_fire": cost,
            "packets_lower_bound": max(bound, cost) if how == "exact" else bound,
            "method": how,
        }
        return network


def cost_of(graph: Traffic, groups: list[int]) -> int:
    """Return the packets of a step in which all neurons fire: one for every quad that has targets."""
    at = np.asarray(groups)
    return int(sum(size * np.unique(at[targets]).size for size, targets in zip(graph.size, graph.targets, strict=True)))


def group_slices(graph: Traffic, rooms: list[int], patience: int = 1) -> tuple[list[int], int, str]:
    """Return the quad of every slice (an index into ``rooms``, free PEs by quad), a lower bound of the cost, and the method.

    The method is "exact" where the cost is proven to be the smallest, else "heuristic".
    """
    widest = max(rooms)
    bound = int(sum(size * -(-t.size // widest) for size, t in zip(graph.size, graph.targets, strict=True)))
    orders = (list(range(graph.n_slices)), _by_quad(graph, widest), _by_breadth(graph))
    starts = [_filled(order, rooms) for order in orders]
    best = min(starts, key=lambda g: cost_of(graph, g))
    if cost_of(graph, best) > bound:
        best = min((_exchanged(graph, start, MOST_EXCHANGES * patience) for start in starts), key=lambda g: cost_of(graph, g))
    if cost_of(graph, best) == bound:
        return best, bound, "exact"
    if graph.n_slices <= MOST_EXACT * (1 + (patience > 1)):
        found = _exact(graph, rooms, best, EXACT_TIME * patience)
        if found is not None:
            return found, cost_of(graph, found), "exact"
    return best, bound, "heuristic"


def _free_quads(context: Context) -> list[tuple[tuple[int, tuple[int, int]], list[int]]]:
    """Return the quads of all chips with their free PEs, neighbours one after the other; the last PEs of a chip stay unused."""
    hardware, dead = context.hardware, dead_pes(context.hardware)
    order = _walk()
    found = []
    for chip in range(min(hardware["chips"], len(CHIPS))):
        left = hardware["pes"]
        for quad in order:
            pes = [pe for pe in range(PES_PER_QUAD) if (chip, quad, pe) not in dead][:left]
            left -= len(pes)
            if pes:
                found.append(((chip, quad), pes))
    return found


def _walk() -> list[tuple[int, int]]:
    """Return the quads of a chip row by row, there and back, so that neighbours on the list are neighbours on the chip."""
    rows = sorted({y for _, y in QUADS})
    return [(x, y) for k, y in enumerate(rows) for x in sorted((x for x, yy in QUADS if yy == y), reverse=bool(k % 2))]


def _filled(order: list[int], rooms: list[int]) -> list[int]:
    """Return the quad of every slice when quads are filled in ``order``."""
    seats = np.repeat(np.arange(len(rooms)), rooms)
    groups = np.zeros(len(order), np.int64)
    groups[order] = seats[: len(order)]
    return [int(g) for g in groups]


def _by_quad(graph: Traffic, widest: int) -> list[int]:
    """Return the slices of each population in whole quads, then what is left of all populations."""
    whole: list[int] = []
    rest: list[int] = []
    for name in dict.fromkeys(graph.population):
        own = [k for k, population in enumerate(graph.population) if population == name]
        full = len(own) // widest * widest
        whole += own[:full]
        rest += own[full:]
    return [*whole, *rest]


def _by_breadth(graph: Traffic) -> list[int]:
    """Return the slices from the first one outwards, so that slices with common sources stand together."""
    seen: dict[int, None] = {}
    for root in range(graph.n_slices):
        waiting = [root]
        for node in waiting:
            if node not in seen:
                seen[node] = None
                waiting += [int(t) for t in graph.targets[node] if int(t) not in seen]
    return list(seen)


def _exchanged(graph: Traffic, groups: list[int], most: int) -> list[int]:
    """Return ``groups`` after at most ``most`` exchanges of two slices that lower the cost."""
    at = np.asarray(groups)
    feeds: list[list[int]] = [[] for _ in groups]
    for source, targets in enumerate(graph.targets):
        for target in targets:
            feeds[target].append(source)

    def reach(sources: list[int]) -> int:
        return int(sum(graph.size[s] * np.unique(at[graph.targets[s]]).size for s in sources))

    pairs = sum(t.size for t in graph.targets)
    tries = min(most, at.size**2, MOST_PAIRS * at.size**2 // max(1, 2 * pairs**2))
    rng = np.random.default_rng(0)
    for one, other in rng.integers(0, at.size, (tries, 2)):
        if at[one] == at[other]:
            continue
        touched = sorted({*feeds[one], *feeds[other]})
        before = reach(touched)
        at[[one, other]] = at[[other, one]]
        if reach(touched) >= before:
            at[[one, other]] = at[[other, one]]
    return [int(g) for g in at]


def _exact(graph: Traffic, rooms: list[int], start: list[int], time: float) -> list[int] | None:
    """Return the groups of the smallest cost, or None where the time was too short for a proof."""
    from ortools.sat.python import cp_model

    model = cp_model.CpModel()
    n = graph.n_slices
    # no more quads than slices can be of use, the roomiest first
    quads = sorted(range(len(rooms)), key=lambda q: (-rooms[q], q))[:n]
    quads = sorted({*quads, *start})
    stands = {(s, q): model.new_bool_var(f"s{s}q{q}") for s in range(n) for q in quads}
    reached = {(s, q): model.new_bool_var(f"r{s}q{q}") for s in range(n) for q in quads if graph.targets[s].size}
    for s in range(n):
        model.add_exactly_one(stands[s, q] for q in quads)
    for q in quads:
        model.add(sum(stands[s, q] for s in range(n)) <= rooms[q])
    for s, targets in enumerate(graph.targets):
        for t in targets:
            for q in quads:
                model.add_implication(stands[int(t), q], reached[s, q])
    for one, other in pairwise(quads):  # quads of one size are alike: the fuller one first
        if rooms[one] == rooms[other]:
            model.add(sum(stands[s, one] for s in range(n)) >= sum(stands[s, other] for s in range(n)))
    model.minimize(sum(int(graph.size[s]) * var for (s, _), var in reached.items()))
    for (s, q), var in stands.items():
        model.add_hint(var, int(start[s] == q))
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = 0
    solver.parameters.max_deterministic_time = time
    if solver.solve(model) != cp_model.OPTIMAL:
        return None
    return [next(q for q in quads if solver.value(stands[s, q])) for s in range(n)]


def _places(groups: list[int], quads: list[tuple[tuple[int, tuple[int, int]], list[int]]]) -> list[Place]:
    used = [0] * len(quads)
    places = []
    for group in groups:
        (chip, quad), pes = quads[group]
        places.append((chip, quad, pes[used[group]]))
        used[group] += 1
    return places
