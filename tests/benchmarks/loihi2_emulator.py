"""Speed of the Loihi 2 emulator against lava-nc 0.10.0's fixed-point processes, one thread, same inputs, final v checked equal.

    python tests/benchmarks/loihi2_emulator.py

Needs a Python with lava (NIRHW_LAVA_PYTHON, default ``.venv-lava/bin/python``).  Lava's time is that of its steps after the
first: compiling, starting its processes and reading results are left out.  Ours is that of ``run``, output spikes included.
Runs alternate between the two, so that both meet the same load; the table shows medians.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from nirhw.targets.loihi2.config import Group, Loihi2Configuration, synapses_from_matrix
from nirhw.targets.loihi2.emulator import Loihi2Emulator

ROOT = Path(__file__).resolve().parents[2]
STEPS, REPEATS, ROUNDS = 1025, 5, 3
TARGET = 100


def _load_oracle() -> Any:
    path = ROOT / "tests" / "oracles" / "random_loihi2.py"
    spec = importlib.util.spec_from_file_location("random_loihi2", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@dataclass(frozen=True)
class Row:
    """A network and the rate of its Bernoulli input."""

    name: str
    config: Loihi2Configuration
    rate: float


def chain(sizes: tuple[int, ...], recurrent: bool, threshold: int) -> Loihi2Configuration:
    """Dense layers one after the other; the first hidden one with synapses to itself where ``recurrent``."""
    rng = np.random.default_rng(5)
    names = ["in", *(f"layer{k}" for k in range(1, len(sizes)))]
    cells = (
        Group(name, name, np.arange(n), "lif", du=1800, dv=400, threshold=threshold)
        for name, n in zip(names[1:], sizes[1:], strict=True)
    )
    groups = (Group("in", "in", np.arange(sizes[0]), "input"), *cells)
    pairs = [*zip(range(len(sizes)), range(1, len(sizes)), strict=False), *([(1, 1)] if recurrent else [])]
    synapses = (
        synapses_from_matrix(
            f"{names[a]}-{names[b]}", names[a], names[b], rng.integers(-256, 255, (sizes[b], sizes[a])), kind="dense"
        )
        for a, b in pairs
    )
    return Loihi2Configuration(groups, tuple(synapses), ())


def rows() -> tuple[Row, ...]:
    """The rows to measure."""
    return (
        Row("12-40-7, recurrent", chain((12, 40, 7), True, 300), 0.1),
        Row("1000-1000, dense", chain((1000, 1000), False, 3000), 0.1),
    )


def measure(row: Row, oracle: Any) -> tuple[float, float, float]:
    """Return our steps/s, lava's, and output spikes a step."""
    emulator, last = Loihi2Emulator(row.config), row.config.groups[-1]
    counts = np.random.default_rng(1).random((STEPS, row.config.groups[0].size)) < row.rate
    trace = emulator.prepare({"in": counts[None]}, states=[last.name]).run(1)
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(ROUNDS):
        for _ in range(REPEATS):
            start = time.perf_counter()
            emulator.prepare({"in": counts[None]}, spikes=[last.name]).run(1)
            ours.append(time.perf_counter() - start)
        with tempfile.TemporaryDirectory() as folder:
            results = oracle.run_worker(
                "time", [oracle.job(oracle.Case(row.config, {"in": counts.astype(np.int64)}))], Path(folder), timeout=120
            )
        theirs.append(float(results["0/seconds"]))
        if not np.array_equal(trace.v[last.name][0, -1], results["0/v"]):
            raise RuntimeError(f"{row.name}: v differs from lava's")
    spikes = float(trace.sent[last.name].sum()) / STEPS
    return STEPS / float(np.median(ours)), (STEPS - 1) / float(np.median(theirs)), spikes


def main() -> None:
    """Measure all rows and print the table."""
    console = Console()
    oracle = _load_oracle()
    if not oracle.oracle_python().exists():
        sys.exit(f"{oracle.oracle_python()} is missing: make .venv-lava, or set NIRHW_LAVA_PYTHON")
    table = Table("net", "p(input)", "output spikes/step", "ours, steps/s", "lava, steps/s", "ratio", "target")
    for row in rows():
        ours, theirs, spikes = measure(row, oracle)
        ratio = ours / theirs
        shown = f"[{'green' if ratio >= TARGET else 'red'}]{ratio:.0f}"
        table.add_row(row.name, f"{row.rate}", f"{spikes:.1f}", f"{ours:,.0f}", f"{theirs:,.0f}", shown, f"{TARGET}")
    console.print(table)


if __name__ == "__main__":
    main()
