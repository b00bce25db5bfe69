"""The command line: exit codes, JSON, what is printed, and what hostile names and bad files do to it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
from typer.testing import CliRunner, Result

import nirhw
from nirhw.cli import app
from tests import builders as b

DEMO = Path(__file__).parents[1] / "demo" / "networks"
VOWELS, VOWELS_TEST = DEMO / "vowels_cubalif.nir", DEMO / "vowels_test.npz"
DIGITS = DEMO / "digits_conv_if.nir"
XYLO = ("--target", "xylo", "--reset", "subtract")
COMMANDS = ("check", "compile", "inspect", "emulate", "diagnose", "report", "targets", "doctor")
HOSTILE = "[red]x[/red]\x1b[2J\x1b]0;owned\x07\u202e"


def run(*words: object, **extra: Any) -> Result:
    result = CliRunner().invoke(app, [str(w) for w in words], **extra)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "\x1b" not in result.output and "Traceback" not in result.output
    assert result.exit_code in (0, 1, 2), result.output
    return result


def told(result: Result) -> dict[str, Any]:
    """Return the JSON on stdout, which holds nothing else."""
    payload = json.loads(result.stdout)
    assert isinstance(payload, dict)
    assert payload["ok"] is (result.exit_code == 0) and isinstance(payload["diagnostics"], list)
    return payload


def codes(payload: dict[str, Any]) -> list[str]:
    return [d["code"] for d in payload["diagnostics"]]


def process(*words: object, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from nirhw.cli import main; main()", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **options)


def two_layers(n_in: int = 4, hidden: int = 6, out: int = 3, first: str = "n", last: str = "o") -> nir.NIRGraph:
    nodes = {"w": b.linear(hidden, n_in), first: b.cubalif(hidden), "w2": b.linear(out, hidden), last: b.cubalif(out)}
    names = ["in", *nodes, "out"]
    return b.graph(n_in, out, nodes, list(pairwise(names)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a network, a compiled model and spikes."""
    made = tmp_path_factory.mktemp("cli")
    nir.write(made / "net.nir", two_layers())
    nirhw.compile(made / "net.nir", "xylo", reset="subtract").save(made / "net.nirhw")
    np.savez(made / "spikes.npz", spikes=b.spikes(30, 4, batch=5), labels=np.array([0, 1, 2, 0, 1]))
    return made


@pytest.fixture(scope="module")
def too_large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("large") / "large.nir"
    nir.write(path, two_layers(n_in=17, hidden=1001, out=9))
    return path


# check


def test_check_says_that_a_network_fits(folder: Path) -> None:
    result = run("check", folder / "net.nir", *XYLO)
    assert result.exit_code == 0 and "fits xylo" in result.stdout and "tightest: " in result.stdout
    payload = told(run("check", folder / "net.nir", *XYLO, "--json"))
    assert payload["fits"] is True and payload["resources"] and payload["deviations"]


def test_check_names_every_limit_and_by_how_much(too_large: Path) -> None:
    result = run("check", too_large, *XYLO)
    assert result.exit_code == 1 and "does not fit xylo: 3 errors" in result.stdout
    text = " ".join(result.stdout.split())
    for excess in (
        "17 input channels are needed",
        "1001 hidden neurons are needed",
        "9 output neurons are needed",
        "(1 too many)",
    ):
        assert excess in text
    payload = told(run("check", too_large, *XYLO, "--json"))
    assert payload["fits"] is False and codes(payload) == ["NIRHW-E031"] * 3


def test_strict_refuses_all_classes_or_those_that_are_named(folder: Path) -> None:
    words = ("check", folder / "net.nir", "-t", "xylo", "--json")
    assert told(run(*words))["fits"]
    assert set(codes(told(run(*words, "--strict")))) == {"NIRHW-E033"}
    assert told(run(*words, "--strict=host"))["fits"]
    assert run(*words, "--strict=rounded").exit_code == 1
    unknown = run(*words, "--strict=all")
    assert unknown.exit_code == 2 and codes(told(unknown)) == ["NIRHW-E002"]


# compile and report


