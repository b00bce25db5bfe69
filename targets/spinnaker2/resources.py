"""The target's part of the report, counted from the configuration."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from nirhw.hardware import Hardware
from nirhw.limits import usage_row

from .config import SPIKE_LIST, SpiNNaker2Configuration
from .memory import Load, MemoryModel
from .options import SpiNNaker2Record
from .partition import available_pes
from .synapses import SynapseBlock


def resources(
    config: SpiNNaker2Configuration, io_map: Mapping[str, Any], hardware: Hardware, record: SpiNNaker2Record
) -> dict[str, Any]:
    """Return resources, time constants, tensors, delays, placement, memory by population, and what is known of time."""
    model = MemoryModel(hardware, config.layout, config.timesteps)
    loads = [model.of(part) for part in config.slices]
    memory, time = _memory(config, loads, record), _time(config, io_map, record)
    return {
        "notes": list(_notes(config, memory, record, time)),
        "resources": _usage(config, hardware, loads),
        "time_constants": [f.as_row() for f in record.times],
        "tensors": [asdict(t) for t in record.tensors],
        "delays": record.delays,
        "placement": _placement(config, record),
        "memory": memory,
        "traffic": dict(record.placement),
        "time": time,
    }


def _usage(config: SpiNNaker2Configuration, hardware: Hardware, loads: list[Load]) -> list[dict[str, Any]]:
    """Return what is used of the PEs of the machine, of the fullest PE and of the fullest router."""
    neurons = [s.size for s in config.slices if s.application != SPIKE_LIST]
    sources = [s.size for s in config.slices if s.application == SPIKE_LIST]
    delays = [int(b.delay.max(initial=0)) for s in config.slices for b in s.blocks if isinstance(b, SynapseBlock)]
    entries = Counter(e.chip for e in config.routing)
    area, log = f"data_bytes_{config.layout}", f"log_bytes_{config.layout}"
    rows = [
        usage_row(hardware, "pes", config.n_slices, available=available_pes(hardware)),
        usage_row(hardware, area, max(load.total for load in loads) + hardware[log]),
        usage_row(hardware, "targets_per_pe", max(neurons, default=0)),
        usage_row(hardware, "sources_per_pe", max(sources, default=0)),
        usage_row(hardware, "router_entries", max(entries.values(), default=0)),
    ]
    if any(delays):
        rows.append(usage_row(hardware, "delay_max", max(delays)))
    return rows


def _placement(config: SpiNNaker2Configuration, record: SpiNNaker2Record) -> list[dict[str, Any]]:
    return [
        {
            "population": part.population,
            "layer": part.application,
            "neurons": part.size,
            "first": part.first,
            "last": part.first + part.size - 1,
            "lag": record.lag[part.population],
            "chip": part.chip,
            "core": f"quad {part.quad[0]},{part.quad[1]} PE {part.pe}",
            "key": f"{part.key:#010x}",
        }
        for part in config.slices
    ]


def _memory(config: SpiNNaker2Configuration, loads: list[Load], record: SpiNNaker2Record) -> list[dict[str, Any]]:
    """Return for each population the bytes of its fullest PE by region, and for how many steps its recordings fit."""
    rows = []
    for name in dict.fromkeys(s.population for s in config.slices):
        own = [load for part, load in zip(config.slices, loads, strict=True) if part.population == name]
        part = next(s for s in config.slices if s.population == name)
        worst = max(own, key=lambda load: load.total)
        fit = [load.steps_that_fit for load in own if load.steps_that_fit is not None]
        rows.append(
            {
                "population": name,
                "slices": len(own),
                "fewest_proven": name in record.optimal,
                "parameters": worst.parameters,
                "table": worst.table,
                "synapses": worst.synapses,
                "recordings": worst.record_step * worst.steps + worst.record_once,
                "bytes": worst.total,
                "available": worst.area,
                "records": ", ".join(part.record),
                "steps_that_fit": min(fit) if fit else "",
            }
        )
    return rows


def _notes(
    config: SpiNNaker2Configuration, memory: list[dict[str, Any]], record: SpiNNaker2Record, time: Mapping[str, Any]
) -> Iterator[str]:
    unproven = [row["population"] for row in memory if not row["fewest_proven"]]
    yield f"{config.n_slices} PEs; " + (
        f"fewer might do for {', '.join(unproven)}" if unproven else "no population can do with fewer"
    )
    fit = [row["steps_that_fit"] for row in memory if row["steps_that_fit"] != ""]
    if fit:
        yield f"memory is set aside for recordings of {config.timesteps} steps; up to {min(fit)} would fit"
    packets, least = record.placement["packets_if_all_fire"], record.placement["packets_lower_bound"]
    method = record.placement["method"]
    yield f"placement: {packets} packets to quads if every neuron fires, {least} at least for any placement ({method})"
    if "time_per_step" in time:
        yield f"time of a step: {time['time_per_step']}"


def _time(config: SpiNNaker2Configuration, io_map: Mapping[str, Any], record: SpiNNaker2Record) -> dict[str, Any]:
    """Return what is known of the time a step takes: nothing public, unless the user measured it."""
    known = {"steps_set_aside": config.timesteps, "step_of_the_network_s": io_map["dt"]}
    if not record.step_seconds:
        return {**known, "time_per_step": "not public; measure it on the board and give it as options={'step_seconds': ...}"}
    return {
        **known,
        "time_per_step_s": record.step_seconds,
        "time_of_run_s": record.step_seconds * config.timesteps,
        "real_time": record.step_seconds <= io_map["dt"],
        "source": "given by the user",
    }
