"""Time stretch: each step of the network, a row of the host's arrays, becomes several steps of the chip.

What is kept, with ``s`` chip steps a row, ``alpha = a_m ** (1 / s)`` and ``beta = a_s ** (1 / s)``: an event enters in the first
chip step of its row, and its effect on a membrane at the last chip step of each row is that of the network.  There the chip's
kernel is ``(alpha ** m - beta ** m) / (alpha - beta)`` with ``m = s * (n + 1)``, the network's the same with ``a_m``, ``a_s`` and
``n + 1``, so their ratio, ``sum_k alpha ** k * beta ** (s - 1 - k)``, is one number for all rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nirhw.calibration.knobs import Knob
from nirhw.network import Membrane, Network, Population, Port, Projection
from nirhw.operators import Array, frozen
from nirhw.pipeline import Context

from .clock import Load

#: name of the option, which is a knob of calibration, too
KNOB = "time_stretch"
#: most chip steps of a row that calibration tries by itself
TRIED = 4


def stretch_knob(network: Network, context: Context) -> list[Knob]:
    """Return the knob for chip steps a row; none where two of them would end real time, or the user has chosen."""
    if context.options.time_stretch > 1:
        return []
    load = Load.of(network, context)
    most = TRIED if load.cycles > load.most else min(TRIED, int(load.most / max(load.cycles, 1.0)))
    return [Knob(KNOB, 1, 1, most, "ladder", "chip steps that each step of the network takes")] if most > 1 else []


@dataclass(frozen=True)
class StretchTime:
    """Rewrite a network in rows into one in chip steps, after which all passes speak of chip steps."""

    name: str = "stretch-time"

    def apply(self, network: Network, context: Context) -> Network:
        """Return the network in chip steps; keep the row's length in ``record.dt``, list what a stretch changes."""
        steps = context.options.time_stretch
        context.record.dt = network.dt
        if steps == 1:
            return network
        spiking = [node for p in network.populations.values() if p.rule == "spiking" for node in p.nodes]
        if spiking:
            context.deviate(
                "retimed",
                "time-stretch",
                spiking,
                f"a row is {steps} chip steps: membranes meet their thresholds in each, so a spike may act within its row, "
                f"up to {steps - 1} chip step(s) later or earlier than at the row's end",
            )
        return replace(
            network,
            populations={name: _stretched(pop, steps) for name, pop in network.populations.items()},
            projections=tuple(_delayed(p, steps) for p in network.projections),
            dt=network.dt / steps,
        )


def stretch_of(io_map: Mapping[str, Any]) -> int:
    """Return the chip steps of a row; an io map that says nothing has one."""
    steps: int = io_map.get("time_stretch", 1)
    return steps


def rows_of(lag: int, steps: int) -> int:
    """Return after how many rows all has shown that lags by ``lag`` chip steps."""
    return -(-lag // steps)


def part_of(decay: Array, steps: int) -> Array:
    """Return what a state keeps in each of ``steps`` chip steps if it keeps ``decay`` in a row."""
    return np.asarray(decay ** (1.0 / steps))


def sum_over(decay: Array, steps: int) -> Array:
    """Return how often a constant drive of a chip step counts by the end of a row, in a state that keeps ``decay`` a row."""
    return _mixed(part_of(decay, steps), np.ones(decay.shape), steps)


def _mixed(first: Array, second: Array, steps: int) -> Array:
    """Return ``sum_k first ** k * second ** (steps - 1 - k)``."""
    return np.asarray(sum(first**k * second ** (steps - 1 - k) for k in range(steps)))


def reached(port: Port, membrane: Membrane, steps: int) -> Array:
    """Return what a unit of current amounts to in a membrane by the end of a row of chip steps, in whose first it arrives.

    What does not filter counts by its area, the mean over the row: the chip has no such synapse, and a membrane that forgets
    within a row would have nothing left at its end.  Decays are those of a chip step.
    """
    alpha = membrane.decay
    area = _mixed(alpha, np.ones(alpha.shape), steps) / steps
    if port.decay is None:
        return area
    return np.where(port.decay > 0, _mixed(alpha, port.decay, steps), area)


def _stretched(pop: Population, steps: int) -> Population:
    if pop.membrane is None:
        return pop
    # a constant drive lifts the membrane by the same in a row, and to the same resting level
    lifted = sum_over(pop.membrane.decay, steps)
    leak = frozen(pop.membrane.leak / lifted)
    membrane = replace(pop.membrane, decay=frozen(part_of(pop.membrane.decay, steps)), leak=leak)
    return replace(pop, ports=tuple(_stretched_port(port, membrane, lifted, steps) for port in pop.ports), membrane=membrane)


def _stretched_port(port: Port, membrane: Membrane, lifted: Array, steps: int) -> Port:
    """Return the port of a stretched membrane that ``lifted`` says of how often constant drives count in a row."""
    drawn = port if port.decay is None else replace(port, decay=frozen(part_of(port.decay, steps)))
    unit = reached(drawn, membrane, steps)
    settled = 1.0 if port.decay is None else sum_over(port.decay, steps)
    return replace(drawn, gain=frozen(port.gain / unit), bias=frozen(port.bias * unit / (lifted * settled)))


def _delayed(projection: Projection, steps: int) -> Projection:
    return replace(projection, delay=frozen(projection.delay * steps, np.int64))
