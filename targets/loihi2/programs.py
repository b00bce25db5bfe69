"""The configuration core by core: which neurons, axons and synapses each holds, and where each neuron's spikes go.

It says nothing that :class:`~.config.Loihi2Configuration` does not say; it is that configuration as somebody who fills the
memories of one core needs it.  Register and memory formats are not public, so the records are ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .config import CoreSlice, Group, Loihi2Configuration, Synapses
from .weights import acting

Int = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class CoreProgram:
    """What one core holds.  Its neurons are numbered over its slices, one after the other.

    Attributes:
        chip, core: where.
        slices: the parts of groups, in the order of their neurons on the core.
        in_axons: connection (its number in the configuration) and source neuron (in its group) of each axon, ``[axon, 2]``.
        start: where each axon's synapses begin, ``(axons + 1,)``; an axon of a shared kernel has none of its own.
        target: neuron on the core, by synapse.
        weight: the weight that acts, by synapse.
        delay: extra steps, by synapse.
        out_axons: neuron on the core, then chip, core and axon that its spikes go to, ``[message, 4]``.
    """

    chip: int
    core: int
    slices: tuple[CoreSlice, ...]
    in_axons: Int
    start: Int
    target: Int
    weight: Int
    delay: Int
    out_axons: Int


@dataclass(frozen=True, eq=False)
class Programs:
    """All cores and what the host sends.

    Attributes:
        cores: ordered by chip and core.
        host: the host's messages: input group (its number in the configuration), neuron, then chip, core and axon,
            ``[message, 5]``.
    """

    cores: tuple[CoreProgram, ...]
    host: Int

    def to_dict(self, config: Loihi2Configuration) -> dict[str, Any]:
        """Return plain data: connections with shared kernels, the host's messages, and all of each core."""
        groups = {g.name: g for g in config.groups}
        return {
            "connections": [_connection(s) for s in config.synapses],
            "inputs": [g.name for g in config.groups if g.model == "input"],
            "host": self.host,
            "cores": [
                {
                    "chip": program.chip,
                    "core": program.core,
                    "slices": [_registers(groups[part.group], part) for part in program.slices],
                    **{name: getattr(program, name) for name in ("in_axons", "start", "target", "weight", "delay", "out_axons")},
                }
                for program in self.cores
            ],
        }


def core_programs(config: Loihi2Configuration) -> Programs:
    """Return what each core of ``config`` holds.

    Axons are numbered on each core in the order of connections, slices and source neurons.
    """
    order = {g.name: k for k, g in enumerate(config.groups)}
    drafts: dict[tuple[int, int], _Draft] = {}
    by_group: dict[str, list[tuple[CoreSlice, int]]] = {g.name: [] for g in config.groups}
    for part in sorted(config.cores, key=lambda p: (p.chip, p.core, order[p.group], p.first)):
        draft = drafts.setdefault((part.chip, part.core), _Draft())
        by_group[part.group].append((part, draft.size))
        draft.slices.append(part)
        draft.size += part.size
    for parts in by_group.values():
        parts.sort(key=lambda entry: entry[0].first)
    host: list[Int] = [np.zeros((0, 5), np.int64)]
    for number, syn in enumerate(config.synapses):
        sources = by_group[syn.source]
        for (part, base), pre, start, post, weight, delay in _rows(syn, config.group(syn.source).size, by_group[syn.target]):
            place = np.tile([part.chip, part.core], (pre.size, 1))
            axons = drafts[part.chip, part.core].add(number, pre, start, base + post - part.first, weight, delay)
            if not sources:
                host.append(np.column_stack([np.full(pre.size, order[syn.source]), pre, place, axons]))
                continue
            holder = np.searchsorted([p.first for p, _ in sources], pre, side="right") - 1
            for k, (source, source_base) in enumerate(sources):
                here = holder == k
                messages = np.column_stack([source_base + pre - source.first, place, axons])[here]
                drafts[source.chip, source.core].out_axons.append(messages)
    return Programs(tuple(draft.program(*place) for place, draft in sorted(drafts.items())), np.concatenate(host))


