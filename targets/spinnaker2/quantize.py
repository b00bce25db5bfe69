"""Weights to the integers of the synapse words, and the scale of every neuron.

Membranes, thresholds and offsets are floats on the chip and may differ from neuron to neuron, so each neuron (each channel of a
convolution) has a scale of its own: chip units of v per unit of v in the network.  Only the weights are rounded.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nirhw.balance import balanced, drive_error
from nirhw.calibration.gains import tuned_weights
from nirhw.diagnostics import error
from nirhw.fits import TensorFit, tensor_fit
from nirhw.network import Network, Population, Projection, Quantized
from nirhw.numerics import Grid, least_error_scale, max_scale, percentile_scale
from nirhw.operators import Array, entries, frozen
from nirhw.pipeline import Context

from .compensate import Row, rounded_together
from .config import CONVOLUTION, DELAYED
from .convolve import kernel_of
from .knobs import tuned_scale
from .words import finest_scale, words_of

#: multiples of one over the smallest weight that are tried as lossless scales, and what still counts as whole
MOST_MULTIPLES = 16
TOLERANCE = 1e-9
#: signal to noise beyond which only float64 itself rounds
LOSSLESS_DB = 200.0
#: about so many weights are looked at before all of them
SAMPLE = 200_000


@dataclass(frozen=True)
class QuantizeWeights:
    """Choose scales, round, and list what was lost."""

    name: str = "quantize-weights"

    def apply(self, network: Network, context: Context) -> Network:
        """Fill the quantized projections, ``record.kernels`` of those that stay kernels, ``record.scale`` and ``record.tensors``.

        Raises:
            QuantizeError: NIRHW-E034 where weights without scaling, or parameters, leave their format.
        """
        quantized: dict[str, Quantized] = {}
        for pop in network.populations.values():
            if pop.rule != "input":
                quantized |= _population(network, pop, context)
        projections = tuple(replace(p, quantized=quantized[p.name]) if p.name in quantized else p for p in network.projections)
        return replace(network, projections=projections)


def weight_limit(application: str, context: Context) -> int:
    """Return the largest magnitude of a weight in the synapse words of ``application``."""
    form = "kernel_max" if application in CONVOLUTION else "weight_max_delay" if application in DELAYED else "weight_max_no_delay"
    return context.hardware[form]


def words_of_synapse(application: str, context: Context) -> int:
    """Return how many words a synapse may take: several where 4 bits are coarse and the scale is ours to choose."""
    options = context.options
    several = application in DELAYED and options.scale_rule == "error" and not options.truncates
    return int(options.words) if several else 1


def _population(network: Network, pop: Population, context: Context) -> dict[str, Quantized]:
    record, options = context.record, context.options
    application = record.application[pop.name]
    limit = weight_limit(application, context)
    most = words_of_synapse(application, context)
    grid = Grid(-limit * most, limit * most, truncate=options.truncates)
    rows = [_tuned(_row(proj, pop, context), network, context) for proj in network.into(pop.name)]
    group = _groups(pop, context)
    scale, finest = _scale(rows, pop, group, grid, limit, context)
    scale = frozen(scale * tuned_scale(pop, network, context))
    together = (
        None
        if options.vendor or options.scale_rule == "none"
        else rounded_together(network, pop, rows, scale, np.maximum(finest, scale), grid, context)
    )
    scale = scale if together is None else frozen(together[0])
    record.scale[pop.name] = scale
    _check_parameters(pop, scale, context)
    made = {}
    for row in rows:
        factor = _weight_scale(scale, row, pop, context)
        integers = _rounded(row, factor, group, grid, context) if together is None else together[1][row.proj.name]
        if row.kernel is None:
            made[row.proj.name] = _quantized(row, integers, pop, scale, network)
        else:
            record.kernels[row.proj.name] = frozen(integers.reshape(row.kernel), np.int64)
        if pop.role == "network":
            fit = tensor_fit(row.proj.name, row.proj.nodes, row.weight, integers, factor)
            record.tensors.append(fit)
            _list_loss(row, fit, scale, group, words_of(integers.astype(np.int64), limit), application, context)
    return made


def _row(proj: Projection, pop: Population, context: Context) -> Row:
    """Return the weights of a projection: changes of v for each spike, or the network's own for the vendor's rule."""
    record = context.record
    if record.application[pop.name] in CONVOLUTION:
        kernel = kernel_of(proj.operator)
        assert kernel is not None  # the application was chosen for it
        weight, shape = kernel.weight.ravel(), kernel.weight.shape
        post = np.broadcast_to(np.arange(shape[1])[:, None, None] * record.grain[pop.name], shape).ravel()
        row = Row(proj, weight, post, np.zeros(0, np.int64), shape)
    else:
        post, pre, weight = entries(proj.operator.matrix)
        row = Row(proj, weight, post, pre)
    if context.options.vendor:
        return row
    return replace(row, weight=row.weight * record.factor[pop.name, proj.port][row.post])


def _tuned(row: Row, network: Network, context: Context) -> Row:
    return replace(row, weight=tuned_weights(row.weight, row.proj, network, context))


def _groups(pop: Population, context: Context) -> NDArray[np.int64]:
    """Return which neurons share a scale: none, those of a channel, or all under the vendor's rule."""
    if context.options.vendor:
        return np.zeros(pop.size, np.int64)
    if context.record.application[pop.name] in CONVOLUTION:
        grain: int = context.record.grain[pop.name]
        return np.arange(pop.size, dtype=np.int64) // grain
    return np.arange(pop.size, dtype=np.int64)


