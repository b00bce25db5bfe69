"""Calibration as a user meets it: arguments of ``compile``, what the model, its report and its ledger say afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

import nirhw
from nirhw.calibration.hunt import Progress
from nirhw.calibration.objective import Objective, divergence
from tests import builders as b

SUBTRACT: dict[str, Any] = {"dt": b.DT, "reset": "subtract"}


def network() -> nir.NIRGraph:
    """Recurrence-free, with synapses that lose half of their weight on Xylo."""
    return b.chain(
        6,
        3,
        fc1=b.linear(16, 6, 1),
        lif1=b.cubalif(16, tau_syn=2.5, tau_mem=6),
        fc2=b.linear(3, 16, 2, shift=0.0),
        lif2=b.cubalif(3, tau_syn=2.5, tau_mem=6),
    )


def samples(number: int = 48, seed: int = 0) -> np.ndarray:
    """Spikes whose channels fire at rates of their own in each sample."""
    random = np.random.default_rng(seed)
    rates = random.uniform(0.02, 0.6, (number, 1, 6))
    return (random.random((number, 60, 6)) < rates).astype(np.uint8)


def compiled(**more: Any) -> nirhw.CompiledModel:
    arguments = {"target": "xylo", "calibration": samples(), "budget": 60, **SUBTRACT, **more}
    return nirhw.compile(network(), **arguments)


def test_the_search_half_is_never_worse_and_the_report_judges_the_other_half() -> None:
    model = compiled()
    found = model.report.data["calibration"]
    assert found["search_value"] >= found["search_value_before"]
    assert (found["search_samples"], found["check_samples"]) == (24, 24)
    assert found["evaluations"] == found["budget"] == 60
    share = found["check"]["agreement"]["out"]
    assert share["samples"] == 24
    assert share["error"] == pytest.approx(np.sqrt(share["value"] * (1 - share["value"]) / 24))
    entry = next(d for d in model.deviations if d.rule == "calibration")
    assert entry.effect["agreement"] == pytest.approx(share["value"])
    assert "judged on 24 other samples" in " ".join(model.report.to_text().split())


def test_what_the_search_found_is_what_was_compiled() -> None:
    """The model's own fidelity on all samples is the mean of the two halves."""
    model = compiled()
    found = model.report.data["calibration"]
    both = (found["search_hits"] + found["check"]["agreement"]["out"]["value"]) / 2
    fidelity = model.fidelity(samples())
    assert fidelity.agreement is not None
    assert fidelity.agreement.value == pytest.approx(both)
    assert not np.array_equal(model.config.input.weights, nirhw.compile(network(), "xylo", **SUBTRACT).config.input.weights)


def test_one_evaluation_is_what_the_record_gives() -> None:
    model = compiled(budget=1)
    assert model.report.data["calibration"]["check"] == model.report.data["recorded"]["check"]
    assert not any(d.rule == "calibration" for d in model.deviations)


def test_deterministic_for_a_seed() -> None:
    first, again, other = compiled(seed=5), compiled(seed=5), compiled(seed=6)
    assert first.to_bytes() == again.to_bytes()
    assert first.config.to_json() != other.config.to_json()


def test_labels_are_the_target_where_given() -> None:
    model = compiled(labels=np.arange(48) % 3)
    found = model.report.data["calibration"]
    assert found["target"] == "labels"
    assert found["check"]["accuracy"]["out"]["samples"] == 24
    assert found["float_accuracy"]["out"]["samples"] == 24


def test_progress_counts_and_an_interrupt_keeps_the_best() -> None:
    seen: list[Progress] = []

    def stop(at: Progress) -> None:
        seen.append(at)
        if at.done > 30:
            raise KeyboardInterrupt

    model = compiled(budget=500, progress=stop)
    found = model.report.data["calibration"]
    assert found["interrupted"]
    assert found["evaluations"] == seen[-1].done < 500
    assert found["search_hits"] == pytest.approx(seen[-1].hits)
    assert [at.done for at in seen] == sorted(at.done for at in seen)


