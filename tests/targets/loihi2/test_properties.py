"""Each property of Loihi 2 changes what it says in the float network, and the chip does what the rewritten network does."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np
import pytest

from nirhw.diagnosis import subject
from tests import builders as b
from tests.rewrites import assert_chip_does, changes, present, rewritten, touched

CHIP = {"target": "loihi2", "dt": b.DT}


def layers(bias: float = 0.0) -> nir.NIRGraph:
    first = nir.Affine(b.weights(8, 6), bias * np.arange(8.0)) if bias else b.linear(8, 6)
    return b.chain(6, 4, w=first, n=b.cubalif(8, 5, 11), w2=b.linear(4, 8, 1), o=b.cubalif(4, 3, 9))


def counters() -> nir.NIRGraph:
    return b.chain(6, 4, w=b.linear(8, 6), n=b.integrate_fire(8), w2=b.linear(4, 8, 1), o=b.integrate_fire(4))


def convolutional() -> nir.NIRGraph:
    rng = np.random.default_rng(0)
    conv = nir.Conv2d((8, 8), rng.normal(0.1, 0.4, (3, 2, 3, 3)), 1, (1, 1), 1, 1, np.zeros(3))
    pool = nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0]))
    conv2 = nir.Conv2d((4, 4), rng.normal(0.05, 0.3, (4, 3, 3, 3)), 1, (0, 0), 1, 1, np.zeros(4))
    nodes = {"c": conv, "n": b.integrate_fire((3, 8, 8)), "p": pool, "c2": conv2, "o": b.integrate_fire((4, 2, 2))}
    return b.chain((2, 8, 8), (4, 2, 2), **nodes)


def skip() -> nir.NIRGraph:
    one = {
        "a": b.linear(6, 6),
        "l": b.integrate_fire(6),
        "c": b.linear(4, 6, 1),
        "s": b.linear(4, 6, 2),
        "o": b.integrate_fire(4),
    }
    return b.graph(6, 4, one, [("in", "a"), ("a", "l"), ("l", "c"), ("c", "o"), ("in", "s"), ("s", "o"), ("o", "out")])


@pytest.mark.parametrize(
    ("make", "options", "name"),
    [
        (counters, {}, "8-bit-weights"),
        (counters, {"signs": "split"}, "8-bit-weights"),
        (counters, {"signs": "joint", "weight_bits": 4}, "4-bit-weights"),
        (counters, {"rounding": "truncate"}, "8-bit-weights"),
        (convolutional, {}, "8-bit-weights"),
        (convolutional, {"share_kernels": False}, "8-bit-weights"),
        (skip, {}, "8-bit-weights"),
    ],
)
def test_the_chip_does_what_the_network_with_its_weights_does(make: Any, options: dict[str, Any], name: str) -> None:
    """Neurons that only count: no state is rounded."""
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


def test_a_hard_reset_is_what_the_chip_does() -> None:
    case = subject(counters(), reset="subtract", **CHIP)
    assert present(case) == ["8-bit-weights", "hard-reset"]
    assert touched(case.model.network, rewritten(case, "hard-reset")) == {"n": {"reset"}, "o": {"reset"}}
    assert_chip_does(case, rewritten(case, *present(case)), b.spikes(200, 6, rate=0.3))
    own = subject(counters(), reset="subtract", **CHIP, options={"soft_reset": True})
    assert present(own) == ["8-bit-weights"]


def test_decays_are_those_of_twelve_bits() -> None:
    case = subject(layers(), **CHIP)
    found = rewritten(case, "decay-codes")
    changed = {"port decay", "membrane decay"}
    assert touched(case.model.network, found) == {"n": changed, "o": changed}
    pop = found.populations["n"]
    assert pop.membrane is not None and pop.ports[0].decay is not None
    assert pop.membrane.decay == pytest.approx(np.full(8, 1 - round(4096 / 11) / 4096), abs=1e-15)
    assert pop.ports[0].decay == pytest.approx(np.full(8, 1 - round(4096 / 5) / 4096), abs=1e-15)


def test_a_register_skips_the_ramp() -> None:
    assert changes(layers(bias=0.02), name="bias-registers", **CHIP) == {"n": {"port bias", "membrane leak"}}


def test_ports_of_one_decay_are_one_and_keep_their_weights() -> None:
    """Two filters of equal decay and unequal gain end in one neuron, which has one current."""
    fast, slow = b.li(4, 4), b.li(4, 4)
    slow.r = slow.r * 0.5
    nodes = {"w": b.linear(4, 6, 0, 0.1, 0.0), "f": fast, "w2": b.linear(4, 6, 1, 0.1, 0.0), "g": slow, "n": b.lif(4)}
    edges = [("in", "w"), ("w", "f"), ("f", "n"), ("in", "w2"), ("w2", "g"), ("g", "n"), ("n", "out")]
    case = subject(b.graph(6, 4, nodes, edges), **CHIP)
    assert len(case.model.network.populations["n"].ports) == 2
    network = rewritten(case, "8-bit-weights")
    assert [p.name for p in network.populations["n"].ports] == ["f"]
    (found,), parts = network.projections, case.model.network.projections
    ports = case.model.network.populations["n"].ports
    wanted = sum(p.operator.matrix.toarray() * q.gain[:, None] for p, q in zip(parts, ports, strict=True))
    got = found.operator.matrix.toarray() * network.populations["n"].ports[0].gain[:, None]
    assert 0 < np.abs(got - wanted).max() < np.abs(wanted).max() / 64
