"""The hunt: what each stage tries, keeps and spends, with candidates whose scores are known."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

import numpy as np
import pytest

from nirhw.calibration.evaluate import Trial
from nirhw.calibration.hunt import RUNG_ROUNDS, STEP_ROUNDS, STEPS_TRIMMED, Hunt, Progress
from nirhw.calibration.knobs import Knob, defaults
from nirhw.calibration.objective import Score
from nirhw.calibration.trim import Firing, Observed
from nirhw.nir_reader import Semantics, read_network
from nirhw.pipeline import Tuning
from tests import builders as b

SAMPLES = 100
NETWORK = read_network(b.chain(4, 2, w=b.linear(2, 4), lif=b.cubalif(2)), Semantics(b.DT, "subtract", "euler")).network
SILENT = Firing({"lif": np.zeros((5, 2))}, {"lif": np.ones(2)})


class Known:
    """Scores candidates by a function of their knobs; ``noise`` says how far samples differ in the gain over the default."""

    network = NETWORK

    def __init__(self, value: Callable[[dict[str, float]], float], noise: float = 0.0):
        self.value, self.seen = value, list[dict[str, float]]()
        self.noise = np.random.default_rng(0).normal(0.0, noise, SAMPLES) if noise else np.zeros(SAMPLES)

    def score(self, tuning: Tuning) -> Score:
        knobs = dict(tuning.knobs)
        self.seen.append(knobs)
        value = self.value(knobs)
        by_sample = value + (self.noise - self.noise.mean()) * (value != self.value(self.seen[0]))
        return Score(value, min(max(value, 0.0), 1.0), value, by_sample)

    def score_all(self, candidates: Iterable[Tuning]) -> list[Score]:
        return [self.score(c) for c in candidates]

    def observe_all(self, candidates: Iterable[Tuning]) -> list[tuple[Score, Observed]]:
        rates = {"lif": np.zeros(2)}
        return [(self.score(c), Observed(rates, rates, {"lif": 0})) for c in candidates]


def hunt(trial: Known, knobs: tuple[Knob, ...], budget: int = 250, firing: Firing | None = None, **more: Any) -> Hunt:
    start = Tuning(defaults(knobs))
    found = Hunt(cast(Trial, trial), knobs, ("drive",), budget, 0, more.get("watch"), start, trial.score(start))
    found.run(firing)
    return found


def steps(*names: str) -> tuple[Knob, ...]:
    return tuple(Knob(n, 0, -2, 2, "step", n) for n in names)


def test_steps_are_taken_as_long_as_one_brings_a_gain() -> None:
    trial = Known(lambda k: 0.9 - 0.1 * abs(k["a"] - 2) - 0.05 * abs(k["b"] + 1))
    found = hunt(trial, steps("a", "b"))
    assert found.best.knobs == {"a": 2, "b": -1}
    # one knob at a time, by one, never beyond its range
    assert all(abs(k["a"]) <= 2 and abs(k["b"]) <= 2 for k in trial.seen)
    assert {k["a"] + k["b"] for k in trial.seen[1:5]} == {-1, 1}
    assert found.evaluations == len(trial.seen) == 1 + 4 + 4 + 3 + 3


def test_a_step_whose_gain_chance_explains_is_not_kept() -> None:
    value: Callable[[dict[str, float]], float] = lambda k: 0.9 + 0.01 * k["a"]  # noqa: E731
    assert hunt(Known(value, noise=0.5), steps("a")).best.knobs == {"a": 0}
    assert hunt(Known(value, noise=0.01), steps("a")).best.knobs == {"a": 2}


def test_the_best_steps_get_trims_of_their_own() -> None:
    trial = Known(lambda k: 0.5 - 0.1 * k["b"] ** 2)
    names = "abcde"
    found = hunt(trial, steps(*names), firing=SILENT)
    tried = [tuple(k[n] for n in names) for k in trial.seen]
    often = sorted((tried.count(k) for k in set(tried) if any(k)), reverse=True)
    assert often[: STEPS_TRIMMED + 1] == [1 + STEP_ROUNDS] * STEPS_TRIMMED + [1]
    assert found.best.knobs == dict.fromkeys(names, 0)


@pytest.mark.parametrize("budget", [1, 2, 10, 40, 60, 100, 250])
def test_the_budget_is_kept(budget: int) -> None:
    knobs = (
        *steps("a", "b", "c"),
        Knob("ladder", 0, 0, 8, "ladder", ""),
        Knob("other", 1, 1, 4, "ladder", ""),
        Knob("gain", 1.0, 0.5, 2.0, "log", ""),
        Knob("offset", 0.0, -1.0, 1.0, "linear", ""),
    )
    seen: list[Progress] = []
    trial = Known(lambda k: k["a"] + k["gain"] - k["offset"] ** 2 + 0.01 * k["ladder"], noise=0.001)
    found = hunt(trial, knobs, budget, SILENT if budget > 1 else None, watch=seen.append)
    assert found.evaluations == len(trial.seen) == seen[-1].done <= budget
    assert found.score.value >= trial.value(defaults(knobs))


def test_a_rung_of_one_ladder_has_the_others_at_their_foot() -> None:
    knobs = (Knob("drivers", 0, 0, 8, "ladder", ""), Knob("stretch", 1, 1, 4, "ladder", ""))
    trial = Known(lambda k: 0.1 * k["drivers"] + 0.5 * (k["stretch"] == 2))
    found = hunt(trial, knobs, firing=SILENT)
    assert all(k["drivers"] == 0 or k["stretch"] == 1 for k in trial.seen)
    assert found.best.knobs == {"drivers": 8, "stretch": 1}
    assert sum(k["stretch"] == 4 for k in trial.seen) == RUNG_ROUNDS


def test_the_lowest_rung_that_is_about_as_good_is_kept() -> None:
    trial = Known(lambda k: 0.5 + 0.3 * (k["drivers"] >= 2) + 0.0005 * k["drivers"])
    found = hunt(trial, (Knob("drivers", 0, 0, 8, "ladder", ""),), firing=SILENT)
    assert found.best.knobs == {"drivers": 2}


def test_a_turn_of_the_search_that_brings_nothing_ends_it() -> None:
    knobs = (Knob("gain", 1.0, 0.5, 2.0, "log", ""), Knob("offset", 0.0, -1.0, 1.0, "linear", ""))
    flat, steep = (hunt(Known(value), knobs, 200) for value in (lambda k: 0.5, lambda k: k["gain"]))
    assert flat.best.knobs == defaults(knobs)
    assert flat.evaluations < 0.6 * 200 < steep.evaluations <= 200
    assert steep.best.knobs["gain"] == pytest.approx(2.0, rel=0.01)
