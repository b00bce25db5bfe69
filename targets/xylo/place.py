"""Which neuron gets which id.  On Audio 3 and IMU the ids decide what a neuron can do.

Input weights reach the first ``input_reach`` hidden neurons of the network, output weights come from its last
``output_reach``.  So neurons that take input stand first, neurons that feed outputs last, and those that do both where the two
ranges overlap; with closed conditions for when such an order exists.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nirhw.diagnostics import Diagnostic, error_of
from nirhw.limits import over_limit
from nirhw.network import Ints, Network
from nirhw.operators import entries
from nirhw.pipeline import Context


@dataclass(frozen=True)
class PlaceNeurons:
    """Give every neuron its id and every input its channel; check all counts of the quantized network."""

    name: str = "place-neurons"

    def apply(self, network: Network, context: Context) -> Network:
        """Fill ``record.hidden_ids``, ``record.output_ids`` and ``record.channels``.

        Raises:
            PlaceError: NIRHW-E035 with every limit that is exceeded, the fan-out counted over both synapses.
        """
        record = context.record
        members = {
            layer: [p for p in network.populations.values() if record.layer[p.name] == layer]
            for layer in ("input", "hidden", "output")
        }
        for layer, ids in (("input", record.channels), ("output", record.output_ids)):
            first = 0
            for pop in members[layer]:
                ids[pop.name] = np.arange(first, first + pop.size)
                first += pop.size
        start, offset = {}, 0
        for pop in members["hidden"]:
            start[pop.name] = offset
            offset += pop.size
        takes, feeds = _roles(network, start, offset, record.layer)
        free = np.ones(offset, bool)
        for name in record.drives:
            free[start[name] : start[name] + network.populations[name].size] = False
        order, found = _hidden_order(takes[free], feeds[free], context)
        order = np.flatnonzero(free)[order]
        if not free.all():
            order = _with_drivers(order, start, record.drives)
            found += _reach_findings(takes[order], feeds[order], context)
        found += _count_findings(network, start, offset, sum(p.size for p in members["output"]), context)
        if found:
            raise error_of([Diagnostic("NIRHW-E035", d.what, d.nodes, d.why, d.fix) for d in found])
        rank = np.empty(offset, np.int64)
        rank[order] = np.arange(offset)
        for pop in members["hidden"]:
            record.hidden_ids[pop.name] = rank[start[pop.name] : start[pop.name] + pop.size]
        return network


def _roles(
    network: Network, start: dict[str, int], total: int, layer: dict[str, str]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which hidden neurons take input, and which feed outputs, after weights of zero are gone."""
    takes, feeds = np.zeros(total, bool), np.zeros(total, bool)
    for proj in network.projections:
        assert proj.quantized is not None  # the quantize stage set it
        post, pre, _ = entries(proj.quantized.weight)
        if layer[proj.source] == "input":
            takes[start[proj.target] + post] = True
        elif layer[proj.target] == "output":
            feeds[start[proj.source] + pre] = True
    return takes, feeds


def _hidden_order(takes: NDArray[np.bool_], feeds: NDArray[np.bool_], context: Context) -> tuple[Ints, list[Diagnostic]]:
    """Return hidden neurons by id: those that only take input, both, neither, those that only feed outputs."""
    hardware = context.hardware
    reach_in, reach_out = hardware["input_reach"], hardware["output_reach"]
    total = takes.size
    first, both = np.flatnonzero(takes & ~feeds), np.flatnonzero(takes & feeds)
    neither, last = np.flatnonzero(~takes & ~feeds), np.flatnonzero(~takes & feeds)
    found = []
    if first.size + both.size > reach_in:
        found.append(over_limit(hardware, "input_reach", first.size + both.size, "hidden neurons that take input", []))
    if last.size + both.size > reach_out:
        found.append(over_limit(hardware, "output_reach", last.size + both.size, "hidden neurons that feed outputs", []))
    # neurons with neither role fill the room before the overlap, then after it
    before = min(neither.size, max(0, reach_in - first.size - both.size)) if both.size else 0
    if not found and both.size and (neither.size - before) + both.size + last.size > reach_out:
        overlap = max(0, reach_in + reach_out - total)
        found.append(
            Diagnostic(
                "NIRHW-E031",
                f"{both.size} hidden neurons take input and feed outputs, {overlap} of {total} can do both",
                why=f"limits input_reach = {reach_in} and output_reach = {reach_out} ({hardware.limits['input_reach'].source})",
                fix="give the network a layer between input and output, fewer hidden neurons, or compile for xylo-audio2",
            )
        )
    return np.concatenate([first, neither[:before], both, neither[before:], last]), found


