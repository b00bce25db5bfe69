"""What arrives at the columns of a weight matrix, against the network's own operators and filters."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import nir
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nirhw
import nirhw.calibration.activity as module
from nirhw.calibration.activity import Activity, Columns, Patches, columns_of, sets_of
from nirhw.nir_reader import Semantics, read_network
from nirhw.operators import Chain, Convolution, Pooling, windows
from nirhw.reference import run_reference
from tests import builders as b

RNG = np.random.default_rng(0)


def filtered(spikes: np.ndarray, delay: int, kept: float, used: float, membrane: float) -> np.ndarray:
    """Return what a membrane integrates of each source, ``[sample, time, neuron]``, written out step by step."""
    late = np.concatenate([np.zeros_like(spikes[:, :delay]), spikes], axis=1)[:, : spikes.shape[1]].astype(float)
    current, v, out = np.zeros(late[:, 0].shape), np.zeros(late[:, 0].shape), []
    for t in range(late.shape[1]):
        carried = kept * current
        current = carried + late[:, t]
        v = membrane * v + carried + used * late[:, t]
        out.append(v)
    return np.stack(out, axis=1)


def test_second_moment_is_the_mean_square_of_the_drive() -> None:
    spikes = {"a": (RNG.random((5, 30, 4)) < 0.3).astype(np.uint8), "b": (RNG.random((5, 30, 3)) < 0.3).astype(np.uint8)}
    columns = [Columns((("a", 2),), 0.7, 0.7), Columns((("b", 0),), 0.2), Columns(())]
    moment = Activity(spikes).second_moment(columns, 0.8)
    assert moment is not None
    parts = [filtered(spikes["a"], 2, 0.7, 0.7, 0.8), filtered(spikes["b"], 0, 0.2, 1.0, 0.8)]
    ones = filtered(np.ones((5, 30, 1)), 0, 0.0, 1.0, 0.8)
    weights = RNG.normal(size=(6, 8))
    drive = np.concatenate([*parts, ones], axis=2) @ weights.T
    assert moment.error(weights) == pytest.approx((drive**2).mean(axis=(0, 1)))


def test_of_a_long_recording_moments_are_drawn() -> None:
    spikes = {"a": (RNG.random((40, 2000, 3)) < 0.2).astype(np.uint8)}
    moment = Activity(spikes).second_moment([Columns((("a", 0),), 0.5)])
    assert moment is not None
    values = filtered(spikes["a"], 0, 0.5, 1.0, 0.0).reshape(-1, 3)
    assert moment.parts[0] == pytest.approx(values.T @ values / len(values), rel=0.05)


def test_very_many_columns_fall_into_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_COLUMNS", 4)
    spikes = {"a": (RNG.random((3, 20, 10)) < 0.3).astype(np.uint8)}
    moment = Activity(spikes).second_moment([Columns((("a", 0),))])
    assert moment is not None
    assert [p.shape[0] for p in moment.parts] == [4, 4, 2]
    flat = spikes["a"].reshape(-1, 10).astype(float)
    assert moment.parts[1] == pytest.approx(flat[:, 4:8].T @ flat[:, 4:8] / 60)


def test_what_was_not_recorded_has_no_moment_and_what_was_is_worked_out_once() -> None:
    activity = Activity({"a": np.ones((1, 2, 3), np.uint8)})
    assert activity.second_moment([Columns((("b", 0),))]) is None
    assert activity.second_moment([Columns((("a", 0),))]) is activity.second_moment([Columns((("a", 0),))])


@settings(deadline=None, max_examples=30)
@given(
    channels=st.integers(1, 3),
    height=st.integers(3, 7),
    width=st.integers(3, 7),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 2),
    pad=st.integers(0, 2),
    dilation=st.integers(1, 2),
    pool=st.integers(1, 2),
)
def test_patches_are_those_of_the_convolution(
    channels: int, height: int, width: int, kernel: int, stride: int, pad: int, dilation: int, pool: int
) -> None:
    plane = (height // pool, width // pool)
    out = tuple(windows(n, kernel, stride, (pad, pad), dilation) for n in plane)
    if min(out) < 1:
        return
    weight = RNG.normal(size=(2, channels, kernel, kernel))
    two = (stride, stride), ((pad, pad), (pad, pad)), (dilation, dilation)
    conv: Any = Convolution((channels, *plane), (2, *out), weight=weight, stride=two[0], pads=two[1], dilation=two[2], groups=1)
    if pool > 1:
        front = Pooling(
            (channels, height, width), (channels, *plane), kernel=(2, 2), stride=(2, 2), pads=((0, 0), (0, 0)), average=False
        )
        conv = Chain(front.in_shape, conv.out_shape, parts=(front, conv))
    spikes = (RNG.random((3, 4, channels * height * width)) < 0.4).astype(np.uint8)
    form = Patches((channels, height, width), pool, (kernel, kernel), two[0], (pad, pad), (out[0], out[1]), two[2])
    moment = Activity({"a": spikes}).second_moment([Columns((("a", 0),), 0.5, patches=form)])
    assert moment is not None
    drive = conv.apply(filtered(spikes, 0, 0.5, 1.0, 0.0).reshape(12, -1)).reshape(12, 2, -1)
    assert moment.error(weight.reshape(2, -1)) == pytest.approx((drive**2).mean(axis=(0, 2)))


def test_a_part_of_the_positions_stands_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FEWEST_ROWS", 400)
    spikes = (RNG.random((10, 20, 64)) < 0.3).astype(np.uint8)
    form = Patches((1, 8, 8), 1, (3, 3), (1, 1), (0, 0), (6, 6))
    moment = Activity({"a": spikes}).second_moment([Columns((("a", 0),), patches=form)])
    assert moment is not None
    assert moment.parts[0] == pytest.approx(np.full((9, 9), 0.09) + 0.21 * np.eye(9), abs=0.08)


def test_the_float_networks_spikes_are_recorded() -> None:
    graph = b.chain(3, 2, w=b.linear(4, 3, 1, 0.5, 0.4), n=b.lif(4), w2=b.linear(2, 4, 2, 0.5, 0.4), o=b.lif(2))
    network = read_network(graph, Semantics(b.DT, "subtract", "euler")).network
    x = b.spikes(20, 3, batch=70)
    activity = Activity.recorded(network, {"in": x.astype(np.int64)})
    wanted = run_reference(network, x, ["n", "o"])
    assert set(activity.spikes) == {"in", "n", "o"}
    assert np.array_equal(activity.spikes["in"], x)
    for name in ("n", "o"):
        assert np.array_equal(activity.spikes[name], wanted.states[name]["spikes"])


def test_a_relay_stands_for_the_neurons_that_it_repeats() -> None:
    """The skip connection needs relays on Xylo; its delay in the float network is none."""
    nodes = {"a": b.linear(4, 3, 1, 0.5, 0.4), "n": b.cubalif(4), "m": b.linear(4, 4, 2), "k": b.cubalif(4)}
    nodes |= {"s": b.linear(2, 4, 3), "s2": b.linear(2, 4, 4), "o": b.cubalif(2)}
    edges = [("in", "a"), ("a", "n"), ("n", "m"), ("m", "k"), ("k", "s"), ("n", "s2"), ("s", "o"), ("s2", "o"), ("o", "out")]
    seen: dict[str, Any] = {}

    def watch(stage: str, name: str, network: Any) -> None:
        seen[name] = network

    options = {"align": "always"}
    nirhw.compile(b.graph(3, 2, nodes, edges), "xylo", dt=b.DT, reset="subtract", observer=watch, options=options)
    network = seen["align-delays"]
    relayed = [p for p in network.into("o") if network.populations[p.source].role == "relay"]
    assert relayed
    lag = {"in": 0, "n": 0, "k": 1, "o": 2, **{p.source: 1 for p in relayed}}
    for proj in network.into("o"):
        columns = columns_of(proj, network, lag, 0.5)
        assert columns.sources in ((("n", 0),), (("k", 0),))
    assert columns_of(replace(relayed[0]), network, lag).chosen is not None


def test_rows_share_a_moment_where_they_share_their_parameters() -> None:
    sets = sets_of(np.array([0.5, 0.25, 0.5]), np.array([1.0, 1.0, 1.0]))
    assert [(rows.tolist(), values) for rows, values in sets] == [([1], (0.25, 1.0)), ([0, 2], (0.5, 1.0))]
    (everything,) = sets_of(np.linspace(0, 1, 50))
    assert everything[0].size == 50
    assert everything[1] == (pytest.approx(0.5),)


def test_a_convolution_of_nir_is_recorded_by_population() -> None:
    weight = RNG.normal(0.2, 0.2, (2, 1, 3, 3))
    graph = b.chain((1, 6, 6), (2, 6, 6), c=nir.Conv2d((6, 6), weight, 1, 1, 1, 1, np.zeros(2)), n=b.integrate_fire((2, 6, 6)))
    network = read_network(graph, Semantics(b.DT, "subtract", "euler")).network
    activity = Activity.recorded(network, {"in": b.spikes(5, 36, batch=3).astype(np.int64)})
    assert activity.spikes["n"].shape == (3, 5, 72)