def test_compile_writes_the_model_and_the_configuration(folder: Path, tmp_path: Path) -> None:
    model, config = tmp_path / "m.nirhw", tmp_path / "c.json"
    result = run("compile", folder / "net.nir", *XYLO, "-o", model, "--config-json", config)
    assert result.exit_code == 0 and "Resources" in result.stdout and f"written to {model}" in result.stdout
    assert json.loads(config.read_text()) == nirhw.load(model).config.to_dict()
    assert model.read_bytes() == (folder / "net.nirhw").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c.json", "m.nirhw"]
    payload = told(run("compile", folder / "net.nir", *XYLO, "-o", model, "--json"))
    assert payload["artifact"] == str(model) and payload["report"]["schema_version"] == 1


def test_compile_options_reach_the_compiler(folder: Path, tmp_path: Path) -> None:
    words = ("compile", folder / "net.nir", "-t", "xylo-imu", "-o", tmp_path / "m.nirhw", "--json")
    more = ("--dt", "5e-4", "--integrator", "exact", "--reset", "zero", "--reset", "o=subtract")
    own = ("--option", "scaling=max", "--option", "input_peak=3", "--option", "percentile=90")
    report = told(run(*words, *more, *own))["report"]
    assert (report["hardware"], report["dt"], report["integrator"]) == ("xylo-imu", 5e-4, "exact")
    assert report["reset"] == {"": "zero", "o": "subtract"}
    assert nirhw.load(tmp_path / "m.nirhw").io_map["input_peak"] == 3


@pytest.mark.parametrize(
    "words",
    [
        ["--target", "nosuch"],
        ["--dt", "-1"],
        ["--dt", "nan"],
        ["--dt", "soon"],
        ["--reset", "softly"],
        ["--reset", "zero", "--reset", "value"],
        ["--reset", "nosuch=zero"],
        ["--integrator", "magic"],
        ["--hardware", "nosuch.toml"],
        ["--option", "scaling"],
        ["--option", "scaling=loud"],
        ["--option", "nosuch=1"],
        ["--option", "input_peak=2.5"],
        ["--option", "input_peak=99"],
        ["--option", "percentile=nan"],
        ["--option", "gain=area", "--option", "gain=none"],
        ["--strict=nosuch"],
        ["--strict="],
        ["--nosuch"],
        ["extra"],
    ],
)
def test_wrong_usage_is_2_and_says_why(folder: Path, tmp_path: Path, words: Sequence[str]) -> None:
    given = ["compile", str(folder / "net.nir"), "-o", str(tmp_path / "m.nirhw"), "--json"]
    result = run(*given, *([] if "--target" in words else ["-t", "xylo"]), *words)
    assert result.exit_code == 2, result.output
    assert set(codes(told(result))) <= {"NIRHW-E001", "NIRHW-E002", "NIRHW-E003"} and result.stderr
    assert list(tmp_path.iterdir()) == []


def test_missing_pieces_are_wrong_usage(folder: Path, tmp_path: Path) -> None:
    net = folder / "net.nir"
    for words in (["check"], ["check", net], ["compile", net, "-t", "xylo"], ["emulate", folder / "net.nirhw"], ["nosuch"]):
        assert run(*words).exit_code == 2
    for command in ("check", "compile", "inspect", "report"):
        more = ["-o", tmp_path / "x.nirhw"] if command == "compile" else []
        result = run(command, tmp_path / "missing.nir", "-t", "xylo", "--json", *more)
        assert result.exit_code == 2 and codes(told(result)) == ["NIRHW-E005"]


def test_bad_file_contents_are_1(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "text.nir").write_text("hello")
    (tmp_path / "broken.nirhw").write_bytes((folder / "net.nirhw").read_bytes()[:-50])
    for name, code in (("text.nir", "NIRHW-E010"), ("broken.nirhw", "NIRHW-E060")):
        target = () if name.endswith("nirhw") else ("-t", "xylo")
        result = run("report", tmp_path / name, *target, "--json")
        assert result.exit_code == 1 and codes(told(result)) == [code]
    assert "not a network that nirhw can read" in run("check", tmp_path / "text.nir", "-t", "xylo").stdout


def test_files_of_the_other_kind_are_named(folder: Path, tmp_path: Path) -> None:
    for words in (["check"], ["compile", "-o", tmp_path / "x.nirhw"]):
        result = run(*words, folder / "net.nirhw", "-t", "xylo")
        assert result.exit_code == 2 and "is a compiled model, not a NIR file" in result.stderr
    result = run("report", folder / "net.nirhw", "--dt", "1e-3")
    assert result.exit_code == 2 and "compiled already: --dt" in result.stderr


