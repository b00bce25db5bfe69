"""The vendors' own routes, with which ``tests/benchmarks/accuracy.py`` compares ours, do what they are said to do.

Need a Python with rockpool and xylosim (NIRHW_ROCKPOOL_PYTHON, or ``.venv-rockpool`` in the root) and one with torch and sinabs
(NIRHW_SINABS_PYTHON, or ``.venv-sinabs``).
"""

from __future__ import annotations

import json
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


@pytest.fixture(scope="module")
def vowels() -> Case:
    """The demo's recurrent network; every eighth test sample."""
    case = demo_case(catalogue.VOWELS)
    return replace(case, spikes=case.spikes[::8], labels=case.labels[::8])


@pytest.fixture(scope="module")
def mapped(vowels: Case, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, np.ndarray]]:
    """What rockpool makes of the network and of variants of it, by name; one process for all, since importing takes seconds."""
    _needs(vendors.ROCKPOOL)
    nir = pytest.importorskip("nir")
    folder = tmp_path_factory.mktemp("rockpool")
    halved, biased = nir.read(vowels.graph), nir.read(vowels.graph)
    for node in halved.nodes.values():
        if isinstance(node, nir.CubaLIF):
            node.r = node.r * 2
        elif hasattr(node, "weight"):
            node.weight = node.weight / 2
    weight = biased.nodes["fc2"].weight
    biased.nodes["fc2"] = nir.Affine(weight, np.full(len(weight), 0.01, np.float32))
    nir.write(folder / "halved.nir", halved)
    nir.write(folder / "biased.nir", biased)
    few = vowels.first(4)
    with_bias = replace(few, graph=folder / "biased.nir")
    jobs = {
        "channel": vendors.rockpool_job(vowels, "channel"),
        "global": vendors.rockpool_job(vowels, "global"),
        "few": vendors.rockpool_job(few, "channel"),
        "halved": vendors.rockpool_job(replace(few, graph=folder / "halved.nir"), "channel"),
        "bias dropped": vendors.rockpool_job(with_bias, "channel"),
        "bias moved": vendors.rockpool_job(with_bias, "channel", move_biases=True),
    }
    results = dict(zip(jobs, vendors.ROCKPOOL.run(list(jobs.values())), strict=True))
    refused = {name: str(result["refused"]) for name, result in results.items() if "refused" in result}
    assert not refused
    return results


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
def test_our_emulator_runs_the_configuration_of_rockpool_as_its_simulator_does(
    vowels: Case, mapped: dict[str, dict[str, np.ndarray]], quantizer: str
) -> None:
    result = mapped[quantizer]
    assert str(result["graph"]) == "from_nir"
    trace = XyloEmulator(_configuration(result)).prepare(vowels.spikes).run()
    np.testing.assert_array_equal(trace.out_spikes.sum(axis=1), result["counts"])
    assert result["counts"].sum() > 10 * len(vowels.labels)
    accuracy = np.mean(result["counts"].argmax(axis=1) == vowels.labels)
    assert 0.75 < accuracy < 0.98, "the route loses, but is no chance level"


def test_a_graph_built_by_hand_maps_as_the_imported_one(mapped: dict[str, dict[str, np.ndarray]]) -> None:
    """Factors that from_nir would drop are taken into the weights: r doubled and weights halved is the same network."""
    imported, by_hand = mapped["few"], mapped["halved"]
    assert str(by_hand["graph"]).startswith("built by hand")
    for name in ("w_in", "w_rec", "w_out", "threshold", "threshold_out", "dash_mem", "dash_syn", "dash_syn_out", "counts"):
        np.testing.assert_array_equal(by_hand[name], imported[name], err_msg=name)


def test_the_mapper_drops_biases_that_can_be_moved_by_hand(mapped: dict[str, dict[str, np.ndarray]]) -> None:
    plain, dropped, moved = mapped["few"], mapped["bias dropped"], mapped["bias moved"]
    assert "not* transferred" in str(dropped["warnings"])
    np.testing.assert_array_equal(dropped["counts"], plain["counts"])
    assert np.all(moved["bias_out"] > 0)
    assert not moved["bias"].any()
    assert moved["counts"].sum() > plain["counts"].sum()


def test_sinabs_keeps_the_digits_with_a_bound_and_loses_them_without() -> None:
    _needs(vendors.SINABS)
    case = demo_case(catalogue.DIGITS).first(SAMPLES)
    bounded, unbounded = vendors.SINABS.run([vendors.sinabs_job(case, bound) for bound in (1.0, 0.0)])
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
fails(RuntimeError, SpeckConfiguration)
fails(RuntimeError, lambda: samna.device.get_all_devices())
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


def test_the_table_is_printed_and_written(tmp_path: Path) -> None:
    """A part that needs no vendor's tool, on a few samples."""
    script, target = Path(vendors.__file__).parents[1] / "accuracy.py", tmp_path / "rows.json"
    asked = [
        "--networks",
        "vowels_cubalif",
        "--chips",
        "spinnaker2",
        "--samples",
        "20",
        "--budget",
        "4",
        "--json",
        str(target),
        "--markdown",
    ]
    done = subprocess.run([sys.executable, str(script), *asked], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    rows = json.loads(target.read_text())
    assert [row["chip"] for row in rows] == ["spinnaker2, 8 bits", "spinnaker2, 4 bits"]
    for row in rows:
        ways = {way["name"]: way["outcome"] for way in row["ways"]}
        assert row["samples"] == 20
        assert set(ways) == {"level 1", "level 3", "py-spinnaker2"}
        for name in ("level 1", "py-spinnaker2"):
            assert ways[name]["difference"] == pytest.approx(ways[name]["accuracy"] - row["reference"])
        assert f"| vowels_cubalif | {row['chip']} | {100 * row['reference']:.1f} (subtract) |" in done.stdout
