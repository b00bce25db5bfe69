"""The search: finds optima of known functions, keeps what it was given, ends when told."""

from __future__ import annotations

import numpy as np
import pytest

from nirhw.calibration.knobs import Knob, defaults, to_point, to_values
from nirhw.calibration.objective import Score
from nirhw.calibration.samples import halve
from nirhw.calibration.search import Found, search


def bowl(points: np.ndarray) -> list[float]:
    """Largest, 0, at 0.8 everywhere."""
    return [-float(((p - 0.8) ** 2).sum()) for p in points]


def test_the_optimum_of_a_bowl_is_found() -> None:
    found = search(bowl, np.full((1, 6), 0.3), 600, seed=1)
    assert found.evaluations == 600
    assert np.abs(found.point - 0.8).max() < 0.02


@pytest.mark.parametrize("budget", [1, 2, 7, 50])
def test_the_budget_is_kept_and_the_start_is_never_lost(budget: int) -> None:
    count = 0

    def worse_elsewhere(points: np.ndarray) -> list[float]:
        nonlocal count
        count += len(points)
        return [1.0 if np.all(p == 0.5) else -float(p.sum()) for p in points]

    found = search(worse_elsewhere, np.full((1, 6), 0.5), budget, seed=0)
    assert count == found.evaluations == budget
    assert found.value == 1.0
    assert np.all(found.point == 0.5)


def test_the_same_seed_finds_the_same_point_and_another_seed_another() -> None:
    runs = [search(bowl, np.full((1, 6), 0.3), 80, seed=s).point for s in (3, 3, 4)]
    assert np.array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


def test_an_interrupt_keeps_the_best() -> None:
    def stop(found: Found) -> None:
        if found.evaluations > 40:
            raise KeyboardInterrupt

    found = search(bowl, np.full((1, 6), 0.3), 500, 0, stop)
    assert found.interrupted
    assert 40 < found.evaluations < 80
    assert found.value == bowl(found.point[None, :])[0] > bowl(np.full((1, 6), 0.3))[0]


def test_the_first_run_begins_at_the_best_start() -> None:
    seen: list[np.ndarray] = []

    def evaluate(points: np.ndarray) -> list[float]:
        seen.extend(points)
        return bowl(points)

    search(evaluate, np.array([[0.1] * 6, [0.7] * 6]), 30, seed=0)
    assert np.array_equal(seen[0], [0.1] * 6)
    assert np.array_equal(seen[1], [0.7] * 6)
    assert np.mean(seen[2:]) > 0.5


def test_impossible_candidates_are_avoided() -> None:
    def half(points: np.ndarray) -> list[float]:
        return [v if p[0] < 0.6 else -np.inf for v, p in zip(bowl(points), points, strict=True)]

    found = search(half, np.full((1, 6), 0.3), 500, seed=0)
    assert 0.5 < found.point[0] < 0.6
    assert np.isfinite(found.value)


def test_a_network_without_knobs_is_evaluated_once() -> None:
    found = search(lambda points: [7.0] * len(points), np.zeros((1, 0)), 100, seed=0)
    assert (found.evaluations, found.value) == (1, 7.0)


def test_knobs_go_to_the_cube_and_back() -> None:
    knobs = (Knob("a", 1.0, 0.25, 4.0, "log", ""), Knob("b", 0.1, -1, 1, "linear", ""))
    values = defaults(knobs)
    point = to_point(knobs, values)
    assert point.tolist() == pytest.approx([0.5, 0.55])
    assert to_values(knobs, point) == pytest.approx(values)
    assert to_values(knobs, np.array([2.0, -1.0])) == {"a": 4.0, "b": -1.0}
    with pytest.raises(ValueError, match="does not lie"):
        Knob("d", 3.0, 0.0, 2.0, "linear", "")


def test_halves_are_disjoint_balanced_and_drawn_by_the_seed() -> None:
    classes = np.repeat([0, 1, 2, 5], [10, 7, 1, 25])
    first, second = halve(classes, 0)
    assert sorted([*first, *second]) == list(range(43))
    assert first.size - second.size == 1
    for value in (0, 1, 2, 5):
        assert abs(int((classes[first] == value).sum()) - int((classes[second] == value).sum())) <= 1
    assert np.array_equal(halve(classes, 0)[0], first)
    assert not np.array_equal(halve(classes, 1)[0], first)


def test_a_gain_that_chance_explains_is_not_clear() -> None:
    """Half of the samples gain and half lose but for one: the mean is above, not beyond its error."""
    base = Score(0.0, 0.0, 0.0, np.zeros(100))
    lucky = np.resize([1.0, -1.0], 100)
    lucky[1] = 1.0
    assert not Score(float(lucky.mean()), 0.0, 0.0, lucky).clearly_above(base)
    steady = np.resize([0.03, -0.01], 100)
    assert Score(float(steady.mean()), 0.0, 0.0, steady).clearly_above(base)
    assert not base.clearly_above(base)
    assert base.clearly_above(Score(-np.inf, 0.0)) and not Score(-np.inf, 0.0).clearly_above(base)
