"""Threshold and bias registers, and the conversion of the NIR paper's Lava script."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nirhw.diagnostics import error
from nirhw.network import Population
from nirhw.operators import Array
from nirhw.pipeline import Context

from .config import STATE_SHIFT, Int
from .formats import UNIT, sign_mode
from .ways import Chosen, Way
from .weights import stored

#: what the NIR paper's Lava script multiplies weights by, and thresholds before it drops 9 bits
LAVA_WEIGHT_ONE, LAVA_THRESHOLD_ONE, LAVA_THRESHOLD_SHIFT = 256, 131071, 9


def literal(ways: list[Way], context: Context) -> tuple[int, list[Chosen]]:
    """Return integers as the NIR paper's Lava script makes them: 1.0 is 256 weight units, everything truncated."""
    chosen = []
    for way in ways:
        integers = np.trunc(way.values * LAVA_WEIGHT_ONE).astype(np.int64)
        acting = stored(integers, way.bits, sign_mode(integers))
        clipped = float(np.mean(np.abs(integers - acting) > LAVA_WEIGHT_ONE >> way.bits - 1)) if integers.size else 0.0
        if clipped:
            context.warn(
                "NIRHW-W010",
                f"{clipped:.1%} of the weights are clipped",
                way.proj.nodes,
                "in this conversion 256 units stand for 1.0",
                "compile with options={'conversion': 'nirhw'}",
            )
        chosen.append(Chosen(way, acting, 0))
    return LAVA_WEIGHT_ONE, chosen


def bias_exponent_max(context: Context) -> int:
    """Return the largest exponent of biases; in ``.net`` files the only one."""
    return STATE_SHIFT if context.options.netx else context.hardware["bias_exponent_max"]


def with_registers(pop: Population, unit: Array, mantissa: int, context: Context) -> Population:
    """Return the population with codes of threshold and bias; fill ``record.mantissa``."""
    hardware, record = context.hardware, context.record
    record.mantissa[pop.name] = mantissa
    threshold = np.full(pop.size, hardware["threshold_max"], np.int64)
    if pop.threshold is not None and context.options.conversion == "lava":
        threshold = np.trunc(pop.threshold * LAVA_THRESHOLD_ONE).astype(np.int64) >> LAVA_THRESHOLD_SHIFT
        _refuse_beyond(pop, threshold, hardware["threshold_max"], "threshold")
        if np.any(np.abs(threshold / mantissa - pop.threshold) > 1e-9 * pop.threshold):
            context.deviate("rounded", "threshold", pop.nodes, "the threshold is truncated to 1/256")
    elif pop.threshold is not None:
        threshold = np.where(pop.threshold > 0, mantissa, 0).astype(np.int64)
    wanted = record.constant[pop.name] / unit * (UNIT * mantissa)
    most, top = hardware["bias_mantissa_max"], bias_exponent_max(context)
    exponent = int(np.clip(np.ceil(np.log2(max(float(np.abs(wanted).max()), 1.0) / most)), 0, top))
    exponent = top if context.options.netx else exponent
    bias = np.rint(wanted / 2.0**exponent).astype(np.int64)
    _refuse_beyond(pop, np.abs(bias), most, "bias")
    off = np.abs(bias * 2.0**exponent - wanted)
    if np.any(off > 1e-9):
        worst = float((off / np.maximum(np.abs(wanted), 1e-300)).max())
        context.deviate("rounded", "bias", pop.nodes, f"biases take a 13-bit register, off by up to {min(worst, 1.0):.2%}")
    codes = {"threshold": threshold, "bias_mantissa": bias, "bias_exponent": np.full(pop.size, exponent, np.int64)}
    return replace(pop, codes={**pop.codes, **codes})


def _refuse_beyond(pop: Population, values: Int, most: int, what: str) -> None:
    if np.any(values > most):
        raise error(
            "NIRHW-E034",
            f"a {what} of {int(values.max())} exceeds its register",
            pop.nodes,
            f"it ends at {most}",
            "compile with options={'conversion': 'nirhw'}, or scale weights, biases and thresholds down together",
        )
