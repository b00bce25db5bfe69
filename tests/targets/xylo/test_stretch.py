"""Time stretch on Xylo: a row of the host's arrays is several chip steps, and means what the network means."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import nir
import numpy as np
import pytest

import nirhw
from nirhw.calibration.activity import Activity, Columns
from nirhw.compiler import BACK_STAGES, _run, _trimmed
from nirhw.diagnosis import subject
from nirhw.emulation.result import unpack
from nirhw.hardware import load_hardware
from nirhw.pipeline import Trim, Tuning
from nirhw.properties import constant_drive
from nirhw.reference import run_reference
from nirhw.targets.xylo.check import check
from nirhw.targets.xylo.emulator import XyloEmulator
from nirhw.targets.xylo.stretch import StretchTime, rows_of
from tests import builders as b
from tests import graphs
from tests.rewrites import merged, rewritten
from tests.targets.xylo.tuned import legalized

SUBTRACT = {"dt": b.DT, "reset": "subtract"}
STRETCHES = (2, 3, 5, 8)
#: lifts a neuron by several thresholds
STRONG = nir.Linear(np.array([[8.0]]))


def stretched(steps: int, **options: Any) -> dict[str, Any]:
    return {**SUBTRACT, "options": {"time_stretch": steps, **options}}


def steps_of(decay: Any) -> Any:
    """Return the time constant in steps of a state that keeps ``decay`` a step, under forward Euler."""
    return 1.0 / (1.0 - decay)


def later(counts: np.ndarray, steps: int) -> np.ndarray:
    """Return ``counts[time, channel]`` in chip steps: each row in its first one."""
    spread = np.zeros((counts.shape[0] * steps, *counts.shape[1:]), counts.dtype)
    spread[::steps] = counts
    return spread


def feed_forward(n_out: int = 3) -> nir.NIRGraph:
    return b.chain(4, n_out, w=b.linear(12, 4, 1), n=b.cubalif(12, 5, 11), w2=b.linear(n_out, 12, 2), o=b.cubalif(n_out, 3, 9))


def recurrent(hidden: int = 6, seed: int = 3) -> nir.NIRGraph:
    nodes = {
        "w": b.linear(hidden, 4, seed),
        "n": b.cubalif(hidden, 5, 11),
        "r": b.linear(hidden, hidden, seed + 1, shift=0.0),
        "w2": b.linear(3, hidden, seed + 2),
        "o": b.cubalif(3, 3, 9),
    }
    return b.graph(4, 3, nodes, [("in", "w"), ("w", "n"), ("n", "r"), ("r", "n"), ("n", "w2"), ("w2", "o"), ("o", "out")])


# -- what is exact


@pytest.mark.parametrize("steps", STRETCHES)
def test_the_membrane_at_the_end_of_a_row_is_the_networks(steps: int) -> None:
    """In floats, whatever the time constants: also equal ones, a lone filter of the membrane, and a pull of v_leak."""
    dice = np.random.default_rng(steps)
    n = 8
    tau_syn, tau_mem = (dice.uniform(1.2, 40.0, n) * b.DT for _ in range(2))
    tau_syn[0], tau_mem[1] = tau_mem[0], b.DT * 1e6
    neurons = nir.CubaLI(tau_syn, tau_mem, dice.uniform(0.5, 2, n), dice.normal(0, 0.3, n), dice.uniform(0.5, 2, n))
    network, context, _ = legalized(b.chain(3, n, w=b.linear(n, 3), f=neurons), b.DT, "subtract", time_stretch=steps)
    x = dice.integers(0, 4, (60, 3))
    wanted = run_reference(network, x).outputs
    got = run_reference(StretchTime().apply(network, context), later(x, steps)).outputs
    np.testing.assert_allclose(got[steps - 1 :: steps], wanted, rtol=1e-9, atol=1e-12)
    assert not context.deviations  # nothing spikes: no time is told otherwise


@pytest.mark.parametrize("steps", STRETCHES)
def test_a_constant_drive_rests_at_the_same_level(steps: int) -> None:
    neurons = nir.CubaLI(*(np.full(3, v * b.DT) for v in (4, 9)), r=np.full(3, 2.0), v_leak=np.full(3, 0.1), w_in=np.full(3, 1.5))
    net = b.chain(2, 3, w=nir.Affine(b.weights(3, 2), np.array([0.2, -0.1, 0.4])), f=neurons)
    network, context, _ = legalized(net, b.DT, "subtract", time_stretch=steps)
    silence = np.zeros((400, 2), np.int64)
    wanted = run_reference(network, silence).outputs[-1]
    got = run_reference(StretchTime().apply(network, context), later(silence, steps)).outputs[-1]
    np.testing.assert_allclose(got, wanted, rtol=1e-9)


@pytest.mark.parametrize("steps", (2, 3, 4))
def test_an_analog_output_is_the_references_where_its_decays_are_codes(steps: int) -> None:
    """Only whole numbers of the chip's states separate them; weights of one size are integers at any scale."""
    keep = [(1.0 - 2.0**-code) ** steps for code in (3, 4)]
    one = np.ones(4)
    neurons = nir.CubaLI(*(steps_of(k) * b.DT * one for k in keep), r=4 * one, v_leak=0 * one, w_in=2 * one)
    signs = np.sign(b.weights(4, 3))
    model = nirhw.compile(b.chain(3, 4, w=nir.Linear(0.5 * signs), f=neurons), "xylo", **stretched(steps))
    assert {r["error"] < 1e-6 for r in model.report.data["time_constants"]} == {True}
    x = b.spikes(120, 3, rate=0.2)
    wanted = model.reference(x).outputs
    assert np.abs(model.emulate(x).outputs - wanted).max() < 0.01 * np.abs(wanted).max()


