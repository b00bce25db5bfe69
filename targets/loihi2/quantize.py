"""Weights, thresholds and biases to the chip's integers.

A population has one threshold register ``T``, so each neuron's membrane is measured in its own threshold: weights become
multiples of ``threshold / T``, thresholds are exact.  Every matrix has an exponent of its own, never negative, since which way
silicon rounds is not public.  ``T`` is as large as states of 24 bits allow when all sources fire in every step, and within the
highest octave the one at which weights fit their grid best.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from nirhw.fits import tensor_fit
from nirhw.network import Network, Population, Projection, Quantized
from nirhw.operators import Array, Sparse, frozen
from nirhw.pipeline import Context

from .registers import literal, with_registers
from .room import record_head_room
from .search import fitted
from .structure import SOURCE
from .ways import Chosen, ways_into


@dataclass(frozen=True)
class QuantizeWeights:
    """Choose thresholds, exponents and integers, and list what was lost and how far states can get."""

    name: str = "quantize-weights"

    def apply(self, network: Network, context: Context) -> Network:
        """Fill codes and quantized projections; fill ``record.unit``, ``mantissa``, ``tensors`` and ``head_room``.

        Raises:
            QuantizeError: NIRHW-E034 where even the coarsest format overflows.
        """
        populations: list[Population] = []
        made: dict[str, list[Projection]] = {}
        for pop in network.populations.values():
            if pop.rule == "input" or pop.name == SOURCE:
                continue
            unit = _unit(network, pop, context)
            ways = ways_into(network, pop, unit, context)
            lava = context.options.conversion == "lava"
            mantissa, chosen = literal(ways, context) if lava else fitted(network, pop, ways, unit, context)
            populations.append(with_registers(pop, unit, mantissa, context))
            for c in chosen:
                parts = made.setdefault(c.way.origin or c.way.proj.name, [])
                parts.append(replace(c.way.proj, quantized=_quantized(c, unit, mantissa, context)))
                correction = None if lava else _correction(c, unit, mantissa)
                if correction is not None:
                    parts.append(correction)
            record_head_room(populations[-1], chosen, mantissa, context)
        projections = tuple(part for p in network.projections for part in made.get(p.name, [p]))
        return replace(network.with_populations(populations), projections=projections)


def _unit(network: Network, pop: Population, context: Context) -> Array:
    """Return what the threshold register stands for: the threshold; of a neuron without one, its largest weight."""
    size = np.zeros(pop.size)
    if pop.threshold is None or not np.all(pop.threshold > 0):
        for proj in network.into(pop.name):
            if proj.source != SOURCE or not size.any():
                scale = np.abs(context.record.weight_scale[pop.name, proj.port])
                size = np.maximum(size, abs(proj.operator.matrix).max(axis=1).toarray().ravel() * scale)
        constant = np.abs(context.record.constant[pop.name])
        size = np.where(size > 0, size, np.where(constant > 0, constant, 1.0))
    unit = size if pop.threshold is None else np.where(pop.threshold > 0, pop.threshold, size)
    if context.options.conversion == "lava":
        unit = np.ones(pop.size)
    context.record.unit[pop.name] = frozen(unit)
    return frozen(unit)


def _quantized(c: Chosen, unit: Array, mantissa: int, context: Context) -> Quantized:
    way = c.way
    unit_scale, step = np.asarray(float(mantissa)), way.format.grid.step
    fit = tensor_fit(way.proj.name, way.proj.nodes, way.values, c.integers, unit_scale, c.exponent, step)
    context.record.tensors.append(fit)
    if np.isfinite(fit.sqnr_db) and way.proj.source != SOURCE:
        context.deviate("rounded", "weights", way.proj.nodes, f"{way.bits}-bit weights: {fit.phrase}")
    scale = frozen(mantissa / unit)
    if way.kernel is not None:
        return Quantized(way.kernel.whole(c.integers.reshape(way.kernel.weight.shape)), c.exponent, scale)
    matrix = way.matrix.copy()
    matrix.data = c.integers.copy()
    matrix.eliminate_zeros()
    return Quantized(matrix, c.exponent, scale)


def _correction(c: Chosen, unit: Array, mantissa: int) -> Projection | None:
    """Return a second projection of the bias neuron that holds what the first one rounded away."""
    from scipy.sparse import csr_array

    way = c.way
    if way.proj.source != SOURCE:
        return None
    rest = np.rint(way.values * mantissa - c.integers * 2.0**c.exponent).astype(np.int64)
    if not np.any(rest):
        return None
    # all of one sign or even, so that no bit is dropped
    rest = np.clip(rest, -255, 255)
    mixed = bool(np.any(rest > 0) and np.any(rest < 0))
    rest = rest // 2 * 2 if mixed else rest
    weight = csr_array((rest, way.matrix.indices.copy(), way.matrix.indptr.copy()), shape=way.matrix.shape)
    weight.eliminate_zeros()
    scale = mantissa / unit
    drive = weight.astype(float)
    drive.data = drive.data / np.repeat(scale, np.diff(drive.indptr))
    operator = Sparse(way.proj.operator.in_shape, way.proj.operator.out_shape, weight=drive)
    return replace(way.proj, name=f"{way.proj.name}.rest", operator=operator, quantized=Quantized(weight, 0, frozen(scale)))
