"""Cores to chips, so that few messages cross between chips.

A message is one spike of one neuron to one chip, however many cores there listen.  On one chip nothing crosses.  Small problems
are solved by CP-SAT (OR-Tools, one worker, deterministic time); else several orders of the slices are filled into chips and the
best is kept.  Either way a lower bound is reported.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirhw.network import Network
from nirhw.pipeline import Context

from .config import CoreSlice, Int
from .legalize import chips_of
from .partition import targets_by_slice

#: boolean variables up to which the exact search is tried, and its deterministic time
MAX_VARIABLES = 4000
SOLVER_TIME = 2.0


@dataclass(frozen=True, eq=False)
class Traffic:
    """Who sends to whom: each class of neurons that sit in one slice and reach the same slices.

    Attributes:
        home: slice of each class.
        count: neurons of each class.
        reach: ``[class, slice]``, whether they send there.
    """

    home: Int
    count: Int
    reach: Any

    def crossing(self, chip: Int) -> int:
        """Return the messages between chips in a step in which every neuron fires; ``chip`` by slice."""
        chips = int(chip.max(initial=0)) + 1
        goes = np.zeros((self.home.size, chips), bool)
        for c in range(chips):
            goes[:, c] = self.reach[:, chip == c].any(axis=1)
        goes[np.arange(self.home.size), chip[self.home]] = False
        return int((goes.sum(axis=1) * self.count).sum())

    def bound(self, cores_per_chip: int) -> int:
        """Return a number of messages that no placement is below: reached slices fill so many chips, one of them its own."""
        elsewhere = -(-self.reach.sum(axis=1) // cores_per_chip) - 1
        return int((np.maximum(elsewhere, 0) * self.count).sum())


@dataclass(frozen=True)
class PlaceCores:
    """Give every slice a core of a chip."""

    name: str = "place-cores"

    def apply(self, network: Network, context: Context) -> Network:
        """Fill ``record.cores`` and ``record.cut``."""
        record, per_chip = context.record, context.hardware["cores_per_chip"]
        slices = [(name, a, b) for name, bounds in record.cuts.items() for a, b in pairwise(bounds)]
        if len(slices) <= per_chip:
            chip, record.cut = np.zeros(len(slices), np.int64), (0, 0)
        else:
            traffic = _traffic(slices, context)
            chip, bound = _assigned(traffic, len(slices), per_chip, chips_of(context), context.patience)
            record.cut = traffic.crossing(chip), bound
        used: dict[int, int] = {}
        for (name, first, last), c in zip(slices, chip.tolist(), strict=True):
            core = used.get(c, 0)
            used[c] = core + 1
            record.cores.append(CoreSlice(c, core, name, first, last - first))
        return network


def _traffic(slices: list[tuple[str, int, int]], context: Context) -> Traffic:
    record = context.record
    first_slice: dict[str, int] = {}
    for k, (name, _, _) in enumerate(slices):
        first_slice.setdefault(name, k)
    home, count, reach = [], [], []
    for name, bounds in record.cuts.items():
        sends = np.zeros((bounds[-1], len(slices)), bool)
        for syn in record.synapses:
            if syn.source == name:
                targets = record.cuts[syn.target]
                at = first_slice[syn.target]
                sends[:, at : at + len(targets) - 1] |= targets_by_slice(syn, bounds[-1], targets)
        for k, (a, b) in enumerate(pairwise(bounds)):
            rows, number = _distinct(sends[a:b])
            some = rows.any(axis=1)
            home.append(np.full(int(some.sum()), first_slice[name] + k))
            count.append(number[some])
            reach.append(rows[some])
    return Traffic(np.concatenate(home), np.concatenate(count), np.concatenate(reach))


def _distinct(rows: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], Int]:
    """Return the distinct rows and how often each stands there."""
    packed = np.packbits(rows, axis=1)
    keys = packed.view(np.dtype((np.void, packed.shape[1]))).ravel()
    _, first, count = np.unique(keys, return_index=True, return_counts=True)
    return rows[first], count.astype(np.int64)


def _assigned(traffic: Traffic, n: int, per_chip: int, chips: int, patience: int = 1) -> tuple[Int, int]:
    """Return the chip of every slice and a lower bound of the crossing messages."""
    bound = traffic.bound(per_chip)
    ways = [_filled(order, per_chip) for order in _orders(traffic, n)]
    best = min(ways, key=traffic.crossing)
    need = min(-(-n // per_chip), chips)
    if traffic.crossing(best) > bound and (traffic.home.size + n) * need <= MAX_VARIABLES * patience:
        solved, proven = _solved(traffic, n, per_chip, need, best, SOLVER_TIME * patience)
        best, bound = min((best, solved), key=traffic.crossing), max(bound, proven)
    return best, bound


def _orders(traffic: Traffic, n: int) -> list[Int]:
    """Return orders of the slices: the network's own, and two that keep neighbours in the graph of messages together."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import breadth_first_order, reverse_cuthill_mckee

    sender, target = np.nonzero(traffic.reach)
    weight = traffic.count[sender].astype(float)
    graph = coo_array((weight, (traffic.home[sender], target)), shape=(n, n)).tocsr()
    both = (graph + graph.T).tocsr()
    band = np.asarray(reverse_cuthill_mckee(both, symmetric_mode=True), np.int64)
    seen = np.asarray(breadth_first_order(both, 0, directed=False, return_predecessors=False), np.int64)
    rest = np.setdiff1d(np.arange(n), seen)
    return [np.arange(n), band, np.concatenate([seen, rest])]


def _filled(order: Int, per_chip: int) -> Int:
    chip = np.empty(order.size, np.int64)
    chip[order] = np.arange(order.size) // per_chip
    return chip


def _solved(traffic: Traffic, n: int, per_chip: int, chips: int, start: Int, time: float) -> tuple[Int, int]:
    """Return the best placement that CP-SAT finds from ``start``, and the bound it proves."""
    from ortools.sat.python import cp_model

    model = cp_model.CpModel()
    on = [[model.new_bool_var("") for _ in range(chips)] for _ in range(n)]
    for k in range(n):
        model.add_exactly_one(on[k])
        for c in range(chips):
            model.add_hint(on[k][c], int(start[k]) == c)
    for c in range(chips):
        model.add(sum(on[k][c] for k in range(n)) <= per_chip)
    model.add(on[0][0] == 1)  # chips are alike
    cost = []
    for k in range(traffic.home.size):
        for c in range(chips):
            sends = model.new_bool_var("")
            own = on[int(traffic.home[k])][c]
            for target in np.flatnonzero(traffic.reach[k]).tolist():
                model.add_bool_or(sends, own, on[target][c].negated())
            cost.append(int(traffic.count[k]) * sends)
    model.minimize(sum(cost))
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.max_deterministic_time = time
    solver.parameters.random_seed = 0
    if solver.solve(model) not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return start, 0
    chip = np.array([next(c for c in range(chips) if solver.value(on[k][c])) for k in range(n)], np.int64)
    return chip, int(np.ceil(solver.best_objective_bound - 1e-6))
