"""The public interface: targets, options, errors and what a compiled model promises."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

import nirhw
from nirhw import registry
from nirhw.diagnostics import CODES, Diagnostic, error, printable
from nirhw.pipeline import STAGES
from tests import builders as b

XYLO = ("xylo", "xylo-audio2", "xylo-audio3", "xylo-imu")
SPECK = ("speck", "speck2f", "speck2e")
SPINNAKER2 = ("spinnaker2", "spinnaker2-48")
LOIHI2 = ("loihi2", "loihi2-kapoho-point", "loihi2-hala-point")


def small() -> nir.NIRGraph:
    return b.chain(4, 3, w=b.linear(6, 4), n=b.cubalif(6), w2=b.linear(3, 6), o=b.cubalif(3))


def integrators() -> nir.NIRGraph:
    """Return what suits a chip without leak."""
    return b.chain(4, 3, w=b.linear(6, 4), n=b.integrate_fire(6), w2=b.linear(3, 6), o=b.integrate_fire(3))


def test_every_listed_target_can_be_compiled_to() -> None:
    names = [t.name for t in nirhw.list_targets()]
    assert names == [*XYLO, *SPECK, *SPINNAKER2, *LOIHI2]
    for name in names:
        model = nirhw.compile(integrators() if name in SPECK else small(), name, dt=b.DT)
        assert model.target == name and model.report.fits
        assert model.emulate(b.spikes(10, 4)).spikes.shape == (10, 3)


def test_options_are_documented_with_type_default_and_meaning() -> None:
    for option in (o for target in nirhw.list_targets() for o in target.options):
        assert option.help and option.type in ("str", "float", "int", "bool") and option.default is not None


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"target": "xylo9"}, "NIRHW-E001"),
        ({"options": {"nonsense": 1}}, "NIRHW-E002"),
        ({"options": {"rounding": "up"}}, "NIRHW-E002"),
        ({"options": {"percentile": "high"}}, "NIRHW-E002"),
        ({"options": {"percentile": 10.0}}, "NIRHW-E002"),
        ({"options": {"input_peak": 2.5}}, "NIRHW-E002"),
        ({"options": {"input_peak": True}}, "NIRHW-E002"),
        ({"reset": "soft"}, "NIRHW-E002"),
        ({"reset": {"no-such-node": "zero"}}, "NIRHW-E002"),
        ({"reset": {"w": "zero"}}, "NIRHW-E002"),
        ({"integrator": "heun"}, "NIRHW-E002"),
        ({"dt": -1.0}, "NIRHW-E002"),
        ({"dt": float("nan")}, "NIRHW-E002"),
        ({"dt": "1ms"}, "NIRHW-E002"),
        ({"strict": ("everything",)}, "NIRHW-E002"),
        ({"hardware": "missing.toml"}, "NIRHW-E003"),
        ({"graph": "missing.nir"}, "NIRHW-E005"),
        ({"graph": 3}, "NIRHW-E011"),
    ],
)
def test_wrong_usage_is_named(arguments: dict[str, Any], code: str) -> None:
    full: dict[str, Any] = {"graph": small(), "target": "xylo", "dt": b.DT, **arguments}
    with pytest.raises(nirhw.NirhwError) as caught:
        nirhw.compile(full.pop("graph"), full.pop("target"), **full)
    assert caught.value.code == code
    assert str(caught.value).startswith(code)


def test_resets_can_differ_by_node() -> None:
    model = nirhw.compile(small(), "xylo", dt=b.DT, reset={"": "subtract", "n": "zero"})
    changed = [d.nodes for d in model.deviations if d.rule == "reset-subtract"]
    assert changed == [("n",)]


def test_the_observer_sees_every_pass_in_order() -> None:
    seen: list[tuple[str, str]] = []
    nirhw.compile(small(), "xylo", dt=b.DT, observer=lambda stage, name, network: seen.append((stage, name)))
    stages = [stage for stage, _ in seen]
    assert stages == sorted(stages, key=STAGES.index) and ("place", "place-neurons") in seen


class _Rename:
    """A pass of another distribution."""

    name = "count-me"

    def __init__(self) -> None:
        self.calls = 0

    def apply(self, network: Any, context: Any) -> Any:
        self.calls += 1
        return network


PLUGIN = _Rename()
EXTRA = registry.ExtraPass("quantize", -1, PLUGIN)


def test_other_packages_add_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    registry.extra_passes.cache_clear()
    found = {"nirhw.passes": [EntryPoint("mine", "tests.test_compiler:EXTRA", "nirhw.passes")]}
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: found.get(group, []))
    try:
        seen: list[str] = []
        nirhw.compile(small(), "xylo", dt=b.DT, observer=lambda stage, name, network: seen.append(name))
    finally:
        registry.extra_passes.cache_clear()
    assert seen.index("count-me") < seen.index("quantize-weights")


def test_emulated_input_is_checked() -> None:
    model = nirhw.compile(small(), "xylo", dt=b.DT, options={"input_peak": 3})
    good = b.spikes(10, 4)
    bad: list[tuple[Any, str]] = [
        (np.zeros((10, 5)), "NIRHW-E050"),
        (np.zeros(4), "NIRHW-E050"),
        (np.full((10, 4), 0.5), "NIRHW-E051"),
        (np.full((10, 4), np.nan), "NIRHW-E051"),
        (np.full((10, 4), -1), "NIRHW-E051"),
        (np.full((10, 4), "x"), "NIRHW-E051"),
        (np.full((10, 4), 1j), "NIRHW-E051"),
        (np.full((10, 4), 4), "NIRHW-E051"),
        ({"other": good}, "NIRHW-E050"),
    ]
    for value, code in bad:
        with pytest.raises(nirhw.NirhwError) as caught:
            model.emulate(value)
        assert caught.value.code == code
    for value in (good, good.astype(bool), good.astype(float), good.astype(np.int8)):
        np.testing.assert_array_equal(model.emulate(value).spikes, model.emulate(good).spikes)
    with pytest.raises(nirhw.NirhwError) as caught:
        model.emulate(good, record=["w"])
    assert caught.value.code == "NIRHW-E052"
    for state in ("yesterday", model.emulate(b.spikes(5, 4, batch=2)).state):
        with pytest.raises(nirhw.NirhwError) as caught:
            model.emulate(good, state=state)
        assert caught.value.code == "NIRHW-E053"
    with pytest.raises(nirhw.NirhwError) as caught:
        model.fidelity(b.spikes(5, 4, batch=2), labels=[0, 1, 2])
    assert caught.value.code == "NIRHW-E052"


def test_no_steps_and_no_samples_are_fine() -> None:
    model = nirhw.compile(small(), "xylo", dt=b.DT)
    assert model.emulate(np.zeros((0, 4))).spikes.shape == (0, 3)
    assert model.emulate(np.zeros((0, 7, 4))).spikes.shape == (0, 7, 3)


def test_codes_are_stable_and_unique() -> None:
    assert len({c.title for c in CODES.values()}) == len(CODES)
    for code in CODES:
        assert len(code) == len("NIRHW-E000") and code[6] in "EW"


def test_hostile_names_are_escaped_in_errors() -> None:
    name = "\x1b[31mred\x1b[0m\n[bold]x"
    failure = error("NIRHW-E014", f"node {printable(name)}", [name])
    assert "\x1b" not in str(failure) and "\n[bold]" not in failure.diagnostics[0].nodes[0]
    assert Diagnostic("NIRHW-E014", "x" * 10_000).what.endswith("…")


def test_the_report_is_json_with_a_schema_version() -> None:
    model = nirhw.compile(small(), "xylo", dt=b.DT)
    data = json.loads(model.report.to_json())
    assert data["schema_version"] == 1 and set(data["timings"]) <= set(STAGES)
    assert data["binding_resource"] in {r["resource"] for r in data["resources"]}
    assert all(r["source"] and r["certainty"] in ("documented", "measured", "inferred") for r in data["resources"])


def test_compile_takes_a_path_or_an_object(tmp_path: Path) -> None:
    nir.write(tmp_path / "net.nir", small())
    from_file = nirhw.compile(tmp_path / "net.nir", "xylo", dt=b.DT)
    from_object = nirhw.compile(small(), "xylo", dt=b.DT)
    assert from_file.config.to_json() == from_object.config.to_json()
