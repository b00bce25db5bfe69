"""One matrix as several of unlike exponents, by the size of its weights.

An outlier sets the exponent of its matrix and with it how coarse all other weights are.  Lava adds up what any number of
connections bring, so large and small weights may stand in matrices of their own; and a weight may stand in two: what a coarse
matrix leaves of it, a fine one adds.  The few synapses more are within ``SHARE``; the rest takes axons.  It is done where noise
would be heard and all synapses of the population still fit one core.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np

from nirhw.balance import drive_error
from nirhw.network import Ints
from nirhw.operators import Array, Sparse
from nirhw.pipeline import Context

from .formats import weight_format
from .structure import CARRY_SUFFIX, SOURCE, fits_one_core
from .ways import Way, drive_losses

#: signal to noise of a matrix, in dB, beyond which it stays whole: about that of an 8-bit matrix without outliers
ENOUGH_DB = 40.0
#: share of its noise that a matrix more must take away
WORTH = 0.5
#: synapses that weights may take that stand in several matrices, as a share of the weights
SHARE = 1.25
#: exponents from which matrices that add up may begin in all ways alike, where their formats would be too many otherwise
FLOORS = 4


def by_range(ways: list[Way], mantissa: int, exponents: list[int], context: Context) -> tuple[list[Way], list[int]]:
    """Return the ways into a population and their exponents after splitting those whose small weights are lost.

    Args:
        ways: of one population.
        mantissa: threshold register.
        exponents: by way, as chosen for whole matrices.
        context: names the most matrices that one may become, and the hardware.
    """
    options = context.options
    most = 1 if options.netx or options.scaling != "error" else options.ranges
    if most > 1 and not fits_one_core([w.proj for w in ways], context):
        return ways, exponents
    for count, floor in product(range(most, 1, -1), range(FLOORS)):
        parts = [_parts(w, mantissa, e, count, floor) for w, e in zip(ways, exponents, strict=True)]
        split = [pair for part in parts for pair in part]
        if len(split) == len(ways):
            if floor:
                continue
            break
        formats = {(e, w.format.mode, w.bits) for w, e in split}
        room = len(formats) <= context.hardware["synapse_formats_per_core"]
        if room and fits_one_core([w.proj for w, _ in split], context):
            return [w for w, _ in split], [e for _, e in split]
    return ways, exponents


def _parts(way: Way, mantissa: int, exponent: int, most: int, floor: int) -> list[tuple[Way, int]]:
    whole = [(way, exponent)]
    own = way.proj.source == SOURCE or way.proj.name.endswith(CARRY_SUFFIX)
    top = way.exponent(mantissa, way.largest)
    if way.kernel is not None or own or top == 0 or _is_fine(way, mantissa, exponent):
        return whole
    size = np.abs(way.values) * mantissa
    ladders = [_apart(_needed(size, way, top), most), _added(size, way, top, most, floor)]
    splits = [_shares(way, mantissa, ladder, added=bool(k)) for k, ladder in enumerate(ladders) if len(ladder) > 1]
    if not splits:
        return whole
    lost = [_lost(way, split, mantissa) for split in splits]
    best = int(np.argmin(lost))
    # weights of few bits can lie so badly on their octaves that clipping one grid is better
    if lost[best] >= _loss(way, mantissa, exponent):
        return whole
    return [(_part(way, values, e), e) for e, values in splits[best] if values.any()]


def _needed(size: Array, way: Way, top: int) -> Ints:
    """Return the least exponent at which each weight of ``size``, in units of the threshold register, fits the format."""
    return np.clip(np.ceil(np.log2(np.maximum(size / way.format.largest, 1e-300)) - 1e-12), 0, top).astype(np.int64)


def _shares(way: Way, mantissa: int, ladder: list[int], added: bool) -> list[tuple[int, Array]]:
    """Return by exponent, descending, what stands in its matrix of each weight; ``added``: with what coarser ones leave."""
    left, found = way.values.copy(), []
    for e, finer in zip(reversed(ladder), [*reversed(ladder[:-1]), None], strict=True):
        large = np.ones(left.size, np.bool_) if finer is None else np.abs(left) * mantissa > way.format.largest * 2.0**finer
        held = np.where(large, left, 0.0)
        if added and finer is not None:
            unit = way.format.grid.step * 2.0**e / mantissa
            held = np.trunc(held / unit) * unit  # towards zero, as a matrix of one sign cannot take a weight back
        left = left - held
        found.append((e, held))
    return found


def _lost(way: Way, shares: list[tuple[int, Array]], mantissa: int) -> float:
    """Return the drive error of a way in several matrices, each weight rounded to the nearest."""
    lost = -way.values
    for e, values in shares:
        unit = 2.0**e / mantissa
        form = weight_format(values, way.bits, way.format.grid.truncate)
        lost = lost + form.nearest(values / unit) * unit
    return float(drive_error(lost, way.row, way.rows).sum())


def _is_fine(way: Way, mantissa: int, exponent: int) -> bool:
    signal = float((way.values**2).sum())
    return bool(_loss(way, mantissa, exponent) <= signal * 10.0 ** (-ENOUGH_DB / 10.0))


def _loss(way: Way, mantissa: int, exponent: int) -> float:
    (loss,) = drive_losses(way, np.array([mantissa]), np.array([exponent])).tolist()
    return float(loss)


def _apart(needed: Ints, most: int) -> list[int]:
    """Return at most ``most`` exponents, ascending, the largest among them, where each weight stands in one matrix."""
    top = int(needed.max(initial=0))
    count = np.bincount(needed, minlength=top + 1)
    chosen = [top]

    def noise(exponents: list[int]) -> float:
        held = np.array(sorted(exponents))[np.searchsorted(sorted(exponents), np.arange(top + 1))]
        return float((count * 4.0**held).sum())

    while len(chosen) < most:
        added = min((e for e in range(top) if e not in chosen), key=lambda e: noise([*chosen, e]), default=None)
        if added is None or noise([*chosen, added]) > WORTH * noise(chosen):
            break
        chosen.append(added)
    return sorted(chosen)


def _added(size: Array, way: Way, top: int, most: int, floor: int) -> list[int]:
    """Return the exponents, ascending, of the finest matrices that add up to all weights at no more than ``SHARE`` synapses each.

    They stand as far apart as the integers of one matrix reach, so that matrices of a population need few formats.
    """
    grid = way.format.grid
    span = (grid.largest // grid.step + 1).bit_length() - 1
    for finest in range(floor, top):
        ladder = [min(e, way.top_exponent) for e in range(finest, top + span, span)]
        synapses = (size >= 0.5 * grid.step * 2.0**finest).sum() + sum(
            int((size > grid.largest * 2.0**e).sum()) for e in ladder[:-1]
        )
        if len(ladder) <= most and synapses <= SHARE * np.count_nonzero(size):
            return ladder
    return [top]


def _part(way: Way, values: Array, exponent: int) -> Way:
    """Return a way of some ``values`` in place of its own, such as of one range only."""
    full = way.proj.operator.matrix.copy()
    full.sort_indices()
    matrix, weight = way.matrix.copy(), full
    share = np.divide(values, matrix.data, out=np.zeros(values.size), where=matrix.data != 0.0)
    matrix.data, weight.data = values, weight.data * share
    matrix.eliminate_zeros()
    weight.eliminate_zeros()
    operator = Sparse(way.proj.operator.in_shape, way.proj.operator.out_shape, weight=weight)
    proj = replace(way.proj, name=f"{way.proj.name}^{exponent}", operator=operator)
    form = weight_format(matrix.data, way.bits, way.format.grid.truncate)
    return replace(way, proj=proj, origin=way.origin or way.proj.name, values=matrix.data, matrix=matrix, format=form)
