"""Splits, replicas and cores: legal, complete, with the fewest cores, and honest where nothing fits."""

from __future__ import annotations

import random
import tempfile
from dataclasses import replace
from itertools import product
from pathlib import Path

import nir
import numpy as np
import pytest

import nirhw
from nirhw.hardware import Limit, load_hardware
from nirhw.targets.speck.memory import Need
from nirhw.targets.speck.partition import Edge, Problem, Unit, capacities, matched, searched
from tests.builders import chain, graph, linear
from tests.targets.speck.implied import effect_of, matrix_between
from tests.targets.speck.test_lowering import SUBTRACT, assert_lowered, conv, kernel, neurons

SPECK = load_hardware("speck2f")


def cores_of(model, name: str) -> list[int]:
    return [row["core"] for row in model.io_map["populations"][name]["slices"]]


def wide_network(channels: int = 40) -> nir.NIRGraph:
    """A first layer of 40 maps of 64 x 64: 160 Ki neurons, where the largest core has room for 64 Ki."""
    pool = nir.SumPool2d(kernel_size=np.array([4, 4]), stride=np.array([4, 4]), padding=np.array([0, 0]))
    return chain(
        (1, 64, 64),
        3,
        conv1=conv(kernel(channels, 1, 3, 3), (64, 64), padding=1),
        fire1=neurons(channels, 64, 64),
        pool=pool,
        conv2=conv(kernel(4, channels, 3, 3, seed=1), (16, 16), padding=1, stride=2),
        fire2=neurons(4, 8, 8),
        flatten=nir.Flatten({"input": np.array([4, 8, 8])}, start_dim=0, end_dim=-1),
        dense=linear(3, 256),
        fire3=neurons(3),
    )


def test_a_layer_too_large_for_every_core_is_split_by_channels() -> None:
    """The vendor's mapper takes one core a layer and finds no valid mapping for this network."""
    model = nirhw.compile(wide_network(), **SUBTRACT)
    need = Need(1, 3, 64, 64, has_bias=False)
    assert max(need.most_channels(c, SPECK) for c in range(9)) == 16
    assert len(cores_of(model, "fire1")) == 3
    assert model.report.data["search"] == {"cores": 5, "status": "optimal", "bound": 5}
    assert_lowered(model, [("fire2", "fire3")])
    narrow = nirhw.compile(wide_network(16), **SUBTRACT)
    assert narrow.report.data["search"]["cores"] == 3


def test_a_split_layer_computes_what_the_whole_one_does() -> None:
    """The same network on a chip whose cores hold the first layer whole: equal matrices, equal spikes."""
    net = chain(
        (2, 8, 8), (5, 4, 4),
        conv1=conv(kernel(12, 2, 3, 3), (8, 8), padding=1), fire1=neurons(12, 8, 8),
        conv2=conv(kernel(5, 12, 3, 3, seed=1), (8, 8), padding=1, stride=2), fire2=neurons(5, 4, 4),
    )  # fmt: skip
    whole, split = nirhw.compile(net, **SUBTRACT), compiled_on_small_cores(net, neuron_words=256)
    assert len(cores_of(whole, "fire1")) == 1 and len(cores_of(split, "fire1")) == 3
    for pair in (("in", "fire1"), ("fire1", "fire2")):
        assert np.array_equal(matrix_between(whole, *pair), matrix_between(split, *pair))
    assert_lowered(split, [("in", "fire1"), ("fire1", "fire2")])
    once = np.zeros((1, 2, 8, 8), np.int64)
    for address in np.random.default_rng(0).integers(0, 128, 40):
        # one event a run: no order inside a step, so both have to agree in every spike
        spikes = once.copy()
        spikes.reshape(-1)[address] = 1
        rows = np.repeat(spikes, 6, axis=0)
        assert np.array_equal(
            whole.emulate(rows, record=["fire1"]).states["fire1"]["spikes"],
            split.emulate(rows, record=["fire1"]).states["fire1"]["spikes"],
        )


def compiled_on_small_cores(net: nir.NIRGraph, neuron_words: int):
    lines = ['name = "small"', 'based_on = "speck2f"', 'family = "speck"']
    for core in range(9):
        lines += [f"[limits.neuron_words_{core}]", f"value = {neuron_words}", 'source = "this test"', 'certainty = "inferred"']
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "small.toml"
        path.write_text("\n".join(lines))
        return nirhw.compile(net, **SUBTRACT, hardware=path)


