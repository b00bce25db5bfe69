"""An independent check of a configuration against its hardware description.

Reads the configuration, the io map and the description only, nothing that the lowering kept; so what passes here would be
legal whoever had made it.  The vendor's Python side lets much of this through: every rule is tested axis by axis.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from nirhw.diagnostics import Diagnostic
from nirhw.hardware import Hardware

from .check_map import map_rules
from .config import READOUT_ID, CnnLayerConfig, CnnLayerDestination, CnnLayerShape, SpeckConfiguration

_SWITCHED_ON = "nirhw's emulator cannot tell what the chip would do with it"


def check(config: SpeckConfiguration, io_map: Mapping[str, Any], hardware: Hardware) -> list[Diagnostic]:
    """Return every rule of the chip that ``config`` breaks, and every way in which ``io_map`` does not fit it."""
    findings = list(_chip_rules(config, hardware))
    for number, core in enumerate(config.cnn_layers):
        findings += _core_shape_rules(number, core)
    if findings:  # the other rules mean nothing where arrays and geometry do not fit together
        return findings
    for number, core in enumerate(config.cnn_layers):
        if core.used:
            findings += _geometry_rules(number, core, hardware)
            findings += _memory_rules(number, core, hardware)
            findings += _range_rules(number, core, hardware)
            findings += _switch_rules(number, core)
    findings += _destination_rules(config, hardware)
    findings += _dvs_rules(config, hardware)
    findings += _readout_rules(config, hardware)
    return findings or list(map_rules(config, io_map))


def broken(what: str, why: str = "") -> Diagnostic:
    """Return the finding that a rule is broken."""
    return Diagnostic("NIRHW-E040", what, why=why, fix="compile again; if nirhw made this configuration, report it")


def _limit(hardware: Hardware, name: str, used: int, what: str) -> Iterator[Diagnostic]:
    entry = hardware.limits[name]
    if used > entry.value:
        yield broken(f"{what}: {used}, at most {int(entry.value)}", f"limit {name} ({entry.certainty}: {entry.source})")


def _chip_rules(config: SpeckConfiguration, hardware: Hardware) -> Iterator[Diagnostic]:
    if config.module != hardware.interface:
        yield broken(f"made for {config.module}, the chip is programmed through {hardware.interface}")
    if len(config.cnn_layers) != hardware["cores"]:
        yield broken(f"{len(config.cnn_layers)} cores, the chip has {hardware['cores']}")


def _core_shape_rules(number: int, core: CnnLayerConfig) -> Iterator[Diagnostic]:
    """Whether the arrays fit the geometry, and the map the convolution."""
    source, target, size = core.dimensions.input_shape, core.dimensions.output_shape, core.dimensions.kernel_size
    wanted = {
        "weights": ((target.feature_count, source.feature_count, size, size), np.int8),
        "biases": ((target.feature_count,), np.int8),
        "neurons_initial_value": ((target.feature_count, target.size.x, target.size.y), np.int16),
    }
    for name, (shape, kind) in wanted.items():
        array = getattr(core, name)
        if array.shape != shape or array.dtype != kind:
            yield broken(f"core {number}: {name} is {array.dtype} {array.shape}, expected {np.dtype(kind)} {shape}")
    if len(core.destinations) != 2:
        yield broken(f"core {number}: {len(core.destinations)} destinations, expected 2")
    if not core.used:
        if any(d.enable for d in core.destinations):
            yield broken(f"core {number} has no neurons, but a destination")
        return
    if min(source.feature_count, source.size.x, source.size.y, target.size.x, target.size.y, size) < 1:
        yield broken(f"core {number}: a map without pixels or channels")
        return
    for axis in ("x", "y"):
        padding, stride = getattr(core.dimensions.padding, axis), getattr(core.dimensions.stride, axis)
        if stride < 1 or padding < 0:
            yield broken(f"core {number}: stride {stride} and padding {padding} in {axis}")
            continue
        room = (getattr(source.size, axis) + 2 * padding - size) // stride + 1
        if getattr(target.size, axis) > room:
            yield broken(
                f"core {number}: a map of {getattr(target.size, axis)} in {axis}, the convolution reaches {max(room, 0)}"
            )


def _geometry_rules(number: int, core: CnnLayerConfig, hardware: Hardware) -> Iterator[Diagnostic]:
    dims, label = core.dimensions, f"core {number}"
    yield from _limit(hardware, "kernel_size", dims.kernel_size, f"{label}: kernel size")
    yield from _limit(hardware, "channels", dims.input_shape.feature_count, f"{label}: input channels")
    yield from _limit(hardware, "channels", dims.output_shape.feature_count, f"{label}: output channels")
    for axis in ("x", "y"):
        stride = getattr(dims.stride, axis)
        yield from _limit(hardware, "input_size", getattr(dims.input_shape.size, axis), f"{label}: input size in {axis}")
        yield from _limit(hardware, "map_size", getattr(dims.output_shape.size, axis), f"{label}: map size in {axis}")
        yield from _limit(hardware, "padding_max", getattr(dims.padding, axis), f"{label}: padding in {axis}")
        yield from _limit(hardware, "stride_max", stride, f"{label}: stride in {axis}")
        if stride & (stride - 1):
            yield broken(f"{label}: stride {stride} in {axis} is no power of two")


def _bits(n: int) -> int:
    """Return the smallest number of bits that can count to ``n``: ceil(log2 n)."""
    return (n - 1).bit_length()


def _memory_rules(number: int, core: CnnLayerConfig, hardware: Hardware) -> Iterator[Diagnostic]:
    dims = core.dimensions
    target = dims.output_shape
    kernel = dims.input_shape.feature_count << (_bits(dims.kernel_size**2) + _bits(target.feature_count))
    neurons = target.feature_count << (_bits(target.size.y) + _bits(target.size.x))
    biases = target.feature_count if core.leak_enable else 0
    yield from _limit(hardware, f"kernel_words_{number}", kernel, f"core {number}: words of kernel memory")
    yield from _limit(hardware, f"neuron_words_{number}", neurons, f"core {number}: words of neuron memory")
    yield from _limit(hardware, f"bias_words_{number}", biases, f"core {number}: words of bias memory")


def _range_rules(number: int, core: CnnLayerConfig, hardware: Hardware) -> Iterator[Diagnostic]:
    for name, kind in (("weights", "weight"), ("biases", "bias"), ("neurons_initial_value", "state")):
        values, low, high = getattr(core, name), hardware[f"{kind}_min"], hardware[f"{kind}_max"]
        if values.size and (values.min() < low or values.max() > high):
            yield broken(f"core {number}: {name} span {values.min()} to {values.max()}, allowed {low} to {high}")
    if not 1 <= core.threshold_high <= hardware["threshold_max"]:
        yield broken(f"core {number}: threshold {core.threshold_high}, allowed 1 to {hardware['threshold_max']}")
    if not hardware["state_min"] <= core.threshold_low <= -1:
        yield broken(
            f"core {number}: lower bound {core.threshold_low}, allowed {hardware['state_min']} to -1",
            "a lower bound of 0 is a known fault of the chip (Speck user manual, section 3.2.4.6.3)",
        )


def _switch_rules(number: int, core: CnnLayerConfig) -> Iterator[Diagnostic]:
    if not core.leak_enable and np.any(core.biases):
        yield broken(f"core {number}: biases are set but the leak is switched off")
    if core.leak_internal_slow_clk_enable:
        yield broken(f"core {number}: a slow clock that counts sensor events is switched on", _SWITCHED_ON)
    if core.input_congestion_balancer_enable:
        yield broken(f"core {number}: the congestion balancer is switched on", f"{_SWITCHED_ON}: its buffer is not documented")
    if core.output_decimator_enable:
        yield broken(
            f"core {number}: the decimator is switched on", f"{_SWITCHED_ON}: which spike of several passes is not documented"
        )


def _destination_rules(config: SpeckConfiguration, hardware: Hardware) -> Iterator[Diagnostic]:
    findings: list[Diagnostic] = []
    for number, core in enumerate(config.cnn_layers):
        size = core.dimensions.output_shape.size
        for to in core.destinations:
            if to.enable:
                label = f"core {number}"
                yield from _limit(hardware, "pooling_max", to.pooling, f"{label}: pooling")
                if to.pooling < 1 or to.pooling & (to.pooling - 1):
                    yield broken(f"{label}: pooling {to.pooling} is no power of two")
                elif to.layer != READOUT_ID:
                    shape = (core.dimensions.output_shape.feature_count, size.y // to.pooling, size.x // to.pooling)
                    findings += _arrival_rules(label, to, shape, config)
    yield from findings
    if not findings and _has_cycle(config):
        yield broken(
            "destinations lead back to a core", "a loop of cores can lock up (sinabs docs, available network architectures)"
        )


def _arrival_rules(
    label: str, to: CnnLayerDestination, shape: tuple[int, int, int], config: SpeckConfiguration
) -> Iterator[Diagnostic]:
    """Whether a map of ``(features, y, x)`` fits the input of the core it is sent to."""
    if not 0 <= to.layer < len(config.cnn_layers) or not config.cnn_layers[to.layer].used:
        yield broken(f"{label}: destination {to.layer} is no core in use")
        return
    room: CnnLayerShape = config.cnn_layers[to.layer].dimensions.input_shape
    if to.feature_shift < 0 or shape[0] + to.feature_shift > room.feature_count:
        last = to.feature_shift + shape[0] - 1
        yield broken(f"{label} sends channels {to.feature_shift} to {last} to core {to.layer}, which has {room.feature_count}")
    if shape[1] > room.size.y or shape[2] > room.size.x:
        yield broken(
            f"{label} sends {shape[1]} x {shape[2]} pixels to core {to.layer}, which takes {room.size.y} x {room.size.x}"
        )


def _has_cycle(config: SpeckConfiguration) -> bool:
    targets = [{d.layer for d in core.destinations if d.enable and d.layer != READOUT_ID} for core in config.cnn_layers]
    left = set(range(len(targets)))
    while free := {k for k in left if not any(k in targets[j] for j in left)}:
        left -= free
    return bool(left)


def _dvs_rules(config: SpeckConfiguration, hardware: Hardware) -> Iterator[Diagnostic]:
    dvs = config.dvs_layer
    if len(dvs.destinations) != hardware["dvs_destinations"]:
        yield broken(f"sensor: {len(dvs.destinations)} destinations, expected {hardware['dvs_destinations']}")
    if not dvs.used:
        return
    sizes = {}
    for axis in ("x", "y"):
        pooling, first, last = (getattr(getattr(dvs, name), axis) for name in ("pooling", "origin", "cut"))
        if not 1 <= pooling <= hardware["pooling_max"] or pooling & (pooling - 1):
            yield broken(f"sensor: pooling {pooling} in {axis}")
            return
        edge = hardware["dvs_size"] // pooling - 1
        if not 0 <= first <= last <= edge:
            yield broken(f"sensor: region {first} to {last} in {axis}, pixels are 0 to {edge} after pooling")
            return
        sizes[axis] = last - first + 1
    if dvs.mirror_diagonal:
        sizes = {"x": sizes["y"], "y": sizes["x"]}
    if not (dvs.on_channel or dvs.off_channel):
        yield broken("sensor: both polarities are switched off")
    for to in dvs.destinations:
        if to.enable:
            if to.pooling != 1:
                yield broken(f"sensor: pooling {to.pooling} at a destination; the sensor has one pooling for all")
            yield from _arrival_rules("sensor", to, (1 if dvs.merge else 2, sizes["y"], sizes["x"]), config)


def _readout_rules(config: SpeckConfiguration, hardware: Hardware) -> Iterator[Diagnostic]:
    readout = config.readout
    sources = [
        (k, core, d) for k, core in enumerate(config.cnn_layers) for d in core.destinations if d.enable and d.layer == READOUT_ID
    ]
    if readout.enable != bool(sources):
        yield broken(
            "the readout is switched on and no core sends to it"
            if readout.enable
            else "a core sends to the readout, which is off"
        )
    if not 0 <= readout.threshold < 1 << 16:
        yield broken(f"readout: threshold {readout.threshold}")
    for name, top in (("readout_configuration_sel", 3), ("output_mode_sel", 3), ("output_neuron_num", 15)):
        if not 0 <= getattr(readout, name) <= top:
            yield broken(f"readout: {name} is {getattr(readout, name)}, allowed 0 to {top}")
    if readout.enable and readout.monitor_enable and any(core.monitor_enable for core in config.cnn_layers):
        yield broken("the host cannot monitor the readout and the spikes of a core at once", "samna docs, readout.monitor_enable")
    last = (hardware["readout_classes"] - 1) * hardware["readout_channel_step"]
    for number, core, to in sources:
        shape = core.dimensions.output_shape
        if readout.readout_configuration_sel != 3 or (shape.size.x, shape.size.y) != (1, 1):
            yield broken(
                f"core {number} sends {shape.size.y} x {shape.size.x} pixels to the readout, expected one (addressing 3)"
            )
        highest = to.feature_shift + shape.feature_count - 1
        if to.feature_shift < 0 or highest > last:
            yield broken(
                f"core {number} sends channels up to {highest} to the readout, which reads 0 to {last}",
                f"{hardware['readout_classes']} classes, each {hardware['readout_channel_step']} channels apart (chip errata)",
            )
