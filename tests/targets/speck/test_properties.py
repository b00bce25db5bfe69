"""Each property of Speck changes what it says in the float network; its weights are those of the configuration."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np
import pytest

from nirhw.diagnosis import subject
from tests import builders as b
from tests.rewrites import changes, merged, present, rewritten, touched
from tests.targets.speck.implied import matrix_between

SPECK = {"target": "speck", "dt": b.DT}


def convolutional(average: bool = False, r: float = 1.0) -> nir.NIRGraph:
    rng = np.random.default_rng(0)
    conv1 = nir.Conv2d((8, 8), rng.normal(0.05, 0.2, (3, 2, 3, 3)), 1, (1, 1), 1, 1, np.zeros(3))
    pool = (nir.AvgPool2d if average else nir.SumPool2d)(np.array([2, 2]), np.array([2, 2]), np.array([0, 0]))
    conv2 = nir.Conv2d((4, 4), rng.normal(0.05, 0.2, (4, 3, 3, 3)), 1, (0, 0), 1, 1, np.zeros(4))
    second = b.integrate_fire((4, 2, 2), 2.0)
    second.r = second.r * r
    nodes = {"c1": conv1, "n1": b.integrate_fire((3, 8, 8)), "p": pool, "c2": conv2, "n2": second}
    return b.chain((2, 8, 8), (4, 2, 2), **nodes)


def dense(bias: float = 0.0, scale: float = 0.4) -> nir.NIRGraph:
    first = nir.Affine(b.weights(8, 6), bias * np.arange(8.0)) if bias else b.linear(8, 6, scale=scale)
    return b.chain(6, 4, w=first, n=b.integrate_fire(8), w2=b.linear(4, 8, 1), o=b.integrate_fire(4))


def wide() -> nir.NIRGraph:
    """A flat input of more addresses than there are channels, laid out on a map that is larger still."""
    return b.chain(1501, 3, w=b.linear(3, 1501), n=b.integrate_fire(3))


@pytest.mark.parametrize("make", [dense, convolutional, lambda: convolutional(True, 0.5), wide])
@pytest.mark.parametrize("reset", ["subtract", "value"])
def test_the_weights_are_those_of_the_configuration(make: Any, reset: str) -> None:
    case = subject(make(), reset=reset, **SPECK)
    model, network = case.model, rewritten(case, "8-bit-weights")
    assert set().union(*touched(model.network, network).values()) == {"weights"}
    for proj in network.projections:
        pop = model.network.populations[proj.target]
        assert pop.membrane is not None
        unit = model.io_map["populations"][pop.name]["scale"] * pop.membrane.gain * pop.port(proj.port).gain
        source = "in" if proj.source == model.network.inputs["in"] else proj.source
        integers = matrix_between(model, source, proj.target)
        np.testing.assert_allclose(proj.operator.matrix.toarray() * unit[:, None], integers, atol=1e-6)
        assert np.any(integers)


def test_neurons_fire_as_often_as_their_threshold_fits() -> None:
    assert changes(dense(), name="several-spikes", **SPECK) == {"n": {"burst"}, "o": {"burst"}}
    # excitatory weights that add up to less than a threshold, one event a channel: at most one spike a step
    light = b.chain(6, 4, w=nir.Linear(np.full((4, 6), 0.125)), n=b.integrate_fire(4))
    once = {**SPECK, "reset": "subtract"}
    assert present(subject(light, **once, options={"input_peak": 1})) == []
    assert present(subject(light, **once)) == ["several-spikes"]


def test_biases_round_with_the_threshold() -> None:
    options = {**SPECK, "options": {"bias": "leak"}}
    assert changes(dense(bias=0.011), name="bias-rounding", **options) == {"n": {"port bias", "membrane leak"}}
    case = subject(dense(bias=0.011), **options)
    pop, scale = rewritten(case, "bias-rounding").populations["n"], case.model.io_map["populations"]["n"]["scale"]
    assert pop.membrane is not None
    units = pop.membrane.leak * scale
    assert units == pytest.approx(np.rint(units), abs=1e-9)
    assert np.abs(pop.membrane.leak - 0.011 * np.arange(8)).max() <= 0.5 / scale.min() + 1e-12


def test_rewrites_start_from_the_network_with_parallel_projections_joined() -> None:
    case = subject(dense(), **SPECK)
    names = [p.name for p in merged(case.model.network).projections]
    assert [p.name for p in rewritten(case, "8-bit-weights").projections] == names
