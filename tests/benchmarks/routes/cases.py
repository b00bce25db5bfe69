"""Networks and the data that calibrate and judge them."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
ROOT = Path(__file__).resolve().parents[3]
NETWORKS = ROOT / "demo" / "networks"
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

    ``calibration`` is None where the network has no calibration samples; none of them is a test sample.
    """

    name: str
    graph: Path
    dt: float
    reset: str
    calibration: Array | None
    spikes: Array
    labels: Array

    def first(self, samples: int) -> Case:
        """Return the case with at most so many test samples."""
        return replace(self, spikes=self.spikes[:samples], labels=self.labels[:samples])


def all_cases(folder: Path = NETWORKS) -> list[Case]:
    """Return the networks of a folder, and the two Braille networks where the shared folder is there."""
    return [*(demo_case(path) for path in sorted(folder.glob("*.nir"))), *braille_cases()]


def demo_case(graph: Path) -> Case:
    """Return a network; its data lie beside it under words of its name: ``vowels_test.npz`` of ``vowels_cubalif.nir``."""
    with np.load(_data_of(graph, "test")) as test:
        spikes, labels, dt, reset = (test[key] for key in ("spikes", "labels", "dt", "reset"))
    try:
        with np.load(_data_of(graph, "calibration")) as data:
            calibration = data["spikes"]
    except FileNotFoundError:
        calibration = None
    return Case(graph.stem, graph, float(dt), str(reset), calibration, spikes, labels)


def _data_of(graph: Path, part: str) -> Path:
    """Return the file beside a graph whose name has the most of the graph's words and no other."""
    words = set(graph.stem.split("_"))
    names = {path: set(path.stem.split("_")) - {part} for path in sorted(graph.parent.glob(f"*_{part}.npz"))}
    suiting = [path for path, own in names.items() if own <= words]
    if not suiting:
        raise FileNotFoundError(f"no {part} data beside {graph}")
    return max(suiting, key=lambda path: len(names[path]))


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
