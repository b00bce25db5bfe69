"""Hardware descriptions: what is shipped is complete, and a user's own file is checked, then used."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import nir
import numpy as np
import pytest

import nirhw
import nirhw.hw_configs
from nirhw.diagnostics import NirhwError, UsageError
from nirhw.hardware import load_hardware, schema_findings, shipped_names

FOLDER = Path(nirhw.hw_configs.__path__[0])
FILES = sorted(FOLDER.glob("*.toml"))
CERTAINTIES = {"documented", "measured", "inferred"}
HEAD = 'name = "mine"\nfamily = "xylo"\nbased_on = "xylo-audio2"\n'


def limit(name: str, value: Any, certainty: str = "measured") -> str:
    return f'[limits.{name}]\nvalue = {value}\nsource = "our board"\ncertainty = "{certainty}"\n'


def refusal(path: Any, family: str | None = "xylo") -> UsageError:
    with pytest.raises(UsageError) as caught:
        load_hardware(path, family)
    assert {d.code for d in caught.value.diagnostics} == {"NIRHW-E003"}
    return caught.value


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def written(text: str | bytes) -> Path:
        path = tmp_path / "mine.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return written


# -- what is shipped


def test_there_are_shipped_descriptions() -> None:
    assert {p.stem for p in FILES} == set(shipped_names()) >= {"xylo-audio2", "xylo-audio3", "xylo-imu"}


def test_the_schema_is_a_schema() -> None:
    import json

    jsonschema.Draft202012Validator.check_schema(json.loads((FOLDER / "hardware.schema.json").read_text()))


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_shipped_files_obey_the_schema(path: Path) -> None:
    data = tomllib.loads(path.read_text())
    assert schema_findings(data) == []
    assert data["name"] == path.stem


@pytest.mark.parametrize("name", shipped_names())
def test_every_limit_says_where_it_comes_from_and_how_sure_it_is(name: str) -> None:
    hardware = load_hardware(name)
    assert hardware.title and hardware.interface and hardware.limits
    for key, entry in hardware.limits.items():
        assert len(entry.source) > 5, key
        assert entry.certainty in CERTAINTIES, key
        assert np.isfinite(entry.value), key
        assert isinstance(hardware[key], int)
    if hardware.cycles:
        assert hardware.cycles_source


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_what_is_based_on_another_only_changes_it(path: Path) -> None:
    data = tomllib.loads(path.read_text())
    if "based_on" in data:
        base, own = load_hardware(data["based_on"]), load_hardware(path.stem)
        assert own.limits.keys() == base.limits.keys()
        assert {k for k in own.limits if own.limits[k] != base.limits[k]} <= data.get("limits", {}).keys()


def test_the_family_is_checked() -> None:
    assert load_hardware("xylo-audio2", "xylo").name == "xylo-audio2"
    assert "loihi2" in str(refusal("xylo-audio2", "loihi2"))


# -- a user's own file: errors


@pytest.mark.parametrize("name", ["none.toml", "xylo-audio9", ""])
def test_a_file_that_is_not_there(name: str, tmp_path: Path) -> None:
    found = refusal(tmp_path / name)
    assert "xylo-audio2" in str(found)


@pytest.mark.parametrize("name", [3, None, ["xylo-audio2"], "a\0b", "a" * 5000])
def test_what_is_no_name_of_a_file(name: Any) -> None:
    refusal(name)


@pytest.mark.parametrize(
    "text",
    ["= =", "name", b"\xff\xfe\x00", '{"name": "mine"}', "a = " + "[" * 5000 + "]" * 5000, "a = " + "9" * 5000, "a = 1\na = 2"],
)
def test_what_is_no_toml(text: str | bytes, write: Any) -> None:
    assert "is not TOML" in str(refusal(write(text)))


SCHEMA_BREAKS = {
    "no name": ('family = "xylo"\nbased_on = "xylo-audio2"\n', "'name'"),
    "no family": ('name = "mine"\nbased_on = "xylo-audio2"\n', "'family'"),
    "empty name": (HEAD.replace("mine", ""), "name"),
    "unknown key": (HEAD + "colour = 3\n", "colour"),
    "limit as a number": (HEAD + "[limits]\nhidden_neurons = 3\n", "limits.hidden_neurons"),
    "limit as text": (HEAD + limit("hidden_neurons", '"3"'), "limits.hidden_neurons.value"),
    "limit as a truth": (HEAD + limit("hidden_neurons", "true"), "limits.hidden_neurons.value"),
    "limit as a date": (HEAD + limit("hidden_neurons", "2020-01-01"), "limits.hidden_neurons.value"),
    "limit of NaN": (HEAD + limit("hidden_neurons", "nan"), "limits.hidden_neurons.value"),
    "limit of infinity": (HEAD + limit("hidden_neurons", "-inf"), "limits.hidden_neurons.value"),
    "limit without a source": (HEAD + '[limits.hidden_neurons]\nvalue = 3\ncertainty = "measured"\n', "source"),
    "limit without a certainty": (HEAD + '[limits.hidden_neurons]\nvalue = 3\nsource = "x"\n', "certainty"),
    "empty source": (HEAD + limit("hidden_neurons", 3).replace("our board", ""), "source"),
    "unknown certainty": (HEAD + limit("hidden_neurons", 3, "guessed"), "guessed"),
    "limits as a list": ("limits = [1]\n" + HEAD, "limits"),
    "cycles without a source": (HEAD + '[cycles]\nneuron = 3\ncertainty = "measured"\n', "source"),
    "negative cycles": (HEAD + '[cycles]\nneuron = -3\nsource = "x"\ncertainty = "measured"\n', "cycles.neuron"),
}


@pytest.mark.parametrize("name", SCHEMA_BREAKS)
def test_breaks_of_the_schema_name_their_place(name: str, write: Any) -> None:
    text, place = SCHEMA_BREAKS[name]
    assert place in str(refusal(write(text)))


def test_every_break_is_told_at_once(write: Any) -> None:
    found = refusal(write('colour = 1\nname = ""\n' + limit("hidden_neurons", '"3"', "guessed")))
    assert len(found.diagnostics) == 5


def test_text_of_a_file_is_escaped(write: Any) -> None:
    text = HEAD + '"\\u001b[31m" = 1\n'
    assert "\x1b" not in str(refusal(write(text)))


def test_an_unknown_base(write: Any) -> None:
    found = refusal(write(HEAD.replace("xylo-audio2", "xylo-audio9")))
    assert "xylo-audio9" in str(found) and "xylo-audio2, xylo-audio3" in str(found)


def test_no_base(write: Any) -> None:
    assert "based_on" in refusal(write('name = "mine"\nfamily = "xylo"\n')).diagnostics[0].fix


def test_a_limit_its_base_does_not_have(write: Any) -> None:
    found = refusal(write(HEAD + limit("hiden_neurons", 3)))
    assert "hiden_neurons" in str(found) and "hidden_neurons" in found.diagnostics[0].fix


@pytest.mark.parametrize("family", ["xylo", "loihi2", None])
def test_another_family_than_its_base(family: str | None, write: Any) -> None:
    refusal(write(HEAD.replace('family = "xylo"', 'family = "loihi2"')), family)


# -- a user's own file: use


def test_a_file_holds_only_what_differs(write: Any) -> None:
    own, base = load_hardware(write(HEAD + limit("hidden_neurons", 900)), "xylo"), load_hardware("xylo-audio2")
    assert (own.name, own["hidden_neurons"]) == ("mine", 900)
    assert own.limits["hidden_neurons"].source == "our board"
    assert own.limits["hidden_neurons"].certainty == "measured"
    assert {k: v for k, v in own.limits.items() if k != "hidden_neurons"} == {
        k: v for k, v in base.limits.items() if k != "hidden_neurons"
    }
    assert (own.interface, own.cycles, own.cycles_source) == (base.interface, base.cycles, base.cycles_source)
    assert load_hardware("xylo-audio2")["hidden_neurons"] == base["hidden_neurons"]


def test_paths_may_be_text_bytes_or_paths(write: Any) -> None:
    path = write(HEAD)
    assert {load_hardware(p).name for p in (path, str(path), bytes(path))} == {"mine"}


def network(hidden: int) -> nir.NIRGraph:
    def lif(size: int) -> nir.CubaLIF:
        names = {"tau_syn": 4e-3, "tau_mem": 8e-3, "r": 8.0, "v_leak": 0.0, "v_threshold": 1.0}
        return nir.CubaLIF(**{k: np.full(size, x) for k, x in names.items()}, w_in=np.full(size, 4.0))

    nodes = {
        "in": nir.Input(np.array([4])),
        "w": nir.Linear(np.full((hidden, 4), 0.5)),
        "hidden": lif(hidden),
        "read": nir.Linear(np.full((2, hidden), 0.5)),
        "last": lif(2),
        "out": nir.Output(np.array([2])),
    }
    return nir.NIRGraph(nodes, list(zip(nodes, list(nodes)[1:], strict=False)))


def test_a_chip_with_dead_neurons_is_filled_to_its_own_limit_only(write: Any) -> None:
    path = write(HEAD + limit("hidden_neurons", 6))
    model = nirhw.compile(network(6), "xylo", hardware=path, dt=1e-3)
    assert model.hardware.name == "mine"
    with pytest.raises(NirhwError) as caught:
        nirhw.compile(network(7), "xylo", hardware=path, dt=1e-3)
    assert "6" in str(caught.value) and "our board" in str(caught.value)
    assert nirhw.compile(network(7), "xylo", dt=1e-3).hardware.name == "xylo-audio2"
