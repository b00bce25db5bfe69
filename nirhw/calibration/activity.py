"""What arrives at the neurons of a network on recorded input: spikes of the float network, and their second moments.

Passes ask for the moment of the columns of a weight matrix.  A column is a source neuron, delayed and filtered as the chip
filters it, or a tap of a kernel; kernels see a drawn part of their positions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirhw.emulation.inputs import Counts, in_chunks
from nirhw.network import Ints, Network, Projection
from nirhw.operators import Array
from nirhw.reference import run_reference
from nirhw.rounding import Moment

from .samples import CHUNK

#: spikes of all populations that are kept, bytes: beyond, fewer samples are recorded
MOST_BYTES = 1 << 29
#: columns of a block of a second moment; errors of weights in different blocks do not make up for each other
MOST_COLUMNS = 4096
#: moments in time from which a second moment is taken: a multiple of its columns, and at least so many
ROWS_PER_COLUMN = 4
FEWEST_ROWS = 16384
#: distinct sets of time constants of a population that are told apart
MOST_SETS = 8


@dataclass(frozen=True)
class Patches:
    """Positions of a kernel on a source map; a column is a tap ``[channel, row, column]``.

    Attributes:
        source: (channels, rows, columns) that spike.
        pool: side of a sum pool in front of the kernel.
        kernel, stride, lead, dilation: rows and columns; ``lead`` is zeros before the first ones.
        out: rows and columns of the target.
    """

    source: tuple[int, int, int]
    pool: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    lead: tuple[int, int]
    out: tuple[int, int]
    dilation: tuple[int, int] = (1, 1)


@dataclass(frozen=True)
class Columns:
    """Neighbouring columns of a weight matrix: what arrives from one source, or the same from several.

    Attributes:
        sources: populations and delays in steps; the spikes of several add up.  Empty: one column that is always 1.
        kept: share of the synaptic current kept a step.
        used: share of a spike that counts in the step in which it arrives.
        patches: positions of a kernel; None where every neuron of the source is a column.
        chosen: neurons of the source that are columns; None: all.
    """

    sources: tuple[tuple[str, int], ...]
    kept: float = 0.0
    used: float = 1.0
    patches: Patches | None = None
    chosen: tuple[int, ...] | None = None


@dataclass(frozen=True, eq=False)
class Activity:
    """Spikes of the float network's populations on recorded input, ``[sample, time, neuron]`` by population."""

    spikes: Mapping[str, NDArray[Any]]
    _moments: dict[Any, Moment] = field(default_factory=dict, repr=False)

    @classmethod
    def recorded(cls, network: Network, counts: Mapping[str, Counts]) -> Activity:
        """Return the activity of a float network on ``counts[input][sample, time, size]``."""
        names = [n for n, p in network.populations.items() if p.rule == "spiking" and p.role == "network"]
        batch, steps = next(iter(counts.values())).shape[:2]
        size = steps * (sum(network.populations[n].size for n in names) + sum(c.shape[2] for c in counts.values()))
        kept = int(min(batch, max(1, MOST_BYTES // max(size, 1))))
        chosen = np.arange(kept) * batch // kept
        parts: dict[str, list[NDArray[Any]]] = {n: [] for n in names}
        shapes = {name: network.populations[pop].shape for name, pop in network.inputs.items()}
        for chunk in in_chunks({n: c[chosen] for n, c in counts.items()}, shapes, CHUNK):
            run = run_reference(network, chunk, names)
            for name in names:
                spikes = run.states[name]["spikes"]
                parts[name].append(spikes.reshape(*spikes.shape[:2], -1))
        found = {n: np.concatenate(p) for n, p in parts.items()}
        return cls(found | {pop: _compact(counts[name][chosen]) for name, pop in network.inputs.items()})

    def second_moment(self, columns: Sequence[Columns], membrane: float = 0.0, stretch: int = 1) -> Moment | None:
        """Return the second moment of what arrives at ``columns``; None where some source was not recorded.

        Args:
            columns: all columns of a matrix, in their order.
            membrane: share of the membrane kept a step; what arrives is filtered by it, so slow errors count more.
            stretch: steps in which delays and shares are given, to a step of the float network.
        """
        if any(source not in self.spikes for c in columns for source, _ in c.sources):
            return None
        key = (*columns, membrane, stretch)
        if key not in self._moments:
            self._moments[key] = _moment(self.spikes, columns, membrane, stretch)
        return self._moments[key]


def _compact(counts: Counts) -> NDArray[Any]:
    """Return counts in a byte each, where that holds them."""
    return counts.astype(np.uint8) if counts.max(initial=0) <= np.iinfo(np.uint8).max else counts


def width_of(columns: Columns, spikes: Mapping[str, NDArray[Any]]) -> int:
    """Return how many columns there are."""
    if columns.patches is not None:
        return columns.patches.source[0] * columns.patches.kernel[0] * columns.patches.kernel[1]
    if columns.chosen is not None:
        return len(columns.chosen)
    return spikes[columns.sources[0][0]].shape[2] if columns.sources else 1


def columns_of(proj: Projection, network: Network, lag: Mapping[str, int], kept: float = 0.0, used: float = 1.0) -> Columns:
    """Return the columns of a projection: all neurons of its source.

    Args:
        proj: a projection whose delays are the chip's.
        network: that it is of; of a relay the neurons that it repeats are found.
        lag: steps behind the float network by population; absent is 0.
        kept: share of the synaptic current kept a step.
        used: share of a spike that counts in the step in which it arrives.
    """
    delay = int(np.median(proj.delay)) + lag.get(proj.source, 0) - lag.get(proj.target, 0)
    name, chosen = proj.source, None
    while network.populations[name].role == "relay":
        way = next(p for p in network.into(name) if p.source != name)
        index = way.operator.matrix.argmax(axis=1)
        chosen = index if chosen is None else index[chosen]
        delay += lag.get(way.source, 0) - lag.get(name, 0) + way.max_delay
        name = way.source
    if network.populations[name].role == "bias":
        return Columns((), kept, used)
    return Columns(((name, max(delay, 0)),), kept, used, None, None if chosen is None else tuple(chosen.tolist()))


def sets_of(*parameters: Array) -> list[tuple[Ints, tuple[float, ...]]]:
    """Return the rows that share their parameters, ``(rows,)`` each, and the values that they share.

    Of more than ``MOST_SETS`` sets one is made, with the mean values.
    """
    stacked = np.stack(parameters, axis=1)
    distinct, which = np.unique(stacked, axis=0, return_inverse=True)
    if distinct.shape[0] > MOST_SETS:
        return [(np.arange(stacked.shape[0]), tuple(stacked.mean(axis=0).tolist()))]
    return [(np.flatnonzero(which.ravel() == k), tuple(values.tolist())) for k, values in enumerate(distinct)]


def _moment(spikes: Mapping[str, NDArray[Any]], columns: Sequence[Columns], membrane: float, stretch: int) -> Moment:
    widths = [width_of(c, spikes) for c in columns]
    total = sum(widths)
    blocks = [(k, min(k + MOST_COLUMNS, total)) for k in range(0, total, MOST_COLUMNS)]
    sums = [np.zeros((last - first, last - first)) for first, last in blocks]
    rows: list[Array] = []
    waiting, seen = 0, 0

    def add() -> None:
        values = np.concatenate(rows)
        for (first, last), part in zip(blocks, sums, strict=True):
            part += values[:, first:last].T @ values[:, first:last]

    most = max(FEWEST_ROWS, ROWS_PER_COLUMN * min(total, MOST_COLUMNS))
    for row in _arriving(spikes, columns, membrane, most, stretch):
        rows.append(row)
        waiting, seen = waiting + row.shape[0], seen + row.shape[0]
        if waiting >= 2048:
            add()
            rows, waiting = [], 0
    if rows:
        add()
    return Moment(tuple(s / max(seen, 1) for s in sums))


def _arriving(
    spikes: Mapping[str, NDArray[Any]], columns: Sequence[Columns], membrane: float, most: int, stretch: int
) -> Iterator[Array]:
    """Yield what arrives, ``[moment, column]``, at evenly spread moments, about ``most`` of them in all."""
    batch, steps = next(iter(spikes.values())).shape[:2]
    steps *= stretch
    places = max((c.patches.out[0] * c.patches.out[1] for c in columns if c.patches), default=1)
    at_once = min(places, max(1, -(-most // (batch * steps))))  # positions of a kernel that are seen at a moment
    every = max(1, batch * steps * at_once // most)
    draw = np.random.default_rng(0)
    sizes = [spikes[c.sources[0][0]].shape[2] if c.sources else 1 for c in columns]
    current, reached = ([np.zeros((batch, n)) for n in sizes] for _ in range(2))
    for t in range(steps):
        some = np.flatnonzero((np.arange(batch) + t) % every == 0)
        where = np.sort(draw.choice(places, at_once, replace=False))
        parts = []
        for k, column in enumerate(columns):
            fresh = np.zeros((batch, sizes[k])) if column.sources else np.ones((batch, 1))
            for source, delay in column.sources:
                if t >= delay and (t - delay) % stretch == 0:
                    fresh += spikes[source][:, (t - delay) // stretch]
            current[k] = column.kept * current[k] + fresh
            reached[k] = membrane * reached[k] + current[k] - (1.0 - column.used) * fresh
            parts.append(_seen(reached[k][some], column, where))
        yield np.concatenate(parts, axis=1)


def _seen(values: Array, column: Columns, where: Ints) -> Array:
    """Return what arrives at the columns, ``[sample * position, column]``, of ``values[sample, neuron]``."""
    form = column.patches
    if form is None:
        picked = values if column.chosen is None else values[:, list(column.chosen)]
        return np.repeat(picked, where.size, axis=0)
    channels, height, width = form.source
    plane = np.zeros((values.shape[0], channels * height * width))
    plane[:, : values.shape[1]] = values  # a flat input may be a little smaller than its map
    if form.pool > 1:
        high, wide = height // form.pool, width // form.pool
        cut = plane.reshape(-1, channels, height, width)[:, :, : high * form.pool, : wide * form.pool]
        plane = cut.reshape(-1, channels, high, form.pool, wide, form.pool).sum(axis=(3, 5)).reshape(values.shape[0], -1)
    padded = np.concatenate([plane, np.zeros((values.shape[0], 1))], axis=1)  # the last one is what lies outside
    index = _taps(form, where)
    return np.asarray(padded[:, index].reshape(-1, index.shape[1]))


def _taps(form: Patches, where: Ints) -> Ints:
    """Return the source of every tap at the positions, ``[position, tap]``; -1 outside of the map."""
    channels, height, width = form.source[0], form.source[1] // form.pool, form.source[2] // form.pool
    inside, axes = [], []
    for axis, size in enumerate((height, width)):
        at = np.unravel_index(where, form.out)[axis]
        reach = at[:, None] * form.stride[axis] - form.lead[axis] + np.arange(form.kernel[axis]) * form.dilation[axis]
        inside.append((reach >= 0) & (reach < size))
        axes.append(reach)
    flat = axes[0][:, None, :, None] * width + axes[1][:, None, None, :]
    flat = flat + np.arange(channels)[None, :, None, None] * (height * width)
    present = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    return np.asarray(np.where(present, flat, -1).reshape(where.size, -1), dtype=np.int64)