def test_unwritable_outputs(folder: Path, tmp_path: Path) -> None:
    net = folder / "net.nir"
    before = net.read_bytes()
    for output in (tmp_path, tmp_path / "no" / "x", net, "/dev/null/x"):
        for option in ("-o", "--config-json"):
            result = run("compile", net, *XYLO, option, output, "--json")
            assert result.exit_code == 2 and codes(told(result)) in (["NIRHW-E005"], ["NIRHW-E002"])
    for output in (tmp_path, tmp_path / "no" / "x", folder / "spikes.npz", folder / "net.nirhw"):
        assert run("emulate", folder / "net.nirhw", "-i", folder / "spikes.npz", "-o", output).exit_code == 2
    assert net.read_bytes() == before and list(tmp_path.iterdir()) == []


def test_report_of_a_model_and_of_a_network(folder: Path) -> None:
    compiled = told(run("report", folder / "net.nirhw", "--json"))["report"]
    fresh = told(run("report", folder / "net.nir", *XYLO, "--json"))["report"]
    assert {**compiled, "timings": 0} == {**fresh, "timings": 0}
    assert "Resources" in run("report", folder / "net.nirhw").stdout


# inspect


def test_inspect_shows_the_network_and_every_pass(folder: Path) -> None:
    result = run("inspect", folder / "net.nir", *XYLO)
    assert result.exit_code == 0
    for text in ("9 neurons, 3 populations, 2 projections", "dense 6x4", "after quantize / quantize-weights", "nothing changed"):
        assert text in result.stdout
    payload = told(run("inspect", folder / "net.nir", *XYLO, "--json"))
    assert [p["name"] for p in payload["network"]["populations"]] == ["in", "n", "o"]
    assert payload["network"]["populations"][1]["tau_mem_steps"] == pytest.approx([8, 8])
    stages = [p["stage"] for p in payload["passes"]]
    assert stages == sorted(stages, key=nirhw.pipeline.PASS_STAGES.index) and stages[-1] == "place"
    quantized = next(p for p in payload["passes"] if p["pass"] == "quantize-weights")
    assert quantized["changed"] and quantized["network"]["projections"][0]["quantized"]["weights"] > 0


def test_inspect_without_a_target_and_of_a_model(folder: Path) -> None:
    assert told(run("inspect", folder / "net.nir", "--json"))["passes"] == []
    assert [p["name"] for p in told(run("inspect", folder / "net.nirhw", "--json"))["network"]["populations"]] == ["in", "n", "o"]
    assert "conv 8@3x3" in run("inspect", DIGITS).stdout


def test_inspect_shows_what_came_before_the_failure() -> None:
    result = run("inspect", DIGITS, *XYLO)
    assert result.exit_code == 1 and "after canonicalize" in result.stdout and "NIRHW-E031" in result.stderr
    payload = told(run("inspect", DIGITS, *XYLO, "--json"))
    assert payload["passes"] and "NIRHW-E031" in codes(payload)


# emulate


