"""Weights to integers so that what a neuron receives changes least, instead of each weight by itself.

The error of a neuron's drive on recorded activity is the quadratic form ``e H e`` of the errors ``e`` of its weights with the
second moment ``H`` of what arrives at them.  Weights are rounded one at a time and the error of each is fed forward to those
that are still open (Frantar et al., GPTQ, ICLR 2023, from Hassibi & Stork, NeurIPS 1993).  Moving single integers afterwards
would lower the form by another percent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nirhw.fits import DriveFit
from nirhw.network import Ints
from nirhw.numerics import Grid
from nirhw.operators import Array

#: added to the diagonal of a second moment, as a share of its mean: how far the recorded activity is trusted
DAMPING = 0.05
#: columns whose errors are fed forward at once
BLOCK = 64
#: products beyond which only the likeliest scale is worked out
MOST_PRODUCTS = 2e9
#: weights of a population, absent ones among them, beyond which each is rounded by itself
MOST_CELLS = 30_000_000


@dataclass(frozen=True, eq=False)
class Moment:
    """Second moment of what arrives at the weights of a row, ``[column, column]``, cut into blocks where it is very large.

    Attributes:
        parts: the blocks on the diagonal; moments between columns of different blocks count as 0.
    """

    parts: tuple[Array, ...]

    def error(self, lost: Array) -> Array:
        """Return the mean squared error of the drive by row, ``(rows,)``, for errors ``lost[row, column]`` of the weights."""
        total, first = np.zeros(lost.shape[0]), 0
        for part in self.parts:
            some = lost[:, first : first + part.shape[0]]
            total += np.einsum("rc,rc->r", some @ part, some)
            first += part.shape[0]
        return np.maximum(total, 0.0)

    @cached_property
    def steps(self) -> tuple[_Steps, ...]:
        """How errors are fed forward in each block; worked out once."""
        return tuple(_steps(part) for part in self.parts)


@dataclass(frozen=True, eq=False)
class _Steps:
    """Order of the columns of a block, and the upper triangular factor by which errors go to later columns."""

    order: Ints
    passing: Array

    @property
    def alone(self) -> Array:
        """What an error costs that the columns after it have made up for as well as they can, in the columns' own order."""
        cost = np.empty(self.order.size)
        cost[self.order] = 1.0 / np.diagonal(self.passing) ** 2
        return cost


def _steps(moment: Array) -> _Steps:
    diagonal = np.diagonal(moment)
    mean = float(diagonal[diagonal > 0].mean()) if np.any(diagonal > 0) else 1.0
    order = np.argsort(-diagonal, kind="stable")
    damped = moment[np.ix_(order, order)] + np.diag(DAMPING * mean + np.where(diagonal[order] > 0, 0.0, mean))
    inverse = np.linalg.inv(np.linalg.cholesky(damped))
    # upper factor U of the inverse: inverse(damped) = U.T U
    return _Steps(order, np.ascontiguousarray(np.linalg.cholesky(inverse.T @ inverse).T))


@dataclass(frozen=True, eq=False)
class _Cells:
    """The grid of every column: arrays ``(columns,)``."""

    low: Array
    high: Array
    step: Array

    @classmethod
    def of(cls, grids: Sequence[tuple[Grid, int]]) -> _Cells:
        """Return the cells of grids with the number of columns of each."""
        counts = [n for _, n in grids]
        return cls(*(np.repeat([float(getattr(g, k)) for g, _ in grids], counts) for k in ("low", "high", "step")))

    def of_columns(self, columns: Ints) -> _Cells:
        """Return the cells of some columns."""
        return _Cells(self.low[columns], self.high[columns], self.step[columns])

    def nearest(self, units: Array, column: int | slice = slice(None)) -> Array:
        """Return ``units[row, column]``, or of one column ``units[row]``, on the grid."""
        step = self.step[column]
        return np.asarray(np.clip(np.rint(units / step) * step, self.low[column], self.high[column]))


def compensated(
    weights: Array, grids: Sequence[tuple[Grid, int]], factor: Array, moment: Moment, keep_signs: bool = False
) -> Array:
    """Return integers whose errors make up for each other in the drive of every row.

    Weights of 0 stay 0: a synapse that does not exist is not made.

    Args:
        weights: ``[row, column]``, in the network's units.
        grids: integers of the chip, each with the number of columns that it holds; rounding is to the nearest.
        factor: chip units per unit of weight, positive, broadcasts to ``[row, column]``.
        moment: second moment of what arrives at the columns.
        keep_signs: no integer has another sign than its weight.

    Returns:
        Whole floats ``[row, column]``.  By row, :meth:`Moment.error` is never larger than with each weight rounded to the
        nearest.
    """
    cells = _Cells.of(grids)
    factor = np.broadcast_to(factor, weights.shape)
    plain = np.where(weights != 0.0, cells.nearest(weights * factor), 0.0)
    found, first = plain.copy(), 0
    for part, steps in zip(moment.parts, moment.steps, strict=True):
        columns = first + steps.order
        first += part.shape[0]
        some = weights[:, columns], factor[:, columns], cells.of_columns(columns)
        found[:, columns] = _fed_forward(*some, steps.passing, keep_signs)
    before, after = (moment.error(q / factor - weights) for q in (plain, found))
    return np.where((after <= before)[:, None], found, plain)


