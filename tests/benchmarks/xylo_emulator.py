"""Speed of the Xylo emulator against xylosim 0.1.3, one thread, no recording, same inputs, outputs checked equal.

    python tests/benchmarks/xylo_emulator.py

Needs a Python with xylosim (NIRHW_XYLOSIM_PYTHON, default ``.venv-xylosim/bin/python``) and, for the first row, the
Braille network (folder NIRHW_SHARED, default ``../shared``).
xylosim's time is that of ``evolve`` alone; ours that of ``run``.  Runs alternate between the two, so that both meet the
same load; the table shows medians.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from nirhw.targets.xylo.config import (
    NO_ALIAS,
    HiddenGroup,
    HiddenNeurons,
    InputGroup,
    OutputNeurons,
    ReadoutGroup,
    XyloConfiguration,
)
from nirhw.targets.xylo.emulator import XyloEmulator

ROOT = Path(__file__).resolve().parents[2]
STEPS, REPEATS, ROUNDS = 1024, 5, 3
Array = NDArray[Any]


def _load_oracle() -> Any:
    path = ROOT / "tests" / "oracles" / "random_xylo.py"
    spec = importlib.util.spec_from_file_location("random_xylo", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@dataclass(frozen=True)
class Row:
    """A network, the rate of its Bernoulli input and the ratio to reach."""

    name: str
    config: XyloConfiguration
    rate: float
    target: float


def configuration(
    w_in: Array, w_rec: Array, w_out: Array, threshold: Array, threshold_out: Array, dashes: tuple[int, int, int, int]
) -> XyloConfiguration:
    """One synapse, no bias, no aliases; ``dashes`` are those of membrane, synapse, output membrane, output synapse."""

    def hidden(value: int) -> Array:
        return np.full(len(w_rec), value, np.int64)

    def output(value: int) -> Array:
        return np.full(w_out.shape[1], value, np.int64)

    mem, syn, mem_out, syn_out = dashes
    neurons = HiddenNeurons(hidden(syn), hidden(0), hidden(mem), threshold, hidden(0), hidden(NO_ALIAS))
    return XyloConfiguration(
        samna_module="xyloCore2",
        input=InputGroup(w_in, np.zeros_like(w_in), 0),
        hidden=HiddenGroup(w_rec, np.zeros_like(w_rec), 0, neurons, False),
        readout=ReadoutGroup(w_out, 0, OutputNeurons(output(syn_out), output(mem_out), threshold_out, output(0))),
        synapse2_enable=False,
        bias_enable=False,
    )


def braille(path: Path) -> XyloConfiguration:
    """The Braille network, each neuron's weights scaled so that the largest is 127, thresholds by the same scale."""
    import nir

    nodes = nir.read(path).nodes

    def quantize(threshold: Array, *weights: Array) -> tuple[Array, list[Array]]:
        scale = 127 / np.max([np.abs(w).max(axis=1) for w in weights], axis=0)
        quantized = [np.rint(w * scale[:, None]).astype(np.int8).T.copy() for w in weights]
        return np.rint(threshold * scale).astype(np.int64), quantized

    w_in, w_rec, w_out = (np.asarray(nodes[name].weight) for name in ("fc1", "lif1.w_rec", "fc2"))
    threshold, (w_in, w_rec) = quantize(np.asarray(nodes["lif1.lif"].v_threshold), w_in, w_rec)
    threshold_out, (w_out,) = quantize(np.asarray(nodes["lif2"].v_threshold), w_out)
    return configuration(w_in, w_rec, w_out, threshold, threshold_out, (3, 2, 2, 1))


def random_net(n_hidden: int, fan_out: int, strength: int, threshold: int) -> XyloConfiguration:
    """16 inputs to all, ``fan_out`` random targets for each hidden neuron, 8 outputs from all."""
    rng = np.random.default_rng(7)
    w_rec = np.zeros((n_hidden, n_hidden), np.int8)
    for row in w_rec:
        row[rng.choice(n_hidden, fan_out, replace=False)] = rng.integers(-strength, strength + 1, fan_out)
    w_in = rng.integers(-100, 128, (16, n_hidden)).astype(np.int8)
    w_out = rng.integers(-100, 128, (n_hidden, 8)).astype(np.int8)
    return configuration(w_in, w_rec, w_out, np.full(n_hidden, threshold), np.full(8, threshold), (3, 2, 3, 2))


def rows(console: Console) -> Iterator[Row]:
    """Rows to measure; one whose file is missing is announced and left out."""
    path = Path(os.environ.get("NIRHW_SHARED", ROOT.parent / "shared")) / "zoo" / "repo_braille_noDelay_noBias_subtract.nir"
    if path.exists():
        yield Row("Braille 12-40-7", braille(path), 0.1, 5)
    else:
        console.print(f"Braille row skipped: {path.name} not found (set NIRHW_SHARED)", style="yellow")
    sparse = random_net(1000, 32, 8, 100)
    yield Row("16-1000-8, fan-out 32", sparse, 0.02, 4)
    yield Row("16-1000-8, fan-out 32", sparse, 0.2, 9)
    yield Row("16-496-8, fan-out 64", random_net(496, 64, 10, 100), 0.2, 30)


def measure(row: Row, oracle: Any) -> tuple[float, float, float]:
    """Return our steps/s, xylosim's, and hidden spikes a step."""
    emulator = XyloEmulator(row.config)
    counts = (np.random.default_rng(1).random((STEPS, row.config.n_inputs)) < row.rate).astype(np.int64)
    trace = emulator.prepare(counts[None], record={"spikes"}).run(1)
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(ROUNDS):
        for _ in range(REPEATS):
            start = time.perf_counter()
            run = emulator.prepare(counts[None]).run(1)
            ours.append(time.perf_counter() - start)
        job = {**oracle.job(row.config), **{f"counts{k}": counts for k in range(2)}}
        with tempfile.TemporaryDirectory() as folder:
            results = oracle.run_worker("time", [job], Path(folder), timeout=300)
        theirs.extend(results["0/seconds"])
        if not np.array_equal(run.out_spikes[0], results["0/out_spikes"]):
            raise RuntimeError(f"{row.name}: output spikes differ from xylosim's")
    assert trace.hidden_spikes is not None
    spikes = float(trace.hidden_spikes.sum()) / STEPS
    return STEPS / float(np.median(ours)), STEPS / float(np.median(theirs)), spikes


def main() -> None:
    """Measure all rows and print the table."""
    console = Console()
    oracle = _load_oracle()
    if not oracle.oracle_python().exists():
        sys.exit(f"{oracle.oracle_python()} is missing: set NIRHW_XYLOSIM_PYTHON")
    table = Table("net", "p(input)", "hidden spikes/step", "ours, steps/s", "xylosim, steps/s", "ratio", "target")
    for row in rows(console):
        ours, theirs, spikes = measure(row, oracle)
        ratio = ours / theirs
        shown = f"[{'green' if ratio >= row.target else 'red'}]{ratio:.1f}"
        table.add_row(row.name, f"{row.rate}", f"{spikes:.1f}", f"{ours:,.0f}", f"{theirs:,.0f}", shown, f"{row.target:g}")
    console.print(table)


if __name__ == "__main__":
    main()
