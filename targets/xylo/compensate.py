"""Weights of a neuron rounded together, for the recorded activity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from nirhw.calibration.activity import Activity, Columns, columns_of, sets_of
from nirhw.network import Ints, Network, Population
from nirhw.numerics import Grid, scales_around
from nirhw.operators import Array
from nirhw.pipeline import Context
from nirhw.rounding import Moment, compensated_scale, drive_fit

from .kernels import kept

Moments = list[tuple[Ints, Moment]]


def moments_into(network: Network, pop: Population, activity: Activity, context: Context) -> Moments | None:
    """Return the second moments of what arrives at the membranes of a population, by rows of equal decay codes.

    None where something that arrives was not recorded.
    """
    ways, stretch = network.into(pop.name), context.options.time_stretch
    synapses = [kept(pop.codes[f"i_syn_decay:{w.port}"]) for w in ways]
    found: Moments = []
    for rows, values in sets_of(*synapses, kept(pop.codes["v_mem_decay"])):
        # a synapse decays before its current is used
        columns = [columns_of(w, network, context.record.lag, v, v) for w, v in zip(ways, values, strict=False)]
        moment = activity.second_moment([_within_row(c, network, stretch) for c in columns], values[-1], stretch)
        if moment is None:
            return None
        found.append((rows, moment))
    return found


def _within_row(columns: Columns, network: Network, stretch: int) -> Columns:
    """Return columns whose neurons fire in the middle of a row of ``stretch`` chip steps; inputs come at its start."""
    later = {n: 0 if network.populations[n].rule == "input" else stretch // 2 for n, _ in columns.sources}
    return replace(columns, sources=tuple((n, delay + later[n]) for n, delay in columns.sources))


def rounded_together(
    pop: Population,
    weights: Mapping[str, Array],
    units: Mapping[str, float],
    scale: Array,
    cap: Array,
    grid: Grid,
    moments: Moments,
    context: Context,
) -> tuple[Array, dict[str, Array]]:
    """Return the scale ``(size,)`` and the integers by projection, whole floats ``[post, pre]``.

    Args:
        pop: the population.
        weights: by projection, ``[post, pre]``.
        units: what the integers of a projection count in, by projection.
        scale: chip units per unit of weight by neuron, around which the best one is looked for.
        cap: largest scale by neuron.
        grid: the chip's integers.
        moments: of what arrives, by rows.
        context: of the compilation.
    """
    stacked = np.concatenate(list(weights.values()), axis=1)
    widths = [w.shape[1] for w in weights.values()]
    unit = np.repeat([units[n] for n in weights], widths)
    grids = [(grid, stacked.shape[1])]
    shares = context.drive_shares if context.options.scaling == "error" else (1.0,)
    integers, found = np.zeros(stacked.shape), scale.copy()
    for rows, moment in moments:
        tried = scales_around(scale[rows], shares, cap[rows])
        found[rows], integers[rows] = compensated_scale(stacked[rows], grids, unit, tried, moment)
    context.drives.append(drive_fit(pop.name, stacked, grids, found[:, None] / unit, integers, moments))
    parts = np.split(integers, np.cumsum(widths)[:-1], axis=1)
    return found, dict(zip(weights, parts, strict=True))
