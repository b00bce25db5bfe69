"""Time of a compile, from an in-memory graph to a checked configuration, beside ``nir.read`` of the same file.

``python tests/benchmarks/compile.py``; warm, imports excluded, medians.  The goals: the Braille net on Xylo under 15 ms (rockpool 3.1.0's own route
was measured at about 35 ms on a machine of two cores), the N-MNIST network on Speck under 20 ms (sinabs 3.1.3: 26 to 41 ms), both
without a check of the result on their side.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nir
from rich.console import Console

import nirhw
from nirhw.report.text import table

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("NIRHW_SHARED", ROOT.parent / "shared"))
REPEATS = 40
#: title, file, target, options, goal in ms
CASES: tuple[tuple[str, Path, str, dict[str, Any], int], ...] = (
    ("Braille, no bias", SHARED / "zoo/repo_braille_noDelay_noBias_subtract.nir", "xylo", {"reset": "subtract"}, 15),
    ("Braille, bias", SHARED / "zoo/repo_braille_noDelay_bias_zero.nir", "xylo", {"reset": "zero"}, 15),
    ("vowels", ROOT / "demo/networks/vowels_cubalif.nir", "xylo", {"reset": "subtract"}, 15),
    ("N-MNIST, convolutional", SHARED / "zoo/repo_cnn_sinabs.nir", "speck", {"reset": "subtract"}, 20),
    ("digits, convolutional", ROOT / "demo/networks/digits_conv_if.nir", "speck", {"reset": "subtract"}, 20),
)


def median_ms(work: Callable[[], object]) -> float:
    """Return the median time of ``work`` in milliseconds, after warming up."""
    for _ in range(5):
        work()
    laps = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        laps.append(time.perf_counter() - start)
    return 1e3 * statistics.median(laps)


def main() -> None:
    """Print the table."""
    rows = []
    for title, path, target, options, goal in CASES:
        if not path.exists():
            rows.append((title, target, "skipped: file missing", "", "", ""))
            continue
        graph = nir.read(path)
        compiling = median_ms(lambda case=(graph, target), options=options: nirhw.compile(*case, **options))  # type: ignore[misc]
        reading = median_ms(lambda path=path: nir.read(path))  # type: ignore[misc]
        rows.append((title, target, f"{compiling:.1f}", f"{reading:.1f}", f"{compiling / reading:.2f}", str(goal)))
    columns = ("network", "target", "compile, ms", "nir.read of its file, ms", "ratio", "goal, ms")
    Console().print(table("Compile", columns, rows))


if __name__ == "__main__":
    main()
