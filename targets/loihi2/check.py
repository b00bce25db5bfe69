"""An independent check of a configuration against its hardware description.

Reads the configuration, the io map and the description only, nothing that the lowering kept; so what passes here would be
legal whoever had made it.  Synapses are counted as Loihi 1 packs them, which is an assumption for Loihi 2 (nengo-loihi
e564f66, bits_per_axon): a row of synapses of one source on one core stands in blocks of at most 64, each with a header, rounded
up to whole words; only sparse rows carry the target's index; a shared kernel stands once on each core, by filter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirhw.diagnostics import Diagnostic, VerifyError
from nirhw.hardware import Hardware

from .config import CoreSlice, Group, Loihi2Configuration, Synapses
from .flatten import refuse_unexecutable
from .weights import acting, stored

Int = NDArray[np.int64]


def check(config: Loihi2Configuration, io_map: Mapping[str, Any], hardware: Hardware) -> list[Diagnostic]:
    """Return every rule of the chip that ``config`` breaks, and every way in which ``io_map`` does not fit it."""
    try:
        refuse_unexecutable(config)
    except VerifyError as refused:  # nothing else means much on parts that do not fit together
        return list(refused.diagnostics)
    placed = list(_slice_rules(config, hardware))
    rules = [*_group_rules(config, hardware), *_synapse_rules(config, hardware), *_map_rules(config, io_map)]
    return rules + (placed or list(_core_rules(config, hardware)))


def _broken(what: str, why: str = "", *nodes: str) -> Diagnostic:
    return Diagnostic("NIRHW-E040", what, nodes, why, fix="compile again; if nirhw made this configuration, report it")


def _beyond(hardware: Hardware, name: str, used: int, what: str) -> Iterator[Diagnostic]:
    limit = hardware.limits[name]
    if used > limit.value:
        yield _broken(f"{what}: {used}, at most {int(limit.value)}", f"limit {name} ({limit.certainty}: {limit.source})")


def _outside(name: str, what: str, value: int, low: int, high: int) -> Iterator[Diagnostic]:
    if not low <= value <= high:
        yield _broken(f"{what} is {value}, allowed {low} to {high}", "", name)


def _group_rules(config: Loihi2Configuration, hardware: Hardware) -> Iterator[Diagnostic]:
    for group in config.groups:
        bias = group.bias_mantissa
        if group.model == "input":
            if np.any(bias) or group.du or group.dv or group.threshold:
                yield _broken("an input has registers", "", group.name)
            continue
        yield from _outside(group.name, "du", group.du, -1, hardware["du_max"])
        yield from _outside(group.name, "dv", group.dv, 0, hardware["dv_max"])
        yield from _outside(group.name, "threshold", group.threshold, 0, hardware["threshold_max"])
        yield from _outside(group.name, "bias exponent", group.bias_exponent, 0, hardware["bias_exponent_max"])
        low, high = hardware["bias_mantissa_min"], hardware["bias_mantissa_max"]
        yield from _outside(group.name, "lowest bias mantissa", int(bias.min(initial=0)), low, high)
        yield from _outside(group.name, "highest bias mantissa", int(bias.max(initial=0)), low, high)


def _synapse_rules(config: Loihi2Configuration, hardware: Hardware) -> Iterator[Diagnostic]:
    models = {g.name: g.model for g in config.groups}
    messages: dict[str, set[int]] = {}
    names = [s.name for s in config.synapses]
    if len(set(names)) != len(names):
        yield _broken("two connections share a name")
    for syn in config.synapses:
        messages.setdefault(syn.source, set()).add(syn.message_bits)
        yield from _outside(syn.name, "weight bits", syn.weight_bits, 1, hardware["weight_bits_max"])
        top = hardware["weight_exponent_max"]
        yield from _outside(syn.name, "weight exponent", syn.exponent, -top, top)
        yield from _outside(syn.name, "longest delay", syn.max_delay, 0, hardware["delay_max"])
        yield from _outside(syn.name, "message bits", syn.message_bits, 0, hardware["message_bits_max"])
        given = syn.weight if syn.kernel is None else syn.kernel.weight
        kept = acting(syn) if syn.kernel is None else stored(given, syn.weight_bits, syn.sign_mode)
        if not np.array_equal(given, kept):
            yield _broken("weights hold more than the chip keeps", f"{syn.weight_bits} bits, {syn.sign_mode}", syn.name)
        if syn.kernel is not None and (syn.exponent or syn.max_delay or syn.weight.size):
            yield _broken("a shared kernel takes no exponent, delay or weights besides", "", syn.name)
        pre = np.repeat(np.arange(syn.start.size - 1), np.diff(syn.start)) if syn.start.size else np.zeros(0, np.int64)
        if np.any((np.diff(syn.post) <= 0) & (np.diff(pre) == 0)):
            yield _broken("targets of a source are not in ascending order", "", syn.name)
    for source, bits in messages.items():
        if len(bits) > 1:
            yield _broken("spikes of one group have payloads of several widths", f"{sorted(bits)} bits", source)
        if models[source] != "input" and (0 in bits) == (models[source] == "graded"):
            yield _broken("payloads belong to graded groups and to inputs", f"{sorted(bits)} bits", source)


def _slice_rules(config: Loihi2Configuration, hardware: Hardware) -> Iterator[Diagnostic]:
    """Yield what is wrong with the placement itself: every neuron on one core that exists."""
    cells = {g.name: g for g in config.groups if g.model != "input"}
    held = {name: np.zeros(g.size, np.int64) for name, g in cells.items()}
    for part in config.cores:
        yield from _outside(part.group, "chip", part.chip, 0, hardware["chips"] - 1)
        yield from _outside(part.group, "core", part.core, 0, hardware["cores_per_chip"] - 1)
        group = cells.get(part.group)
        if group is None or part.first < 0 or part.size < 1 or part.first + part.size > group.size:
            yield _broken("a core holds neurons that do not exist", f"{part}", part.group)
        else:
            held[part.group][part.first : part.first + part.size] += 1
    for name, times in held.items():
        if np.any(times != 1):
            yield _broken("not every neuron stands on exactly one core", f"{int((times != 1).sum())} neurons", name)


@dataclass
class _Load:
    """What one core has to hold."""

    neurons: int = 0
    bits: int = 0
    in_axons: int = 0
    out_axons: int = 0


def _core_rules(config: Loihi2Configuration, hardware: Hardware) -> Iterator[Diagnostic]:
    groups = {g.name: g for g in config.groups}
    by_group: dict[str, list[CoreSlice]] = {name: [] for name in groups}
    loads: dict[tuple[int, int], _Load] = {}
    for part in sorted(config.cores, key=lambda p: p.first):
        by_group[part.group].append(part)
        loads.setdefault((part.chip, part.core), _Load()).neurons += part.size
    for syn in config.synapses:
        _add_load(syn, groups, by_group, loads, hardware)
    for (chip, core), load in loads.items():
        where = f"core {core} of chip {chip}"
        yield from _beyond(hardware, "neurons_per_core", load.neurons, f"neurons on {where}")
        yield from _beyond(hardware, "synaptic_bytes_per_core", -(-load.bits // 8), f"bytes of synapses on {where}")
        yield from _beyond(hardware, "in_axons_per_core", load.in_axons, f"in-axons of {where}")
        yield from _beyond(hardware, "out_axons_per_core", load.out_axons, f"out-axons of {where}")


def _add_load(
    syn: Synapses,
    groups: Mapping[str, Group],
    by_group: Mapping[str, list[CoreSlice]],
    loads: Mapping[tuple[int, int], _Load],
    hardware: Hardware,
) -> None:
    """Add to the cores of both ends what one connection takes there."""
    n_pre, targets, sources = groups[syn.source].size, by_group[syn.target], by_group[syn.source]
    if syn.kernel is None:
        starts, post = syn.start, syn.post
    else:
        columns = syn.kernel.matrix().tocsc()
        columns.sort_indices()
        starts, post = columns.indptr, columns.indices
    pre = np.repeat(np.arange(n_pre), np.diff(starts))
    part = np.searchsorted([p.first for p in targets], post, side="right") - 1
    # targets ascend within a source, so the synapses of one source on one slice are neighbours
    pair = pre * len(targets) + part
    first = np.flatnonzero(np.diff(pair, prepend=-1))
    row_pre, row_part = pre[first], part[first]
    synapses = np.diff(first, append=pair.size)
    sizes = np.array([p.size for p in targets], np.int64)
    if syn.kernel is not None:
        bits = np.zeros(len(targets), np.int64)
        filters, plane = syn.kernel.weight.shape[0], syn.kernel.out_shape[1] * syn.kernel.out_shape[2]
        one = _row_bits(np.array([syn.kernel.weight.size // filters]), syn.weight_bits, hardware)[0]
        for k, p in enumerate(targets):
            bits[k] = one * ((p.first + p.size - 1) // plane - p.first // plane + 1)
    else:
        width = syn.weight_bits + (hardware["delay_bits"] if syn.max_delay else 0)
        if syn.kind == "sparse":
            index = np.maximum(np.ceil(np.log2(np.maximum(sizes, 2))).astype(np.int64), hardware["index_bits_min"])
            row_bits = _row_bits(synapses, width + index[row_part], hardware)
        else:
            row_bits = _row_bits(sizes[row_part], width, hardware)
        bits = np.bincount(row_part, row_bits, len(targets)).astype(np.int64)
    axons = np.bincount(row_part, minlength=len(targets))
    for k, p in enumerate(targets):
        loads[p.chip, p.core].bits += int(bits[k])
        loads[p.chip, p.core].in_axons += int(axons[k])
    if sources:  # an input's messages leave from no neuro-core
        holder = np.searchsorted([p.first for p in sources], row_pre, side="right") - 1
        for k, count in enumerate(np.bincount(holder, minlength=len(sources))):
            loads[sources[k].chip, sources[k].core].out_axons += int(count)


def _row_bits(synapses: Int, width: Int | int, hardware: Hardware) -> Int:
    """Return the bits of rows of ``synapses`` synapses of ``width`` bits each, packed in blocks."""
    most, header, word = (hardware[n] for n in ("synapses_per_block", "block_header_bits", "block_word_bits"))
    full, rest = np.divmod(synapses, most)

    def block(n: Int | int) -> Any:
        return -(-(n * width + header) // word) * word

    return np.asarray(full * block(most) + np.where(rest > 0, block(rest), 0), np.int64)


def _map_rules(config: Loihi2Configuration, io_map: Mapping[str, Any]) -> Iterator[Diagnostic]:
    groups = {g.name: g for g in config.groups}
    fed = [entry["group"] for entry in io_map["inputs"].values()]
    if sorted(fed) != sorted(g.name for g in config.groups if g.model == "input"):
        yield _broken("io map: not every input group is fed exactly once")
    for name, entry in io_map["inputs"].items():
        group = groups.get(entry["group"])
        if group is not None and not _covers([group], entry["shape"]):
            yield _broken("io map: an input does not fit its group", "", name)
    for part in ("outputs", "populations"):
        for name, entry in io_map[part].items():
            held = [groups[g] for g in entry["groups"] if g in groups and groups[g].model != "input"]
            size = int(np.prod(entry["shape"]))
            if len(held) != len(entry["groups"]) or not _covers(held, entry["shape"]):
                yield _broken(f"io map: {part} name neurons that do not exist or leave some out", "", name)
            scale = np.asarray(entry["scale"], float)
            if scale.size not in (1, size) or not np.all(np.isfinite(scale)) or np.any(scale == 0):
                yield _broken(f"io map: a scale of {part} is zero, infinite or of the wrong size", "", name)
            if not isinstance(entry["lag"], int) or entry["lag"] < 0:
                yield _broken(f"io map: the lag of {part} is no whole number of steps", "", name)
            if part == "outputs" and entry["kind"] not in ("spikes", "membrane"):
                yield _broken(f"io map: an output of kind {entry['kind']}", "", name)
    if io_map["input_peak"] is not None and io_map["input_peak"] < 1:
        yield _broken(f"io map: input peak is {io_map['input_peak']}")


def _covers(groups: list[Group], shape: Any) -> bool:
    """Whether the groups hold every flat index of ``shape`` once."""
    held = np.concatenate([g.neurons for g in groups]) if groups else np.zeros(0, np.int64)
    return np.array_equal(np.sort(held), np.arange(int(np.prod(shape))))
