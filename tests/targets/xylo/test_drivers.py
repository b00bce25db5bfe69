"""Drivers: the neurons that have one emit one spike a step, and nothing else changes."""

from __future__ import annotations

from dataclasses import replace

import nir
import numpy as np
import pytest

import nirhw
from nirhw.pipeline import Tuning
from nirhw.targets.xylo.config import NO_ALIAS, XyloConfiguration
from nirhw.targets.xylo.drivers import driver_knob
from nirhw.targets.xylo.emulator import XyloEmulator
from tests import builders as b
from tests.targets.xylo.tuned import legalized, lowered

HIDDEN = 14
WORD = (-32768, 32767)
#: with neurons that are not held, and one synapse, which is what the plain integers below know
ALLOWED = {"bursts": "allow", "synapses": "one"}


def recurrent(seed: int, bias: bool = False) -> nir.NIRGraph:
    """Return a recurrent network that bursts."""
    random = np.random.default_rng(seed)
    first = random.normal(0.4, 0.4, (HIDDEN, 4))
    nodes = {
        "fc1": nir.Affine(first, random.normal(0, 0.1, HIDDEN)) if bias else nir.Linear(first),
        "hid": b.cubalif(HIDDEN, tau_syn=random.uniform(2, 5), tau_mem=random.uniform(4, 12)),
        "rec": nir.Linear(random.normal(-0.15, 0.15, (HIDDEN, HIDDEN))),
        "fc2": nir.Linear(random.normal(0.1, 0.3, (3, HIDDEN))),
        "last": b.cubalif(3),
    }
    edges = [("in", "fc1"), ("fc1", "hid"), ("hid", "rec"), ("rec", "hid"), ("hid", "fc2"), ("fc2", "last"), ("last", "out")]
    return b.graph(4, 3, nodes, edges)


def drivers(count: int, bursts: np.ndarray) -> Tuning:
    return Tuning({"drivers": count}, bursts={"hid": bursts})