def test_a_layer_whose_targets_take_more_than_two_cores_is_replicated() -> None:
    net = chain(
        (1, 4, 4), (12, 8, 8),
        conv1=conv(kernel(2, 1, 1, 1), (4, 4)), fire1=neurons(2, 4, 4),
        conv2=conv(kernel(12, 2, 1, 1, seed=1), (4, 4), padding=2), fire2=neurons(12, 8, 8),
    )  # fmt: skip
    model = compiled_on_small_cores(net, neuron_words=256)
    used = [n for n, c in enumerate(model.config.cnn_layers) if c.used]
    assert len(cores_of(model, "fire2")) == 3
    assert len(used) == 5, "three cores for the second layer, two for the first"
    assert_lowered(model, [("in", "fire1"), ("fire1", "fire2")])
    assert "replica 1" in model.report.to_text()


def test_a_layer_with_three_targets_is_replicated() -> None:
    nodes = {"conv0": conv(kernel(2, 1, 3, 3), (8, 8), padding=1), "fire0": neurons(2, 8, 8)}
    edges = [("in", "conv0"), ("conv0", "fire0")]
    for k in range(3):
        nodes |= {f"conv{k}a": conv(kernel(2, 2, 3, 3, seed=k), (8, 8), padding=1), f"fire{k}a": neurons(2, 8, 8)}
        nodes |= {f"join{k}": conv(kernel(2, 2, 1, 1, seed=9 + k), (8, 8))}
        edges += [("fire0", f"conv{k}a"), (f"conv{k}a", f"fire{k}a"), (f"fire{k}a", f"join{k}"), (f"join{k}", "end")]
    nodes["end"] = neurons(2, 8, 8)
    model = nirhw.compile(graph((1, 8, 8), (2, 8, 8), nodes, [*edges, ("end", "out")]), **SUBTRACT)
    assert model.report.data["search"] == {"cores": 6, "status": "optimal", "bound": 6}
    assert_lowered(
        model, [("in", "fire0"), *((f"fire{k}a", "end") for k in range(3)), *(("fire0", f"fire{k}a") for k in range(3))]
    )


def test_what_does_not_fit_names_the_limit_that_binds() -> None:
    deep = {}
    for k in range(10):
        deep |= {f"conv{k}": conv(kernel(1, 1, 3, 3, seed=k), (8, 8), padding=1), f"fire{k}": neurons(1, 8, 8)}
    with pytest.raises(nirhw.NirhwError) as failure:
        nirhw.compile(chain((1, 8, 8), (1, 8, 8), **deep), **SUBTRACT)
    assert failure.value.code == "NIRHW-E035"
    assert "the number of cores" in str(failure.value) and "10 cores like these would do, 9 exist" in str(failure.value)

    huge = chain(
        (1, 16, 16), 600,
        conv=conv(kernel(512, 1, 1, 1), (16, 16)), fire=neurons(512, 16, 16),
        flatten=nir.Flatten({"input": np.array([512, 16, 16])}, start_dim=0, end_dim=-1),
        dense=nir.Linear(np.zeros((64, 512 * 256)) + 1e-3), fire2=neurons(64),
    )  # fmt: skip
    huge.nodes["out"] = nir.Output({"output": np.array([64])})
    with pytest.raises(nirhw.NirhwError) as failure:
        nirhw.compile(huge, **SUBTRACT)
    assert failure.value.code == "NIRHW-E035" and "kernel memory" in str(failure.value)


def test_a_last_map_beyond_64_is_cut_into_regions() -> None:
    net = chain((1, 70, 66), (2, 70, 66), conv=conv(kernel(2, 1, 3, 3), (70, 66), padding=1), fire=neurons(2, 70, 66))
    model = nirhw.compile(net, **SUBTRACT)
    assert len(cores_of(model, "fire")) == 4
    assert [d.code for d in model.findings] == ["NIRHW-W012"]
    index = np.sort(np.concatenate([s["index"] for s in model.io_map["populations"]["fire"]["slices"]]))
    assert np.array_equal(index, np.arange(2 * 70 * 66))
    weights, chosen = model.network.projections[0].operator.matrix, np.random.default_rng(0).integers(0, 70 * 66, 60)
    scale = model.io_map["populations"]["fire"]["scale"][0]
    want = np.rint(weights[:, chosen].toarray() * scale)
    got = columns_of(model, chosen)
    assert np.array_equal(got, np.clip(want, -128, 127))
    with pytest.raises(nirhw.NirhwError, match="larger than 64x64"):
        net = chain((1, 100, 100), (2, 100, 100), conv=conv(kernel(2, 1, 3, 3), (100, 100), padding=1), fire=neurons(2, 100, 100))
        nirhw.compile(net, **SUBTRACT)


