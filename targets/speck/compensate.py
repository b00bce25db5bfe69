"""Kernels of a layer rounded for the recorded activity: the weights of an output channel make up for each other's errors."""

from __future__ import annotations

import numpy as np

from nirhw.calibration.activity import Columns, Patches
from nirhw.network import Ints, Population
from nirhw.numerics import Grid
from nirhw.operators import Array
from nirhw.pipeline import Context
from nirhw.rounding import compensated_scale, drive_fit

from .knobs import tuned_weights
from .layers import Layer, Way


def rounded_together(
    layer: Layer, pop: Population, levels: Ints, grid: Grid, context: Context
) -> tuple[int, dict[str, Array]] | None:
    """Return the threshold and the integers by projection, whole floats ``[out, in, ky, kx]``; None where nothing was recorded.

    Args:
        layer: with its ways.
        pop: its population.
        levels: thresholds to try, in weight units.
        grid: the chip's integers.
        context: of the compilation.
    """
    if context.activity is None or grid.truncate:
        return None
    owners = [w for w in layer.ways if w.owner]
    assert pop.membrane is not None  # spiking
    moment = context.activity.second_moment([_columns(w, layer, context) for w in owners], float(pop.membrane.decay[0]))
    if moment is None:
        return None
    weights = [tuned_weights(w.stencil.weight, pop, context) for w in owners]
    stacked = np.concatenate([w.reshape(w.shape[0], -1) for w in weights], axis=1)
    grids = [(grid, stacked.shape[1])]
    tried = np.repeat(levels[:, None].astype(np.float64), stacked.shape[0], axis=1)
    scale, integers = compensated_scale(stacked, grids, np.ones(1), tried, moment, shared=True)
    rows = np.arange(stacked.shape[0])
    context.drives.append(drive_fit(pop.name, stacked, grids, scale[:, None], integers, [(rows, moment)]))
    parts = np.split(integers, np.cumsum([w[0].size for w in weights])[:-1], axis=1)
    by_channel = {o.first: p.reshape(w.shape) for o, p, w in zip(owners, parts, weights, strict=True)}
    return round(scale[0]), {w.projection: by_channel[w.first] for w in layer.ways}


def _columns(way: Way, layer: Layer, context: Context) -> Columns:
    """Return the taps of a way, with the spikes of those that use the same ones."""
    sources = tuple((w.source, 0) for w in layer.ways if w.first == way.first)
    form = way.stencil
    rows, columns = form.weight.shape[2:]
    patches = Patches(context.record.planes[way.source], form.pooling, (rows, columns), form.stride, form.lead, form.target[1:])
    return Columns(sources, patches=patches)
