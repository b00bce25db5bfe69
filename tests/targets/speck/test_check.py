"""The checker alone: a legal configuration passes, and every rule is broken once, axis by axis."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
import pytest

from nirhw.hardware import load_hardware
from nirhw.targets.speck.check import check
from nirhw.targets.speck.config import CnnLayerConfig, SpeckConfiguration, Vec2, Vec2Flag
from tests.targets.speck.random_chips import chip_of, core_of, random_chip, shape, to

HARDWARE = load_hardware("speck2f", "speck")


def legal() -> tuple[SpeckConfiguration, dict[str, Any]]:
    """The sensor feeds core 0, which feeds cores 1 and 2; core 2 feeds the readout and is read by the host."""
    first = core_of(np.ones((4, 2, 3, 3)), shape(2, 32, 16), padding=(1, 1), to=(to(1, 4), to(2, 4, 1)), leak_enable=True)
    second = core_of(np.ones((1, 4, 1, 1)), shape(4, 8, 4), to=(to(2),))
    third = core_of(np.ones((5, 5, 8, 8)), shape(5, 8, 4), padding=(0, 2), monitor_enable=True, to=(to(12),))
    config = chip_of(first, second, third)
    dvs = replace(config.dvs_layer, pooling=Vec2(4, 4), cut=Vec2(15, 31), destinations=(to(0), to(0)), on_channel=True)
    dvs = replace(dvs, destinations=(dvs.destinations[0], replace(dvs.destinations[1], enable=False)))
    config = replace(config, dvs_layer=dvs, readout=replace(config.readout, enable=True, threshold=3))
    neurons = {"core": 2, "index": np.arange(5)}
    io_map = {
        "dt": 1.0,
        "input_peak": None,
        "order": "feature",
        "seed": 0,
        "tick_rows": 1,
        "inputs": {"input": {"shape": [2, 32, 16], "plane": [2, 32, 16], "cores": [[0, 0, 1]], "dvs": True}},
        "outputs": {"output": {"shape": [5], "kind": "spikes", "lag": 0, "slices": [neurons]}},
        "populations": {"if": {"shape": [5, 1, 1], "lag": 0, "scale": np.ones(5), "slices": [neurons]}},
    }
    return config, io_map


def changed(value: Any, path: str, new: Any) -> Any:
    """A frozen dataclass, tuple or dict with one entry replaced; ``path`` such as ``cnn_layers.0.dimensions.stride.x``."""
    name, _, rest = path.partition(".")
    if isinstance(value, tuple | list):
        items = list(value)
        items[int(name)] = changed(items[int(name)], rest, new) if rest else new
        return type(value)(items)
    if isinstance(value, dict):
        return {**value, name: changed(value[name], rest, new) if rest else new}  # also a key that is not there yet
    assert is_dataclass(value)
    assert name in {f.name for f in fields(value)}
    part = getattr(value, name)
    return replace(value, **{name: changed(part, rest, new) if rest else new})  # type: ignore[type-var]


def test_a_legal_configuration_passes() -> None:
    config, io_map = legal()
    assert check(config, io_map, HARDWARE) == []


def test_random_chips_without_an_io_map_break_no_rule_of_the_chip() -> None:
    io_map = {"dt": 1.0, "tick_rows": 0, "inputs": {}, "outputs": {}, "populations": {}}
    for seed in range(40):
        config = random_chip(seed)
        leaks = any(core.leak_enable for core in config.cnn_layers)
        quiet = [replace(c, biases=c.biases if c.leak_enable else np.zeros_like(c.biases)) for c in config.cnn_layers]
        config = replace(config, cnn_layers=tuple(quiet))
        assert check(config, {**io_map, "tick_rows": int(leaks)}, HARDWARE) == []


def map_of(features: int, y: int, x: int, weights: np.ndarray, **more: Any) -> CnnLayerConfig:
    return core_of(weights, shape(features, y, x), **more)


def alone(core: CnnLayerConfig) -> SpeckConfiguration:
    return chip_of(core)


#: geometries that the vendor's Python side lets through, and one on each side of every limit
TOO_MUCH: dict[str, Callable[[], CnnLayerConfig]] = {
    "stride in x: 16, at most 8": lambda: map_of(1, 40, 40, np.ones((1, 1, 1, 1)), stride=(1, 16)),
    "stride 3 in x is no power of two": lambda: map_of(1, 9, 9, np.ones((1, 1, 1, 1)), stride=(1, 3)),
    "stride 3 in y is no power of two": lambda: map_of(1, 9, 9, np.ones((1, 1, 1, 1)), stride=(3, 1)),
    "kernel size: 17, at most 16": lambda: map_of(1, 20, 20, np.ones((1, 1, 17, 17))),
    "padding in x: 9, at most 7": lambda: map_of(1, 9, 9, np.ones((1, 1, 1, 1)), padding=(0, 9)),
    "padding in y: 8, at most 7": lambda: map_of(1, 9, 9, np.ones((1, 1, 1, 1)), padding=(8, 0)),
    "output channels: 2048, at most 1024": lambda: map_of(1, 1, 1, np.ones((2048, 1, 1, 1))),
    "input channels: 1025, at most 1024": lambda: map_of(1025, 1, 1, np.ones((1, 1025, 1, 1))),
    "input size in x: 200, at most 128": lambda: map_of(1, 8, 200, np.ones((1, 1, 8, 8)), stride=(1, 8)),
    "input size in y: 129, at most 128": lambda: map_of(1, 129, 8, np.ones((1, 1, 8, 8)), stride=(8, 1)),
    "map size in x: 100, at most 64": lambda: map_of(1, 1, 100, np.ones((1, 1, 1, 1))),
    "map size in y: 65, at most 64": lambda: map_of(1, 65, 1, np.ones((1, 1, 1, 1))),
    "kernel memory: 32768, at most 16384": lambda: map_of(64, 3, 3, np.ones((17, 64, 3, 3))),
    "neuron memory: 69632, at most 65536": lambda: map_of(1, 64, 33, np.ones((17, 1, 1, 1))),
    "threshold 0, allowed 1": lambda: map_of(1, 1, 1, np.ones((1, 1, 1, 1)), threshold=0),
    "threshold 32768, allowed 1": lambda: map_of(1, 1, 1, np.ones((1, 1, 1, 1)), threshold=32768),
    "lower bound 0, allowed": lambda: map_of(1, 1, 1, np.ones((1, 1, 1, 1)), low=0),
    "lower bound -32769, allowed": lambda: map_of(1, 1, 1, np.ones((1, 1, 1, 1)), low=-32769),
    "leak is switched off": lambda: map_of(1, 1, 1, np.ones((1, 1, 1, 1)), biases=np.ones(1, np.int8)),
    "counts sensor events": lambda: map_of(1, 1, 1, np.ones((1, 1, 1, 1)), leak_internal_slow_clk_enable=True),
    "congestion balancer": lambda: map_of(1, 1, 1, np.ones((1, 1, 1, 1)), input_congestion_balancer_enable=True),
    "decimator is switched on": lambda: map_of(1, 1, 1, np.ones((1, 1, 1, 1)), output_decimator_enable=True),
    "pooling: 8, at most 4": lambda: map_of(1, 1, 1, np.ones((1, 1, 1, 1)), to=(to(1, 8),)),
    "pooling 3 is no power of two": lambda: map_of(1, 1, 1, np.ones((1, 1, 1, 1)), to=(to(1, 3),)),
    "destination 5 is no core in use": lambda: map_of(1, 1, 1, np.ones((1, 1, 1, 1)), to=(to(5),)),
    "destination 13 is no core in use": lambda: map_of(1, 1, 1, np.ones((1, 1, 1, 1)), to=(to(13),)),
    "lead back to a core": lambda: map_of(1, 1, 1, np.ones((1, 1, 1, 1)), to=(to(0),)),
}


@pytest.mark.parametrize("said", TOO_MUCH)
def test_each_limit_of_a_core_is_tested_on_its_own(said: str) -> None:
    config = alone(TOO_MUCH[said]())
    found = check(config, {"dt": 1.0, "tick_rows": 0, "inputs": {}, "outputs": {}, "populations": {}}, HARDWARE)
    assert any(said in d.what for d in found), [d.what for d in found]
    assert all(d.code == "NIRHW-E040" for d in found)


def test_memories_are_counted_by_powers_of_two_and_differ_by_core() -> None:
    # 8 channels, kernel 4 x 4, 256 features: 8 * 2**(4 + 8) = 32 Ki words, which only cores 3 to 6 have
    core = map_of(8, 4, 4, np.ones((256, 8, 4, 4)))
    io_map = {"dt": 1.0, "tick_rows": 0, "inputs": {}, "outputs": {}, "populations": {}}
    for number in range(9):
        cores = [CnnLayerConfig.unused()] * 9
        cores[number] = core
        fits = not check(SpeckConfiguration("speck2f", tuple(cores)), io_map, HARDWARE)
        assert fits == (3 <= number <= 6)


BREAKS: list[tuple[str, Any, str]] = [
    ("module", "speck2e", "made for speck2e"),
    ("cnn_layers", (), "0 cores"),
    ("cnn_layers.0.weights", np.ones((4, 2, 3, 2), np.int8), "weights is"),
    ("cnn_layers.0.weights", np.ones((4, 2, 3, 3), np.int16), "weights is"),
    ("cnn_layers.0.biases", np.ones(5, np.int8), "biases is"),
    ("cnn_layers.0.neurons_initial_value", np.ones((4, 32, 16), np.int16), "neurons_initial_value is"),
    ("cnn_layers.0.destinations", (to(1),), "1 destinations"),
    ("cnn_layers.0.dimensions.stride.x", 0, "stride 0"),
    ("cnn_layers.0.dimensions.padding.y", -1, "padding -1"),
    ("cnn_layers.0.dimensions.padding.x", 0, "reaches 14"),
    ("cnn_layers.0.dimensions.input_shape.size.y", 0, "without pixels"),
    ("cnn_layers.8.destinations.0.enable", True, "has no neurons, but a destination"),
    ("cnn_layers.0.destinations.1.feature_shift", 2, "sends channels 2 to 5 to core 2, which has 5"),
    ("cnn_layers.0.destinations.1.feature_shift", -1, "sends channels -1"),
    ("cnn_layers.0.destinations.0.pooling", 2, "sends 16 x 8 pixels to core 1, which takes 8 x 4"),
    ("dvs_layer.pooling.x", 3, "sensor: pooling 3 in x"),
    ("dvs_layer.pooling.y", 8, "sensor: pooling 8 in y"),
    ("dvs_layer.cut.x", 32, "sensor: region 0 to 32 in x"),
    ("dvs_layer.origin.y", 32, "sensor: region 32 to 31 in y"),
    ("dvs_layer.cut.x", 16, "sensor sends 32 x 17 pixels"),
    ("dvs_layer.mirror_diagonal", True, "sensor sends 16 x 32 pixels"),
    ("dvs_layer.destinations.0.feature_shift", 1, "sensor sends channels 1 to 2"),
    ("dvs_layer.destinations.0.pooling", 2, "one pooling for all"),
    ("dvs_layer.destinations.0.layer", 7, "destination 7 is no core in use"),
    ("dvs_layer.destinations", (to(0),), "sensor: 1 destinations"),
    ("readout.enable", False, "readout, which is off"),
    ("cnn_layers.2.destinations.0.enable", False, "no core sends to it"),
    ("readout.threshold", -1, "readout: threshold"),
    ("readout.readout_configuration_sel", 4, "readout_configuration_sel is 4"),
    ("readout.readout_configuration_sel", 2, "expected one (addressing 3)"),
    ("readout.output_mode_sel", 4, "output_mode_sel is 4"),
    ("readout.output_neuron_num", 16, "output_neuron_num is 16"),
    ("readout.monitor_enable", True, "at once"),
    ("cnn_layers.2.destinations.0.feature_shift", 53, "up to 57 to the readout, which reads 0 to 56"),
]


@pytest.mark.parametrize(("path", "value", "said"), BREAKS)
def test_each_rule_of_the_configuration_is_found_broken(path: str, value: Any, said: str) -> None:
    config, io_map = legal()
    found = check(changed(config, path, value), io_map, HARDWARE)
    assert any(said in d.what for d in found), [d.what for d in found]


def test_a_sensor_without_polarities_is_refused() -> None:
    config, io_map = legal()
    dark = replace(config, dvs_layer=replace(config.dvs_layer, on_channel=False, off_channel=False))
    assert [d.what for d in check(dark, io_map, HARDWARE)] == ["sensor: both polarities are switched off"]


def test_mirroring_alone_is_legal() -> None:
    config, io_map = legal()
    assert check(replace(config, dvs_layer=replace(config.dvs_layer, mirror=Vec2Flag(True, True))), io_map, HARDWARE) == []


MAP_BREAKS: list[tuple[str, Any, str]] = [
    ("dt", 0.0, "time step"),
    ("tick_rows", 0, "leak is on"),
    ("tick_rows", -1, "every -1 rows"),
    ("order", "sideways", "order 'sideways'"),
    ("input_order", "backwards", "input order 'backwards'"),
    ("inputs.input.shape", [2, 32, 17], "shape [2, 32, 17]"),
    ("inputs.input.cores", [], "sent to no core"),
    ("inputs.input.cores", [[8, 0, 1]], "core 8, which is not in use"),
    ("inputs.input.cores", [[0, 1, 1]], "channels up to 2, core 0 has 2"),
    ("inputs.input.cores", [[1, 0, 1]], "32 x 16 pixels, core 1 takes 8 x 4"),
    ("inputs.input.cores", [[0, 0, 1], [0, 0, 1]], "whose layer sends to other cores"),
    ("outputs.output.slices.0.core", 3, "core 3, which is not in use"),
    ("outputs.output.slices.0.core", 1, "core 1, which has another number"),
    ("outputs.output.slices.0.index", np.array([0, 1, 2, 3, 3]), "not each stands on exactly one core"),
    ("outputs.output.slices.0.index", np.array([0, 1, 2, 3, -1]), "not each stands on exactly one core"),
    ("populations.if.shape", [6, 1, 1], "not each stands on exactly one core"),
]


@pytest.mark.parametrize(("path", "value", "said"), MAP_BREAKS)
def test_each_rule_of_the_io_map_is_found_broken(path: str, value: Any, said: str) -> None:
    config, io_map = legal()
    found = check(config, changed(io_map, path, value), HARDWARE)
    assert any(said in d.what for d in found), [d.what for d in found]


def test_an_output_that_is_not_monitored_is_found() -> None:
    config, io_map = legal()
    found = check(changed(config, "cnn_layers.2.monitor_enable", False), io_map, HARDWARE)
    assert ["not monitored" in d.what for d in found] == [True]
