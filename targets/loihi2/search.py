"""The search for a population's threshold register and the exponents of its weights."""

from __future__ import annotations

import numpy as np

from nirhw.diagnostics import error
from nirhw.network import Ints, Network, Population
from nirhw.operators import Array
from nirhw.pipeline import Context

from .compensate import rounding_together
from .formats import INTEGRATOR_STEPS, UNIT
from .knobs import tuned_register
from .ranges import by_range
from .registers import bias_exponent_max
from .room import STATE_MAX, head_room, model_of, reach_of
from .structure import SOURCE
from .ways import SAMPLE, Chosen, Way, drive_losses, sampled

#: threshold registers tried within an octave
TRIES = 64

#: thresholds down to which an inhibited membrane that leaks is kept from saturating; from there it needs many time constants to
#: come back in any case
DEPTH = 256.0


def fitted(network: Network, pop: Population, ways: list[Way], unit: Array, context: Context) -> tuple[int, list[Chosen]]:
    """Return the threshold register and the integers of all ways."""
    top, full = _largest_mantissa(pop, ways, unit, context)
    mantissa, exponents = _search(ways, top, context)
    turned = tuned_register(mantissa, pop, network, context)
    if turned != mantissa:
        mantissa, exponents = turned, _fine_exponents(ways, np.array([turned]))[0][0].tolist()
    ways, exponents = by_range(ways, mantissa, exponents, context)
    together = rounding_together(network, pop, ways, context)
    if together is not None:
        mantissa, exponents = together.best(ways, mantissa, exponents, top)
    while True:
        chosen = [Chosen(w, _integers(w, mantissa, e, context).astype(np.int64), e) for w, e in zip(ways, exponents, strict=True)]
        chosen = chosen if together is None else together.rounded(chosen, mantissa)
        if not _overflows(pop, chosen, mantissa, context):
            break
        mantissa = int(mantissa * 0.97)  # rounding made the weights a little larger than they are
        if mantissa < 1:
            raise _no_room(pop)
        exponents = _exponents(ways, mantissa, context)
    if together is not None:
        together.record(chosen, mantissa)
    bits = np.log2(full / mantissa) if mantissa < full else 0.0
    if bits > 0.5:
        context.deviate(
            "rounded",
            "coarse-weights",
            pop.nodes,
            f"so that 24 bits hold the worst case, the largest weights use {bits:.1f} bits less than they have; "
            "options={'worst_case': ...} below 1 takes less than all sources at once into account",
        )
    return mantissa, chosen


def _integers(way: Way, mantissa: int, exponent: int, context: Context) -> Array:
    # what a constant drive rounds away, a second projection holds
    plain = context.options.scaling != "error" or way.proj.source == SOURCE
    return way.rounded(mantissa, exponent) if plain else way.balanced(mantissa, exponent)


def _no_room(pop: Population) -> Exception:
    return error(
        "NIRHW-E034",
        "24-bit states overflow in every format when all sources fire at once",
        pop.nodes,
        "interval bounds on current and membrane; u wraps on the chip",
        "use fewer sources or faster decays, or allow for less with options={'worst_case': 0.1}",
    )


def _largest_mantissa(pop: Population, ways: list[Way], unit: Array, context: Context) -> tuple[int, float]:
    """Return the largest threshold register to try, and the one from which on the largest weight has all its bits."""
    hardware, options = context.hardware, context.options
    constant = context.record.constant[pop.name] / unit
    threshold = np.zeros(pop.size) if pop.threshold is None else pop.threshold / unit
    reach = reach_of(pop, [w.sums(w.values) for w in ways], constant, threshold)
    share = options.worst_case
    room = STATE_MAX / UNIT
    high = reach.membrane_high(model_of(pop, context)) * share
    if pop.threshold is None:
        leaky = reach.keep_v < 1
        high = np.where(leaky, high, (reach.current + np.abs(constant)) * share * INTEGRATOR_STEPS)
    hard = [room / _most(reach.current * share), room / _most(np.where(np.isfinite(high), high, 0.0))]
    hard.append((hardware["bias_mantissa_max"] << bias_exponent_max(context)) / UNIT / _most(np.abs(constant)))
    clip = 0.75 if options.scaling != "max" else 1.0
    hard += [w.format.largest * 2.0**w.top_exponent / (clip * w.largest) for w in ways if w.largest > 0]
    hard.append(float(hardware["threshold_max"]))
    ratios = [w.format.largest / w.largest for w in ways if w.largest > 0] or [1.0]
    top, full = min(hard), min(ratios)
    if top < 1:
        raise _no_room(pop)
    # where saturation cannot be excluded, states get the room that is left once all matrices have most of their bits
    fine = min(max(ratios), 4.0 * full)
    depth = _most(reach.membrane_low() * share)
    depth = min(depth, DEPTH) if np.isfinite(depth) and pop.threshold is not None else depth
    low = room / depth if np.all(np.isfinite(high)) else 0.0
    return int(max(min(top, low), min(top, max(2.0 * fine, 1.0)))), full


