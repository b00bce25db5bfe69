"""Weights, thresholds and biases to the chip's integers.

Each neuron has a scale of its own (thresholds are per neuron, so one factor on a neuron's weights, bias and threshold changes
nothing but rounding); the three weight matrices have one bit shift each.  Scales are as large as 16-bit states allow: a state
below ``2 ** code`` leaks linearly instead of exponentially.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from nirhw.fits import tensor_fit
from nirhw.network import Network, Population, Projection, Quantized
from nirhw.numerics import Grid, least_error_scale, percentile_scale
from nirhw.operators import Array, frozen
from nirhw.pipeline import Context

from .compensate import moments_into, rounded_together
from .drivers import KNOB, driven
from .kernels import SECOND
from .knobs import depth, gains, moved
from .matrices import matrix_of
from .registers import relay_registers, with_registers

STATE_MAX = 32767
#: the membrane may reach the threshold plus this many times a step in which all sources fire at once
PEAK_STEPS = 4.0
#: a relay of an input needs weights of both matrices in proportion
RELAY_SHIFT_SPREAD = 5


@dataclass(frozen=True, eq=False)
class _Rows:
    """The weights that end in one population, at scale 1: by projection, dense ``[post, pre]``.

    ``bias`` is the weight that a bias neuron would need in ``bias_matrix``.
    """

    pop: Population
    weights: dict[str, Array]
    matrix: dict[str, str]
    largest: dict[str, Array]
    spread: dict[str, Array]
    count: dict[str, Array]
    cap: Array
    bias_matrix: str
    bias: Array


@dataclass(frozen=True)
class QuantizeWeights:
    """Choose shifts and scales, round, and list what was lost."""

    name: str = "quantize-weights"

    def apply(self, network: Network, context: Context) -> Network:
        """Fill codes and quantized projections; fill ``record.scale``, ``record.shifts`` and ``record.tensors``."""
        record = context.record
        rows = {
            name: _rows(network, pop, context)
            for name, pop in network.populations.items()
            if pop.rule != "input" and pop.role == "network"
        }
        hidden = [r for n, r in rows.items() if record.layer[n] == "hidden"]
        output = [r for n, r in rows.items() if record.layer[n] == "output"]
        spread = RELAY_SHIFT_SPREAD if any(p.role == "relay" for p in network.populations.values()) else 99
        shifts, scales = _choose_shifts(hidden, ("input", "hidden"), context, spread)
        out_shifts, out_scales = _choose_shifts(output, ("readout",), context, 99)
        record.shifts.update({"input": 0, "hidden": 0, "readout": 0} | shifts | out_shifts)
        populations, quantized = [], {}
        for name, row in rows.items():
            scale, row, integers = _integers({**scales, **out_scales}[name], row, network, context)
            record.scale[name] = scale
            for proj in network.into(name):
                quantized[proj.name] = _listed(proj, row, integers[proj.name], scale, context)
            populations.append(with_registers(row.pop, scale, context))
        for pop in network.populations.values():
            if pop.role == "relay":
                relay, parts = relay_registers(network, pop, context)
                populations.append(relay)
                quantized |= parts
        projections = tuple(replace(p, quantized=quantized[p.name]) if p.name in quantized else p for p in network.projections)
        return replace(network.with_populations(populations), projections=projections)


def _rows(network: Network, pop: Population, context: Context) -> _Rows:
    record = context.record
    weights, matrix = {}, {}
    largest: dict[str, Array] = {}
    spread: dict[str, Array] = {}
    count: dict[str, Array] = {}
    positive, negative, astray = np.zeros(pop.size), np.zeros(pop.size), np.zeros(pop.size)
    most = context.hardware["hidden_spikes"]
    for proj in network.into(pop.name):
        values = proj.operator.matrix.toarray() * record.factor[pop.name, proj.port][:, None]
        values = values * gains(proj, values, network, context)
        group = matrix_of(proj, record.layer)
        weights[proj.name], matrix[proj.name] = values, group
        size = np.abs(values)
        zero = np.zeros(pop.size)
        largest[group] = np.maximum(largest.get(group, zero), size.max(axis=1, initial=0.0))
        spread[group] = spread.get(group, zero) + (values**2).sum(axis=1)
        count[group] = count.get(group, zero) + np.count_nonzero(values, axis=1)
        positive += np.maximum(values, 0.0).sum(axis=1)
        negative += np.maximum(-values, 0.0).sum(axis=1)
        if np.any(held := driven(network.populations[proj.source], context)):
            # until its driver makes up for it, such a neuron's events move the current
            astray = np.maximum(astray, most * size[:, held].max(axis=1, initial=0.0))
    burst = np.maximum(positive, negative) + astray
    constant = np.abs(record.constant[pop.name])
    if pop.threshold is None:
        # an analog neuron integrates without reset: bound its membrane when all sources fire in every step of the network
        syn = max(int(c.max()) for k, c in pop.codes.items() if k.startswith("i_syn"))
        current = burst / (1.0 - (1.0 - 2.0**-syn) ** context.options.time_stretch)
        reach = (current + constant) * 2.0 ** np.minimum(pop.codes["v_mem_decay"], 8) + 1e-12
        cap = (STATE_MAX - 1) / reach
    else:
        reach = record.reach.get(pop.name, np.zeros(pop.size))
        register = np.maximum(depth(pop, context), np.where(reach > 0, 1.0 + reach, 0.0)) * pop.threshold
        cap = (STATE_MAX - 1) / (register + PEAK_STEPS * burst + constant + 1e-12)
        # what only lifts the resting level, since resets are deeper than thresholds, should need no bias neuron
        biased = pop.membrane.leak != 0.0 if pop.membrane else False
        for port in pop.ports:
            biased = biased | (port.bias != 0.0)
        cap = np.minimum(cap, np.where(biased, np.inf, context.hardware["bias_max"] / (constant + 1e-12)))
    settled = 2.0 ** pop.codes[f"i_syn_decay:{pop.ports[0].name}"] - 1.0
    bias_matrix = "readout" if record.layer[pop.name] == "output" else "hidden"
    return _Rows(pop, weights, matrix, largest, spread, count, cap, bias_matrix, constant / settled)


def _choose_shifts(
    rows: list[_Rows], groups: tuple[str, ...], context: Context, max_spread: int
) -> tuple[dict[str, int], dict[str, Array]]:
    """Return the shift by matrix and the scale by population with the least expected error of drive and leak."""
    if not rows:
        return {}, {}
    w_max, last = context.hardware["weight_max"], context.hardware["weight_shift_max"]
    best: tuple[float, dict[str, int], dict[str, Array]] | None = None
    for top in range(last + 1):
        scales = {row.pop.name: _largest_scale(row, dict.fromkeys(groups, top), w_max) for row in rows}
        need = dict.fromkeys(groups, 0.0)
        for row in rows:
            scale = scales[row.pop.name]
            for group, largest in row.largest.items():
                need[group] = max(need[group], float((scale * largest).max(initial=0.0)))
            beyond = scale * np.abs(context.record.constant[row.pop.name]) > context.hardware["bias_max"]
            if np.any(beyond):
                need[row.bias_matrix] = max(need[row.bias_matrix], float((scale * row.bias)[beyond].max()))
        shifts = {g: min(max(0, int(np.ceil(np.log2(max(n, 1e-300) / (w_max + 0.49))))), last) for g, n in need.items()}
        shifts = _near(shifts, max_spread)
        loss = sum(_expected_loss(row, scales[row.pop.name], shifts) for row in rows)
        if best is None or loss < best[0]:
            best = loss, shifts, scales
    assert best is not None  # there is at least shift 0
    tuned = {g: int(moved(np.asarray(s), f"shift.{g}", 0, last, context)) for g, s in best[1].items()}
    if tuned == best[1]:
        return best[1], best[2]
    tuned = _near(tuned, max_spread)
    return tuned, {row.pop.name: _largest_scale(row, tuned, w_max) for row in rows}


def _largest_scale(row: _Rows, shifts: dict[str, int], w_max: int) -> Array:
    """Return the largest scale by neuron at which states stay in range and no weight is clipped with some shifts."""
    scale = row.cap.copy()
    for group, largest in row.largest.items():
        with np.errstate(divide="ignore"):
            scale = np.minimum(scale, w_max * 2.0 ** shifts[group] / largest)
    return scale


def _near(shifts: dict[str, int], max_spread: int) -> dict[str, int]:
    """Return shifts of which the hidden weights' is at most so much above the inputs'."""
    if "input" not in shifts:
        return shifts
    return {**shifts, "input": max(shifts["input"], shifts["hidden"] - max_spread)}


def _expected_loss(row: _Rows, scale: Array, shifts: dict[str, int]) -> float:
    """Return the summed relative error of drive (rounding noise) and leak (whole units) of a population's neurons."""
    loss = np.zeros(row.pop.size)
    for group, spread in row.spread.items():
        noise = row.count[group] * 4.0 ** shifts[group] / 12.0
        loss += np.where(spread > 0, noise / np.maximum(scale**2 * spread, 1e-300), 0.0)
    level = np.abs(scale * (row.pop.threshold if row.pop.threshold is not None else 1.0))
    loss += (0.5 * 2.0 ** np.minimum(row.pop.codes["v_mem_decay"], 12) / np.maximum(level, 1.0)) ** 2
    return float(loss.sum())


