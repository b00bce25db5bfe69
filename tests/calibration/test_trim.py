"""Trims: what is recorded of the float network, and how firing rates are followed."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np
import pytest

import nirhw
from nirhw.calibration.samples import Samples
from nirhw.calibration.trim import Firing, Observed, corrected, spiking
from nirhw.nir_reader import Semantics, read_network
from nirhw.pipeline import Trim
from tests import builders as b


def lone(weight: float, reset: str) -> nir.NIRGraph:
    """Return one neuron without memory of currents; each spike lifts it by ``weight`` thresholds."""
    return b.chain(1, 1, fc=nir.Linear(np.array([[weight]])), lif=b.lif(1, tau=1e6))


@pytest.mark.parametrize(("weight", "level"), [(0.4, 1.2), (0.75, 1.5), (1.6, 1.6)])
def test_overshoot_is_the_membrane_at_a_spike(weight: float, level: float) -> None:
    """0.4, 0.8, 1.2 fires; 0.75, 1.5 fires; each from 0 again."""
    network = read_network(lone(weight, "zero"), Semantics(b.DT, "zero", "euler")).network
    samples = Samples.of(network, np.ones((4, 60, 1), np.uint8), None, None)
    found = Firing.of(network, samples, 3)
    (name,) = spiking(network)
    assert found.overshoot[name] == pytest.approx([level], rel=1e-3)
    assert found.rates({name: 0})[name] == pytest.approx([weight / level], rel=3e-2)
    late = found.spikes[name][:50].mean()
    assert found.rates({name: 10})[name] == pytest.approx([late])


def test_a_silent_neuron_has_no_overshoot() -> None:
    network = read_network(lone(0.4, "zero"), Semantics(b.DT, "zero", "euler")).network
    samples = Samples.of(network, np.zeros((4, 60, 1), np.uint8), None, None)
    (name,) = spiking(network)
    assert Firing.of(network, samples, 4).overshoot[name] == 1.0


def test_bursts_are_spikes_beyond_one_a_step() -> None:
    network = read_network(lone(0.4, "zero"), Semantics(b.DT, "zero", "euler")).network
    (name,) = spiking(network)
    run = {name: {"spikes": np.array([0, 0, 1, 3, 2]).reshape(1, 5, 1)}}
    seen = Observed.of(run, {name: 1})
    assert seen.rates[name] == 1.5 and seen.bursts[name] == 0.75


def test_corrections_go_the_right_way_and_stop_at_equal_rates() -> None:
    graph = b.chain(3, 3, fc=b.linear(3, 3), lif=b.cubalif(3))
    network = read_network(graph, Semantics(b.DT, "subtract", "euler")).network
    (name,) = spiking(network)
    wanted, got = {name: np.array([0.2, 0.2, 0.0])}, {name: np.array([0.1, 0.2, 0.3])}
    drive = corrected({}, network, wanted, got, "drive")
    assert drive[name].drive[0] > 0 and drive[name].drive[1] == 0 and drive[name].drive[2] < 0
    assert np.all(drive[name].factor == 1.0)
    both = corrected(drive, network, wanted, got, "factor")[name]
    assert both.factor[0] < 1 and both.factor[1] == 1 and both.factor[2] > 1
    assert np.array_equal(both.drive, drive[name].drive)


def test_neurons_of_a_map_are_trimmed_together() -> None:
    conv = nir.Conv2d((4, 4), np.ones((2, 1, 3, 3)), 1, 1, 1, 1, np.zeros(2))
    graph = b.chain((1, 4, 4), (2, 4, 4), conv=conv, n=b.integrate_fire((2, 4, 4)))
    network = read_network(graph, Semantics(b.DT, "subtract", "euler")).network
    (name,) = spiking(network)
    wanted, got = {name: np.full(32, 0.1)}, {name: np.repeat([0.05, 0.2], 16)}
    drive = corrected({}, network, wanted, got, "drive")[name].drive.reshape(2, 16)
    factor = corrected({}, network, wanted, got, "factor")[name].factor
    assert np.all(drive[0] == drive[0, 0]) and drive[0, 0] > 0 > drive[1, 0]
    assert np.all(factor == factor[0]) and factor[0] > 1


def test_a_trim_is_a_drive_and_a_factor() -> None:
    graph = b.chain(3, 3, fc=b.linear(3, 3), lif=b.cubalif(3, threshold=2.0))
    pop = read_network(graph, Semantics(b.DT, "subtract", "euler")).network.populations["lif"]
    turned = Trim(np.array([0.0, 0.1, 0.2]), np.array([1.0, 0.5, 2.0])).applied(pop)
    assert turned.membrane is not None and turned.membrane.leak == pytest.approx([0.0, 0.2, 0.4])
    assert turned.threshold == pytest.approx([2.0, 1.0, 4.0])


@pytest.mark.parametrize(("target", "options"), [("xylo", {}), ("spinnaker2", {"application": "delay"})])
def test_trims_bring_rates_nearer(target: str, options: dict[str, Any]) -> None:
    """One chip truncates its states, one has 4-bit weights."""
    graph = b.chain(6, 3, fc1=b.linear(16, 6, 1), lif1=b.cubalif(16), fc2=b.linear(3, 16, 2, shift=0.0), lif2=b.cubalif(3))
    random = np.random.default_rng(0)
    spikes = (random.random((60, 60, 6)) < random.uniform(0.02, 0.5, (60, 1, 6))).astype(np.uint8)
    model = nirhw.compile(graph, target, calibration=spikes, level=2, dt=b.DT, reset="subtract", options=options)
    rates = model.report.data["recorded"]["rates"]
    assert model.report.data["recorded"]["trims"]
    assert "Trims of neurons" in model.report.to_text()
    assert sum(row["after"] for row in rates) < sum(row["before"] for row in rates)
