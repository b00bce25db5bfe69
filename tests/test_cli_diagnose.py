"""``nirhw diagnose``: what it prints, its JSON, and how it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

import nirhw
from tests import builders as b
from tests.test_cli import HOSTILE, codes, run, told, two_layers

XYLO = ("--target", "xylo", "--dt", b.DT)
SPIKES = b.spikes(30, 4, rate=0.3, batch=6)
LABELS = np.arange(6) % 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    at = tmp_path_factory.mktemp("diagnose")
    nir.write(at / "net.nir", two_layers())
    np.savez(at / "x.npz", spikes=SPIKES)
    np.savez(at / "labelled.npz", spikes=SPIKES, labels=LABELS)
    np.save(at / "y.npy", LABELS)
    nirhw.compile(at / "net.nir", "xylo", dt=b.DT).save(at / "net.nirhw")
    return at


def test_json_is_what_the_function_returns(folder: Path) -> None:
    payload = told(run("diagnose", folder / "net.nir", "-i", folder / "x.npz", "--labels", folder / "y.npy", *XYLO, "--json"))
    wanted = nirhw.diagnose(two_layers(), "xylo", SPIKES, LABELS, dt=b.DT).to_dict()
    for key in ("target", "title", "samples", "steps", "labelled", "absent"):
        assert payload[key] == wanted[key], key
    assert [r["name"] for r in payload["rows"]] == [r["name"] for r in wanted["rows"]]
    for got, row in zip(payload["rows"], wanted["rows"], strict=True):
        assert got["outputs"] == row["outputs"] and got["meaning"] and got["kind"] == row["kind"]


def test_text_has_a_line_for_each_row(folder: Path) -> None:
    result = run("diagnose", folder / "net.nir", "-i", folder / "labelled.npz", *XYLO)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    for name in ("nothing changed", "decay-before-use", "soft-reset", "8-bit-weights", "all of these", "(the chip itself)"):
        assert any(line.strip().startswith(name) for line in lines), name
    assert "accuracy" in result.stdout  # labels stand beside the spikes
    without = run("diagnose", folder / "net.nir", "-i", folder / "x.npz", *XYLO).stdout
    assert "accuracy" not in without and "agreement, points" in without


@pytest.mark.parametrize("target", ["speck", "spinnaker2", "loihi2"])
def test_every_target_can_be_asked(tmp_path: Path, target: str) -> None:
    nir.write(
        tmp_path / "if.nir", b.chain(4, 3, w=b.linear(5, 4), n=b.integrate_fire(5), w2=b.linear(3, 5), o=b.integrate_fire(3))
    )
    np.save(tmp_path / "x.npy", SPIKES)
    payload = told(run("diagnose", tmp_path / "if.nir", "-i", tmp_path / "x.npy", "-t", target, "--dt", b.DT, "--json"))
    assert "8-bit-weights" in [r["name"] for r in payload["rows"]] and payload["rows"][-1]["kind"] == "chip"


def test_options_reach_the_compiler(folder: Path) -> None:
    words = ("diagnose", folder / "net.nir", "-i", folder / "x.npz", *XYLO, "--json")
    assert "soft-reset" in [r["name"] for r in told(run(*words))["rows"]]
    assert "soft-reset" in [p["name"] for p in told(run(*words, "--reset", "subtract"))["absent"]]
    plain, bare = (told(run(*words, *more))["rows"][-1] for more in ((), ("--option", "gain=none")))
    assert plain != bare


@pytest.mark.parametrize(
    ("words", "code", "exit_code"),
    [
        (("net.nir", "-i", "x.npz", "--dt", b.DT), "NIRHW-E002", 2),  # no target
        (("net.nir", "-i", "x.npz", "-t", "toaster"), "NIRHW-E001", 2),
        (("net.nirhw", "-i", "x.npz", *XYLO), "NIRHW-E002", 2),
        (("net.nir", "-i", "missing.npz", *XYLO), "NIRHW-E005", 2),
        (("net.nir", "-i", "y.npy", *XYLO), "NIRHW-E050", 1),
        (("net.nir", "-i", "x.npz", "--labels", "x.npz", *XYLO), "NIRHW-E052", 1),
        (("net.nir", "-i", "x.npz", *XYLO, "--level", "3"), "NIRHW-E002", 2),
        (("net.nir", "-i", "x.npz", *XYLO, "--strict"), "NIRHW-E033", 1),
    ],
)
def test_bad_input_has_a_code(
    folder: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[Any, ...], code: str, exit_code: int
) -> None:
    monkeypatch.chdir(folder)
    result = run("diagnose", *words, "--json")
    assert (codes(told(result))[0], result.exit_code) == (code, exit_code)


def test_missing_spikes_are_wrong_usage(folder: Path) -> None:
    assert run("diagnose", folder / "net.nir", *XYLO).exit_code == 2


def test_names_from_files_reach_no_terminal_raw(tmp_path: Path) -> None:
    graph = two_layers(last=HOSTILE)
    second = {**graph.nodes, HOSTILE + "2": nir.Output({"output": np.array([3])})}
    both = nir.NIRGraph(second, [*graph.edges, (HOSTILE, HOSTILE + "2")], type_check=False)
    nir.write(tmp_path / "net.nir", both)
    np.save(tmp_path / "x.npy", SPIKES)
    result = run("diagnose", tmp_path / "net.nir", "-i", tmp_path / "x.npy", *XYLO)  # run() refuses escapes
    assert result.exit_code == 0 and "[red]" in result.stdout and "\u202e" not in result.stdout
