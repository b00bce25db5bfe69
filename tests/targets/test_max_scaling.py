"""Level 1 against scaling by the largest weight, on random layers: the drive is never farther from the network's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import nir
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from nirhw.compiler import PASS_STAGES, _run
from nirhw.hardware import Hardware, load_hardware
from nirhw.network import Network
from nirhw.nir_reader import Semantics, read_network
from nirhw.pipeline import Context
from nirhw.registry import find_target
from tests import builders as b

#: the error is a sum of squares in another order
SLACK = 1 + 1e-9


def layer(seed: int, shape: tuple[int, ...], outlier: float, present: float) -> np.ndarray:
    """Return random weights with one outlier, absent weights, and a row of zeros."""
    rng = np.random.default_rng(seed)
    weight = rng.normal(0.0, 0.3, shape) * (rng.random(shape) < present)
    weight[-1] *= rng.choice([0.01, 1.0])
    weight.flat[rng.integers(weight.size)] = outlier * rng.choice([-1, 1])
    weight[0] = 0.0
    return weight


def narrowed(name: str, family: str, bits: int) -> Hardware:
    """Return a shipped description with weights of so many bits."""
    chip = load_hardware(name, family)
    ends = {"weight_max": 2 ** (bits - 1) - 1, "weight_min": -(2 ** (bits - 1))}
    return replace(chip, limits={**chip.limits, **{n: replace(chip.limits[n], value=v) for n, v in ends.items()}})


def lowered(graph: nir.NIRGraph, target: str, bits: int, **options: str) -> tuple[Network, Context]:
    family = find_target(target)
    chip = narrowed(family.variants[target], family.name, bits)
    context = Context(chip, family.make_options(options), family.new_record())
    network = read_network(graph, Semantics(b.DT, "subtract", "euler")).network
    return _run(PASS_STAGES, network, context, family, None, None), context


def xylo_errors(network: Network, context: Context) -> np.ndarray:
    """Return the squared error of the weights of every neuron in the network's units, all synapses of a neuron together."""
    errors = []
    for name in ("n", "o"):
        total = 0.0
        for proj in network.into(name):
            assert proj.quantized is not None
            unit = 2.0**proj.quantized.shift / proj.quantized.scale[:, None]
            wanted = proj.operator.matrix.toarray() * context.record.factor[name, proj.port][:, None]
            total = total + ((proj.quantized.weight.toarray() * unit - wanted) ** 2).sum(axis=1)
        errors.append(total)
    return np.concatenate(errors)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), bits=st.integers(2, 8), outlier=st.floats(0.1, 20.0), present=st.sampled_from([0.3, 1.0]))
def test_xylo_neurons(seed: int, bits: int, outlier: float, present: float) -> None:
    nodes = {
        "w": nir.Linear(layer(seed, (6, 5), outlier, present)),
        "n": b.cubalif(6),
        "r": nir.Linear(layer(seed + 1, (6, 6), 0.5, present)),
        "w2": nir.Linear(layer(seed + 2, (3, 6), outlier, present)),
        "o": b.cubalif(3),
    }
    edges = [("in", "w"), ("w", "n"), ("n", "r"), ("r", "n"), ("n", "w2"), ("w2", "o"), ("o", "out")]
    both = [lowered(b.graph(5, 3, nodes, edges), "xylo", bits, scaling=s, gain="none") for s in ("error", "max")]
    least, widest = (xylo_errors(*found) for found in both)
    assert np.all(least <= widest * SLACK + 1e-18)


def speck_error(network: Network, context: Context) -> float:
    """Return the squared error of a layer's weights in thresholds."""
    total = 0.0
    (found,) = context.record.layers.values()
    integers = context.record.integers["n"]
    for way in found.ways:
        lost = integers.kernels[way.projection] / integers.threshold - way.stencil.weight
        total += float((lost**2).sum())
    return total


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), bits=st.integers(2, 8), outlier=st.floats(0.1, 1.0), present=st.sampled_from([0.3, 1.0]))
def test_speck_layers(seed: int, bits: int, outlier: float, present: float) -> None:
    weight: Any = layer(seed, (4, 2, 3, 3), outlier, present)
    weight = weight / max(1.0, np.abs(weight).max())  # a weight above some thresholds has no place in few bits
    graph = b.chain((2, 6, 6), (4, 6, 6), c=nir.Conv2d((6, 6), weight, 1, 1, 1, 1, np.zeros(4)), n=b.integrate_fire((4, 6, 6)))
    least, widest = (speck_error(*lowered(graph, "speck", bits, scaling=s)) for s in ("error", "max"))
    assert least <= widest * SLACK
