"""Neurons that the chip's rules call for: relays that delay, and relays that carry hidden spikes to output neurons.

A relay repeats each spike one hop later, exactly: its synapse (code 1) keeps half of an event, and its own spike, fed back with
half the weight, takes that half away before the next step.  A chain of relays is a delay line; relays of one source are shared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirhw.diagnostics import error
from nirhw.limits import over_limit
from nirhw.network import Ints, Membrane, Network, Population, Port, Projection
from nirhw.operators import Operator, Scaling, Sparse, frozen
from nirhw.passes.retime import schedule, unaligned
from nirhw.pipeline import Context

from .kernels import SECOND

Mask = NDArray[np.bool_]


def hop(projection: Projection, layers: Mapping[str, str]) -> int:
    """Return the steps that a spike takes at least: input reaches hidden neurons in the same step, every other hop takes one."""
    return 0 if layers[projection.source] == "input" else 1


@dataclass(frozen=True)
class AlignDelays:
    """Express delays in hops: every projection's delay becomes what the chip does, relays make up the rest.

    Input reaches hidden neurons in the same step; every other hop takes one step.  With time stretch, a loop that takes a step of
    the network takes several of the chip.
    """

    name: str = "align-delays"

    def apply(self, network: Network, context: Context) -> Network:
        """Add relays; fill ``record.lag`` and ``record.delays``.

        Raises:
            PlaceError: NIRHW-E035 where relays that a Delay node needs do not fit.
        """
        layers, align, stretch = context.record.layer, context.options.align, context.options.time_stretch

        def hops(p: Projection) -> int:
            return hop(p, layers)

        relayed = _output_sources(network, layers)
        base = sum(p.size for p in network.populations.values() if layers[p.name] == "hidden")
        room = context.hardware["hidden_neurons"] - base
        plans = list(_plans(network, hops, stretch, align == "branches"))
        for plan in {"always": plans[:1], "never": plans[-1:]}.get(align, plans):
            stages = _stages(network, plan.extra, relayed)
            needed = sum(int(m.sum()) for m in stages.values())
            fits = needed <= room
            if fits and stretch > 1:  # relays of loops are many, and reach what their sources do
                fits = base + needed <= _placeable(network, relayed, context)
                fits = fits and _widest(network, plan.extra, stages, layers) <= context.hardware["fan_out"]
            if fits:
                break
        _list_early(network, plan, context)
        if needed > room:
            found = over_limit(
                context.hardware,
                "hidden_neurons",
                base + needed,
                "hidden neurons with relays for delays",
                [name for name, _ in stages],
                "shorten the delays, enlarge dt, or compile with options={'align': 'never'}",
            )
            raise error("NIRHW-E035", found.what, found.nodes, found.why, found.fix)
        context.record.lag.update(plan.lag)
        return _with_relays(network, context, plan.extra, stages, relayed, hops)


@dataclass(frozen=True, eq=False)
class _Plan:
    """Lags and extra delays, as in a schedule, and by how many steps projections are early, those that are."""

    lag: Mapping[str, int]
    extra: Mapping[str, Ints]
    early: Mapping[str, Ints]


def _plans(network: Network, hops: Callable[[Projection], int], stretch: int, early_loops: bool) -> Iterator[_Plan]:
    """Yield plans that need ever fewer relays: all in step; loops by hops alone; only delays that the network asks for.

    A loop takes a step of the network, which is one hop, or ``stretch`` of them; with ``early_loops`` it is never given more.
    """
    full = schedule(network, hops)
    short = [p for p in network.projections if stretch > 1 and p.recurrent and p.max_delay <= stretch]
    loops = {p.name: np.full_like(p.delay, hops(p)) for p in short}
    if not (loops and early_loops):
        yield _Plan(full.lag, full.extra, {})
    if loops:
        quick = tuple(replace(p, delay=frozen(loops[p.name], np.int64)) if p.name in loops else p for p in network.projections)
        plan = schedule(replace(network, projections=quick), hops)
        early = {p.name: p.delay - loops[p.name] for p in short}
        yield _Plan(plan.lag, plan.extra, early)
    kept = unaligned(network, hops) | {n: np.zeros_like(hop) for n, hop in loops.items()}
    early = {n: full.extra[n] - kept[n] for n in kept if np.any(full.extra[n] > kept[n])}
    if early:
        yield _Plan(full.lag, kept, early)


def _list_early(network: Network, plan: _Plan, context: Context) -> None:
    stretch = context.options.time_stretch
    unit = "step(s)" if stretch == 1 else "chip step(s)"
    for name, steps in plan.early.items():
        proj = next(p for p in network.projections if p.name == name)
        if proj.recurrent and stretch > 1:
            rule = "loop-early"
            reason = f"spikes of a loop arrive {int(np.max(steps))} chip step(s) early: a step of the network takes {stretch}"
        else:
            rule = "branch-early"
            reason = f"spikes of one branch arrive {int(np.max(steps))} {unit} before those of the longest one"
        nodes = (*network.populations[proj.source].nodes, *network.populations[proj.target].nodes)
        context.deviate("retimed", rule, nodes, reason)


def _output_sources(network: Network, layers: Mapping[str, str]) -> list[str]:
    """Return the hidden spiking populations whose spikes have to leave through output neurons."""
    names = dict.fromkeys(network.outputs.values())
    return [n for n in names if layers[n] == "hidden" and network.populations[n].rule == "spiking"]


def _columns_used(operator: Operator, rows: Mask | None = None) -> Mask:
    matrix = operator.matrix if rows is None else operator.matrix[rows]
    used = np.zeros(matrix.shape[1], bool)
    used[matrix.indices] = True
    return used


def _classes(proj: Projection, extra: Ints) -> list[tuple[int, Mask | None, Mask | None]]:
    """Return (steps, source mask, target mask) for each distinct extra delay of a projection; None: all."""
    if proj.delay_by == "all":
        return [(int(extra), None, None)]
    masks = [(int(k), extra == k) for k in np.unique(extra)]
    return [(k, m, None) if proj.delay_by == "source" else (k, None, m) for k, m in masks]


def _stages(network: Network, extra: Mapping[str, Ints], relayed: list[str]) -> dict[tuple[str, int], Mask]:
    """Return which neurons of a source each stage of its relay chain has to carry, by source and stage (from 1)."""
    stages: dict[tuple[str, int], Mask] = {}

    def ask(source: str, steps: int, used: Mask) -> None:
        for stage in range(1, steps + 1):
            stages[source, stage] = stages.get((source, stage), np.zeros(used.size, bool)) | used

    for proj in network.projections:
        for steps, sources, targets in _classes(proj, extra[proj.name]):
            used = _columns_used(proj.operator, targets)
            ask(proj.source, steps, used if sources is None else used & sources)
    for name in relayed:
        ask(name, 1, np.ones(network.populations[name].size, bool))
    return dict(sorted(stages.items(), key=lambda item: item[0]))


def _placeable(network: Network, relayed: list[str], context: Context) -> int:
    """Return how many hidden neurons there may be beside those that take input and feed outputs, whose ids both ends reach."""
    layers, hardware = context.record.layer, context.hardware
    both = sum(
        pop.size
        for name, pop in network.populations.items()
        if layers[name] == "hidden"
        and any(layers[w.source] == "input" for w in network.into(name))
        and (name in relayed or any(layers[w.target] == "output" for w in network.out_of(name)))
    )
    return int(hardware["input_reach"] + hardware["output_reach"] - both if both else hardware["hidden_neurons"])


def _widest(
    network: Network, extra: Mapping[str, Ints], stages: Mapping[tuple[str, int], Mask], layers: Mapping[str, str]
) -> int:
    """Return the largest number of hidden neurons that a relay reaches: its targets, the next relay, and itself."""
    widest = 0
    for (source, stage), mask in stages.items():
        reached = 1 + np.asarray(stages.get((source, stage + 1), np.zeros(mask.size, bool)), np.int64)
        # a second synapse reaches the same neurons
        for proj in (p for p in network.out_of(source) if not p.port.endswith(SECOND)):
            for steps, sources, targets in _classes(proj, extra[proj.name]):
                if steps == stage and layers[proj.target] == "hidden":
                    matrix = proj.operator.matrix if targets is None else proj.operator.matrix[targets]
                    served = np.bincount(matrix.indices, minlength=mask.size)
                    reached = reached + (served if sources is None else served * sources)
        widest = max(widest, int(reached[mask].max(initial=0)))
    return widest


def _relay(name: str, source: Population, size: int) -> Population:
    zero, one = frozen(np.zeros(size)), frozen(np.ones(size))
    return Population(
        name,
        (size,),
        "spiking",
        source.signal,
        (Port("in", one, zero),),
        Membrane(zero, one, zero, zero),
        threshold=frozen(np.full(size, 0.5)),
        v_reset=zero,
        nodes=source.nodes,
        role="relay",
        codes={"v_mem_decay": np.zeros(size, np.int64), "i_syn_decay:in": np.ones(size, np.int64)},
    )


def _pick(pre: int, chosen: NDArray[np.int64], weight: float = 1.0) -> Sparse:
    from scipy.sparse import csr_array

    n = chosen.size
    matrix = csr_array((np.full(n, weight), (np.arange(n), chosen)), shape=(n, pre))
    return Sparse((pre,), (n,), weight=matrix)


def _steps(value: int) -> Ints:
    return frozen(value, np.int64)


def _with_relays(
    network: Network,
    context: Context,
    extra: Mapping[str, Ints],
    stages: Mapping[tuple[str, int], Mask],
    relayed: list[str],
    hop: Any,
) -> Network:
    layers, lags = context.record.layer, context.record.lag
    populations = dict(network.populations)
    projections: list[Projection] = []
    for (source, stage), mask in stages.items():
        origin = network.populations[source]
        name, before = f"{source}~{stage}", source if stage == 1 else f"{source}~{stage - 1}"
        populations[name] = relay = _relay(name, origin, int(mask.sum()))
        layers[name], lags[name] = "hidden", lags[source] + stage
        held = np.ones(mask.size, bool) if stage == 1 else stages[source, stage - 1]
        chosen = (np.cumsum(held) - 1)[mask]
        first_hop = 0 if layers[before] == "input" else 1
        pick = _pick(int(held.sum()), chosen)
        projections.append(Projection(f"{before}->{name}", before, name, "in", pick, _steps(first_hop), nodes=origin.nodes))
        back = Scaling((relay.size,), (relay.size,), factor=frozen(np.full(relay.size, -0.5)))
        projections.append(Projection(f"{name}->{name}", name, name, "in", back, _steps(1), recurrent=True, nodes=origin.nodes))
    for proj in network.projections:
        projections.extend(_through_relays(proj, extra[proj.name], stages, hop(proj)))
    for name in relayed:
        pop = network.populations[name]
        out = f"{name}~out"
        populations[out] = _relay(out, pop, pop.size)
        layers[out], lags[out] = "output", lags[name] + 1
        everything = np.arange(pop.size)
        projections.append(Projection(f"{name}->{out}", name, out, "in", _pick(pop.size, everything), _steps(1)))
        projections.append(Projection(f"{name}~1->{out}", f"{name}~1", out, "in", _pick(pop.size, everything, -0.5), _steps(1)))
    _record_delays(network, context, extra, stages)
    return replace(network, populations=populations, projections=tuple(projections))


def _through_relays(proj: Projection, extra: Ints, stages: Mapping[tuple[str, int], Mask], hop: int) -> list[Projection]:
    from scipy.sparse import csr_array, diags_array

    parts = []
    for steps, sources, targets in _classes(proj, extra):
        delay = _steps(hop if steps == 0 else 1)
        if steps == 0 and sources is None and targets is None:
            parts.append(replace(proj, delay=delay, delay_by="all"))
            continue
        matrix = proj.operator.matrix
        if sources is not None:
            matrix = matrix @ diags_array(sources.astype(np.float64))
        if targets is not None:
            matrix = diags_array(targets.astype(np.float64)) @ matrix
        origin, source = proj.source, proj.source
        if steps:
            source = f"{origin}~{steps}"
            matrix = csr_array(matrix)[:, np.flatnonzero(stages[origin, steps])]
        weight = csr_array(matrix)
        weight.eliminate_zeros()
        part = Sparse((matrix.shape[1],), proj.operator.out_shape, weight=weight)
        suffix = f"@{steps}" if proj.delay_by != "all" else ""
        parts.append(replace(proj, name=proj.name + suffix, source=source, operator=part, delay=delay, delay_by="all"))
    return parts


def _record_delays(network: Network, context: Context, extra: Mapping[str, Ints], stages: Mapping[tuple[str, int], Mask]) -> None:
    for proj in network.projections:
        asked, added = proj.max_delay, int(np.max(extra[proj.name], initial=0))
        if added or (asked and not proj.recurrent):
            carried = sum(int(stages[proj.source, k].sum()) for k in range(1, added + 1))
            context.record.delays.append(
                {"projection": proj.name, "wanted_steps": asked, "relay_stages": added, "shared_relay_neurons": carried}
            )
