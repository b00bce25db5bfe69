"""The vendors' own routes, with which ``tests/benchmarks/accuracy.py`` compares ours, do what they are said to do.

Need a Python with rockpool and xylosim (NIRHW_ROCKPOOL_PYTHON, or ``.venv-rockpool`` in the root) and one with torch and sinabs
(NIRHW_SINABS_PYTHON, or ``.venv-sinabs``).
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nirhw.targets.xylo.config import HiddenGroup, HiddenNeurons, InputGroup, OutputNeurons, ReadoutGroup, XyloConfiguration
from nirhw.targets.xylo.emulator import XyloEmulator
from tests.benchmarks.routes import vendors
from tests.benchmarks.routes.cases import Case, catalogue, demo_case
from tests.benchmarks.routes.score import Score

STAND_INS = Path(__file__).with_name("stand_ins")
SAMPLES = 40
#: configuration of Xylo in the worker's result
SHIFTS = ("input", "hidden", "readout")

pytestmark = pytest.mark.oracle


def _needs(tool: vendors.Tool) -> None:
    if not tool.python.is_file():
        pytest.skip(f"no Python with {tool.name} at {tool.python}; name it in {tool.variable}")


@pytest.fixture
def vowels() -> Case:
    """The demo's recurrent network; every eighth test sample."""
    case = demo_case(catalogue.VOWELS)
    return replace(case, spikes=case.spikes[::8], labels=case.labels[::8])


def _configuration(result: dict[str, np.ndarray]) -> XyloConfiguration:
    shift = dict(zip(SHIFTS, result["shifts"].tolist(), strict=True))
    hidden = HiddenNeurons(*(result[n] for n in ("dash_syn", "dash_syn2", "dash_mem", "threshold", "bias", "alias")))
    outputs = OutputNeurons(*(result[n] for n in ("dash_syn_out", "dash_mem_out", "threshold_out", "bias_out")))
    return XyloConfiguration(
        samna_module="xyloCore2",
        input=InputGroup(result["w_in"], result["w_in2"], shift["input"]),
        hidden=HiddenGroup(result["w_rec"], result["w_rec2"], shift["hidden"], hidden, False),
        readout=ReadoutGroup(result["w_out"], shift["readout"], outputs),
        synapse2_enable=bool(result["synapse2"]),
        bias_enable=bool(result["has_bias"]),
    )


@pytest.mark.parametrize("quantizer", ["channel", "global"])
def test_our_emulator_runs_the_configuration_of_rockpool_as_its_simulator_does(vowels: Case, quantizer: str) -> None:
    _needs(vendors.ROCKPOOL)
    result = vendors.rockpool(vowels, quantizer)
    assert isinstance(result, dict), result
    assert str(result["graph"]) == "from_nir"
    trace = XyloEmulator(_configuration(result)).run(vowels.spikes)
    np.testing.assert_array_equal(trace.out_spikes.sum(axis=1), result["counts"])
    assert result["counts"].sum() > 10 * len(vowels.labels)
    accuracy = np.mean(result["counts"].argmax(axis=1) == vowels.labels)
    assert 0.75 < accuracy < 0.98, "the route loses, but is no chance level"


def test_a_graph_built_by_hand_maps_as_the_imported_one(vowels: Case, tmp_path: Path) -> None:
    """Factors that from_nir would drop are taken into the weights: r doubled and weights halved is the same network."""
    _needs(vendors.ROCKPOOL)
    nir = pytest.importorskip("nir")
    graph = nir.read(vowels.graph)
    for node in graph.nodes.values():
        if isinstance(node, nir.CubaLIF):
            node.r = node.r * 2
        elif hasattr(node, "weight"):
            node.weight = node.weight / 2
    nir.write(tmp_path / "halved.nir", graph)
    few = vowels.first(4)
    imported, by_hand = (vendors.rockpool(c, "channel") for c in (few, replace(few, graph=tmp_path / "halved.nir")))
    assert isinstance(imported, dict)
    assert isinstance(by_hand, dict), by_hand
    assert str(by_hand["graph"]).startswith("built by hand")
    for name in ("w_in", "w_rec", "w_out", "threshold", "threshold_out", "dash_mem", "dash_syn", "dash_syn_out", "counts"):
        np.testing.assert_array_equal(by_hand[name], imported[name], err_msg=name)


