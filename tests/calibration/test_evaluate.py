"""A batch of candidates: what each does is what it does alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import nirhw
from nirhw.calibration.evaluate import IMPOSSIBLE, Emulated, Trial, emulate_all
from nirhw.calibration.halves import Halves
from nirhw.calibration.samples import CHUNK, Samples
from nirhw.diagnostics import error
from nirhw.pipeline import Tuning
from nirhw.registry import find_target
from tests import builders as b

TARGETS = ("xylo", "speck", "spinnaker2", "loihi2")
COUNT = 2 * CHUNK + 9


def model(target: str, seed: int) -> nirhw.CompiledModel:
    make = b.integrate_fire if target == "speck" else b.lif
    graph = b.chain(6, 3, w=b.linear(10, 6, seed), n=make(10), w2=b.linear(3, 10, seed + 1), o=make(3))
    return nirhw.compile(graph, target, dt=b.DT, reset="subtract")


def emulated(found: nirhw.CompiledModel) -> Emulated:
    return find_target(found.target).device(found.config, found.io_map), found.io_map


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("observe", [False, True])
def test_a_batch_is_its_candidates_one_by_one(target: str, observe: bool) -> None:
    models = [model(target, seed) for seed in (1, 2, 3)]
    x = b.spikes(25, 6, rate=0.4, batch=COUNT)
    samples = Samples.of(models[0].network, x, None, None)
    batch = [emulated(models[0]), None, *(emulated(m) for m in models[1:])]
    found = list(emulate_all(batch, samples, models[0].network, observe))
    assert [seen is None for seen in found] == [False, True, False, False]
    for one, seen in zip(models, [f for f in found if f is not None], strict=True):
        alone = one.emulate(x, record=["n", "o"] if observe else ())
        lag = one.io_map["outputs"]["out"]["lag"]
        assert np.array_equal(seen.evidence["out"], alone.spikes[:, lag:].sum(axis=1))
        assert (seen.observed is not None) == observe
        if seen.observed is not None:
            for name, lag in seen.observed.lags.items():
                spikes = alone.states[name]["spikes"][:, lag:].reshape(-1, alone.states[name]["spikes"].shape[-1])
                assert seen.observed.rates[name] == pytest.approx(spikes.mean(axis=0))
                assert seen.observed.bursts[name] == pytest.approx((spikes - (spikes > 0)).mean(axis=0))


def test_candidates_are_lowered_one_by_one_and_impossible_ones_score_worst() -> None:
    good = model("xylo", 1)
    samples = Samples.of(good.network, b.spikes(25, 6, rate=0.4, batch=20), None, None)
    halves = Halves.of(good.network, samples, 0)
    lowered: list[float] = []

    def lower(tuning: Tuning) -> Emulated:
        lowered.append(tuning.knobs["k"])
        if tuning.knobs["k"] == 2:
            raise error("NIRHW-E030", "too large")
        return emulated(good)

    trial = Trial(lower, halves.searched, halves.objective, good.network)

    def candidates() -> Iterator[Tuning]:
        for k in range(4):
            yield Tuning({"k": k})

    scores = trial.score_all(candidates())
    assert lowered == [0, 1, 2, 3]
    assert [s is IMPOSSIBLE for s in scores] == [False, False, True, False]
    assert scores[0].value == scores[1].value == scores[3].value
    (_, seen), (_, none) = trial.observe_all([Tuning({"k": 1}), Tuning({"k": 2})])
    assert seen is not None
    assert none is None


def test_an_error_that_is_none_of_the_network_s_is_not_hidden() -> None:
    good = model("xylo", 1)
    halves = Halves.of(good.network, Samples.of(good.network, b.spikes(25, 6, batch=20), None, None), 0)

    def broken(_: Tuning) -> Any:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Trial(broken, halves.searched, halves.objective, good.network).score_all([Tuning()])
