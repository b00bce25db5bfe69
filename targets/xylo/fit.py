"""Time constants to decay codes, and the gains that make up for what the codes and the chip's order of operations lose.

Sources of the arithmetic: a synapse decays before its current is used, so an event counts ``1 - 2 ** -code`` of its weight; a
decay code ``d`` keeps ``1 - 2 ** -d`` of a state a step (checked bit for bit against xylosim 0.1.3 in tests/oracles).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from nirhw.fits import time_constant_fits
from nirhw.network import Ints, Network, Population, Port, Projection
from nirhw.operators import Array, frozen
from nirhw.pipeline import Context

from .kernels import (
    SECOND,
    TOLERATED,
    WORTH,
    Split,
    best_synapse,
    fitted_gains,
    kept,
    one_synapse_error,
    rate_neutral,
    response_fits,
    two_synapses,
)
from .knobs import drive, moved

#: code of a synapse that should not filter at all: code 0 would kill it
SHORTEST_SYNAPSE = 1


@dataclass(frozen=True)
class FitTimeConstants:
    """Choose decay codes per neuron and work out gains.

    The code of a membrane is the power of two nearest in ratio to the area under its response, ``1 / (1 - decay)`` steps: but for
    ties, also the one whose response is most like the wanted one.  The code of a synapse is the one with which the neuron, on
    that membrane, answers an event most like the network's neuron; without gains it is the one nearest in area.

    The gain makes up for decay before use exactly and keeps the area under a synapse's response.  For the rounding of a membrane
    it is the square root of the ratio of areas, half way between equal peak and equal area, and what a spike takes off is
    deepened likewise.  So rates are kept.  An unfiltered input keeps its area.

    A hidden neuron with a free second synapse takes both where together they answer an event much more like the network's neuron
    than one does (:mod:`.kernels`).  A connection holds a weight for either, so this costs no fan-out.
    """

    name: str = "fit-time-constants"

    def apply(self, network: Network, context: Context) -> Network:
        """Set ``codes``, add second synapses; fill the record with all that was fitted."""
        members = [pop for pop in network.populations.values() if pop.membrane is not None]
        fitted = network.with_populations(_fitted(pop, context) for pop in members)
        seconds = [_through_second(p) for p in network.projections if (p.target, p.port) in context.record.splits]
        return replace(fitted, projections=(*fitted.projections, *seconds))


def _through_second(proj: Projection) -> Projection:
    return replace(proj, name=proj.name + SECOND, port=proj.port + SECOND)


def area_of(decay: Array) -> Array:
    """Return the area under an impulse response of ``decay`` per step, in steps; infinite for an integrator."""
    with np.errstate(divide="ignore"):
        return np.asarray(1.0 / (1.0 - decay))


def nearest_code(area: Array, lowest: int, highest: int) -> Ints:
    """Return the decay code whose ``2 ** code`` steps are nearest in ratio to ``area``."""
    with np.errstate(over="ignore"):
        return np.clip(np.rint(np.log2(np.minimum(area, 2.0**40))), lowest, highest).astype(np.int64)


@dataclass(frozen=True, eq=False)
class _Tap:
    """A synapse of the chip: decay code, and gain of its response in the wanted one's place; ``(size,)`` each."""

    port: Port
    code: Ints
    gain: Array


def _fitted(pop: Population, context: Context) -> Population:
    membrane, record = pop.membrane, context.record
    assert membrane is not None  # the caller's condition
    highest = context.hardware["decay_max"]
    wanted = area_of(membrane.decay)
    where = record.layer[pop.name]
    code = moved(nearest_code(wanted, 0, highest), f"code.membrane.{where}", 0, highest, context)
    _record_fit(context, pop, "tau_mem", wanted, code)
    with np.errstate(invalid="ignore"):
        ratio = np.where(np.isfinite(wanted), wanted / 2.0**code, 1.0)
    compensated = context.options.gain == "area"
    record.fading[pop.name] = frozen(np.sqrt(ratio) if compensated else np.ones(pop.size))
    codes: dict[str, Ints] = {"v_mem_decay": code}
    ports: list[Port] = []
    constant = membrane.leak.copy()
    for port in pop.ports:
        for tap in _taps(pop, port, code, ratio, context):
            ports.append(tap.port)
            codes[f"i_syn_decay:{tap.port.name}"] = tap.code
            plain = port.gain * membrane.gain
            record.factor[pop.name, tap.port.name] = frozen(plain * tap.gain / kept(tap.code) if compensated else plain)
        synaptic_area = 1.0 if port.decay is None else area_of(port.decay)
        biased = context.tuned(f"bias.{where}", 1.0)
        constant = constant + biased * membrane.gain * port.gain * port.bias * synaptic_area
        if port.decay is not None and np.any(port.bias):
            context.deviate(
                "semantic",
                "bias-skips-ramp",
                pop.nodes,
                "a bias enters the membrane at once instead of through its synapse; equal after the synapse has settled",
            )
    fitted = replace(pop, codes={**pop.codes, **codes}, ports=tuple(ports))
    record.constant[pop.name] = drive(fitted, constant * ratio, context)
    return fitted


