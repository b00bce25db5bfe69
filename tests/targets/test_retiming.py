"""Branches of unequal length that meet again: on chips whose hops take steps the shorter one would arrive early.

Weights are whole, so the chip's raster is the reference's, later by the output's lag, or the timing is wrong.
"""

from __future__ import annotations

from typing import Any

import nir
import numpy as np
import pytest

import nirhw
from tests import builders as b

CHIPS = ("spinnaker2", "loihi2")


def whole(post: int, pre: int, seed: int) -> nir.Linear:
    return nir.Linear(2.0 * np.random.default_rng(seed).integers(-2, 5, (post, pre)))


def wait(size: int, *steps: int) -> nir.Delay:
    return nir.Delay(np.resize(steps, size) * b.DT)


def network(long: tuple[int, ...], short: tuple[int, ...], recurrent: bool) -> nir.NIRGraph:
    """Input, two layers and a delay before the output layer; beside them one synapse with a delay of its own."""
    nodes = {
        "a": whole(6, 5, 1),
        "n": b.integrate_fire(6, 9.0),
        "c": whole(6, 6, 2),
        "m": b.integrate_fire(6, 9.0),
        "d": wait(6, *long),
        "e": whole(4, 6, 3),
        "w": wait(5, *short),
        "s": whole(4, 5, 4),
        "o": b.integrate_fire(4, 9.0),
        "r": whole(6, 6, 5),
    }
    edges = [("in", "a"), ("a", "n"), ("n", "c"), ("c", "m"), ("m", "d"), ("d", "e"), ("e", "o")]
    edges += [("in", "w"), ("w", "s"), ("s", "o"), ("o", "out")]
    if recurrent:
        edges += [("m", "r"), ("r", "m")]
    else:
        del nodes["r"]
    return b.graph(5, 4, nodes, edges)


def rasters(graph: nir.NIRGraph, chip: str, **options: Any) -> tuple[np.ndarray, np.ndarray, set[str]]:
    """Return the output of the chip and of the network, aligned by the lag, and the rules of the ledger."""
    model = nirhw.compile(graph, chip, dt=b.DT, reset="zero", options=options)
    x = b.spikes(120, 5, rate=0.3, batch=2)
    run, meant = model.emulate(x), model.reference(x).spikes
    assert meant.sum() > 40
    lag = run.latency["out"]
    return run.spikes[:, lag:], meant[:, : meant.shape[1] - lag], {d.rule for d in model.deviations}


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize(
    ("long", "short"),
    [((0,), (0,)), ((1,), (0,)), ((3,), (2,)), ((2,), (9,)), ((0,), (20,)), ((0, 4, 1), (5, 0, 2))],
    ids=["no delay", "long one", "both", "short one", "short one longer", "by neuron"],
)
def test_a_skip_meets_the_long_way_in_step(chip: str, recurrent: bool, long: tuple[int, ...], short: tuple[int, ...]) -> None:
    got, meant, rules = rasters(network(long, short, recurrent), chip)
    assert not rules - {"membrane-saturates"}
    np.testing.assert_array_equal(got, meant)


@pytest.mark.parametrize("chip", CHIPS)
def test_without_alignment_the_skip_is_early(chip: str) -> None:
    """What the test above would miss, if it could miss it."""
    got, meant, rules = rasters(network((0,), (0,), False), chip, align="never")
    assert "branch-early" in rules
    assert np.any(got != meant)
