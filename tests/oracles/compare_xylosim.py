"""Xylo configurations on xylosim and on our emulator, side by side."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from nirhw.targets.xylo.emulator import XyloEmulator, XyloTrace
from tests.oracles.random_xylo import Array, Case, job, oracle_python, run_worker

STATES = ("out_spikes", "hidden_spikes", "v", "i", "i2", "v_out", "i_out")


def require_oracle() -> None:
    """Skip the test, or fail it in CI, where the oracle's Python is missing."""
    if not oracle_python().exists():
        message = f"no oracle: {oracle_python()} is missing (set NIRHW_XYLOSIM_PYTHON)"
        pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)


def states(cases: Sequence[Case], folder: Path) -> dict[str, Array]:
    """Return xylosim's states and spikes, ``case/call/state`` as ``[time, neuron]``; ``folder`` is made for its files."""
    folder.mkdir()
    jobs = [{**job(c.config), "counts0": c.counts[0], "counts1": c.counts[1]} for c in cases]
    return run_worker("states", jobs, folder, timeout=120)


def mismatches(case: Case, expected: Mapping[str, Array], k: int) -> tuple[list[str], list[XyloTrace]]:
    """Return what differs between our emulator and xylosim on case ``k``, and our traces of its calls, events counted."""
    emulator = XyloEmulator(case.config)
    state, wrong, traces = None, [], []
    for call, counts in enumerate(case.counts):
        trace = emulator.prepare(counts[None], state=state, record={"spikes", "v", "i"}).run()
        counted = emulator.prepare(counts[None], state=state, record={"spikes", "v", "i"}, count=True).run()
        state = trace.state
        traces.append(counted)
        if any(not np.array_equal(getattr(trace, name), getattr(counted, name)) for name in STATES):
            wrong.append(f"call {call}: counting changes the result")
        for name in STATES:
            theirs = expected[f"{k}/{call}/{name}"]
            if name == "i2" and not case.config.synapse2_enable:
                theirs = np.zeros_like(trace.i2[0])  # xylosim has nothing to record then
            if not np.array_equal(getattr(trace, name)[0], theirs):
                wrong.append(f"call {call}: {name}")
    return wrong, traces