def _refined(scale: Array, row: _Rows, context: Context) -> Array:
    """Return the scale by the chosen rule; larger than max scaling clips the largest weights."""
    options, shifts = context.options, context.record.shifts
    if options.scaling == "max" or not row.weights:
        return frozen(scale)
    stacked = np.concatenate(list(row.weights.values()), axis=1)
    unit = np.concatenate([np.full(w.shape, 2.0 ** shifts[row.matrix[n]]) for n, w in row.weights.items()], axis=1).ravel()
    neuron = np.repeat(np.arange(scale.size), stacked.shape[1])
    grid = _grid(context)
    if options.scaling == "percentile":
        wanted = percentile_scale(stacked.ravel() / unit, neuron, scale.size, grid, options.percentile)
        return frozen(np.where(np.isfinite(wanted), np.minimum(np.maximum(wanted, scale), row.cap), scale))
    return frozen(least_error_scale(stacked.ravel(), neuron, scale, grid, row.cap, context.shares, unit))


def _grid(context: Context) -> Grid:
    """Return the weights that there are; those of a driven neuron must have an opposite."""
    hardware = context.hardware
    lowest = -hardware["weight_max"] if context.tuned(KNOB, 0) else hardware["weight_min"]
    return Grid(lowest, hardware["weight_max"], truncate=context.options.rounding == "truncate")


