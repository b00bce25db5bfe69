"""How long nirhw takes to start, wall time and processor time in fresh processes.

    python tests/benchmarks/startup.py

Wall times depend on the machine and on what else it does, so each is also given as a ratio: of an import to a bare interpreter,
of the command line to ``import typer``, of the first emulation to an empty numba function, what numba itself takes with an empty and
with a filled cache of its own.  The first emulation is timed with an empty kernel cache (numba compiles) and with a filled one (machine
code is loaded); it loads a compiled model of two layers, or compiles it anew, and runs one sample.
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
COMPILE = "import sys, numpy as np, nirhw; nirhw.compile(sys.argv[1], 'xylo', reset='subtract').emulate(np.load(sys.argv[2]))"
EMPTY = "import numpy as np, numba\n@numba.njit(cache=True)\ndef empty(values): pass\nempty(np.zeros(1))\n"
NUMBA = "empty numba function"
COMMAND_LINE = "from nirhw.cli import main; main()"


Times = tuple[float, float]


def seconds(*arguments: str, **variables: str) -> Times:
    """Return wall time and processor time of a fresh interpreter with these arguments."""
    begin, start = os.times(), time.perf_counter()
    environment = {**os.environ, **variables}
    subprocess.run(
        [sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, env=environment, cwd=tempfile.gettempdir()
    )
    end, wall = os.times(), time.perf_counter() - start
    return wall, end.children_user + end.children_system - begin.children_user - begin.children_system


def first_emulations(folder: Path) -> dict[str, list[Times]]:
    """Return times of the first emulation in a process, and of an empty numba function, by what is in the kernel cache."""
    model, spikes, script = str(folder / "model.nirhw"), str(folder / "spikes.npy"), folder / "empty.py"
    nirhw.compile(NETWORK, target="xylo", reset="subtract").save(model)
    np.save(spikes, np.random.default_rng(0).random((100, 12)) < 0.2)
    script.write_text(EMPTY)
    times: dict[str, list[Times]] = {}
    for round_ in range(SLOW):
        for name, arguments in {
            "load, first emulation": ("-c", EMULATE, model, spikes),
            "compile, first emulation": ("-c", COMPILE, str(NETWORK), spikes),
            NUMBA: (str(script),),
        }.items():
            cache = str(folder / f"cache {name} {round_}")
            for state in ("empty", "filled"):
                times.setdefault(f"{name}, {state} kernel cache", []).append(seconds(*arguments, NUMBA_CACHE_DIR=cache))
    return times


def main() -> None:
    """Print the table."""
    columns = ("what", "runs", "wall s, median", "fastest", "processor s, median", "least", "opponent", "ratio", "target wall s")
    table = Table(*columns, title="Start-up, fresh processes")
    medians: dict[str, float] = {}

    def add(what: str, target: str, times: list[Times], opponent: str = "") -> None:
        figures = (f"{f(kind):.3f}" for kind in zip(*times, strict=True) for f in (statistics.median, min))
        medians[what] = statistics.median(wall for wall, _ in times)
        ratio = f"{medians[what] / medians[opponent]:.1f}" if opponent else ""
        table.add_row(what, str(len(times)), *figures, opponent, ratio, target)

    with tempfile.TemporaryDirectory() as folder:
        for code in ("pass", "import nirhw", "import typer"):
            seconds("-c", code)  # what is read from disk is in memory from here on
        for what, target, opponent, arguments in (
            ("python", "", "", ("pass",)),
            ("import typer", "", "python", ("import typer",)),
            ("import nirhw", "0.15", "python", ("import nirhw",)),
            ("nirhw --help", "0.3", "import typer", (COMMAND_LINE, "--help")),
            ("nirhw --version", "0.3", "import typer", (COMMAND_LINE, "--version")),
        ):
            add(what, target, [seconds("-c", *arguments) for _ in range(QUICK)], opponent)
        emulations = first_emulations(Path(folder))
        for what, times in sorted(emulations.items(), key=lambda item: NUMBA not in item[0]):
            cache = what.rsplit(", ", 1)[1]
            opponent = "" if NUMBA in what else f"{NUMBA}, {cache}"
            add(what, "" if NUMBA in what else "3" if cache.startswith("empty") else "1", times, opponent)
    Console(width=None if sys.stdout.isatty() else 160).print(table)


if __name__ == "__main__":
    main()
