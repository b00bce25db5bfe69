"""The emulator equals lava-nc 0.10.0's fixed-point processes bit for bit, in spikes, u and v, on random networks.

Needs a Python that has lava (``make .venv-lava``): environment variable NIRHW_LAVA_PYTHON, or ``.venv-lava`` in the root.
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

from nirhw.targets.loihi2.emulator import Loihi2Emulator


def _load_sibling(name: str):
    """Import a module that lies beside this file; pytest's importlib mode leaves the folder out of sys.path."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


random_loihi2 = _load_sibling("random_loihi2")

N_CASES, CHUNK = 104, 26
PARTS = ("sent", "u", "v")

pytestmark = [pytest.mark.oracle, pytest.mark.slow]


def _features(case, trace) -> set[str]:
    """What a case exercised, so that the comparison is known not to be empty."""
    config, counts = case.config, case.counts["in"]
    cells = [g for g in config.groups if g.model != "input"]
    plain = [s for s in config.synapses if s.kernel is None]
    found = {
        "wrapped u": trace.wrapped_u.any(),
        "clipped v": trace.clipped_v.any(),
        "no overflow, spikes": not (trace.wrapped_u.any() or trace.clipped_v.any())
        and any(trace.sent[g.name].any() for g in cells),
        "negative v": any((trace.v[g.name] < 0).any() for g in cells),
        "negative u": any((trace.u[g.name] < 0).any() for g in cells),
        "bias": any(g.bias_mantissa.any() for g in cells),
        "interval reset": any(g.model == "lif_reset" for g in cells),
        "du -1": any(g.du == -1 for g in cells),
        "du 4095": any(g.du == 4095 for g in cells),
        "dv 4096": any(g.dv == 4096 for g in cells),
        "recurrence": any(s.source == s.target for s in config.synapses),
        "payloads": any(s.message_bits for s in config.synapses) and (counts < 0).any() and (counts > 1).any(),
        "convolution": len(plain) < len(config.synapses),
        "beyond 8 bits": any((np.abs(s.weight) > 256).any() for s in plain),
        **{f"delayed {k}": any(s.kind == k and s.max_delay for s in plain) for k in ("dense", "sparse")},
        **{f"undelayed {k}": any(s.kind == k and not s.max_delay for s in plain) for k in ("dense", "sparse")},
        **{mode: any(s.sign_mode == mode for s in plain) for mode in ("mixed", "excitatory", "inhibitory")},
        **{f"{bits} weight bits": any(s.weight_bits == bits for s in plain) for bits in range(1, 9)},
        **{f"exponent {e}": any(s.exponent == e for s in plain) for e in range(-4, 8)},
    }
    return {name for name, seen in found.items() if seen}


def test_equal_to_lava(tmp_path):
    if not random_loihi2.oracle_python().exists():
        message = f"no oracle: {random_loihi2.oracle_python()} is missing (make .venv-lava, or set NIRHW_LAVA_PYTHON)"
        pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)
    cases = [random_loihi2.random_case(seed) for seed in range(N_CASES)]
    chunks = [cases[k : k + CHUNK] for k in range(0, N_CASES, CHUNK)]

    def ask(number: int):
        folder = tmp_path / str(number)
        folder.mkdir()
        return random_loihi2.run_worker("states", [random_loihi2.job(c) for c in chunks[number]], folder, timeout=400)

    failures, seen = {}, Counter()
    with ThreadPoolExecutor(2) as pool:
        for number, results in enumerate(pool.map(ask, range(len(chunks)))):
            for k, case in enumerate(chunks[number]):
                names = [g.name for g in case.config.groups if g.model != "input"]
                counts = {name: rows[None] for name, rows in case.counts.items()}
                trace = Loihi2Emulator(case.config).prepare(counts, states=names).run()
                wrong = [
                    f"{name} {part}"
                    for name in names
                    for part in PARTS
                    if not np.array_equal(getattr(trace, part)[name][0], results[f"{k}/{name}/{part}"])
                ]
                if wrong:
                    failures[number * CHUNK + k] = wrong
                seen.update(_features(case, trace))
    assert not failures
    print(f"{len(cases)} networks equal; exercised: {dict(sorted(seen.items()))}")
    assert len(seen) == 40 and min(seen.values()) >= 3, seen
