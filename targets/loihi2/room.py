"""How far currents and membranes of a population get when all its sources fire in every step."""

from __future__ import annotations

import numpy as np

from nirhw.network import Population
from nirhw.operators import Array
from nirhw.pipeline import Context

from .formats import UNIT, Reach, keeps
from .options import HeadRoom
from .structure import SOURCE
from .ways import Chosen

STATE_MAX = (1 << 23) - 1


def reach_of(pop: Population, sums: list[tuple[Array, Array]], constant: Array, threshold: Array) -> Reach:
    """Return what can arrive at a population: ``sums`` of its ways, constant drive and threshold in the same unit."""
    keep_u, keep_v = keeps(pop.codes["du"], pop.codes["dv"])
    zero = np.zeros(pop.size)
    return Reach(sum((u for u, _ in sums), zero), sum((d for _, d in sums), zero), constant, threshold, keep_u, keep_v)


def model_of(pop: Population, context: Context) -> str:
    """Return the neuron program, or ``"analog"`` where there is no threshold."""
    return "analog" if pop.threshold is None else str(context.record.models[pop.name])


def head_room(pop: Population, chosen: list[Chosen], mantissa: int, context: Context) -> HeadRoom:
    """Return how far states can get, from the integers."""
    unit = context.record.unit[pop.name]
    sums = []
    for c in chosen:
        up, down = c.way.sums(c.integers.astype(np.float64) * 2.0**c.exponent)
        slack = 2.0**c.exponent if c.way.proj.source == SOURCE else 0.0  # of the correction
        sums.append((up + slack, down + slack))
    constant = context.record.constant[pop.name] / unit * mantissa
    threshold = np.zeros(pop.size) if pop.threshold is None else pop.threshold / unit * mantissa
    reach = reach_of(pop, sums, constant, threshold)
    room = STATE_MAX / UNIT
    return HeadRoom(
        pop.name,
        float(reach.current.max(initial=0.0) / room),
        float(reach.membrane_high(model_of(pop, context)).max(initial=0.0) / room),
        float(reach.membrane_low().max(initial=0.0) / room),
        float(room / mantissa),
    )


def record_head_room(pop: Population, chosen: list[Chosen], mantissa: int, context: Context) -> None:
    """Add to ``record.head_room`` and list what can overflow or saturate."""
    room = head_room(pop, chosen, mantissa, context)
    context.record.head_room.append(room)
    if room.u > 1.0 or room.v_high > 1.0:
        context.deviate(
            "semantic",
            "may-overflow",
            pop.nodes,
            f"in the worst case u needs {room.u:.3g} and v {room.v_high:.3g} times what 24 bits hold; the emulator counts it",
        )
    if room.v_low > 1.0:
        unit = "thresholds" if pop.threshold is not None else "units"
        context.deviate(
            "rounded",
            "membrane-saturates",
            pop.nodes,
            f"an inhibited membrane goes down to -{room.saturates_at:.4g} {unit} and no further",
        )