@pytest.mark.parametrize("steps", (2, 3, 4))
@pytest.mark.parametrize("seed", range(3))
def test_the_first_spike_comes_in_the_networks_row(steps: int, seed: int) -> None:
    """Membranes that rise within each row cross their threshold in the row in which the network's does."""
    keep = [(1.0 - 2.0**-code) ** steps for code in (3, 8)]
    one = np.ones(12)
    tau_syn, tau_mem = (steps_of(k) * one for k in keep)
    neurons = nir.CubaLIF(tau_syn * b.DT, tau_mem * b.DT, r=tau_mem, v_leak=0 * one, v_threshold=one, w_in=one)
    weights = np.full((12, 3), 0.02) * np.arange(2, 14)[:, None]
    net = b.chain(3, 1, w=nir.Linear(weights), n=neurons, w2=b.linear(1, 12), o=b.cubalif(1))
    model = nirhw.compile(net, "xylo", **stretched(steps))
    x = b.spikes(150, 3, rate=0.3, seed=seed)
    run, ref = model.emulate(x, record=["n"]), model.reference(x, record=["n"])
    fired = ref.states["n"]["spikes"].argmax(axis=0)
    assert ref.states["n"]["spikes"].any(axis=0).all() and fired.max() > fired.min()
    v = ref.states["n"]["v"]
    sure = [k for k in range(12) if v[: fired[k], k].max() < 0.985 and v[fired[k], k] > 0.015]
    assert len(sure) >= 4
    np.testing.assert_array_equal(run.states["n"]["spikes"].astype(bool).argmax(axis=0)[sure], fired[sure])


def test_stretch_1_changes_nothing() -> None:
    plain, same = (nirhw.compile(recurrent(), "xylo", **kw) for kw in (SUBTRACT, stretched(1)))
    assert plain.to_bytes() == same.to_bytes()
    assert plain.io_map["time_stretch"] == 1 and "notes" not in plain.report.data


# -- loops and delays


