"""Cores and chips: as few as the limits allow, counted again here by a slow and independent rule."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

import nirhw
from nirhw.targets.loihi2.place import Traffic, _assigned
from tests import builders as b
from tests.targets.loihi2.test_limits import chip


def sparse(post: int, pre: int, share: float, seed: int) -> nir.Linear:
    rng = np.random.default_rng(seed)
    return nir.Linear(rng.normal(0.1, 0.4, (post, pre)) * (rng.random((post, pre)) < share))


def bits_of(count: int, width: int) -> int:
    """Loihi 1's packing by its words: blocks of 64 synapses, 10 bits of header, whole 64-bit words."""
    total = 0
    while count > 0:
        total += -(-(min(count, 64) * width + 10) // 64) * 64
        count -= 64
    return total


def needs(config: Any, group: str, first: int, last: int) -> tuple[int, int, int]:
    """Neurons, bytes of synapses and in-axons of a slice, from dense matrices."""
    sizes = {g.name: g.size for g in config.groups}
    bits = axons = 0
    for syn in config.synapses:
        if syn.target != group:
            continue
        rows = syn.matrix(sizes[group]).toarray()[first:last] != 0
        width = syn.weight_bits + (6 if syn.max_delay else 0)
        for count in rows.sum(axis=0):
            if not count:
                continue
            axons += 1
            index = max(6, int(np.ceil(np.log2(max(last - first, 2)))))
            bits += bits_of(int(count), width + index) if syn.kind == "sparse" else bits_of(last - first, width)
    return last - first, -(-bits // 8), axons


def test_the_documented_packing() -> None:
    """1000 targets of 8 bits: 9024 bits a source, so 116 sources a core (nengo-loihi e564f66, bits_per_axon)."""
    model = nirhw.compile(b.chain(116, 1000, w=b.linear(1000, 116), n=b.lif(1000)), "loihi2", dt=b.DT, options={"signs": "joint"})
    assert [s.kind for s in model.config.synapses] == ["dense"]
    (core,) = model.report.data["cores"]
    assert core["synaptic_bytes"] == 116 * 9024 // 8 and core["in_axons"] == 116
    more = nirhw.compile(b.chain(117, 1000, w=b.linear(1000, 117), n=b.lif(1000)), "loihi2", dt=b.DT, options={"signs": "joint"})
    assert len(more.config.cores) == 2


LIMITS: list[dict[str, int]] = [
    {"neurons_per_core": 7},
    {"synaptic_bytes_per_core": 300},
    {"in_axons_per_core": 14},
    {"neurons_per_core": 9, "synaptic_bytes_per_core": 400, "in_axons_per_core": 16},
]


@pytest.mark.parametrize("limits", LIMITS, ids="+".join)
@pytest.mark.parametrize("seed", range(3))
def test_slices_are_the_fewest(tmp_path: Path, limits: dict[str, int], seed: int) -> None:
    """No cut of a group into rows of neurons needs fewer cores: shortest path over all slices that fit."""
    nodes = {"w": sparse(30, 10, 0.4, seed), "n": b.lif(30), "w2": sparse(12, 30, 0.2, seed + 9), "o": b.cubalif(12)}
    model = nirhw.compile(b.chain(10, 12, **nodes), "loihi2", dt=b.DT, hardware=chip(tmp_path, **limits))
    room = [model.hardware[k] for k in ("neurons_per_core", "synaptic_bytes_per_core", "in_axons_per_core")]
    for group in model.config.groups:
        if group.model == "input":
            continue
        fewest = [0] + [10**6] * group.size
        for first, last in itertools.combinations(range(group.size + 1), 2):
            if all(n <= r for n, r in zip(needs(model.config, group.name, first, last), room, strict=True)):
                fewest[last] = min(fewest[last], fewest[first] + 1)
        assert sum(c.group == group.name for c in model.config.cores) == fewest[-1]


def test_the_report_counts_what_the_cores_hold(tmp_path: Path) -> None:
    nodes = {"w": sparse(30, 10, 0.4, 1), "n": b.lif(30), "w2": sparse(12, 30, 0.3, 2), "o": b.cubalif(12)}
    model = nirhw.compile(b.chain(10, 12, **nodes), "loihi2", dt=b.DT, hardware=chip(tmp_path, neurons_per_core=8))
    for row in model.report.data["cores"]:
        counted = needs(model.config, row["group"], row["first"], row["first"] + row["neurons"])
        assert counted == (row["neurons"], row["synaptic_bytes"], row["in_axons"])
    targets = sorted(c.first for c in model.config.cores if c.group == "o")
    pairs = {
        (s.name, pre, int(np.searchsorted(targets, post, side="right")))
        for s in model.config.synapses
        if s.target == "o"
        for post, pre in zip(*s.matrix(12).nonzero(), strict=True)
    }
    assert sum(r["out_axons"] for r in model.report.data["cores"] if r["group"] == "n") == len(pairs)


def test_out_axons_cut_sources(tmp_path: Path) -> None:
    nodes = {"w": b.linear(20, 4), "n": b.lif(20), "w2": b.linear(12, 20, 2), "o": b.lif(12)}
    limits = {"neurons_per_core": 10, "out_axons_per_core": 12}
    model = nirhw.compile(
        b.chain(4, 12, **nodes), "loihi2", dt=b.DT, hardware=chip(tmp_path, **limits), options={"signs": "joint"}
    )
    assert [c.size for c in model.config.cores if c.group == "n"] == [6, 6, 6, 2]  # each neuron sends to two cores
    x = b.spikes(100, 4, rate=0.4)
    whole = nirhw.compile(b.chain(4, 12, **nodes), "loihi2", dt=b.DT, options={"signs": "joint"})
    np.testing.assert_array_equal(model.emulate(x).spikes, whole.emulate(x).spikes)


def test_several_chips(tmp_path: Path) -> None:
    """Two separate chains on two chips: nothing has to cross, and nothing does."""
    nodes = {}
    edges = []
    for k in ("a", "b"):
        nodes |= {f"w{k}": b.linear(12, 4, 1), f"n{k}": b.lif(12), f"v{k}": b.linear(12, 12, 2), f"o{k}": b.lif(12)}
        edges += [("in", f"w{k}"), (f"w{k}", f"n{k}"), (f"n{k}", f"v{k}"), (f"v{k}", f"o{k}")]
    graph = b.graph(4, 12, nodes, [*edges, ("oa", "out")])
    graph.nodes["out2"] = nir.Output({"output": np.array([12])})
    graph.edges.append(("ob", "out2"))
    file = chip(tmp_path, "loihi2-kapoho-point", cores_per_chip=6, neurons_per_core=4)
    model = nirhw.compile(graph, "loihi2-kapoho-point", dt=b.DT, hardware=file)
    assert {c.chip for c in model.config.cores} == {0, 1}
    homes = {k: {c.chip for c in model.config.cores if c.group.endswith(k)} for k in ("a", "b")}
    assert all(len(chips) == 1 for chips in homes.values())
    assert model.report.data["traffic"]["messages_between_chips"] == 0


def brute_force(traffic: Traffic, n: int, per_chip: int, chips: int) -> int:
    best = 10**9
    for chip_of in itertools.product(range(chips), repeat=n):
        if max(np.bincount(chip_of)) <= per_chip:
            best = min(best, traffic.crossing(np.array(chip_of)))
    return best


@pytest.mark.parametrize("seed", range(6))
def test_few_slices_are_placed_with_the_least_traffic(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, classes = 7, 9
    reach = rng.random((classes, n)) < 0.35
    traffic = Traffic(rng.integers(0, n, classes), rng.integers(1, 20, classes), reach)
    chip_of, bound = _assigned(traffic, n, 4, 2)
    least = brute_force(traffic, n, 4, 2)
    assert traffic.crossing(chip_of) == least and np.bincount(chip_of).max() <= 4
    assert bound <= least


def test_many_slices_stay_within_their_bound() -> None:
    rng = np.random.default_rng(0)
    n = 500
    home = np.arange(n - 50)
    reach = np.zeros((home.size, n), bool)
    for k in home:
        reach[k, k + 1 : k + 40] = True
    traffic = Traffic(home, rng.integers(1, 50, home.size), reach)
    chip_of, bound = _assigned(traffic, n, 30, 1152)
    assert np.bincount(chip_of).max() <= 30 and chip_of.max() == -(-n // 30) - 1
    shuffled = traffic.crossing(rng.permutation(chip_of))
    assert 0 < bound <= traffic.crossing(chip_of) < 0.5 * shuffled
