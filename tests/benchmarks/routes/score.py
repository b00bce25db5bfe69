"""Accuracy, and its difference to the float network on the same samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Score:
    """Shares of samples, 0 to 1.

    Attributes:
        accuracy: decided as the label.
        agreement: decided as the float network.
        difference: accuracy less the float network's.
        error: standard error of ``difference``, from the differences sample by sample.
    """

    accuracy: float
    agreement: float
    difference: float
    error: float

    @classmethod
    def of(cls, decided: Array, reference: Array, labels: Array) -> Score:
        """Compare decisions ``[sample]`` with the float network's and with the labels."""
        hits, wanted = decided == labels, reference == labels
        change = hits.astype(np.float64) - wanted
        error = float(np.std(change, ddof=1) / np.sqrt(change.size)) if change.size > 1 else float("nan")
        return cls(float(hits.mean()), float((decided == reference).mean()), float(change.mean()), error)

    def __str__(self) -> str:
        return f"{100 * self.accuracy:.1f} ({100 * self.difference:+.1f} ± {100 * self.error:.1f})"


@dataclass(frozen=True)
class Refusal:
    """Why there is no score: an error's code or name, and what it says."""

    code: str
    reason: str

    def __str__(self) -> str:
        return self.code


@dataclass(frozen=True)
class Way:
    """One way to bring a network to a chip: its name, what came of it, seconds of compiling or of the vendor's process."""

    name: str
    outcome: Score | Refusal
    seconds: float


@dataclass(frozen=True)
class Row:
    """One network on one chip.

    Attributes:
        network, chip: names.
        reset: reset kind of the float network that all ways are compared with.
        samples: number of test samples.
        reference: the float network's accuracy.
        ways: ours and the vendor's.
    """

    network: str
    chip: str
    reset: str
    samples: int
    reference: float
    ways: tuple[Way, ...]
