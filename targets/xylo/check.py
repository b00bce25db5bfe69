"""An independent check of a configuration against its hardware description.

Reads the configuration, the io map and the description only, nothing that the lowering kept; so what passes here would be
legal whoever had made it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from nirhw.diagnostics import Diagnostic
from nirhw.hardware import Hardware

from .config import HIDDEN_GROUP, NO_ALIAS, XyloConfiguration
from .options import STRETCH_MOST
from .stretch import stretch_of


def check(config: XyloConfiguration, io_map: Mapping[str, Any], hardware: Hardware) -> list[Diagnostic]:
    """Return every rule of the chip that ``config`` breaks, and every way in which ``io_map`` does not fit it."""
    findings = [*_shape_rules(config, hardware)]
    if findings:  # ranges mean nothing on matrices that do not fit together
        return findings
    return [*_range_rules(config, hardware), *_connection_rules(config, hardware), *_map_rules(config, io_map)]


def _broken(what: str, why: str = "") -> Diagnostic:
    return Diagnostic("NIRHW-E040", what, why=why, fix="compile again; if nirhw made this configuration, report it")


def _limit(hardware: Hardware, name: str, used: int, unit: str) -> Iterator[Diagnostic]:
    entry = hardware.limits[name]
    if used > entry.value:
        yield _broken(f"{used} {unit}, {int(entry.value)} exist", f"limit {name} ({entry.certainty}: {entry.source})")


def _shape_rules(config: XyloConfiguration, hardware: Hardware) -> Iterator[Diagnostic]:
    if config.samna_module != hardware.interface or config.samna_module not in HIDDEN_GROUP:
        yield _broken(f"made for {config.samna_module}, the chip is programmed through {hardware.interface}")
    hidden, outputs = config.n_hidden, config.n_outputs
    columns = config.input.weights.shape[1]
    rows = config.readout.weights.shape[0]
    shapes = {
        "input.syn2_weights": (config.input.syn2_weights.shape, config.input.weights.shape),
        "hidden.weights": (config.hidden.weights.shape, (hidden, hidden)),
        "hidden.syn2_weights": (config.hidden.syn2_weights.shape, (hidden, hidden)),
    }
    for group, size in ((config.hidden.neurons, hidden), (config.readout.neurons, outputs)):
        for name in group.__dataclass_fields__:
            shapes[f"neurons.{name}"] = (getattr(group, name).shape, (size,))
    for name, (got, wanted) in shapes.items():
        if got != wanted:
            yield _broken(f"{name} has shape {got}, expected {wanted}")
    for name in ("input", "hidden", "readout"):
        if getattr(config, name).weights.dtype != np.int8:
            yield _broken(f"{name} weights are not int8")
    if columns > hidden or rows > hidden:
        yield _broken("input columns or readout rows outnumber the hidden neurons")
    yield from _limit(hardware, "input_channels", config.n_inputs, "input channels")
    yield from _limit(hardware, "hidden_neurons", hidden, "hidden neurons")
    yield from _limit(hardware, "output_neurons", outputs, "output neurons")
    yield from _limit(hardware, "input_reach", columns, "hidden neurons with input weights")
    yield from _limit(hardware, "output_reach", rows, "hidden neurons with output weights")


def _range_rules(config: XyloConfiguration, hardware: Hardware) -> Iterator[Diagnostic]:
    ranges = {
        "threshold": (hardware["threshold_min"], hardware["threshold_max"]),
        "v_mem_bias": (hardware["bias_min"], hardware["bias_max"]),
        "v_mem_decay": (0, hardware["decay_max"]),
        "i_syn_decay": (0, hardware["decay_max"]),
        "i_syn2_decay": (0, hardware["decay_max"]),
    }
    for label, group in (("hidden", config.hidden.neurons), ("output", config.readout.neurons)):
        for name, (low, high) in ranges.items():
            values = getattr(group, name, None)
            if values is not None and values.size and (values.min() < low or values.max() > high):
                yield _broken(f"{label} {name} spans {values.min()} to {values.max()}, allowed {low} to {high}")
    for name in ("input", "hidden", "readout"):
        group = getattr(config, name)
        if not 0 <= group.weight_bit_shift <= hardware["weight_shift_max"]:
            yield _broken(f"{name} shift {group.weight_bit_shift} is outside 0 to {hardware['weight_shift_max']}")
        if group.weights.size and group.weights.min() < hardware["weight_min"]:
            yield _broken(f"{name} weights go below {hardware['weight_min']}")
    if config.operation_mode != "AcceleratedTime":
        yield _broken(f"operation mode {config.operation_mode} takes no events from the host")
    if not config.bias_enable and (np.any(config.hidden.neurons.v_mem_bias) or np.any(config.readout.neurons.v_mem_bias)):
        yield _broken("biases are set but switched off")


def _connection_rules(config: XyloConfiguration, hardware: Hardware) -> Iterator[Diagnostic]:
    second = bool(np.any(config.input.syn2_weights) or np.any(config.hidden.syn2_weights))
    if second and not config.synapse2_enable:
        yield _broken("weights of the second synapse are set but switched off")
    if second and hardware["hidden_synapses"] < 2:
        yield _broken("weights of a second synapse on a chip with one")
    pairs = (config.hidden.weights != 0) | (config.hidden.syn2_weights != 0)
    yield from _limit(hardware, "recurrent_pairs", int(pairs.sum()), "recurrent connections")
    yield from _limit(hardware, "fan_out", int(pairs.sum(axis=1).max(initial=0)), "recurrent targets of one neuron")
    takes = np.any(pairs, axis=0)
    takes[: config.input.weights.shape[1]] |= np.any((config.input.weights != 0) | (config.input.syn2_weights != 0), axis=0)
    dead = takes & (config.hidden.neurons.i_syn_decay == 0)
    if np.any(dead & np.any(config.hidden.weights != 0, axis=0)):
        yield _broken("a synapse with decay code 0 loses every event before it is used")
    aliases = config.hidden.neurons.alias_target
    if config.hidden.aliasing != bool(np.any(aliases != NO_ALIAS)):
        yield _broken("aliases and their switch disagree")
    used = aliases[aliases != NO_ALIAS]
    if used.size and (used.min() < 0 or used.max() >= config.n_hidden or np.any(aliases == np.arange(aliases.size))):
        yield _broken("an alias leads to itself or out of the network")


def _map_rules(config: XyloConfiguration, io_map: Mapping[str, Any]) -> Iterator[Diagnostic]:
    sizes = {"hidden": config.n_hidden, "output": config.n_outputs}
    channels = [np.asarray(entry["channels"]) for entry in io_map["inputs"].values()]
    flat = np.concatenate(channels) if channels else np.zeros(0, np.int64)
    if flat.size != np.unique(flat).size or (flat.size and (flat.min() < 0 or flat.max() >= config.n_inputs)):
        yield _broken("io map: input channels overlap or do not exist")
    for part in ("outputs", "populations"):
        for name, entry in io_map[part].items():
            ids = np.asarray(entry["ids"])
            if entry["layer"] not in sizes or (ids.size and (ids.min() < 0 or ids.max() >= sizes[entry["layer"]])):
                yield _broken(f"io map: {part} '{name}' names neurons that do not exist")
            if int(np.prod(entry["shape"])) != ids.size:
                yield _broken(f"io map: {part} '{name}' has shape {entry['shape']} but {ids.size} neurons")
    if not 1 <= io_map["input_peak"] <= 15:
        yield _broken("io map: input peak is outside 1 to 15")
    steps = stretch_of(io_map)
    if not isinstance(steps, int) or not 1 <= steps <= STRETCH_MOST:
        yield _broken(f"io map: time stretch is no whole number from 1 to {STRETCH_MOST}")
