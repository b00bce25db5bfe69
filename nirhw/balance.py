"""Rounding whose errors cancel where they add up, for want of recorded activity.

The drive of a neuron is off by the errors of its weights, each as often as its source fires.  Over the steps that a membrane
remembers, sources that fire independently at equal rates make a mean squared error in proportion to ``sum(e ** 2) + COHERENCE *
sum(e) ** 2``: the first term is noise, the second a constant push, up or down, that no averaging takes away.  The sums are over
the weights of one projection onto one neuron, as sources within a projection have more of a rate in common than projections have.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nirhw.numerics import Grid
from nirhw.operators import Array

#: weight of the squared sum of errors: steps remembered times rate over 1 - rate; about 1 at 5 % and 20 steps.  Shares from 0.3
#: to 3 measured alike
COHERENCE = 1.0


def drive_error(lost: Array, row: NDArray[np.int64], rows: int) -> Array:
    """Return the drive error of every row, ``(rows,)``, for the errors ``lost`` of flat weights and the row of each."""
    noise = np.bincount(row, lost**2, minlength=rows)
    return np.asarray(noise + COHERENCE * np.bincount(row, lost, minlength=rows) ** 2)


def balanced(units: Array, row: NDArray[np.int64], rows: int, grid: Grid) -> Array:
    """Return ``units`` on the grid, some rounded the other way so that the errors of a row cancel.

    Weights of 0 stay 0 and no weight changes its sign.  By row, :func:`drive_error` is never larger than with all weights on the
    nearest integer.  A grid that truncates is left to do so.

    Args:
        units: flat weights in chip units.
        row: row of each, below ``rows``: what shares a neuron and a projection.
        rows: number of rows.
        grid: integers of the chip.
    """
    whole = grid.nearest(units)
    if grid.truncate:
        return whole
    error = (whole - units) / grid.step
    total = np.bincount(row, error, minlength=rows)
    way = -np.sign(total)[row]
    moved = whole + way * grid.step
    free = (units != 0.0) & (way != 0.0) & (moved >= grid.low) & (moved <= grid.high) & (moved * units >= 0.0)
    noise = np.where(free, 1.0 + 2.0 * way * error, np.inf)
    order = np.lexsort((noise, row))
    sorted_row = row[order]
    rank = np.arange(row.size) - np.searchsorted(sorted_row, sorted_row)
    # both terms grow with the rank, so those that pay are the first of their row
    change = noise[order] + COHERENCE * (1.0 - 2.0 * (np.abs(total)[sorted_row] - rank))
    chosen = order[change < -1e-9]
    whole[chosen] = moved[chosen]
    return whole
