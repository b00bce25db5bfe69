"""Each property of SpiNNaker2 changes what it says in the float network, and the chip does what the rewritten network does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import nir
import numpy as np
import pytest

import nirhw
from nirhw.diagnosis import subject
from nirhw.network import Network
from nirhw.pipeline import Context
from nirhw.targets.spinnaker2 import TARGET
from tests import builders as b
from tests.rewrites import assert_chip_does, changes, present, rewritten, touched

CHIP = {"target": "spinnaker2", "dt": b.DT}


def layers(bias: float = 0.0, **neurons: Any) -> nir.NIRGraph:
    first = nir.Affine(b.weights(8, 6), bias * np.arange(8.0)) if bias else b.linear(8, 6)
    return b.chain(6, 4, w=first, n=neurons.get("n", b.cubalif(8)), w2=b.linear(4, 8, 1), o=b.cubalif(4))


def skip() -> nir.NIRGraph:
    nodes = {"a": b.linear(6, 6), "l": b.lif(6), "c": b.linear(4, 6, 1), "s": b.linear(4, 6, 2), "o": b.lif(4)}
    return b.graph(6, 4, nodes, [("in", "a"), ("a", "l"), ("l", "c"), ("c", "o"), ("in", "s"), ("s", "o"), ("o", "out")])


def convolutional() -> nir.NIRGraph:
    rng = np.random.default_rng(0)
    conv1 = nir.Conv2d((7, 6), rng.normal(0.1, 0.4, (3, 2, 3, 3)), 1, (1, 1), 1, 1, np.zeros(3))
    pool = nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0]))
    conv2 = nir.Conv2d((3, 3), rng.normal(0.1, 0.4, (4, 3, 2, 2)), 1, (0, 0), 1, 1, np.zeros(4))
    flat = nir.Flatten({"input": np.array([4, 2, 2])}, 0)
    nodes = {"c1": conv1, "n1": b.integrate_fire((3, 7, 6)), "p": pool, "c2": conv2, "n2": b.integrate_fire((4, 2, 2), 2.0)}
    return b.chain((2, 7, 6), 5, **nodes, f=flat, fc=b.linear(5, 16), n3=b.integrate_fire(5))


def delayed() -> nir.NIRGraph:
    """Delays by neuron, beyond what a synapse word holds: relays and one projection for each delay."""
    wait = nir.Delay(np.array([0, 0, 3, 9, 9, 30, 1, 2]) * b.DT)
    return b.chain(6, 4, w=b.linear(8, 6), n=b.cubalif(8), d=wait, w2=b.linear(4, 8, 1), o=b.cubalif(4))


@pytest.mark.parametrize(
    ("make", "options", "name"),
    [
        (layers, {}, "8-bit-weights"),
        (layers, {"rounding": "truncate", "scaling": "max"}, "8-bit-weights"),
        (layers, {"application": "delay"}, "4-bit-weights"),
        (skip, {}, "8-bit-weights"),
        (delayed, {"application": "no_delay"}, "8-bit-weights"),
        (convolutional, {}, "8-bit-weights"),
        (convolutional, {"convolution": "unroll"}, "8-bit-weights"),
    ],
)
def test_the_chip_does_what_the_network_with_its_weights_does(make: Any, options: dict[str, Any], name: str) -> None:
    case = subject(make(), **CHIP, options=options)
    assert present(case) == [name]
    network = rewritten(case, name)
    assert set().union(*touched(case.model.network, network).values()) == {"weights"}
    shape = next(iter(case.model.io_map["inputs"].values()))["shape"]
    assert_chip_does(case, network, b.spikes(120, *shape, rate=0.3))


def test_branches_out_of_step_are_what_the_chip_does() -> None:
    case = subject(skip(), **CHIP, options={"align": "never"})
    assert present(case) == ["8-bit-weights", "hop-latency"]
    assert_chip_does(case, rewritten(case, *present(case)), b.spikes(200, 6, rate=0.4), lags=False)


def test_a_bias_at_once_is_the_offset_of_the_chip() -> None:
    assert changes(layers(bias=0.02), name="bias-offset", **CHIP) == {"n": {"port bias", "membrane leak"}}
    case = subject(layers(bias=0.02), **CHIP)
    free, at_once = (net.populations["n"].membrane.leak for net in (case.model.network, rewritten(case, "bias-offset")))  # type: ignore[union-attr]
    # CubaLIF of the builders: a synapse of 4 steps adds up four drives, the membrane adds the current itself
    assert at_once - free == pytest.approx(4 * 0.02 * np.arange(8.0))


def test_a_leaky_neuron_without_reset_resets() -> None:
    def explain(network: Network, lowered: Network, context: Context) -> None:
        endless = network.with_populations([replace(network.populations["n"], reset="none")])
        found.extend(p.name for p in TARGET.properties(endless, lowered, context) if p.rewrite)  # type: ignore[misc]

    found: list[str] = []
    nirhw.compile(layers(), explainer=explain, **CHIP)
    assert found == ["8-bit-weights", "soft-reset"]


def test_the_vendor_s_converter_resets_to_zero_and_forgets_dt() -> None:
    far = b.cubalif(8, v_reset=-0.25)
    vendor = {**CHIP, "options": {"conversion": "vendor"}}
    assert changes(layers(n=far), name="zero-reset", **vendor) == {"n": {"reset"}}
    count = b.chain(6, 4, w=b.linear(4, 6), n=b.integrate_fire(4))
    assert changes(count, name="if-without-dt", **vendor) == {"n": {"membrane gain"}}
    assert "cut towards zero" in next(p.meaning for p in subject(count, **vendor).properties if p.name == "8-bit-weights")


def test_a_port_that_integrates_without_bias_takes_no_part_in_the_drive_of_another() -> None:
    nodes = {"w": b.linear(4, 6, 0, 0.1), "i": nir.I(r=np.full(4, 1.0)), "u": nir.Affine(-np.ones((4, 6)), np.full(4, 0.01))}
    nodes |= {"l": b.li(4, 4), "n": b.lif(4)}
    nodes["w"].weight = np.abs(nodes["w"].weight)
    edges = [("in", "w"), ("w", "i"), ("i", "n"), ("in", "u"), ("u", "l"), ("l", "n"), ("n", "out")]
    nodes["u"].bias = -nodes["u"].bias  # two currents of unequal decay: one for each sign
    case = subject(b.graph(6, 4, nodes, edges), **CHIP)
    membrane = rewritten(case, "bias-offset").populations["n"].membrane
    assert membrane is not None and membrane.leak == pytest.approx(np.full(4, -0.04))
