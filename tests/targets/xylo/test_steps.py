"""Knobs of whole numbers on Xylo: decay codes, bit shifts, chip steps a row."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np
import pytest

import nirhw
from nirhw.calibration.knobs import Knob
from nirhw.pipeline import Tuning
from tests import builders as b
from tests.targets.xylo.tuned import legalized, lowered

CODES = ("code.membrane.hidden", "code.synapse.hidden", "code.membrane.output", "code.synapse.output")
SHIFTS = ("shift.input", "shift.hidden", "shift.readout")


def recurrent(hidden: int = 8, seed: int = 3, tau_syn: float = 5) -> nir.NIRGraph:
    nodes = {
        "w": b.linear(hidden, 4, seed),
        "n": b.cubalif(hidden, tau_syn, 11),
        "r": b.linear(hidden, hidden, seed + 1, shift=0.0),
        "w2": b.linear(3, hidden, seed + 2),
        "o": b.cubalif(3, 3, 9),
    }
    edges = [("in", "w"), ("w", "n"), ("n", "r"), ("r", "n"), ("n", "w2"), ("w2", "o"), ("o", "out")]
    return b.graph(4, 3, nodes, edges)


def tuned(graph: nir.NIRGraph, *, options: dict[str, Any] | None = None, **knobs: float) -> Any:
    named = {name.replace("_", ".", 2) if name.startswith(("code", "shift")) else name: v for name, v in knobs.items()}
    # no helpers, so that all registers are those of the network's neurons
    return lowered(graph, b.DT, "subtract", Tuning(named), **{"bursts": "allow", **(options or {})})


def knobs_of(graph: nir.NIRGraph, **options: Any) -> dict[str, Knob]:
    network, context, family = legalized(graph, b.DT, "subtract", **options)
    assert family.knobs is not None
    return {k.name: k for k in family.knobs(network, context)}


def test_whole_numbers_are_knobs_where_they_exist() -> None:
    found = knobs_of(recurrent())
    assert {n for n, k in found.items() if k.kind == "step"} == {*CODES, *SHIFTS}
    assert all((found[n].default, found[n].low, found[n].high) == (0, -1, 1) for n in (*CODES, *SHIFTS))
    lone = knobs_of(b.chain(4, 3, w=b.linear(3, 4), o=b.cubalif(3)))
    assert "shift.hidden" not in lone or "code.membrane.hidden" in lone


@pytest.mark.parametrize("step", [-1, 1])
@pytest.mark.parametrize(("state", "name"), [("membrane", "v_mem_decay"), ("synapse", "i_syn_decay")])
def test_codes_move_by_one_and_gains_follow(state: str, name: str, step: int) -> None:
    plain = tuned(recurrent())[0]
    moved = tuned(recurrent(), **{f"code_{state}_output": step})[0]
    other = {"membrane": "hidden", "synapse": "readout"}[state]
    assert np.array_equal(getattr(moved.readout.neurons, name), getattr(plain.readout.neurons, name) + step)
    assert np.array_equal(getattr(moved, other).neurons.v_mem_decay, getattr(plain, other).neurons.v_mem_decay)

    def rate(config: Any) -> Any:
        """Return the area under the responses to events, over that under what a spike takes off."""
        neurons = config.readout.neurons
        steps = 2.0**neurons.i_syn_decay * (1.0 - 2.0**-neurons.i_syn_decay)
        return config.readout.weights * 2.0**config.readout.weight_bit_shift * steps / neurons.threshold

    assert rate(moved).sum(axis=0) == pytest.approx(rate(plain).sum(axis=0), rel=0.03)


@pytest.mark.parametrize("step", [-1, 1])
def test_both_synapses_move_and_are_fitted_again(step: int) -> None:
    graph = recurrent(tau_syn=9)
    plain, moved = (tuned(graph, code_synapse_hidden=s) for s in (0, step))
    for name in ("i_syn_decay", "i_syn2_decay"):
        before, after = (getattr(found[0].hidden.neurons, name) for found in (plain, moved))
        assert before.min() > 1
        assert np.array_equal(after, before + step)
    errors = [[r["error"] for r in found[3].record.responses if r["population"] == "n"] for found in (plain, moved)]
    assert errors[0][0] < errors[1][0] < 0.3  # the default fits best


def test_codes_stay_in_their_registers() -> None:
    fast = b.chain(4, 3, w=b.linear(3, 4), n=b.cubalif(3, 1.5, 1.0), w2=b.linear(3, 3), o=b.cubalif(3, 1.5, 1.0))
    config = tuned(fast, **{n.replace(".", "_"): -1 for n in CODES})[0]
    for neurons in (config.hidden.neurons, config.readout.neurons):
        assert neurons.i_syn_decay.min() >= 1
        assert neurons.v_mem_decay.min() >= 0


@pytest.mark.parametrize("name", SHIFTS)
def test_shifts_move_and_no_weight_is_clipped(name: str) -> None:
    group = name.split(".")[1]
    configs = {
        s: tuned(recurrent(), options={"scaling": "max", "synapses": "one"}, **{name.replace(".", "_"): s})[0] for s in (-1, 0, 1)
    }
    shifts = {s: getattr(c, group).weight_bit_shift for s, c in configs.items()}
    assert shifts == {-1: max(shifts[0] - 1, 0), 0: shifts[0], 1: shifts[0] + 1}
    for config in configs.values():
        # in proportion to the thresholds, weights stay what they are, but for rounding
        ours, theirs = (
            getattr(c, group).weights
            * 2.0 ** getattr(c, group).weight_bit_shift
            / (c.readout if group == "readout" else c.hidden).neurons.threshold[None, : getattr(c, group).weights.shape[1]]
            for c in (config, configs[0])
        )
        assert np.abs(ours - theirs).max() < 0.08 * np.abs(theirs).max()


def test_a_row_of_several_chip_steps_is_what_the_option_makes_of_it() -> None:
    from nirhw.compiler import _Candidates, _run
    from nirhw.hardware import load_hardware
    from nirhw.nir_reader import Semantics, read_network
    from nirhw.pipeline import Context
    from nirhw.registry import find_target

    family = find_target("xylo")
    context = Context(load_hardware("xylo-audio2", "xylo"), family.make_options({}), family.new_record())
    network = _run(("canonicalize",), read_network(recurrent(), Semantics(b.DT, "subtract")).network, context, family, None, None)
    candidates = _Candidates(network, context, family)
    x = b.spikes(40, 4, rate=0.4, batch=3)
    for steps in (1, 2, 4, 1):
        device, io_map = candidates.lowered(Tuning({"time_stretch": float(steps)}), None)
        option = nirhw.compile(recurrent(), "xylo", dt=b.DT, reset="subtract", options={"time_stretch": steps})
        assert io_map["time_stretch"] == steps
        run = device.prepare({"in": x.astype(np.int64)}, {}, None).run()
        assert np.array_equal(run.spikes, option.emulate(x).spikes)


def test_the_clock_and_the_user_limit_the_rows() -> None:
    assert knobs_of(recurrent())["time_stretch"].high == 4
    assert "time_stretch" not in knobs_of(recurrent(), time_stretch=2)
    for dt, most in ((6e-5, 2), (3e-5, 1), (1e-6, 4)):  # the last is not real time even with one
        network, context, family = legalized(recurrent(), dt, "subtract")
        assert family.knobs is not None
        found = {k.name: k.high for k in family.knobs(network, context)}
        assert found.get("time_stretch", 1) == most


def test_a_stretch_that_calibration_chooses_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the scores say, what was chosen is what the model does."""
    from nirhw.calibration.hunt import Hunt

    def choose(self: Hunt, firing: Any) -> None:
        self.best = Tuning({**self.best.knobs, "time_stretch": 2, "code.membrane.output": 1, "shift.input": 1})

    monkeypatch.setattr(Hunt, "run", choose)
    x = b.spikes(40, 4, rate=0.4, batch=24)
    model = nirhw.compile(recurrent(), "xylo", dt=b.DT, reset="subtract", calibration=x)
    plain = nirhw.compile(recurrent(), "xylo", dt=b.DT, reset="subtract")
    assert model.io_map["time_stretch"] == 2
    assert np.all(model.config.readout.neurons.v_mem_decay > plain.config.readout.neurons.v_mem_decay)
    entry = next(d for d in model.deviations if d.rule == "calibration")
    assert all(name in entry.reason for name in ("time_stretch 2", "code.membrane.output 1", "shift.input 1"))
    assert any(d.rule == "time-stretch" for d in model.deviations)
    check = model.report.data["calibration"]["check"]["agreement"]["out"]["value"]
    assert 0.0 <= check <= 1.0
