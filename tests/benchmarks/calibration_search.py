"""Optimisers for calibration, side by side: the same objective, budget and seeds on a Braille network for Xylo.

    python tests/benchmarks/calibration_search.py GRAPH SAMPLES.npz [--reset zero] [--budget 300] [--seeds 3]

Prints by optimiser the mean value and hits on the search half, and the agreement on the check half.  Package ``cma`` is compared
where it is installed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np

import nirhw
from nirhw.calibration import driver, search
from nirhw.operators import Array

Optimiser = Callable[..., search.Found]


class _Spent(Exception):
    """The budget is spent."""


def _counted(run: Callable[[Callable[[Array], float], Array, int], None]) -> Optimiser:
    """Return an optimiser with the interface of :func:`nirhw.calibration.search.search` around one that asks point by point."""

    def optimise(evaluate, starts, levels, budget, seed, watch=None):  # type: ignore[no-untyped-def]
        values = evaluate(starts)
        at = int(np.argmax(values))
        found = search.Found(starts[at], values[at], len(values))

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
    loss(np.random.default_rng(seed).random(start.size))


def _nelder_mead(loss: Callable[[Array], float], start: Array, seed: int) -> None:
    from scipy.optimize import minimize

    spread = np.random.default_rng(seed).uniform(-0.3, 0.3, (start.size + 1, start.size))
    spread[0] = 0.0
    minimize(loss, start, method="Nelder-Mead", options={"initial_simplex": np.clip(start + spread, 0, 1), "adaptive": True})


def _differential_evolution(loss: Callable[[Array], float], start: Array, seed: int) -> None:
    from scipy.optimize import differential_evolution

    differential_evolution(loss, [(0, 1)] * start.size, seed=seed, x0=start, popsize=2, polish=False, maxiter=10_000, tol=0)


def _powell(loss: Callable[[Array], float], start: Array, seed: int) -> None:
    from scipy.optimize import minimize

    begin = np.clip(start + np.random.default_rng(seed).normal(0, 0.1, start.size), 0, 1)
    minimize(loss, begin, method="Powell", bounds=[(0, 1)] * start.size)


def _cma(loss: Callable[[Array], float], start: Array, seed: int) -> None:
    import cma

    cma.fmin(loss, start, 0.3, {"bounds": [0, 1], "seed": seed + 1, "verbose": -9})


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("graph")
    parser.add_argument("samples")
    parser.add_argument("--reset", default="zero")
    parser.add_argument("--budget", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    spikes = np.load(args.samples)["x"].astype(np.uint8)
    optimisers: dict[str, Optimiser] = {
        "cmaes.CMAwM": search.search,
        "random": _counted(_random),
        "scipy Nelder-Mead": _counted(_nelder_mead),
        "scipy DE": _counted(_differential_evolution),
        "scipy Powell": _counted(_powell),
    }
    if find_spec("cma"):
        optimisers["cma.fmin"] = _counted(_cma)
    for name, optimiser in optimisers.items():
        driver.search = optimiser  # type: ignore[attr-defined]
        rows, begin = [], time.perf_counter()
        for seed in range(args.seeds):
            model = nirhw.compile(args.graph, reset=args.reset, calibration=spikes, budget=args.budget, seed=seed)
            found = model.report.data["calibration"]
            check = [share["value"] for share in found["check"]["agreement"].values()]
            rows.append((found["search_value"], found["search_hits"], np.mean(check)))
        value, hits, held = np.mean(rows, axis=0)
        seconds = (time.perf_counter() - begin) / args.seeds
        print(f"{name:18s} value {value:.4f}  search {hits:.3f}  check {held:.3f}  {seconds:.1f} s a run", flush=True)


if __name__ == "__main__":
    main()
