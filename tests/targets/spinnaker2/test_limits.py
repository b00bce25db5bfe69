"""What does not fit or cannot be expressed is refused with a code, the node, the limit and a mend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

import nirhw
from nirhw.diagnostics import NirhwError
from nirhw.hardware import load_hardware
from tests import builders as b

TARGET = "spinnaker2"


def refusal(network: nir.NIRGraph, **arguments: Any) -> NirhwError:
    with pytest.raises(NirhwError) as caught:
        nirhw.compile(network, **{"target": TARGET, "dt": b.DT, **arguments})
    return caught.value


def dense(n_in: int, n_out: int) -> nir.NIRGraph:
    return b.chain(n_in, n_out, w=b.linear(n_out, n_in), n=b.lif(n_out))


def described(path: Path, **limits: float) -> Path:
    """Write a description of one's own: the chip with other limits."""
    lines = ['name = "mine"', 'based_on = "spinnaker2"', 'family = "spinnaker2"']
    for name, value in limits.items():
        lines += [f"[limits.{name}]", f"value = {value}", 'source = "my board"', 'certainty = "measured"']
    (path / "mine.toml").write_text("\n".join(lines))
    return path / "mine.toml"


def test_a_dense_block_fits_as_worked_out_by_hand() -> None:
    """512 sources: 24 neurons a PE fitted the old layout, 32 did not; 250 x 250 fits none."""
    for layout, widest in (("old", 30), ("new", 36)):
        options = {"layout": layout, "steps": 1}
        model = nirhw.compile(dense(512, widest), TARGET, dt=b.DT, options=options)
        assert sum(s.population == "n" for s in model.config.slices) == 1
        model = nirhw.compile(dense(512, 40), TARGET, dt=b.DT, options=options)
        assert sum(s.population == "n" for s in model.config.slices) == 2
    assert sum(s.population == "n" for s in nirhw.compile(dense(250, 250), TARGET, dt=b.DT).config.slices) > 2


def test_a_neuron_with_too_many_inputs_is_named() -> None:
    found = refusal(dense(3000, 4))
    assert found.code == "NIRHW-E035" and found.diagnostics[0].nodes == ("n",)
    assert "bytes of synapses" in found.diagnostics[0].why and "data_bytes_new" in found.diagnostics[0].why


def test_a_recording_that_is_too_long_says_how_many_steps_fit() -> None:
    network = b.chain(2, 20, w=b.linear(20, 2), n=b.li(20))
    found = refusal(network, options={"steps": 20000}).diagnostics[0]
    assert found.code == "NIRHW-E035" and "options={'steps':" in found.fix
    steps = int(found.fix.split("'steps': ")[1].rstrip("}"))
    nirhw.compile(network, TARGET, dt=b.DT, options={"steps": steps})
    rows = {r["population"]: r for r in nirhw.compile(network, TARGET, dt=b.DT).report.data["memory"]}
    told = rows["n"]["steps_that_fit"]
    model = nirhw.compile(network, TARGET, dt=b.DT, options={"steps": told})
    assert sum(s.population == "n" for s in model.config.slices) == rows["n"]["slices"]


def test_more_slices_than_pes_are_refused_and_fit_the_board() -> None:
    network = dense(1000, 3000)
    found = refusal(network).diagnostics[0]
    assert found.code == "NIRHW-E035" and "148" in found.what and found.nodes[0] == "n"
    model = nirhw.compile(network, "spinnaker2-48", dt=b.DT)
    assert {s.chip for s in model.config.slices} == {0, 1} and model.report.fits
    x = b.spikes(5, 1000, rate=0.02)
    assert model.fidelity(x).count_error < 0.2


def test_dead_pes_are_left_out(tmp_path: Path) -> None:
    used = {(s.quad, s.pe) for s in nirhw.compile(dense(64, 300), TARGET, dt=b.DT).config.slices}
    dead = {f"dead_pe_0_{x}_{y}_{pe}": 1 for (x, y), pe in used}
    model = nirhw.compile(dense(64, 300), TARGET, dt=b.DT, hardware=described(tmp_path, **dead))
    assert used and not used & {(s.quad, s.pe) for s in model.config.slices}
    assert model.report.data["resources"][0]["available"] == min(148, 152 - len(used))


@pytest.mark.parametrize("name", ["dead_pe_1_1_1_0", "dead_pe_0_4_3_0", "dead_pe_0_1_1_4", "dead_pe_0_1_1", "dead_chip"])
def test_a_dead_pe_that_does_not_exist_is_an_error(name: str, tmp_path: Path) -> None:
    found = refusal(dense(4, 4), hardware=described(tmp_path, **{name: 1}))
    assert found.code == "NIRHW-E003" and name in found.diagnostics[0].what


def test_a_chip_of_one_s_own_is_sized_by_its_limits(tmp_path: Path) -> None:
    own = described(tmp_path, targets_per_pe=10, pes=5)
    model = nirhw.compile(dense(4, 40), TARGET, dt=b.DT, hardware=own)
    assert [s.size for s in model.config.slices] == [4, 10, 10, 10, 10]
    assert refusal(dense(4, 41), hardware=own).code == "NIRHW-E035"


