"""How well numbers of the network fit the chip's codes: rows of the report, the same for all targets."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirhw.operators import Array


@dataclass(frozen=True)
class TimeConstantFit:
    """A wanted time constant and what the chip's code achieves; steps of dt, one entry per distinct value."""

    population: str
    quantity: str
    neurons: int
    wanted: float
    code: float
    achieved: float

    @property
    def error(self) -> float:
        """Relative error of the achieved time constant; 0 where an integrator was wanted (its leak is listed apart)."""
        return self.achieved / self.wanted - 1.0 if 0 < self.wanted < np.inf else 0.0

    def as_row(self) -> dict[str, Any]:
        """Return the fit as a row of the report."""
        return {**asdict(self), "error": self.error}


@dataclass(frozen=True)
class TensorFit:
    """How well a weight tensor survived quantization.

    Attributes:
        name: of the projection.
        nodes: NIR nodes of the path.
        weights: number of non-zero weights.
        scale: smallest and largest chip units per unit of weight.
        shift: the chip multiplies the integers by ``2 ** shift``.
        sqnr_db: signal to quantization noise, infinite where nothing was lost.
        zeroed, clipped: shares of the non-zero weights.
    """

    name: str
    nodes: tuple[str, ...]
    weights: int
    scale: tuple[float, float]
    shift: int
    sqnr_db: float
    zeroed: float
    clipped: float

    @property
    def phrase(self) -> str:
        """What was lost, for the ledger."""
        return f"{self.sqnr_db:.1f} dB, {self.zeroed:.1%} become zero, {self.clipped:.1%} clipped"


@dataclass(frozen=True)
class DriveFit:
    """How far rounding moves what the neurons of a population receive on recorded activity.

    Attributes:
        population: name.
        rows: rows of weights: neurons, or channels that share a kernel.
        nearest, error: error of the drive, root mean square, as a share of the drive itself; with all weights rounded to the
            nearest at the same scale, and as they are.
    """

    population: str
    rows: int
    nearest: float
    error: float

    def as_row(self) -> dict[str, Any]:
        """Return the fit as a row of the report."""
        return asdict(self)


def time_constant_fits(
    population: str, quantity: str, wanted: Array, code: NDArray[Any], achieved: NDArray[Any]
) -> list[TimeConstantFit]:
    """Return one fit for each distinct pair of a wanted value and a code; arrays are ``(neurons,)``, times in steps."""
    rows = np.stack([wanted, np.asarray(code, np.float64), achieved])
    distinct, counts = np.unique(rows, axis=1, return_counts=True)
    return [
        TimeConstantFit(population, quantity, int(n), float(w), float(c), float(a))
        for (w, c, a), n in zip(distinct.T, counts, strict=True)
    ]


def tensor_fit(
    name: str, nodes: tuple[str, ...], weights: Array, integers: NDArray[Any], scale: Array, shift: int = 0, step: int = 1
) -> TensorFit:
    """Return how well ``integers * 2 ** shift / scale`` represents ``weights``; all three broadcast against each other.

    A weight that is off by more than ``step`` integers counts as clipped.
    """
    present = weights != 0.0
    total = max(int(present.sum()), 1)
    unit = 2.0**shift / scale
    got = integers * unit
    lost = got - weights
    noise, signal = float((lost**2).sum()), float((weights**2).sum())
    sqnr = np.inf if noise == 0.0 else 10.0 * np.log10(max(signal, 1e-300) / noise)
    return TensorFit(
        name,
        nodes,
        int(present.sum()),
        (float(scale.min(initial=np.inf)), float(scale.max(initial=0.0))),
        shift,
        float(sqnr),
        float((present & (integers == 0)).sum() / total),
        float((np.abs(lost) > step * unit * (1.0 + 1e-9)).sum() / total),
    )
