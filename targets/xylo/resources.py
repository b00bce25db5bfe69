"""The target's part of the report, counted from the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirhw.hardware import Hardware
from nirhw.limits import usage_row

from .config import NO_ALIAS, XyloConfiguration
from .options import XyloRecord


def resources(config: XyloConfiguration, io_map: Mapping[str, Any], hardware: Hardware, record: XyloRecord) -> dict[str, Any]:
    """Return resources, time constants, tensors, delays, placement and the clock a step needs."""
    return {
        "resources": _usage(config, hardware),
        "time_constants": [f.as_row() for f in record.times],
        "tensors": [asdict(t) for t in record.tensors],
        "delays": record.delays,
        "placement": _placement(io_map, record),
        "clock": _clock(config, io_map, hardware),
    }


def pairs_of(config: XyloConfiguration) -> NDArray[np.bool_]:
    """Return which hidden neurons are connected, ``[pre, post]``, over both synapses."""
    return np.not_equal(config.hidden.weights, 0) | np.not_equal(config.hidden.syn2_weights, 0)


def _usage(config: XyloConfiguration, hardware: Hardware) -> list[dict[str, Any]]:
    pairs = pairs_of(config)
    takes = np.any(config.input.weights, axis=0) | np.any(config.input.syn2_weights, axis=0)
    feeds = np.any(config.readout.weights, axis=1)
    aliases = config.hidden.neurons.alias_target != NO_ALIAS
    used = {
        "input_channels": config.n_inputs,
        "hidden_neurons": config.n_hidden,
        "output_neurons": config.n_outputs,
        "recurrent_pairs": int(pairs.sum()),
        "fan_out": int(pairs.sum(axis=1).max(initial=0)),
        "input_reach": int(takes.sum()),
        "output_reach": int(feeds.sum()),
        "alias_targets": int(aliases.any()),
    }
    return [usage_row(hardware, name, count) for name, count in used.items()]


def _placement(io_map: Mapping[str, Any], record: XyloRecord) -> list[dict[str, Any]]:
    rows = []
    for layer, table in (("input", record.channels), ("hidden", record.hidden_ids), ("output", record.output_ids)):
        for name, ids in table.items():
            rows.append(
                {
                    "population": name,
                    "layer": layer,
                    "neurons": int(ids.size),
                    "first": int(ids.min()),
                    "last": int(ids.max()),
                    "lag": record.lag[name],
                }
            )
    return rows


def _clock(config: XyloConfiguration, io_map: Mapping[str, Any], hardware: Hardware) -> dict[str, Any]:
    """Return the cycles of a step when every channel and neuron is active once, and the clock that they need."""
    c = hardware.cycles
    pairs = pairs_of(config)
    fan_out = float(pairs.sum(axis=1).mean()) if config.n_hidden else 0.0
    cycles = (
        config.n_inputs * (c["per_input_target"] * config.input.weights.shape[1] + c["per_input"])
        + config.n_hidden * (c["per_hidden_target"] * fan_out + c["per_hidden"])
        + (c["per_output_source"] + c["per_output_source_target"] * config.n_outputs) * config.readout.weights.shape[0]
        + c["per_hidden_update"] * config.n_hidden
        + c["per_output_update"] * config.n_outputs
    )
    needed = cycles * c["margin"] / io_map["dt"]
    return {
        "cycles_per_step": float(np.ceil(cycles)),
        "needed_hz": float(needed),
        "available_hz": hardware["clock_max_hz"],
        "real_time": bool(needed <= hardware["clock_max_hz"]),
        "assumption": "every input channel and hidden neuron is active once in a step",
        "model": hardware.cycles_source,
    }
