"""Integer grids and scale search, against plain numpy on every row alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nirhw.fits import tensor_fit, time_constant_fits
from nirhw.numerics import Grid, least_error_scale, max_scale, percentile_scale

INT8 = Grid(-128, 127)
MATRICES = hnp.arrays(
    np.float64, st.tuples(st.integers(1, 6), st.integers(1, 40)), elements=st.floats(-50, 50, allow_subnormal=False)
)


def flat(matrix):
    return matrix.ravel(), np.repeat(np.arange(matrix.shape[0]), matrix.shape[1])


def test_a_grid_rounds_to_its_own_multiples_and_clips():
    values = np.array([-400.0, -3.1, -0.5, 0.49, 2.9, 5.0, 400.0])
    assert Grid(-128, 127).nearest(values).tolist() == [-128, -3, 0, 0, 3, 5, 127]
    assert Grid(-128, 127, truncate=True).nearest(values).tolist() == [-128, -3, 0, 0, 2, 5, 127]
    assert Grid(-256, 254, step=2).nearest(values).tolist() == [-256, -4, 0, 0, 2, 4, 254]
    assert Grid(0, 255).largest == 255 and Grid(-256, 254, 2).largest == 254


@given(MATRICES)
def test_max_scale_brings_the_largest_weight_of_each_row_to_the_end_of_the_grid(matrix):
    scale = max_scale(*flat(matrix), matrix.shape[0], INT8)
    for row, got in zip(matrix, scale, strict=True):
        with np.errstate(over="ignore"):  # the smallest numbers
            assert got == (127 / np.abs(row).max() if row.any() else np.inf)


@given(MATRICES, st.floats(50, 100))
def test_percentile_scale_is_numpys_percentile_of_the_non_zero_weights(matrix, percentile):
    scale = percentile_scale(*flat(matrix), matrix.shape[0], INT8, percentile)
    for row, got in zip(matrix, scale, strict=True):
        sizes = np.abs(row[row != 0])
        with np.errstate(over="ignore"):  # the smallest numbers
            wanted = 127 / np.percentile(sizes, percentile) if sizes.size else np.inf
        assert got == pytest.approx(wanted, rel=1e-9)


@settings(max_examples=300)
@given(MATRICES, st.booleans(), st.sampled_from([1, 2]))
def test_least_error_is_never_worse_than_max_scaling(matrix, truncate, step):
    grid = Grid(-128, 127, step, truncate) if step == 1 else Grid(-256, 254, step, truncate)
    values, row = flat(matrix)
    plain = max_scale(values, row, matrix.shape[0], grid)
    start = np.where(np.isfinite(plain), plain, 1.0)
    found = least_error_scale(values, row, start, grid)

    def loss(scale):
        return ((grid.nearest(matrix * scale[:, None]) / scale[:, None] - matrix) ** 2).sum(axis=1)

    assert np.all(loss(found) <= loss(start) * (1 + 1e-9))


def test_least_error_clips_an_outlier_that_would_crush_the_rest():
    row = np.append(np.full(400, 0.0049), 1.0)  # below half a unit of max scaling: all would become zero
    grid, start = Grid(-15, 15), np.array([15.0])
    found = least_error_scale(row, np.zeros(row.size, np.int64), start, grid)
    assert found[0] >= start[0]
    narrow = np.append(np.linspace(-0.7, 0.7, 400), 1.0)
    clipped = least_error_scale(narrow, np.zeros(narrow.size, np.int64), start, grid)
    assert clipped[0] > start[0]


def test_the_cap_bounds_the_scale():
    values = np.array([0.5, 0.25])
    assert least_error_scale(values, np.zeros(2, np.int64), np.array([100.0]), INT8, cap=np.array([90.0]))[0] <= 90.0


def test_a_tensor_fit_counts_what_was_zeroed_and_clipped():
    weights = np.array([[1.0, 0.001, 0.0, -2.0]])
    fit = tensor_fit("p", ("a", "b"), weights, np.array([[100.0, 0.0, 0.0, -127.0]]), np.array([[100.0]]))
    assert (fit.weights, fit.zeroed, fit.clipped) == (3, pytest.approx(1 / 3), pytest.approx(1 / 3))
    assert fit.sqnr_db == pytest.approx(10 * np.log10(weights.ravel() @ weights.ravel() / (0.001**2 + 0.73**2)))
    exact = tensor_fit("p", (), weights, weights * 4, np.array([[4.0]]))
    assert exact.sqnr_db == np.inf


def test_time_constants_are_grouped_by_value_and_code():
    fits = time_constant_fits(
        "lif", "tau_mem", np.array([10.0, 10.0, np.inf]), np.array([3, 3, 15]), np.array([8.0, 8.0, 2.0**15])
    )
    assert [(f.neurons, f.code, f.achieved) for f in fits] == [(2, 3, 8.0), (1, 15, 2.0**15)]
    assert fits[0].error == pytest.approx(-0.2) and fits[1].error == 0.0
    assert fits[0].as_row()["error"] == fits[0].error
