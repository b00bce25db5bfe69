"""How long nirhw takes to start, wall time in fresh processes.

    python tests/benchmarks/startup.py

Figures only: they depend on the machine and on what else it does.  The first emulation is timed with an empty kernel cache
(numba compiles) and with a filled one; it loads a compiled model of two layers and runs one sample.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

import nirhw

ROOT = Path(__file__).resolve().parents[2]
NETWORK = ROOT / "demo" / "networks" / "vowels_cubalif.nir"
QUICK, SLOW = 15, 3
EMULATE = "import sys, numpy as np, nirhw; nirhw.load(sys.argv[1]).emulate(np.load(sys.argv[2]))"
COMMAND_LINE = "from nirhw.cli import main; main()"


def seconds(code: str, *arguments: str, **variables: str) -> float:
    """Return the wall time of a fresh interpreter that runs ``code``."""
    start = time.perf_counter()
    command = [sys.executable, "-c", code, *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, **variables}, cwd=tempfile.gettempdir())
    return time.perf_counter() - start


def first_emulations(folder: Path) -> tuple[list[float], list[float]]:
    """Return times of the first emulation in a process, with an empty and with a filled kernel cache."""
    model, spikes = str(folder / "model.nirhw"), str(folder / "spikes.npy")
    nirhw.compile(NETWORK, target="xylo", reset="subtract").save(model)
    np.save(spikes, np.random.default_rng(0).random((100, 12)) < 0.2)
    cold, warm = [], []
    for round_ in range(SLOW):
        cache = str(folder / f"cache{round_}")
        cold.append(seconds(EMULATE, model, spikes, NUMBA_CACHE_DIR=cache))
        warm.append(seconds(EMULATE, model, spikes, NUMBA_CACHE_DIR=cache))
    return cold, warm


def main() -> None:
    """Print the table."""
    table = Table("what", "runs", "median s", "fastest s", "target s", title="Start-up, fresh processes, wall time")

    def add(what: str, target: str, times: list[float]) -> None:
        table.add_row(what, str(len(times)), f"{statistics.median(times):.3f}", f"{min(times):.3f}", target)

    with tempfile.TemporaryDirectory() as folder:
        for code in ("pass", "import nirhw", "import typer"):
            seconds(code)  # what is read from disk is in memory from here on
        add("python", "", [seconds("pass") for _ in range(QUICK)])
        add("import typer", "", [seconds("import typer") for _ in range(QUICK)])
        add("import nirhw", "0.15", [seconds("import nirhw") for _ in range(QUICK)])
        add("nirhw --help", "0.3", [seconds(COMMAND_LINE, "--help") for _ in range(QUICK)])
        add("nirhw --version", "0.3", [seconds(COMMAND_LINE, "--version") for _ in range(QUICK)])
        cold, warm = first_emulations(Path(folder))
        add("first emulation, empty kernel cache", "3", cold)
        add("first emulation, filled kernel cache", "1", warm)
    Console().print(table)


if __name__ == "__main__":
    main()
