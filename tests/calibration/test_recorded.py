"""Level 2: scales searched without data; with data weights rounded for the record and neurons trimmed by firing rate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

import nirhw
from nirhw.calibration.activity import Activity
from nirhw.calibration.halves import Halves
from nirhw.calibration.samples import Samples
from nirhw.nir_reader import Semantics, read_network
from tests import builders as b

SUBTRACT = {"dt": b.DT, "reset": "subtract"}
COARSE = (("xylo", {}), ("spinnaker2", {"application": "delay"}), ("loihi2", {"weight_bits": 3}))


def dense() -> nir.NIRGraph:
    """Two layers with an outlier, which sets the scale of its neuron."""
    first = b.weights(20, 8, 1, 0.5, 0.15)
    first[3, 2] = 4.0
    return b.chain(8, 4, w=nir.Linear(first), n=b.cubalif(20), w2=b.linear(4, 20, 2, 0.4, 0.1), o=b.cubalif(4))


def convolutional() -> nir.NIRGraph:
    weight = np.random.default_rng(0).normal(0.08, 0.15, (4, 2, 3, 3))
    return b.chain(
        (2, 8, 8),
        3,
        conv=nir.Conv2d((8, 8), weight, 1, 1, 1, 1, np.zeros(4)),
        if1=b.integrate_fire((4, 8, 8)),
        flat=nir.Flatten({"input": np.array([4, 8, 8])}, 0, -1),
        fc=b.linear(3, 256, 3, 0.05, 0.01),
        if2=b.integrate_fire((3,)),
    )


def samples(*shape: int, batch: int = 64, steps: int = 40) -> np.ndarray:
    """Return spikes whose channels differ in rate from sample to sample, so that decisions differ."""
    rates = np.random.default_rng(1).random((batch, 1, *shape)) * 0.4
    return (np.random.default_rng(2).random((batch, steps, *shape)) < rates).astype(np.uint8)


def recorded(target: str, options: dict[str, Any] | None = None, **more: Any) -> nirhw.CompiledModel:
    arguments = {"level": 2, "calibration": samples(8), **SUBTRACT, **more}
    return nirhw.compile(dense(), target, options=options, **arguments)


@pytest.mark.parametrize(("target", "options"), COARSE)
def test_the_drive_moves_less_and_the_search_half_is_no_worse(target: str, options: dict[str, Any]) -> None:
    data = recorded(target, options).report.data
    assert data["recorded"]["search_value"] >= data["recorded"]["search_value_before"]
    assert data["recorded"]["compensated"]
    assert {d["population"] for d in data["drives"]} == {"n", "o"}
    assert all(d["error"] <= d["nearest"] for d in data["drives"])
    assert sum(d["error"] for d in data["drives"]) < 0.8 * sum(d["nearest"] for d in data["drives"])


@pytest.mark.parametrize("target", ["speck", "spinnaker2", "loihi2"])
def test_kernels_are_rounded_by_output_channel(target: str) -> None:
    options = {"loihi2": {"weight_bits": 3}}.get(target)
    x = samples(2, 8, 8, batch=8, steps=12)
    model = nirhw.compile(convolutional(), target, level=2, calibration=x, options=options, **SUBTRACT)
    data = model.report.data
    assert data["recorded"]["search_value"] >= data["recorded"]["search_value_before"]
    if data["recorded"]["compensated"]:
        first = next(d for d in data["drives"] if d["population"] == "if1")
        assert first["rows"] == 4
        assert first["error"] < first["nearest"]


def test_few_bits_agree_more_on_samples_that_nobody_saw() -> None:
    unseen, seen = samples(8, batch=1192)[192:], samples(8, batch=192)
    options = {"weight_bits": 2, "ranges": 1}
    plain = nirhw.compile(dense(), "loihi2", options=options, dt=b.DT, reset="zero").fidelity(unseen).agreement
    fitted = recorded("loihi2", options, reset="zero", calibration=seen).fidelity(unseen).agreement
    assert plain is not None
    assert fitted is not None
    assert fitted.value > plain.value + 2 * plain.error


@pytest.mark.parametrize("target", ["spinnaker2", "loihi2"])
def test_neurons_stay_as_they_are_where_the_gain_may_be_chance(target: str) -> None:
    """Nothing is lost, so the best of many trims would fit the search half alone."""
    lossless = np.round(b.weights(6, 8, 1, 0.5, 0.3) * 8) / 8
    graph = b.chain(8, 6, w=nir.Linear(lossless), n=b.cubalif(6))
    fitted = nirhw.compile(graph, target, level=2, calibration=samples(8), dt=b.DT, reset="zero")
    assert fitted.report.data["recorded"]["trims"] == []


def test_only_the_search_half_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    network = read_network(dense(), Semantics(b.DT, "subtract", "euler")).network
    split = Halves.of(network, Samples.of(network, samples(8), None, None), 4)
    assert not set(split.chosen.tolist()) & set(split.held.tolist())
    seen: list[np.ndarray] = []
    original = Activity.recorded.__func__  # type: ignore[attr-defined]

    def watch(cls: type[Activity], network: Any, counts: Any) -> Activity:
        seen.append(counts["in"])
        found: Activity = original(cls, network, counts)
        return found

    monkeypatch.setattr(Activity, "recorded", classmethod(watch))
    recorded("xylo", seed=4)
    assert np.array_equal(seen[0], samples(8)[split.chosen])
    assert len(seen) == 1


def test_deterministic_and_saved_whole(tmp_path: Path) -> None:
    model = recorded("spinnaker2")
    assert model.to_bytes() == recorded("spinnaker2").to_bytes()
    model.save(tmp_path / "m.nirhw")
    loaded = nirhw.load(tmp_path / "m.nirhw")
    assert loaded.report.data["recorded"] == model.report.data["recorded"]
    text = " ".join(loaded.report.to_text().split())
    assert "fitted to the activity of 32 calibration samples" in text
    assert "Drive on the recorded activity" in text


def test_the_ledger_says_what_was_fitted_and_its_effect() -> None:
    model = recorded("loihi2", {"weight_bits": 3})
    entry = next(d for d in model.deviations if d.rule == "fitted-to-record")
    check = model.report.data["recorded"]["check"]["agreement"]["out"]
    assert entry.effect["agreement"] == pytest.approx(check["value"])
    assert "weights are rounded together" in entry.reason


def test_labels_are_the_target_where_given() -> None:
    data = recorded("spinnaker2", labels=np.arange(64) % 4).report.data["recorded"]
    assert data["target"] == "labels"
    assert data["check"]["accuracy"]["out"]["samples"] == 32


def test_rates_come_nearer_where_the_chip_resets_harder() -> None:
    """Loihi 2 resets to zero where the network subtracts: its neurons fire less, so constant drives make up for it."""
    strong = b.chain(6, 3, w=b.linear(12, 6, 1, 0.3, 0.5), n=b.lif(12), w2=b.linear(3, 12, 2, 0.2, 0.2), o=b.lif(3))
    model = nirhw.compile(strong, "loihi2", level=2, calibration=samples(6, batch=192), **SUBTRACT)
    rates = {r["population"]: r for r in model.report.data["recorded"]["rates"]}
    assert rates["n"]["after"] < 0.9 * rates["n"]["before"]
    assert model.report.data["recorded"]["trims"]


@pytest.mark.parametrize("target", ["xylo", "spinnaker2", "loihi2"])
def test_without_data_scales_fit_at_least_as_well(target: str) -> None:
    def noise(level: int) -> float:
        model = nirhw.compile(dense(), target, level=level, **SUBTRACT)
        assert "recorded" not in model.report.data
        return float(sum(10 ** (-t["sqnr_db"] / 10) for t in model.report.data["tensors"]))

    assert noise(2) <= noise(1) * 1.02


def test_literal_conversions_stay_literal() -> None:
    for target, options in (
        ("spinnaker2", {"conversion": "vendor"}),
        ("loihi2", {"conversion": "lava"}),
        ("xylo", {"rounding": "truncate"}),
    ):
        model = recorded(target, options)
        assert "drives" not in model.report.data
