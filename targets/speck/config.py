"""The configuration of a Speck chip as plain data, with the field names of samna's ``SpeckConfiguration``.

Names follow samna's reference page of ``speck2f.configuration`` and the Speck user manual (sections 3.2.2 to 3.2.5).  Groups
that nirhw never sets (``dvs_filter``, ``factory_config``) keep samna's defaults and are left out.  Arrays have samna's axes:
``weights[out][in][x][y]``, ``neurons_initial_value[feature][x][y]``, which is NIR's with x and y exchanged.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from functools import lru_cache
from typing import Any, TypeVar, get_type_hints

import numpy as np
from numpy.typing import NDArray

Int8 = NDArray[np.int8]
Int16 = NDArray[np.int16]
Record = TypeVar("Record")

N_CORES = 9
#: ``CnnLayerDestination.layer`` of the readout layer; 0 to 8 are cores
READOUT_ID = 12

#: fields that exist by name only: their type is inferred
INFERRED_FIELDS = (
    "dvs_layer.raw_monitor_enable",
    "readout.internal_slow_clk",
    "readout.output_neuron_num",
)


@dataclass(frozen=True)
class Vec2:
    """Two whole numbers."""

    x: int
    y: int


@dataclass(frozen=True)
class Vec2Flag:
    """Two switches."""

    x: bool
    y: bool


@dataclass(frozen=True)
class CnnLayerShape:
    """Size and number of channels of a map."""

    size: Vec2
    feature_count: int


@dataclass(frozen=True)
class CnnLayerDimensions:
    """Geometry of a core.

    Attributes:
        input_shape: what its sources send, after their pooling.
        output_shape: the map of its neurons, before pooling.
        padding, stride: in x and y.
        kernel_size: side of the square kernel.
    """

    input_shape: CnnLayerShape
    output_shape: CnnLayerShape
    padding: Vec2
    stride: Vec2
    kernel_size: int


@dataclass(frozen=True)
class CnnLayerDestination:
    """Where the spikes of a core go.

    Attributes:
        enable: whether this destination is in use.
        layer: 0 to 8 a core, :data:`READOUT_ID` the readout.
        pooling: x and y of a spike are divided by it, rounding down.
        feature_shift: added to the channel of a spike.
    """

    enable: bool = False
    layer: int = 0
    pooling: int = 1
    feature_shift: int = 0


_UNUSED_DESTINATIONS = (CnnLayerDestination(), CnnLayerDestination())
_NO_SHAPE = CnnLayerShape(Vec2(0, 0), 0)


@dataclass(frozen=True, eq=False)
class CnnLayerConfig:
    """One core: convolution, integrate-and-fire neurons, sum pooling.

    Attributes:
        dimensions: geometry.
        destinations: always two.
        weights: int8, ``[out, in, x, y]``.
        biases: int8 ``[out]``, added to every neuron of the channel at each tick of the slow clock (where ``leak_enable``).
        neurons_initial_value: int16, ``[feature, x, y]``.
        threshold_high: a neuron fires when an update leaves it at or above this.
        threshold_low: lower bound of the state.
        return_to_zero: a spike sets the state to 0, else it subtracts ``threshold_high``.
        leak_enable: whether ticks add the biases.
        leak_internal_slow_clk_enable: ticks come from counted sensor events, else from the host's clock.
        monitor_enable: whether spikes (before pooling) are sent to the host.
        input_congestion_balancer_enable: drop events that arrive while the core is busy.
        output_decimator_enable: pass one spike of several; ``output_decimator_interval`` is the code, 0 to 7.
    """

    dimensions: CnnLayerDimensions
    weights: Int8
    biases: Int8
    neurons_initial_value: Int16
    threshold_high: int
    threshold_low: int
    destinations: tuple[CnnLayerDestination, CnnLayerDestination] = _UNUSED_DESTINATIONS
    return_to_zero: bool = False
    leak_enable: bool = False
    leak_internal_slow_clk_enable: bool = False
    monitor_enable: bool = False
    input_congestion_balancer_enable: bool = False
    output_decimator_enable: bool = False
    output_decimator_interval: int = 0

    @classmethod
    def unused(cls) -> CnnLayerConfig:
        """Return a core that computes nothing: no channels, empty arrays."""
        return cls(
            dimensions=CnnLayerDimensions(_NO_SHAPE, _NO_SHAPE, Vec2(0, 0), Vec2(1, 1), 1),
            weights=np.zeros((0, 0, 1, 1), np.int8),
            biases=np.zeros(0, np.int8),
            neurons_initial_value=np.zeros((0, 0, 0), np.int16),
            threshold_high=1,
            threshold_low=-1,
        )

    @property
    def used(self) -> bool:
        """Whether the core computes something."""
        return self.dimensions.output_shape.feature_count > 0


@dataclass(frozen=True)
class DvsLayerConfig:
    """The layer between the sensor (or events that the host sends to it) and the cores.

    An event passes polarity and merging, pooling, cropping, mirroring (sinabs' order), and then goes to all destinations.

    Attributes:
        merge: both polarities become channel 0.
        on_channel, off_channel: which polarities pass.
        pooling: 1, 2 or 4, in x and y.
        origin, cut: first and last pixel (inclusive) that pass, after pooling; the first becomes (0, 0).
        mirror: flip x, flip y, within the cropped region.
        mirror_diagonal: exchange x and y, after the flips.
        pass_sensor_events: whether the sensor itself feeds the layer.
        monitor_enable, raw_monitor_enable: send the layer's events, or the sensor's, to the host.
        destinations: always two; their ``pooling`` is not used.
    """

    merge: bool = False
    on_channel: bool = True
    off_channel: bool = True
    pooling: Vec2 = Vec2(1, 1)
    origin: Vec2 = Vec2(0, 0)
    cut: Vec2 = Vec2(127, 127)
    mirror: Vec2Flag = Vec2Flag(False, False)
    mirror_diagonal: bool = False
    pass_sensor_events: bool = False
    monitor_enable: bool = False
    raw_monitor_enable: bool = False
    destinations: tuple[CnnLayerDestination, CnnLayerDestination] = _UNUSED_DESTINATIONS

    @classmethod
    def unused(cls) -> DvsLayerConfig:
        """Return a layer that passes nothing on."""
        return cls()

    @property
    def used(self) -> bool:
        """Whether something is sent on."""
        return any(d.enable for d in self.destinations)


@dataclass(frozen=True)
class ReadoutConfig:
    """The readout layer: moving averages of the spikes of 15 classes, and the class of the largest.

    Attributes:
        enable: whether it works.
        monitor_enable, readout_pin_monitor_enable: send its values, or the state of its pins, to the host.
        threshold: an average at or above it raises the interrupt pin.
        readout_configuration_sel: how addresses become classes; 3: one pixel, channel by channel.
        output_mode_sel: 0 off, 1 comparison with the threshold, 2 average of one neuron, 3 average of the largest.
        low_pass_filter_disable: average over one tick of the slow clock; else over 16, or 32.
        low_pass_filter32_not16: 32 ticks rather than 16.
        override_threshold_max: report every tick, whatever the threshold.
        internal_slow_clk: ticks come from counted sensor events.
        output_neuron_num: the neuron of output mode 2.
    """

    enable: bool = False
    monitor_enable: bool = False
    readout_pin_monitor_enable: bool = False
    threshold: int = 0
    readout_configuration_sel: int = 3
    output_mode_sel: int = 0
    low_pass_filter_disable: bool = True
    low_pass_filter32_not16: bool = False
    override_threshold_max: bool = False
    internal_slow_clk: bool = False
    output_neuron_num: int = 0

    @classmethod
    def unused(cls) -> ReadoutConfig:
        """Return a readout that is off."""
        return cls()

    @property
    def window(self) -> int:
        """Ticks of the slow clock that an average spans: 1, 16 or 32."""
        return 1 if self.low_pass_filter_disable else 32 if self.low_pass_filter32_not16 else 16


@dataclass(frozen=True, eq=False)
class SpeckConfiguration:
    """What is written to the chip.

    Attributes:
        module: samna module that programs it, such as ``"speck2f"``.
        cnn_layers: always nine; index = core.
        dvs_layer: what becomes of sensor events.
        readout: on-chip decision.
    """

    module: str
    cnn_layers: tuple[CnnLayerConfig, ...]
    dvs_layer: DvsLayerConfig = field(default_factory=DvsLayerConfig.unused)
    readout: ReadoutConfig = field(default_factory=ReadoutConfig.unused)

    def to_dict(self) -> dict[str, Any]:
        """Return samna's structure as nested dicts and lists, with ``module`` and ``inferred_fields`` beside it."""
        return {**_plain(self), "inferred_fields": list(INFERRED_FIELDS)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> SpeckConfiguration:
        """Rebuild a configuration from :meth:`to_dict`; the two are inverse to each other.

        Raises:
            ValueError: fields that are missing, unknown or of another type, or numbers outside their type.
        """
        given = {name: value for name, value in data.items() if name != "inferred_fields"}
        if not isinstance(given.get("cnn_layers"), Sequence):
            raise ValueError("cnn_layers is no list")
        cores = tuple(_core(core) for core in given["cnn_layers"])
        return cls(**_values(cls, given, {"cnn_layers": cores}))

    def to_json(self) -> str:
        """Return :meth:`to_dict` as JSON text."""
        return json.dumps(self.to_dict(), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> SpeckConfiguration:
        """Rebuild a configuration from :meth:`to_json`."""
        return cls.from_dict(json.loads(text))


def _plain(value: Any) -> Any:
    """Return dataclasses as dicts, tuples and arrays as lists."""
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, np.ndarray):
        return value.tolist()
    return [_plain(v) for v in value] if isinstance(value, tuple) else value


@lru_cache(maxsize=16)
def _types(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _record(kind: type[Record], data: Any) -> Record:
    """Return a dataclass of plain values and nested dataclasses."""
    return kind(**_values(kind, data, {}))


def _values(kind: type, data: Any, done: Mapping[str, Any]) -> dict[str, Any]:
    """Return the constructor's arguments; those of ``done`` are taken from there."""
    types = _types(kind)
    if not isinstance(data, Mapping) or set(data) != set(types):
        raise ValueError(f"{kind.__name__} has the fields {', '.join(types)}")
    return {name: done[name] if name in done else _value(types[name], data[name], name) for name in types}


def _value(kind: Any, value: Any, name: str) -> Any:
    if is_dataclass(kind) and isinstance(kind, type):
        return _record(kind, value)
    if kind in (bool, int, str):
        if type(value) is not kind:
            raise ValueError(f"{name} is no {kind.__name__}")
        return value
    # what is left are pairs of destinations
    if not isinstance(value, Sequence) or len(value) != 2:
        raise ValueError(f"{name} is no list of two")
    return tuple(_record(CnnLayerDestination, v) for v in value)


def _core(data: Any) -> CnnLayerConfig:
    if not isinstance(data, Mapping) or "dimensions" not in data:
        raise ValueError("a core has no dimensions")
    geometry = _record(CnnLayerDimensions, data["dimensions"])
    size, features = geometry.output_shape.size, geometry.output_shape.feature_count
    shapes: dict[str, tuple[tuple[int, ...], type]] = {
        "weights": ((features, geometry.input_shape.feature_count, geometry.kernel_size, geometry.kernel_size), np.int8),
        "biases": ((features,), np.int8),
        "neurons_initial_value": ((features, size.x, size.y), np.int16),
    }
    arrays = {name: _array(data.get(name), shape, kind, name) for name, (shape, kind) in shapes.items()}
    return CnnLayerConfig(**_values(CnnLayerConfig, data, {"dimensions": geometry, **arrays}))


def _array(rows: Any, shape: tuple[int, ...], kind: type, name: str) -> NDArray[Any]:
    """Return nested lists as an array; lists without a number say nothing of their shape, so it is ``shape``."""
    values = np.array(rows)
    if values.size == 0:
        if 0 not in shape:
            raise ValueError(f"{name} is empty")
        return np.zeros(shape, kind)
    limits = np.iinfo(kind)
    if values.dtype.kind != "i" or values.min() < limits.min or values.max() > limits.max:
        raise ValueError(f"{name} holds something that is no {limits.dtype}")
    return values.astype(kind)