def response(options: dict[str, Any], steps: int, delay: float = 0.0) -> tuple[np.ndarray, nirhw.CompiledModel]:
    """Return the currents of a pair of neurons that excite each other, after a lone spike of the first in row 4."""
    wait = {"d": nir.Delay(np.full(2, delay * b.DT))} if delay else {}
    path = ["n", *wait, "r", "n"]
    nodes = {
        "w": nir.Linear(np.array([[8.0], [0.0]])),
        "n": b.cubalif(2, 4, 2),
        **wait,
        "r": nir.Linear(np.array([[0.0, 0.0], [0.1, 0.0]])),
    }
    edges = [("in", "w"), ("w", "n"), *pairwise(path), ("n", "w2"), ("w2", "o"), ("o", "out")]
    nodes |= {"w2": b.linear(1, 2), "o": b.cubalif(1)}
    model = nirhw.compile(b.graph(1, 1, nodes, edges), "xylo", **stretched(steps, bursts="allow", **options))
    pulse = np.zeros((12, 1), np.uint8)
    pulse[4] = 1
    run = model.emulate(pulse, record=["n"])
    assert run.states["n"]["spikes"][4, 0]  # so it fires in the first chip steps of its row
    return run.states["n"]["i"][:, 1], model


@pytest.mark.parametrize("steps", (2, 3, 4))
@pytest.mark.parametrize("delay", (0, 1, 3))
def test_a_loop_takes_its_step_through_relays(steps: int, delay: int) -> None:
    current, model = response({}, steps, delay)
    late = max(delay, 1)
    assert not current[: 4 + late].any() and current[4 + late]
    assert not any(d.rule == "loop-early" for d in model.deviations)
    assert model.report.data["added_neurons"] >= steps * late - 1


@pytest.mark.parametrize("steps", (2, 3))
@pytest.mark.parametrize("align", ("branches", "never"))
def test_loops_without_relays_are_listed(steps: int, align: str) -> None:
    current, model = response({"align": align}, steps)
    assert current[4]  # in the row of the spike
    (entry,) = (d for d in model.deviations if d.rule == "loop-early")
    assert entry.kind == "retimed" and "n" in entry.nodes and f"{steps - 1} chip step" in entry.reason
    assert model.report.data["added_neurons"] == 0


def test_loops_that_find_no_room_for_relays_are_early_but_branches_are_kept_in_step() -> None:
    n = 400
    one = nir.Linear(0.5 * np.eye(n, 2))
    nodes = {"w": one, "a": b.cubalif(n), "r": nir.Linear(0.1 * np.eye(n)), "w2": nir.Linear(0.5 * np.eye(n)), "c": b.cubalif(n),
             "skip": one, "w3": nir.Linear(np.eye(2, n)), "o": b.cubalif(2)}  # fmt: skip
    edges = [("in", "w"), ("w", "a"), ("a", "r"), ("r", "a"), ("a", "w2"), ("w2", "c"), ("in", "skip"), ("skip", "c"), ("c", "w3"),
             ("w3", "o"), ("o", "out")]  # fmt: skip
    for align in ("auto", "branches"):
        model = nirhw.compile(b.graph(2, 2, nodes, edges), "xylo", **stretched(2, align=align))
        assert {d.rule for d in model.deviations if d.kind == "retimed"} == {"time-stretch", "loop-early"}
        assert model.report.data["added_neurons"] == 2  # those of the skip
    loose = nirhw.compile(b.graph(2, 2, nodes, edges), "xylo", **stretched(2, align="never"))
    assert {d.rule for d in loose.deviations if d.kind == "retimed"} == {"time-stretch", "loop-early", "branch-early"}
    with pytest.raises(nirhw.NirhwError) as caught:
        nirhw.compile(b.graph(2, 2, nodes, edges), "xylo", **stretched(2, align="always"))
    assert caught.value.diagnostics[0].code == "NIRHW-E035"


