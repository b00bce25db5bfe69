"""Slices, keys, routes and places: as few as can be, counted alike by the planner and by the check, on one chip and on 48."""

from __future__ import annotations

import itertools
from dataclasses import replace

import nir
import numpy as np
import pytest

import nirhw
from nirhw.hardware import Hardware, Limit, load_hardware
from nirhw.targets.spinnaker2.board import CHIPS, neighbours
from nirhw.targets.spinnaker2.check import check
from nirhw.targets.spinnaker2.check_memory import slice_bytes
from nirhw.targets.spinnaker2.memory import MemoryModel
from nirhw.targets.spinnaker2.place import cost_of, group_slices
from nirhw.targets.spinnaker2.routes import keys_of, routes
from nirhw.targets.spinnaker2.traffic import Traffic
from tests import builders as b

TARGET = "spinnaker2"


def limited(name: str = "spinnaker2", **values: float) -> Hardware:
    hardware = load_hardware(name)
    return replace(hardware, limits={**hardware.limits, **{k: Limit(v, "a test", "measured") for k, v in values.items()}})


def chip_file(path, **values: float):
    lines = ['name = "mine"', 'based_on = "spinnaker2"', 'family = "spinnaker2"']
    for name, value in values.items():
        lines += [f"[limits.{name}]", f"value = {value}", 'source = "a test"', 'certainty = "measured"']
    (path / "mine.toml").write_text("\n".join(lines))
    return path / "mine.toml"


def sparse(post: int, pre: int, seed: int, share: float) -> nir.Linear:
    rng = np.random.default_rng(seed)
    return nir.Linear(rng.integers(1, 9, (post, pre)) / 8 * (rng.random((post, pre)) < share))


