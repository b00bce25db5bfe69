"""Time constants to decay codes.

The arithmetic (lava-nc 0.10.0, proc/lif/models.py): u keeps ``(4096 - (du + 1)) / 4096`` a step, v ``(4096 - dv) / 4096``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from nirhw.fits import time_constant_fits
from nirhw.network import Ints, Network, Population
from nirhw.operators import Array, frozen
from nirhw.pipeline import Context

DECAY_ONE = 4096
#: what the NIR paper's Lava script multiplies decays by (NIR paper, nir_to_lava.py)
LAVA_ONE = 4095
#: relative widths of the bins in which time constants are merged, tried in this order
_WIDTHS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 20.0)


@dataclass(frozen=True)
class FitTimeConstants:
    """Choose du and dv for every neuron; where a population has more distinct pairs than allowed, merge the nearest."""

    name: str = "fit-time-constants"

    def apply(self, network: Network, context: Context) -> Network:
        """Set ``codes``; fill ``record.weight_scale``, ``record.times`` and ``record.splits``."""
        return network.with_populations(_fitted(pop, context) for pop in network.populations.values() if pop.rule != "input")


def _fitted(pop: Population, context: Context) -> Population:
    record, port = context.record, pop.ports[0]
    syn = np.zeros(pop.size) if port.decay is None else port.decay
    mem = np.zeros(pop.size) if pop.membrane is None else pop.membrane.decay
    du, dv = _codes(syn, mem, context)
    distinct = np.unique(np.stack([du, dv]), axis=1).shape[1]
    if distinct > context.options.groups:
        du, dv = _merged(du, dv, context.options.groups)
    left = np.unique(np.stack([du, dv]), axis=1).shape[1]
    if distinct > 1:
        record.splits[pop.name] = (distinct, left)
    gain = np.ones(pop.size) if pop.membrane is None else pop.membrane.gain
    record.weight_scale[pop.name, port.name] = frozen(port.gain * gain)
    if port.decay is not None and np.any(port.decay):
        _record_fit(context, pop, "tau_syn", syn, du, (du + 1) / DECAY_ONE)
    if pop.membrane is not None:
        _record_fit(context, pop, "tau_mem", mem, dv, dv / DECAY_ONE)
        if np.any((dv == 0) & (mem < 1.0)):
            context.deviate(
                "semantic",
                "leak-lost",
                pop.nodes,
                "a membrane leaks less than 1/8192 a step: on the chip not at all",
            )
    return replace(pop, codes={**pop.codes, "du": du, "dv": dv})


def _codes(syn: Array, mem: Array, context: Context) -> tuple[Ints, Ints]:
    hardware = context.hardware
    if context.options.conversion == "lava":
        # int(dt / tau * 4095), of which dt / tau is 1 - decay up to rounding
        du, dv = (np.floor((1.0 - decay) * LAVA_ONE + 1e-9) for decay in (syn, mem))
    else:
        du, dv = np.rint((1.0 - syn) * DECAY_ONE) - 1.0, np.rint((1.0 - mem) * DECAY_ONE)
    return (
        np.clip(du, 0, hardware["du_max"]).astype(np.int64),
        np.clip(dv, 0, hardware["dv_max"]).astype(np.int64),
    )


def _merged(du: Ints, dv: Ints, most: int) -> tuple[Ints, Ints]:
    """Return codes with at most ``most`` distinct pairs: bins of equal ratio, as narrow as suffices, each of one median pair.

    Codes that keep nothing or everything stay what they are as long as there is room.
    """
    keeps_all = dv == 0
    for width in _WIDTHS:
        bins = np.stack([_bin(du + 1, width), np.where(keeps_all, -1, _bin(np.maximum(dv, 1), width))])
        _, index = np.unique(bins, axis=1, return_inverse=True)
        index = index.ravel()
        if int(index.max()) < most:
            break
    else:
        index = np.zeros(du.size, np.int64) if most == 1 else np.minimum(index, most - 1)
    new_du, new_dv = du.copy(), dv.copy()
    for k in np.unique(index):
        members = index == k
        new_du[members] = int(np.median(du[members]))
        new_dv[members] = int(np.median(dv[members]))
    return new_du, new_dv


def _bin(code: Ints, width: float) -> Ints:
    return np.asarray(np.floor(np.log(code) / np.log1p(width)), np.int64)


def _record_fit(context: Context, pop: Population, quantity: str, decay: Array, code: Ints, lost: Array) -> None:
    """Record wanted and achieved areas under the impulse response, in steps."""
    with np.errstate(divide="ignore"):
        wanted, achieved = 1.0 / (1.0 - decay), 1.0 / lost
    fits = time_constant_fits(pop.name, quantity, wanted, code, achieved)
    context.record.times.extend(fits)
    worst = max((abs(f.error) for f in fits if np.isfinite(f.error)), default=0.0)
    if worst > 1e-6:
        context.deviate("rounded", "time-constant", pop.nodes, f"{quantity} takes a 12-bit code, off by up to {worst:.2%}")