def test_the_mapper_drops_biases_that_can_be_moved_by_hand(vowels: Case, tmp_path: Path) -> None:
    _needs(vendors.ROCKPOOL)
    nir = pytest.importorskip("nir")
    graph = nir.read(vowels.graph)
    graph.nodes["fc2"] = nir.Affine(graph.nodes["fc2"].weight, np.full(len(graph.nodes["fc2"].weight), 0.01, np.float32))
    nir.write(tmp_path / "biased.nir", graph)
    few = vowels.first(4)
    biased = replace(few, graph=tmp_path / "biased.nir")
    plain, dropped, moved = (vendors.rockpool(c, "channel", move) for c, move in ((few, False), (biased, False), (biased, True)))
    assert isinstance(plain, dict)
    assert isinstance(dropped, dict)
    assert isinstance(moved, dict)
    assert "not* transferred" in str(dropped["warnings"])
    np.testing.assert_array_equal(dropped["counts"], plain["counts"])
    assert np.all(moved["bias_out"] > 0)
    assert not moved["bias"].any()
    assert moved["counts"].sum() > plain["counts"].sum()
    assert isinstance(vendors.rockpool(few, "channel", move_biases=True), vendors.Refusal)


def test_sinabs_keeps_the_digits_with_a_bound_and_loses_them_without() -> None:
    _needs(vendors.SINABS)
    case = demo_case(catalogue.DIGITS).first(SAMPLES)
    bounded, unbounded = (vendors.sinabs(case, bound) for bound in (1.0, 0.0))
    assert isinstance(bounded, dict), bounded
    assert isinstance(unbounded, dict), unbounded
    assert np.mean(bounded["counts"].argmax(axis=1) == case.labels) > 0.9
    assert [int(np.abs(bounded[f"weights{n}"]).max()) for n in range(3)] == [127, 128, 128]
    assert not any(np.any(np.abs(unbounded[f"weights{n}"]) > 1) for n in range(3)), "the scale is capped at 1"
    assert unbounded["counts"].sum() == 0


def test_the_stand_in_refuses_what_the_registers_cannot_hold_and_what_it_does_not_imitate() -> None:
    code = """
import numpy as np, samna
from samna.xyloCore2.configuration import ReservoirNeuron, OutputNeuron, XyloConfiguration
from samna.speck2f.configuration import SpeckConfiguration
def fails(error, work):
    try:
        work()
    except error:
        return
    raise AssertionError(work)
fails(TypeError, lambda: setattr(ReservoirNeuron(), "threshold", 40_000))
fails(TypeError, lambda: setattr(OutputNeuron(), "v_mem_bias", 200))
fails(TypeError, lambda: setattr(XyloConfiguration().input, "weights", np.full((1, 1), 200)))
fails(NotImplementedError, SpeckConfiguration)
fails(NotImplementedError, lambda: samna.device.get_all_devices())
config = XyloConfiguration()
config.input.weights = np.ones((16, 65), np.int8)
config.reservoir.weights = np.ones((65, 65), np.int8)
config.reservoir.neurons, config.readout.neurons = [ReservoirNeuron()] * 65, [OutputNeuron()] * 8
valid, message = samna.xyloCore2.validate_configuration(config)
assert not valid and "fan-out of 65" in message, message
config.reservoir.weights = np.eye(65, dtype=np.int8)
assert samna.xyloCore2.validate_configuration(config) == (True, "")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=STAND_INS, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_the_error_of_a_difference_is_that_of_paired_samples() -> None:
    labels = np.zeros(100, np.int64)
    reference, chip = labels.copy(), labels.copy()
    reference[:10] = 1
    chip[:10] = 1
    assert Score.of(chip, reference, labels) == Score(0.9, 1.0, 0.0, 0.0)
    chip[10:14] = 1
    score = Score.of(chip, reference, labels)
    assert score.difference == pytest.approx(-0.04)
    assert score.error == pytest.approx(np.sqrt(0.04 * 0.96 / 99))
    assert score.agreement == pytest.approx(0.96)