def fewest_by_hand(weight: np.ndarray, area: int, fixed: int) -> int:
    """Return the smallest number of slices of neighbours over all cuts, by dynamic programming over every run."""
    n = len(weight)
    best = [0] + [n + 1] * n
    for last in range(1, n + 1):
        for first in range(last):
            lengths = np.count_nonzero(weight[first:last], axis=0)
            rows = 24 * lengths.size + 4 * int(((lengths + 1) // 2).sum()) if lengths.any() else 0
            if fixed + 20 * (last - first) + rows + 4 * (2 + 1) * 10 <= area and last - first <= 32:
                best[last] = min(best[last], best[first] + 1)
    return best[n]


@pytest.mark.parametrize("seed", range(6))
def test_the_number_of_slices_is_the_smallest(seed: int, tmp_path) -> None:
    rng = np.random.default_rng(seed)
    n_in, n_out = int(rng.integers(5, 30)), int(rng.integers(20, 60))
    layer = sparse(n_out, n_in, seed, float(rng.choice([0.05, 0.3, 1.0])))
    area = int(rng.integers(1500, 4000))
    own = chip_file(tmp_path, data_bytes_new=area, log_bytes_new=0, targets_per_pe=32)
    model = nirhw.compile(b.chain(n_in, n_out, w=layer, n=b.lif(n_out)), TARGET, dt=b.DT, hardware=own, options={"steps": 10})
    slices = [s for s in model.config.slices if s.population == "n"]
    assert len(slices) == fewest_by_hand(layer.weight, area, load_hardware(TARGET)["fixed_bytes"])
    assert sum(s.size for s in slices) == n_out


def mixed_network(seed: int) -> nir.NIRGraph:
    rng = np.random.default_rng(seed)
    n_in, n_a, n_b = (int(n) for n in rng.integers(20, 300, 3))
    nodes = {"w": sparse(n_a, n_in, seed, 0.2), "a": b.cubalif(n_a), "r": sparse(n_a, n_a, seed + 1, 0.05)}
    nodes |= {"v": sparse(n_b, n_a, seed + 2, 0.3), "b": b.lif(n_b)}
    edges = [("in", "w"), ("w", "a"), ("a", "r"), ("r", "a"), ("a", "v"), ("v", "b"), ("b", "out")]
    return b.graph(n_in, n_b, nodes, edges)


@pytest.mark.parametrize("seed", range(5))
def test_the_planning_model_and_the_check_count_the_same_bytes(seed: int) -> None:
    options = {"record": "all", "steps": 20, "layout": ("new", "old")[seed % 2], "application": ("auto", "delay")[seed % 2]}
    model = nirhw.compile(mixed_network(seed), TARGET, dt=b.DT, options=options)
    planner = MemoryModel(model.hardware, model.config.layout, 20)
    for part in model.config.slices:
        assert planner.of(part).total == slice_bytes(part, 20, model.hardware)
    told = {row["population"]: row["bytes"] for row in model.report.data["memory"]}
    for name, most in told.items():
        assert most == max(planner.of(s).total for s in model.config.slices if s.population == name) <= planner.area


@pytest.mark.parametrize("seed", range(3))
def test_slicing_changes_no_spike(seed: int) -> None:
    whole = nirhw.compile(mixed_network(seed), TARGET, dt=b.DT, options={"steps": 1})
    parts = nirhw.compile(mixed_network(seed), TARGET, dt=b.DT, options={"neurons_per_pe": 17, "steps": 1})
    assert parts.config.n_slices > whole.config.n_slices
    x = b.spikes(60, *next(iter(whole.io_map["inputs"].values()))["shape"], rate=0.3)
    one, other = (m.emulate(x, record=["a"]) for m in (whole, parts))
    assert one.spikes.any() and np.array_equal(one.spikes, other.spikes)
    assert np.array_equal(one.states["a"]["v"], other.states["a"]["v"])


def random_traffic(seed: int, n: int) -> Traffic:
    rng = np.random.default_rng(seed)
    targets = tuple(np.flatnonzero(rng.random(n) < 0.35) for _ in range(n))
    size = rng.integers(1, 200, n)
    return Traffic(tuple(f"p{k // 3}" for k in range(n)), np.zeros(n, np.int64), size, targets)


@pytest.mark.parametrize("seed", range(4))
def test_small_placements_are_the_best_of_all(seed: int) -> None:
    graph, rooms = random_traffic(seed, 7), [3, 2, 2]
    groups, bound, method = group_slices(graph, rooms)
    assert method == "exact" and all(groups.count(q) <= room for q, room in enumerate(rooms))
    every = (g for g in itertools.product(range(3), repeat=7) if all(g.count(q) <= r for q, r in enumerate(rooms)))
    best = min(cost_of(graph, list(g)) for g in every)
    assert cost_of(graph, groups) == best >= bound


@pytest.mark.parametrize("n", [40, 148, 500])
def test_large_placements_respect_rooms_and_bound(n: int) -> None:
    graph, rooms = random_traffic(n, n), [4, 3, 4, 2] * n
    groups, bound, _ = group_slices(graph, rooms)
    assert max(np.bincount(groups) - np.array(rooms[: max(groups) + 1])) <= 0
    in_order = np.repeat(np.arange(len(rooms)), rooms)[:n].tolist()
    assert bound <= cost_of(graph, groups) <= cost_of(graph, in_order)


def test_keys_do_not_overlap_and_routes_reach_all_targets_over_48_chips() -> None:
    """Every slice on a random PE of the board; the tree of entries reaches its targets, each chip once."""
    rng = np.random.default_rng(0)
    graph = random_traffic(1, 150)
    chips = rng.integers(0, len(CHIPS), 150)
    places = [(int(chip), (1, 1), 0) for chip in chips]
    keys, mask = keys_of(graph)
    spans = sorted((key, key + int(size) - 1) for key, size in zip(keys, graph.size, strict=True))
    assert all(a[1] < c[0] for a, c in itertools.pairwise(spans)) and all(key & mask == key for key in keys)
    entries = {(e.chip, e.key): e for e in routes(graph, places, keys, mask)}
    for source, targets in enumerate(graph.targets):
        seen, waiting = set(), [places[source][0]] if targets.size else []
        while waiting:
            chip = waiting.pop()
            entry = entries[chip, keys[source]]
            assert chip not in seen and set(entry.chips) <= set(neighbours(chip))
            seen.add(chip)
            assert bool(entry.quads) == (chip in {places[t][0] for t in targets})
            waiting += entry.chips
        assert {places[t][0] for t in targets} <= seen


def test_a_network_over_several_chips_passes_the_check(tmp_path) -> None:
    model = nirhw.compile(mixed_network(0), "spinnaker2-48", dt=b.DT, options={"neurons_per_pe": 1, "steps": 1})
    assert len({s.chip for s in model.config.slices}) > 1
    assert check(model.config, model.io_map, model.hardware) == []
    tight = limited("spinnaker2-48", pes=10)
    assert {d.code for d in check(model.config, model.io_map, tight)} == {"NIRHW-E040"}
    plain = nirhw.compile(mixed_network(0), TARGET, dt=b.DT, options={"steps": 1})
    x = b.spikes(40, *next(iter(plain.io_map["inputs"].values()))["shape"], rate=0.3)
    assert np.array_equal(model.emulate(x).spikes, plain.emulate(x).spikes)


def test_a_large_sparse_network_compiles() -> None:
    """900 neurons with 60 targets each, recurrent: 54,000 synapses."""
    rng = np.random.default_rng(0)
    n = 900
    weight = np.zeros((n, n))
    weight[rng.integers(0, n, (n, 60)), np.arange(n)[:, None]] = rng.normal(0, 0.1, (n, 60))
    nodes = {"w": sparse(n, 50, 0, 0.2), "a": b.lif(n), "r": nir.Linear(weight)}
    network = b.graph(50, n, nodes, [("in", "w"), ("w", "a"), ("a", "r"), ("r", "a"), ("a", "out")])
    model = nirhw.compile(network, "spinnaker2-48", dt=b.DT, options={"steps": 10})
    held = sum(block.n_synapses for s in model.config.slices for block in s.blocks)
    assert all(block.weight.all() for s in model.config.slices for block in s.blocks)  # no word is spent on a zero
    assert held >= 0.97 * (np.count_nonzero(weight) + np.count_nonzero(nodes["w"].weight))
