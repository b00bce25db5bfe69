"""Groups to neuro-cores: as few cores as the limits of neurons, synaptic memory and axons allow.

A core runs one neuron program with one set of registers, so it holds neurons of one group, and those in a row.  What a slice
needs grows with every neuron, hence taking as many as fit, core after core, needs the fewest cores: no other cut into rows does
with less.  Out-axons depend on how the targets are cut; where they bind, sources are cut again until nothing changes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from nirhw.diagnostics import Diagnostic, error_of
from nirhw.hardware import Hardware
from nirhw.network import Network
from nirhw.pipeline import Context

from .config import Group, Int, Synapses
from .legalize import chips_of
from .packing import axon_bits, kernel_bits, synapse_bits

#: rounds of cutting sources again in which earlier cuts are forgotten
FREE_ROUNDS = 4


@dataclass(frozen=True)
class CutGroups:
    """Cut every group into slices of one core."""

    name: str = "cut-groups"

    def apply(self, network: Network, context: Context) -> Network:
        """Fill ``record.cuts``.

        Raises:
            PlaceError: NIRHW-E035 where a neuron is too large for a core, or there are too few cores.
        """
        cells = {g.name: g for g in context.record.groups if g.model != "input"}
        demands = {name: _Demand(g, context) for name, g in cells.items()}
        cuts = {name: _cut(cells[name], d, None, context) for name, d in demands.items()}
        for round_ in itertools.count():
            fan = _fan_out(cells, cuts, context)
            crowded = [n for n, bounds in cuts.items() if _busiest(fan[n], bounds) > context.hardware["out_axons_per_core"]]
            if not crowded:
                break
            for name in crowded:
                again = _cut(cells[name], demands[name], fan[name], context)
                # after a few rounds earlier cuts stay, so that there is an end
                cuts[name] = again if round_ < FREE_ROUNDS else sorted({*cuts[name], *again})
        context.record.cuts.update(cuts)
        total, room = sum(len(c) - 1 for c in cuts.values()), chips_of(context) * context.hardware["cores_per_chip"]
        if total > room:
            largest = sorted(cuts, key=lambda n: -len(cuts[n]))[:6]
            entry = context.hardware.limits["cores_per_chip"]
            raise error_of(
                [
                    Diagnostic(
                        "NIRHW-E035",
                        f"{total} neuro-cores are needed, {chips_of(context)} chip(s) have {room} ({total - room} too many)",
                        tuple(dict.fromkeys(cells[n].population for n in largest)),
                        f"limit cores_per_chip = {int(entry.value)} ({entry.certainty}: {entry.source})",
                        "prune weights, use fewer weight bits, or choose a board with more chips",
                    )
                ]
            )
        return network


class _Demand:
    """What slices of one group need of a core."""

    def __init__(self, group: Group, context: Context):
        self._hardware: Hardware = context.hardware
        self._ways = [s for s in context.record.synapses if s.target == group.name]
        self._rows = [_by_post(syn, group.size) for syn in self._ways]

    def of(self, first: int, last: int) -> tuple[int, int]:
        """Return bytes of synapses and in-axons of neurons ``first`` to ``last - 1``."""
        bits = axons = 0
        for syn, rows in zip(self._ways, self._rows, strict=True):
            post_start, pre = rows
            count = np.bincount(pre[post_start[first] : post_start[last]])
            count = count[count > 0].astype(np.int64)
            axons += count.size
            if syn.kernel is not None:
                bits += kernel_bits(syn.kernel, syn.weight_bits, first, last, self._hardware)
                continue
            if syn.kind == "dense":
                count = np.full(count.size, last - first, np.int64)
            width = synapse_bits(syn.weight_bits, syn.max_delay > 0, last - first, syn.kind == "sparse", self._hardware)
            bits += int(axon_bits(count, width, self._hardware).sum())
        return -(-bits // 8), axons


def _by_post(syn: Synapses, n_post: int) -> tuple[Int, Int]:
    """Return where each target's synapses begin, and their sources."""
    if syn.kernel is not None:
        matrix = syn.kernel.matrix()
        return matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64)
    pre = np.repeat(np.arange(syn.start.size - 1), np.diff(syn.start))
    order = np.argsort(syn.post, kind="stable")
    start = np.concatenate([[0], np.cumsum(np.bincount(syn.post, minlength=n_post))])
    return start.astype(np.int64), pre[order]


