"""Whether an io map fits a configuration of Speck: every input arrives, every neuron that is named exists."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from nirhw.diagnostics import Diagnostic

from .config import SpeckConfiguration
from .emulator import INPUT_ORDERS, ORDERS

SENSOR_CHANNELS = 2


def map_rules(config: SpeckConfiguration, io_map: Mapping[str, Any]) -> Iterator[Diagnostic]:
    """Yield every way in which ``io_map`` does not fit ``config``, whose own rules hold."""
    for name, entry in io_map["inputs"].items():
        yield from _input_rules(name, entry, config)
    for part in ("outputs", "populations"):
        for name, entry in io_map[part].items():
            yield from _neuron_rules(f"{part} '{name}'", entry, config)
    for name, entry in io_map["outputs"].items():
        hidden = [
            s["core"] for s in entry["slices"] if not _used(config, s["core"]) or not config.cnn_layers[s["core"]].monitor_enable
        ]
        if hidden:
            yield _broken(f"outputs '{name}': core {hidden[0]} is not monitored, so the host does not see its spikes")
    leaks = any(core.leak_enable for core in config.cnn_layers)
    if io_map["tick_rows"] < 0 or leaks != bool(io_map["tick_rows"]):
        yield _broken(f"a tick of the slow clock every {io_map['tick_rows']} rows, and leak is {'on' if leaks else 'off'}")
    if io_map.get("order", ORDERS[0]) not in ORDERS:
        yield _broken(f"order '{io_map['order']}' is none of {', '.join(ORDERS)}")
    if io_map.get("input_order", INPUT_ORDERS[0]) not in INPUT_ORDERS:
        yield _broken(f"input order '{io_map['input_order']}' is none of {', '.join(INPUT_ORDERS)}")
    if not io_map["dt"] > 0:
        yield _broken(f"a time step of {io_map['dt']}")


def _broken(what: str) -> Diagnostic:
    return Diagnostic("NIRHW-E040", f"io map: {what}", fix="compile again; if nirhw made this configuration, report it")


def _used(config: SpeckConfiguration, core: int) -> bool:
    return 0 <= core < len(config.cnn_layers) and config.cnn_layers[core].used


def _input_rules(name: str, entry: Mapping[str, Any], config: SpeckConfiguration) -> Iterator[Diagnostic]:
    channels, height, width = entry["plane"]
    if math.prod(entry["shape"]) > channels * height * width:  # a flat input may leave the last addresses unused
        yield _broken(f"input '{name}' has shape {entry['shape']} and plane {entry['plane']}")
    if not entry["cores"]:
        yield _broken(f"input '{name}' is sent to no core")
    for core, shift, *pooling in entry["cores"]:
        if not _used(config, core):
            yield _broken(f"input '{name}' is sent to core {core}, which is not in use")
            continue
        room, factor = config.cnn_layers[core].dimensions.input_shape, pooling[0] if pooling else 1
        if shift < 0 or channels + shift > room.feature_count:
            yield _broken(f"input '{name}' has channels up to {channels + shift - 1}, core {core} has {room.feature_count}")
        if factor < 1 or height // factor > room.size.y or width // factor > room.size.x:
            yield _broken(f"input '{name}' has {height} x {width} pixels, core {core} takes {room.size.y} x {room.size.x}")
    if entry["dvs"]:
        sent = sorted((d.layer, d.feature_shift) for d in config.dvs_layer.destinations if d.enable)
        if channels > SENSOR_CHANNELS or sent != sorted((c, s) for c, s, *_ in entry["cores"]):
            yield _broken(f"input '{name}' comes from the sensor, whose layer sends to other cores")


def _neuron_rules(label: str, entry: Mapping[str, Any], config: SpeckConfiguration) -> Iterator[Diagnostic]:
    size, found = math.prod(entry["shape"]), []
    for part in entry["slices"]:
        index = np.asarray(part["index"])
        if not _used(config, part["core"]):
            yield _broken(f"{label} lies on core {part['core']}, which is not in use")
            return
        shape = config.cnn_layers[part["core"]].dimensions.output_shape
        if index.shape != (shape.feature_count * shape.size.x * shape.size.y,):
            yield _broken(f"{label} maps {index.size} neurons of core {part['core']}, which has another number")
        found.append(index[index >= 0])
    every = np.concatenate(found) if found else np.zeros(0, np.int64)
    if every.size != size or not np.array_equal(np.sort(every), np.arange(size)):
        yield _broken(f"{label} has {size} neurons, but not each stands on exactly one core")
