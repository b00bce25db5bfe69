"""Numbers of a target that calibration may turn: names, ranges and defaults, and the unit cube in which they are searched."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from nirhw.operators import Array


@dataclass(frozen=True)
class Knob:
    """One number that the passes of a target read from ``context.tuning``.

    Attributes:
        name: such as ``"gain.input"``; unique within the target.  The name of one of the target's options sets that option.
        default: its value without calibration.
        low, high: range, both ends included; the default lies in it.
        kind: how the range is walked: ``"log"`` (a factor), ``"linear"`` (an offset), ``"step"`` (a whole number of few values,
            moved by one, each knob alone) or ``"ladder"`` (a whole number that costs resources: tried rung by rung, kept as low
            as serves).
        help: one phrase for reports.
        start: where a search begins, when that is not the default; None: at the default.
    """

    name: str
    default: float
    low: float
    high: float
    kind: Literal["log", "linear", "step", "ladder"]
    help: str
    start: float | None = None

    def __post_init__(self) -> None:
        if not self.low <= self.default <= self.high or (self.kind == "log" and self.low <= 0):
            raise ValueError(f"knob {self.name}: {self.default} does not lie in {self.low} to {self.high}")

    def to_unit(self, value: float) -> float:
        """Return where ``value`` stands in the range, 0 at ``low`` and 1 at ``high``."""
        if self.kind == "log":
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def to_value(self, unit: float) -> float:
        """Return the value at ``unit``, kept within the range."""
        share = min(max(unit, 0.0), 1.0)
        if self.kind == "log":
            return float(self.low * (self.high / self.low) ** share)
        return self.low + share * (self.high - self.low)

    def rungs(self) -> list[float]:
        """Return the values above the lowest that a ladder tries: shares of the range, each twice the one before."""
        return [float(v) for v in sorted({round(self.low + (self.high - self.low) / 2**k) for k in range(5)} - {self.low})]


def defaults(knobs: Iterable[Knob]) -> dict[str, float]:
    """Return the value of every knob without calibration."""
    return {k.name: k.default for k in knobs}


def starts(knobs: Iterable[Knob]) -> dict[str, float]:
    """Return the value of every knob at which a search begins."""
    return {k.name: k.default if k.start is None else k.start for k in knobs}


def to_point(knobs: Iterable[Knob], values: Mapping[str, float]) -> Array:
    """Return the point of the unit cube, ``(knobs,)``, for ``values``."""
    return np.array([k.to_unit(values[k.name]) for k in knobs])


def to_values(knobs: Iterable[Knob], point: Array) -> dict[str, float]:
    """Return the values of all knobs at a point of the unit cube, ``(knobs,)``; a point outside counts as the nearest inside."""
    return {k.name: k.to_value(float(u)) for k, u in zip(knobs, point, strict=True)}
