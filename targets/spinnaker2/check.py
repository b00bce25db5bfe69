"""An independent check of a configuration against its hardware description.

Reads the configuration, the io map and the description only, nothing that the lowering kept; so what passes here would be legal
whoever had made it.  Bytes are counted in :mod:`nirhw.targets.spinnaker2.check_memory`, routes are followed in
:mod:`nirhw.targets.spinnaker2.check_routes`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import chain, pairwise
from typing import Any

import numpy as np

from nirhw.diagnostics import Diagnostic
from nirhw.hardware import Hardware

from .board import CHIPS, PES_PER_QUAD, QUADS
from .check_memory import memory_rules
from .check_routes import route_rules
from .config import CONVOLUTION, DELAYED, RECORDS, SPIKE_LIST, Slice, SpiNNaker2Configuration
from .findings import broken, over_limit
from .rules import faults
from .synapses import SynapseBlock


def check(config: SpiNNaker2Configuration, io_map: Mapping[str, Any], hardware: Hardware) -> list[Diagnostic]:
    """Return every rule of the chip that ``config`` breaks, and every way in which ``io_map`` does not fit it."""
    stages: tuple[Callable[[], Iterator[Diagnostic]], ...] = (
        lambda: _slice_rules(config),
        lambda: chain(
            _place_rules(config, hardware), _population_rules(config), _range_rules(config, hardware), _key_rules(config)
        ),
        lambda: chain(route_rules(config, hardware), memory_rules(config, hardware), _map_rules(config, io_map)),
    )
    for rules in stages:  # counts and routes mean nothing where blocks do not fit their slices, or PEs do not exist
        findings = list(rules())
        if findings:
            return findings
    return []


def _slice_rules(config: SpiNNaker2Configuration) -> Iterator[Diagnostic]:
    if not config.slices:
        yield broken("the configuration has no slices")
    for index, part in enumerate(config.slices):
        for what in faults(config, index):
            yield broken(f"slice {index}: {what}", nodes=[part.population])


def _place_rules(config: SpiNNaker2Configuration, hardware: Hardware) -> Iterator[Diagnostic]:
    yield from over_limit(hardware, "chips", config.chips, "chips")
    if config.chips not in (1, len(CHIPS)):
        yield broken(f"a machine of {config.chips} chips", f"machines have 1 or {len(CHIPS)} chips")
    taken: dict[tuple[int, tuple[int, int], int], int] = {}
    for index, part in enumerate(config.slices):
        place = (part.chip, part.quad, part.pe)
        named = f"chip {part.chip}, quad {part.quad}, PE {part.pe}"
        if not 0 <= part.chip < config.chips or part.quad not in QUADS or not 0 <= part.pe < PES_PER_QUAD:
            yield broken(f"slice {index} stands on {named}, which does not exist", nodes=[part.population])
        dead = hardware.limits.get(f"dead_pe_{part.chip}_{part.quad[0]}_{part.quad[1]}_{part.pe}")
        if dead and dead.value:
            yield broken(f"slice {index} stands on {named}, which does not work", dead.source, [part.population])
        if place in taken:
            yield broken(f"slices {taken[place]} and {index} share {named}", nodes=[part.population])
        taken[place] = index
    for chip, used in sorted(Counter(part.chip for part in config.slices).items()):
        yield from over_limit(hardware, "pes", used, f"PEs used on chip {chip}")


def _population_rules(config: SpiNNaker2Configuration) -> Iterator[Diagnostic]:
    members: dict[str, list[Slice]] = {}
    for part in config.slices:
        members.setdefault(part.population, []).append(part)
    for name, parts in members.items():
        ordered = sorted(parts, key=lambda s: s.first)
        if ordered[0].first != 0 or any(a.first + a.size != b.first for a, b in pairwise(ordered)):
            yield broken("the slices of a population overlap or leave a gap", nodes=[name])
        if len({(s.application, s.reset, s.record) for s in parts}) > 1:
            yield broken("the slices of a population differ in application, reset or recording", nodes=[name])
        record = parts[0].record
        if set(record) - set(RECORDS) or len(set(record)) < len(record) or {"v", "v_last"} <= set(record):
            yield broken(f"recording {', '.join(record)} is not possible", "spikes, and one of v and v_last", [name])
        elif parts[0].application == SPIKE_LIST and set(record) - {"spikes"}:
            yield broken("a spike_list has no membrane to record", nodes=[name])


def _range_rules(config: SpiNNaker2Configuration, hardware: Hardware) -> Iterator[Diagnostic]:
    if config.timesteps < 1:
        yield broken(f"a run of {config.timesteps} steps")
    for index, part in enumerate(config.slices):
        where = f"of slice {index}"
        nodes = [part.population]
        most = "sources_per_pe" if part.application == SPIKE_LIST else "targets_per_pe"
        yield from over_limit(hardware, most, part.size, f"neurons {where}", nodes)
        for name in part.parameters:
            if name.endswith("decay"):
                values = part.parameters[name]
                if values.min() < 0 or values.max() > 1:
                    yield broken(f"{name} {where} spans {values.min()} to {values.max()}, allowed 0 to 1", nodes=nodes)
        if part.application not in ("lif", "lif_curr_exp", SPIKE_LIST) and np.any(part.parameters["v_init"]):
            yield broken(f"v_init {where} is set", f"no public use of it in {part.application} is known", nodes)
        limit = "kernel_max" if part.application in CONVOLUTION else "weight_max_no_delay"
        limit = "weight_max_delay" if part.application in DELAYED else limit
        for block in part.blocks:
            weight = block.weight if isinstance(block, SynapseBlock) else block.kernel
            yield from over_limit(hardware, limit, _magnitude(weight), f"as largest weight {where}", nodes)
            if isinstance(block, SynapseBlock):
                yield from over_limit(hardware, "delay_max", int(block.delay.max(initial=0)), f"steps of delay {where}", nodes)


def _magnitude(values: Any) -> int:
    return max(int(values.max(initial=0)), -int(values.min(initial=0)))


def _key_rules(config: SpiNNaker2Configuration) -> Iterator[Diagnostic]:
    spans = []
    for index, part in enumerate(config.slices):
        free = ~part.mask & 0xFFFFFFFF
        if not (0 <= part.key <= 0xFFFFFFFF and 0 <= part.mask <= 0xFFFFFFFF) or part.key & free or free & (free + 1):
            yield broken(f"slice {index}: key {part.key:#x} and mask {part.mask:#x} do not fit", nodes=[part.population])
        elif part.size > free + 1:
            yield broken(
                f"slice {index}: mask {part.mask:#x} leaves too few keys for {part.size} neurons", nodes=[part.population]
            )
        else:
            spans.append((part.key, part.key + free, index))
    spans.sort()
    for (_, last, one), (first, _, other) in pairwise(spans):
        if first <= last:
            yield broken(f"the keys of slices {one} and {other} overlap", nodes=[config.slices[other].population])


def _map_rules(config: SpiNNaker2Configuration, io_map: Mapping[str, Any]) -> Iterator[Diagnostic]:
    if io_map["input_peak"] != 1:
        yield broken("io map: the input peak is not 1", "a spike_list neuron sends at most one spike a step")
    used: list[int] = []
    for part in ("inputs", "outputs", "populations"):
        for name, entry in io_map[part].items():
            slices = [int(k) for k in entry["slices"]]
            if not slices or len(set(slices)) < len(slices) or min(slices) < 0 or max(slices) >= config.n_slices:
                yield broken(f"io map: {part} '{name}' names slices that do not exist, or twice", nodes=[name])
                continue
            named = [config.slices[k] for k in slices]
            if len({s.population for s in named}) > 1 or sum(s.size for s in named) != int(
                np.prod(entry["shape"], dtype=np.int64)
            ):
                yield broken(f"io map: {part} '{name}' does not cover one population of shape {entry['shape']}", nodes=[name])
            if (named[0].application == SPIKE_LIST) != (part == "inputs"):
                yield broken(f"io map: {part} '{name}' is served by {named[0].application}", nodes=[name])
            if part == "inputs":
                used += slices
            if part == "outputs":
                yield from _output_rules(name, entry, named)
    if sorted(used) != [k for k, s in enumerate(config.slices) if s.application == SPIKE_LIST]:
        yield broken("io map: the inputs do not name every spike_list once")


def _output_rules(name: str, entry: Mapping[str, Any], slices: list[Slice]) -> Iterator[Diagnostic]:
    if entry["kind"] not in ("spikes", "voltage"):
        yield broken(f"io map: output '{name}' is of kind {entry['kind']!r}", nodes=[name])
    elif not set(slices[0].record) & ({"spikes"} if entry["kind"] == "spikes" else {"v", "v_last"}):
        yield broken(f"output '{name}' is not recorded", nodes=[name])
    if entry["kind"] == "voltage":
        scale = np.asarray(entry["scale"], np.float64)
        if scale.shape not in ((), (sum(s.size for s in slices),)) or not np.isfinite(scale).all() or np.any(scale == 0):
            yield broken(f"io map: the scale of output '{name}' does not fit", nodes=[name])