def _most(values: Array) -> float:
    """Return the largest value, or the smallest positive number."""
    return max(float(values.max(initial=0.0)), 1e-300)


def _search(ways: list[Way], top: int, context: Context) -> tuple[int, list[int]]:
    """Return the mantissa within an octave below ``top`` with the least drive error, and the exponents."""
    used = [w for w in ways if w.largest > 0]
    if not used:
        return top, [0] * len(ways)
    if context.options.scaling != "error":
        widest = max(used, key=lambda w: _extent(w, context) / w.format.largest)
        ratio = widest.format.largest / _extent(widest, context)
        mantissa = int(max(1.0, ratio * 2.0 ** np.floor(np.log2(max(top / ratio, 1e-300)) + 1e-9)))
        mantissa = min(max(mantissa, 1), top)
        return mantissa, _exponents(ways, mantissa, context)
    spread = np.geomspace(max(1.0, top / 2.0), top, TRIES)
    tried = np.unique(np.concatenate([spread, *(_lossless(w, top) for w in used), _full(used, top)]).astype(np.int64))
    exponents, loss = _fine_exponents(ways, tried)
    best = int(np.argmin(loss))
    return int(tried[best]), [int(e) for e in exponents[best]]


def _full(ways: list[Way], top: int) -> Array:
    """Return mantissas in the octave below ``top`` at which the largest weight of a way meets the end of its grid."""
    ratio = np.array([w.format.largest / w.largest for w in ways])
    return np.asarray(np.clip(ratio * 2.0 ** np.floor(np.log2(top / ratio) + 1e-9), 1.0, top))


def _fine_exponents(ways: list[Way], mantissa: Ints) -> tuple[Ints, Array]:
    """Return the exponents with the least drive error, ``[mantissa, way]``, and that error of all ways, ``(mantissa,)``."""
    exponents, loss = np.zeros((mantissa.size, len(ways)), np.int64), np.zeros(mantissa.size)
    for k, way in enumerate(ways):
        plain = way.exponents(mantissa, way.largest)
        lost, exponents[:, k] = drive_losses(way, mantissa, plain), plain
        if way.values.size <= SAMPLE:  # clipping is weighed where all weights are looked at
            finer = np.maximum(plain - 1, 0)
            clipped = drive_losses(way, mantissa, finer)
            exponents[:, k] = np.where(clipped <= lost, finer, plain)
            lost = np.minimum(clipped, lost)
        loss += lost
    return exponents, loss


def _lossless(way: Way, top: int) -> Array:
    """Return mantissas near the octave below ``top`` that keep weights exact which lie on a grid already."""
    levels = np.unique(np.abs(sampled(way)))
    gaps = np.diff(levels, prepend=0.0)
    gaps = gaps[gaps > 1e-6 * levels[-1]]
    if not gaps.size:
        return np.zeros(0)
    finest = way.format.grid.step / float(gaps.min())  # mantissa at which the grid of the weights is that of the chip
    octave = np.floor(np.log2(top / finest) + np.array([0.0, 1e-9]))
    unclipped = min(float(top), way.format.largest * 2.0**way.top_exponent / way.largest)
    multiple = max(np.floor(unclipped / finest + 1e-9), 1.0)
    return np.asarray(np.clip(np.rint(finest * np.append(2.0**octave, multiple)), 1.0, top))


def _extent(way: Way, context: Context) -> float:
    """Return the weight that meets the end of the grid."""
    if context.options.scaling == "max":
        return way.largest
    present = np.abs(way.values[way.values != 0])
    return float(np.percentile(present, context.options.percentile)) if present.size else 0.0


def _exponents(ways: list[Way], mantissa: int, context: Context) -> list[int]:
    if context.options.scaling == "percentile":
        return [w.exponent(mantissa, _extent(w, context)) for w in ways]
    return [w.exponent(mantissa, w.largest) for w in ways]


def _overflows(pop: Population, chosen: list[Chosen], mantissa: int, context: Context) -> bool:
    """Whether the integers can leave 24 bits where the search took care that they do not."""
    room = head_room(pop, chosen, mantissa, context)
    share = context.options.worst_case
    bounded = np.isfinite(room.v_high)
    return room.u * share > 1.0 or (bounded and room.v_high * share > 1.0 and mantissa > 1)
