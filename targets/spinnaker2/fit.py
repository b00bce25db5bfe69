"""Parameters of the neuron applications from the network's: gains, decays of the two synaptic currents, constant drives.

All of them are float32 on the chip, so nothing is rounded beyond the last bit.  A neuron has one excitatory and one inhibitory
current: ports of equal decay share them, and two ports of different decay fit where one carries positive weights only and the
other negative ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nirhw.calibration.gains import layers_of, tuned_drive
from nirhw.diagnostics import Diagnostic, error_of
from nirhw.fits import time_constant_fits
from nirhw.network import Network, Population, Port, Projection
from nirhw.operators import Array, frozen
from nirhw.pipeline import Context


@dataclass(frozen=True)
class FitParameters:
    """Work out what a unit of drive changes, what a current keeps, and what is added in every step."""

    name: str = "fit-parameters"

    def apply(self, network: Network, context: Context) -> Network:
        """Fill ``record.factor``, ``record.decays``, ``record.offset`` and ``record.times``; the network stays as it is.

        Raises:
            LegalizeError: NIRHW-E030 for every population whose ports need more currents than there are.
        """
        found = []
        layer = layers_of(network)
        for pop in network.populations.values():
            if pop.rule == "input":
                continue
            _fill(network, pop, layer, context)
            decays = _decays(network, pop, context)
            if decays is None:
                found.append(
                    Diagnostic(
                        "NIRHW-E030",
                        f"{len(pop.ports)} synapses with own time constants end in one neuron",
                        pop.nodes,
                        "a neuron has one excitatory and one inhibitory current, each with one decay",
                        "give the filters equal time constants, or let one carry positive and the other negative weights only",
                    )
                )
            else:
                context.record.decays[pop.name] = decays
                _record_times(pop, decays, context)
        if found:
            raise error_of(found)
        return network


def decay_of(port: Port) -> Array:
    """Return what a port keeps a step; 0 where it does not filter."""
    return np.zeros(port.gain.size) if port.decay is None else port.decay


def _fill(network: Network, pop: Population, layer: Mapping[str, str], context: Context) -> None:
    record, membrane = context.record, pop.membrane
    # py-spinnaker2's converter leaves dt out of IF
    impulses = context.options.vendor and membrane is not None and network.dt != 1.0
    unit = np.where(np.isinf(membrane.tau), 1.0 / network.dt, 1.0) if impulses and membrane is not None else 1.0
    gain = np.ones(pop.size) if membrane is None else membrane.gain * unit
    for port in pop.ports:
        record.factor[pop.name, port.name] = frozen(gain * port.gain)
    factor, lift = tuned_drive(pop, layer, context)
    record.bias_gain[pop.name] = factor
    record.offset[pop.name] = frozen(lift if membrane is None else membrane.leak + lift)


def _decays(network: Network, pop: Population, context: Context) -> tuple[Array, Array] | None:
    """Return the decays of the excitatory and the inhibitory current, or None where two ports want one of them."""
    kept = [decay_of(port) for port in pop.ports]
    if all(np.array_equal(k, kept[0]) for k in kept):
        return frozen(kept[0]), frozen(kept[0])
    ways = network.into(pop.name)
    currents = [np.full(pop.size, np.nan), np.full(pop.size, np.nan)]
    for port, decay in zip(pop.ports, kept, strict=True):
        for current, used in zip(currents, _signs(ways, port, context.record.factor[pop.name, port.name]), strict=True):
            if np.any(used & ~np.isnan(current) & (current != decay)):
                return None
            current[used] = decay[used]
    # a current that no weight uses takes the other's decay: one that nothing uses at all, none
    exc, inh = (np.where(np.isnan(a), np.nan_to_num(b), a) for a, b in (currents, currents[::-1]))
    return frozen(exc), frozen(inh)


def _signs(ways: tuple[Projection, ...], port: Port, factor: Array) -> tuple[np.ndarray, np.ndarray]:
    """Return which neurons a port drives upwards, and which downwards."""
    up, down = np.zeros(port.gain.size, bool), np.zeros(port.gain.size, bool)
    pushes = [port.bias, *(onset.drive for onset in port.onsets)]
    for way in ways:
        if way.port == port.name:
            matrix = way.operator.matrix
            pushes += [matrix.maximum(0.0).sum(axis=1), -((-matrix).maximum(0.0).sum(axis=1))]
    for push in pushes:
        up |= np.asarray(push * factor) > 0
        down |= np.asarray(push * factor) < 0
    return up, down


def _record_times(pop: Population, decays: tuple[Array, Array], context: Context) -> None:
    wanted = {} if pop.membrane is None else {"tau_mem": pop.membrane.decay}
    wanted |= {"tau_syn": decays[0]} if np.any(decays[0]) else {}
    wanted |= {"tau_syn, inhibitory": decays[1]} if not np.array_equal(*decays) else {}
    for quantity, decay in wanted.items():
        code = decay.astype(np.float32)
        with np.errstate(divide="ignore"):
            areas = 1.0 / (1.0 - decay), 1.0 / (1.0 - code.astype(np.float64))
        context.record.times.extend(time_constant_fits(pop.name, quantity, areas[0], code, areas[1]))
