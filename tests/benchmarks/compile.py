"""Time of a compile, from an in-memory graph to a checked configuration, beside ``nir.read`` of the same file.

``python tests/benchmarks/compile.py``; warm, imports excluded, medians.  The goals: the Braille net under 15 ms.  (rockpool 3.1.0's own
route was measured at about 35 ms on the machine of the fact sheets, without a check of the result.)
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
CASES: tuple[tuple[str, Path, dict[str, Any]], ...] = (
    ("Braille, no bias", SHARED / "zoo/repo_braille_noDelay_noBias_subtract.nir", {"reset": "subtract"}),
    ("Braille, bias", SHARED / "zoo/repo_braille_noDelay_bias_zero.nir", {"reset": "zero"}),
    ("vowels", ROOT / "demo/networks/vowels_cubalif.nir", {"reset": "subtract"}),
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
    for title, path, options in CASES:
        if not path.exists():
            rows.append((title, "skipped: file missing", "", "", ""))
            continue
        graph = nir.read(path)
        compiling = median_ms(lambda graph=graph, options=options: nirhw.compile(graph, "xylo", **options))  # type: ignore[misc]
        reading = median_ms(lambda path=path: nir.read(path))  # type: ignore[misc]
        rows.append((title, f"{compiling:.1f}", f"{reading:.1f}", f"{compiling / reading:.2f}", "15"))
    columns = ("network", "compile to xylo, ms", "nir.read of its file, ms", "ratio", "goal, ms")
    Console().print(table("Compile", columns, rows))


if __name__ == "__main__":
    main()
