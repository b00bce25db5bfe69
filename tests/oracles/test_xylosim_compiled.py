"""Whole compiled configurations, with all that the compiler adds to a network, are the same on xylosim 0.1.3 and on our emulator.

Random networks whose configurations have drivers (neurons whose aliases keep others to one spike a step), held neurons with their
relays and starters, bias neurons, relays for delays and second synapses, alone and together; half of them with decay codes and bit
shifts moved as calibration moves them.  Needs the oracle of ``test_xylosim.py``.
"""

from __future__ import annotations

from collections import Counter

import nir
import numpy as np
import pytest

from nirhw.pipeline import Tuning
from nirhw.targets.xylo.bias import SOURCE
from nirhw.targets.xylo.config import NO_ALIAS
from nirhw.targets.xylo.hold import CLOCK
from tests import builders as b
from tests.oracles import compare_xylosim
from tests.oracles.random_xylo import Case
from tests.targets.xylo.tuned import lowered

NETWORKS = 64
CHANNELS, HIDDEN, FILTERED, OUTPUTS = 4, 14, 6, 3
STEPS = 80
MOVED = (
    *(f"code.{state}.{layer}" for state in ("membrane", "synapse") for layer in ("hidden", "output")),
    *(f"shift.{matrix}" for matrix in ("input", "hidden", "readout")),
)

pytestmark = pytest.mark.oracle


def network(seed: int, bias: bool, branch: bool, two_synapses: bool) -> nir.NIRGraph:
    """Return a recurrent network that bursts.

    Args:
        seed: of weights and time constants.
        bias: with biases beyond the chip's registers.
        branch: with a delayed branch past the last hidden layer, which has to wait in relays.
        two_synapses: with a hidden layer that takes its input through two filters.
    """
    random = np.random.default_rng(seed)
    first = random.normal(0.4, 0.4, (HIDDEN, CHANNELS))
    source, width = ("two", FILTERED) if two_synapses else ("hid", HIDDEN)
    nodes = {
        "fc1": nir.Affine(first, random.uniform(0.1, 0.5, HIDDEN)) if bias else nir.Linear(first),
        "hid": b.cubalif(HIDDEN, tau_syn=random.uniform(2, 5), tau_mem=random.uniform(4, 12)),
        "rec": nir.Linear(random.normal(-0.15, 0.15, (HIDDEN, HIDDEN))),
        "fc2": nir.Linear(random.normal(0.1, 0.3, (OUTPUTS, width))),
        "last": b.cubalif(OUTPUTS, tau_syn=random.uniform(2, 5), tau_mem=random.uniform(4, 12)),
    }
    edges = [("in", "fc1"), ("fc1", "hid"), ("hid", "rec"), ("rec", "hid"), (source, "fc2"), ("fc2", "last"), ("last", "out")]
    if two_synapses:
        quick, slow = (nir.Linear(random.normal(0.1, 0.3, (FILTERED, n))) for n in (CHANNELS, HIDDEN))
        nodes |= {"quick": quick, "slow": slow, "f1": b.li(FILTERED, 2), "f2": b.li(FILTERED, 16), "two": b.lif(FILTERED, 8, 2.0)}
        edges += [("in", "quick"), ("quick", "f1"), ("f1", "two"), ("hid", "slow"), ("slow", "f2"), ("f2", "two")]
    if branch:
        nodes |= {"wait": nir.Delay(random.integers(1, 4, HIDDEN) * b.DT), "by": b.linear(OUTPUTS, HIDDEN, seed, 0.2)}
        edges += [("hid", "wait"), ("wait", "by"), ("by", "last")]
    return b.graph(CHANNELS, OUTPUTS, nodes, edges)


def compiled(seed: int) -> tuple[Case, set[str]]:
    """Return a compiled network with random input, and what the compiler put into it."""
    random = np.random.default_rng(1000 + seed)
    bias, branch, two, driven, held, stepped = (bool(seed >> k & 1) for k in range(6))
    count, bursts = int(random.integers(1, HIDDEN + 1)), {"hid": random.uniform(0.1, 1.0, HIDDEN)}
    moves = {name: float(random.integers(-1, 2)) for name in MOVED} if stepped else {}
    tuning = Tuning({"drivers": count, **moves}, bursts=bursts) if driven else Tuning(moves)
    options = {"bursts": "hold" if held else "allow", "synapses": "auto" if held else "one"}
    graph = network(seed, bias, branch, two)
    config, _, _, context = lowered(graph, b.DT, "subtract", tuning, **options)
    features = {
        "drivers": bool((config.hidden.neurons.alias_target != NO_ALIAS).any() and config.hidden.aliasing),
        "held neurons": CLOCK in context.record.hidden_ids,
        "bias neurons": SOURCE in context.record.hidden_ids,
        "bias registers": config.bias_enable and bool((np.abs(config.hidden.neurons.v_mem_bias) > 1).any()),
        "relays": any(row["relay_stages"] for row in context.record.delays),
        "two synapses": config.synapse2_enable and bool(config.input.syn2_weights.any() or config.hidden.syn2_weights.any()),
    }
    assert features["drivers"] == driven and (held or not features["held neurons"])
    counts = tuple((random.random((STEPS, CHANNELS)) < rate).astype(np.int64) for rate in (0.4, 0.1))
    return Case(config, counts), {name for name, there in features.items() if there}


def test_compiled_configurations_equal_xylosim(tmp_path):
    compare_xylosim.require_oracle()
    cases = [compiled(seed) for seed in range(NETWORKS)]
    expected = compare_xylosim.states([case for case, _ in cases], tmp_path / "jobs")
    failures, seen = {}, Counter()
    for k, (case, features) in enumerate(cases):
        wrong, traces = compare_xylosim.mismatches(case, expected, k)
        if wrong:
            failures[k] = (features, wrong)
        senders = np.flatnonzero(case.config.hidden.neurons.alias_target != NO_ALIAS)
        hidden = np.concatenate([t.hidden_spikes[0] for t in traces])
        # a driver sends its copies in every step from the first on
        assert (hidden[:, senders] == 30).all()
        lively = {
            "several spikes a step": (np.delete(hidden, senders, axis=1) > 1).any(),
            "output spikes": all(t.out_spikes.any() for t in traces),
        }
        seen.update({*features, *(name for name, there in lively.items() if there)})
        if features >= {"drivers", "held neurons", "bias neurons", "relays", "two synapses"}:
            seen["all together"] += 1
    assert not failures
    print(f"{NETWORKS} compiled configurations equal; with: {dict(sorted(seen.items()))}")
    assert len(seen) == 9 and min(seen.values()) >= 3