@pytest.mark.parametrize(("hidden", "target", "early"), [(62, "xylo", False), (63, "xylo", True), (63, "xylo-audio3", False)])
def test_a_relay_needs_fan_out_for_itself(hidden: int, target: str, early: bool) -> None:
    model = nirhw.compile(recurrent(hidden), target, **stretched(2))
    assert any(d.rule == "loop-early" for d in model.deviations) == early


@pytest.mark.parametrize(("steps", "early"), [(3, False), (4, True)])
def test_relays_leave_ids_that_inputs_and_outputs_reach(steps: int, early: bool) -> None:
    """On Audio 3, 128 ids take input and 128 feed outputs: 56 neurons that do both leave room for 144 others."""
    model = nirhw.compile(recurrent(56), "xylo-audio3", **stretched(steps))
    assert any(d.rule == "loop-early" for d in model.deviations) == early


@pytest.mark.parametrize("steps", (2, 4))
def test_a_delay_is_so_many_rows(steps: int) -> None:
    """Relays repeat every spike: the delayed chip gives the undelayed chip's spikes, later by the chip steps of the delay."""
    nodes = {"fc1": b.linear(10, 6, 1), "lif1": b.cubalif(10)}
    rest = {"fc2": b.linear(4, 10, 2), "lif2": b.cubalif(4)}
    plain = nirhw.compile(b.chain(6, 4, **nodes, **rest), "xylo", **stretched(steps, gain="none"))
    wait = nir.Delay(np.full(10, 3 * b.DT))
    delayed = nirhw.compile(b.chain(6, 4, **nodes, d=wait, **rest), "xylo", **stretched(steps, gain="none"))
    x = later(b.spikes(200, 6, rate=0.4), steps)[None]
    want, got = (XyloEmulator(m.config).prepare(x).run().out_spikes for m in (plain, delayed))
    assert want.sum() > 50
    shift = 3 * steps - 1  # the plain chip's hop takes a chip step, the delay holds one
    np.testing.assert_array_equal(got[:, shift:], want[:, :-shift])


# -- rows in, rows out


@pytest.mark.parametrize("steps", STRETCHES)
def test_as_many_rows_come_out_and_a_stream_may_be_cut(steps: int) -> None:
    model = nirhw.compile(recurrent(), "xylo", **stretched(steps))
    x = np.random.default_rng(0).integers(0, 4, (3, 50, 4))
    whole = model.emulate(x, record=["n", "o"])
    assert whole.spikes.shape == (3, 50, 3) and whole.spikes.max() > 1
    assert {v.shape for v in whole.states["n"].values()} == {(3, 50, 6)}
    first = model.emulate(x[:, :17], record=["n", "o"])
    second = model.emulate(x[:, 17:], record=["n", "o"], state=first.state)
    np.testing.assert_array_equal(np.concatenate([first.spikes, second.spikes], axis=1), whole.spikes)
    for name, parts in whole.states.items():
        for part, values in parts.items():
            np.testing.assert_array_equal(np.concatenate([r.states[name][part] for r in (first, second)], axis=1), values)
    assert model.emulate(x[:, :0]).spikes.shape == (3, 0, 3)


def test_an_output_counts_up_to_a_spike_a_chip_step() -> None:
    net = b.chain(1, 1, w=STRONG, n=b.cubalif(1), w2=STRONG, o=b.cubalif(1))
    model = nirhw.compile(net, "xylo", **stretched(4))
    run = model.emulate(np.ones((30, 1), np.uint8), record=["o"])
    assert run.spikes.max() == 4
    np.testing.assert_array_equal(run.spikes, run.states["o"]["spikes"])


