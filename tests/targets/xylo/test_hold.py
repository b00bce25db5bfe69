"""Held neurons: one spike a step where others burst, at the right level, with nothing left behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

import nirhw
from nirhw.pipeline import Tuning
from nirhw.targets.xylo.hold import CLOCK, PREFIX, START
from tests import builders as b
from tests.targets.xylo.tuned import lowered

SUBTRACT: dict[str, Any] = {"dt": b.DT, "reset": "subtract"}


def bursting(neurons: int = 20, seed: int = 1, tau_syn: float = 2.3, tau_mem: float = 10.4, loop: float = 0.3) -> nir.NIRGraph:
    """Return a recurrent network that its input lifts by several thresholds, and that excites itself."""
    random = np.random.default_rng(seed)
    nodes = {
        "w": nir.Linear(random.normal(0.1, 0.8, (neurons, 4))),
        "n": b.cubalif(neurons, tau_syn, tau_mem),
        "r": nir.Linear(random.normal(-0.1, loop, (neurons, neurons))),
        "w2": b.linear(3, neurons, 2, 0.1, 0.05),
        "o": b.cubalif(3),
    }
    edges = [("in", "w"), ("w", "n"), ("n", "r"), ("r", "n"), ("n", "w2"), ("w2", "o"), ("o", "out")]
    return b.graph(4, 3, nodes, edges)


@pytest.mark.parametrize("taus", [(2.3, 10.4), (2.0, 8.0), (2.7, 6.0)])
def test_held_neurons_burst_less(taus: tuple[float, float]) -> None:
    found = {"allow": 0.0, "hold": 0.0}
    for seed in range(6):
        spikes = b.spikes(150, 4, rate=0.1, batch=8, seed=seed)
        for option in found:
            model = nirhw.compile(bursting(20, seed, *taus), "xylo", options={"bursts": option}, **SUBTRACT)
            raster = model.emulate(spikes, record=["n"]).states["n"]["spikes"]
            found[option] += (raster > 1).sum() / (raster > 0).sum()
    assert found["hold"] < 0.9 * found["allow"]


def test_a_trained_network_that_bursts_is_kept(shared: Path, zoo: Callable[[str], Path]) -> None:
    spikes = np.load(shared / "data" / "braille7_l2mu_half.npz")["x"][:100].astype(np.uint8)
    graph, arguments = zoo("repo_braille_noDelay_noBias_subtract.nir"), {"dt": 1e-4, "reset": "subtract"}
    models = [nirhw.compile(graph, "xylo", options={"bursts": o, "input_peak": 1}, **arguments) for o in ("allow", "hold")]
    bursty, held = (m.fidelity(spikes).populations["lif1.lif"] for m in models)
    assert held.count_error < 0.75 * bursty.count_error


def test_an_impulse_acts_in_one_step_and_leaves_nothing() -> None:
    """After its only spike a neuron's current and membrane are those of a neuron without holds, but for the lifted level."""
    nodes = {"w": nir.Linear(np.full((1, 1), 1.6)), "n": b.cubalif(1), "r": nir.Linear(np.full((1, 1), 1e-9)), "w2": b.linear(2, 1),
             "o": b.cubalif(2)}  # fmt: skip
    edges = [("in", "w"), ("w", "n"), ("n", "r"), ("r", "n"), ("n", "w2"), ("w2", "o"), ("o", "out")]
    net = b.graph(1, 2, nodes, edges)
    pulse = np.zeros((60, 1), np.uint8)
    pulse[20] = 1
    config, io_map, device, _ = lowered(net, b.DT, "subtract", Tuning(), bursts="hold")
    ids = io_map["populations"]["n"]["ids"]
    run = device.prepare({"in": pulse[None].astype(np.int64)}, {"n": "n"}).run(1)
    states = {k: v[0].ravel().astype(np.int64) for k, v in run.states["n"].items()}
    fired = np.flatnonzero(states["spikes"])
    scale, code = float(io_map["populations"]["n"]["scale"][0]), int(config.hidden.neurons.v_mem_decay[ids[0]])
    level = states["v"][19]
    assert level == pytest.approx(config.hidden.neurons.threshold[ids[0]] - scale, abs=2**code)  # it rests a threshold below
    assert np.ptp(states["v"][2:20]) <= 2**code
    # the current decays from the pulse alone, but for the step after each spike
    current = states["i"].astype(float)
    quiet = [t for t in range(22, 58) if not {t - 1, t - 2} & set(fired) and current[t - 1] > 64]
    assert quiet and all(abs(current[t] - current[t - 1] * 0.75) <= 1 for t in quiet)


