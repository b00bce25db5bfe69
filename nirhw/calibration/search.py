"""Derivative-free search in the unit cube.

Covariance matrix adaptation (package ``cmaes``), restarted where it has converged: chosen over other optimisers by
``tests/benchmarks/calibration_search.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nirhw.diagnostics import error
from nirhw.operators import Array

#: first step length of the runs, in widths of the cube: far around the default, then nearer and nearer around the best
STEPS = (0.3, 0.15, 0.05)
#: share of the budget without a better point after which a run is given up
PATIENCE = 0.3

#: returns one value for each point of ``points[candidate, coordinate]``; larger is better, -inf for an impossible candidate
Evaluate = Callable[[Array], list[float]]


@dataclass
class Found:
    """The best point so far.

    Attributes:
        point: in the unit cube.
        value: its value.
        evaluations: how many points were evaluated.
        history: best value after each batch, as (evaluations, value).
        interrupted: whether the user stopped the search.
    """

    point: Array
    value: float
    evaluations: int = 1
    history: list[tuple[int, float]] = field(default_factory=list)
    interrupted: bool = False


def search(
    evaluate: Evaluate,
    starts: Array,
    budget: int,
    seed: int,
    watch: Callable[[Found], None] | None = None,
    steps: tuple[float, ...] = STEPS,
) -> Found:
    """Return the best of at most ``budget`` points; the first are ``starts``, so the result is never worse than these.

    Args:
        evaluate: values of a batch of points.
        starts: where to begin, ``[start, coordinate]`` in the unit cube; the first run begins at the best of them.
        budget: evaluations, at least 1.
        seed: of all random numbers; the same seed finds the same point.
        watch: told what was found so far, after each batch.  A KeyboardInterrupt, in it or in ``evaluate``, ends the search and
            keeps the best.
        steps: first step length of the runs, in turns.

    Raises:
        UsageError: NIRHW-E004 where the package ``cmaes`` is missing.
    """
    found = Found(starts[0], -np.inf, 0)

    def booked(points: Array) -> list[float]:
        values = _book(found, points, evaluate)
        if watch:
            watch(found)
        return values

    try:
        booked(starts[:budget])
        run = 0
        while found.evaluations < budget and starts.size:
            _climb(found, booked, budget, seed + run, steps[run % len(steps)])
            run += 1
    except KeyboardInterrupt:
        found.interrupted = True
    return found


def _climb(found: Found, evaluate: Evaluate, budget: int, seed: int, step: float) -> None:
    """Run one adaptation from the best point until it has converged, stalls or the budget is spent."""
    optimiser = _optimiser(found.point, seed, step)
    best, last_gain = -np.inf, found.evaluations
    while found.evaluations < budget:
        asked = [optimiser.ask() for _ in range(optimiser.population_size)]
        points = np.array(asked)[: budget - found.evaluations]
        values = evaluate(points)
        if len(values) < len(asked):
            return
        optimiser.tell([(point, -value) for point, value in zip(asked, values, strict=True)])
        if max(values) > best + 1e-9:
            best, last_gain = max(values), found.evaluations
        if optimiser.should_stop() or found.evaluations - last_gain > PATIENCE * budget:
            return


def _book(found: Found, points: Array, evaluate: Evaluate) -> list[float]:
    values = evaluate(points)
    at = int(np.argmax(values))
    if values[at] > found.value or not found.evaluations:
        found.point, found.value = points[at], values[at]
    found.evaluations += len(values)
    found.history.append((found.evaluations, found.value))
    # an impossible candidate is worst, but finite
    return [value if np.isfinite(value) else -1e3 for value in values]


def _optimiser(start: Array, seed: int, step: float) -> Any:
    try:
        from cmaes import CMA
    except ImportError:
        raise error(
            "NIRHW-E004",
            "calibration needs the package 'cmaes'",
            fix="pip install 'nirhw[calibration]', or compile without calibration data",
        ) from None
    bounds = np.tile([0.0, 1.0], (start.size, 1))
    return CMA(mean=start, sigma=step, bounds=bounds, seed=seed % (1 << 32))
