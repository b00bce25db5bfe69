"""The trained networks of this folder: where their files lie, and what NIR leaves open."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

NETWORKS = Path(__file__).parent / "networks"
Reset = Literal["subtract", "zero"]


@dataclass(frozen=True)
class DemoNetwork:
    """A trained network with its sets of spikes; ``dt`` in seconds (1 where the network counts in steps).

    ``calibration_seen``: the calibration samples are among those that the network was trained on.
    """

    name: str
    title: str
    data: str
    dt: float
    reset: Reset
    calibration_seen: bool = False

    @property
    def graph(self) -> Path:
        """The NIR file."""
        return NETWORKS / f"{self.name}.nir"

    @property
    def test(self) -> Path:
        """The test set."""
        return NETWORKS / f"{self.data}_test.npz"

    @property
    def calibration(self) -> Path:
        """The calibration set."""
        return NETWORKS / f"{self.data}_calibration.npz"


VOWELS = DemoNetwork("vowels_cubalif", "vowels, CubaLIF", "vowels", 1e-3, "subtract", calibration_seen=True)
#: a hard case: trained without a thought of chips, with short synapses
VOWELS_PLAIN = DemoNetwork("vowels_plain_cubalif", "vowels, CubaLIF, plain", "vowels", 1e-3, "subtract", calibration_seen=True)
POWER = DemoNetwork("power_cubalif", "power demand, CubaLIF", "power", 1e-3, "subtract")
DIGITS_MLP = DemoNetwork("digits_mlp_lif", "digits, MLP LIF", "digits_lif", 1e-3, "zero")
DIGITS = DemoNetwork("digits_conv_if", "digits, conv IF", "digits", 1.0, "subtract", calibration_seen=True)
DIGITS_CONV_LIF = DemoNetwork("digits_conv_lif", "digits, conv LIF", "digits_lif", 1e-3, "zero")

ALL = (VOWELS, VOWELS_PLAIN, POWER, DIGITS_MLP, DIGITS, DIGITS_CONV_LIF)


def load(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """``spikes[sample, step, *channel shape]`` and ``labels[sample]`` of a set."""
    with np.load(path) as data:
        return data["spikes"], data["labels"]
