"""The configuration as data: samna's names, exported and read back without loss; what is malformed is refused."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from nirhw.targets.speck.config import (
    INFERRED_FIELDS,
    CnnLayerConfig,
    DvsLayerConfig,
    ReadoutConfig,
    SpeckConfiguration,
    Vec2,
    Vec2Flag,
)
from tests.targets.speck.random_chips import chip_of, core_of, random_chip, shape, to


def full_config() -> SpeckConfiguration:
    """A configuration in which no field has its default."""
    first, second, *rest = random_chip(5).cnn_layers
    dvs = DvsLayerConfig(
        True,
        False,
        False,
        Vec2(2, 4),
        Vec2(1, 2),
        Vec2(20, 30),
        Vec2Flag(True, False),
        True,
        True,
        True,
        True,
        (to(0), to(1, 1, 3)),
    )
    readout = ReadoutConfig(True, True, True, 7, 2, 1, False, True, True, True, 4)
    return SpeckConfiguration("speck2e", (first, second, *rest), dvs, readout)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and a.shape == b.shape and bool(np.array_equal(a, b))
    if hasattr(a, "__dataclass_fields__"):
        return type(a) is type(b) and all(same(getattr(a, n), getattr(b, n)) for n in a.__dataclass_fields__)
    if isinstance(a, tuple):
        return isinstance(b, tuple) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and bool(a == b)


@pytest.mark.parametrize("config", [full_config(), chip_of(), *map(random_chip, range(5))])
def test_json_and_back_is_the_same(config: SpeckConfiguration) -> None:
    assert same(SpeckConfiguration.from_json(config.to_json()), config)
    assert same(SpeckConfiguration.from_dict(config.to_dict()), config)


def test_names_and_axes_are_samnas() -> None:
    weights = np.arange(2 * 3 * 2 * 2).reshape(2, 3, 2, 2)  # out, in, y, x
    data = chip_of(core_of(weights, shape(3, 4, 5), to=(to(12, 2, 1),))).to_dict()
    core = data["cnn_layers"][0]
    assert core["weights"][1][2][1][0] == weights[1, 2, 0, 1]  # samna counts x before y
    assert core["dimensions"]["input_shape"] == {"size": {"x": 5, "y": 4}, "feature_count": 3}
    assert core["dimensions"]["output_shape"] == {"size": {"x": 4, "y": 3}, "feature_count": 2}
    assert core["destinations"][0] == {"enable": True, "layer": 12, "pooling": 2, "feature_shift": 1}
    assert len(core["neurons_initial_value"][0]) == 4
    assert len(data["cnn_layers"]) == 9
    assert set(data) == {"module", "cnn_layers", "dvs_layer", "readout", "inferred_fields"}


def test_inferred_fields_exist_and_are_named_beside_the_rest() -> None:
    data = chip_of().to_dict()
    assert data["inferred_fields"] == list(INFERRED_FIELDS)
    for name in INFERRED_FIELDS:
        group, field = name.split(".")
        assert field in data[group]


def test_unused_cores_say_so() -> None:
    assert not CnnLayerConfig.unused().used
    assert chip_of(core_of(np.zeros((1, 1, 1, 1)), shape(1, 1, 1))).cnn_layers[0].used
    assert not DvsLayerConfig.unused().used
    assert not ReadoutConfig.unused().enable


@pytest.mark.parametrize(("disable", "longer", "window"), [(True, True, 1), (False, False, 16), (False, True, 32)])
def test_the_readout_averages_over_1_16_or_32_ticks(disable: bool, longer: bool, window: int) -> None:
    assert ReadoutConfig(low_pass_filter_disable=disable, low_pass_filter32_not16=longer).window == window


def changed(path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(full_config().to_json())
    place = data
    for key in path[:-1]:
        place = place[key]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return data


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("module",), 3),
        (("cnn_layers",), 3),
        (("cnn_layers", 0), []),
        (("cnn_layers", 0, "threshold_high"), "12"),
        (("cnn_layers", 0, "threshold_high"), 1.0),
        (("cnn_layers", 0, "return_to_zero"), 1),
        (("cnn_layers", 0, "threshold_low"), None),
        (("cnn_layers", 0, "more"), 1),
        (("cnn_layers", 0, "biases"), [128] * 40),
        (("cnn_layers", 0, "biases"), []),
        (("cnn_layers", 0, "biases"), None),
        (("cnn_layers", 0, "weights"), "abc"),
        (("cnn_layers", 0, "destinations"), []),
        (("cnn_layers", 0, "dimensions", "stride"), 1),
        (("dvs_layer", "mirror", "x"), 0),
        (("readout", "enable"), None),
    ],
)
def test_malformed_data_is_refused(path: tuple[Any, ...], value: Any) -> None:
    with pytest.raises(ValueError, match=r".+"):
        SpeckConfiguration.from_dict(changed(path, value))
