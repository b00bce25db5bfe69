"""One core equals a layer of sinabs 3.1.3 at one event a step, in all spikes and final states, on random cores.

True where no weight exceeds the threshold; beyond, sinabs fires what is left in later steps without input, and the chip waits for
the neuron's next event.  Needs a Python with torch and sinabs: environment variable NIRHW_SINABS_PYTHON, or ``.venv-sinabs`` in
the root.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from nirhw.targets.speck.arrays import pack
from nirhw.targets.speck.config import CnnLayerConfig
from nirhw.targets.speck.emulator import SpeckEmulator, Stimulus
from tests.targets.speck.random_chips import chip_of, core_of, shape

PYTHON = Path(os.environ.get("NIRHW_SINABS_PYTHON", Path(__file__).parents[2] / ".venv-sinabs" / "bin" / "python"))
WORKER = Path(__file__).with_name("sinabs_worker.py")
N_CASES, N_EVENTS = 120, 200

pytestmark = pytest.mark.oracle


class Case(NamedTuple):
    """A core and its events ``[event, (channel, y, x)]``."""

    core: CnnLayerConfig
    events: np.ndarray


def case_of(seed: int) -> Case:
    rng = np.random.default_rng(seed)
    source = shape(*(int(n) for n in rng.integers((1, 4, 4), (5, 13, 13))))
    padding = tuple(int(p) for p in rng.integers(0, 4, 2))
    size = int(rng.integers(1, min(source.size.x, source.size.y, 6) + 1))
    threshold = int(rng.choice([1, 30, 127, 400]))
    weights = np.minimum(rng.integers(-128, 128, (int(rng.integers(1, 40)), source.feature_count, size, size)), threshold)
    core = core_of(
        weights,
        source,
        padding=padding,
        stride=tuple(int(s) for s in rng.choice([1, 1, 2, 4], 2)),
        threshold=threshold,
        low=int(rng.choice([-1, -50, -2000])),
        return_to_zero=bool(rng.random() < 0.5),
    )
    events = rng.integers(0, (source.feature_count, source.size.y, source.size.x), (N_EVENTS, 3))
    return Case(core, events)


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[Case], Any]]:
    if not PYTHON.is_file():
        pytest.skip(f"no Python with torch and sinabs at {PYTHON}; name it in NIRHW_SINABS_PYTHON")
    cases = [case_of(seed) for seed in range(N_CASES)]
    arrays: dict[str, Any] = {"number": len(cases)}
    for k, (core, events) in enumerate(cases):
        dims = core.dimensions
        source = dims.input_shape
        arrays[f"{k}/weights"] = core.weights.transpose(0, 1, 3, 2)
        arrays[f"{k}/plane"] = [source.feature_count, source.size.y, source.size.x]
        arrays[f"{k}/geometry"] = [dims.stride.y, dims.stride.x, dims.padding.y, dims.padding.x]
        arrays[f"{k}/geometry"] += [core.threshold_high, core.threshold_low, int(core.return_to_zero)]
        arrays[f"{k}/events"] = events
    folder = tmp_path_factory.mktemp("sinabs")
    np.savez(folder / "cases.npz", **arrays)
    command = [str(PYTHON), str(WORKER), str(folder / "cases.npz"), str(folder / "results.npz")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    with np.load(folder / "results.npz") as results:
        yield cases, results


def test_every_spike_and_every_final_state_is_the_same(compared: tuple[list[Case], Any]) -> None:
    cases, results = compared
    spikes_in_all, lifted = 0, 0
    for k, (core, events) in enumerate(cases):
        emulator = SpeckEmulator(chip_of(core), "feature")
        stimulus = Stimulus(pack(0, *events.T), np.array([[N_EVENTS, 0]]), 1)
        trace = emulator.prepare([stimulus], log=frozenset({0}), record=frozenset({0})).run()
        size = core.dimensions.output_shape.size
        event, feature, y, x = results[f"{k}/spikes"].T
        expected = np.stack([event, (feature * size.y + y) * size.x + x], axis=1)
        np.testing.assert_array_equal(trace.spikes[0][:, [0, 2]], expected, err_msg=f"case {k}")
        np.testing.assert_array_equal(trace.v[0][0, 0], results[f"{k}/v"].ravel(), err_msg=f"case {k}")
        spikes_in_all += len(expected)
        lifted += int(trace.counters["bounded"].sum())
    assert spikes_in_all > 10_000
    assert lifted > 10_000
