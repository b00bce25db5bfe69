"""What all export scripts share: a fixed input, and how a graph and its simulation are stored.

Runs in the exporters' own environments, so it needs numpy and the ``nir`` package alone, in any version.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

STEPS = 80
SEED = 0


def spikes(*shape: int, rate: float = 0.3) -> np.ndarray:
    """Return the fixed input, ``(STEPS, *shape)`` of zeros and ones."""
    return (np.random.default_rng(SEED).random((STEPS, *shape)) < rate).astype(np.float32)


def weights(*shape: int, gain: float = 1.0, seed: int = SEED) -> np.ndarray:
    """Return random weights, slightly excitatory, whose spread suits their fan-in."""
    fan_in = int(np.prod(shape[1:]))
    return (np.random.default_rng(seed + 1).normal(0.25, 1.0, shape) * gain / np.sqrt(fan_in)).astype(np.float32)


class Recorder:
    """Writes ``<case>.nir`` and ``<case>.npz`` (``spikes``, ``output``) into the folder given on the command line."""

    def __init__(self, exporter: str, *packages: str):
        self.folder = Path(sys.argv[1])
        self.folder.mkdir(parents=True, exist_ok=True)
        for old in (*self.folder.glob("*.nir"), *self.folder.glob("*.npz"), *self.folder.glob("refused.txt")):
            old.unlink()
        versions = {name: version(name) for name in (exporter, "nir", *packages)}
        (self.folder / "versions.txt").write_text(" ".join(f"{k}=={v}" for k, v in versions.items()) + "\n")

    def save(self, case: str, graph: Any, spikes: np.ndarray, output: Any) -> None:
        """Store one graph with what its exporter's own simulation makes of the input, both ``(STEPS, ...)``."""
        import nir

        try:
            nir.write(str(self.folder / f"{case}.nir"), graph)
        except Exception as reason:
            (self.folder / f"{case}.nir").unlink(missing_ok=True)
            self.refused(case, reason)
            return
        output = np.asarray(output, dtype=np.float64)
        np.savez(self.folder / f"{case}.npz", spikes=np.asarray(spikes), output=output)
        print(f"  {case}: {len(graph.nodes)} nodes, output {output.shape}, {output.sum():g} in all")

    def refused(self, case: str, reason: BaseException) -> None:
        """Note that the exporter could not write a graph."""
        with (self.folder / "refused.txt").open("a") as file:
            file.write(f"{case}: {type(reason).__name__}: {reason}\n")
        print(f"  {case}: not exported ({type(reason).__name__}: {reason})")