def test_router_entries_are_counted(tmp_path: Path) -> None:
    found = refusal(dense(1200, 4), hardware=described(tmp_path, router_entries=1)).diagnostics[0]
    assert found.code == "NIRHW-E035" and "2 router entries" in found.what


def test_neurons_per_pe_is_the_user_s() -> None:
    model = nirhw.compile(dense(8, 100), TARGET, dt=b.DT, options={"neurons_per_pe": 16})
    assert [s.size for s in model.config.slices if s.population == "n"] == [14, 14, 14, 15, 14, 14, 15]


def test_analog_signals_between_populations_are_refused() -> None:
    found = refusal(b.chain(3, 3, a=b.li(3), w=b.linear(3, 3), n=b.cubalif(3)))
    assert found.code == "NIRHW-E030" and found.diagnostics[0].nodes == ("a",)


@pytest.mark.parametrize(
    ("network", "arguments"),
    [
        (b.chain(3, 3, w=b.linear(3, 3), n=b.li(3)), {}),
        (b.chain(3, 3, w=b.linear(3, 3), n=b.lif(3), d=nir.Delay(np.full(3, 3e-3)), v=b.linear(3, 3), m=b.lif(3)), {}),
        (b.chain(3, 3, w=b.linear(3, 3), n=b.li(3), t=nir.Threshold(np.ones(3))), {}),
        (b.chain(3, 3, w=b.linear(3, 3), n=b.lif(3)), {"integrator": "exponential"}),
    ],
)
def test_the_vendor_s_converter_takes_no_more_than_it_does(network: nir.NIRGraph, arguments: dict[str, Any]) -> None:
    found = refusal(network, options={"conversion": "vendor"}, **arguments)
    assert found.code == "NIRHW-E030" and "vendor" in found.diagnostics[0].fix
    assert nirhw.compile(network, TARGET, dt=b.DT, **arguments).report.fits


def test_what_the_vendor_s_converter_changes_is_in_the_ledger() -> None:
    one = np.ones(3)
    node = nir.LIF(tau=8e-3 * one, r=one, v_leak=0 * one, v_threshold=0.2 * one, v_reset=-one)
    model = nirhw.compile(b.chain(3, 3, w=b.linear(3, 3), n=node), TARGET, dt=b.DT, options={"conversion": "vendor"})
    assert ("semantic", "reset-zero") in {(d.kind, d.rule) for d in model.deviations}


def test_weights_without_scaling_are_checked_never_wrapped() -> None:
    weight = np.array([[127.4, -127.0], [3.6, 0.0]])
    model = nirhw.compile(b.chain(2, 2, w=nir.Linear(weight), n=b.lif(2)), TARGET, dt=b.DT, options={"scaling": "none"})
    assert model.config.slices[1].blocks[0].weight.tolist() == [127, 4, -127]
    found = refusal(b.chain(2, 2, w=nir.Linear(weight + 1), n=b.lif(2)), options={"scaling": "none"})
    assert found.code == "NIRHW-E034" and found.diagnostics[0].nodes == ("w",)


def test_a_parameter_beyond_float32_is_refused() -> None:
    network = b.chain(2, 2, w=nir.Linear(np.full((2, 2), 1e-30)), n=b.lif(2, threshold=1e12))
    assert refusal(network).code == "NIRHW-E034"


def test_percentile_scaling_warns_of_what_it_clips() -> None:
    weight = np.ones((1, 200))
    weight[0, 0] = 50.0
    model = nirhw.compile(b.chain(200, 1, w=nir.Linear(weight), n=b.lif(1)), TARGET, dt=b.DT, options={"scaling": "percentile"})
    assert [d.code for d in model.findings] == ["NIRHW-W010"]


def test_the_report_says_what_is_inferred_and_that_time_is_not_public() -> None:
    data = nirhw.compile(dense(64, 300), TARGET, dt=b.DT).report.data
    hardware = load_hardware("spinnaker2")
    assert "sources_per_pe" in data["inferred_limits"] and hardware.limits["sources_per_pe"].certainty == "inferred"
    assert "not public" in data["time"]["time_per_step"]
    told = nirhw.compile(dense(64, 300), TARGET, dt=b.DT, options={"step_seconds": 2e-3, "steps": 100}).report.data["time"]
    assert told["time_of_run_s"] == 0.2 and told["real_time"] is False


def test_recordings_are_those_asked_for() -> None:
    network = b.chain(3, 3, w=b.linear(3, 3), n=b.lif(3), v=b.linear(3, 3), m=b.lif(3))
    wanted = {"outputs": [(), ("spikes",)], "spikes": [("spikes",)] * 2, "all": [("spikes", "v")] * 2}
    for record, kept in wanted.items():
        model = nirhw.compile(network, TARGET, dt=b.DT, options={"record": record})
        assert [s.record for s in model.config.slices] == [(), *kept]
