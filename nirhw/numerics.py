"""Whole-number grids of weights, and the scale that puts a row of weights on such a grid.

A row is what shares one scale: the weights of a neuron, of a channel or of a whole matrix.  Weights are given flat, with the row
of each, so that dense and sparse tensors take the same path.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nirhw.operators import Array

#: ranges tried for the least error, as shares of a row's largest weight: below 1 they clip, above 1 they only move the grid
RANGE_FACTORS = (1.0, 0.99, 1.01, 0.98, 1.02, 0.96, 1.04, 0.9, 0.8, 0.7)
#: the same where time is no matter
FINE_FACTORS = (*RANGE_FACTORS, *(round(0.5 + 0.01 * k, 2) for k in range(60) if round(0.5 + 0.01 * k, 2) not in RANGE_FACTORS))


@dataclass(frozen=True)
class Grid:
    """The weights that a chip can hold: whole multiples of ``step`` from ``low`` to ``high``.

    Attributes:
        low, high: range of the integers, both on the grid.
        step: distance of neighbours; 2 where only even weights exist.
        truncate: round toward zero instead of to the nearest.
    """

    low: int
    high: int
    step: int = 1
    truncate: bool = False

    @property
    def largest(self) -> int:
        """Largest size that both signs have."""
        return min(self.high, -self.low) if self.low < 0 else self.high

    def nearest(self, values: Array) -> Array:
        """Return ``values`` on the grid, clipped to its range, as whole floats."""
        units = values / self.step if self.step != 1 else values
        whole = np.trunc(units) if self.truncate else np.rint(units)
        return np.asarray(np.clip(whole * self.step if self.step != 1 else whole, self.low, self.high))


def largest_by_row(weights: Array, row: NDArray[np.int64], rows: int) -> Array:
    """Return the largest size of the weights of each row, 0 for a row without weights."""
    largest = np.zeros(rows)
    np.maximum.at(largest, row, np.abs(weights))
    return largest


def max_scale(weights: Array, row: NDArray[np.int64], rows: int, grid: Grid) -> Array:
    """Return the scale by row at which its largest weight meets the end of the grid; infinite where all weights are 0."""
    with np.errstate(divide="ignore", over="ignore"):
        return np.asarray(grid.largest / largest_by_row(weights, row, rows))


def percentile_scale(weights: Array, row: NDArray[np.int64], rows: int, grid: Grid, percentile: float) -> Array:
    """Return the scale by row at which ``percentile`` percent of its non-zero weights fit without clipping."""
    present = weights != 0.0
    size, row = np.abs(weights[present]), row[present]
    order = np.lexsort((size, row))
    size, count = size[order], np.bincount(row, minlength=rows)
    first = np.cumsum(count) - count
    place = first + (np.maximum(count, 1) - 1) * (percentile / 100.0)  # as numpy.percentile: linear between neighbours
    scale = np.full(rows, np.inf)
    some = count > 0
    below = np.floor(place[some]).astype(np.int64)
    above = np.minimum(below + 1, (first + count - 1)[some])
    share = place[some] - below
    with np.errstate(divide="ignore", over="ignore"):
        scale[some] = grid.largest / (size[below] * (1.0 - share) + size[above] * share)
    return scale


def scales_around(start: Array, shares: Sequence[float], cap: Array | float = np.inf) -> Array:
    """Return the scales that shares of the range around ``start`` give, at most ``cap``, ``[share, row]``."""
    return np.stack([np.minimum(start / share, cap) for share in shares])


def least_error_scale(
    weights: Array,
    row: NDArray[np.int64],
    start: Array,
    grid: Grid,
    cap: Array | float = np.inf,
    shares: Sequence[float] = RANGE_FACTORS,
    unit: Array | float = 1.0,
    loss: Callable[[Array], Array] | None = None,
) -> Array:
    """Return the scale by row with the least squared error of its weights, among shares of the range around ``start``.

    Args:
        weights: flat, float64.
        row: row of each weight.
        start: scale by row that clips nothing, finite.
        grid: integers of the chip.
        cap: largest scale by row.
        shares: of the range that are tried, 1 among them.
        unit: chip units that one unit of a weight's integer stands for, by weight.
        loss: returns what counts as the error of every row instead, for the errors of all weights.

    Returns:
        The scale by row; ``start`` itself is among the candidates, so the error is never larger than at ``start``.
    """
    best, least = start, np.full(start.shape, np.inf)
    for tried in scales_around(start, shares, cap):
        factor = tried[row] / unit
        lost = grid.nearest(weights * factor) / factor - weights
        error = loss(lost) if loss else np.bincount(row, lost**2, minlength=start.size)
        better = error < least * (1.0 - 1e-9)
        best, least = np.where(better, tried, best), np.where(better, error, least)
    return best