def _scale(
    rows: list[Row], pop: Population, group: NDArray[np.int64], grid: Grid, limit: int, context: Context
) -> tuple[Array, Array]:
    """Return chip units of v per unit of the network's v, by neuron, and the finest that there may be."""
    options, record = context.options, context.record
    factor = record.factor[pop.name, pop.ports[0].name]
    free = np.full(pop.size, np.inf)
    if options.scale_rule == "none":
        return _per_drive(np.ones(pop.size), factor, pop), free
    weights = np.concatenate([np.zeros(0), *(r.weight for r in rows)])
    key = np.concatenate([np.zeros(0, np.int64), *(group[r.post] for r in rows)])
    count = int(group[-1]) + 1
    start = max_scale(weights, key, count, replace(grid, low=-limit, high=limit))
    found = np.where(np.isfinite(start), start, 1.0)
    if options.scale_rule == "percentile":
        wanted = percentile_scale(weights, key, count, grid, options.percentile)
        found = np.where(np.isfinite(wanted), wanted, found)
    elif options.scale_rule == "error":
        finest = finest_scale(weights, key, start, limit, grid.high // limit) if grid.high > limit else start
        exact = lossless_scale(weights, key, finest)
        part = np.concatenate([np.zeros(0, np.int64), *(k * count + group[r.post] for k, r in enumerate(rows))])

        def loss(lost: Array) -> Array:
            by_part = drive_error(lost, part, len(rows) * count).reshape(len(rows), count)
            return np.asarray(by_part.sum(axis=0))

        found = least_error_scale(weights, key, found, grid, loss=loss)
        if grid.high > limit:
            free = finest[group]
            ends = np.where(np.isfinite(finest), finest, 1.0)
            finer = least_error_scale(weights, key, ends, grid, ends, loss=loss)
            lost = [loss(grid.nearest(weights * s[key]) / s[key] - weights) for s in (found, finer)]
            found = np.where(lost[1] < lost[0], finer, found)
        found = np.where(np.isfinite(exact), exact, found)
    if options.vendor:
        return _per_drive(found[group], factor, pop), free
    return frozen(found[group]), free


def lossless_scale(weights: Array, key: NDArray[np.int64], start: Array) -> Array:
    """Return the scale by row at which all of its weights are whole numbers, infinite where none is found.

    Networks trained on a grid have one: a multiple of one over the smallest weight, up to ``MOST_MULTIPLES``.

    Args:
        weights: flat, float64.
        key: row of each weight.
        start: largest scale by row; infinite where all weights are 0.
    """
    weights, key = weights[weights != 0.0], key[weights != 0.0]
    smallest = np.full(start.size, np.inf)
    np.minimum.at(smallest, key, np.abs(weights))
    found = np.full(start.size, np.inf)
    step = max(1, weights.size // SAMPLE)
    for multiple in range(1, MOST_MULTIPLES + 1):
        tried = multiple / smallest
        open_rows = np.isfinite(smallest) & np.isinf(found) & (tried <= start * (1 + TOLERANCE))
        open_rows &= ~_broken(weights[::step], key[::step], tried)  # a few weights rule out most rows
        if open_rows.any():
            chosen = open_rows[key]
            open_rows &= ~_broken(weights[chosen], key[chosen], tried)
            found[open_rows] = tried[open_rows]
    return found


def _broken(weights: Array, key: NDArray[np.int64], scale: Array) -> NDArray[np.bool_]:
    """Return which rows have a weight that is no whole number at ``scale``."""
    units = weights * scale[key]
    off = np.abs(units - np.rint(units)) > TOLERANCE * np.maximum(1.0, np.abs(units))
    return np.bincount(key[off], minlength=scale.size) > 0


def _per_drive(scale: Array, factor: Array, pop: Population) -> Array:
    """Return the scale of v for a scale of the network's own weights."""
    if np.any(factor <= 0):
        raise error(
            "NIRHW-E034",
            "a neuron whose resistance is not positive has no threshold under this rule",
            pop.nodes,
            "thresholds are divided by r",
            "compile with scaling='error' and without conversion='vendor'",
        )
    return frozen(scale / factor)


def _weight_scale(scale: Array, row: Row, pop: Population, context: Context) -> Array:
    """Return chip units per unit of the row's weights, by synapse."""
    per_neuron = scale * context.record.factor[pop.name, row.proj.port] if context.options.vendor else scale
    return np.asarray(per_neuron[row.post])


def _rounded(row: Row, factor: Array, group: NDArray[np.int64], grid: Grid, context: Context) -> Array:
    units = row.weight * factor
    if context.options.scale_rule == "none" and units.size and np.abs(units).max() >= grid.high + 1:
        raise error(
            "NIRHW-E034",
            f"a weight of {np.abs(units).max():.4g} is beyond {grid.high}",
            row.proj.nodes,
            "weights are not scaled, and a word holds no more",
            "compile with scaling='max' or 'error'",
        )
    if context.options.scale_rule == "error":
        return balanced(units, group[row.post], int(group[-1]) + 1, grid)
    return grid.nearest(units)


def _quantized(row: Row, integers: Array, pop: Population, scale: Array, network: Network) -> Quantized:
    from scipy.sparse import csr_array

    kept = integers != 0.0
    shape = (pop.size, network.populations[row.proj.source].size)
    return Quantized(csr_array((integers[kept].astype(np.int64), (row.post[kept], row.pre[kept])), shape=shape), 0, scale)


def _check_parameters(pop: Population, scale: Array, context: Context) -> None:
    largest = np.finfo(np.float32).max
    values = [scale * context.record.offset[pop.name], *(scale * p for p in (pop.threshold, pop.v_reset) if p is not None)]
    if any(not np.all(np.abs(v) < largest) for v in values):
        raise error(
            "NIRHW-E034",
            "a threshold, reset or offset leaves float32 once it is scaled to integer weights",
            pop.nodes,
            "the smallest weight and the threshold are too far apart",
            "check the units of weights and thresholds",
        )


def _list_loss(
    row: Row,
    fit: TensorFit,
    scale: Array,
    group: NDArray[np.int64],
    words: NDArray[np.int64],
    application: str,
    context: Context,
) -> None:
    if fit.clipped and context.options.scale_rule == "percentile":
        what = f"{fit.clipped:.2%} of the weights are clipped"
        context.warn("NIRHW-W010", what, row.proj.nodes, "scaling by a percentile", "use scaling='error' or a larger percentile")
    if fit.sqnr_db > LOSSLESS_DB:
        return
    if application not in DELAYED:
        context.deviate("rounded", "weights", row.proj.nodes, f"8-bit weights: {fit.phrase}")
        return
    limit = context.hardware["weight_max_no_delay"]
    key = group[row.post]
    wide = max_scale(row.weight, key, int(group[-1]) + 1, Grid(-limit, limit))[key]
    wide = np.where(np.isfinite(wide), wide, 1.0)
    other = tensor_fit("", (), row.weight, np.rint(row.weight * wide), wide).sqnr_db
    reason = (
        f"weights of 4 bits and sign, as words with delays have: {fit.phrase}; words without delays would give {other:.1f} dB"
    )
    if np.any(words > 1):
        several, mean = int((words > 1).sum()), words.sum() / fit.weights
        reason += f"; {several} synapses take several words that add up, {mean:.2f} words a weight"
    context.deviate("rounded", "weights", row.proj.nodes, reason)
