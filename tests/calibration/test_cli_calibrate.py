"""``nirhw compile --calibration``: files in, a calibrated model out, and words that make no sense."""

from __future__ import annotations

import json
from pathlib import Path

import nir
import numpy as np
import pytest
from typer.testing import CliRunner, Result

import nirhw
from nirhw.cli import app
from tests import builders as b


@pytest.fixture
def net(tmp_path: Path) -> Path:
    graph = b.chain(4, 3, w=b.linear(8, 4, 1), n=b.cubalif(8), w2=b.linear(3, 8, 2), o=b.cubalif(3))
    nir.write(tmp_path / "net.nir", graph)
    np.savez(tmp_path / "x.npz", spikes=b.spikes(40, 4, batch=16))
    np.save(tmp_path / "y.npy", np.arange(16) % 3)
    return tmp_path / "net.nir"


def compiled(net: Path, *words: str) -> Result:
    common = ("compile", str(net), "--target", "xylo", "--reset", "subtract", "-o", str(net.with_name("m.nirhw")), "--json")
    return CliRunner().invoke(app, [*common, *words])


def test_a_calibrated_model_is_written(net: Path) -> None:
    x, y = net.with_name("x.npz"), net.with_name("y.npy")
    done = compiled(net, "--calibration", str(x), "--labels", str(y), "--budget", "20", "--seed", "3")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)["report"]["calibration"]
    assert found["evaluations"] <= 20 and (found["budget"], found["seed"], found["target"]) == (20, 3, "labels")
    assert nirhw.load(net.with_name("m.nirhw")).report.data["calibration"]["knobs"] == found["knobs"]


def test_level_2_takes_spikes_and_no_budget(net: Path) -> None:
    x = str(net.with_name("x.npz"))
    done = compiled(net, "--level", "2", "--calibration", x)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)["report"]
    assert found["recorded"]["search_samples"] == 8
    assert "calibration" not in found
    assert compiled(net, "--level", "2", "--calibration", x, "--budget", "20").exit_code == 2
    assert compiled(net, "--level", "2").exit_code == 0


def test_a_budget_in_seconds_ends_and_says_what_it_gives_up(net: Path) -> None:
    done = compiled(net, "--calibration", str(net.with_name("x.npz")), "--budget", "0.5s")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["report"]["calibration"]["interrupted"]
    assert "may differ from run to run" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("--budget", "20"),
        ("--budget", "soon"),
        ("--budget", "-3"),
        ("--budget", "0s"),
        ("--budget", "infs"),
        ("--level", "3"),
        ("--labels", "y.npy"),
        ("--calibration", "x.npz", "--level", "1"),
        ("--calibration", "x.npz", "--budget", "0"),
        ("--calibration", "missing.npz"),
    ],
)
def test_wrong_usage_is_told(net: Path, words: tuple[str, ...]) -> None:
    placed = [str(net.with_name(w)) if w.endswith((".npz", ".npy")) else w for w in words]
    done = compiled(net, *placed)
    assert done.exit_code == 2, done.output
    assert not net.with_name("m.nirhw").exists()
    assert json.loads(done.stdout)["diagnostics"][0]["code"] in ("NIRHW-E002", "NIRHW-E005")


def test_one_sample_is_too_few(net: Path) -> None:
    np.savez(net.with_name("one.npz"), spikes=b.spikes(40, 4))
    done = compiled(net, "--calibration", str(net.with_name("one.npz")))
    assert done.exit_code == 1
    assert json.loads(done.stdout)["diagnostics"][0]["code"] == "NIRHW-E050"
