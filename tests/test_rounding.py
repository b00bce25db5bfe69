"""Rounding for recorded activity: never worse than the nearest integers, and as good as an exhaustive search where that is possible."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nirhw.numerics import Grid, scales_around
from nirhw.rounding import Moment, compensated, compensated_scale, drive_fit

SHARES = (1.0, 0.9, 0.8, 1.05)


def grid_of(bits: int, step: int = 1) -> Grid:
    """Return the grid of so many bits, its sign among them; of one bit: nothing or one."""
    high = max(1, 2 ** (bits - 1) - 1) * step
    return Grid(0 if bits == 1 else -high, high, step)


def layer(seed: int, rows: int, columns: int, parts: int = 1) -> tuple[np.ndarray, Moment]:
    """Return weights with an outlier, a row of zeros and absent synapses, and a moment with dead and bursting inputs."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(rows, columns)) * (rng.random((rows, columns)) < 0.9)
    weights[0] = 0.0
    weights[-1, 0] = 30.0
    traces = np.cumsum(rng.random((64, columns)) < rng.random(columns) * 0.5, axis=0) * 1.0
    traces[8:] -= traces[:-8].copy()
    traces[:, :: max(2, columns // 2)] = 0.0
    edges = np.linspace(0, columns, parts + 1).astype(int)
    return weights, Moment(tuple(traces[:, a:b].T @ traces[:, a:b] / 64 for a, b in pairwise(edges)))


def error(integers: np.ndarray, weights: np.ndarray, factor: np.ndarray, moment: Moment) -> np.ndarray:
    return moment.error(integers / factor - weights)


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    bits=st.integers(1, 8),
    step=st.sampled_from([1, 2]),
    rows=st.integers(2, 6),
    columns=st.integers(1, 40),
    parts=st.integers(1, 3),
    keep_signs=st.booleans(),
)
def test_no_row_is_worse_than_the_nearest_integers(
    seed: int, bits: int, step: int, rows: int, columns: int, parts: int, keep_signs: bool
) -> None:
    weights, moment = layer(seed, rows, columns, min(parts, columns))
    grid = grid_of(bits, step)
    factor = grid.largest / np.maximum(np.abs(weights).max(axis=1, keepdims=True), 1e-9) * np.full((1, columns), 1.1)
    found = compensated(weights, [(grid, columns)], factor, moment, keep_signs)
    nearest = np.where(weights != 0, grid.nearest(weights * factor), 0.0)
    assert np.all(error(found, weights, factor, moment) <= error(nearest, weights, factor, moment))
    assert found.min() >= grid.low
    assert found.max() <= grid.high
    assert not np.any(found % step)
    assert not np.any(found[weights == 0])
    if keep_signs:
        assert np.all(found * weights >= 0)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), bits=st.integers(1, 8), shared=st.booleans())
def test_the_scale_is_no_worse_than_any_that_was_tried(seed: int, bits: int, shared: bool) -> None:
    weights, moment = layer(seed, 4, 12)
    grid = grid_of(bits)
    start = np.full(4, grid.largest / 3.0) if shared else grid.largest / np.maximum(np.abs(weights).max(axis=1), 1e-9)
    tried = scales_around(start, SHARES)
    scale, found = compensated_scale(weights, [(grid, 12)], np.ones(1), tried, moment, shared)
    got = error(found, weights, scale[:, None], moment)
    assert not shared or np.unique(scale).size == 1
    for candidate in tried:
        plain = error(grid.nearest(weights * candidate[:, None]), weights, candidate[:, None], moment)
        if shared:
            assert got.sum() <= plain.sum() * (1 + 1e-9)
        else:
            assert np.all(got <= plain * (1 + 1e-9))


def test_three_weights_find_the_best_of_all_integers() -> None:
    rng = np.random.default_rng(3)
    grid = Grid(-3, 3)
    traces = rng.random((50, 3)) @ rng.normal(size=(3, 3))
    moment = Moment((traces.T @ traces / 50,))
    weights = rng.normal(size=(20, 3))
    factor = np.full((1, 1), 2.0)
    found = compensated(weights, [(grid, 3)], factor, moment)
    every = np.array(list(product(range(-3, 4), repeat=3)), float)
    best = np.array([moment.error(every / 2.0 - w).min() for w in weights])
    got, plain = (error(q, weights, factor, moment) for q in (found, grid.nearest(weights * 2.0)))
    assert got.sum() < 0.5 * (plain.sum() + best.sum())  # most of what can be won
    assert np.mean(np.isclose(got, best)) >= 0.4


def test_inputs_that_fire_together_share_their_error() -> None:
    """Four inputs of one spike train: 4 x 0.4 is 1.6, nearest integers give 0, the best sum is 2."""
    moment = Moment((np.ones((4, 4)),))
    found = compensated(np.full((1, 4), 0.4), [(Grid(-8, 8), 4)], np.ones((1, 1)), moment)
    assert found.sum() == 2.0


def test_columns_have_grids_and_units_of_their_own() -> None:
    weights, moment = layer(5, 3, 8)
    grids = [(Grid(0, 7), 5), (Grid(-6, 6, 2), 3)]
    factor = np.repeat([4.0, 0.5], [5, 3])[None]
    found = compensated(weights, grids, factor, moment)
    assert found[:, :5].min() >= 0
    assert found[:, :5].max() <= 7
    assert np.abs(found[:, 5:]).max() <= 6
    assert not np.any(found[:, 5:] % 2)


def test_whole_weights_stay() -> None:
    _, moment = layer(1, 3, 10)
    weights = np.random.default_rng(0).integers(-7, 8, (3, 10)) * 0.25
    assert np.array_equal(compensated(weights, [(Grid(-7, 7), 10)], np.full((1, 1), 4.0), moment), weights * 4)


def test_the_fit_counts_the_error_of_the_drive() -> None:
    weights = np.array([[0.4, 0.4]])
    moment = Moment((np.ones((2, 2)),))
    grids, factor = [(Grid(-8, 8), 2)], np.ones((1, 1))
    fit = drive_fit("a", weights, grids, factor, np.array([[1.0, 0.0]]), [(np.array([0]), moment)])
    assert (fit.nearest, fit.error) == (pytest.approx(1.0), pytest.approx(0.2 / 0.8))


def test_very_many_weights_are_rounded_at_the_likeliest_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    import nirhw.rounding as module

    weights, moment = layer(7, 4, 12)
    tried = scales_around(np.full(4, 0.2), SHARES)
    grids = [(Grid(-7, 7), 12)]
    _, all_tried = compensated_scale(weights, grids, np.ones(1), tried, moment)
    monkeypatch.setattr(module, "MOST_PRODUCTS", 1.0)
    scale, found = compensated_scale(weights, grids, np.ones(1), tried, moment)
    assert all_tried.shape == found.shape
    nearest = grids[0][0].nearest(weights * scale[:, None])
    assert np.all(
        error(found, weights, scale[:, None], moment) <= error(nearest * (weights != 0), weights, scale[:, None], moment)
    )
