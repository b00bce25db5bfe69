"""The target's part of the report, counted from the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from nirhw.hardware import Hardware
from nirhw.limits import usage_row
from nirhw.operators import entries

from .config import LAVA_MODELS, Group, Loihi2Configuration, Synapses
from .options import Loihi2Record
from .packing import axon_bits, kernel_bits, synapse_bits


def resources(config: Loihi2Configuration, io_map: Mapping[str, Any], hardware: Hardware, record: Loihi2Record) -> dict[str, Any]:
    """Return resources, what they assume, time constants, tensors, delays, head-room, register sets, cores and traffic."""
    cores = _cores(config, hardware)
    rows = _usage(config, cores, hardware)
    verdict, assumptions = "feasible under assumptions", _assumptions(config, rows, hardware)
    return {
        "notes": [f"{verdict}: {'; '.join(assumptions)}"],
        "resources": rows,
        "verdict": verdict,
        "assumptions": assumptions,
        "time_constants": [f.as_row() for f in record.times],
        "tensors": [asdict(t) for t in record.tensors],
        "delays": record.delays,
        "head_room": [asdict(h) for h in record.head_room],
        "register_sets": [{"population": n, "wanted": a, "groups": b} for n, (a, b) in sorted(record.splits.items())],
        "placement": _placement(config, io_map),
        "cores": cores,
        "traffic": {
            "messages_between_chips": record.cut[0],
            "lower_bound": record.cut[1],
            "assumption": "every neuron fires once in a step; one message a target chip",
        },
    }


def _assumptions(config: Loihi2Configuration, rows: list[dict[str, Any]], hardware: Hardware) -> list[str]:
    """Return what the verdict rests on and no public source states."""
    found = [f"{r['resource']} = {r['available']}: {r['source']}" for r in rows if r["certainty"] == "inferred"]
    found.append("synapses are packed as on Loihi 1")
    if any(s.kernel is not None for s in config.synapses):
        found.append("the weights of a shared kernel stand once on each core: estimated, not verified")
    programs = sorted({g.model for g in config.groups} - LAVA_MODELS)
    if programs:
        found.append(f"neuron programs that lava lacks and nothing verified: {', '.join(programs)}")
    return found


def _cores(config: Loihi2Configuration, hardware: Hardware) -> list[dict[str, Any]]:
    """Return what every core holds: neurons, bytes of synapses, axons in and out."""
    groups = {g.name: g for g in config.groups}
    into: dict[str, list[Any]] = {}
    out_of: dict[str, list[Any]] = {}
    for syn in config.synapses:
        table = _table(syn, groups)
        into.setdefault(syn.target, []).append((syn, table))
        out_of.setdefault(syn.source, []).append((syn, table))
    bounds = {n: [c.first for c in config.cores if c.group == n] for n in {c.group for c in config.cores}}
    fan = {g.name: np.zeros(g.size, np.int64) for g in config.groups if g.model != "input"}
    for name, ways in out_of.items():
        for syn, (pre, post) in ways:
            if name in fan and pre.size:
                part = np.searchsorted(np.sort(bounds[syn.target]), post, side="right")
                pairs = np.unique(pre * (len(bounds[syn.target]) + 1) + part)
                fan[name] += np.bincount(pairs // (len(bounds[syn.target]) + 1), minlength=fan[name].size)
    rows = []
    for core in config.cores:
        last = core.first + core.size
        bits = axons = 0
        for syn, (pre, post) in into.get(core.group, ()):
            more_bits, more_axons = _demand(syn, pre, post, core.first, last, hardware)
            bits, axons = bits + more_bits, axons + more_axons
        rows.append(
            {
                "chip": core.chip,
                "core": core.core,
                "group": core.group,
                "first": core.first,
                "neurons": core.size,
                "synaptic_bytes": -(-bits // 8),
                "in_axons": axons,
                "out_axons": int(fan[core.group][core.first : last].sum()),
            }
        )
    return rows


def _table(syn: Synapses, groups: Mapping[str, Group]) -> tuple[Any, Any]:
    """Return source and target of every synapse whose weight acts; targets ascending."""
    if syn.kernel is not None:
        post, pre, _ = entries(syn.kernel.matrix())
        return pre, post
    pre = np.repeat(np.arange(groups[syn.source].size), np.diff(syn.start))
    order = np.argsort(syn.post, kind="stable")
    return pre[order], syn.post[order]


def _demand(syn: Synapses, pre: Any, post: Any, first: int, last: int, hardware: Hardware) -> tuple[int, int]:
    """Return bits and in-axons of the synapses that end in neurons ``first`` to ``last - 1``."""
    low, high = np.searchsorted(post, (first, last))
    count = np.bincount(pre[low:high]).astype(np.int64)
    count = count[count > 0]
    if syn.kernel is not None:
        return kernel_bits(syn.kernel, syn.weight_bits, first, last, hardware), int(count.size)
    sparse = syn.kind == "sparse"
    bits = synapse_bits(syn.weight_bits, syn.max_delay > 0, last - first, sparse, hardware)
    stored = count if sparse else np.full(count.size, last - first, np.int64)
    return int(axon_bits(stored, bits, hardware).sum()), int(count.size)


def _usage(config: Loihi2Configuration, cores: list[dict[str, Any]], hardware: Hardware) -> list[dict[str, Any]]:
    chips = {c["chip"] for c in cores}
    used = {
        **({"chips": len(chips)} if hardware["chips"] > 1 else {}),
        "cores_per_chip": max((sum(c["chip"] == k for c in cores) for k in chips), default=0),
        "neurons_per_core": max((c["neurons"] for c in cores), default=0),
        "synaptic_bytes_per_core": max((c["synaptic_bytes"] for c in cores), default=0),
        "in_axons_per_core": max((c["in_axons"] for c in cores), default=0),
        "out_axons_per_core": max((c["out_axons"] for c in cores), default=0),
        "delay_max": max((s.max_delay for s in config.synapses), default=0),
    }
    return [usage_row(hardware, name, count) for name, count in used.items()]


def _placement(config: Loihi2Configuration, io_map: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return which neurons of which population sit on which core; ``first`` and ``last`` are flat indices of the population."""
    groups = {g.name: g for g in config.groups}
    rows = []
    for core in config.cores:
        group = groups[core.group]
        neurons = group.neurons[core.first : core.first + core.size]
        rows.append(
            {
                "population": group.population,
                "layer": f"chip {core.chip} core {core.core}",
                "neurons": core.size,
                "first": int(neurons.min()),
                "last": int(neurons.max()),
                "lag": int(io_map["populations"].get(group.population, {"lag": 0})["lag"]),
            }
        )
    return rows