def test_the_lag_is_in_rows_after_which_all_has_shown() -> None:
    assert [rows_of(lag, 3) for lag in range(8)] == [0, 1, 1, 1, 2, 2, 2, 3]
    nodes = {}
    for k in range(4):
        nodes |= {f"w{k}": STRONG, f"n{k}": b.cubalif(1)}
    model = nirhw.compile(b.chain(1, 1, **nodes), "xylo", **stretched(2))
    pulse = np.zeros((10, 1), np.uint8)
    pulse[3] = 1
    run = model.emulate(pulse, record=[f"n{k}" for k in range(4)])
    assert [run.latency[f"n{k}"] for k in range(4)] == [0, 1, 1, 2] and run.latency["out"] == 2
    assert [int(run.states[f"n{k}"]["i"].any(axis=1).argmax()) for k in range(4)] == [3, 3, 4, 4]


# -- what is said of it


def test_strict_mode_refuses_what_a_stretch_retimes() -> None:
    with pytest.raises(nirhw.NirhwError) as caught:
        nirhw.compile(feed_forward(), "xylo", strict=("retimed",), **stretched(2))
    assert "time-stretch" in caught.value.diagnostics[0].what


@pytest.mark.parametrize("steps", (1, 2, 4))
@pytest.mark.parametrize("scale", (0.05, 0.1, 0.4))
def test_neurons_that_are_not_listed_spike_at_most_once_a_row(steps: int, scale: float) -> None:
    net = b.chain(2, 2, w=b.linear(6, 2, 1, scale, 0.05), n=b.cubalif(6), w2=b.linear(2, 6, 2, scale / 4, 0.01), o=b.cubalif(2))
    model = nirhw.compile(net, "xylo", **stretched(steps, input_peak=1))
    listed = {node for d in model.deviations if d.rule == "several-spikes" for node in d.nodes}
    run = model.emulate(b.spikes(300, 2, rate=0.7, batch=8), record=["n", "o"])
    most = {name: int(parts["spikes"].max()) for name, parts in run.states.items()}
    assert {n for n, m in most.items() if m > 1} <= listed
    if scale == 0.05:
        assert not listed and most["n"] == 1


def test_the_report_counts_chip_steps_and_says_so() -> None:
    once, thrice = (nirhw.compile(feed_forward(), "xylo", **stretched(s)).report.data for s in (1, 3))
    assert thrice["clock"]["cycles_per_step"] == once["clock"]["cycles_per_step"]
    assert thrice["clock"]["needed_hz"] == pytest.approx(3 * once["clock"]["needed_hz"])
    assert thrice["dt"] == once["dt"] == b.DT and thrice["clock"]["time_stretch"] == 3
    assert "3 chip steps" in thrice["notes"][0]
    wanted = {(r["population"], r["quantity"]): r["wanted"] for r in thrice["time_constants"]}
    assert wanted["n", "tau_mem"] == pytest.approx(1 / (1 - (1 - 1 / 11) ** (1 / 3)))


@pytest.mark.parametrize("steps", (0, 9, -2, 2.5))
def test_the_check_refuses_a_stretch_that_no_option_gives(steps: Any) -> None:
    model = nirhw.compile(feed_forward(), "xylo", **stretched(2))
    hardware = load_hardware("xylo-audio2")
    assert check(model.config, model.io_map, hardware) == []
    found = check(model.config, {**model.io_map, "time_stretch": steps}, hardware)
    assert [d.code for d in found] == ["NIRHW-E040"] and "time stretch" in found[0].what
    with pytest.raises(nirhw.NirhwError, match="time_stretch"):
        nirhw.compile(feed_forward(), "xylo", **stretched(steps))


def test_a_file_keeps_the_stretch(tmp_path: Any) -> None:
    model = nirhw.compile(recurrent(), "xylo", **stretched(3))
    model.save(tmp_path / "net.nirhw")
    loaded = nirhw.load(tmp_path / "net.nirhw")
    x = b.spikes(40, 4)
    np.testing.assert_array_equal(loaded.emulate(x).spikes, model.emulate(x).spikes)
    assert loaded.emulate(x).spikes.shape == (40, 3)


