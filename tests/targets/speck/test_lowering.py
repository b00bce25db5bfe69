"""From NIR to a Speck configuration: what the cores compute, read from the configuration, is what the network asks for."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path

import nir
import numpy as np
import pytest

import nirhw
from tests.builders import chain, graph, linear
from tests.targets.speck.implied import matrix_between

#: counts in steps
SUBTRACT = {"target": "speck", "reset": "subtract"}


def neurons(*shape: int, threshold: float | np.ndarray = 1.0, v_reset: float = 0.0, r: float | np.ndarray = 1.0) -> nir.IF:
    one = np.ones(shape)
    return nir.IF(r=r * one, v_threshold=threshold * one, v_reset=v_reset * one)


def conv(weight: np.ndarray, size: tuple[int, int] | int, bias: float = 0.0, **how) -> nir.Conv2d:
    options = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1} | how
    kind = nir.Conv2d if weight.ndim == 4 else nir.Conv1d
    return kind(size, weight, bias=np.full(weight.shape[0], bias), **options)


def out_shape(node: nir.NIRNode) -> tuple[int, ...]:
    """Return the shape that a convolution leaves, by its definition."""
    weight = node.weight
    rank = weight.ndim - 2
    size, pad, dilation, stride = (np.broadcast_to(v, rank) for v in (node.input_shape, node.padding, node.dilation, node.stride))
    return (weight.shape[0], *(int(n) for n in (size + 2 * pad - dilation * (np.array(weight.shape[2:]) - 1) - 1) // stride + 1))


def kernel(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.05, 0.2, shape)


def expected(model, source: str, target: str) -> np.ndarray:
    """Return what the float network's projections ask for, in the chip's units."""
    net = model.network
    pop = net.populations[target]
    total = 0.0
    for proj in net.into(target):
        if source in (proj.source, *(outer for outer, inner in net.inputs.items() if inner == proj.source)):
            gain = pop.port(proj.port).gain * pop.membrane.gain
            total = total + proj.operator.matrix.toarray() * gain[:, None]
    return total * model.io_map["populations"][target]["scale"][:, None]


def assert_lowered(model, pairs: list[tuple[str, str]], terms: int = 1) -> None:
    """Every weight is the wanted one, rounded; a pair of neurons that ``terms`` kernels connect is off by so many half units."""
    for source, target in pairs:
        got, want = matrix_between(model, source, target), expected(model, source, target)
        assert np.any(want)
        assert np.abs(got - np.clip(want, -128 * terms, 127 * terms)).max() <= 0.5 * terms + 1e-6


CONVOLUTIONS = {
    "plain": ((2, 9, 9), (4, 2, 3, 3), {}),
    "stride 2, padding 1": ((2, 9, 9), (4, 2, 3, 3), {"stride": 2, "padding": 1}),
    "strides apart": ((2, 9, 12), (4, 2, 3, 3), {"stride": (1, 4), "padding": (2, 0)}),
    "non-square kernel": ((2, 9, 9), (3, 2, 3, 5), {"padding": (1, 2)}),
    "even kernel": ((2, 8, 8), (3, 2, 4, 2), {"stride": 2}),
    "non-square map": ((1, 5, 17), (3, 1, 3, 3), {"padding": 1}),
    "dilation": ((2, 12, 12), (3, 2, 3, 3), {"dilation": 2, "padding": 2}),
    "dilations apart": ((2, 12, 14), (3, 2, 3, 3), {"dilation": (1, 3)}),
    "groups": ((4, 7, 7), (6, 2, 3, 3), {"groups": 2}),
    "depthwise": ((4, 7, 7), (4, 1, 3, 3), {"groups": 4, "padding": 1}),
    "padding 7": ((1, 6, 6), (2, 1, 15, 15), {"padding": 7}),
    "kernel 16": ((1, 18, 18), (2, 1, 16, 16), {}),
    "stride 8": ((1, 24, 24), (2, 1, 8, 8), {"stride": 8}),
    "stride 3 to one neuron": ((1, 3, 3), (2, 1, 3, 3), {"stride": 3}),
    "stride 3, unrolled": ((1, 9, 9), (2, 1, 3, 3), {"stride": 3}),
    "one row": ((2, 17), (3, 2, 3), {"padding": 1}),
    "one row, stride 2": ((2, 17), (3, 2, 5), {"stride": 2, "padding": 2}),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions_of_every_geometry(name: str) -> None:
    in_shape, shape, how = CONVOLUTIONS[name]
    node = conv(kernel(*shape), in_shape[1:] if len(in_shape) == 3 else in_shape[1], **how)
    out = out_shape(node)
    model = nirhw.compile(chain(in_shape, out, conv=node, fire=neurons(*out)), **SUBTRACT)
    assert_lowered(model, [("in", "fire")])


POOLS = {
    "sum 2": (nir.SumPool2d, 2, 2, 0),
    "average 2": (nir.AvgPool2d, 2, 2, 0),
    "sum 4": (nir.SumPool2d, 4, 4, 0),
    "sum 3": (nir.SumPool2d, 3, 3, 0),
    "overlapping": (nir.SumPool2d, 3, 2, 0),
    "padded": (nir.AvgPool2d, 2, 2, 1),
    "not square": (nir.SumPool2d, (2, 1), (2, 1), 0),
}


@pytest.mark.parametrize("name", POOLS)
@pytest.mark.parametrize("side", [8, 9])
def test_pools_between_layers_become_the_sources_pooling_or_a_kernel(name: str, side: int) -> None:
    kind, size, stride, padding = POOLS[name]
    pool = kind(kernel_size=np.array(size), stride=np.array(stride), padding=np.array(padding))
    sizes, strides = np.broadcast_to(size, 2), np.broadcast_to(stride, 2)
    pooled = tuple((side + 2 * padding - sizes) // strides + 1)
    net = chain(
        (2, side, side),
        (3, *(p - 1 for p in pooled)),
        conv1=conv(kernel(4, 2, 3, 3), (side, side), padding=1),
        fire1=neurons(4, side, side),
        pool=pool,
        conv2=conv(kernel(3, 4, 2, 2, seed=1), tuple(int(p) for p in pooled)),
        fire2=neurons(3, *(p - 1 for p in pooled)),
    )
    model = nirhw.compile(net, **SUBTRACT)
    assert_lowered(model, [("in", "fire1"), ("fire1", "fire2")])


@pytest.mark.parametrize("plane", [(4, 4), (3, 5), (1, 7), (16, 2)])
def test_a_linear_layer_behind_flatten_reads_channels_rows_columns(plane: tuple[int, int]) -> None:
    net = chain(
        (2, *plane),
        5,
        conv1=conv(kernel(3, 2, 1, 1), plane),
        fire1=neurons(3, *plane),
        flatten=nir.Flatten({"input": np.array([3, *plane])}, start_dim=0, end_dim=-1),
        dense=linear(5, 3 * plane[0] * plane[1]),
        fire2=neurons(5),
    )
    model = nirhw.compile(net, **SUBTRACT)
    assert_lowered(model, [("fire1", "fire2")])
    used = [c for c in model.config.cnn_layers if c.used]
    assert all(
        c.dimensions.kernel_size >= max(plane)
        for c in used
        if c.dimensions.output_shape.size.y == 1 and c.dimensions.input_shape.size.y > 1
    )


def test_pools_in_a_row_and_flatten_fold_into_the_next_layer() -> None:
    pool = nir.AvgPool2d(kernel_size=np.array([2, 2]), stride=np.array([2, 2]), padding=np.array([0, 0]))
    net = chain(
        (1, 16, 16),
        6,
        conv1=conv(kernel(4, 1, 3, 3), (16, 16), padding=1),
        fire1=neurons(4, 16, 16),
        pool1=pool,
        pool2=pool,
        flatten=nir.Flatten({"input": np.array([4, 4, 4])}, start_dim=0, end_dim=-1),
        dense=linear(6, 64),
        fire2=neurons(6),
    )
    model = nirhw.compile(net, **SUBTRACT)
    assert_lowered(model, [("fire1", "fire2")])
    assert [d.pooling for c in model.config.cnn_layers if c.used for d in c.destinations if d.enable] == [4]


def test_a_pool_behind_the_input_is_the_hosts_work_or_the_sensors() -> None:
    pool = nir.AvgPool2d(kernel_size=np.array([2, 2]), stride=np.array([2, 2]), padding=np.array([0, 0]))
    net = chain((2, 16, 16), (3, 8, 8), pool=pool, conv=conv(kernel(3, 2, 3, 3), (8, 8), padding=1), fire=neurons(3, 8, 8))
    model = nirhw.compile(net, **SUBTRACT)
    assert_lowered(model, [("in", "fire")])
    assert [d.rule for d in model.deviations if d.kind == "host"] == ["input-pooling"]
    assert [pooling for _, _, pooling in model.io_map["inputs"]["in"]["cores"]] == [2]
    sensor = nirhw.compile(net, **SUBTRACT, options={"input": "dvs", "dvs_pooling": 2})
    assert sensor.config.dvs_layer.pooling.x == 4 and sensor.config.dvs_layer.cut.x == 7
    assert not [d for d in sensor.deviations if d.kind == "host"]


def merge(second: nir.NIRNode, pooled: bool = False) -> nir.NIRGraph:
    """Return a residual block: fire2 takes fire1 through a convolution, and through ``second``."""
    nodes = {
        "conv1": conv(kernel(4, 2, 3, 3), (8, 8), padding=1),
        "fire1": neurons(4, 8, 8),
        "conv2": conv(kernel(4, 4, 3, 3, seed=1), (8, 8), padding=1),
        "fire2": neurons(4, 8, 8),
        "skip": second,
        "fire3": neurons(4, 8, 8),
        "conv3": conv(kernel(4, 4, 3, 3, seed=2), (8, 8), padding=1),
    }
    edges = [
        ("in", "conv1"), ("conv1", "fire1"), ("fire1", "conv2"), ("conv2", "fire2"), ("fire2", "conv3"),
        ("conv3", "fire3"), ("fire1", "skip"), ("skip", "fire3"), ("fire3", "out"),
    ]  # fmt: skip
    return graph((2, 8, 8), (4, 8, 8), nodes, edges)


@pytest.mark.parametrize(
    "second",
    [
        conv(kernel(4, 4, 1, 1, seed=3), (8, 8)),
        conv(kernel(4, 4, 5, 5, seed=3), (8, 8), padding=2),
        nir.Scale(np.full((4, 8, 8), 0.7)),
    ],
    ids=["1x1", "5x5", "scale"],
)
def test_branches_that_meet_share_a_core(second: nir.NIRNode) -> None:
    model = nirhw.compile(merge(second), **SUBTRACT)
    assert_lowered(model, [("fire1", "fire2"), ("fire2", "fire3"), ("fire1", "fire3")])
    assert sum(c.used for c in model.config.cnn_layers) == 3


def test_branches_through_the_same_layer_share_its_channels() -> None:
    shared = conv(kernel(3, 4, 3, 3, seed=5), (8, 8))
    nodes = {
        "a": conv(kernel(4, 2, 3, 3), (8, 8), padding=1), "fa": neurons(4, 8, 8),
        "b": conv(kernel(4, 2, 3, 3, seed=1), (8, 8), padding=1), "fb": neurons(4, 8, 8),
        "join": shared, "end": neurons(3, 6, 6),
    }  # fmt: skip
    edges = [("in", "a"), ("in", "b"), ("a", "fa"), ("b", "fb"), ("fa", "join"), ("fb", "join"), ("join", "end"), ("end", "out")]
    model = nirhw.compile(graph((2, 8, 8), (3, 6, 6), nodes, edges), **SUBTRACT)
    assert_lowered(model, [("fa", "end"), ("fb", "end")])
    joined = [c for c in model.config.cnn_layers if c.used and c.dimensions.output_shape.feature_count == 3]
    assert [c.dimensions.input_shape.feature_count for c in joined] == [4]


def test_average_pools_of_different_size_meet_exactly() -> None:
    def pool(side: int) -> nir.AvgPool2d:
        return nir.AvgPool2d(kernel_size=np.array([side, side]), stride=np.array([side, side]), padding=np.array([0, 0]))

    nodes = {
        "a": conv(kernel(4, 2, 3, 3), (8, 8), padding=1), "fa": neurons(4, 8, 8), "pa": pool(2),
        "b": conv(kernel(4, 4, 1, 1, seed=1), (4, 4)), "fb": neurons(4, 4, 4),
        "c": conv(kernel(2, 4, 1, 1, seed=2), (4, 4)), "d": conv(kernel(2, 4, 1, 1, seed=4), (4, 4)), "end": neurons(2, 4, 4),
    }  # fmt: skip
    edges = [
        ("in", "a"), ("a", "fa"), ("fa", "pa"), ("pa", "b"), ("b", "fb"), ("fb", "c"), ("pa", "d"), ("c", "end"), ("d", "end"),
        ("end", "out"),
    ]  # fmt: skip
    model = nirhw.compile(graph((2, 8, 8), (2, 4, 4), nodes, edges), **SUBTRACT)
    assert_lowered(model, [("fa", "fb"), ("fb", "end"), ("fa", "end")])


def test_thresholds_and_r_per_channel_fold_into_kernels() -> None:
    threshold = np.array([0.5, 1.0, 2.0])[:, None, None]
    r = np.array([1.0, 0.25, 3.0])[:, None, None]
    net = chain(
        (2, 6, 6), (3, 6, 6), conv=conv(kernel(3, 2, 3, 3), (6, 6), padding=1), fire=neurons(3, 6, 6, threshold=threshold, r=r)
    )
    model = nirhw.compile(net, **SUBTRACT, dt=1.0)
    assert_lowered(model, [("in", "fire")])
    used = next(c for c in model.config.cnn_layers if c.used)
    assert used.threshold_high == round(model.io_map["populations"]["fire"]["scale"][0] * 0.5)


def test_thresholds_per_neuron_fold_into_a_linear_layer() -> None:
    net = chain(9, 7, dense=linear(7, 9), fire=neurons(7, threshold=np.linspace(0.5, 3.0, 7)))
    assert_lowered(nirhw.compile(net, **SUBTRACT), [("in", "fire")])


def test_thresholds_that_differ_within_a_channel_make_channels_of_neurons() -> None:
    threshold = np.random.default_rng(0).uniform(0.5, 2.0, (2, 4, 4))
    net = chain((2, 6, 6), (2, 4, 4), conv=conv(kernel(2, 2, 3, 3), (6, 6)), fire=neurons(2, 4, 4, threshold=threshold))
    model = nirhw.compile(net, **SUBTRACT)
    assert_lowered(model, [("in", "fire")])
    used = next(c for c in model.config.cnn_layers if c.used)
    assert used.dimensions.output_shape.feature_count == 32


def test_a_large_flat_input_gets_a_map_of_its_own() -> None:
    net = chain(2000, 4, dense=linear(4, 2000, scale=0.05), fire=neurons(4))
    model = nirhw.compile(net, **SUBTRACT)
    assert_lowered(model, [("in", "fire")])
    assert model.io_map["inputs"]["in"]["plane"] == [500, 2, 2]


@pytest.mark.parametrize("v_reset", [-0.5, 0.25])
def test_a_reset_potential_shifts_the_initial_state(v_reset: float) -> None:
    model = nirhw.compile(chain(4, 3, dense=linear(3, 4), fire=neurons(3, v_reset=v_reset)), "speck", reset="value")
    core = next(c for c in model.config.cnn_layers if c.used)
    level = core.threshold_high - 1
    assert core.return_to_zero
    assert np.all(core.neurons_initial_value == round(-v_reset / (1 - v_reset) * level))


def test_a_spike_needs_more_than_the_threshold() -> None:
    """Two events of half the threshold are not enough, three are; a subtracting neuron then keeps the rest."""
    net = chain(1, 1, dense=nir.Linear(np.array([[0.5]])), fire=neurons(1))
    for reset, expect in (("subtract", [0, 0, 1, 0, 1, 0, 1, 0]), ("zero", [0, 0, 1, 0, 0, 1, 0, 0])):
        model = nirhw.compile(net, "speck", reset=reset)
        ones = np.ones((8, 1), np.int64)
        assert model.emulate(ones).spikes[:, 0].tolist() == expect
        assert model.reference(ones).spikes[:, 0].tolist() == expect


def test_a_bias_is_refused_or_leaks_on_ticks() -> None:
    net = chain((1, 4, 4), (2, 4, 4), conv=conv(kernel(2, 1, 1, 1), (4, 4), bias=0.125), fire=neurons(2, 4, 4))
    with pytest.raises(nirhw.NirhwError) as refused:
        nirhw.compile(net, **SUBTRACT)
    assert refused.value.code == "NIRHW-E030" and "tick_steps" in str(refused.value)
    model = nirhw.compile(net, **SUBTRACT, options={"bias": "leak", "tick_steps": 2})
    core = next(c for c in model.config.cnn_layers if c.used)
    scale = model.io_map["populations"]["fire"]["scale"][0]
    assert core.leak_enable and core.biases.tolist() == [round(0.25 * scale)] * 2
    assert any(d.rule == "bias-becomes-leak" and d.kind == "semantic" for d in model.deviations)


def strict_network() -> nir.NIRGraph:
    """Weights that cannot lift a neuron over its threshold twice in a step, and that the chip holds exactly."""
    weight = np.random.default_rng(3).integers(1, 127, (4, 8))
    weight[0, 0] = 127
    return chain(8, 4, dense=nir.Linear(weight / 1024.0), fire=neurons(4))


def test_strict_mode_passes_where_events_and_steps_agree() -> None:
    model = nirhw.compile(strict_network(), **SUBTRACT, strict=True, options={"input_peak": 1})
    spikes = np.random.default_rng(0).random((20, 200, 8)) < 0.4
    assert np.array_equal(model.emulate(spikes).spikes, model.reference(spikes).spikes)
    with pytest.raises(nirhw.NirhwError, match="event-driven"):
        nirhw.compile(strict_network(), **SUBTRACT, strict=True)


def test_weights_beyond_the_threshold_are_a_warning() -> None:
    net = chain(2, 1, dense=nir.Linear(np.array([[2.5, 0.5]])), fire=neurons(1))
    assert [d.code for d in nirhw.compile(net, **SUBTRACT).findings] == ["NIRHW-W011"]


def test_the_lower_bound_does_not_cap_the_scale() -> None:
    net = chain((1, 8, 8), (8, 8, 8), conv=conv(kernel(8, 1, 3, 3) * 0.1, (8, 8), padding=1), fire=neurons(8, 8, 8))
    core = next(c for c in nirhw.compile(net, **SUBTRACT).config.cnn_layers if c.used)
    assert core.threshold_low == -32640 and np.abs(core.weights.astype(int)).max() >= 120


@pytest.mark.parametrize("seed", range(30))
def test_random_networks(seed: int) -> None:
    net, pairs = random_network(random.Random(seed))
    assert_lowered(nirhw.compile(net, **SUBTRACT), pairs)


def random_network(dice: random.Random) -> tuple[nir.NIRGraph, list[tuple[str, str]]]:
    """Return a chain of two to five layers of random geometry."""
    channels, height, width = dice.randint(1, 4), dice.randint(6, 20), dice.randint(6, 20)
    shape: tuple[int, ...] = (channels, height, width)
    nodes: dict[str, nir.NIRNode] = {}
    names = ["in"]
    first = shape
    for layer in range(dice.randint(2, 5)):
        c, h, w = shape
        if layer and min(h, w) >= 4 and dice.random() < 0.4:
            side = dice.choice([2, 2, 4])
            kind = dice.choice([nir.SumPool2d, nir.AvgPool2d])
            nodes[f"pool{layer}"] = kind(np.array([side, side]), np.array([side, side]), np.array([0, 0]))
            h, w = h // side, w // side
        kh, kw = dice.randint(1, min(5, h)), dice.randint(1, min(5, w))
        stride = (dice.choice([1, 1, 2, 4]), dice.choice([1, 1, 2, 4]))
        out = dice.randint(1, 6)
        node = conv(
            kernel(out, c, kh, kw, seed=dice.randint(0, 99)),
            (h, w),
            stride=stride,
            padding=(dice.randint(0, kh - 1), dice.randint(0, kw - 1)),
        )
        shape = out_shape(node)
        nodes[f"conv{layer}"], nodes[f"fire{layer}"] = node, neurons(*shape)
        names.append(f"fire{layer}")
    return chain(first, shape, **nodes), list(pairwise(names))


def test_a_saved_model_is_the_same_model(tmp_path) -> None:
    net, _ = random_network(random.Random(4))
    model = nirhw.compile(net, **SUBTRACT)
    model.save(tmp_path / "net.nirhw")
    loaded = nirhw.load(tmp_path / "net.nirhw")
    assert loaded.to_bytes() == model.to_bytes() == nirhw.compile(net, **SUBTRACT).to_bytes()
    shape = model.io_map["inputs"]["in"]["shape"]
    spikes = (np.random.default_rng(0).random((12, *shape)) < 0.2).astype(np.int64)
    assert np.array_equal(loaded.emulate(spikes).spikes, model.emulate(spikes).spikes)
    assert type(model.config).from_json(model.config.to_json()).to_dict() == model.config.to_dict()
    assert "exact per core given the order" in loaded.report.to_text()


def test_the_paper_network_maps_to_five_cores(zoo) -> None:
    model = nirhw.compile(zoo("repo_cnn_sinabs"), **SUBTRACT)
    rows = {r["resource"]: r["used"] for r in model.report.data["resources"]}
    assert rows["cores"] == 5 and not any(d.is_error for d in model.findings)
    kernel_words = sorted(v for k, v in rows.items() if "kernel" in k)
    neuron_words = sorted(v for k, v in rows.items() if "neuron" in k)
    # the figures that sinabs' own formulas gave for this network
    assert kernel_words == [1024, 2048, 4096, 4096, 32768] and neuron_words == [10, 256, 512, 4096, 4096]
    spikes = (np.random.default_rng(0).random((20, 2, 34, 34)) < 0.02).astype(np.int64)
    run = model.emulate(spikes, record=list(model.io_map["populations"])[:1])
    assert run.spikes.shape == (20, 10) and run.spikes.sum() > 0


def test_the_digits_keep_their_accuracy() -> None:
    folder = Path(__file__).parents[3] / "demo/networks"
    data = np.load(folder / "digits_test.npz")
    model = nirhw.compile(folder / "digits_conv_if.nir", **SUBTRACT)
    found = model.fidelity(data["spikes"], data["labels"])
    assert found.accuracy.value > 0.97 and found.agreement.value > 0.97
