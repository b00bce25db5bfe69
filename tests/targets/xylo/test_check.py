"""The independent check finds every rule that a configuration can break; the configuration survives JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import nirhw
from nirhw.hardware import load_hardware
from nirhw.targets.xylo.check import check
from nirhw.targets.xylo.config import XyloConfiguration
from tests import builders as b

HARDWARE = load_hardware("xylo-audio2")


@pytest.fixture(scope="module")
def model() -> nirhw.CompiledModel:
    net = b.chain(4, 3, w=b.linear(6, 4), n=b.cubalif(6), w2=b.linear(3, 6), o=b.cubalif(3))
    return nirhw.compile(net, "xylo", dt=b.DT, reset="subtract", options={"bursts": "allow"})


def with_neurons(config: XyloConfiguration, **columns: Any) -> XyloConfiguration:
    filled = {k: np.full(config.n_hidden, v) for k, v in columns.items()}
    return replace(config, hidden=replace(config.hidden, neurons=replace(config.hidden.neurons, **filled)))


BROKEN: dict[str, Callable[[XyloConfiguration], XyloConfiguration]] = {
    "threshold 0": lambda c: with_neurons(c, threshold=0),
    "threshold above int16": lambda c: with_neurons(c, threshold=32768),
    "decay above 15": lambda c: with_neurons(c, v_mem_decay=16),
    "decay below 0": lambda c: with_neurons(c, i_syn_decay=-1),
    "bias above 8 bits": lambda c: replace(with_neurons(c, v_mem_bias=128), bias_enable=True),
    "bias switched off": lambda c: replace(with_neurons(c, v_mem_bias=1), bias_enable=False),
    "dead synapse": lambda c: with_neurons(replace(c, hidden=replace(c.hidden, weights=np.ones_like(c.hidden.weights))), i_syn_decay=0),
    "alias to itself": lambda c: replace(with_neurons(c, alias_target=0), hidden=replace(with_neurons(c, alias_target=0).hidden, aliasing=True)),
    "alias switched off": lambda c: with_neurons(c, alias_target=1),
    "shift 8": lambda c: replace(c, input=replace(c.input, weight_bit_shift=8)),
    "second synapse off": lambda c: replace(c, input=replace(c.input, syn2_weights=np.ones_like(c.input.weights))),
    "other chip": lambda c: replace(c, samna_module="xyloImu"),
    "real-time mode": lambda c: replace(c, operation_mode="RealTime"),
    "weights not int8": lambda c: replace(c, input=replace(c.input, weights=c.input.weights.astype(np.int16))),
    "shapes apart": lambda c: replace(c, readout=replace(c.readout, weights=c.readout.weights[:, :2])),
    "too many channels": lambda c: replace(c, input=replace(c.input, weights=np.zeros((17, c.n_hidden), np.int8), syn2_weights=np.zeros((17, c.n_hidden), np.int8))),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_every_broken_rule_is_found(model: nirhw.CompiledModel, name: str) -> None:
    assert check(model.config, model.io_map, HARDWARE) == []
    found = check(BROKEN[name](model.config), model.io_map, HARDWARE)
    assert found and all(d.code == "NIRHW-E040" for d in found)


@pytest.mark.parametrize(
    "change",
    [
        {"inputs": {"in": {"shape": [4], "channels": np.array([0, 1, 2, 2])}}},
        {"inputs": {"in": {"shape": [4], "channels": np.array([0, 1, 2, 9])}}},
        {"outputs": {"out": {"layer": "output", "ids": np.array([0, 1, 7]), "shape": [3]}}},
        {"outputs": {"out": {"layer": "hidden", "ids": np.array([0, 1]), "shape": [3]}}},
        {"input_peak": 16},
    ],
)
def test_the_io_map_is_checked_too(model: nirhw.CompiledModel, change: dict[str, Any]) -> None:
    assert check(model.config, {**model.io_map, **change}, HARDWARE)


@pytest.mark.parametrize("target", ["xylo", "xylo-audio3", "xylo-imu"])
def test_the_configuration_survives_json(target: str) -> None:
    net = b.chain(4, 3, w=b.linear(6, 4), n=b.cubalif(6), w2=b.linear(3, 6), o=b.cubalif(3))
    config = nirhw.compile(net, target, dt=b.DT).config
    again = XyloConfiguration.from_json(config.to_json())
    assert again.to_json() == config.to_json()
    data = config.to_dict()
    group = "reservoir" if target == "xylo" else "hidden"
    assert set(data) == {
        "samna_module",
        "operation_mode",
        "time_resolution_wrap",
        "synapse2_enable",
        "bias_enable",
        "input",
        group,
        "readout",
    }
    assert set(data[group]["neurons"][0]) == {
        "i_syn_decay",
        "i_syn2_decay",
        "v_mem_decay",
        "threshold",
        "v_mem_bias",
        "alias_target",
    }
    np.testing.assert_array_equal(again.hidden.weights, config.hidden.weights)


def test_the_report_counts_the_configuration(model: nirhw.CompiledModel) -> None:
    used = {r["resource"]: r["used"] for r in model.report.data["resources"]}
    config = model.config
    assert used["hidden_neurons"] == 6 and used["output_neurons"] == 3 and used["input_channels"] == 4
    assert used["recurrent_pairs"] == np.count_nonzero(config.hidden.weights) == 0
    assert used["output_reach"] == np.count_nonzero(config.readout.weights.any(axis=1))
    assert model.report.data["neurons"] == 9
    text = model.report.to_text()
    assert "output_neurons" in text and max(map(len, text.splitlines())) <= 110
