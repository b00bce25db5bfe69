"""Properties of chips, one at a time, in floats: what :func:`nirhw.diagnose` lays over the float network.

A property is a rewrite of a float network: the same network with one thing done as the chip does it, and nothing done to make up
for it.  Rewrites only look at what they change, so several of them may follow each other.  Here are the kinds that targets share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from nirhw.network import Ints, Network, Population, Port, Projection, Reset
from nirhw.operators import Array, Sparse, frozen
from nirhw.passes.merge_parallel import MergeParallel
from nirhw.pipeline import Context, Pass

Rewrite = Callable[[Network], Network]
Hop = Callable[[Projection], int]

#: weights that differ by less than this share of the largest one are equal
EQUAL = 1e-9


@dataclass(frozen=True, eq=False)
class Property:
    """One thing that a chip does otherwise than the network.

    Attributes:
        name: short and stable.
        meaning: one phrase.
        rewrite: returns a float network with that property; None where it makes no difference to the network at hand.
        lag: steps by which populations of the rewritten network lag the network, where they do.
    """

    name: str
    meaning: str
    rewrite: Rewrite | None = None
    lag: Mapping[str, int] = field(default_factory=dict)


def changed(populations: Iterable[Population], change: Callable[[Population], Population]) -> Rewrite | None:
    """Return the rewrite that applies ``change`` to the populations of these names; None where there are none."""
    names = [p.name for p in populations]
    return (lambda network: network.with_populations(change(network.populations[n]) for n in names)) if names else None


def network_populations(network: Network) -> list[Population]:
    """Return the populations that have a membrane."""
    return [p for p in network.populations.values() if p.membrane is not None]


def resets(populations: Iterable[Population], kind: Reset) -> Rewrite | None:
    """Return the rewrite in which these populations have another reset."""
    return changed(populations, lambda pop: replace(pop, reset=kind))


def bursts(populations: Iterable[Population], most: int) -> Rewrite | None:
    """Return the rewrite in which these populations send up to ``most`` spikes a step; one that fires at rest stays as it is."""
    return changed(filter(can_burst, populations), lambda pop: replace(pop, burst=most))


def can_burst(pop: Population) -> bool:
    """Return whether a population may send several spikes a step: not where it fires at rest."""
    return pop.threshold is not None and bool(np.all(pop.threshold >= 0))


def decays(
    network: Network, membrane: Mapping[str, Array], port: Mapping[tuple[str, str], Array], tolerance: float = 1e-12
) -> Rewrite | None:
    """Return the rewrite that gives membranes and filters the decays that the chip's codes achieve; gains stay.

    Args:
        network: the float network.
        membrane: decay by population, ``(size,)``.
        port: decay by population and port, of ports that filter, ``(size,)``.
        tolerance: decays that differ by no more are equal.
    """

    def off(pop: Population) -> bool:
        pairs = [] if pop.membrane is None or pop.name not in membrane else [(membrane[pop.name], pop.membrane.decay)]
        pairs += [(port[pop.name, p.name], p.decay) for p in pop.ports if p.decay is not None and (pop.name, p.name) in port]
        return any(bool(np.any(np.abs(got - wanted) > tolerance)) for got, wanted in pairs)

    def change(pop: Population) -> Population:
        assert pop.membrane is not None  # network_populations
        ports = tuple(replace(p, decay=frozen(port.get((pop.name, p.name), p.decay))) if _filters(p) else p for p in pop.ports)
        kept = frozen(membrane.get(pop.name, pop.membrane.decay))
        return replace(pop, ports=ports, membrane=replace(pop.membrane, decay=kept))

    return changed([p for p in network_populations(network) if off(p)], change)


def _filters(port: Port) -> bool:
    return port.decay is not None


def filtering(port: Port) -> Any:
    """Return which neurons of a port filter their drive, ``(size,)``."""
    return np.zeros(port.gain.shape, bool) if port.decay is None else port.decay > 0


def _settled_bias(port: Port) -> Array:
    """Return what the bias of a port amounts to a step behind its settled filter, ``(size,)``; infinite behind an integrator."""
    drive = port.gain * port.bias
    if port.decay is None:
        return np.asarray(drive)
    with np.errstate(divide="ignore"):
        area = 1.0 / (1.0 - port.decay)
    return np.multiply(drive, area, out=np.zeros(drive.shape), where=drive != 0.0)


def constant_drive(pop: Population) -> Array:
    """Return what biases and leaks add to the membrane every step once filters have settled, ``(size,)``."""
    assert pop.membrane is not None  # network_populations
    drive = sum(map(_settled_bias, pop.ports), np.zeros(pop.size))
    return np.asarray(pop.membrane.leak + pop.membrane.gain * drive)


def bias_at_once(drive: Mapping[str, Array]) -> Rewrite | None:
    """Return the rewrite in which constant drives enter the membrane at once instead of through a synapse.

    Args:
        drive: what is added to the membrane every step, by population, ``(size,)``; it replaces biases and leak.
    """

    def rewrite(network: Network) -> Network:
        made = []
        for name, constant in drive.items():
            pop = network.populations[name]
            assert pop.membrane is not None  # whoever made the drive asked for it
            ports = tuple(replace(p, bias=frozen(np.zeros(pop.size))) for p in pop.ports)
            made.append(replace(pop, ports=ports, membrane=replace(pop.membrane, leak=frozen(constant))))
        return network.with_populations(made)

    return rewrite if drive else None


def skips_ramp(network: Network) -> dict[str, Array]:
    """Return the constant drive of every population in which a bias passes a filter."""
    return {
        p.name: constant_drive(p)
        for p in network_populations(network)
        if any(np.any(port.bias[filtering(port)]) for port in p.ports)
    }


def per_unit(integers: Any, unit: Array, shift: int = 0) -> Any:
    """Return ``integers * 2 ** shift``, sparse ``[post, pre]``, in the network's units: of ``unit`` chip units each, by post."""
    from scipy.sparse import diags_array

    with np.errstate(divide="ignore"):
        scale = np.where(unit != 0.0, 2.0**shift / unit, 0.0)
    return diags_array(scale) @ integers.astype(np.float64)


