"""Speed of the Speck emulator, one thread, on the paper's N-MNIST network (repo_cnn_sinabs.nir) and uniformly random events.

    python tests/benchmarks/speck_emulator.py

Two opponents, each in the same run, alternating with ours; the table shows medians:

* a plain C loop (``cc -O3``) that does nothing but the same additions, ``v[k] += w[k]``, on the same arrays for the same events:
  no threshold, no bound, no spikes, no queue.  Goal: a third of its synaptic updates per second.
* sinabs' frame simulation of the same integers at one event a frame, in a Python of its own (NIRHW_SINABS_PYTHON, default
  ``.venv-sinabs/bin/python``, with torch and sinabs 3.1.3).  Goal: more input events per second.

Needs the sample graphs (folder NIRHW_SHARED, default ``../shared``) and a C compiler; what is missing is said and skipped.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

import nirhw
from nirhw.targets.speck import arrays, kernel
from nirhw.targets.speck.config import SpeckConfiguration
from nirhw.targets.speck.emulator import SpeckEmulator, Stimulus

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SHARED = Path(os.environ.get("NIRHW_SHARED", ROOT.parent / "shared"))
SINABS = Path(os.environ.get("NIRHW_SINABS_PYTHON", ROOT / ".venv-sinabs" / "bin" / "python"))
EVENTS, FRAMES, REPEATS = 20_000, 3_000, 31
NO_MARKS = np.zeros((0, 2), np.int64)
Array = NDArray[Any]


def network() -> tuple[SpeckConfiguration, tuple[int, int, int]]:
    path = SHARED / "zoo" / "repo_cnn_sinabs.nir"
    if not path.is_file():
        print(f"skipped: no sample graph at {path}; name its folder in NIRHW_SHARED", file=sys.stderr)
        sys.exit(0)
    model = nirhw.compile(path, target="speck")
    return model.config, tuple(model.io_map["inputs"]["input"]["plane"])


def random_events(plane: tuple[int, int, int], n: int) -> Array:
    return np.random.default_rng(0).integers(0, plane, (n, 3))


def all_events(config: SpeckConfiguration, emulator: SpeckEmulator, host: Array) -> Array:
    """Every event that some core works off: the host's, each followed by what it causes."""
    spikes = emulator.prepare([Stimulus(host, NO_MARKS)], log=frozenset(range(9))).run(1).spikes[0]
    parts, causes = [host], [np.arange(host.size)]
    for number, core in enumerate(config.cnn_layers):
        size = core.dimensions.output_shape.size
        own = spikes[spikes[:, 1] == number]
        feature, pixel = np.divmod(own[:, 2], max(size.x * size.y, 1))
        y, x = np.divmod(pixel, max(size.x, 1))
        for to in core.destinations:
            if to.enable:
                parts.append(arrays.pack(to.layer, feature + to.feature_shift, y // to.pooling, x // to.pooling))
                causes.append(own[:, 0])
    return np.concatenate(parts)[np.argsort(np.concatenate(causes), kind="stable")]


def c_loop(config: SpeckConfiguration, events: Array) -> Any:
    """Return a function that does the additions of these events in C, on arrays without padding, and says how many they are."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    folder = Path(tempfile.mkdtemp())
    library = folder / "accumulate.so"
    names = {name: getattr(kernel, name) for name in kernel.__dict__ if name.isupper() and isinstance(getattr(kernel, name), int)}
    names = {f"-D{name}={value}" for name, value in names.items() if name not in ("LOW", "HIGH")}
    subprocess.run(
        [compiler, "-O3", "-shared", "-fPIC", *sorted(names), str(HERE / "accumulate.c"), "-o", str(library)], check=True
    )
    accumulate = ctypes.CDLL(str(library)).accumulate
    accumulate.restype = ctypes.c_int64
    cores = config.cnn_layers
    states = np.zeros(sum(arrays.places(core, 1) for core in cores), np.int16)
    weights = np.concatenate([arrays.flat_weights(core, 1) for core in cores])
    arguments = (arrays.geometry_table(cores, 1), weights, np.ascontiguousarray(events))

    def run() -> int:
        pointers = [ctypes.c_void_p(a.ctypes.data) for a in (*arguments, states)]
        return int(accumulate(*pointers, ctypes.c_int64(events.size)))

    return run


def sinabs_rate(config: SpeckConfiguration, events: Array) -> float | None:
    """Return events per second of sinabs at one event a frame."""
    if not SINABS.is_file():
        return None
    layers = []
    for core in config.cnn_layers:
        if core.used:
            dims = core.dimensions
            layers.append(
                {
                    "weights": core.weights.transpose(0, 1, 3, 2).tolist(),
                    "stride": [dims.stride.y, dims.stride.x],
                    "padding": [dims.padding.y, dims.padding.x],
                    "threshold": core.threshold_high,
                    "low": core.threshold_low,
                    "pooling": core.destinations[0].pooling,
                }
            )
    source = config.cnn_layers[0].dimensions.input_shape
    task = {"layers": layers, "plane": [source.feature_count, source.size.y, source.size.x], "events": events.tolist()}
    done = subprocess.run(
        [str(SINABS), str(ROOT / "tests" / "oracles" / "sinabs_speed_worker.py")],
        input=json.dumps(task),
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )
    return float(json.loads(done.stdout.splitlines()[-1])["events_per_second"])


def timed(work: Any) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    config, plane = network()
    drawn = random_events(plane, EVENTS)
    host = arrays.pack(0, *drawn.T)
    emulator = SpeckEmulator(config)
    stimulus = Stimulus(host, NO_MARKS)
    trace = emulator.prepare([stimulus]).run(1)
    updates = int(trace.counters["updates"].sum())
    plain = c_loop(config, all_events(config, emulator, host))
    if plain is not None and plain() != updates:
        sys.exit("the C loop does other additions than the emulator")
    ours, theirs = [], []
    for _ in range(REPEATS):
        ours.append(timed(lambda: emulator.prepare([stimulus]).run(1)))
        if plain is not None:
            theirs.append(timed(plain))
    table = Table(title=f"repo_cnn_sinabs.nir, {EVENTS} uniformly random events, {updates / EVENTS:.0f} updates each, one thread")
    for column in ("opponent", "unit", "nirhw", "opponent's", "ratio", "goal"):
        table.add_column(column)
    mine = statistics.median(ours)
    if plain is None:
        Console(stderr=True).print("skipped: no C compiler (cc)")
    else:
        c_rate, rate = updates / statistics.median(theirs), updates / mine
        table.add_row(
            "C loop, additions alone", "M updates/s", f"{rate / 1e6:.0f}", f"{c_rate / 1e6:.0f}", f"{rate / c_rate:.2f}", "0.33"
        )
    frames = sinabs_rate(config, drawn[:FRAMES])
    if frames is None:
        Console(stderr=True).print(f"skipped: no Python with sinabs at {SINABS}; name it in NIRHW_SINABS_PYTHON")
    else:
        few = Stimulus(host[:FRAMES], NO_MARKS)
        own = FRAMES / statistics.median(timed(lambda: emulator.prepare([few]).run(1)) for _ in range(REPEATS))
        table.add_row(
            "sinabs, one event a frame", "k events/s", f"{own / 1e3:.1f}", f"{frames / 1e3:.2f}", f"{own / frames:.1f}", "1"
        )
    Console().print(table)


if __name__ == "__main__":
    main()
