"""Networks and the data that calibrate and judge them."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[3]
sys.path.append(str(ROOT / "demo"))  # the demo's modules are imported by their bare names, as its scripts do

import catalogue  # noqa: E402

Array = NDArray[Any]
SHARED = Path(os.environ.get("NIRHW_SHARED", ROOT.parent / "shared"))
#: the first samples of the Braille set calibrate, the others judge
BRAILLE_CALIBRATION = 289
BRAILLE_DT = 1e-4
BRAILLE_GRAPHS = {
    "braille_subtract": ("repo_braille_noDelay_noBias_subtract.nir", "subtract"),
    "braille_zero": ("repo_braille_noDelay_bias_zero.nir", "zero"),
}


@dataclass(frozen=True, eq=False)
class Case:
    """A network, how it is meant, and its data, ``spikes[sample, step, ...]`` (uint8) and ``labels[sample]``.

    None of the ``calibration`` samples is a test sample.
    """

    name: str
    graph: Path
    dt: float
    reset: str
    calibration: Array
    spikes: Array
    labels: Array

    def first(self, samples: int) -> Case:
        """Return the case with at most so many test samples."""
        return replace(self, spikes=self.spikes[:samples], labels=self.labels[:samples])


def all_cases() -> list[Case]:
    """Return the demo's networks, and the two Braille networks where the shared folder is there."""
    return [*(demo_case(network) for network in catalogue.ALL), *braille_cases()]


def demo_case(network: catalogue.DemoNetwork) -> Case:
    """Return a network of the demo."""
    (calibration, _), (spikes, labels) = (catalogue.load(path) for path in (network.calibration, network.test))
    return Case(network.name, network.graph, network.dt, network.reset, calibration, spikes, labels)


def braille_cases() -> list[Case]:
    """Return the two Braille networks of the NIR paper; none where the shared folder is missing."""
    samples = SHARED / "data" / "braille7_l2mu_half.npz"
    if not samples.is_file():
        return []
    with np.load(samples) as data:
        spikes, labels = data["x"].astype(np.uint8), data["y"].astype(np.int64)
    found = []
    for name, (file, reset) in BRAILLE_GRAPHS.items():
        graph = SHARED / "zoo" / file
        if graph.is_file():
            first, rest = slice(BRAILLE_CALIBRATION), slice(BRAILLE_CALIBRATION, None)
            found.append(Case(name, graph, BRAILLE_DT, reset, spikes[first], spikes[rest], labels[rest]))
    return found