def _with_drivers(order: Ints, start: dict[str, int], drives: Mapping[str, tuple[str, Ints]]) -> Ints:
    """Return the order with each driver right before the neuron that it drives."""
    driver = {start[pop] + k: start[name] + n for name, (pop, chosen) in drives.items() for n, k in enumerate(chosen)}
    return np.array([member for k in order for member in (driver.get(int(k)), int(k)) if member is not None], np.int64)


def _reach_findings(takes: NDArray[np.bool_], feeds: NDArray[np.bool_], context: Context) -> list[Diagnostic]:
    """Return findings where neurons in the order of their ids stand beyond the reach of inputs or outputs."""
    hardware, found = context.hardware, []
    lowest_fed = takes.size - int(np.argmax(feeds)) if np.any(feeds) else 0
    highest_taking = int(np.flatnonzero(takes).max(initial=-1)) + 1
    for limit, used, what in (
        ("input_reach", highest_taking, "hidden neurons up to the last that takes input"),
        ("output_reach", lowest_fed, "hidden neurons from the first that feeds outputs"),
    ):
        if used > hardware[limit]:
            found.append(over_limit(hardware, limit, used, what, []))
    return found


def _count_findings(network: Network, start: dict[str, int], hidden: int, outputs: int, context: Context) -> list[Diagnostic]:
    hardware, layer = context.hardware, context.record.layer
    found = []
    if hidden > hardware["hidden_neurons"]:
        found.append(over_limit(hardware, "hidden_neurons", hidden, "hidden neurons", list(start)))
    if outputs > hardware["output_neurons"]:
        found.append(over_limit(hardware, "output_neurons", outputs, "output neurons", list(network.outputs.values())))
    pairs = _recurrent_pairs(network, start, hidden, layer)
    if pairs.nnz > hardware["recurrent_pairs"]:
        found.append(
            over_limit(
                hardware,
                "recurrent_pairs",
                pairs.nnz,
                "recurrent connections",
                list(start),
                "prune weights or use a smaller hidden layer",
            )
        )
    fan_out = np.diff(pairs.indptr)
    worst = int(fan_out.max(initial=0))
    if worst > hardware["fan_out"]:
        crowded = np.flatnonzero(fan_out > hardware["fan_out"])
        nodes = [n for n, s in start.items() if np.any((crowded >= s) & (crowded < s + network.populations[n].size))]
        fix = f"{crowded.size} neuron(s): prune their smallest weights, narrow the next layer, or use xylo-audio3 or xylo-imu"
        found.append(over_limit(hardware, "fan_out", worst, "recurrent targets of one neuron", nodes, fix))
    return found


def _recurrent_pairs(network: Network, start: dict[str, int], total: int, layer: dict[str, str]):  # type: ignore[no-untyped-def]
    """Return the distinct (pre, post) pairs of hidden neurons as a matrix ``[pre, post]`` of ones, over both synapses."""
    from scipy.sparse import csr_array

    pre_all, post_all = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for proj in network.projections:
        if layer[proj.source] == "hidden" and layer[proj.target] == "hidden":
            assert proj.quantized is not None  # the quantize stage set it
            post, pre, _ = entries(proj.quantized.weight)
            pre_all.append(pre + start[proj.source])
            post_all.append(post + start[proj.target])
    pre, post = np.concatenate(pre_all), np.concatenate(post_all)
    pairs = csr_array((np.ones(pre.size, np.int64), (pre, post)), shape=(total, total))
    pairs.sum_duplicates()
    return pairs
