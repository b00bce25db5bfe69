"""Time constants to decay codes, and the gains that make up for what the codes and the chip's order of operations lose.

Sources of the arithmetic: a synapse decays before its current is used, so an event counts ``1 - 2 ** -code`` of its weight; a
decay code ``d`` keeps ``1 - 2 ** -d`` of a state a step (checked bit for bit against xylosim 0.1.3 in tests/oracles).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from nirhw.fits import time_constant_fits
from nirhw.network import Ints, Network, Population, Port
from nirhw.operators import Array, frozen
from nirhw.pipeline import Context

from .knobs import drive

#: code of a synapse that should not filter at all: code 0 would kill it
SHORTEST_SYNAPSE = 1


@dataclass(frozen=True)
class FitTimeConstants:
    """Choose decay codes per neuron and work out gains.

    The code is the power of two nearest in ratio to the area under the wanted kernel, ``1 / (1 - decay)`` steps.  The gain makes
    up for decay before use exactly, and for the rounding of a time constant by the square root of the ratio of areas: half way
    between equal peak and equal area.  An unfiltered input keeps its area.
    """

    name: str = "fit-time-constants"

    def apply(self, network: Network, context: Context) -> Network:
        """Set ``codes``; fill ``record.factor``, ``record.constant`` and ``record.times``."""
        return network.with_populations(_fitted(pop, context) for pop in network.populations.values() if pop.membrane is not None)


def area_of(decay: Array) -> Array:
    """Return the area under an impulse response of ``decay`` per step, in steps; infinite for an integrator."""
    with np.errstate(divide="ignore"):
        return np.asarray(1.0 / (1.0 - decay))


def nearest_code(area: Array, lowest: int, highest: int) -> Ints:
    """Return the decay code whose ``2 ** code`` steps are nearest in ratio to ``area``."""
    with np.errstate(over="ignore"):
        return np.clip(np.rint(np.log2(np.minimum(area, 2.0**40))), lowest, highest).astype(np.int64)


def _fitted(pop: Population, context: Context) -> Population:
    membrane, record = pop.membrane, context.record
    assert membrane is not None  # the caller's condition
    highest = context.hardware["decay_max"]
    wanted = area_of(membrane.decay)
    where = record.layer[pop.name]
    code = nearest_code(wanted, 0, highest)
    _record_fit(context, pop, "tau_mem", wanted, code)
    with np.errstate(invalid="ignore"):
        ratio = np.where(np.isfinite(wanted), wanted / 2.0**code, 1.0)
    codes: dict[str, Ints] = {"v_mem_decay": code}
    constant = membrane.leak.copy()
    for port in pop.ports:
        syn = _synapse_code(pop, port, context)
        codes[f"i_syn_decay:{port.name}"] = syn
        record.factor[pop.name, port.name] = _factor(port, membrane.gain, syn, ratio, context.options.gain)
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
    fitted = replace(pop, codes={**pop.codes, **codes})
    record.constant[pop.name] = drive(fitted, constant * ratio, context)
    return fitted


def _synapse_code(pop: Population, port: Port, context: Context) -> Ints:
    if port.decay is None or not np.any(port.decay):
        context.deviate(
            "rounded",
            "synapse-not-instant",
            pop.nodes,
            "the shortest synapse of the chip keeps half of its current a step, where the network wants none kept",
        )
        return np.full(pop.size, SHORTEST_SYNAPSE, np.int64)
    wanted = area_of(port.decay)
    code = nearest_code(wanted, SHORTEST_SYNAPSE, context.hardware["decay_max"])
    _record_fit(context, pop, "tau_syn" if len(pop.ports) == 1 else f"tau_syn of {port.name}", wanted, code)
    return code


def _factor(port: Port, membrane_gain: Array, syn: Ints, ratio: Array, gain: str) -> Array:
    """Return chip weight units (at scale 1) per unit of weight in the network."""
    plain = port.gain * membrane_gain
    if gain == "none":
        return frozen(plain)
    kept = 1.0 - 2.0**-syn
    if port.decay is None or not np.any(port.decay):
        # kernel w/2, w/4, ... sums to w * (2 ** code - 1): keep the area
        return frozen(plain / (2.0**syn - 1.0) * np.sqrt(ratio))
    return frozen(plain / kept * np.sqrt(ratio * area_of(port.decay) / 2.0**syn))


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
