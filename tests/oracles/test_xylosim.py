"""The emulator equals xylosim 0.1.3 bit for bit, in all states and spikes, on random configurations.

Needs a Python that has numpy and xylosim: environment variable NIRHW_XYLOSIM_PYTHON, or ``.venv-xylosim`` in the root.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from nirhw.targets.xylo.emulator import XyloTrace
from tests.oracles import compare_xylosim, random_xylo

N_SMALL, LARGE = 320, (500, 700, 1000, 1000)
CHUNK = 27

pytestmark = pytest.mark.oracle


def _cases():
    small = [random_xylo.random_case(seed) for seed in range(N_SMALL)]
    return small + [random_xylo.random_case(10_000 + k, n_hidden=n, steps=25) for k, n in enumerate(LARGE)]


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
    compare_xylosim.require_oracle()
    cases = _cases()
    chunks = [cases[k : k + CHUNK] for k in range(0, len(cases), CHUNK)]

    def ask(number: int):
        return compare_xylosim.states(chunks[number], tmp_path / str(number))

    failures, seen = {}, Counter()
    with ThreadPoolExecutor(2) as pool:
        for number, results in enumerate(pool.map(ask, range(len(chunks)))):
            for k, case in enumerate(chunks[number]):
                wrong, traces = compare_xylosim.mismatches(case, results, k)
                seen.update(_features(case, traces))
                if wrong:
                    failures[number * CHUNK + k] = wrong
    assert not failures
    print(f"{len(cases)} configurations equal; exercised: {dict(sorted(seen.items()))}")
    rare = {name: n for name, n in seen.items() if n < 10}
    assert not rare
    assert len(seen) == 17 + 8 + 16
