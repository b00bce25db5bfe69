"""The emulator equals xylosim 0.1.3 bit for bit, in all states and spikes, on random configurations.

Needs a Python that has numpy and xylosim: environment variable NIRHW_XYLOSIM_PYTHON, or ``.venv-xylosim`` in the root.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from nirhw.targets.xylo.emulator import XyloEmulator, XyloTrace


def _load_sibling(name: str):
    """Import a module that lies beside this file; pytest's importlib mode leaves the folder out of sys.path."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


random_xylo = _load_sibling("random_xylo")

N_SMALL, LARGE = 320, (500, 700, 1000, 1000)
CHUNK = 27
STATES = ("out_spikes", "hidden_spikes", "v", "i", "i2", "v_out", "i_out")

pytestmark = pytest.mark.oracle


def _cases():
    small = [random_xylo.random_case(seed) for seed in range(N_SMALL)]
    return small + [random_xylo.random_case(10_000 + k, n_hidden=n, steps=25) for k, n in enumerate(LARGE)]


def _mismatches(case, results, k: int) -> tuple[list[str], list[XyloTrace]]:
    emulator = XyloEmulator(case.config)
    state, wrong, traces = None, [], []
    for call, counts in enumerate(case.counts):
        trace = emulator.run(counts[None], state=state, record={"spikes", "v", "i"})
        counted = emulator.run(counts[None], state=state, record={"spikes", "v", "i"}, count=True)
        state = trace.state
        traces.append(counted)
        if any(not np.array_equal(getattr(trace, name), getattr(counted, name)) for name in STATES):
            wrong.append(f"call {call}: counting changes the result")
        for name in STATES:
            expected = results[f"{k}/{call}/{name}"]
            if name == "i2" and not case.config.synapse2_enable:
                expected = np.zeros_like(trace.i2[0])  # xylosim has nothing to record then
            if not np.array_equal(getattr(trace, name)[0], expected):
                wrong.append(f"call {call}: {name}")
    return wrong, traces


def _features(case, traces: list[XyloTrace]) -> set[str]:
    """What a case exercised, so that the comparison is known not to be empty."""
    config = case.config
    alias, ids = config.hidden.neurons.alias_target, np.arange(config.n_hidden)
    linked = alias >= 0
    found = {
        "saturated currents": any(t.saturations_i.any() for t in traces),
        "saturated membranes": any(t.saturations_v.any() for t in traces),
        "lowest value": any((t.v == -32768).any() or (t.i == -32768).any() for t in traces),
        "lively, nothing saturated": all(
            t.hidden_spikes.any() and not t.saturations_i.any() and not t.saturations_v.any() for t in traces
        ),
        "spike cap": any(t.capped.any() for t in traces),
        "input cap": any((c > 15).any() for c in case.counts),
        "hidden spikes": any(t.hidden_spikes.any() for t in traces),
        "output spikes": any(t.out_spikes.any() for t in traces),
        "alias up": config.hidden.aliasing and (alias > ids).any(),
        "alias down": config.hidden.aliasing and (linked & (alias < ids)).any(),
        "alias chain": config.hidden.aliasing and linked[alias[linked]].any(),
        "no alias": not config.hidden.aliasing,
        "second synapse": config.synapse2_enable,
        "bias": config.bias_enable,
        "narrow input": config.input.weights.shape[1] < config.n_hidden,
        "narrow readout": config.readout.weights.shape[0] < config.n_hidden,
        "weight -128": (config.hidden.weights == -128).any(),
        **{f"shift {s}": config.hidden.weight_bit_shift == s for s in range(8)},
        **{f"dash {d}": (config.hidden.neurons.i_syn_decay == d).any() for d in range(16)},
    }
    return {name for name, seen in found.items() if seen}


def test_equal_to_xylosim(tmp_path):
    if not random_xylo.oracle_python().exists():
        message = f"no oracle: {random_xylo.oracle_python()} is missing (set NIRHW_XYLOSIM_PYTHON)"
        pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)
    cases = _cases()
    chunks = [cases[k : k + CHUNK] for k in range(0, len(cases), CHUNK)]

    def ask(number: int):
        folder = tmp_path / str(number)
        folder.mkdir()
        jobs = [{**random_xylo.job(c.config), "counts0": c.counts[0], "counts1": c.counts[1]} for c in chunks[number]]
        return random_xylo.run_worker("states", jobs, folder, timeout=120)

    failures, seen = {}, Counter()
    with ThreadPoolExecutor(2) as pool:
        for number, results in enumerate(pool.map(ask, range(len(chunks)))):
            for k, case in enumerate(chunks[number]):
                wrong, traces = _mismatches(case, results, k)
                seen.update(_features(case, traces))
                if wrong:
                    failures[number * CHUNK + k] = wrong
    assert not failures
    print(f"{len(cases)} configurations equal; exercised: {dict(sorted(seen.items()))}")
    rare = {name: n for name, n in seen.items() if n < 10}
    assert not rare
    assert len(seen) == 17 + 8 + 16
