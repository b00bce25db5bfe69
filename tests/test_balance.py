"""Balanced rounding: never worse than nearest rounding in drive error, whatever the weights."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nirhw.balance import balanced, drive_error
from nirhw.numerics import Grid

GRIDS = st.sampled_from([Grid(-127, 127), Grid(-15, 15), Grid(-254, 254, 2), Grid(0, 255), Grid(0, 240, 16), Grid(-1, 1)])
UNITS = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 5), st.integers(1, 40)),
    elements=st.one_of(st.just(0.0), st.floats(-300, 300, allow_subnormal=False)),
)


@settings(max_examples=300)
@given(UNITS, GRIDS)
def test_never_worse_than_the_nearest_integers_and_legal(units: np.ndarray, grid: Grid) -> None:
    units = np.abs(units) if grid.low == 0 else units
    rows, row = units.shape[0], np.repeat(np.arange(units.shape[0]), units.shape[1])
    flat = units.ravel()
    whole, plain = balanced(flat, row, rows, grid), grid.nearest(flat)
    step = grid.step
    before, after = (drive_error((w - flat) / step, row, rows) for w in (plain, whole))
    assert np.all(after <= before * (1 + 1e-9) + 1e-9)
    assert np.all(whole[flat == 0.0] == 0.0) and np.all(whole * flat >= 0.0)
    assert np.all((whole >= grid.low) & (whole <= grid.high) & (whole % step == 0)) and np.all(np.abs(whole - plain) <= step)


def test_rounding_the_same_way_everywhere_is_made_up_for() -> None:
    """Forty weights of 0.4 are worth 16 units: the nearest integers are all zero, balanced ones are not."""
    units = np.full(40, 0.4)
    whole = balanced(units, np.zeros(40, np.int64), 1, Grid(-127, 127))
    assert 14 <= whole.sum() <= 16 and set(whole) == {0.0, 1.0}
    two = balanced(np.tile(units, 2), np.repeat([0, 1], 40), 2, Grid(-127, 127))
    assert np.array_equal(two, np.tile(whole, 2))  # rows do not see each other


def test_truncation_is_left_alone() -> None:
    units = np.full(40, 0.4)
    assert not balanced(units, np.zeros(40, np.int64), 1, Grid(-127, 127, truncate=True)).any()


def test_the_drive_error_counts_noise_and_push() -> None:
    lost = np.array([0.5, -0.5, 0.5, 0.5])
    assert drive_error(lost, np.array([0, 0, 1, 1]), 3) == pytest.approx([0.5, 1.5, 0.0])
