"""The configuration core by core says the same as the configuration as a whole."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nirhw.targets.loihi2.config import CoreSlice, Loihi2Configuration
from nirhw.targets.loihi2.programs import core_programs
from nirhw.targets.loihi2.weights import acting

_spec = importlib.util.spec_from_file_location("random_loihi2", Path(__file__).parents[2] / "oracles" / "random_loihi2.py")
random_loihi2 = importlib.util.module_from_spec(_spec)
sys.modules["random_loihi2"] = random_loihi2
_spec.loader.exec_module(random_loihi2)


def scattered(seed: int) -> Loihi2Configuration:
    """A random network, every group cut in up to three parts, on five cores of two chips."""
    config = random_loihi2.random_case(90_000 + seed, only_lava=False, most=20).config
    rng, cores = np.random.default_rng(seed), []
    for g in config.groups[1:]:
        bounds = np.unique([0, *rng.integers(0, g.size + 1, 2), g.size])
        for first, last in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            place = int(rng.integers(5))
            cores.append(CoreSlice(place // 3, place % 3, g.name, first, last - first))
    return replace(config, cores=tuple(cores[::-1]))


@pytest.mark.parametrize("seed", range(40))
def test_cores_hold_every_synapse_once_and_every_message_finds_its_axon(seed: int) -> None:
    config = scattered(seed)
    programs = core_programs(config)
    assert sorted(s.first for p in programs.cores for s in p.slices) == sorted(c.first for c in config.cores)
    sizes = {g.name: g.size for g in config.groups}
    weights = [np.zeros((sizes[s.target], sizes[s.source]), np.int64) for s in config.synapses]
    delays = [np.zeros_like(w) for w in weights]
    # which group and neuron each number on a core is
    neurons = {}
    axons = {}
    for program in programs.cores:
        place = (program.chip, program.core)
        neurons[place] = [(part.group, part.first + k) for part in program.slices for k in range(part.size)]
        for axon, (connection, source) in enumerate(program.in_axons.tolist()):
            axons[(*place, axon)] = (connection, config.synapses[connection].source, source)
            for k in range(program.start[axon], program.start[axon + 1]):
                group, target = neurons[place][program.target[k]]
                assert group == config.synapses[connection].target
                weights[connection][target, source] += program.weight[k]
                delays[connection][target, source] += program.delay[k]
    for syn, weight, delay in zip(config.synapses, weights, delays, strict=True):
        if syn.kernel is None:
            np.testing.assert_array_equal(weight, replace(syn, weight=acting(syn)).matrix(sizes[syn.target]).toarray())
            np.testing.assert_array_equal(delay, syn.delay_matrix(sizes[syn.target]).toarray())
        else:
            assert not weight.any()
    heard = {}
    for program in programs.cores:
        for neuron, *axon in program.out_axons.tolist():
            assert tuple(axon) not in heard
            heard[tuple(axon)] = neurons[program.chip, program.core][neuron]
    for group, neuron, *axon in programs.host.tolist():
        assert tuple(axon) not in heard
        heard[tuple(axon)] = (config.groups[group].name, neuron)
    assert heard == {axon: (group, source) for axon, (_, group, source) in axons.items()}


def test_the_export_is_plain_data() -> None:
    config = scattered(3)
    data = core_programs(config).to_dict(config)
    text = json.dumps(data, default=lambda array: array.tolist())
    read = json.loads(text)
    assert sum(len(part["neurons"]) for core in read["cores"] for part in core["slices"]) == sum(c.size for c in config.cores)
    assert [c["name"] for c in read["connections"]] == [s.name for s in config.synapses]
