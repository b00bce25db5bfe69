"""One matrix as several by the size of its weights, each with an exponent of its own.

An outlier sets the exponent of its matrix and with it how coarse all other weights are.  Lava adds up what any number of
connections bring, so large and small weights may stand in matrices of their own.  That takes axons and memory, not synapses: it
is done where noise would be heard and all synapses of the population still fit one core.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nirhw.balance import drive_error
from nirhw.operators import Sparse
from nirhw.pipeline import Context

from .formats import weight_format
from .structure import CARRY_SUFFIX, SOURCE, fits_one_core
from .ways import Way, drive_losses

#: signal to noise of a matrix, in dB, beyond which it stays whole: about that of an 8-bit matrix without outliers
ENOUGH_DB = 40.0
#: share of its noise that a matrix more must take away
WORTH = 0.5


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
    for count in range(most, 1, -1):
        parts = [_parts(w, mantissa, e, count) for w, e in zip(ways, exponents, strict=True)]
        split = [pair for part in parts for pair in part]
        if len(split) == len(ways):
            return ways, exponents
        formats = {(e, w.format.mode, w.bits) for w, e in split}
        room = len(formats) <= context.hardware["synapse_formats_per_core"]
        if room and fits_one_core([w.proj for w, _ in split], context):
            return [w for w, _ in split], [e for _, e in split]
    return ways, exponents


def _parts(way: Way, mantissa: int, exponent: int, most: int) -> list[tuple[Way, int]]:
    whole = [(way, exponent)]
    own = way.proj.source == SOURCE or way.proj.name.endswith(CARRY_SUFFIX)
    top = way.exponent(mantissa, way.largest)
    if way.kernel is not None or own or top == 0 or _is_fine(way, mantissa, exponent):
        return whole
    size = np.abs(way.values) * (mantissa / way.format.largest)
    needed = np.clip(np.ceil(np.log2(np.maximum(size, 1e-300)) - 1e-12), 0, top).astype(np.int64)
    chosen = _exponents(np.bincount(needed, minlength=top + 1), most)
    if len(chosen) == 1:
        return whole
    where = np.searchsorted(chosen, needed)
    parts, lost = [], np.zeros(way.values.size)
    for k, highest in reversed(list(enumerate(chosen))):
        part = _part(way, where == k, highest)
        unit, held = 2.0**highest / mantissa, way.values[where == k]
        lost[where == k] = part.format.nearest(held / unit) * unit - held
        parts.append((part, highest))
    # weights of few bits can lie so badly on their octaves that clipping one grid is better
    return parts if float(drive_error(lost, way.row, way.rows).sum()) < _loss(way, mantissa, exponent) else whole


def _is_fine(way: Way, mantissa: int, exponent: int) -> bool:
    signal = float((way.values**2).sum())
    return bool(_loss(way, mantissa, exponent) <= signal * 10.0 ** (-ENOUGH_DB / 10.0))


def _loss(way: Way, mantissa: int, exponent: int) -> float:
    (loss,) = drive_losses(way, np.array([mantissa]), np.array([exponent])).tolist()
    return float(loss)


def _exponents(count: np.ndarray, most: int) -> list[int]:
    """Return at most ``most`` exponents, ascending, the largest among them; ``count`` says how many weights need each."""
    top = count.size - 1
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


def _part(way: Way, held: np.ndarray, exponent: int) -> Way:
    """Return the way with the weights of one range only."""
    full = way.proj.operator.matrix.copy()
    full.sort_indices()
    matrix, weight = way.matrix.copy(), full
    matrix.data, weight.data = np.where(held, matrix.data, 0.0), np.where(held, weight.data, 0.0)
    matrix.eliminate_zeros()
    weight.eliminate_zeros()
    operator = Sparse(way.proj.operator.in_shape, way.proj.operator.out_shape, weight=weight)
    proj = replace(way.proj, name=f"{way.proj.name}^{exponent}", operator=operator)
    form = weight_format(matrix.data, way.bits, way.format.grid.truncate)
    return replace(way, proj=proj, origin=way.origin or way.proj.name, values=matrix.data, matrix=matrix, format=form)