@dataclass
class _Draft:
    """A core while its connections are added."""

    slices: list[CoreSlice] = field(default_factory=list)
    size: int = 0
    axons: int = 0
    synapses: int = 0
    in_axons: list[Int] = field(default_factory=lambda: [np.zeros((0, 2), np.int64)])
    starts: list[Int] = field(default_factory=list)
    columns: list[Int] = field(default_factory=lambda: [np.zeros((3, 0), np.int64)])
    out_axons: list[Int] = field(default_factory=lambda: [np.zeros((0, 4), np.int64)])

    def add(self, connection: int, pre: Int, start: Int, target: Int, weight: Int, delay: Int) -> Int:
        """Add one axon for each of ``pre``; return their numbers."""
        self.in_axons.append(np.column_stack([np.full(pre.size, connection), pre]))
        self.starts.append(start[:-1] + self.synapses)
        self.columns.append(np.stack([target, weight, delay]))
        self.synapses += weight.size
        self.axons += pre.size
        return np.arange(self.axons - pre.size, self.axons)

    def program(self, chip: int, core: int) -> CoreProgram:
        """Return the finished core."""
        out = np.concatenate(self.out_axons)
        out = out[np.lexsort(out.T[::-1])]
        start = np.concatenate([*self.starts, [self.synapses]]).astype(np.int64)
        target, weight, delay = np.concatenate(self.columns, axis=1)
        return CoreProgram(chip, core, tuple(self.slices), np.concatenate(self.in_axons), start, target, weight, delay, out)


def _rows(
    syn: Synapses, n_pre: int, targets: list[tuple[CoreSlice, int]]
) -> Iterator[tuple[tuple[CoreSlice, int], Int, Int, Int, Int, Int]]:
    """Yield for each slice of the target: the slice, the sources that reach it, and their synapses in it by source."""
    if syn.kernel is None:
        starts, post, weight = syn.start, syn.post, acting(syn)
    else:
        columns = syn.kernel.matrix().tocsc()
        starts, post, weight = columns.indptr, columns.indices.astype(np.int64), columns.data
    delay = np.broadcast_to(syn.delay, weight.shape)
    source = np.repeat(np.arange(n_pre), np.diff(starts))
    # sorted by slice; within one still by source, then target
    part = np.searchsorted([p.first for p, _ in targets], post, side="right") - 1
    order = np.argsort(part, kind="stable")
    ends = np.searchsorted(part[order], np.arange(len(targets) + 1))
    for entry, (first, last) in zip(targets, pairwise(ends), strict=True):
        here = order[first:last]
        counts = np.bincount(source[here], minlength=n_pre)
        pre = np.flatnonzero(counts)
        if syn.kernel is None:
            start = np.concatenate([[0], np.cumsum(counts[pre])]).astype(np.int64)
            yield entry, pre, start, post[here], weight[here], delay[here]
        else:  # the kernel stands on the core once, its axons have no synapses of their own
            none = np.zeros(0, np.int64)
            yield entry, pre, np.zeros(pre.size + 1, np.int64), none, none, none


def _connection(syn: Synapses) -> dict[str, Any]:
    record: dict[str, Any] = {
        name: getattr(syn, name)
        for name in ("name", "source", "target", "kind", "exponent", "weight_bits", "sign_mode", "message_bits")
    }
    if syn.kernel is not None:
        names = ("weight", "in_shape", "out_shape", "stride", "padding", "dilation", "groups")
        record["kernel"] = {name: getattr(syn.kernel, name) for name in names}
    return record


def _registers(group: Group, part: CoreSlice) -> dict[str, Any]:
    window = slice(part.first, part.first + part.size)
    names = ("du", "dv", "threshold", "bias_exponent", "reset_interval", "reset_offset", "payload_shift")
    return {
        "group": group.name,
        "population": group.population,
        "model": group.model,
        "neurons": group.neurons[window],
        "bias_mantissa": group.bias_mantissa[window],
        **{name: getattr(group, name) for name in names},
    }
