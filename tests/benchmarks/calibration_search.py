"""Optimisers for calibration, side by side: the same objective, knobs, budget and start; the opponent is Nelder-Mead of scipy.

    python tests/benchmarks/calibration_search.py [GRAPH SAMPLES.npz] [--target xylo] [--dt 1e-3] [--reset subtract]
                                                  [--budget 250] [--seeds 5]

By default the demo's vowels network and its calibration samples; a file of samples holds ``spikes[sample, step, channel]``, or calls
them ``x``.  Only the search of the knobs runs here: no trims, no drivers, and none of the caution with which calibration keeps the
default, so that the optimisers alone differ.  Seeds draw the halves of the samples and all random numbers.

The table shows, as means over the seeds with standard errors: what the objective gains over the default on the search half; that
mean divided by the opponent's; the gain of the same point on the half that was not searched; and by how many points its agreement
there changes.  Package ``cma`` is compared where it is installed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from routes.cases import catalogue

from nirhw.calibration.evaluate import Trial
from nirhw.calibration.halves import Halves
from nirhw.calibration.hunt import NEAR
from nirhw.calibration.knobs import Knob, defaults, starts, to_point, to_values
from nirhw.calibration.objective import Objective
from nirhw.calibration.samples import Samples
from nirhw.calibration.search import Evaluate, Found, search
from nirhw.compiler import _Candidates, _run
from nirhw.hardware import load_hardware
from nirhw.nir_reader import Semantics, read_network
from nirhw.operators import Array
from nirhw.pipeline import Context, Tuning
from nirhw.registry import find_target
from nirhw.report.text import WIDTH, table

OPPONENT = "scipy Nelder-Mead"
#: whose values point by point are minimised from a start, with a seed, until the budget is spent
OneByOne = Callable[[Callable[[Array], float], Array, int], None]
Optimiser = Callable[[Evaluate, Array, int, int], Found]


class _Spent(Exception):
    """The budget is spent."""


@dataclass(frozen=True)
class Problem:
    """One division of the samples: what is searched, and what judges.

    Attributes:
        searched, held: score candidates on the two halves.
        knobs: what is searched.
        points: where a search begins, ``[start, knob]``; the default first.
    """

    searched: Trial
    held: Trial
    knobs: tuple[Knob, ...]
    points: Array

    def tuning(self, point: Array) -> Tuning:
        """Return the candidate at a point of the unit cube."""
        return Tuning(to_values(self.knobs, point))

    def values(self, points: Array) -> list[float]:
        """Return the values of a batch of points on the search half."""
        return [score.value for score in self.searched.score_all([self.tuning(p) for p in points])]


def problem(graph: Path, spikes: Array, target: str, semantics: Semantics, seed: int) -> Problem:
    """Lower a network as calibration does, and divide its samples."""
    family = find_target(target)
    context = Context(load_hardware(family.variants[target], family.name), family.make_options({}), family.new_record())
    network = _run(("canonicalize",), read_network(graph, semantics).network, context, family, None, None)
    candidates = _Candidates(network, context, family)
    knobs = tuple(k for k in candidates.knobs if k.kind in ("log", "linear"))
    halves = Halves.of(network, Samples.of(network, spikes, None, getattr(context.options, "input_peak", 0) or None), seed)

    def trial(half: Any) -> Trial:
        objective = Objective.of({n: e[half] for n, e in halves.reference.items()}, None)
        return Trial(lambda tuning: candidates.lowered(tuning, None), halves.samples.picked(half), objective, network)

    candidates.lowered(Tuning(defaults(knobs)), None)  # the default comes first
    begin = np.array([to_point(knobs, defaults(knobs)), to_point(knobs, starts(knobs))])
    return Problem(trial(halves.chosen), trial(halves.held), knobs, begin)


def counted(run: OneByOne) -> Optimiser:
    """Return an optimiser with the interface of :func:`nirhw.calibration.search.search` around one that asks point by point."""

    def optimise(evaluate: Evaluate, points: Array, budget: int, seed: int) -> Found:
        values = evaluate(points)
        at = int(np.argmax(values))
        found = Found(points[at], values[at], len(values))

        def loss(point: Array) -> float:
            if found.evaluations >= budget:
                raise _Spent
            point = np.clip(point, 0.0, 1.0)
            value = evaluate(point[None, :])[0]
            found.evaluations += 1
            if value > found.value:
                found.point, found.value = point, value
            return -value if np.isfinite(value) else 1e3

        try:
            while True:
                run(loss, found.point, seed)
                seed += 1
        except _Spent:
            return found

    return optimise


def _random(loss: Callable[[Array], float], start: Array, seed: int) -> None:
    random = np.random.default_rng(seed)
    while True:
        loss(random.random(start.size))


def _nelder_mead(loss: Callable[[Array], float], start: Array, seed: int) -> None:
    from scipy.optimize import minimize

    spread = np.random.default_rng(seed).uniform(-0.3, 0.3, (start.size + 1, start.size))
    spread[0] = 0.0
    minimize(loss, start, method="Nelder-Mead", options={"initial_simplex": np.clip(start + spread, 0, 1), "adaptive": True})


def _differential_evolution(loss: Callable[[Array], float], start: Array, seed: int) -> None:
    from scipy.optimize import differential_evolution

    differential_evolution(loss, [(0, 1)] * start.size, rng=seed, x0=start, popsize=2, polish=False, maxiter=10_000, tol=0)


def _powell(loss: Callable[[Array], float], start: Array, seed: int) -> None:
    from scipy.optimize import minimize

    begin = np.clip(start + np.random.default_rng(seed).normal(0, 0.1, start.size), 0, 1)
    minimize(loss, begin, method="Powell", bounds=[(0, 1)] * start.size)


def _cma(loss: Callable[[Array], float], start: Array, seed: int) -> None:
    import cma

    cma.fmin(loss, start, 0.3, {"bounds": [0, 1], "seed": seed + 1, "verbose": -9})


def optimisers() -> dict[str, Optimiser]:
    """Return all of them by name; the first two are what calibration uses, far around the default and near trims that fit."""
    found = {
        "cmaes.CMA, steps 0.3 to 0.05": search,
        "cmaes.CMA, steps 0.05, 0.02": partial(search, steps=NEAR),
        OPPONENT: counted(_nelder_mead),
        "scipy DE": counted(_differential_evolution),
        "scipy Powell": counted(_powell),
        "random": counted(_random),
    }
    return {**found, "cma.fmin": counted(_cma)} if find_spec("cma") else found


def mean(values: Any, digits: int, scale: float = 1.0) -> str:
    """Return the mean of values with its standard error."""
    error = np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return f"{scale * np.mean(values):+.{digits}f} ± {scale * error:.{digits}f}"


def main() -> None:
    """Print the table."""
    vowels = catalogue.VOWELS
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("graph", nargs="?", type=Path, default=vowels.graph)
    parser.add_argument("samples", nargs="?", type=Path, default=vowels.calibration)
    parser.add_argument("--target", default="xylo")
    parser.add_argument("--dt", type=float, help="seconds; by default told by the file")
    parser.add_argument("--reset", default=vowels.reset)
    parser.add_argument("--limit", type=int, help="only so many samples, the first")
    parser.add_argument("--budget", type=int, default=250, help="evaluations of a search")
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    with np.load(args.samples) as data:
        spikes = data["spikes" if "spikes" in data else "x"][: args.limit].astype(np.uint8)
    rivals = optimisers()
    rows: dict[str, list[tuple[float, float, float]]] = {name: [] for name in rivals}
    seconds = dict.fromkeys(rivals, 0.0)
    for seed in track(range(args.seeds), "seeds", transient=True):
        task = problem(args.graph, spikes, args.target, Semantics(args.dt, args.reset), seed)
        first = task.tuning(task.points[0])
        (before,), (held_before,) = task.searched.score_all([first]), task.held.score_all([first])
        for name, optimiser in rivals.items():
            begin = time.perf_counter()
            found = optimiser(task.values, task.points, args.budget, seed)
            seconds[name] += (time.perf_counter() - begin) / args.seeds
            (held,) = task.held.score_all([task.tuning(found.point)])
            rows[name].append((found.value - before.value, held.value - held_before.value, held.hits - held_before.hits))
    lines = []
    for name, found_rows in rows.items():
        gain, unseen, hits = np.array(found_rows).T
        opponent = np.mean([row[0] for row in rows[OPPONENT]])
        ratio = f"{gain.mean() / opponent:.2f}" if opponent > 0 else "no gain"
        figures = (mean(gain, 4), ratio, mean(unseen, 4), mean(hits, 1, 100.0))
        lines.append((name, *figures, f"{seconds[name]:.1f}"))
    title = f"{args.graph.stem} on {args.target}: {args.budget} evaluations of {len(task.knobs)} knobs, {args.seeds} seeds"
    columns = (
        "optimiser",
        "gain",
        f"ratio to {OPPONENT.rsplit(maxsplit=1)[-1]}",
        "gain, unseen half",
        "agreement there, points",
        "s a search",
    )
    Console(width=WIDTH).print(table(title, columns, lines))


if __name__ == "__main__":
    main()