def test_a_long_synapse_is_measured_in_chip_steps() -> None:
    net = b.chain(2, 2, w=b.linear(2, 2), n=b.cubalif(2, tau_syn=30000), w2=b.linear(2, 2), o=b.cubalif(2))
    nirhw.compile(net, "xylo", **SUBTRACT)
    with pytest.raises(nirhw.NirhwError) as caught:
        nirhw.compile(net, "xylo", **stretched(2))
    assert caught.value.diagnostics[0].code == "NIRHW-E032"


def test_an_integrator_leaks_in_every_chip_step() -> None:
    net = b.chain(2, 2, w=b.linear(4, 2), n=b.integrate_fire(4), w2=b.linear(2, 4), o=b.cubalif(2))
    bound = max(100.0 / t for t in nirhw.compile(net, "xylo", **SUBTRACT).config.hidden.neurons.threshold)
    shares = [leak_of(nirhw.compile(net, "xylo", **stretched(s))) for s in (1, 4)]
    assert shares[0] == pytest.approx(bound, abs=1e-3) and shares[1] > 3.8 * shares[0]


def leak_of(model: nirhw.CompiledModel) -> float:
    """Return the leak of integrators that the ledger names, percent of the threshold a step of the network."""
    (entry,) = (d for d in model.deviations if d.rule == "integrator-leaks")
    return float(entry.reason.split(", ")[1].split("%")[0])


# -- calibration and diagnosis


def test_a_trim_lifts_the_resting_level_alike_at_any_stretch() -> None:
    """Trims are found in steps of the network; so is the offset of a knob, but for the decay within a row."""
    levels = {}
    for steps in (1, 4):
        network, context, family = legalized(feed_forward(), b.DT, "subtract", time_stretch=steps)
        trim = Trim(drive=np.full(12, 0.02), factor=np.ones(12))
        lowered = _run(BACK_STAGES, _trimmed(network, Tuning(trims={"n": trim})), context, family, None, None)
        pop = lowered.populations["n"]
        assert pop.membrane is not None
        levels[steps] = constant_drive(pop) / (1.0 - pop.membrane.decay)
    np.testing.assert_allclose(levels[4], levels[1], rtol=1e-9)


@pytest.mark.parametrize("steps", (2, 3))
def test_recorded_activity_is_spread_over_the_chip_steps(steps: int) -> None:
    dice = np.random.default_rng(1)
    spikes = {"a": (dice.random((3, 40, 4)) < 0.3).astype(np.uint8), "b": (dice.random((3, 40, 2)) < 0.3).astype(np.uint8)}
    spread = {}
    for name, rows in spikes.items():
        spread[name] = np.zeros((3, 40 * steps, rows.shape[2]), np.uint8)
        spread[name][:, ::steps] = rows
    columns = [Columns((("a", 0),), 0.75, 0.75), Columns((("b", steps + 1),), 0.5, 0.5), Columns(())]
    got = Activity(spikes).second_moment(columns, 0.875, steps)
    wanted = Activity(spread).second_moment(columns, 0.875)
    assert got is not None and wanted is not None
    for mine, theirs in zip(got.parts, wanted.parts, strict=True):
        np.testing.assert_allclose(mine, theirs)


def test_calibration_at_level_2_takes_a_stretch() -> None:
    x = b.spikes(60, 4, rate=0.3, batch=24)
    model = nirhw.compile(recurrent(), "xylo", calibration=x, level=2, **stretched(2))
    assert model.io_map["time_stretch"] == 2 and "recorded" in model.report.data
    assert all(d["error"] <= d["nearest"] * (1 + 1e-9) for d in model.report.data.get("drives", ()))


# -- random networks


