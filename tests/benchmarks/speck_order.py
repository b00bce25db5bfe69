"""How much the order of the spikes of one event changes what Speck computes: it is not documented, so it is measured.

    python tests/benchmarks/speck_order.py

The paper's N-MNIST network (repo_cnn_sinabs.nir, folder NIRHW_SHARED, default ``../shared``) takes uniformly random events, as a
worst case, under each order; a row gives the spikes of each core, and the change of the output counts against the order "feature":
the sum of the absolute differences, divided by the sum of the counts.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

import nirhw
from nirhw.targets.speck.arrays import pack
from nirhw.targets.speck.emulator import ORDERS, SpeckEmulator, Stimulus

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("NIRHW_SHARED", ROOT.parent / "shared"))
EVENTS, STREAMS, SEEDS = 5000, 8, 3


def main() -> None:
    path = SHARED / "zoo" / "repo_cnn_sinabs.nir"
    if not path.is_file():
        print(f"skipped: no sample graph at {path}; name its folder in NIRHW_SHARED", file=sys.stderr)
        sys.exit(0)
    model = nirhw.compile(path, target="speck")
    used = [k for k, core in enumerate(model.config.cnn_layers) if core.used]
    plane, last = model.io_map["inputs"]["input"]["plane"], used[-1]
    rng = np.random.default_rng(0)
    marks = np.zeros((0, 2), np.int64)
    stimuli = [Stimulus(pack(0, *rng.integers(0, plane, (EVENTS, 3)).T), marks) for _ in range(STREAMS)]
    table = Table(title=f"repo_cnn_sinabs.nir, {STREAMS} streams of {EVENTS} uniformly random events")
    for column in ("order", *(f"spikes, core {k}" for k in used), "change of the output", "same decision"):
        table.add_column(column)
    first = None
    for order, seed in [(o, s) for o in ORDERS for s in (range(SEEDS) if o == "shuffled" else (0,))]:
        trace = SpeckEmulator(model.config, order, seed).prepare(stimuli, log=frozenset({last})).run()
        neurons = model.config.cnn_layers[last].dimensions.output_shape.feature_count
        counts = np.stack([np.bincount(spikes[:, 2], minlength=neurons) for spikes in trace.spikes])
        first = counts if first is None else first
        change = np.abs(counts - first).sum() / first.sum()
        same = int(np.sum(counts.argmax(axis=1) == first.argmax(axis=1)))
        spikes = trace.counters["spikes"].sum(axis=0)[used]
        name = f"{order}, seed {seed}" if order == "shuffled" else order
        table.add_row(name, *map(str, spikes), f"{change:.3f}", f"{same} of {STREAMS}")
    Console().print(table)


if __name__ == "__main__":
    main()