def _taps(pop: Population, port: Port, membrane_code: Ints, ratio: Array, context: Context) -> list[_Tap]:
    """Return the synapses that stand for a port: one, or two where they serve it much better."""
    assert pop.membrane is not None  # the caller's condition
    best, code = _synapse_codes(pop, port, membrane_code, context)
    # an unfiltered input keeps the area of one event
    area = 1.0 if port.decay is None or not _filters(port) else area_of(port.decay)
    one = _Tap(port, code, np.sqrt(ratio) * area / 2.0**code)
    wanted = np.zeros(pop.size) if port.decay is None else port.decay
    error = one_synapse_error(wanted, pop.membrane.decay, code, membrane_code)
    split = _split(pop, port, membrane_code, best, one, error, context)
    taps = [one] if split is None else [_of_two(split, port, k) for k in (0, 1)]
    found = error if split is None else split.error
    context.record.responses.extend(response_fits(pop.name, port.name, [t.code for t in taps], membrane_code, error, found))
    return taps


def _of_two(split: Split, port: Port, number: int) -> _Tap:
    """Return one of two synapses; what a bias brings does not come through synapses."""
    code, gain = split.codes[number], split.gains[number]
    bias = port.bias if number == 0 else np.zeros(code.size)
    name = port.name + SECOND * number
    return _Tap(replace(port, name=name, gain=frozen(port.gain * gain), decay=frozen(kept(code)), bias=frozen(bias)), code, gain)


def _filters(port: Port) -> bool:
    return port.decay is not None and bool(np.any(port.decay))


def _split(
    pop: Population, port: Port, membrane_code: Ints, best: Ints, one: _Tap, error: Array, context: Context
) -> Split | None:
    """Return how two synapses stand for a port, each neuron's second one silent where it is not worth it; None where all are.

    Args:
        pop: the population.
        port: its port.
        membrane_code: decay codes of its membranes.
        best: codes of one synapse that fit best; whether a second one is worth it is judged by these.
        one: one synapse.
        error: relative error of its response.
        context: of the compilation.
    """
    record, options, hardware = context.record, context.options, context.hardware
    free = record.layer[pop.name] == "hidden" and len(pop.ports) < hardware["hidden_synapses"]
    if not free or not _filters(port) or options.synapses == "one" or options.gain == "none":
        return None
    assert pop.membrane is not None and port.decay is not None  # it filters
    two = two_synapses(port.decay, pop.membrane.decay, membrane_code, SHORTEST_SYNAPSE, hardware["decay_max"])
    least = one_synapse_error(port.decay, pop.membrane.decay, best, membrane_code)
    worth = (least > TOLERATED) & (two.error < WORTH * least)
    if not np.any(worth):
        return None
    codes = moved(two.codes, "code.synapse.hidden", SHORTEST_SYNAPSE, hardware["decay_max"], context)
    if np.any(codes != two.codes):
        apart = codes[0] < codes[1]
        fitted = fitted_gains(port.decay, pop.membrane.decay, membrane_code, np.where(apart, codes, two.codes))
        two = fitted.scaled(two.areas.sum(axis=0) / fitted.areas.sum(axis=0))
    gain, depth = rate_neutral(pop.membrane.decay, membrane_code)
    record.fading[pop.name] = frozen(np.where(worth, depth, record.fading[pop.name]))
    record.splits[pop.name, port.name] = split = two.scaled(gain).where(worth, one.code, one.gain, error)
    context.deviate(
        "rounded",
        "two-synapses",
        pop.nodes,
        "two synapses of the chip stand for one: together they answer an event more alike",
    )
    return split


def _synapse_codes(pop: Population, port: Port, membrane_code: Ints, context: Context) -> tuple[Ints, Ints]:
    """Return the decay codes of one synapse that fit best, and those that calibration moved."""
    if not _filters(port):
        context.deviate(
            "rounded",
            "synapse-not-instant",
            pop.nodes,
            "the shortest synapse of the chip keeps half of its current a step, where the network wants none kept",
        )
        return (np.full(pop.size, SHORTEST_SYNAPSE, np.int64),) * 2
    assert pop.membrane is not None and port.decay is not None  # it filters
    wanted, highest = area_of(port.decay), context.hardware["decay_max"]
    best = nearest_code(wanted, SHORTEST_SYNAPSE, highest)
    if context.options.gain == "area":  # another one needs a gain that makes up for its area
        best = best_synapse(port.decay, pop.membrane.decay, membrane_code, SHORTEST_SYNAPSE, highest)
    code = moved(best, f"code.synapse.{context.record.layer[pop.name]}", SHORTEST_SYNAPSE, highest, context)
    _record_fit(context, pop, "tau_syn" if len(pop.ports) == 1 else f"tau_syn of {port.name}", wanted, code)
    return best, code


def _record_fit(context: Context, pop: Population, quantity: str, wanted: Array, code: Ints) -> None:
    fits = time_constant_fits(pop.name, quantity, wanted, code, 2.0**code)
    context.record.times.extend(fits)
    worst = max((abs(f.error) for f in fits), default=0.0)
    if worst > 1e-6:
        context.deviate(
            "rounded",
            "time-constant",
            pop.nodes,
            f"{quantity} rounds to a power of two of dt, off by up to {worst:.1%}",
        )
