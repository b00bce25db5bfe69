"""Weights of a neuron, or of an output channel, rounded together for the recorded activity."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from nirhw.calibration.activity import Columns, Patches, columns_of, sets_of
from nirhw.network import Ints, Network, Population
from nirhw.numerics import Grid
from nirhw.operators import Array
from nirhw.pipeline import Context
from nirhw.rounding import MOST_CELLS, Moment, compensated, drive_fit, likely_error

from .convolution import SharedKernel
from .formats import WeightFormat, keeps
from .structure import CARRY_SUFFIX, SOURCE
from .ways import Chosen, Way

#: threshold registers tried between the largest one and its half, where there is time
FORMATS = 12

#: returns the error of the drive by row, for weights, grids, factors and a moment
ErrorRule = Callable[[Array, Sequence[tuple[Grid, int]], Array, Moment], Array]


@dataclass(frozen=True, eq=False)
class _Family:
    """Ways whose weights share their rows: all matrices into a population, or all kernels over the same plane."""

    members: list[int]
    full: list[Array]
    moments: list[tuple[Ints, Moment]]

    def problem(self, chosen: list[Chosen], mantissa: int) -> tuple[Array, list[tuple[Grid, int]], Array]:
        """Return weights ``[row, column]``, grids with their columns, and chip units per unit of weight by column."""
        some, widths = [chosen[k] for k in self.members], [f.shape[1] for f in self.full]
        grids = [(_signed(c.way.format), n) for c, n in zip(some, widths, strict=True)]
        factor = np.repeat([mantissa / 2.0**c.exponent for c in some], widths)[None]
        return np.concatenate(self.full, axis=1), grids, factor

    def rounded(self, weights: Array, grids: list[tuple[Grid, int]], factor: Array) -> Array:
        """Return integers ``[row, column]``."""
        integers = np.zeros(weights.shape)
        for rows, moment in self.moments:
            integers[rows] = compensated(weights[rows], grids, factor, moment)
        return integers

    def parts(self, integers: Array) -> list[Array]:
        """Return the columns of each way."""
        return np.split(integers, np.cumsum([f.shape[1] for f in self.full])[:-1], axis=1)


@dataclass(frozen=True, eq=False)
class Together:
    """How the ways into a population are rounded for the recorded activity."""

    pop: Population
    families: list[_Family]
    context: Context

    def rounded(self, chosen: list[Chosen], mantissa: int) -> list[Chosen]:
        """Return better integers than those given, for the same formats."""
        made = list(chosen)
        for family in self.families:
            weights, grids, factor = family.problem(chosen, mantissa)
            integers = family.rounded(weights, grids, factor)
            for k, part in zip(family.members, family.parts(integers), strict=True):
                made[k] = replace(chosen[k], integers=_gathered(chosen[k].way, part).astype(np.int64))
        return made

    def record(self, chosen: list[Chosen], mantissa: int) -> None:
        """Record how far the chosen integers move the drive."""
        for family in self.families:
            integers = np.concatenate(
                [_spread(chosen[k].way, chosen[k].integers.astype(np.float64)) for k in family.members], axis=1
            )
            fit = drive_fit(self.pop.name, *family.problem(chosen, mantissa), integers, family.moments)
            self.context.drives.append(fit)

    def best(self, ways: list[Way], mantissa: int, exponents: list[int], top: int) -> tuple[int, list[int]]:
        """Return the threshold register up to ``top`` and the exponents with the least error of the drive.

        Tried are those given, others within an octave, and exponents one lower, at which the largest weights are clipped.
        """
        if len(self.context.drive_shares) == 1:  # no time
            return mantissa, exponents
        tried = [(mantissa, exponents)]
        for m in np.unique(np.geomspace(max(1.0, top / 2.0), top, FORMATS).astype(np.int64)).tolist():
            plain = [w.exponent(m, w.largest) for w in ways]
            tried += [(m, plain), (m, [max(e - 1, 0) for e in plain])]
        likely = [self._error(ways, t[0], t[1], likely_error) for t in tried]
        return min(tried[0], tried[int(np.argmin(likely))], key=lambda t: self._error(ways, t[0], t[1], _exact_error))

    def _error(self, ways: list[Way], mantissa: int, exponents: list[int], rule: ErrorRule) -> float:
        chosen = [Chosen(w, np.zeros(0, np.int64), e) for w, e in zip(ways, exponents, strict=True)]
        total = 0.0
        for family in self.families:
            weights, grids, factor = family.problem(chosen, mantissa)
            total += sum(float(rule(weights[rows], grids, factor, moment).sum()) for rows, moment in family.moments)
        return total


def _exact_error(weights: Array, grids: Sequence[tuple[Grid, int]], factor: Array, moment: Moment) -> Array:
    return moment.error(compensated(weights, grids, factor, moment) / factor - weights)


def rounding_together(network: Network, pop: Population, ways: list[Way], context: Context) -> Together | None:
    """Return how the ways into a population are rounded for the recorded activity; None where nothing was recorded."""
    options = context.options
    if context.activity is None or options.rounding != "nearest" or options.conversion == "lava" or pop.role != "network":
        return None
    kinds: dict[tuple[int, int] | None, list[int]] = {}
    for k, way in enumerate(ways):
        # what the constant drive rounds away, a second projection holds; a carry has the reset's integers
        if way.proj.source != SOURCE and not way.proj.name.endswith(CARRY_SUFFIX):
            kinds.setdefault(None if way.kernel is None else way.kernel.out_shape[1:], []).append(k)
    families = [_family(network, pop, ways, members, context) for members in kinds.values()]
    found = [f for f in families if f is not None]
    return Together(pop, found, context) if found else None


def _family(network: Network, pop: Population, ways: list[Way], members: list[int], context: Context) -> _Family | None:
    cells = sum(_cells(ways[k]) for k in members)
    if context.activity is None or cells > MOST_CELLS:
        return None
    full = [_spread(ways[k], ways[k].values) for k in members]
    grain = pop.size // full[0].shape[0]
    keep_u, keep_v = (keep[::grain] for keep in keeps(pop.codes["du"], pop.codes["dv"]))
    moments = []
    for rows, (kept, membrane) in sets_of(keep_u, keep_v):
        columns = [_columns(ways[k], network, kept, context) for k in members]
        moment = context.activity.second_moment(columns, membrane)
        if moment is None:
            return None
        moments.append((rows, moment))
    return _Family(members, full, moments)


def _signed(form: WeightFormat) -> Grid:
    """Return the grid of the weights themselves; that of an inhibitory matrix holds their sizes."""
    grid = form.grid
    return Grid(-grid.high, 0, grid.step) if form.mode == "inhibitory" else grid


def _cells(way: Way) -> int:
    """Return how many weights the way has as a full matrix."""
    if way.kernel is None:
        return int(np.prod(way.matrix.shape))
    return way.values.size * way.kernel.groups


def _groups(kernel: SharedKernel) -> tuple[Ints, Ints]:
    """Return channel group and input channel, ``[out_channel, in_channel of the group]``, of a kernel's weights."""
    out, per_group = kernel.weight.shape[:2]
    group = np.arange(out) // (out // kernel.groups)
    return np.arange(out)[:, None], group[:, None] * per_group + np.arange(per_group)


