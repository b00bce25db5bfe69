"""The weights that end in a population, in units of its threshold, before and after they become integers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from nirhw.balance import COHERENCE, balanced
from nirhw.calibration.gains import tuned_weights
from nirhw.network import Network, Population, Projection
from nirhw.operators import Array
from nirhw.pipeline import Context

from .config import Int
from .convolution import SharedKernel, shared_kernel
from .formats import WeightFormat, weight_format
from .structure import CARRY_SUFFIX, SOURCE

#: largest integer weight
ONE_SIGN_MAX = 255
#: weights of a matrix that are looked at where many registers are tried
SAMPLE = 300_000
#: what the squared error of a weight counts whose source always fires, against one that fires at 5 % over 20 steps
ALWAYS = 400.0
#: products that are held in memory at once
AT_ONCE = 200_000


@dataclass(frozen=True, eq=False)
class Way:
    """One projection.

    Attributes:
        proj: the projection.
        values: weights in units of the target's threshold: of a sparse matrix ``[post, pre]`` its data, of a kernel flat.
        matrix: the sparse matrix of which they are the data, canonical; None for a kernel.
        kernel: the kernel; None for a matrix.
        format: integers that there are.
        bits: bits of a weight.
        peak: largest payload of a spike.
        top_exponent: largest exponent: lava's Conv has none.
        origin: name of the projection of which this is a part; empty where it is all of it.
    """

    proj: Projection
    values: Array
    matrix: Any
    kernel: SharedKernel | None
    format: WeightFormat
    bits: int
    peak: int
    top_exponent: int
    origin: str = ""

    @cached_property
    def largest(self) -> float:
        """Largest size of a weight."""
        return float(np.abs(self.values).max(initial=0.0))

    def sums(self, values: Array) -> tuple[Array, Array]:
        """Return sums of positive ``values`` and sizes of the negative ones by target neuron, times the payload."""
        up, down = _kernel_sums(self.kernel, values) if self.kernel is not None else _row_sums(self.row, self.rows, values)
        return up * self.peak, down * self.peak

    @cached_property
    def row(self) -> Int:
        """Target neuron of each weight, of a kernel the output channel."""
        if self.kernel is not None:
            channels = self.kernel.weight.shape[0]
            return np.repeat(np.arange(channels), self.kernel.weight.size // channels)
        return np.repeat(np.arange(self.matrix.shape[0]), np.diff(self.matrix.indptr))

    @cached_property
    def first_of_row(self) -> Int:
        """Where the weights of each row that has some begin."""
        return np.flatnonzero(np.diff(self.row, prepend=-1))

    @property
    def rows(self) -> int:
        """Number of target neurons, of a kernel of output channels."""
        return int(self.kernel.weight.shape[0] if self.kernel is not None else self.matrix.shape[0])

    def exponent(self, mantissa: float, size: float) -> int:
        """Return the smallest exponent at which a weight of ``size`` fits the format."""
        return int(self.exponents(np.array([mantissa]), size)[0])

    def exponents(self, mantissa: Array | Int, size: float) -> Int:
        """Return the same for every ``mantissa``."""
        with np.errstate(divide="ignore"):
            octaves = np.log2(size * mantissa / self.format.largest)
        return np.clip(np.ceil(octaves - 1e-12), 0, self.top_exponent).astype(np.int64)

    def rounded(self, mantissa: float, exponent: int) -> Array:
        """Return the integers for ``mantissa`` and ``exponent``, as whole floats."""
        return self.format.nearest(self.values * (mantissa / 2.0**exponent))

    def balanced(self, mantissa: float, exponent: int) -> Array:
        """Return integers for ``mantissa`` and ``exponent`` whose errors cancel by target neuron, as whole floats."""
        sign = self.format.sign
        return sign * balanced(sign * self.values * (mantissa / 2.0**exponent), self.row, self.rows, self.format.grid) + 0.0


def _row_sums(row: Int, rows: int, values: Array) -> tuple[Array, Array]:
    up = np.bincount(row, np.maximum(values, 0.0), minlength=rows)
    down = np.bincount(row, np.maximum(-values, 0.0), minlength=rows)
    return up.astype(np.float64), down.astype(np.float64)


def _kernel_sums(kernel: SharedKernel, values: Array) -> tuple[Array, Array]:
    return replace(kernel, weight=values.reshape(kernel.weight.shape)).sums()


@dataclass(frozen=True, eq=False)
class Chosen:
    """The integers of a way.

    Attributes:
        way: what they stand for.
        integers: those that act, as :attr:`Way.values`.
        exponent: the chip shifts sums by it to the left.
    """

    way: Way
    integers: Int
    exponent: int


def ways_into(network: Network, pop: Population, unit: Array, context: Context) -> list[Way]:
    """Return the ways into a population, its weights divided by ``unit``, ``(neurons,)``."""
    return [_way(network, pop, proj, unit, context) for proj in network.into(pop.name)]


def _way(network: Network, pop: Population, proj: Projection, unit: Array, context: Context) -> Way:
    options = context.options
    scale = context.record.weight_scale[pop.name, proj.port] / unit
    peak = options.input_peak if network.populations[proj.source].rule == "input" else 1
    truncate = options.rounding == "truncate" or options.conversion == "lava"
    bits = min(options.weight_bits, context.hardware["weight_bits_max"])
    kernel = _kernel_of(network, proj, scale, context)
    if kernel is not None:
        kernel = replace(kernel, weight=tuned_weights(kernel.weight, proj, network, context))
    # a kernel has no exponent, so one weight may be worth as many thresholds as there are integers
    if kernel is not None and np.abs(kernel.weight).max(initial=0.0) < ONE_SIGN_MAX // 2:
        values = kernel.weight.ravel()
        return Way(proj, values, None, kernel, weight_format(values, bits, truncate), bits, peak, 0)
    matrix = proj.operator.matrix.copy()
    matrix.sort_indices()
    matrix.data = matrix.data * np.repeat(scale, np.diff(matrix.indptr))
    if not proj.name.endswith(CARRY_SUFFIX):
        matrix.data = tuned_weights(matrix.data, proj, network, context)
    top = 0 if options.netx else context.hardware["weight_exponent_max"]
    # the constant drive is no guess: its weights always have all bits
    bits = context.hardware["weight_bits_max"] if proj.source == SOURCE else bits
    return Way(proj, matrix.data, matrix, None, weight_format(matrix.data, bits, truncate), bits, peak, top)


def _kernel_of(network: Network, proj: Projection, scale: Array, context: Context) -> SharedKernel | None:
    """Return the projection as a kernel that the chip shares: no delay, one register set at both ends, uniform scales."""
    plain = proj.delay_by == "all" and proj.max_delay == 1
    ends = (network.populations[proj.source], network.populations[proj.target])
    uniform = all(_uniform(p) for p in ends)
    if not context.options.share_kernels or not plain or not uniform:
        return None
    kernel = shared_kernel(proj.operator)
    return None if kernel is None else kernel.scaled(scale)


def _uniform(pop: Population) -> bool:
    """Whether one register set serves all neurons; thresholds of 0 and above 0 are two."""
    codes = [c for c in (pop.codes.get("du"), pop.codes.get("dv")) if c is not None]
    levels = pop.threshold is None or np.all(pop.threshold > 0) or not np.any(pop.threshold)
    return bool(levels) and all(np.all(c == c[0]) for c in codes)


def sampled(way: Way) -> Array:
    """Return the weights, of very many an evenly spaced part."""
    return way.values[:: -(-way.values.size // SAMPLE)] if way.values.size else way.values


def drive_losses(way: Way, mantissa: Int, exponent: Int) -> Array:
    """Return the drive error of a way in units of its threshold, by pair of ``mantissa`` and ``exponent``, ``(pairs,)``.

    Of very many weights a part is looked at, and their single errors only.  Of a constant drive a second connection
    holds what the first one rounds away, and what is lost then is lost in every step.
    """
    if way.proj.source == SOURCE:
        wanted = way.values * mantissa[:, None]
        first = way.format.nearest(wanted / 2.0 ** exponent[:, None]) * 2.0 ** exponent[:, None]
        lost = (first + np.clip(np.rint(wanted - first), -ONE_SIGN_MAX, ONE_SIGN_MAX) - wanted) / mantissa[:, None]
        return np.asarray(ALWAYS * (lost**2).sum(axis=1))
    values, found = sampled(way), np.zeros(mantissa.size)
    at_once = max(1, AT_ONCE // max(values.size, 1))
    for begin in range(0, mantissa.size, at_once):
        some = slice(begin, begin + at_once)
        unit = (2.0 ** exponent[some] / mantissa[some])[:, None]
        lost = way.format.nearest(values / unit) * unit - values
        found[some] = (lost**2).sum(axis=1)
        if values.size == way.values.size and values.size:
            pushes = np.add.reduceat(lost, way.first_of_row, axis=1)
            found[some] += COHERENCE * (pushes**2).sum(axis=1)
        else:
            found[some] *= way.values.size / max(values.size, 1)
    return found