def test_nothing_fires_without_input_and_the_level_is_reached_in_the_second_step() -> None:
    _, _, device, context = lowered(bursting(), b.DT, "subtract", Tuning())
    run = device.prepare({"in": np.zeros((1, 300, 4), np.int64)}, {"n": "n"}).run(1)
    assert not run.states["n"]["spikes"].any() and not run.spikes.any()
    held = context.record.reach["n"] > 0
    v = run.states["n"]["v"][0][:, held].astype(float)
    assert held.any() and np.all(v[-1] > 500) and np.all(np.abs(v[1:] - v[-1]) < 0.1 * v[-1])


def test_a_stream_may_be_cut_anywhere() -> None:
    model = nirhw.compile(bursting(), "xylo", **SUBTRACT)
    spikes = b.spikes(80, 4, rate=0.2)
    whole = model.emulate(spikes).spikes
    first = model.emulate(spikes[:33])
    assert np.array_equal(whole, np.concatenate([first.spikes, model.emulate(spikes[33:], state=first.state).spikes]))


def test_the_report_counts_relays_clock_and_starters() -> None:
    model = nirhw.compile(bursting(), "xylo", **SUBTRACT)
    rows = {r["population"]: r["neurons"] for r in model.report.data["placement"]}
    held = rows[f"{PREFIX}n"]
    assert 0 < held <= 20 and rows[CLOCK] == 1 and rows[START] == 2
    assert model.report.data["added_neurons"] == held + 1 + 2 * 2
    assert {"held-neurons"} <= {d.rule for d in model.deviations}


@pytest.mark.parametrize("target", ["xylo", "xylo-audio3", "xylo-imu"])
def test_where_nothing_is_left_neurons_burst_and_the_ledger_says_so(target: str) -> None:
    def rules(net: nir.NIRGraph) -> set[str]:
        return {d.rule for d in nirhw.compile(net, target, **SUBTRACT).deviations}

    assert "held-neurons" in rules(bursting())
    wide = {"xylo": 62, "xylo-audio3": 120, "xylo-imu": 120}[target]  # fan-out, or room between inputs and outputs
    found = rules(bursting(wide))
    assert "several-spikes" in found and "held-neurons" not in found


def test_neurons_that_do_not_burst_are_left_alone() -> None:
    quiet = b.chain(4, 3, w=b.linear(8, 4, 1, 0.05), n=b.cubalif(8), w2=b.linear(3, 8, 2), o=b.cubalif(3))
    model = nirhw.compile(quiet, "xylo", **SUBTRACT)
    assert model.config.n_hidden == 8
    config, _, _, context = lowered(bursting(), b.DT, "subtract", Tuning(), gain="none")
    assert config.n_hidden == 20 and not context.record.reach


def test_a_membrane_that_keeps_nothing_is_not_held() -> None:
    """What a reset takes too much is gone in the next step, so nothing has to come back."""
    nodes = {"w": b.linear(6, 4, 1, 3.0), "n": b.lif(6, 1.2), "r": nir.Linear(np.full((6, 6), 4.0)), "w2": b.linear(2, 6, 2)}
    edges = [("in", "w"), ("w", "n"), ("n", "r"), ("r", "n"), ("n", "w2"), ("w2", "o"), ("o", "out")]
    model = nirhw.compile(b.graph(4, 2, {**nodes, "o": b.cubalif(2)}, edges), "xylo", dt=b.DT, reset="subtract")
    assert np.all(model.config.hidden.neurons.v_mem_decay == 0)
    assert not any(d.rule == "held-neurons" for d in model.deviations)