@pytest.mark.parametrize("seed", range(40))
def test_random_networks_keep_the_contract(seed: int) -> None:
    """Rows in, rows out; the check agrees; a stream may be cut; lags are those of the chip's steps, in rows."""
    case = graphs.make_case(graphs.Dice(seed))
    steps = 2 + seed % 7
    given: dict[str, Any] = {"dt": graphs.DT, "reset": case.reset, "integrator": case.integrator}
    try:
        model = nirhw.compile(case.graph, "xylo", **given, options={"time_stretch": steps})
    except nirhw.NirhwError as refused:
        # a longer synapse, or more relays for the network's own delays: nothing else than without stretch
        codes = {d.code for d in refused.diagnostics if d.is_error}
        assert codes <= {"NIRHW-E032", "NIRHW-E034", "NIRHW-E035"} or codes == errors_of(case, given)
        return
    assert check(model.config, model.io_map, model.hardware) == []
    rows = next(iter(case.spikes.values())).shape[0]
    x = {n: case.spikes[n].reshape(rows, *entry["shape"]) for n, entry in model.io_map["inputs"].items()}
    whole, first = model.emulate(x), model.emulate({n: s[: rows // 2] for n, s in x.items()})
    second = model.emulate({n: s[rows // 2 :] for n, s in x.items()}, state=first.state)
    for kind in ("spikes", "outputs"):
        parts = (unpack(getattr(r, kind), tuple(case.output_shapes)) for r in (whole, first, second))
        for (name, all_rows), one, two in zip(*(p.items() for p in parts), strict=True):
            assert all_rows.shape == (rows, *case.output_shapes[name])
            np.testing.assert_array_equal(np.concatenate([one[1], two[1]]), all_rows)
    lags = {r["population"]: rows_of(r["lag"], steps) for r in model.report.data["placement"]}
    assert all(model.io_map["populations"][n]["lag"] == lags[n] for n in lags if n in model.io_map["populations"])


def errors_of(case: graphs.Case, given: dict[str, Any]) -> set[str]:
    """Return the errors without stretch."""
    return {d.code for d in nirhw.check(case.graph, "xylo", **given) if d.is_error}


@pytest.mark.parametrize("steps", (2, 3))
def test_diagnosis_shows_what_a_chip_steps_properties_amount_to_in_a_row(steps: int) -> None:
    # a property shows what codes cost before gains make up for them
    case = subject(recurrent(), "xylo", **stretched(steps, synapses="one", gain="none"))
    codes, ids = case.model.config.hidden.neurons, case.model.io_map["populations"]["n"]["ids"]
    rounded = rewritten(case, "decay-rounding").populations["n"]
    assert rounded.membrane is not None
    np.testing.assert_allclose(rounded.membrane.decay, (1 - 2.0 ** -codes.v_mem_decay[ids]) ** steps)
    np.testing.assert_allclose(rounded.ports[0].decay, (1 - 2.0 ** -codes.i_syn_decay[ids]) ** steps)
    network = case.model.network.populations["n"]
    weaker = rewritten(case, "decay-before-use").populations["n"]
    np.testing.assert_allclose(weaker.ports[0].gain, network.ports[0].gain * (1 - 1 / 5) ** (1 / steps))
    several = rewritten(case, "several-spikes").populations
    assert (several["n"].burst, several["o"].burst) == (31 * steps, steps)
    # delays of parts of a row have no floats, early or not
    early = subject(recurrent(), "xylo", **stretched(steps, align="never"))
    (hops,) = (p for p in early.properties if p.name == "hop-latency")
    assert hops.rewrite is None and "not shown with time stretch" in hops.meaning


def test_weights_of_a_stretched_chip_are_the_networks_but_for_rounding() -> None:
    """Through relays, and without the gains of the stretch."""
    case = subject(recurrent(), "xylo", **stretched(3))
    found = rewritten(case, "8-bit-weights")
    for old, new in zip(merged(case.model.network).projections, found.projections, strict=True):
        wanted, got = old.operator.matrix.toarray(), new.operator.matrix.toarray()
        assert 0 < np.abs(got - wanted).max() < np.abs(wanted).max() / 64, old.name
