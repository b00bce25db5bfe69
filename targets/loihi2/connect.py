"""Register sets and connection processes: from populations and projections to the configuration's groups and synapses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from nirhw.network import Ints, Network, Population, Projection
from nirhw.pipeline import Context

from .config import Group, Kernel, Model, Synapses, synapses_from_kernel
from .formats import sign_mode
from .packing import axon_bits, synapse_bits
from .structure import SOURCE


@dataclass(frozen=True)
class MakeGroups:
    """Split every population into groups of one register set, and its projections with it."""

    name: str = "make-groups"

    def apply(self, network: Network, context: Context) -> Network:
        """Fill ``record.members``, ``record.groups`` and ``record.synapses``; the network stays as it is."""
        record = context.record
        for pop in network.populations.values():
            record.members[pop.name] = _members(pop)
            record.groups.extend(_groups(pop, context))
            if len(record.members[pop.name]) > 1 and pop.name not in record.splits:
                record.splits[pop.name] = (len(record.members[pop.name]),) * 2
        for proj in network.projections:
            record.synapses.extend(_synapses(network, proj, context))
        return network


def group_names(pop: Population, members: list[Ints]) -> list[str]:
    """Return the names of a population's groups."""
    return [pop.name] if len(members) == 1 else [f"{pop.name}[{k}]" for k in range(len(members))]


def _members(pop: Population) -> list[Ints]:
    """Return the neurons of each register set, flat indices ascending."""
    if pop.rule == "input":
        return [np.arange(pop.size)]
    rows = np.stack([pop.codes["du"], pop.codes["dv"], pop.codes["threshold"]])
    _, index = np.unique(rows, axis=1, return_inverse=True)
    index = index.ravel()
    order = np.argsort(index, kind="stable")
    return np.split(order, np.cumsum(np.bincount(index))[:-1])


def _groups(pop: Population, context: Context) -> list[Group]:
    members, model = context.record.members[pop.name], context.record.models[pop.name]
    made = []
    for name, neurons in zip(group_names(pop, members), members, strict=True):
        if model == "input":
            made.append(Group(name, pop.name, neurons, "input"))
            continue
        register = {k: int(pop.codes[k][neurons[0]]) for k in ("du", "dv", "threshold", "bias_exponent")}
        program: Model = "lif_subtract" if model == "lif_subtract" else "lif"
        made.append(Group(name, pop.name, neurons, program, **register, bias_mantissa=pop.codes["bias_mantissa"][neurons]))
    return made


def _synapses(network: Network, proj: Projection, context: Context) -> list[Synapses]:
    assert proj.quantized is not None  # the quantize stage set it
    source, target = network.populations[proj.source], network.populations[proj.target]
    ends = [(context.record.members[p.name], group_names(p, context.record.members[p.name])) for p in (source, target)]
    peak = context.options.input_peak if source.rule == "input" else 1
    message_bits = int(peak).bit_length() if peak > 1 else 0
    weight = proj.quantized.weight
    if isinstance(weight, Kernel):
        mode = sign_mode(weight.weight)
        if not np.any(weight.weight):
            return []
        return [synapses_from_kernel(proj.name, source.name, target.name, weight, sign_mode=mode, message_bits=message_bits)]
    bits = context.options.weight_bits if proj.source != SOURCE else context.hardware["weight_bits_max"]
    # low bits are dropped by the matrix's own signs: those of all its parts
    made = []
    mode = sign_mode(weight.data)
    (sources, source_names), (targets, target_names) = ends
    for post, target_name in zip(targets, target_names, strict=True):
        rows = weight if len(targets) == 1 else weight[post]
        for pre, source_name in zip(sources, source_names, strict=True):
            part = (rows if len(sources) == 1 else rows[:, pre]).tocsc()
            part.sort_indices()
            if part.nnz == 0:
                continue
            split = len(targets) > 1 or len(sources) > 1
            name = f"{proj.name}:{source_name}->{target_name}" if split else proj.name
            columns = np.repeat(np.arange(part.shape[1]), np.diff(part.indptr))
            delay = _delays(proj, pre[columns], post[part.indices])
            kind = _kind(part, bits, bool(np.any(delay)), context)
            made.append(
                Synapses(
                    name,
                    source_name,
                    target_name,
                    kind,
                    start=part.indptr.astype(np.int64),
                    post=part.indices.astype(np.int64),
                    weight=part.data.astype(np.int64),
                    delay=delay,
                    exponent=proj.quantized.shift,
                    weight_bits=bits,
                    sign_mode=mode,
                    message_bits=message_bits,
                )
            )
    return made


def _delays(proj: Projection, pre: Ints, post: Ints) -> Ints:
    """Return the steps beyond the hop, a number or by synapse."""
    if proj.delay_by == "all":
        return np.asarray(int(proj.delay) - 1, np.int64)
    delay = np.asarray(proj.delay, np.int64)[pre if proj.delay_by == "source" else post] - 1
    return np.asarray(delay[0], np.int64) if np.all(delay == delay[0]) else delay


def _kind(part: Any, bits: int, delayed: bool, context: Context) -> Literal["dense", "sparse"]:
    """Return the cheaper way to store a matrix, all of it on one core."""
    n_post = part.shape[0]
    count = np.diff(part.indptr).astype(np.int64)
    sparse = axon_bits(count, synapse_bits(bits, delayed, n_post, True, context.hardware), context.hardware).sum()
    full = np.full(int((count > 0).sum()), n_post, np.int64)
    dense = axon_bits(full, synapse_bits(bits, delayed, n_post, False, context.hardware), context.hardware).sum()
    return "dense" if dense <= sparse else "sparse"