def _integers(start: Array, row: _Rows, network: Network, context: Context) -> tuple[Array, _Rows, dict[str, Array]]:
    """Return scale, weights and integers by projection, from the scale that clips nothing."""
    grid = _grid(context)
    units = {n: 2.0 ** context.record.shifts[matrix] for n, matrix in row.matrix.items()}
    scale = _refined(start, row, context)
    if context.activity is not None and not grid.truncate and row.weights:
        moments = moments_into(network, row.pop, context.activity, context)
        if moments is not None:
            scale, integers = rounded_together(row.pop, row.weights, units, scale, row.cap, grid, moments, context)
            return frozen(scale), row, integers
    factor = {n: scale[:, None] / unit for n, unit in units.items()}
    row = _made_up(row, network, factor, grid, context)
    return scale, row, {n: grid.nearest(w * factor[n]) for n, w in row.weights.items()}


def _made_up(row: _Rows, network: Network, factor: dict[str, Array], grid: Grid, context: Context) -> _Rows:
    """Return weights in which the faster of two synapses makes up for what rounding takes from the slower one."""
    weights = dict(row.weights)
    ways = {(p.source, p.port): p.name for p in network.into(row.pop.name)}
    for (source, port), slow in ways.items():
        split = context.record.splits.get((row.pop.name, port.removesuffix(SECOND)))
        if split is not None and port.endswith(SECOND):
            lost = weights[slow] - grid.nearest(weights[slow] * factor[slow]) / factor[slow]
            fast = ways[source, port.removesuffix(SECOND)]
            weights[fast] = weights[fast] + split.carried[:, None] * lost
    return replace(row, weights=weights)


def _listed(proj: Projection, row: _Rows, integers: Array, scale: Array, context: Context) -> Quantized:
    from scipy.sparse import csr_array

    shift = context.record.shifts[row.matrix[proj.name]]
    fit = tensor_fit(proj.name, proj.nodes, row.weights[proj.name], integers, scale[:, None], shift)
    context.record.tensors.append(fit)
    if np.isfinite(fit.sqnr_db):
        which = " of the second synapse" if proj.port.endswith(SECOND) else ""
        context.deviate("rounded", "weights", proj.nodes, f"8-bit weights{which}: {fit.phrase}")
    return Quantized(csr_array(integers.astype(np.int64)), shift, scale)