def test_a_calibrated_model_is_saved_whole(tmp_path: Path) -> None:
    model = compiled()
    model.save(tmp_path / "m.nirhw")
    loaded = nirhw.load(tmp_path / "m.nirhw")
    assert loaded.report.data["calibration"] == model.report.data["calibration"]
    assert np.array_equal(loaded.emulate(samples()).spikes, model.emulate(samples()).spikes)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"level": 3}, "NIRHW-E002"),
        ({"level": 4}, "NIRHW-E002"),
        ({"calibration": samples(), "level": 2, "budget": 5}, "NIRHW-E002"),
        ({"level": True}, "NIRHW-E002"),
        ({"labels": [0, 1]}, "NIRHW-E002"),
        ({"budget": 5}, "NIRHW-E002"),
        ({"seed": -1}, "NIRHW-E002"),
        ({"calibration": samples(), "level": 1}, "NIRHW-E002"),
        ({"calibration": samples(), "budget": 0}, "NIRHW-E002"),
        ({"calibration": samples(), "labels": [0, 1]}, "NIRHW-E052"),
        ({"calibration": samples()[0]}, "NIRHW-E050"),
        ({"calibration": samples()[:3]}, "NIRHW-E050"),
        ({"calibration": samples()[:, :0]}, "NIRHW-E050"),
        ({"calibration": samples() * 0.5}, "NIRHW-E051"),
        ({"calibration": samples() * 20}, "NIRHW-E051"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments: dict[str, Any], code: str) -> None:
    with pytest.raises(nirhw.NirhwError) as caught:
        nirhw.compile(network(), "xylo", **SUBTRACT, **arguments)
    assert caught.value.code == code
    assert all(d.what and (d.fix or d.why) for d in caught.value.diagnostics)


def test_level_0_scales_by_the_largest_weight_unless_told_otherwise() -> None:
    def scales(**more: Any) -> list[Any]:
        return [t["scale"] for t in nirhw.compile(network(), "xylo", **SUBTRACT, **more).report.data["tensors"]]

    assert scales(level=0) == scales(options={"scaling": "max"}) != scales()
    assert scales(level=0, options={"scaling": "error"}) == scales(level=1) == scales()


def test_a_spike_takes_off_its_depth_and_fires_at_the_same_level() -> None:
    """Xylo's reset depth: the threshold register grows, the first spike stays where it was, later ones are rarer."""
    from nirhw.compiler import _branch, _run, BACK_STAGES  # noqa: I001
    from nirhw.hardware import load_hardware
    from nirhw.nir_reader import Semantics, read_network
    from nirhw.pipeline import Context, Tuning
    from nirhw.registry import find_target

    graph = b.chain(
        1, 1, fc=nir.Linear(np.array([[0.3]])), lif=b.cubalif(1), fc2=nir.Linear(np.array([[2.0]])), out2=b.cubalif(1)
    )
    family = find_target("xylo")
    context = Context(load_hardware("xylo-audio2", "xylo"), family.make_options({}), family.new_record())
    net = read_network(graph, Semantics(b.DT, "subtract", "euler")).network
    net = _run(("canonicalize", "legalize"), net, context, family, None, None)
    ready = np.zeros((1, 200, 1), np.int64)
    ready[:, 80:] = 1  # the resting level has settled
    firsts, totals = [], []
    for depth in (1.0, 1.8):
        trial = _branch(context, Tuning({"depth.hidden": depth}))
        config, io_map = family.lower(_run(BACK_STAGES, net, trial, family, None, None), trial)
        assert config.hidden.neurons.threshold[0] > 0
        run = family.device(config, io_map).prepare({"in": ready}, {"lif": "lif"}).run(1)
        fired = np.flatnonzero(run.states["lif"]["spikes"].ravel())
        firsts.append(int(fired[0]))
        totals.append(fired.size)
    assert abs(firsts[0] - firsts[1]) <= 1
    assert totals[1] < 0.8 * totals[0]


