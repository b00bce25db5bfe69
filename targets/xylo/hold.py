"""Held neurons: one spike a step where the chip would send one for each threshold in the membrane.

Bursts do harm in loops, where each of their spikes excites the loop again; so neurons are held there.

A neuron sends as many spikes as its threshold register fits into its membrane.  A held neuron has a register of several
thresholds and a constant drive that lifts its resting level by the difference, so that it fires at the level at which it should,
and once: a second spike would take a whole register more.  The spike takes off too much; what is too much comes back in the next
step, through synapses of the neuron onto itself.  In the step after that a relay takes their current away again, so that they act
in one step and leave nothing behind.

At the first step membranes are at 0 and not at the lifted level.  A starter, a neuron that fires once, lifts them all; a clock,
which always fires, keeps it silent from then on.

Cost: a relay for each held neuron, four connections, a few events at each of its spikes; two events a step for starter and clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from nirhw.network import Ints, Network, Population, Port, Projection, Quantized
from nirhw.operators import Array, Sparse, entries, frozen
from nirhw.pipeline import Context

from .held import KICKS, groups, serves
from .helpers import always_firing, helper
from .kernels import SECOND, kept
from .knobs import depth

PREFIX = "~hold:"
CLOCK, START, START_RELAY = f"{PREFIX}clock", f"{PREFIX}start", f"{PREFIX}start~1"
#: decay code of a synapse that carries nothing else: 120 of 127 weight units are multiples of ``2 ** code``, 7/8 of which act
FREE_CODE = 3


@dataclass(frozen=True)
class AddHolds:
    """Give held neurons their registers, drives, synapses onto themselves and relays, and all of them clocks and starters."""

    name: str = "add-holds"

    def apply(self, network: Network, context: Context) -> Network:
        """Return the quantized network with held neurons."""
        record = context.record
        populations, projections = dict(network.populations), list(network.projections)
        held: list[_Held] = []
        for name, reach in record.reach.items():
            pop, chosen = _with_both_synapses(populations[name], context), np.flatnonzero(reach)
            one = _held(pop, chosen, reach[chosen], _own_weights(network, pop, chosen), context)
            populations[name] = one.population
            relay = _relay(f"{PREFIX}{name}", chosen.size, context)
            populations[relay.name] = relay
            projections += _loops(one, relay, context)
            held.append(one)
            context.deviate(
                "rounded",
                "held-neurons",
                pop.nodes,
                f"{chosen.size} neurons are held to one spike a step: a deep reset gives back in the next step what it takes too "
                "much; none of them fires in the first step",
            )
        if not held:
            return network
        made, wires = _started(held, context)
        return replace(network, populations={**populations, **made}, projections=(*projections, *wires))


@dataclass(frozen=True, eq=False)
class _Held:
    """A population whose held neurons have their registers.

    Attributes:
        population: registers set.
        chosen: its held neurons.
        own: weights onto themselves, by port.
        clock: weight of the clock on the fastest port, for the part of the drive that no register holds.
        kick: impulse in the step after the first that brings the membrane to its lifted level, chip units.
    """

    population: Population
    chosen: Ints
    own: dict[str, Ints]
    clock: Ints
    kick: Array

    def code(self, port: str) -> Ints:
        """Return the decay codes of a port's synapses, ``(chosen,)``."""
        return np.asarray(self.population.codes[f"i_syn_decay:{port}"][self.chosen])

    @property
    def ports(self) -> list[str]:
        """Ports, those with slower synapses first."""
        return sorted((p.name for p in self.population.ports), key=lambda n: -int(self.code(n).max(initial=0)))

    def left(self, port: str, weight: Ints) -> Ints:
        """Return what a step leaves of the current of events of ``weight``, a multiple of ``2 ** code``."""
        return np.asarray(weight - weight // 2 ** self.code(port))

    def impulse(self, wanted: Array, room: Mapping[str, Ints], shift: int) -> dict[str, Ints]:
        """Return weights by port that come nearest to an impulse in one step, chip units, each at most ``room``.

        Weights are multiples of ``2 ** code``: what they leave has to be taken away in whole numbers.
        """
        weights, rest = {}, np.maximum(wanted, 0.0)
        for name in self.ports:
            cell = 2 ** self.code(name)
            unit = 2.0**shift * (cell - 1.0)
            share = rest / unit
            count = np.minimum(np.rint(share) if name == self.ports[-1] else np.floor(share + 1e-9), room[name] // cell)
            weights[name] = (count * cell).astype(np.int64)
            rest = rest - count * unit
        return weights


def _with_both_synapses(pop: Population, context: Context) -> Population:
    """Return a population whose second synapse, if it is free, can carry a part of what comes back."""
    if len(pop.ports) >= context.hardware["hidden_synapses"]:
        return pop
    first = pop.ports[0]
    second = Port(first.name + SECOND, frozen(np.zeros(pop.size)), frozen(np.zeros(pop.size)))
    codes = {**pop.codes, f"i_syn_decay:{second.name}": np.full(pop.size, FREE_CODE, np.int64)}
    return replace(pop, ports=(first, second), codes=codes)


def _own_weights(network: Network, pop: Population, chosen: Ints) -> dict[str, Ints]:
    """Return the weight of each chosen neuron onto itself that it has already, by port."""
    found = {port.name: np.zeros(chosen.size, np.int64) for port in pop.ports}
    for way in network.into(pop.name):
        if way.source == pop.name:
            assert way.quantized is not None  # the pass follows the quantizer
            found[way.port] = found[way.port] + np.asarray(way.quantized.weight.diagonal())[chosen]
    return found


def _held(pop: Population, chosen: Ints, reach: Array, own: dict[str, Ints], context: Context) -> _Held:
    record, hardware = context.record, context.hardware
    assert pop.threshold is not None  # it spikes
    shift, scale = record.shifts["hidden"], record.scale[pop.name][chosen]
    code = pop.codes["v_mem_decay"][chosen]
    membrane = kept(code)
    unit = np.floor(pop.threshold[chosen] * scale) + 1.0
    off = np.broadcast_to(depth(pop, context), (pop.size,))[chosen] * pop.threshold[chosen] * scale
    blank = _Held(pop, chosen, {}, np.zeros(chosen.size, np.int64), np.zeros(chosen.size))
    room = {n: hardware["weight_max"] - np.maximum(w, 0) for n, w in own.items()}
    # the register may be as deep as what comes back can make up for
    back = sum((room[n] // 2 ** blank.code(n)) * (2.0**shift * (2.0 ** blank.code(n) - 1.0)) for n in blank.ports)
    most = np.minimum(back / membrane + off - unit, hardware["threshold_max"] - unit)
    drive = np.maximum(np.minimum(np.rint(reach * unit / 2.0**code), np.floor(most / 2.0**code)), 0.0)
    level = drive * 2.0**code
    weights = blank.impulse((unit + level - off) * membrane, room, shift)
    threshold, bias = pop.codes["threshold"].copy(), pop.codes["v_mem_bias"].copy()
    # decays round down, which pushes a membrane that is never near 0 up by half a unit a step
    threshold[chosen] = unit + level + (2**code - 1) // 2
    constant = np.rint(record.constant[pop.name][chosen] * scale)
    current = 2.0**shift * (2.0 ** blank.code(blank.ports[-1]) - 1.0)
    clock = np.where(np.abs(constant + drive) > hardware["bias_max"], np.rint(drive / current), 0.0)
    clock = np.minimum(clock, hardware["weight_max"]).astype(np.int64)
    rest = drive - clock * current
    bias[chosen] = constant + rest
    codes = {**pop.codes, "threshold": threshold, "v_mem_bias": bias}
    return _Held(replace(pop, codes=codes), chosen, weights, clock, (level - rest) * membrane)


def _loops(held: _Held, relay: Population, context: Context) -> Iterator[Projection]:
    pop, chosen, everyone = held.population, held.chosen, np.arange(held.chosen.size)
    yield _wire(pop, relay, "in", chosen, everyone, np.full(chosen.size, 2), context)
    yield _wire(relay, relay, "in", everyone, everyone, np.full(chosen.size, -1), context)
    for name, weight in held.own.items():
        yield _wire(pop, pop, name, chosen, chosen, weight, context)
        yield _wire(relay, pop, name, everyone, chosen, -held.left(name, weight), context)


def _started(held: Sequence[_Held], context: Context) -> tuple[dict[str, Population], list[Projection]]:
    """Return clocks, starters and their relays, and their synapses; each serves as many neurons as its fan-out allows."""
    hardware, shift = context.hardware, context.record.shifts["hidden"]
    number = groups(sum(h.chosen.size for h in held), context)
    clock, start = always_firing(CLOCK, number), always_firing(START, KICKS * number)
    relay = _relay(START_RELAY, KICKS * number, context)
    for made in (clock, start):
        context.record.layer[made.name], context.record.lag[made.name] = "hidden", 0
    every = np.arange(KICKS * number)
    wires = [
        _wire(clock, start, "in", every // KICKS, every, np.full(every.size, -2), context),
        _wire(start, relay, "in", every, every, np.full(every.size, 2), context),
        _wire(relay, relay, "in", every, every, np.full(every.size, -1), context),
    ]
    first = 0
    for one in held:
        group = (first + np.arange(one.chosen.size)) // serves(context)
        first += one.chosen.size
        fastest = one.ports[-1]
        # the clock's current is at its steady level from the first event on, as far as starters can lift it
        steady = np.minimum(one.clock * (2 ** one.code(fastest) - 1), KICKS * hardware["weight_max"])
        wires.append(_wire(clock, one.population, fastest, group, one.chosen, one.clock, context))
        room = {n: np.full(one.chosen.size, KICKS * hardware["weight_max"]) for n in one.ports}
        room[fastest] = room[fastest] - steady
        for name, weight in one.impulse(one.kick, room, shift).items():
            whole = weight + steady if name == fastest else weight
            ends = np.concatenate([KICKS * group + k for k in range(KICKS)]), np.tile(one.chosen, KICKS)
            wires.append(_wire(start, one.population, name, *ends, _parts(whole), context))
            wires.append(_wire(relay, one.population, name, *ends, _parts(-one.left(name, weight)), context))
    return {p.name: p for p in (clock, start, relay)}, wires


def _parts(whole: Ints) -> Ints:
    """Return ``KICKS`` nearly equal parts, ``(KICKS * neurons,)``."""
    return np.concatenate([(whole + part) // KICKS for part in range(KICKS)])


def _wire(source: Population, target: Population, port: str, pre: Ints, post: Ints, weight: Ints, context: Context) -> Projection:
    from scipy.sparse import csr_array

    shift, shape = context.record.shifts["hidden"], (target.size, source.size)
    scale = context.record.scale.get(target.name, np.ones(target.size))
    some = weight != 0
    pre, post, weight = pre[some], post[some], weight[some]
    integers = csr_array((weight, (post, pre)), shape=shape)
    drive = csr_array((integers.data * 2.0**shift / scale[entries(integers)[0]], integers.indices, integers.indptr), shape=shape)
    return Projection(
        f"{PREFIX}{source.name}->{target.name}:{port}",
        source.name,
        target.name,
        port,
        Sparse((source.size,), target.shape, weight=drive),
        frozen(1, np.int64),
        nodes=target.nodes,
        quantized=Quantized(integers, shift, scale),
    )


def _relay(name: str, size: int, context: Context) -> Population:
    """Return neurons that repeat each spike one step later, given a weight of 2 and one of -1 onto themselves."""
    context.record.layer[name], context.record.lag[name] = "hidden", 0
    return helper(name, size, "relay", threshold=2 ** context.record.shifts["hidden"])
