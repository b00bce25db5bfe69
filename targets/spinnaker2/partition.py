"""Populations cut into slices that fit a PE: as few as possible.

Slices are runs of neighbours, in whole channels where a convolution asks for it.  Bytes never shrink when a slice grows, so
taking the longest slice that fits, again and again, gives the smallest number of slices.  What a slice costs depends on the
slices of its sources, since each neuron of a source slice that reaches it takes a row; where those are not known yet (cycles),
all neurons of the source count.  The same search with only the rows that hold synapses gives a lower bound; where both agree, the
number is proven to be the smallest for any cut of the sources.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nirhw.diagnostics import Diagnostic, error_of
from nirhw.hardware import Hardware
from nirhw.network import Network, Population
from nirhw.operators import entries
from nirhw.pipeline import Context

from .config import CONVOLUTION, DELAYED, SPIKE_LIST
from .convolve import kernel_of
from .memory import Load, MemoryModel
from .quantize import weight_limit
from .words import words_of

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class CutPopulations:
    """Cut every population into slices."""

    name: str = "cut-populations"

    def apply(self, network: Network, context: Context) -> Network:
        """Fill ``record.cuts``, ``record.record`` and ``record.optimal``; the network stays as it is.

        Raises:
            PlaceError: NIRHW-E035 where a neuron does not fit a PE, or the slices outnumber the PEs.
        """
        record = context.record
        served = set(network.outputs.values())
        found: list[Diagnostic] = []
        # sources without inputs come first: their slices decide which rows others need
        for pop in sorted(network.populations.values(), key=lambda p: bool(network.into(p.name))):
            record.record[pop.name] = _recorded(pop, pop.name in served, context)
            cut = _Cutter(network, pop, context)
            firsts = cut.fewest(cut.fits)
            if firsts is None:
                found.append(_too_large(pop, cut, context))
                continue
            bound = cut.fewest(cut.might_fit)
            if bound is not None and len(bound) == len(firsts):
                record.optimal.add(pop.name)
            record.cuts[pop.name] = [*cut.evened(firsts), pop.size]
        found.extend(_too_many(context))
        if found:
            raise error_of(found)
        return network


def most_neurons(application: str, context: Context) -> int:
    """Return how many neurons of an application may stand on one PE, whatever the memory."""
    if application == SPIKE_LIST:
        return context.hardware["sources_per_pe"]
    most: int = context.options.neurons_per_pe
    return min(context.hardware["targets_per_pe"], most)


def available_pes(hardware: Hardware) -> int:
    """Return how many PEs of the machine can take a slice."""
    from .dead import dead_pes

    dead = [chip for chip, _, _ in dead_pes(hardware)]
    return sum(min(hardware["pes"], hardware["pes_present"] - dead.count(chip)) for chip in range(hardware["chips"]))


def _recorded(pop: Population, is_output: bool, context: Context) -> tuple[str, ...]:
    if pop.rule == "input" or pop.role != "network":
        return ()
    wanted = context.options.record
    spikes = pop.rule == "spiking" and (is_output or wanted != "outputs")
    voltages = wanted == "all" or (is_output and pop.rule != "spiking")
    return ("spikes",) * spikes + ("v",) * voltages


class _Cutter:
    """Bytes of any run of neurons of one population."""

    def __init__(self, network: Network, pop: Population, context: Context):
        self.pop, self.context = pop, context
        record = context.record
        self.application = record.application[pop.name]
        self.model = MemoryModel(context.hardware, context.options.layout, context.options.steps)
        self.grain = record.grain.get(pop.name, 1)
        self.most = most_neurons(self.application, context) // self.grain  # in grains
        self.kernel_bytes = 0  # of one output channel
        self.stuck = 0  # where the last search found no slice that fits
        self._count(network)

    def _count(self, network: Network) -> None:
        """Read the synapses of the population: by target neuron, the row that each lies in."""
        record = self.context.record
        ways = network.into(self.pop.name)
        self.n_sources = len({w.source for w in ways})
        offset, starts = 0, [0]
        rows: dict[str, int] = {}
        for source in dict.fromkeys(w.source for w in ways):
            size = network.populations[source].size
            rows[source] = offset
            starts += [offset + k for k in record.cuts.get(source, [0, size])[1:]]
            offset += size
        self.n_rows, self.groups = offset, np.array(starts)
        self.indptr, self.row = np.zeros(self.pop.size + 1, np.int64), np.zeros(0, np.int64)
        if self.application in CONVOLUTION:
            kernels = [k for w in ways if (k := kernel_of(w.operator))]
            per_channel = sum(k.weight.shape[0] * k.weight.shape[2] * k.weight.shape[3] for k in kernels)
            self.kernel_bytes = per_channel * self.context.hardware["kernel_weight_bytes"]
            # a block for each source slice; as many as channels where the slices are not known yet
            channels = {w.source: network.populations[w.source].size // record.grain[w.source] for w in ways}
            self.n_rows = sum(len(record.cuts[w.source]) - 1 if w.source in record.cuts else channels[w.source] for w in ways)
            return
        if not ways:
            return
        found = [(*entries(w.quantized.weight), rows[w.source]) for w in ways if w.quantized is not None]
        limit = weight_limit(self.application, self.context)
        words = words_of(np.concatenate([weight for _, _, weight, _ in found]), limit)
        post = np.repeat(np.concatenate([post for post, _, _, _ in found]), words)
        row = np.repeat(np.concatenate([pre + first for _, pre, _, first in found]), words)
        self.row = row[np.argsort(post, kind="stable")]
        np.cumsum(np.bincount(post, minlength=self.pop.size), out=self.indptr[1:])

    def lengths(self, first: int, last: int) -> Ints:
        """Return the words of each row that end in neurons ``first`` to ``last - 1``."""
        return np.bincount(self.row[self.indptr[first] : self.indptr[last]], minlength=self.n_rows)

    def rows_fit(self, first: int, last: int) -> bool:
        """Whether the population table can hold the length of the longest row."""
        return self.model.row_words(int(self.lengths(first, last).max(initial=0))) <= self.context.hardware["row_words"]

    def load(self, first: int, last: int, packed: bool = False) -> Load:
        """Return the load of neurons ``first`` to ``last - 1``; ``packed``: without rows that hold no synapse."""
        size, record = last - first, self.context.record.record[self.pop.name]
        if self.application in CONVOLUTION:
            synapses = size // self.grain * self.kernel_bytes
            return self.model.load(self.application, size, record, self.n_sources if packed else self.n_rows, synapses)
        lengths = self.lengths(first, last)
        if packed or not self.n_rows:
            lengths = lengths[lengths > 0]
        else:
            used = np.add.reduceat(lengths, self.groups[:-1]) > 0
            lengths = lengths[np.repeat(used, np.diff(self.groups))]
        return self.model.load(self.application, size, record, lengths.size, self.model.row_bytes(lengths))

    def fits(self, first: int, last: int) -> bool:
        """Whether a run of neurons fits a PE, with the rows of its source slices."""
        load = self.load(first, last)
        return load.total <= load.area and self.rows_fit(first, last)

    def might_fit(self, first: int, last: int) -> bool:
        """Whether a run of neurons fits a PE, however the sources are cut."""
        load = self.load(first, last, packed=True)
        return load.total <= load.area and self.rows_fit(first, last)

    def fewest(self, fits: Callable[[int, int], bool]) -> list[int] | None:
        """Return the first neurons of the fewest slices, longest first; None where not even one grain fits."""
        firsts, at, grain = [], 0, self.grain
        while at < self.pop.size:
            room = min(self.most, (self.pop.size - at) // grain)
            if not fits(at, at + room * grain):
                # the last number of grains that fits: fits is true, then false
                start = at
                room = bisect_left(range(1, room), True, key=lambda n: not fits(start, start + n * grain))
            if not room:
                self.stuck = at
                return None
            firsts.append(at)
            at += room * grain
        return firsts

    def evened(self, firsts: list[int]) -> list[int]:
        """Return as many slices of nearly one size where they fit, else ``firsts``: a step lasts as long as its fullest PE."""
        grains = self.pop.size // self.grain
        even = [grains * k // len(firsts) * self.grain for k in range(len(firsts))]
        ends = [*even[1:], self.pop.size]
        widest = max(b - a for a, b in zip(even, ends, strict=True))
        if widest <= self.most * self.grain and all(self.fits(a, b) for a, b in zip(even, ends, strict=True)):
            return even
        return firsts


def _too_large(pop: Population, cut: _Cutter, context: Context) -> Diagnostic:
    name = f"data_bytes_{context.options.layout}"
    entry = context.hardware.limits[name]
    worst = cut.load(cut.stuck, cut.stuck + cut.grain)
    mend = "give its neurons fewer inputs, or put a layer between"
    if worst.record_step * worst.steps > worst.area // 2:
        mend = f"record fewer steps: options={{'steps': {worst.steps_that_fit or 1}}}"
    what = "a neuron" if cut.grain == 1 else f"a channel of {cut.grain} neurons"
    return Diagnostic(
        "NIRHW-E035",
        f"{what} takes {worst.total} bytes of a PE, {worst.area} are there",
        pop.nodes or (pop.name,),
        f"{worst.table + worst.synapses} bytes of synapses, {worst.record_step * worst.steps} of recordings; "
        f"limit {name} = {int(entry.value)} less the log ({entry.certainty}: {entry.source})",
        mend,
    )


def _too_many(context: Context) -> Iterator[Diagnostic]:
    cuts, hardware = context.record.cuts, context.hardware
    needed, there = sum(len(c) - 1 for c in cuts.values()), available_pes(hardware)
    if needed > there:
        entry = hardware.limits["pes"]
        worst = sorted(cuts, key=lambda n: -len(cuts[n]))[:4]
        yield Diagnostic(
            "NIRHW-E035",
            f"{needed} PEs are needed, {hardware.title} has {there} ({needed - there} too many)",
            tuple(worst),
            f"limit pes = {int(entry.value)} a chip ({entry.certainty}: {entry.source}); most take "
            + ", ".join(f"{n} {len(cuts[n]) - 1}" for n in worst),
            "use fewer synapses, record less, or compile for spinnaker2-48"
            + ("; words with delays: one a weight, options={'words': 1}" if _several_words(context) else ""),
        )


def _several_words(context: Context) -> bool:
    return context.options.words > 1 and not DELAYED.isdisjoint(context.record.application.values())
