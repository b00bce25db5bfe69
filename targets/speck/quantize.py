"""Kernels, thresholds and biases to the chip's integers.

All neurons of a core share one integer threshold, so one number decides a layer: the threshold ``n``.  Weights count in
thresholds (the layout folded r and unequal thresholds into them) and become ``round(weight * n)``.  The lower bound of the
state has no part in this scale: it lies as low as 16 bits allow.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nirhw.diagnostics import error
from nirhw.fits import tensor_fit
from nirhw.hardware import Hardware
from nirhw.network import Network, Population
from nirhw.numerics import Grid, percentile_scale
from nirhw.operators import Array
from nirhw.pipeline import Context

from .compensate import rounded_together
from .knobs import tuned_weights
from .layers import Integers, Layer
from .legalize import room_of, step_bias


@dataclass(frozen=True)
class QuantizeKernels:
    """Choose a threshold per layer, round, and list what was lost."""

    name: str = "quantize-kernels"

    def apply(self, network: Network, context: Context) -> Network:
        """Fill ``record.integers`` and ``record.tensors``; the network stays as it is.

        Raises:
            QuantizeError: NIRHW-E034 where a weight or a bias is too large beside the threshold.
        """
        nodes = {p.name: p.nodes for p in network.projections}
        for name, layer in context.record.layers.items():
            pop = network.populations[name]
            by_channel = layer.plane[0], -1
            room = room_of(pop).reshape(by_channel)[:, 0]
            bias = step_bias(pop).reshape(by_channel)[:, 0] / room * context.options.tick_steps
            bias = bias * context.tuned(f"bias.{name}", 1.0)
            level, kernels = _level_and_kernels(layer, bias, pop, context)
            _list_fits(kernels, layer, pop, level, nodes, context)
            _list_rules(kernels, level, pop, layer, context)
            subtracts = pop.reset == "subtract"
            context.record.integers[name] = Integers(
                kernels,
                # a spike needs v > threshold: neurons that subtract start one unit lower, for all others it is one unit higher
                threshold=level if subtracts else level + 1,
                start=-1 if subtracts else _start(pop, room, level, context),
                bias=_leak(bias, level, pop, context),
                scale=level / room,
            )
        return network


def lower_bound(hardware: Hardware) -> int:
    """Return the lower bound of all states: no weight lifts a state at the bound out of 16 bits, whose rule is unknown."""
    return hardware["state_min"] - hardware["weight_min"]


def weight_grid(context: Context) -> Grid:
    """Return the weights that a core can hold."""
    hardware = context.hardware
    return Grid(hardware["weight_min"], hardware["weight_max"], truncate=context.options.rounding == "truncate")


def _level_and_kernels(layer: Layer, bias: Array, pop: Population, context: Context) -> tuple[int, dict[str, Array]]:
    """Return the threshold in weight units with the least error, or by the rule that was asked for, and the kernels."""
    grid = weight_grid(context)
    levels = _levels(layer, bias, pop, context)
    flat = _flat(layer, pop, context)
    losses = [float(((grid.nearest(flat * n) / n - flat) ** 2).sum()) for n in levels] if levels.size > 1 else [0.0]
    best = np.argsort(losses, kind="stable")
    level = int(levels[best[0]])
    together = rounded_together(layer, pop, levels[best[: len(context.drive_shares)]], grid, context)
    if together is not None:
        return together
    return level, {w.projection: grid.nearest(tuned_weights(w.stencil.weight, pop, context) * level) for w in layer.ways}


def _flat(layer: Layer, pop: Population, context: Context) -> Array:
    return np.concatenate([tuned_weights(w.stencil.weight, pop, context).ravel() for w in layer.ways if w.owner])


def _levels(layer: Layer, bias: Array, pop: Population, context: Context) -> NDArray[np.int64]:
    """Return the thresholds in weight units that may be tried."""
    options, hardware, grid = context.options, context.hardware, weight_grid(context)
    flat = _flat(layer, pop, context)
    high, low = float(flat.max(initial=0.0)), float(flat.min(initial=0.0))
    most = float(hardware["threshold_max"] - 1)
    if np.any(bias):
        most = min(most, hardware["bias_max"] / float(np.abs(bias).max()))
    if most < 1 or max(high / grid.high, low / grid.low) > 1:
        raise error(
            "NIRHW-E034",
            f"a weight is {max(high, -low):.3g} thresholds, a bias {float(np.abs(bias).max()):.3g} a tick",
            pop.nodes,
            f"both are held in 8 bits beside a whole threshold of at least 1: at most {grid.high} thresholds",
            "lower the weights, raise the threshold, or shorten the tick",
        )
    full = min([most, *(end / value for end, value in ((grid.high, high), (grid.low, low)) if value)])
    if options.scaling == "percentile":
        rows = np.zeros(flat.size, np.int64)
        full = max(full, min(most, float(percentile_scale(flat, rows, 1, grid, options.percentile)[0])))
    levels = [full / share for share in context.shares] if options.scaling == "error" else [full]
    return np.unique(np.clip(np.floor(levels), 1, most)).astype(np.int64)


def _list_fits(
    kernels: dict[str, Array], layer: Layer, pop: Population, level: int, nodes: dict[str, tuple[str, ...]], context: Context
) -> None:
    for way in layer.ways:
        weights = tuned_weights(way.stencil.weight, pop, context)
        fit = tensor_fit(way.projection, nodes[way.projection], weights, kernels[way.projection], np.array([float(level)]))
        context.record.tensors.append(fit)
        if np.isfinite(fit.sqnr_db):
            context.deviate("rounded", "weights", fit.nodes, f"8-bit weights: {fit.phrase}")


def _start(pop: Population, room: Array, level: int, context: Context) -> int:
    """Return the initial state: 0 in the network's units, where a spike leaves the chip's state at 0 for v_reset."""
    if pop.reset != "value" or pop.v_reset is None:
        return 0
    start = round(float(-pop.v_reset[0] / room[0]) * level)
    hardware = context.hardware
    if not lower_bound(hardware) <= start <= level:
        raise error(
            "NIRHW-E034",
            f"the reset potential {pop.v_reset[0]:.3g} lies {start} units from the initial state",
            pop.nodes,
            f"states have 16 bits, the threshold is {level} units above reset",
            "bring v_reset nearer to 0",
        )
    return start


def _leak(bias: Array, level: int, pop: Population, context: Context) -> NDArray[np.int64]:
    leak = np.rint(bias * level).astype(np.int64)
    lost = np.abs(leak / level - bias)
    if np.any(lost):
        context.deviate("rounded", "bias", pop.nodes, f"biases round by up to {lost.max():.3%} of the threshold a tick")
    return leak


def _list_rules(kernels: dict[str, Array], level: int, pop: Population, layer: Layer, context: Context) -> None:
    """List where counting by events may differ from counting by steps."""
    positive = sum(np.maximum(k, 0.0).sum(axis=(1, 2, 3)) for k in kernels.values())
    largest = max(float(k.max(initial=0.0)) for k in kernels.values())
    peak, order = context.options.input_peak, any(np.any(k < 0) for k in kernels.values())
    once = not order and pop.reset == "subtract" and peak == 1 and float(np.max(positive)) <= level
    if not once:
        context.deviate(
            "semantic",
            "event-driven",
            pop.nodes,
            "a neuron fires at the event that lifts it to its threshold, at most once an event and as often as events come; "
            "the network sums a step first and fires once",
        )
    if largest > level:
        context.warn(
            "NIRHW-W011",
            f"a weight is {largest / level:.3g} times the threshold",
            pop.nodes,
            "an event makes a neuron fire once; what is left above the threshold waits for the next event",
            "train with weights below the threshold, or with several spikes a step",
        )
    if order:
        context.deviate(
            "rounded",
            "lower-bound",
            pop.nodes,
            f"a membrane stays above {lower_bound(context.hardware) / level:.0f} thresholds",
        )
