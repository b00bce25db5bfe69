"""What may be fed in: every way to get spikes, labels and names wrong has its code."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nirhw.diagnostics import InputError
from nirhw.emulation.inputs import as_counts, as_labels, populations_named

ONE = {"in": (3,)}
PLANE = {"in": (2, 4, 4)}
TWO = {"a": (3,), "b": (2, 2)}


def refusal(code: str, call: Any, *given: Any) -> InputError:
    with pytest.raises(InputError) as caught:
        call(*given)
    assert caught.value.code == code
    return caught.value


@pytest.mark.parametrize("kind", ["?", "u1", "i1", "i4", "u8", "f2", "f4", "f8"])
def test_bool_integers_and_whole_floats_are_counts(kind: str) -> None:
    counts, batched = as_counts(np.ones((5, 3), kind), ONE)
    assert counts["in"].tolist() == np.ones((1, 5, 3)).tolist()
    assert counts["in"].dtype == np.int64
    assert not batched


def test_lists_are_arrays() -> None:
    assert as_counts([[0, 1, 2], [True, 0, 0]], ONE)[0]["in"].tolist() == [[[0, 1, 2], [1, 0, 0]]]


@pytest.mark.parametrize(
    ("shape", "wanted", "batch"), [((5, 3), (1, 5, 3), False), ((2, 5, 3), (2, 5, 3), True), ((0, 3), (1, 0, 3), False)]
)
def test_time_comes_before_channels_and_batch_before_time(shape: tuple[int, ...], wanted: tuple[int, ...], batch: bool) -> None:
    counts, batched = as_counts(np.zeros(shape), ONE)
    assert counts["in"].shape == wanted
    assert batched is batch


def test_planes_are_flattened_row_by_row() -> None:
    spikes = np.arange(64).reshape(2, 2, 4, 4)
    assert as_counts(spikes, PLANE)[0]["in"].tolist() == [np.arange(64).reshape(2, 32).tolist()]


def test_several_inputs_are_a_dict_and_one_may_be() -> None:
    counts, batched = as_counts({"a": np.zeros((7, 4, 3)), "b": np.ones((7, 4, 2, 2))}, TWO)
    assert {n: c.shape for n, c in counts.items()} == {"a": (7, 4, 3), "b": (7, 4, 4)}
    assert batched
    assert as_counts({"in": np.zeros((4, 3))}, ONE)[0]["in"].shape == (1, 4, 3)


@pytest.mark.parametrize(
    "spikes",
    [np.zeros(3), np.zeros((5, 4)), np.zeros((2, 2, 5, 3)), np.zeros((3, 5)), 1, None, "spikes", [], [[1, 0, 0], [1, 0]]],
    ids=["no time", "four channels", "four axes", "channels first", "a number", "None", "text", "empty", "ragged"],
)
def test_e050_wrong_shapes(spikes: Any) -> None:
    found = refusal("NIRHW-E050", as_counts, spikes, ONE)
    assert found.diagnostics[0].nodes == ("in",)


@pytest.mark.parametrize(
    "spikes",
    [
        np.zeros((4, 3)),
        {"a": np.zeros((4, 3))},
        {"a": np.zeros((4, 3)), "b": np.zeros((4, 2, 2)), "c": np.zeros((4, 1))},
        {"a": np.zeros((4, 3)), "b": np.zeros((5, 2, 2))},
        {"a": np.zeros((4, 3)), "b": np.zeros((1, 4, 2, 2))},
        {"a": np.zeros((2, 4, 3)), "b": np.zeros((3, 4, 2, 2))},
        {1: np.zeros((4, 3)), "b": np.zeros((4, 2, 2))},
    ],
    ids=["one array", "one missing", "one too many", "other time", "batch for one", "other batch", "other name"],
)
def test_e050_inputs_that_do_not_go_together(spikes: Any) -> None:
    refusal("NIRHW-E050", as_counts, spikes, TWO)


@pytest.mark.parametrize(
    "value",
    [0.5, np.nan, np.inf, -np.inf, -1, -1.0, 1j, "1", None, np.datetime64("2020-01-01"), 1e300, np.uint64(2**64 - 1)],
    ids=repr,
)
def test_e051_wrong_types_and_values(value: Any) -> None:
    spikes = np.full((4, 3), value) if value is not None else np.full((4, 3), None, object)
    refusal("NIRHW-E051", as_counts, spikes, ONE)


def test_e051_counts_above_the_peak_name_the_option() -> None:
    assert as_counts(np.full((4, 3), 15), ONE, peak=15)[0]["in"].max() == 15
    found = refusal("NIRHW-E051", as_counts, np.full((4, 3), 16), ONE, 15)
    assert "'input_peak': 16" in found.diagnostics[0].fix


def test_labels_are_one_whole_number_a_sample() -> None:
    assert as_labels([1, 0, 2], 3).tolist() == [1, 0, 2]
    assert as_labels(np.array([1, 0], np.uint8), 2).dtype == np.int64


@pytest.mark.parametrize("labels", [[1], [1, 2, 3], [[1, 2]], [0.5, 1], ["a", "b"], 1, None, [[1], [1, 2]]], ids=repr)
def test_e052_labels_that_do_not_suit_the_samples(labels: Any) -> None:
    refusal("NIRHW-E052", as_labels, labels, 2)


OWNERS = {"lif1.lif": "lif1.lif", "li": "fused"}


def test_names_to_record() -> None:
    assert populations_named(("lif1.lif", "li"), OWNERS) == {"lif1.lif": "lif1.lif", "li": "fused"}
    assert populations_named("li", OWNERS) == {"li": "fused"}
    assert populations_named(iter(["li"]), OWNERS) == {"li": "fused"}
    assert populations_named((), OWNERS) == {}


@pytest.mark.parametrize("record", [("nobody",), "lif1", ("li", "\x1b[1m"), (3,), ([],), 3, None], ids=repr)
def test_e052_unknown_names_to_record(record: Any) -> None:
    assert "\x1b" not in str(refusal("NIRHW-E052", populations_named, record, OWNERS))


def test_unknown_names_list_the_known_ones() -> None:
    assert "li, lif1.lif" in refusal("NIRHW-E052", populations_named, ("nobody",), OWNERS).diagnostics[0].fix
