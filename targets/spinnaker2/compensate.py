"""Weights of a neuron, or of an output channel, rounded together for the recorded activity."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nirhw.calibration.activity import Columns, Patches, columns_of, sets_of
from nirhw.network import Network, Population, Projection
from nirhw.numerics import Grid, scales_around
from nirhw.operators import Array, size_of
from nirhw.pipeline import Context
from nirhw.rounding import MOST_CELLS, compensated_scale, drive_fit

from .config import CONVOLUTION
from .convolve import kernel_of
from .fit import decay_of


@dataclass(frozen=True, eq=False)
class Row:
    """The weights of one projection, flat.

    Attributes:
        proj: the projection.
        weight: each weight, at scale 1.
        post: target neuron of each weight; the first one of the channel where it is a kernel's.
        pre: source neuron of each weight; empty for a kernel.
        kernel: shape of the kernel ``[in_channel, out_channel, row, column]``; None where weights stand by synapse.
    """

    proj: Projection
    weight: Array
    post: NDArray[np.int64]
    pre: NDArray[np.int64]
    kernel: tuple[int, ...] | None = None

    @property
    def grid_shape(self) -> tuple[int, int]:
        """Rows and columns of the weights as a full matrix: ``[post, pre]``, or of a kernel ``[out_channel, tap]``."""
        if self.kernel is not None:
            return self.kernel[1], size_of(self.kernel) // self.kernel[1]
        return size_of(self.proj.operator.out_shape), size_of(self.proj.operator.in_shape)

    def spread(self, values: Array) -> Array:
        """Return ``values``, one for each weight, as a full matrix."""
        if self.kernel is not None:
            return values.reshape(self.kernel).swapaxes(0, 1).reshape(self.grid_shape)
        full = np.zeros(self.grid_shape)
        full[self.post, self.pre] = values
        return full

    def gathered(self, full: Array) -> Array:
        """Return what stands in a full matrix for each weight; the inverse of :meth:`spread`."""
        if self.kernel is None:
            return full[self.post, self.pre]
        return full.reshape(self.kernel[1], self.kernel[0], *self.kernel[2:]).swapaxes(0, 1).ravel()


def rounded_together(
    network: Network, pop: Population, rows: list[Row], scale: Array, finest: Array, grid: Grid, context: Context
) -> tuple[Array, dict[str, Array]] | None:
    """Return scale by neuron, ``(size,)``, and integers by projection, whole floats; None where nothing was recorded for it.

    Args:
        network: that is quantized.
        pop: a population.
        rows: weights of all projections that end in it, in the network's order.
        scale: chip units of v per unit of the network's v by neuron, around which the best one is looked for.
        finest: largest scale by neuron.
        grid: integers of the synapse words.
        context: of the compilation.
    """
    activity, record = context.activity, context.record
    widths = [r.grid_shape[1] for r in rows]
    if activity is None or grid.truncate or pop.role != "network" or not rows or pop.size * sum(widths) > MOST_CELLS:
        return None
    stacked = np.concatenate([r.spread(r.weight) for r in rows], axis=1)
    grain = pop.size // stacked.shape[0]
    ways = network.into(pop.name)
    kept = [decay_of(pop.port(w.port))[::grain] for w in ways]
    membrane = np.zeros(stacked.shape[0]) if pop.membrane is None else pop.membrane.decay[::grain]
    exc, inh = record.decays[pop.name]
    keep_signs = not np.array_equal(exc, inh)
    integers, found, moments = np.zeros(stacked.shape), scale[::grain].copy(), []
    shares = context.drive_shares if context.options.scale_rule == "error" else (1.0,)
    grids = [(grid, stacked.shape[1])]
    for some, values in sets_of(*kept, membrane):
        columns = [_columns(w, network, v, context) for w, v in zip(ways, values, strict=False)]
        moment = activity.second_moment(columns, values[-1])
        if moment is None:
            return None
        moments.append((some, moment))
        tried = scales_around(found[some], shares, finest[::grain][some])
        found[some], integers[some] = compensated_scale(stacked[some], grids, np.ones(1), tried, moment, keep_signs=keep_signs)
    context.drives.append(drive_fit(pop.name, stacked, grids, found[:, None], integers, moments))
    parts = np.split(integers, np.cumsum(widths)[:-1], axis=1)
    return np.repeat(found, grain), {r.proj.name: r.gathered(p) for r, p in zip(rows, parts, strict=True)}


def _columns(proj: Projection, network: Network, kept: float, context: Context) -> Columns:
    plain = columns_of(proj, network, context.record.lag, kept)
    if context.record.application[proj.target] not in CONVOLUTION:
        return plain
    kernel = kernel_of(proj.operator)
    assert kernel is not None  # the application was chosen for it
    form = kernel.geometry
    channels, height, width = kernel.in_shape
    rows, columns = kernel.weight.shape[2:]
    out_rows, out_columns = proj.operator.out_shape[1:]
    stride, lead = (form["stride"], form["stride"]), (form["pad_top"], form["pad_left"])
    patches = Patches((channels, height, width), form["pool"], (rows, columns), stride, lead, (out_rows, out_columns))
    return replace(plain, patches=patches)
