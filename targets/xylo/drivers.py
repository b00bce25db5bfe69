"""Drivers: hidden neurons that keep another one to a single spike a step, exactly.

A neuron's count of spikes in a step starts at the copies that an alias of a lower id sent it, and ends at the cap.  A driver
(threshold 1, bias one below the cap, a membrane that keeps nothing) sends cap - 1 copies in every step, which leaves room for
one spike of the neuron's own.  It carries the neuron's outgoing weights with the opposite sign, so what is delivered is that one
spike.  Driver and neuron stand next to each other, so currents leave their place by at most cap - 1 events of one weight, for
which the quantizer leaves room.  Cost: a neuron, its synapses, and cap - 1 events of both in every step.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nirhw.calibration.knobs import Knob
from nirhw.network import Network, Population, Projection, Quantized
from nirhw.operators import Sparse
from nirhw.pipeline import Context

from .clock import Load, event_cycles
from .helpers import helper

KNOB = "drivers"
PREFIX = "driver~"
#: neurons with fewer further spikes than this a step burst too rarely to be worth a driver
RARE = 1e-4


def driver_knob(network: Network, context: Context) -> list[Knob]:
    """Return the knob for the number of drivers; none where no hidden neuron spikes."""
    if context.options.drivers == "never":
        return []
    members = [p for p in network.populations.values() if p.rule == "spiking" and context.record.layer[p.name] == "hidden"]
    neurons = sum(p.size for p in members)
    if not neurons:
        return []
    most = min(neurons, context.hardware["hidden_neurons"] - neurons, _affordable(network, neurons, context))
    return [Knob(KNOB, 0, 0, most, "ladder", "hidden neurons that a driver keeps to one spike a step")] if most > 0 else []


def _affordable(network: Network, neurons: int, context: Context) -> int:
    """Return for how many drivers the clock still suffices for real time; for all neurons where it does not even without them."""
    load = Load.of(network, context)
    room = load.most / context.options.time_stretch - load.cycles
    if room < 0:
        return neurons
    each = event_cycles(float(load.fan_out.max()), load.step.outputs, context.hardware)
    return int(room / (2 * (context.hardware["hidden_spikes"] - 1) * each))


def driven(pop: Population, context: Context) -> NDArray[np.bool_]:
    """Return which neurons of a population have a driver: those that burst most, as many as the knob says."""
    bursts = context.tuning.bursts
    count = int(context.tuned(KNOB, 0))
    if not count or pop.name not in bursts or context.record.layer[pop.name] != "hidden":
        return np.zeros(pop.size, bool)
    names = [n for n in bursts if context.record.layer.get(n) == "hidden"]
    everyone = np.sort(np.concatenate([bursts[n] for n in names]))[::-1]
    return np.asarray(bursts[pop.name] >= max(everyone[min(count, everyone.size) - 1], RARE))


@dataclass(frozen=True)
class AddDrivers:
    """Give the neurons that calibration chose their drivers."""

    name: str = "add-drivers"

    def apply(self, network: Network, context: Context) -> Network:
        """Return the quantized network with drivers; fill ``record.drives`` with the neurons that each population drives."""
        record = context.record
        populations: dict[str, Population] = {}
        added: list[Projection] = []
        for pop in network.populations.values():
            chosen = np.flatnonzero(driven(pop, context))
            if chosen.size:
                copies = context.hardware["hidden_spikes"] - 1
                driver = helper(PREFIX + pop.name, chosen.size, "driver", threshold=1, bias=copies)
                populations[driver.name] = driver
                record.layer[driver.name], record.lag[driver.name] = "hidden", record.lag[pop.name]
                record.drives[driver.name] = (pop.name, chosen)
                added += [_opposite(way, driver, chosen) for way in network.out_of(pop.name)]
            populations[pop.name] = pop
        return replace(network, populations=populations, projections=(*network.projections, *added)) if added else network


def _opposite(way: Projection, driver: Population, chosen: NDArray[np.int64]) -> Projection:
    """Return the synapses of ``chosen`` neurons with the opposite sign, from their drivers."""
    from scipy.sparse import csr_array

    assert way.quantized is not None  # the pass follows the quantizer
    weight = csr_array(-way.quantized.weight[:, chosen])
    drive = csr_array(weight * 2.0**way.quantized.shift / way.quantized.scale[:, None])
    return replace(
        way,
        name=PREFIX + way.name,
        source=driver.name,
        operator=Sparse((chosen.size,), way.operator.out_shape, weight=drive),
        recurrent=False,
        quantized=Quantized(weight, way.quantized.shift, way.quantized.scale),
    )
