"""Exact rewrites that every target profits from: fewer populations, fewer maps, the same meaning.

Linear chains are folded, sums that only pass on are dissolved, LI filters in front of a neuron become synaptic ports of it, and
LI or CubaLI followed by Threshold become one neuron that is never reset.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from nirhw.network import Membrane, Network, Onset, Population, Port, Projection
from nirhw.operators import Chain, Dense, Operator, Scaling, chain, frozen
from nirhw.pipeline import Context

#: a sum with more pairs of ways in and out stays, lest the projections multiply
MAX_PAIRS = 64


@dataclass(frozen=True)
class FoldChains:
    """Multiply out neighbouring dense maps and scalings of one projection."""

    name: str = "fold-chains"

    def apply(self, network: Network, context: Context) -> Network:
        """Return the network with folded operators."""
        folded = tuple(
            replace(p, operator=_folded(p.operator)) if isinstance(p.operator, Chain) else p for p in network.projections
        )
        return replace(network, projections=folded)


def _folded(operator: Chain) -> Operator:
    parts = list(operator.parts)
    position = 0
    while position + 1 < len(parts):
        merged = _product(parts[position], parts[position + 1])
        if merged is None:
            position += 1
        else:
            parts[position : position + 2] = [merged]
            position = max(0, position - 1)
    return chain(parts)


def _product(first: Operator, second: Operator) -> Operator | None:
    """Return ``second`` after ``first`` as one map, where that stays small and exact."""
    shapes = first.in_shape, second.out_shape
    if isinstance(first, Scaling) and isinstance(second, Scaling):
        return Scaling(*shapes, factor=frozen(first.factor * second.factor))
    if isinstance(first, Scaling) and isinstance(second, Dense):
        return Dense(*shapes, weight=frozen(second.weight * first.factor))
    if isinstance(first, Dense) and isinstance(second, Scaling):
        return Dense(*shapes, weight=frozen(first.weight * second.factor[:, None]))
    if isinstance(first, Dense) and isinstance(second, Dense):
        narrow = first.weight.shape[0]
        if narrow >= min(first.weight.shape[1], second.weight.shape[0]):  # no more weights than before
            return Dense(*shapes, weight=frozen(second.weight @ first.weight))
    return None


@dataclass(frozen=True)
class DissolveSums:
    """Replace a stateless sum by projections straight to its targets."""

    name: str = "dissolve-sums"

    def apply(self, network: Network, context: Context) -> Network:
        """Return the network without sums that only pass on."""
        for name, pop in list(network.populations.items()):
            ways_in, ways_out = network.into(name), network.out_of(name)
            if pop.rule != "sum" or name in network.outputs.values() or not ways_out:
                continue
            if len(ways_in) * len(ways_out) > max(MAX_PAIRS, len(ways_in) + len(ways_out)):
                continue
            if all(_adds_up(i, o) for i in ways_in for o in ways_out) and not any(
                o.max_delay and (np.any(pop.ports[0].bias) or pop.ports[0].onsets) for o in ways_out
            ):
                network = _without(network, pop, ways_in, ways_out, lambda bias, port: bias)
        return network


def _adds_up(first: Projection, second: Projection) -> bool:
    """Whether two projections in a row are one projection."""
    if first.recurrent or second.recurrent or first.source == first.target or second.source == second.target:
        return False
    if second.delay_by != "all":
        return False
    return first.delay_by != "target" or second.operator.is_identity


def _without(
    network: Network,
    pop: Population,
    ways_in: tuple[Projection, ...],
    ways_out: tuple[Projection, ...],
    through: Callable[[np.ndarray, Port], np.ndarray],
    port_of: Callable[[Projection], Port] | None = None,
) -> Network:
    """Return the network without ``pop``: its ways in and out joined, its bias moved on.

    ``port_of`` gives the new port that a way out ends in (a filter absorbed); else the port it had.
    """
    own = pop.ports[0]
    populations = {n: p for n, p in network.populations.items() if n != pop.name}
    joined = []
    for out in ways_out:
        target = populations[out.target]
        port = port_of(out) if port_of else target.port(out.port)
        moved = out.operator.apply(through(own.bias, port)[None])[0]
        onsets = tuple(Onset(o.step, frozen(out.operator.apply(through(o.drive, port)[None])[0])) for o in own.onsets)
        if onsets and not out.operator.is_identity:
            onsets = tuple(
                Onset(np.broadcast_to(o.step.flat[0], (target.size,)), d.drive) for o, d in zip(own.onsets, onsets, strict=True)
            )
        there = next((p for p in target.ports if p.name == port.name), None)  # a second way into a new port adds up
        base = there or port
        grown = replace(base, bias=frozen(base.bias + moved), onsets=(*base.onsets, *onsets))
        populations[out.target] = target.with_port(grown) if there else replace(target, ports=(*target.ports, grown))
        for way in ways_in:
            joined.append(
                replace(
                    way,
                    name=f"{way.name}>{out.target}",
                    target=out.target,
                    port=port.name,
                    operator=chain([way.operator, out.operator]),
                    delay=frozen(way.delay + out.delay, np.int64),
                    nodes=(*way.nodes, *pop.nodes, *out.nodes),
                )
            )
    gone = {p.name for p in (*ways_in, *ways_out)}
    kept = [p for p in network.projections if p.name not in gone]
    return replace(network, populations=populations, projections=_unique((*kept, *joined)))


def _unique(projections: tuple[Projection, ...]) -> tuple[Projection, ...]:
    seen: set[str] = set()
    out = []
    for p in projections:
        name = p.name
        while name in seen:
            name += "~"
        seen.add(name)
        out.append(p if name == p.name else replace(p, name=name))
    return tuple(out)


@dataclass(frozen=True)
class AbsorbFilters:
    """Turn a first-order analog filter (LI, or a CubaLI with one memoryless stage) into a synaptic port of its targets."""

    name: str = "absorb-filters"

    def apply(self, network: Network, context: Context) -> Network:
        """Return the network with filters as ports."""
        for name in list(network.populations):
            pop = network.populations[name]
            ways_in, ways_out = network.into(name), network.out_of(name)
            filt = _first_order(pop)
            if filt is None or name in network.outputs.values() or not ways_out:
                continue
            if not all(_adds_up(i, o) for i in ways_in for o in ways_out) or any(o.max_delay for o in ways_out):
                continue
            if not all(self._takes(network, filt, o) for o in ways_out):
                continue
            network = _absorbed(network, pop, filt, ways_in, ways_out)
        return network

    @staticmethod
    def _takes(network: Network, filt: _Filter, out: Projection) -> bool:
        target = network.populations[out.target]
        if target.membrane is None or target.port(out.port).decay is not None:
            return False
        uniform = np.all(filt.decay == filt.decay[0])
        return bool(uniform) or out.operator.is_identity


@dataclass(frozen=True, eq=False)
class _Filter:
    """A first-order low pass: what it keeps, its gain, its constant drive in units of its input."""

    decay: np.ndarray
    gain: np.ndarray
    drive: np.ndarray
    tau: np.ndarray


def _first_order(pop: Population) -> _Filter | None:
    if pop.rule != "analog" or len(pop.ports) != 1 or pop.ports[0].onsets:
        return None
    port, membrane = pop.ports[0], pop.membrane
    assert membrane is not None  # an analog population has one
    gain = port.gain * membrane.gain
    if np.any(gain == 0.0):
        return None
    if port.decay is None or not np.any(port.decay):
        return _Filter(membrane.decay, gain, membrane.leak / gain, membrane.tau)
    if not np.any(membrane.decay) and not np.any(membrane.leak):
        return _Filter(port.decay, gain, np.zeros(pop.size), port.tau if port.tau is not None else membrane.tau)
    return None


def _absorbed(
    network: Network, pop: Population, filt: _Filter, ways_in: tuple[Projection, ...], ways_out: tuple[Projection, ...]
) -> Network:
    scaled = tuple(
        replace(o, operator=chain([Scaling(pop.shape, pop.shape, factor=frozen(filt.gain)), o.operator]))
        if np.any(filt.gain != 1.0)
        else o
        for o in ways_out
    )

    def port_of(out: Projection) -> Port:
        target = network.populations[out.target]
        spread = out.operator.is_identity
        decay = filt.decay if spread else np.full(target.size, filt.decay[0])
        tau = filt.tau if spread else np.full(target.size, filt.tau[0])
        gain = target.port(out.port).gain
        name = pop.name
        while name in {p.name for p in target.ports}:
            name += "_"
        return Port(name, gain, frozen(np.zeros(target.size)), frozen(decay), frozen(tau), nodes=pop.nodes)

    original = {o.name: o for o in ways_out}
    grown = _without(network, pop, ways_in, scaled, lambda bias, port: bias + filt.drive, lambda out: port_of(original[out.name]))
    return _without_idle_ports(grown, {o.target for o in ways_out})


def _without_idle_ports(network: Network, names: set[str]) -> Network:
    """Drop ports on which nothing arrives any more."""
    changed = []
    for name in names:
        pop = network.populations[name]
        used = {p.port for p in network.into(name)}
        busy = tuple(p for p in pop.ports if p.name in used or np.any(p.bias) or p.onsets)
        changed.append(replace(pop, ports=busy or pop.ports[:1]))
    return network.with_populations(changed)


@dataclass(frozen=True)
class FuseThresholds:
    """Make one never-reset neuron of a Threshold and the LI or CubaLI populations of one time constant that feed it alone."""

    name: str = "fuse-thresholds"

    def apply(self, network: Network, context: Context) -> Network:
        """Return the network with fused neurons."""
        for name in list(network.populations):
            pop = network.populations.get(name)
            if pop is None or pop.rule != "spiking" or pop.reset != "none" or np.any(pop.membrane.decay):  # type: ignore[union-attr]
                continue
            ways_in = network.into(name)
            sources = [network.populations[w.source] for w in ways_in]
            if _feeds_alone(network, pop, sources, ways_in):
                network = _fused(network, pop, sources)
        return network


def _feeds_alone(network: Network, pop: Population, sources: list[Population], ways: tuple[Projection, ...]) -> bool:
    if len(pop.ports) != 1 or not sources or len({s.name for s in sources}) != len(sources):
        return False
    port = pop.ports[0]
    if port.decay is not None or np.any(port.gain != 1.0) or np.any(port.bias) or port.onsets:
        return False
    plain = all(w.operator.is_identity and not w.max_delay for w in ways)
    alone = all(
        s.rule == "analog" and len(network.out_of(s.name)) == 1 and s.name not in network.outputs.values() for s in sources
    )
    return plain and alone and all(np.array_equal(s.membrane.decay, sources[0].membrane.decay) for s in sources)  # type: ignore[union-attr]


def _fused(network: Network, pop: Population, sources: list[Population]) -> Network:
    ports, leak = [], np.zeros(pop.size)
    renamed: dict[tuple[str, str], str] = {}
    for source in sources:
        membrane = source.membrane
        assert membrane is not None  # checked by _feeds_alone
        leak = leak + membrane.leak
        for port in source.ports:
            name = port.name if len(sources) == 1 else f"{source.name}.{port.name}"
            renamed[source.name, port.name] = name
            ports.append(replace(port, name=name, gain=frozen(port.gain * membrane.gain), nodes=source.nodes))
    first = sources[0].membrane
    assert first is not None
    membrane = Membrane(first.decay, frozen(np.ones(pop.size)), frozen(leak), first.tau)
    nodes = tuple(n for s in sources for n in s.nodes) + pop.nodes
    fused = replace(pop, ports=tuple(ports), membrane=membrane, nodes=nodes)
    gone = {s.name for s in sources}
    projections = tuple(
        replace(p, target=pop.name, port=renamed[p.target, p.port]) if p.target in gone else p
        for p in network.projections
        if p.source not in gone
    )
    populations = {n: fused if n == pop.name else p for n, p in network.populations.items() if n not in gone}
    return replace(network, populations=populations, projections=projections)


CANONICALIZE = (FoldChains(), DissolveSums(), AbsorbFilters(), FuseThresholds(), FoldChains())
