"""Trims: what is recorded of the float network, and how firing rates are followed."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np
import pytest

import nirhw
from nirhw.calibration.driver import samples_of
from nirhw.calibration.trim import Firing, Observed, corrected, spiking
from nirhw.nir_reader import Semantics, read_network
from tests import builders as b


def lone(weight: float, reset: str) -> nir.NIRGraph:
    """Return one neuron without memory of currents; each spike lifts it by ``weight`` thresholds."""
    return b.chain(1, 1, fc=nir.Linear(np.array([[weight]])), lif=b.lif(1, tau=1e6))


@pytest.mark.parametrize(("weight", "level"), [(0.4, 1.2), (0.75, 1.5), (1.6, 1.6)])
def test_overshoot_is_the_membrane_at_a_spike(weight: float, level: float) -> None:
    """0.4, 0.8, 1.2 fires; 0.75, 1.5 fires; each from 0 again."""
    network = read_network(lone(weight, "zero"), Semantics(b.DT, "zero", "euler")).network
    samples = samples_of(network, np.ones((4, 60, 1), np.uint8), None, None)
    found = Firing.of(network, samples, 3)
    (name,) = spiking(network)
    assert found.overshoot[name] == pytest.approx([level], rel=1e-3)
    assert found.rates({name: 0})[name] == pytest.approx([weight / level], rel=3e-2)
    late = found.spikes[name][:50].mean()
    assert found.rates({name: 10})[name] == pytest.approx([late])


def test_a_silent_neuron_has_no_overshoot() -> None:
    network = read_network(lone(0.4, "zero"), Semantics(b.DT, "zero", "euler")).network
    samples = samples_of(network, np.zeros((4, 60, 1), np.uint8), None, None)
    (name,) = spiking(network)
    assert Firing.of(network, samples, 4).overshoot[name] == 1.0


def test_bursts_are_spikes_beyond_one_a_step() -> None:
    network = read_network(lone(0.4, "zero"), Semantics(b.DT, "zero", "euler")).network
    (name,) = spiking(network)
    run = {name: {"spikes": np.array([0, 0, 1, 3, 2]).reshape(1, 5, 1)}}
    seen = Observed.of([run, run], {name: 1})
    assert seen.rates[name] == 1.5 and seen.bursts[name] == 0.75


def test_corrections_go_the_right_way_and_stop_at_equal_rates() -> None:
    graph = b.chain(3, 3, fc=b.linear(3, 3), lif=b.cubalif(3))
    network = read_network(graph, Semantics(b.DT, "subtract", "euler")).network
    (name,) = spiking(network)
    wanted, got = {name: np.array([0.2, 0.2, 0.0])}, {name: np.array([0.1, 0.2, 0.3])}
    first = corrected({}, network, wanted, got)[name]
    assert first[0] > 0 and first[1] == 0 and first[2] < 0
    again = corrected({name: first}, network, wanted, got)[name]
    assert again == pytest.approx(2 * first)


@pytest.mark.parametrize(("target", "options"), [("xylo", {}), ("spinnaker2", {"application": "delay"}), ("loihi2", {})])
def test_trims_bring_rates_nearer(target: str, options: dict[str, Any]) -> None:
    """Of a network that subtracts: one chip truncates its states, one has 4-bit weights, one resets to zero."""
    graph = b.chain(6, 3, fc1=b.linear(16, 6, 1), lif1=b.cubalif(16), fc2=b.linear(3, 16, 2, shift=0.0), lif2=b.cubalif(3))
    random = np.random.default_rng(0)
    spikes = (random.random((60, 60, 6)) < random.uniform(0.02, 0.5, (60, 1, 6))).astype(np.uint8)
    model = nirhw.compile(graph, target, calibration=spikes, level=2, dt=b.DT, reset="subtract", options=options)
    rates = model.report.data["recorded"]["rates"]
    assert any(row["low"] < row["high"] for row in rates)
    assert sum(row["after"] for row in rates) < sum(row["before"] for row in rates)
