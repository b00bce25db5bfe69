"""Speed of the SpiNNaker2 emulator, one thread: synaptic events against a plain C loop, and steps of a Braille-sized network.

    python tests/benchmarks/spinnaker2_emulator.py

The first row is a recurrent network of 10,000 neurons with 1,000 targets each, of which 5 % fire in a step; its opponent is a C
loop (``cc -O3``) that adds the weights of the same spikes over the same lists into the same kind of array, and does nothing else.
Runs alternate between the two; the table shows medians.  The second row is a 12-38-7 network with the applications, the sizes and
about the activity of the Braille network of the NIR paper; it is measured in steps a second.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from nirhw.targets.spinnaker2.config import (
    RESET_SUBTRACT,
    RESET_VALUE,
    SPIKE_LIST,
    Slice,
    SpiNNaker2Configuration,
)
from nirhw.targets.spinnaker2.emulator import Emulator
from nirhw.targets.spinnaker2.synapses import SynapseBlock

Array = NDArray[Any]
ROUNDS, STEPS, SLICES, SIZE, FAN_OUT = 9, 40, 40, 250, 1000
EVENT_RATIO, BRAILLE_STEPS = 0.3, 300_000

SCATTER = r"""
#include <stdint.h>
void scatter(const int64_t *start, const uint32_t *lane, const int16_t *weight, const uint32_t *fired, int64_t count, int32_t *sum)
{
    for (int64_t k = 0; k < count; k++)
        for (int64_t e = start[fired[k]]; e < start[fired[k] + 1]; e++)
            sum[lane[e]] += weight[e];
}
"""


def random_net() -> SpiNNaker2Configuration:
    """40 slices of 250 neurons; each neuron has 25 targets in every slice and fires every 20 steps, at its own phase."""
    rng = np.random.default_rng(1)
    slices = []
    for k in range(SLICES):
        blocks = []
        for source in range(SLICES):
            target = np.argpartition(rng.random((SIZE, SIZE), np.float32), FAN_OUT // SLICES, axis=1)[:, : FAN_OUT // SLICES]
            pre = np.repeat(np.arange(SIZE), FAN_OUT // SLICES)
            blocks.append(SynapseBlock.from_synapses(source, SIZE, pre, target.ravel(), rng.integers(-127, 128, pre.size)))
        # so high a threshold that synapses do not change the rate
        parameters = {"threshold": 2e9, "alpha_decay": 1.0, "i_offset": 1e8, "v_init": rng.uniform(0, 2e9, SIZE), "v_reset": 0.0}
        slices.append(Slice("net", k * SIZE, SIZE, "lif_no_delay", parameters, RESET_SUBTRACT, blocks=tuple(blocks)))
    return SpiNNaker2Configuration(tuple(slices))


def braille_net() -> SpiNNaker2Configuration:
    """12 inputs, 38 recurrent neurons with synaptic currents, 7 outputs."""
    rng = np.random.default_rng(2)

    def block(source: int, pre: int, post: int) -> SynapseBlock:
        index = np.indices((pre, post)).reshape(2, -1)
        return SynapseBlock.from_synapses(source, pre, index[0], index[1], rng.integers(-127, 128, pre * post))

    decays = {"alpha_decay": 0.9, "exc_decay": 0.7, "inh_decay": 0.7}
    parameters = {"threshold": 900.0, **decays, "i_offset": 0.0, "v_init": 0.0, "v_reset": 0.0, "t_refrac": 0.0}
    application = "lif_curr_exp_no_delay"
    return SpiNNaker2Configuration(
        (
            Slice("in", 0, 12, SPIKE_LIST),
            Slice("hidden", 0, 38, application, parameters, RESET_VALUE, blocks=(block(0, 12, 38), block(1, 38, 38))),
            Slice("out", 0, 7, application, parameters, RESET_VALUE, blocks=(block(1, 38, 7),)),
        )
    )


class Scatter:
    """The C loop, compiled into a temporary folder."""

    def __init__(self, compiler: str, folder: Path):
        source, library = folder / "scatter.c", folder / "scatter.so"
        source.write_text(SCATTER)
        subprocess.run([compiler, "-O3", "-shared", "-fPIC", "-o", str(library), str(source)], check=True, timeout=120)
        self._call = ctypes.CDLL(str(library)).scatter
        self._call.argtypes = [ctypes.c_void_p] * 4 + [ctypes.c_int64, ctypes.c_void_p]
        self._call.restype = None

    def __call__(self, start: Array, lane: Array, weight: Array, fired: Array, total: Array) -> None:
        """Add the weights of the neurons in ``fired`` to ``total``."""
        arrays = (start, lane, weight, fired)
        self._call(*(a.ctypes.data for a in arrays), fired.size, total.ctypes.data)


def measure_events(scatter: Scatter) -> tuple[float, float, float]:
    """Return synaptic events a second of the emulator and of the C loop, and the share of neurons that fire in a step."""
    emulator = Emulator(random_net())
    net = emulator.net
    silent = np.zeros((1, STEPS, 0), np.int64)
    trace = emulator.prepare(silent, record={"spikes", "i"}).run(1)
    assert trace.spikes is not None
    assert trace.i is not None
    fired = [np.flatnonzero(row).astype(np.uint32) for row in trace.spikes[0]]
    ours, theirs = [], []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        run = emulator.prepare(silent, record={"spikes"}, neurons=[0]).run(1)
        ours.append(time.perf_counter() - begin)
        sums = np.zeros((STEPS, net.n_neurons), np.int32)
        begin = time.perf_counter()
        for row, total in zip(fired[:-1], sums[1:], strict=True):
            scatter(net.start, net.lane, net.weight, row, total)
        theirs.append(time.perf_counter() - begin)
    if not np.array_equal(sums, trace.i[0]):
        raise RuntimeError("the C loop and the emulator add up different weights")
    events = float(run.n_events[0])
    return events / float(np.median(ours)), events / float(np.median(theirs)), float(trace.spikes.mean())


def measure_braille() -> tuple[float, float]:
    """Return steps a second and spikes a step."""
    steps = 100_000
    emulator = Emulator(braille_net())
    spikes = (np.random.default_rng(3).random((1, steps, 12)) < 0.05).astype(np.uint8)
    seconds = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        run = emulator.prepare(spikes, record={"spikes"}, neurons=np.arange(50, 57)).run(1)
        seconds.append(time.perf_counter() - begin)
    return steps / float(np.median(seconds)), float(run.n_spikes[0]) / steps


def main() -> None:
    """Measure and print."""
    console = Console()
    table = Table("network", "emulator", "opponent", "ratio", "target")
    compiler = shutil.which("cc")
    if compiler is None:
        console.print("events row skipped: no C compiler (cc) found", style="yellow")
    else:
        with tempfile.TemporaryDirectory() as folder:
            ours, theirs, activity = measure_events(Scatter(compiler, Path(folder)))
        row = (
            f"10,000 neurons, fan-out 1,000, {activity:.1%} active",
            f"{ours / 1e6:.0f} M events/s",
            f"C: {theirs / 1e6:.0f} M events/s",
        )
        table.add_row(*row, f"{ours / theirs:.2f}", f"{EVENT_RATIO}")
    steps, spikes = measure_braille()
    table.add_row(
        f"12-38-7, {spikes:.1f} spikes a step",
        f"{steps:,.0f} steps/s",
        "the target",
        f"{steps / BRAILLE_STEPS:.1f}",
        f"{BRAILLE_STEPS:,} steps/s",
    )
    console.print(table)


if __name__ == "__main__":
    main()
