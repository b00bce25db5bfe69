"""The target's part of the report, counted from the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirhw.hardware import Hardware
from nirhw.limits import usage_row

from .clock import Step
from .config import NO_ALIAS, XyloConfiguration
from .options import XyloRecord
from .stretch import stretch_of


def resources(config: XyloConfiguration, io_map: Mapping[str, Any], hardware: Hardware, record: XyloRecord) -> dict[str, Any]:
    """Return resources, time constants, responses, tensors, delays, placement and the clock a step needs."""
    return {
        **_time(io_map),
        "resources": _usage(config, hardware),
        "time_constants": [f.as_row() for f in record.times],
        "responses": record.responses,
        "tensors": [asdict(t) for t in record.tensors],
        "delays": record.delays,
        "placement": _placement(io_map, record),
        "clock": _clock(config, io_map, hardware),
    }


def _time(io_map: Mapping[str, Any]) -> dict[str, Any]:
    """Return the step of the network, and a note where it takes several chip steps."""
    dt, steps = io_map["dt"], stretch_of(io_map)
    note = (
        f"time stretch: each step of the network takes {steps} chip steps of {dt / steps:g} s; time constants, delays, lags and "
        "cycles below count chip steps"
    )
    return {"dt": dt, "counts_in_steps": dt == 1.0, **({"notes": [note]} if steps > 1 else {})}


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


def _events(config: XyloConfiguration, hardware: Hardware) -> NDArray[np.float64]:
    """Return the spikes of every hidden neuron in a step in which each is active, ``(hidden,)``: copies, and at least one own."""
    neurons, cap = config.hidden.neurons, hardware["hidden_spikes"]
    own = np.clip(neurons.v_mem_bias // np.maximum(neurons.threshold, 1), 0, cap)
    copies = np.zeros(config.n_hidden)
    senders = np.flatnonzero(neurons.alias_target != NO_ALIAS)
    np.add.at(copies, neurons.alias_target[senders], own[senders])
    return np.asarray(np.clip(np.maximum(own, 1) + copies, 1, cap), np.float64)


def _clock(config: XyloConfiguration, io_map: Mapping[str, Any], hardware: Hardware) -> dict[str, Any]:
    """Return the cycles of a step when every channel and neuron is active once, and the clock that they need."""
    step = Step(config.n_inputs, config.n_hidden, config.n_outputs)
    cycles = step.cycles(_events(config, hardware), pairs_of(config).sum(axis=1), hardware)
    needed = cycles * hardware.cycles["margin"] * stretch_of(io_map) / io_map["dt"]
    return {
        "cycles_per_step": float(np.ceil(cycles)),
        "time_stretch": stretch_of(io_map),
        "needed_hz": float(needed),
        "available_hz": hardware["clock_max_hz"],
        "real_time": bool(needed <= hardware["clock_max_hz"]),
        "assumption": "every input channel and hidden neuron is active once in a step; biases and aliases add their spikes",
        "model": hardware.cycles_source,
    }