def capped(config: XyloConfiguration, ids: np.ndarray, counts: np.ndarray, held: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return hidden and output spikes of a configuration whose drivers are left out and whose held neurons emit one spike at most.

    Plain integers, of which only membranes saturate: what drivers should come to.
    """
    n, out = config.hidden.neurons, config.readout.neurons
    keep = np.flatnonzero(n.alias_target == NO_ALIAS)
    place = {int(k): p for p, k in enumerate(keep)}
    w_in = config.input.weights[:, keep].astype(np.int64) << config.input.weight_bit_shift
    w_rec = config.hidden.weights[np.ix_(keep, keep)].astype(np.int64) << config.hidden.weight_bit_shift
    w_out = config.readout.weights[keep].astype(np.int64) << config.readout.weight_bit_shift
    cap = np.full(keep.size, 31)
    cap[[place[int(ids[k])] for k in held]] = 1

    def decayed(x: np.ndarray, dash: np.ndarray) -> np.ndarray:
        lost = x >> dash
        return x - np.where((lost == 0) & (x > 0), 1, lost)

    i, v, sent = (np.zeros(keep.size, np.int64) for _ in range(3))
    io, vo = np.zeros(out.threshold.size, np.int64), np.zeros(out.threshold.size, np.int64)
    hidden, outputs = [], []
    for row in counts:
        i = decayed(i + row @ w_in + sent @ w_rec, n.i_syn_decay[keep])
        io = decayed(io + sent @ w_out, out.i_syn_decay)
        v = np.clip(decayed(v, n.v_mem_decay[keep]) + i + n.v_mem_bias[keep], *WORD)
        sent = np.clip(v // n.threshold[keep], 0, cap)
        v = v - sent * n.threshold[keep]
        vo = np.clip(decayed(vo, out.v_mem_decay) + io + out.v_mem_bias, *WORD)
        fired = vo >= out.threshold
        vo = vo - fired * out.threshold
        hidden.append(sent[[place[int(k)] for k in ids]])
        outputs.append(fired)
    return np.array(hidden), np.array(outputs)


@pytest.mark.parametrize("seed", range(12))
def test_driven_neurons_emit_one_spike_and_nothing_else_changes(seed: int) -> None:
    random = np.random.default_rng(seed)
    bursts = random.uniform(0.1, 1.0, HIDDEN)
    count = int(random.integers(1, HIDDEN + 1))
    config, io_map, device, context = lowered(
        recurrent(seed, bias=seed % 3 == 0), b.DT, "subtract", drivers(count, bursts), **ALLOWED
    )
    (_, held) = context.record.drives["driver~hid"]
    assert set(held) == set(np.argsort(bursts)[-count:])
    counts = (random.random((120, 4)) < 0.4).astype(np.int64)
    run = device.prepare({"in": counts[None]}, {"hid": "hid"}).run(1)
    trace = XyloEmulator(config).prepare(counts[None], count=True).run()
    assert not trace.saturations_i.any()  # which the plain integers do not know
    hidden, outputs = capped(config, io_map["populations"]["hid"]["ids"], counts, held)
    spikes = run.states["hid"]["spikes"][0]
    assert spikes[:, held].max() == 1
    assert np.array_equal(spikes, hidden)
    assert np.array_equal(run.spikes[0], outputs)


def test_the_network_does_burst_without_drivers() -> None:
    """Else the test above could not fail."""
    _, _, device, _ = lowered(recurrent(0), b.DT, "subtract", Tuning(), **ALLOWED)
    counts = (np.random.default_rng(0).random((1, 120, 4)) < 0.4).astype(np.int64)
    assert device.prepare({"in": counts}, {"hid": "hid"}).run(1).states["hid"]["spikes"].max() > 2


def test_a_driver_stands_right_before_its_neuron() -> None:
    config, io_map, _, _ = lowered(recurrent(1), b.DT, "subtract", drivers(5, np.linspace(1, 2, HIDDEN)), **ALLOWED)
    alias = config.hidden.neurons.alias_target
    senders = np.flatnonzero(alias != NO_ALIAS)
    assert senders.size == 5 and np.array_equal(alias[senders], senders + 1)
    assert config.hidden.aliasing and np.array_equal(config.hidden.weights[senders], -config.hidden.weights[senders + 1])
    assert np.array_equal(config.readout.weights[senders], -config.readout.weights[senders + 1])
    assert io_map["populations"]["hid"]["copies"].sum() == 5 * 30


def test_drivers_cost_cycles_and_the_report_says_so() -> None:
    from nirhw.targets.xylo.resources import resources

    clocks = []
    for count in (0, 5):
        config, io_map, _, context = lowered(recurrent(1), b.DT, "subtract", drivers(count, np.linspace(1, 2, HIDDEN)))
        clocks.append(resources(config, io_map, context.hardware, context.record)["clock"]["cycles_per_step"])
    assert clocks[1] > 5 * clocks[0]


def test_no_more_drivers_than_real_time_allows() -> None:
    network, context, _ = legalized(recurrent(1), b.DT, "subtract")
    (few,) = driver_knob(network, context)
    (all_of_them,) = driver_knob(replace(network, dt=1.0), context)
    (hopeless,) = driver_knob(replace(network, dt=1e-6), context)  # no real time even without drivers
    assert 0 < few.high < all_of_them.high == hopeless.high == HIDDEN
    assert few.default == 0 and few.rungs()[-1] == few.high
    network, context, _ = legalized(recurrent(1), b.DT, "subtract", drivers="never")
    assert driver_knob(network, context) == []


def test_calibration_takes_drivers_where_they_pay() -> None:
    spikes = b.spikes(60, 4, rate=0.3, batch=40)
    values = []
    for option in ("never", "auto"):
        model = nirhw.compile(
            recurrent(9),
            "xylo",
            dt=b.DT,
            reset="subtract",
            calibration=spikes,
            budget=200,
            options={"drivers": option, **ALLOWED},
        )
        found = model.report.data["calibration"]
        values.append(found["search_value"])
        chosen = {k["knob"]: k["value"] for k in found["knobs"]}
    assert chosen["drivers"] > 0
    assert values[1] > values[0]