def _cut(group: Group, demand: _Demand, fan_out: Int | None, context: Context) -> list[int]:
    """Return the bounds of the fewest slices, 0 and the size among them."""
    hardware = context.hardware
    outgoing = None if fan_out is None else np.concatenate([[0], np.cumsum(fan_out)])

    def needs(first: int, last: int) -> Iterator[tuple[str, int]]:
        yield "neurons_per_core", last - first
        memory, axons = demand.of(first, last)
        yield "synaptic_bytes_per_core", memory
        yield "in_axons_per_core", axons
        if outgoing is not None:
            yield "out_axons_per_core", int(outgoing[last] - outgoing[first])

    def beyond(first: int, last: int) -> list[tuple[str, int]]:
        return [(limit, used) for limit, used in needs(first, last) if used > hardware[limit]]

    bounds, guess = [0], hardware["neurons_per_core"]
    while bounds[-1] < group.size:
        first = bounds[-1]
        if found := beyond(first, first + 1):
            raise error_of(_too_large(group, limit, used, hardware) for limit, used in found)
        bounds.append(_furthest(lambda last, first=first: not beyond(first, last), first + 1, first + guess, group.size))  # type: ignore[misc]
        guess = bounds[-1] - first
    return bounds


def _furthest(fits: Callable[[int], bool], good: int, guess: int, end: int) -> int:
    """Return the last end of a slice that fits, where ``good`` does; tried near ``guess`` first, as slices are alike."""
    step, guess = 1, min(max(guess, good), end)
    if guess > good and not fits(guess):
        bad = guess
        while bad - step > good and not fits(bad - step):
            bad, step = bad - step, 2 * step
        good = max(good, bad - step)
    else:
        good, bad = guess, guess + 1
        while bad <= end and fits(bad):
            good, step = bad, 2 * step
            bad = min(good + step, end) if good < end else end + 1
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if fits(middle) else (good, middle)
    return good


def _busiest(fan_out: Int, bounds: list[int]) -> int:
    """Return the most out-axons of a slice."""
    return int(np.add.reduceat(fan_out, bounds[:-1]).max(initial=0))


def _too_large(group: Group, limit: str, used: int, hardware: Hardware) -> Diagnostic:
    entry = hardware.limits[limit]
    return Diagnostic(
        "NIRHW-E035",
        f"one neuron needs {used} of {limit.replace('_', ' ')}, {int(entry.value)} exist",
        (group.population,),
        f"limit {limit} ({entry.certainty}: {entry.source})",
        "prune its synapses, or put a layer between",
    )


def _fan_out(cells: dict[str, Group], cuts: dict[str, list[int]], context: Context) -> dict[str, Int]:
    """Return how many cores each neuron sends to, over all its connections."""
    fan = {name: np.zeros(g.size, np.int64) for name, g in cells.items()}
    for syn in context.record.synapses:
        if syn.source in fan:
            fan[syn.source] += targets_by_slice(syn, fan[syn.source].size, cuts[syn.target]).sum(axis=1)
    return fan


def targets_by_slice(syn: Synapses, n_source: int, bounds: list[int]) -> NDArray[np.bool_]:
    """Return ``[source, slice]``: whether a neuron sends to a slice of the target, whose ``bounds`` begin with 0."""
    if syn.kernel is not None:
        return _kernel_sends(syn, bounds)
    sends = np.zeros((n_source, len(bounds) - 1), bool)
    pre = np.repeat(np.arange(n_source), np.diff(syn.start))
    sends[pre, np.searchsorted(bounds, syn.post, side="right") - 1] = True
    return sends


def _kernel_sends(syn: Synapses, bounds: list[int]) -> NDArray[np.bool_]:
    """Return ``[source, slice]`` of a kernel: whether a neuron sends to any neuron of a slice."""
    assert syn.kernel is not None  # the caller's condition
    matrix = syn.kernel.matrix()
    sends = np.zeros((matrix.shape[1], len(bounds) - 1), bool)
    for k, (first, last) in enumerate(pairwise(bounds)):
        sends[matrix.indices[matrix.indptr[first] : matrix.indptr[last]], k] = True
    return sends