def _spread(way: Way, values: Array) -> Array:
    """Return the values of a way as a full matrix: ``[post, pre]``, or of a kernel ``[out_channel, tap]``."""
    if way.kernel is None:
        matrix = way.matrix.copy()
        matrix.data = values
        return np.asarray(matrix.toarray())
    shape = way.kernel.weight.shape
    full = np.zeros((shape[0], way.kernel.in_shape[0], *shape[2:]))
    full[_groups(way.kernel)] = values.reshape(shape)
    return full.reshape(shape[0], -1)


def _gathered(way: Way, full: Array) -> Array:
    """Return what stands in a full matrix for each value of a way; the inverse of :func:`_spread`."""
    if way.kernel is None:
        rows = np.repeat(np.arange(full.shape[0]), np.diff(way.matrix.indptr))
        return np.asarray(full[rows, way.matrix.indices])
    shape = way.kernel.weight.shape
    return full.reshape(shape[0], way.kernel.in_shape[0], *shape[2:])[_groups(way.kernel)].ravel()


def _columns(way: Way, network: Network, kept: float, context: Context) -> Columns:
    plain = columns_of(way.proj, network, context.record.lag, kept)
    kernel = way.kernel
    if kernel is None:
        return plain
    rows, columns = kernel.weight.shape[2:]
    patches = Patches(kernel.in_shape, 1, (rows, columns), kernel.stride, kernel.padding, kernel.out_shape[1:], kernel.dilation)
    return replace(plain, patches=patches)