def weights(network: Network, lowered: Network, values: Mapping[str, Any], prepare: Pass | None = None) -> Rewrite | None:
    """Return the rewrite with other weights; None where they are the same.

    Args:
        network: the float network.
        lowered: the network after all passes: a projection may have become several, whose names begin with its own, and may
            start at relays.
        values: matrices ``[post, pre]`` by projection of ``lowered``, in the network's units.
        prepare: exact pass after which projections are merged and their names and units are those of ``lowered``.
    """
    base = _merged(network, prepare)
    names = {p.name for p in base.projections}
    found: dict[str, Any] = {}
    for proj in lowered.projections:
        if proj.name in values:
            name = _origin_name(proj.name, names)
            if not name:  # made by a pass, for reasons of its own
                continue
            part = values[proj.name] @ _from_origin(lowered, proj.source)
            found[name] = found[name] + part if name in found else part
    moved = {p.name: _sparse(p, found[p.name]) for p in base.projections if p.name in found and _differs(p, found[p.name])}

    def rewrite(network: Network) -> Network:
        merged = _merged(network, prepare)
        return replace(
            merged,
            projections=tuple(replace(p, operator=moved[p.name]) if p.name in moved else p for p in merged.projections),
        )

    return rewrite if moved else None


def _merged(network: Network, prepare: Pass | None) -> Network:
    nothing = Context(hardware=None, options=None, record=None)  # type: ignore[arg-type]  # an exact pass asks for none of them
    for step in (prepare, MergeParallel()):
        network = step.apply(network, nothing) if step else network
    return network


def _origin_name(name: str, known: set[str]) -> str:
    """Return the projection of which ``name`` is a part, the longest that it begins with; empty where it is part of none."""
    return max((k for k in known if name.startswith(k)), key=len, default="")


def _from_origin(lowered: Network, source: str) -> Any:
    """Return which neuron of its origin each neuron of a source repeats, ``[source, origin]``."""
    from scipy.sparse import eye_array

    if lowered.populations[source].role != "relay":
        return eye_array(lowered.populations[source].size)
    way = next(p for p in lowered.into(source) if p.source != source)
    return way.operator.matrix @ _from_origin(lowered, way.source)


def _sparse(proj: Projection, matrix: Any) -> Sparse:
    from scipy.sparse import csr_array

    return Sparse(proj.operator.in_shape, proj.operator.out_shape, weight=csr_array(matrix))


def _differs(proj: Projection, matrix: Any) -> bool:
    wanted = proj.operator.matrix
    off = abs(matrix - wanted).max() if wanted.nnz or matrix.nnz else 0.0
    return bool(off > EQUAL * abs(wanted).max())


def hop_delays(network: Network, extra: Mapping[str, Ints], hop: Hop) -> Rewrite:
    """Return the rewrite with the chip's own delays: a projection takes its hop and ``extra`` steps, in the form of its delay."""
    steps = {p.name: frozen(extra[p.name] + hop(p), np.int64) for p in network.projections}
    return lambda given: replace(
        given, projections=tuple(replace(p, delay=steps[p.name]) if p.name in steps else p for p in given.projections)
    )


def latency(network: Network, context: Context, extra: Mapping[str, Ints], hop: Hop) -> Property:
    """Return the property that branches meet out of step, where the ledger says that they do.

    Args:
        network: the float network.
        context: its ledger says whether a branch is early; its record has the lags.
        extra: steps beyond the hop that the chip gives each projection, in the form of its delay.
        hop: steps that a projection takes at least.
    """
    early = any(d.rule == "branch-early" for d in context.deviations)
    lag = {name: int(context.record.lag[name]) for name in network.populations} if early else {}
    return Property(
        "hop-latency",
        "a hop takes a step, so branches of different length meet out of step",
        hop_delays(network, extra, hop) if early else None,
        lag,
    )


def together(properties: Iterable[Property]) -> Property:
    """Return all properties at once, in their order."""
    present = [p for p in properties if p.rewrite is not None]

    def rewrite(network: Network) -> Network:
        for one in present:
            assert one.rewrite is not None  # present
            network = one.rewrite(network)
        return network

    lag = {name: steps for p in present for name, steps in p.lag.items()}
    return Property("together", "all properties at once, in floats, and nothing that makes up for them", rewrite, lag)
