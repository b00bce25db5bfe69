"""Applications, delays and relays: the network in the chip's own steps.

A hop takes one step, delay ``d`` of a synapse word ``d`` steps more.  Where a target's synapses have no delay field, or seven
steps are too few, relay neurons make up the rest: a relay copies a source one to eight steps later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from nirhw.network import Ints, Membrane, Network, Population, Port, Projection
from nirhw.operators import Sparse, frozen, identity
from nirhw.passes.retime import schedule, unaligned
from nirhw.pipeline import Context

from .config import DELAYED
from .convolve import convolutional

#: threshold of a relay, whose one synapse has weight 1
RELAY_THRESHOLD = 0.5


def hop(projection: Projection) -> int:
    """Return the steps that a spike takes at least: one, whatever the projection."""
    return 1


@dataclass(frozen=True)
class AlignDelays:
    """Choose the application of every population; express delays in the chip's steps, with relays for the rest."""

    name: str = "align-delays"

    def apply(self, network: Network, context: Context) -> Network:
        """Fill ``record.application``, ``record.lag``, ``record.grain`` and ``record.delays``; add relays."""
        options, record = context.options, context.record
        plan, asked = schedule(network, hop), unaligned(network, hop)
        extra: Mapping[str, Ints] = plan.extra
        if options.align == "never" or options.vendor:
            extra = asked
            _list_early(network, plan.extra, asked, context)
        record.lag.update(plan.lag)
        # Delay nodes ask for the delay form; what only alignment asks for comes from relays, which keep 7-bit weights
        timed = {p.target for p in network.projections if np.any(asked[p.name])}
        late = {p.target for p in network.projections if p.delay_by != "all" or np.any(asked[p.name])}
        kernels = convolutional(network, context, late) if options.convolution == "auto" else {}
        for pop in network.populations.values():
            record.application[pop.name] = _application(pop, pop.name in timed, pop.name in kernels, context)
        for planes in kernels.values():
            record.grain.update(planes)
        return _Relays(network, context).route(extra)


def _application(pop: Population, timed: bool, kernels: bool, context: Context) -> str:
    if pop.rule == "input":
        return "spike_list"
    if kernels:
        return "lif_conv2d"
    current = "lif_curr_exp" if any(np.any(d) for d in context.record.decays[pop.name]) else "lif"
    form = context.options.application
    delayed = form == "delay" or (form == "auto" and timed and not context.options.vendor)
    return current if delayed else f"{current}_no_delay"


def _list_early(network: Network, wanted: Mapping[str, Ints], kept: Mapping[str, Ints], context: Context) -> None:
    for proj in network.projections:
        early = wanted[proj.name] - kept[proj.name]
        if np.any(early > 0):
            context.deviate(
                "retimed",
                "branch-early",
                (*network.populations[proj.source].nodes, *network.populations[proj.target].nodes),
                f"spikes of one branch arrive {int(np.max(early))} step(s) before those of the longest one",
            )


class _Relays:
    """Grows a network by the relays that its delays need; relays are shared by all projections of their source."""

    def __init__(self, network: Network, context: Context):
        self.network, self.context = network, context
        self.longest = context.hardware["delay_max"]
        self.populations = dict(network.populations)
        self.projections: list[Projection] = []

    def route(self, extra: Mapping[str, Ints]) -> Network:
        """Return the network in which the delay of every projection is the chip's: at least one step, at most a word's."""
        for proj in self.network.projections:
            self._route(proj, extra[proj.name])
        return replace(self.network, populations=self.populations, projections=tuple(self.projections))

    def _route(self, proj: Projection, extra: Ints) -> None:
        reach = self.longest if self.context.record.application[proj.target] in DELAYED else 0
        stages = -(-np.maximum(extra - reach, 0) // (self.longest + 1))
        self._note(proj, extra, reach, int(stages.max(initial=0)))
        if not stages.any():
            self.projections.append(replace(proj, delay=frozen(extra + hop(proj), np.int64)))
            return
        if proj.delay_by == "all":
            self.projections.append(self._through(proj, int(extra), reach))
            return
        for steps in np.unique(extra):
            part = _restricted(proj, extra == steps, f"@{steps}")
            self.projections.append(self._through(part, int(steps), reach))

    def _through(self, proj: Projection, steps: int, reach: int) -> Projection:
        last = min(steps, reach)
        delay = frozen(np.array(last + hop(proj)), np.int64)
        source = self._relay(proj.source, steps - last) if steps > last else proj.source
        return replace(proj, source=source, delay=delay, delay_by="all", recurrent=proj.recurrent and source == proj.source)

    def _relay(self, source: str, steps: int) -> str:
        """Return the population that repeats ``source`` ``steps`` steps later than a direct hop, made where it is missing."""
        name = f"{source}~{steps}"
        if name in self.populations:
            return name
        longest, record, origin = self.longest + 1, self.context.record, self.network.populations[source]
        before = self._relay(source, steps - longest) if steps > longest else source
        word = min(steps, longest) - 1
        self.populations[name] = _relay_of(name, origin)
        zero = frozen(np.zeros(origin.size))
        record.application[name] = "lif" if word else "lif_no_delay"
        record.lag[name] = record.lag[source] + steps
        record.factor[name, "in"] = frozen(np.ones(origin.size))
        record.decays[name], record.offset[name] = (zero, zero), zero
        if source in record.grain:
            record.grain[name] = record.grain[source]
        copy = Projection(f"{before}->{name}", before, name, "in", identity(origin.shape), frozen(word + 1, np.int64))
        self.projections.append(replace(copy, nodes=origin.nodes))
        return name

    def _note(self, proj: Projection, extra: Ints, reach: int, stages: int) -> None:
        longest, wanted = int(np.max(extra, initial=0)), proj.max_delay
        if longest or (wanted and not proj.recurrent):
            size = self.network.populations[proj.source].size
            row = {"projection": proj.name, "wanted_steps": wanted, "word_delay": min(longest, reach)}
            self.context.record.delays.append({**row, "relay_stages": stages, "shared_relay_neurons": stages * size})


def _relay_of(name: str, source: Population) -> Population:
    zero, one = frozen(np.zeros(source.size)), frozen(np.ones(source.size))
    return Population(
        name,
        source.shape,
        "spiking",
        "spike",
        (Port("in", one, zero),),
        Membrane(zero, one, zero, zero),
        threshold=frozen(np.full(source.size, RELAY_THRESHOLD)),
        v_reset=zero,
        reset="zero",
        nodes=source.nodes,
        role="relay",
    )


def _restricted(proj: Projection, chosen: np.ndarray, suffix: str) -> Projection:
    """Return the synapses of a projection whose source or target neurons are chosen."""
    from scipy.sparse import diags_array

    mask = diags_array(chosen.astype(np.float64))
    matrix = proj.operator.matrix
    weight = (matrix @ mask if proj.delay_by == "source" else mask @ matrix).tocsr()
    weight.eliminate_zeros()
    operator = Sparse(proj.operator.in_shape, proj.operator.out_shape, weight=weight)
    return replace(proj, name=proj.name + suffix, operator=operator)