def test_emulate_writes_what_the_model_does(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.npz"
    words = (
        "emulate",
        folder / "net.nirhw",
        "-i",
        folder / "spikes.npz",
        "-o",
        out,
        "--record",
        "n",
        "--reference",
        "--fidelity",
    )
    result = run(*words)
    assert result.exit_code == 0 and "accuracy" in result.stdout and "5 samples of 30 steps" in result.stdout
    model = nirhw.load(folder / "net.nirhw")
    spikes = np.load(folder / "spikes.npz")["spikes"]
    expected, floats = model.emulate(spikes, record=["n"]), model.reference(spikes)
    with np.load(out, allow_pickle=False) as found:
        np.testing.assert_array_equal(found["spikes"], expected.spikes)
        np.testing.assert_array_equal(found["state/n/v"], expected.states["n"]["v"])
        np.testing.assert_array_equal(found["reference/spikes"], floats.spikes)
        assert json.loads(str(found["latency"])) == dict(expected.latency)
    payload = told(run(*words, "--json"))
    measures = model.fidelity(spikes, np.array([0, 1, 2, 0, 1]))
    assert payload["agreement"]["out"]["value"] == measures.agreement.value
    assert payload["accuracy"]["out"]["value"] == measures.accuracy.value
    assert payload["fidelity"]["count_error"] == measures.count_error


def test_the_demo_set_in_chunks_is_the_demo_set_at_once(tmp_path: Path) -> None:
    words = ("emulate", VOWELS, *XYLO, "-i", VOWELS_TEST, "-o", tmp_path / "o.npz", "--json")
    payload = told(run(*words))
    data = np.load(VOWELS_TEST)
    expected = nirhw.compile(VOWELS, "xylo", reset="subtract").emulate(data["spikes"])
    with np.load(tmp_path / "o.npz") as found:
        np.testing.assert_array_equal(found["spikes"], expected.spikes)
    assert payload["samples"] == 341 and payload["accuracy"]["output"]["value"] > 0.9


def test_one_sample_keeps_its_shape_and_label(folder: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "s.npy", b.spikes(30, 4))
    np.save(tmp_path / "l.npy", np.array(1))
    words = ("emulate", folder / "net.nirhw", "-i", tmp_path / "s.npy", "--labels", tmp_path / "l.npy", "-o", tmp_path / "o.npz")
    payload = told(run(*words, "--fidelity", "--record", "o", "--json"))
    assert payload["samples"] == 1 and payload["accuracy"]["out"]["samples"] == 1
    with np.load(tmp_path / "o.npz") as found:
        assert found["spikes"].shape == (30, 3) and found["state/o/v"].shape == (30, 3)


def test_events_are_emulated_as_the_array_they_stand_for(folder: Path, tmp_path: Path) -> None:
    spikes = b.spikes(30, 4)
    rows = "".join(f"{(t + 0.5) * b.DT},{c}\n" for t, c in zip(*np.nonzero(spikes), strict=True))
    (tmp_path / "e.csv").write_text("t,channel\n" + rows)
    run("emulate", folder / "net.nirhw", "-i", tmp_path / "e.csv", "--steps", "30", "-o", tmp_path / "o.npz")
    with np.load(tmp_path / "o.npz") as found:
        np.testing.assert_array_equal(found["spikes"], nirhw.load(folder / "net.nirhw").emulate(spikes).spikes)


def test_networks_with_several_inputs_and_outputs(tmp_path: Path) -> None:
    nodes = {
        "left": nir.Input({"input": np.array([2])}), "right": nir.Input({"input": np.array([3])}),
        "wl": b.linear(4, 2), "wr": b.linear(4, 3, 1), "n": b.cubalif(4), "w2": b.linear(2, 4), "o": b.cubalif(2),
        "a": nir.Output({"output": np.array([4])}), "../z": nir.Output({"output": np.array([2])}),
    }  # fmt: skip
    ways = "left wl, wl n, right wr, wr n, n w2, w2 o, n a, o ../z"
    nir.write(tmp_path / "two.nir", nir.NIRGraph(nodes, [tuple(w.split()) for w in ways.split(", ")], type_check=False))
    np.savez(tmp_path / "s.npz", left=b.spikes(20, 2, batch=3), right=b.spikes(20, 3, batch=3))
    words = (
        "emulate",
        tmp_path / "two.nir",
        *XYLO,
        "-i",
        tmp_path / "s.npz",
        "-o",
        tmp_path / "o.npz",
        "--reference",
        "--fidelity",
    )
    assert run(*words).exit_code == 0
    with np.load(tmp_path / "o.npz") as found:
        assert found["spikes/a"].shape == (3, 20, 4) and found["spikes/..%2Fz"].shape == (3, 20, 2)
    np.savez(tmp_path / "s.npz", left=b.spikes(20, 2, batch=3), right=b.spikes(21, 3, batch=3))
    assert codes(told(run(*words, "--json"))) == ["NIRHW-E050"]


@pytest.mark.parametrize(
    ("array", "code"),
    [
        (np.zeros((30, 5)), "NIRHW-E050"),
        (np.zeros(30), "NIRHW-E050"),
        (np.zeros((1, 2, 30, 4)), "NIRHW-E050"),
        (np.zeros((0, 30, 4)), "NIRHW-E050"),
        (np.full((30, 4), np.nan), "NIRHW-E051"),
        (np.full((30, 4), np.inf), "NIRHW-E051"),
        (np.full((30, 4), 0.5), "NIRHW-E051"),
        (np.full((30, 4), -1), "NIRHW-E051"),
        (np.full((30, 4), 16), "NIRHW-E051"),
        (np.zeros((30, 4), complex), "NIRHW-E051"),
        (np.zeros((30, 4), "U3"), "NIRHW-E051"),
        (np.zeros((30, 4), "M8[s]"), "NIRHW-E051"),
        (np.zeros((30, 4), [("x", "u1")]), "NIRHW-E051"),
    ],
)
@pytest.mark.parametrize("batched", [False, True])
def test_spikes_that_do_not_suit_the_model(folder: Path, tmp_path: Path, array: np.ndarray, code: str, batched: bool) -> None:
    np.savez(tmp_path / "s.npz", spikes=array[None] if batched else array)
    result = run("emulate", folder / "net.nirhw", "-i", tmp_path / "s.npz", "-o", tmp_path / "o.npz", "--json")
    assert result.exit_code == 1 and codes(told(result)) == [code], result.output
    assert not (tmp_path / "o.npz").exists()


def test_wrong_labels_and_names(folder: Path, tmp_path: Path) -> None:
    words = ("emulate", folder / "net.nirhw", "-i", folder / "spikes.npz", "--json")
    for labels in (np.arange(4), np.arange(5.0), np.arange(5)[:, None]):
        np.save(tmp_path / "l.npy", labels)
        result = run(*words, "--labels", tmp_path / "l.npy")
        assert result.exit_code == 1 and codes(told(result)) == ["NIRHW-E052"]
    result = run(*words, "--record", "nosuch")
    assert result.exit_code == 2 and "one of" in told(result)["diagnostics"][0]["fix"]
    assert run("emulate", folder / "net.nir", "-i", folder / "spikes.npz").exit_code == 2
    assert codes(told(run("emulate", folder / "net.nirhw", "-i", folder / "net.nir", "--json"))) == ["NIRHW-E051"]


# JSON, text, terminals


def test_targets_and_doctor() -> None:
    known = {t["name"]: t for t in told(run("targets", "--json"))["targets"]}
    assert known["xylo"]["hardware"] == "xylo-audio2" and {"xylo-audio3", "xylo-imu"} <= known.keys()
    options = {o["name"]: o for o in known["xylo"]["options"]}
    assert options["input_peak"]["type"] == "int" and options["input_peak"]["help"]
    text = run("targets").stdout
    assert all(name in text for name in (*known, *options))
    assert {v["name"] for v in told(run("doctor", "--json"))["vendors"]} >= {"samna", "sinabs", "lava-nc", "py-spinnaker2"}
    assert "samna" in run("doctor").stdout


def test_names_from_files_reach_no_terminal_raw(tmp_path: Path) -> None:
    name = HOSTILE
    nir.write(tmp_path / "h.nir", two_layers(first=name))
    model = tmp_path / "h.nirhw"
    np.save(tmp_path / "s.npy", b.spikes(20, 4))
    commands = [
        ("check", tmp_path / "h.nir", "-t", "xylo"),
        ("check", tmp_path / "h.nir", "-t", "xylo", "--strict"),
        ("compile", tmp_path / "h.nir", "-t", "xylo", "-o", model),
        ("inspect", tmp_path / "h.nir", *XYLO),
        ("report", model),
        ("report", tmp_path / "h.nir", "-t", "xylo", "--reset", f"{name}=zero"),
        ("emulate", model, "-i", tmp_path / "s.npy", "--record", name, "-o", tmp_path / "o.npz", "--fidelity"),
        ("emulate", model, "-i", tmp_path / "s.npy", "--record", "nosuch"),
        ("report", tmp_path / f"{name.replace('/', '')}.nir", "-t", "xylo"),
    ]
    for words in commands:
        result = run(*words)
        assert not set(result.output) & set("\x1b\x07\u202e"), words
        as_json = run(*words, "--json")
        told(as_json)
        assert as_json.stdout.isascii()
    shown = run("inspect", tmp_path / "h.nir", *XYLO).stdout
    assert "[red]x[/red]" in shown and "\\x1b[2J" in shown
    assert all(key.count("/") == 2 for key in np.load(tmp_path / "o.npz").files if key.startswith("state/"))


def test_hardware_titles_are_no_exception(folder: Path, tmp_path: Path) -> None:
    text = 'name = "mine"\nfamily = "xylo"\nbased_on = "xylo-audio2"\ntitle = "\\u001b[31mred [bold]"\n'
    (tmp_path / "mine.toml").write_text(text)
    words = (folder / "net.nir", *XYLO, "--hardware", tmp_path / "mine.toml")
    assert "\\x1b[31mred [bold]" in run("report", *words).stdout
    assert run("emulate", *words, "-i", folder / "spikes.npz").exit_code == 0


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0 and "Usage:" in result.stdout and "--json" in result.stdout


def test_the_program_itself() -> None:
    assert all(c in run("--help").stdout for c in COMMANDS)
    assert run("--version").stdout == f"nirhw {nirhw.__version__}\n"
    assert run().exit_code in (0, 2)


def test_a_bug_is_called_a_bug(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("\x1b[31mx")

    monkeypatch.setattr("nirhw.compiler.compile", broken)
    result = CliRunner().invoke(app, ["report", str(folder / "net.nir"), "-t", "xylo", "--json"])
    assert result.exit_code == 70 and json.loads(result.stdout)["internal_error"].startswith("KeyError")
    assert "this is a bug" in result.stderr and "Traceback" not in result.output and "\x1b" not in result.output


def test_an_interrupt_leaves_nothing_half_written(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupted)
    for words in (["compile", folder / "net.nir", *XYLO], ["emulate", folder / "net.nirhw", "-i", folder / "spikes.npz"]):
        result = CliRunner().invoke(app, [str(w) for w in (*words, "-o", tmp_path / "out")])
        assert result.exit_code == 130 and "interrupted" in result.stderr
        assert list(tmp_path.iterdir()) == []


# real processes


def test_nothing_heavy_is_imported_for_help() -> None:
    code = (
        "import sys; from nirhw.cli import app\n"
        "try: app(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'numpy', 'rich.console', 'nir', 'h5py', 'numba', 'scipy', 'networkx', 'pyfive', 'jsonschema'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_closed_pipe_is_quiet(folder: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-c", "from nirhw.cli import main; main()", "targets"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    os.close(writing)
    assert done.stderr == "" and done.returncode == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_under_stdout_is_told(folder: Path) -> None:
    command = [sys.executable, "-c", "from nirhw.cli import main; main()", "targets"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "NIRHW-E005" in done.stderr


def test_an_output_of_ascii_only(folder: Path) -> None:
    env = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    for words in (["report", folder / "net.nirhw"], ["targets"], ["inspect", folder / "net.nirhw"]):
        done = process(*words, env=env)
        assert done.returncode == 0 and done.stdout.isascii() and "Traceback" not in done.stderr, done.stderr


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_colours_on_a_terminal_only(too_large: Path, no_color: str, coloured: bool) -> None:
    import pty

    env = {**os.environ, "TERM": "xterm-256color", "NO_COLOR": no_color}
    env.pop("FORCE_COLOR", None)
    if not no_color:
        del env["NO_COLOR"]
    leader, follower = pty.openpty()
    command = [sys.executable, "-c", "from nirhw.cli import main; main()", "check", str(too_large), *XYLO]
    with subprocess.Popen(command, stdout=follower, stderr=subprocess.PIPE, env=env) as running:
        os.close(follower)
        seen = b""
        try:
            while part := os.read(leader, 4096):
                seen += part
        except OSError:  # the other end was closed
            pass
    os.close(leader)
    assert running.returncode == 1
    assert (b"\x1b[1;31m" in seen) is coloured and b"NIRHW-E031" in seen
    assert b"\x1b[" not in process("check", too_large, *XYLO, env=env).stdout.encode()


@pytest.mark.skipif(os.name != "posix", reason="needs SIGINT")
def test_ctrl_c_ends_with_130(folder: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "s.npy", np.zeros((30_000, 1000, 4), np.uint8))
    words = ["emulate", folder / "net.nirhw", "-i", tmp_path / "s.npy", "-o", tmp_path / "o.npz", "--reference"]
    command = [sys.executable, "-c", "from nirhw.cli import main; main()", *map(str, words)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        time.sleep(4)
        assert running.poll() is None, "it ended before it was interrupted"
        running.send_signal(signal.SIGINT)
        _, stderr = running.communicate(timeout=60)
    assert running.returncode == 130 and "Traceback" not in stderr
    assert [p.name for p in tmp_path.iterdir()] == ["s.npy"]