@pytest.mark.parametrize(("weight", "share"), [(0.25, 1.0), (0.75, 0.8)])
def test_excitation_in_a_loop_is_reduced_only_where_neurons_burst(weight: float, share: float) -> None:
    """Two coincident spikes lift a neuron by twice the weight."""
    nodes = {
        "w": b.linear(6, 4, 1, 0.05, 0.1),
        "n": b.cubalif(6),
        "r": nir.Linear(np.full((6, 6), weight)),
        "w2": b.linear(2, 6, 2),
        "o": b.cubalif(2),
    }
    edges = [("in", "w"), ("w", "n"), ("n", "r"), ("r", "n"), ("n", "w2"), ("w2", "o"), ("o", "out")]
    graph = b.graph(4, 2, nodes, edges)
    model = nirhw.compile(graph, "xylo", options={"bursts": "allow"}, **SUBTRACT)
    plain = nirhw.compile(graph, "xylo", options={"gain": "none"}, **SUBTRACT)
    assert any(d.rule == "loop-share" for d in model.deviations) == (share < 1)

    def drive(m: nirhw.CompiledModel) -> float:
        """Rise by one recurrent spike, in thresholds."""
        ids = m.io_map["populations"]["n"]["ids"]
        return float(
            m.config.hidden.weights[np.ix_(ids, ids)].max()
            * 2.0**m.config.hidden.weight_bit_shift
            / m.config.hidden.neurons.threshold[ids[0]]
        )

    assert drive(model) / drive(plain) == pytest.approx(share / (1 - 2.0**-2), rel=0.06)  # tau_syn of 4 steps is exact


def test_speck_layers_have_knobs_and_the_placement_is_kept() -> None:
    weight = np.random.default_rng(0).normal(0.08, 0.15, (4, 2, 3, 3))
    graph = b.chain(
        (2, 8, 8),
        3,
        conv=nir.Conv2d((8, 8), weight, 1, 1, 1, 1, np.zeros(4)),
        if1=b.integrate_fire((4, 8, 8)),
        flat=nir.Flatten({"input": np.array([4, 8, 8])}, 0, -1),
        fc=b.linear(3, 256, 3, 0.05, 0.01),
        if2=b.integrate_fire((3,)),
    )
    x = (np.random.default_rng(1).random((12, 10, 2, 8, 8)) < 0.2).astype(np.uint8)
    plain = nirhw.compile(graph, "speck", **SUBTRACT)
    model = nirhw.compile(graph, "speck", calibration=x, budget=15, **SUBTRACT)
    found = model.report.data["calibration"]
    assert {k["knob"] for k in found["knobs"]} == {"excitatory.if1", "inhibitory.if1", "excitatory.if2", "inhibitory.if2"}
    assert found["search_value"] >= found["search_value_before"]
    assert model.report.data["placement"] == plain.report.data["placement"]


def test_divergence_is_zero_for_a_gain_and_grows_with_the_difference() -> None:
    wanted = np.random.default_rng(0).random((20, 5))
    assert divergence(wanted, 3.0 * wanted) == pytest.approx(np.zeros(len(wanted)), abs=1e-12)
    other = wanted[:, ::-1]
    assert 0 < divergence(wanted, 0.7 * wanted + 0.3 * other).mean() < divergence(wanted, other).mean()


def test_one_neuron_is_measured_by_its_count() -> None:
    objective = Objective.of({"out": np.array([[4.0], [8.0]])}, None)
    assert objective.score({"out": np.array([[4.0], [8.0]])}).value == 0.0
    assert objective.score({"out": np.array([[4.0], [5.0]])}).value == pytest.approx(-0.25)


@pytest.mark.slow
@pytest.mark.parametrize(("graph", "reset", "least"), [("noBias_subtract", "subtract", 0.96), ("bias_zero", "zero", 0.945)])
def test_braille_is_kept(shared: Path, zoo: Callable[[str], Path], graph: str, reset: str, least: float) -> None:
    """Calibrated on the first 289 samples without labels, judged on the other 290."""
    data = np.load(shared / "data" / "braille7_l2mu_half.npz")
    x, y = data["x"].astype(np.uint8), data["y"].astype(np.int64)
    model = nirhw.compile(zoo(f"repo_braille_noDelay_{graph}"), "xylo", reset=reset, calibration=x[:289])
    accuracy = model.fidelity(x[289:], y[289:]).accuracy
    assert accuracy is not None
    assert accuracy.value >= least


def test_a_target_without_knobs_refuses_calibration(monkeypatch: pytest.MonkeyPatch) -> None:
    from nirhw import compiler

    bare = replace(compiler.find_target("loihi2"), knobs=None)
    monkeypatch.setattr(compiler, "find_target", lambda name: bare)
    with pytest.raises(nirhw.NirhwError, match="cannot be calibrated") as refused:
        nirhw.compile(b.chain(4, 3, w=b.linear(3, 4), o=b.cubalif(3)), "loihi2", dt=b.DT, calibration=b.spikes(20, 4, batch=20))
    assert refused.value.code == "NIRHW-E002"
