"""Speed of reading NIR files: nirhw (pure Python, guarded) against ``nir.read`` (h5py), in one process, warm.

``python tests/benchmarks/reading.py`` prints a table; the target is a ratio of at most 2.  Sample graphs come from the
folder ``zoo`` in ``NIRHW_SHARED`` (default: ``shared`` beside the repository), further files are written here.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import nir
import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from nirhw.nir_file import read_nir_file

ZOO = Path(os.environ.get("NIRHW_SHARED", Path(__file__).parents[3] / "shared")) / "zoo"
REPEATS = 15
TARGET = 2.0


def chain(*nodes: nir.NIRNode) -> nir.NIRGraph:
    """Return a graph of ``nodes`` in a row, unchecked."""
    named = {f"layer{i}": node for i, node in enumerate(nodes)}
    return nir.NIRGraph(named, list(zip(named, list(named)[1:], strict=False)), type_check=False)


def lif(size: int) -> nir.LIF:
    """Return a LIF population with random parameters."""
    names = ("tau", "r", "v_leak", "v_threshold", "v_reset")
    return nir.LIF(**{name: np.random.default_rng(0).random(size, np.float32) for name in names})


def write_samples(folder: Path) -> list[Path]:
    """Write graphs of other sizes than the sample graphs: many nodes, large weights packed and plain."""
    dice = np.random.default_rng(0)
    weight = dice.normal(size=(2000, 2000)).astype("f4")
    samples = {
        "200 LIF layers": (chain(*(lif(8) for _ in range(200))), "gzip"),
        "16 MB gzip": (chain(nir.Linear(weight=weight), lif(2000)), "gzip"),
        "16 MB plain": (chain(nir.Linear(weight=weight), lif(2000)), None),
        "16 MB pruned gzip": (chain(nir.Linear(weight=weight * (dice.random(weight.shape) < 0.1))), "gzip"),
    }
    for name, (graph, compression) in samples.items():
        nir.write(folder / f"{name}.nir", graph, compression=compression)
    return [folder / f"{name}.nir" for name in samples]


def medians(
    first: Callable[[], object], second: Callable[[], object], clock: Callable[[], float] = time.perf_counter
) -> tuple[float, float]:
    """Return the median times in ms of two functions that are run in turn, by a clock in seconds."""
    times: tuple[list[float], list[float]] = ([], [])
    for round_ in range(REPEATS + 1):
        for function, spent in zip((first, second), times, strict=True):
            start = clock()
            function()
            if round_:  # the first round warms up
                spent.append(1e3 * (clock() - start))
    return statistics.median(times[0]), statistics.median(times[1])


def main() -> int:
    """Print the table; return 1 where a file misses the target."""
    console = Console()
    table = Table("file", "KB", "nirhw ms", "nir.read ms", "ratio", title=f"Reading, median of {REPEATS}")
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        for path in sorted(ZOO.glob("*.nir")) + write_samples(Path(folder)):
            size = f"{path.stat().st_size / 1024:.0f}"
            try:
                ours, theirs = medians(lambda p=path: read_nir_file(p), lambda p=path: nir.read(p, type_check=False))
            except (AssertionError, ValueError):
                table.add_row(escape(path.stem), size, "", "refused", "")
                continue
            missed += ours > TARGET * theirs
            table.add_row(escape(path.stem), size, f"{ours:.2f}", f"{theirs:.2f}", f"{ours / theirs:.2f}")
    console.print(table)
    console.print(f"target {TARGET}: {'missed by ' + str(missed) if missed else 'met by all'}")
    if not ZOO.is_dir():
        console.print(f"no sample graphs at {escape(str(ZOO))}")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