def compensated_scale(
    weights: Array,
    grids: Sequence[tuple[Grid, int]],
    unit: Array,
    tried: Array,
    moment: Moment,
    shared: bool = False,
    keep_signs: bool = False,
) -> tuple[Array, Array]:
    """Return the scale with the least error of the drive, and the integers at it.

    Args:
        weights: ``[row, column]``, in the network's units.
        grids: integers of the chip, each with the number of columns that it holds.
        unit: chip units that one unit of a column's integers stands for, broadcasts to ``[row, column]``.
        tried: chip units per unit of weight, ``[candidate, row]``.
        moment: second moment of what arrives at the columns.
        shared: all rows take the same candidate, instead of each its own.
        keep_signs: no integer has another sign than its weight.

    Returns:
        Scale ``(rows,)`` and whole floats ``[row, column]``; the error, by row or shared, is never larger than that of rounding
        to the nearest at any of the candidates, unless there are so many weights that only the likeliest one is worked out.
    """
    if weights.size * weights.shape[1] * tried.shape[0] > MOST_PRODUCTS:
        likely = np.array([likely_error(weights, grids, t[:, None] / unit, moment) for t in tried])
        tried = _chosen(tried, likely, shared)[None]
    count, rows = tried.shape
    factor = (tried[:, :, None] / unit).reshape(count * rows, -1)
    stacked = np.tile(weights, (count, 1))
    integers = compensated(stacked, grids, factor, moment, keep_signs)
    errors = moment.error(integers / factor - stacked).reshape(count, rows)
    return _chosen(tried, errors, shared), _chosen(integers.reshape(count, rows, -1), errors, shared)


def _chosen(values: Array, errors: Array, shared: bool) -> Array:
    """Return of ``values[candidate, row, ...]`` those with the least of ``errors[candidate, row]``."""
    best = np.full(errors.shape[1], errors.sum(axis=1).argmin()) if shared else errors.argmin(axis=0)
    return np.asarray(values[best, np.arange(errors.shape[1])])


def likely_error(weights: Array, grids: Sequence[tuple[Grid, int]], factor: Array, moment: Moment) -> Array:
    """Return about what :func:`compensated` leaves of the drive's error by row, ``(rows,)``, in far less time.

    Args:
        weights: ``[row, column]``, in the network's units.
        grids: integers of the chip, each with the number of columns that it holds.
        factor: chip units per unit of weight, broadcasts to ``[row, column]``.
        moment: second moment of what arrives at the columns.
    """
    alone = np.concatenate([s.alone for s in moment.steps])
    return np.asarray(((_Cells.of(grids).nearest(weights * factor) / factor - weights) ** 2) @ alone)


def _fed_forward(weights: Array, factor: Array, cells: _Cells, passing: Array, keep_signs: bool) -> Array:
    """Return the integers of one block, columns in the order in which they are rounded.

    ``passing`` is the upper triangular factor by which the error of a column goes to the later ones.
    """
    wanted, integers = weights.copy(), np.zeros(weights.shape)
    count = weights.shape[1]
    for first in range(0, count, BLOCK):
        last = min(first + BLOCK, count)
        fed = np.zeros((weights.shape[0], last - first))
        for j in range(first, last):
            q = cells.nearest(wanted[:, j] * factor[:, j], j)
            gone = q * weights[:, j] <= 0 if keep_signs else weights[:, j] == 0.0
            q[gone] = 0.0
            integers[:, j] = q
            error = (wanted[:, j] - q / factor[:, j]) / passing[j, j]
            fed[:, j - first] = error
            wanted[:, j + 1 : last] -= error[:, None] * passing[j, j + 1 : last]
        wanted[:, last:] -= fed @ passing[first:last, last:]
    return integers


def drive_fit(
    population: str,
    weights: Array,
    grids: Sequence[tuple[Grid, int]],
    factor: Array,
    integers: Array,
    moments: Sequence[tuple[Ints, Moment]],
) -> DriveFit:
    """Return how far ``integers`` move the drive of a population, and how far rounding to the nearest would.

    Args:
        population: name.
        weights: ``[row, column]``, in the network's units.
        grids: integers of the chip, each with the number of columns that it holds.
        factor: chip units per unit of weight, broadcasts to ``[row, column]``.
        integers: ``[row, column]``.
        moments: rows and the second moment of what arrives at them.
    """
    factor = np.broadcast_to(factor, weights.shape)
    plain = np.where(weights != 0.0, _Cells.of(grids).nearest(weights * factor), 0.0)
    sums = np.zeros(3)
    for rows, moment in moments:
        wanted = weights[rows]
        values = (plain[rows] / factor[rows] - wanted, integers[rows] / factor[rows] - wanted, wanted)
        sums += [moment.error(v).sum() for v in values]
    nearest, error = np.sqrt(sums[:2] / max(sums[2], 1e-300))
    return DriveFit(population, weights.shape[0], float(nearest), float(error))