def columns_of(model, chosen: np.ndarray) -> np.ndarray:
    size = int(np.prod(model.io_map["populations"]["fire"]["shape"]))
    out = np.zeros((size, chosen.size), np.int64)
    for part in model.io_map["populations"]["fire"]["slices"]:
        core = model.config.cnn_layers[part["core"]]
        for column, address in enumerate(chosen):
            y, x = np.unravel_index(address, (70, 66))
            out[part["index"], column] += effect_of(core, 0, int(y), int(x)).ravel()
    return out


def random_problem(dice: random.Random) -> tuple[Problem, object]:
    """Return two or three layers on a chip of four small cores."""
    shape = dice.choice(["pair", "chain", "diamond"])
    n = 2 if shape == "pair" else 3
    units = tuple(
        Unit(
            f"u{k}", 0, dice.randint(1, 6), False, Need(dice.randint(1, 3), dice.choice([1, 2, 3]), 1, dice.choice([1, 2]), False)
        )
        for k in range(n)
    )
    pairs = {"pair": [(0, 1)], "chain": [(0, 1), (1, 2)], "diamond": [(0, 1), (0, 2), (1, 2)]}[shape]
    problem = Problem(units, tuple(Edge(a, b, f"{a}{b}", 1, 0) for a, b in pairs), frozenset(), ())
    limits = dict(SPECK.limits)
    for core in range(4):
        limits[f"kernel_words_{core}"] = Limit(dice.choice([8, 16, 32, 64]), "test", "inferred")
        limits[f"neuron_words_{core}"] = Limit(dice.choice([2, 4, 8]), "test", "inferred")
    limits["cores"] = Limit(4, "test", "inferred")
    return problem, replace(SPECK, limits=limits)


def fewest_cores(problem: Problem, hardware) -> int | None:
    """Return the least number of cores by trying every assignment of cores to layers and replicas."""
    capacity = capacities(problem, hardware)
    feeds = {e.source for e in problem.edges}
    roles = [None, *((u, r) for u in range(len(problem.units)) for r in (range(2) if u in feeds else range(1)))]
    best = None
    for given in product(roles, repeat=4):
        used = [g for g in given if g is not None]
        if best is not None and len(used) >= best:
            continue
        replicas = [sorted({r for u, r in used if u == k}) for k in range(len(problem.units))]
        if any(not r or r[0] != 0 for r in replicas):
            continue
        if not all(
            covered(capacity[u], [c for c in range(4) if given[c] == (u, r)], problem.units[u].channels)
            for u in range(len(replicas))
            for r in replicas[u]
        ):
            continue
        # every target core takes one of a replica's two destinations, once for each edge
        count = [sum(u == k for u, _ in used) for k in range(len(replicas))]
        if all(
            sum(count[e.target] for e in problem.edges if e.source == u) <= 2 * len(replicas[u]) for u in range(len(replicas))
        ):
            best = len(used)
    return best


def covered(capacity: np.ndarray, cores: list[int], channels: int) -> bool:
    return bool(cores) and all(capacity[c] > 0 for c in cores) and len(cores) <= channels <= sum(capacity[c] for c in cores)


@pytest.mark.parametrize("seed", range(25))
def test_the_search_finds_the_fewest_cores(seed: int) -> None:
    problem, hardware = random_problem(random.Random(seed))
    wanted = fewest_cores(problem, hardware)
    found = matched(problem, hardware) or searched(problem, hardware)
    assert (found is None) == (wanted is None)
    if found is not None:
        assert found.status == "optimal" and len(found.parts) == wanted == found.bound


def test_the_fast_matching_and_the_search_agree() -> None:
    for seed in range(40):
        problem, hardware = random_problem(random.Random(1000 + seed))
        quick = matched(problem, hardware)
        if quick is not None:
            assert len(searched(problem, hardware).parts) == len(quick.parts)
