"""The measures of fidelity, on runs made by hand whose answers are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from nirhw.emulation.result import Run
from nirhw.fidelity import Fidelity, FidelityMeter, PopulationFidelity, Share, decisions

RNG = np.random.default_rng(0)


def run(
    spikes: Any = None, outputs: Any = None, states: dict[str, np.ndarray] | None = None, lag: dict[str, int] | None = None
) -> Run:
    """Return a run; ``states`` holds rasters ``[batch, time, neuron]`` by population."""
    kept = {n: {"spikes": np.asarray(s)} for n, s in (states or {}).items()}
    return Run(spikes, outputs, kept, {**dict.fromkeys(kept, 0), **(lag or {})}, None)


def raster(*rows: list[int]) -> np.ndarray:
    """Return one sample of one neuron per row: its spikes by step."""
    return np.array(rows, np.uint8).T[None]


def fidelity(chip: Run, reference: Run, outputs: tuple[str, ...] = (), labels: Any = None) -> Fidelity:
    meter = FidelityMeter(outputs)
    meter.add(chip, reference)
    return meter.result(None if labels is None else np.asarray(labels))


def of_rasters(got: np.ndarray, wanted: np.ndarray, lag: int = 0) -> PopulationFidelity:
    return fidelity(run(states={"p": got}, lag={"p": lag}), run(states={"p": wanted})).populations["p"]


def votes(*classes: int, steps: int = 4, size: int = 3) -> np.ndarray:
    """Return output rasters in which sample k fires class ``classes[k]`` alone."""
    spikes = np.zeros((len(classes), steps, size), np.uint8)
    for sample, chosen in enumerate(classes):
        spikes[sample, :, chosen] = 1
    return spikes


# -- decisions, agreement, accuracy


def test_agreement_is_the_share_of_equal_decisions_with_its_standard_error() -> None:
    found = fidelity(run(votes(0, 1, 2, 0)), run(votes(0, 1, 2, 1)), ("out",)).agreement
    assert found is not None
    assert (found.value, found.samples) == (0.75, 4)
    assert found.error == pytest.approx(np.sqrt(0.75 * 0.25 / 4))


def test_accuracies_need_labels() -> None:
    chip, reference = run(votes(0, 1, 2, 0)), run(votes(0, 1, 2, 1))
    without = fidelity(chip, reference, ("out",))
    assert without.accuracy is None and without.reference_accuracy is None
    found = fidelity(chip, reference, ("out",), labels=[0, 1, 1, 1])
    assert found.accuracy is not None and found.reference_accuracy is not None
    assert (found.accuracy.value, found.reference_accuracy.value) == (0.5, 0.75)


@pytest.mark.parametrize(("hits", "error"), [([True] * 9, 0.0), ([True, False], np.sqrt(0.125)), ([False], 0.0)])
def test_binomial_standard_error(hits: list[bool], error: float) -> None:
    assert Share.of(np.array(hits)).error == pytest.approx(error)


def test_the_lowest_index_wins_ties() -> None:
    spikes = votes(2)
    spikes[0, :, 1] = 1
    assert decisions(run(spikes), ("out",), {})["out"].tolist() == [1]
    assert decisions(run(np.zeros((1, 4, 3), np.uint8)), ("out",), {})["out"].tolist() == [0]
    assert decisions(run(None, np.zeros((1, 4, 3))), ("out",), {})["out"].tolist() == [0]


def test_counts_beyond_a_byte_are_added_up() -> None:
    spikes = np.zeros((1, 300, 2), np.uint8)
    spikes[0, :, 1] = 1
    spikes[0, :50, 0] = 1
    assert decisions(run(spikes), ("out",), {})["out"].tolist() == [1]


def test_analog_outputs_decide_by_their_mean() -> None:
    values = np.array([[[0.0, 1.0], [0.0, 1.0], [2.5, 0.0]]])
    assert decisions(run(None, values), ("out",), {})["out"].tolist() == [0]


def test_outputs_of_any_shape_decide_by_flat_index() -> None:
    assert decisions(run(votes(4, size=6).reshape(1, 4, 2, 3)), ("out",), {})["out"].tolist() == [4]


def test_several_outputs_are_judged_one_by_one() -> None:
    chip = run({"a": votes(0, 1)}, {"b": np.eye(2)[:, None, :]})
    reference = run({"a": votes(0, 1)}, {"b": np.eye(2)[::-1, None, :]})
    found = fidelity(chip, reference, ("a", "b"), labels=[0, 1])
    assert (found.outputs["a"].agreement.value, found.outputs["b"].agreement.value) == (1.0, 0.0)
    assert found.agreement is None and found.accuracy is None
    assert found.to_dict()["outputs"]["a"]["agreement"]["value"] == 1.0


# -- counts and rates


def test_count_error_is_the_mean_miss_over_the_mean_count() -> None:
    wanted = raster([1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0])  # counts 4 2 0
    got = raster([1, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 1])  # counts 3 3 1
    assert of_rasters(got, wanted).count_error == pytest.approx(1.0 / 2.0)


def test_a_silent_reference_has_no_relative_error() -> None:
    silent, one = raster([0, 0, 0]), raster([0, 1, 0])
    assert of_rasters(silent, silent) == PopulationFidelity(0.0, 0.0, 0.0, 0.0, 0, -1)
    found = of_rasters(one, silent)
    assert found.count_error == found.raster_distance == float("inf")
    assert found.rate_distance == pytest.approx(1 / 3)


@pytest.mark.parametrize("seed", range(5))
def test_rate_distance_is_scipy_s_wasserstein_distance(seed: int) -> None:
    dice = np.random.default_rng(seed)
    got, wanted = (dice.random((4, 50, 7)) < dice.random(7) for _ in range(2))
    rates = [r.sum(axis=(0, 1)) / 200 for r in (got, wanted)]
    assert of_rasters(got, wanted).rate_distance == pytest.approx(wasserstein_distance(*rates))


def test_rate_distance_ignores_which_neuron_fires() -> None:
    wanted = (RNG.random((2, 40, 6)) < 0.3).astype(np.uint8)
    assert of_rasters(wanted[..., ::-1], wanted).rate_distance == 0.0


def test_all_spiking_neurons_together() -> None:
    a, b = raster([1, 1, 0, 0]), raster([1, 0, 0, 0], [1, 1, 1, 1])
    found = fidelity(run(states={"a": a, "b": b}), run(states={"a": 0 * a, "b": b}))
    assert found.count_error == pytest.approx(2 / 5)
    assert found.rate_distance == pytest.approx(wasserstein_distance([0.5, 0.25, 1.0], [0.0, 0.25, 1.0]))


# -- rasters and time


def test_raster_distance_is_wrong_cells_over_reference_spikes() -> None:
    wanted = raster([1, 0, 1, 0, 1, 0, 1, 0])
    got = raster([1, 0, 1, 0, 1, 0, 0, 1])
    assert of_rasters(got, wanted).raster_distance == pytest.approx(2 / 4)


@pytest.mark.parametrize("shift", [-3, -2, -1, 0, 1, 2, 3])
def test_best_shift_finds_a_shifted_raster(shift: int) -> None:
    long = (RNG.random((3, 66, 5)) < 0.3).astype(np.uint8)
    got, wanted = long[:, 3 - shift : 63 - shift], long[:, 3:63]
    found = of_rasters(got, wanted)
    assert (found.best_shift, found.best_raster_distance) == (shift, 0.0)
    if shift:
        assert found.raster_distance > 0


def test_shifts_beyond_three_steps_are_not_searched() -> None:
    wanted, got = np.zeros((1, 20, 1)), np.zeros((1, 20, 1))
    wanted[0, 5], got[0, 9] = 1, 1
    found = of_rasters(got, wanted)
    assert (found.best_shift, found.best_raster_distance) == (0, 2.0)


def test_no_shift_makes_a_silent_chip_look_better() -> None:
    """Rows that a shift pushes out of sight must not count as right."""
    wanted = np.zeros((1, 8, 2), np.uint8)
    wanted[0, [0, 7], 0] = 1
    for rows in ([0, 7], [0], [7], [3]):
        only = np.zeros_like(wanted)
        only[0, rows, 0] = 1
        found = of_rasters(0 * only, only)
        assert (found.best_shift, found.best_raster_distance) == (0, 1.0), rows


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_rasters_shorter_than_the_search(steps: int) -> None:
    wanted = np.ones((1, steps, 2), np.uint8)
    assert of_rasters(0 * wanted, wanted) == PopulationFidelity(1.0, 1.0, 1.0, 1.0, 0, 0)


@pytest.mark.parametrize("lag", [0, 1, 2, 5])
def test_rasters_are_aligned_by_latency(lag: int) -> None:
    wanted = (RNG.random((2, 30, 4)) < 0.4).astype(np.uint8)
    got = np.concatenate([np.zeros((2, lag, 4), np.uint8), wanted[:, : 30 - lag]], axis=1)
    assert of_rasters(got, wanted, lag) == PopulationFidelity(0.0, 0.0, 0.0, 0.0, 0, -1)
    if lag:
        assert of_rasters(got, wanted, 0).best_shift == min(lag, 3) or lag > 3


def test_a_lag_longer_than_the_run_leaves_nothing_to_compare() -> None:
    ones = np.ones((1, 3, 2), np.uint8)
    assert of_rasters(ones, ones, lag=4) == PopulationFidelity(0.0, 0.0, 0.0, 0.0, 0, -1)


def test_latency_of_an_output_delays_its_decision() -> None:
    spikes = np.zeros((1, 4, 2), np.uint8)
    spikes[0, :2, 0] = 1
    spikes[0, 2, 1] = 1
    assert decisions(run(spikes), ("out",), {})["out"].tolist() == [0]
    assert decisions(run(spikes), ("out",), {"out": 2})["out"].tolist() == [1]


def test_first_divergent_step_is_a_row_of_the_aligned_rasters() -> None:
    wanted = (RNG.random((3, 20, 4)) < 0.5).astype(np.uint8)
    assert of_rasters(wanted, wanted).first_divergent_step == -1
    for lag in (0, 2):
        got = np.concatenate([np.zeros((3, lag, 4), np.uint8), wanted[:, : 20 - lag]], axis=1)
        got[2, 9 + lag, 1] ^= 1
        got[0, 12 + lag, 3] ^= 1
        assert of_rasters(got, wanted, lag).first_divergent_step == 9


def test_several_spikes_a_step_count_as_one_wrong_cell_and_as_many_spikes() -> None:
    wanted, got = raster([1, 0, 1, 0]), raster([3, 0, 1, 0])
    found = of_rasters(got, wanted)
    assert (found.raster_distance, found.count_error) == (0.5, 1.0)


def test_chunks_add_up_to_the_whole() -> None:
    got, wanted = ((RNG.random((6, 40, 5)) < 0.3).astype(np.uint8) for _ in range(2))
    labels = RNG.integers(0, 5, 6)
    meter = FidelityMeter(("out",))
    for part in (slice(0, 1), slice(1, 4), slice(4, 6)):
        meter.add(run(got[part], states={"p": got[part]}), run(wanted[part], states={"p": wanted[part]}))
    whole = fidelity(run(got, states={"p": got}), run(wanted, states={"p": wanted}), ("out",), labels)
    assert meter.result(labels) == whole


def test_populations_of_any_shape_are_compared_flat() -> None:
    got, wanted = ((RNG.random((2, 30, 2, 3)) < 0.3).astype(np.uint8) for _ in range(2))
    assert of_rasters(got, wanted) == of_rasters(got.reshape(2, 30, 6), wanted.reshape(2, 30, 6))
