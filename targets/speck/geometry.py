"""A projection as one convolution behind a sum pool, and several of them in the frame of one core.

A core convolves the pooled maps of its sources with a square kernel.  Chains of pooling, convolution and dense maps become one
:class:`Stencil` where that is exact; :func:`frame_of` finds kernel size, padding and stride that serve all stencils of a core,
with zeros around those kernels that are smaller.  Axes are (y, x) throughout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from nirhw.hardware import Hardware
from nirhw.operators import Array, Chain, Convolution, Dense, Operator, Pooling, Reshape, Scaling, Shape, Sparse, frozen, size_of

Plane = tuple[int, int, int]
Pair = tuple[int, int]
POOLINGS = (1, 2, 4)
STRIDES = (1, 2, 4, 8)
#: composed kernels above this many weights are not built
MAX_WEIGHTS = 1 << 24


class Misfit(Exception):
    """A projection or a set of them that no core can hold; the text says why."""


@dataclass(frozen=True, eq=False)
class Stencil:
    """A linear map as a sum pool at the source and a cross-correlation at the target.

    Attributes:
        pooling: 1, 2 or 4: side of the sum pool; rows and columns that do not fill a pool are dropped.
        weight: ``[out, in, ky, kx]``, float64.
        stride: steps.
        lead: zeros before the first row and column.
        source: map after pooling, (C, H, W).
        target: map of the neurons.
    """

    pooling: int
    weight: Array
    stride: Pair
    lead: Pair
    source: Plane
    target: Plane


@dataclass(frozen=True)
class Frame:
    """Kernel size, stride and padding of a core, the same for all that arrives there.

    ``exact`` says whether the map has the size that these three give; otherwise it is declared smaller.
    """

    kernel_size: int
    stride: Pair
    padding: Pair
    exact: bool


@dataclass(frozen=True, eq=False)
class _Stage:
    """One convolution of a chain; ``size`` is the size of its output."""

    weight: Array
    stride: Pair
    lead: Pair
    size: Pair


def stencil_of(operator: Operator, source: Plane, target: Plane) -> Stencil:
    """Return ``operator`` from the map ``source`` to the map ``target`` as a stencil.

    Raises:
        Misfit: where it is none.
    """
    parts = [p for p in _parts(operator) if not isinstance(p, Reshape)]
    pooling, factor, parts = _leading_pools(parts, source)
    pooled: Plane = (source[0], source[1] // pooling, source[2] // pooling)
    stage: _Stage | None = None
    plane = pooled
    for part in parts:
        following = _stage_of(part, plane)
        stage = following if stage is None else _composed(stage, following, pooled)
        plane = (following.weight.shape[0], *following.size)
    stage = stage or _Stage(_diagonal(np.ones(pooled[0])), (1, 1), (0, 0), pooled[1:])
    if plane != target:
        raise Misfit(f"its result has the shape {_by(plane)}, the neurons {_by(target)}")
    return Stencil(pooling, frozen(stage.weight * factor), stage.stride, stage.lead, pooled, target)


def unrolled(operator: Operator, source: Plane, target: Plane) -> Stencil:
    """Return any linear map into neurons that are channels of a 1 x 1 map: a kernel as large as the source.

    The source may have more addresses than the operator has inputs; those that are left over get no weight.
    """
    if target[1:] != (1, 1) or target[0] * size_of(source) > MAX_WEIGHTS:
        raise Misfit("it is too large to be unrolled")
    weight = np.zeros((target[0], size_of(source)))
    matrix = operator.matrix
    weight[:, : matrix.shape[1]] = matrix.toarray()
    return Stencil(1, frozen(weight.reshape(target[0], *source)), (1, 1), (0, 0), source, target)


def frame_of(stencils: Sequence[Stencil], target: Pair, hardware: Hardware) -> Frame:
    """Return the smallest frame that serves all stencils of a core with neurons of size ``target``, an exact one if there is.

    Args:
        stencils: all that arrive at the core; leads may be negative.
        target: rows and columns of neurons.
        hardware: the chip's limits.

    Raises:
        Misfit: which axis and which limit.
    """
    sizes = {s.source[1:] for s in stencils}
    if len(sizes) > 1:
        raise Misfit(f"its inputs have maps of different sizes, {' and '.join(_by(s) for s in sorted(sizes))}, after pooling")
    (size,) = sizes
    largest = hardware["kernel_size"]
    strides = [_stride([s.stride[a] for s in stencils], target[a], "yx"[a], hardware) for a in (0, 1)]
    for axis in (0, 1):
        needed = max(s.weight.shape[2 + axis] for s in stencils)
        if needed > largest:
            raise Misfit(f"a kernel of {needed} (axis {'yx'[axis]}) is larger than {largest}")
    smallest = max(max(s.weight.shape[2:]) for s in stencils)
    for exact in (True, False):
        for kernel in range(smallest, largest + 1):
            axes = [_axis(stencils, a, size[a], target[a], strides[a], kernel, hardware, exact) for a in (0, 1)]
            if axes[0] is not None and axes[1] is not None:
                (stride_y, pad_y), (stride_x, pad_x) = axes[0], axes[1]
                return Frame(kernel, (stride_y, stride_x), (pad_y, pad_x), exact)
    raise Misfit(_why_no_frame(stencils, hardware))


def embedded(stencil: Stencil, kernel: Array, frame: Frame) -> Array:
    """Return a stencil's kernel (its weights, or integers in their place) with zeros around it, ``[out, in, K, K]``."""
    size = frame.kernel_size
    full = np.zeros((*kernel.shape[:2], size, size), kernel.dtype)
    top, left = (frame.padding[a] - stencil.lead[a] for a in (0, 1))
    full[:, :, top : top + kernel.shape[2], left : left + kernel.shape[3]] = kernel
    return full


def shifted(stencil: Stencil, rows: int, columns: int) -> Stencil:
    """Return the stencil of the part of the target map that begins at (``rows``, ``columns``)."""
    (stride_y, stride_x), (lead_y, lead_x) = stencil.stride, stencil.lead
    return replace(stencil, lead=(lead_y - rows * stride_y, lead_x - columns * stride_x))


def _parts(operator: Operator) -> list[Operator]:
    return list(operator.parts) if isinstance(operator, Chain) else [operator]


def _leading_pools(parts: list[Operator], source: Plane) -> tuple[int, float, list[Operator]]:
    """Return the pools that the source's destination takes over, their factor, and what is left of the chain."""
    pooling, factor = 1, 1.0
    while parts and isinstance(parts[0], Pooling):
        pool = parts[0]
        side = pool.kernel[0]
        square = pool.kernel == pool.stride == (side, side) and not np.any(pool.pads)
        here = (source[0], source[1] // pooling, source[2] // pooling)
        if not square or pooling * side not in POOLINGS or tuple(pool.in_shape) != here:
            break
        pooling *= side
        factor /= size_of(pool.kernel) if pool.average else 1
        parts = parts[1:]
    return pooling, factor, parts


def _stage_of(part: Operator, plane: Plane) -> _Stage:
    """Return one part of a chain on the map ``plane`` as a convolution."""
    if isinstance(part, Convolution):
        return _convolution(part, plane)
    if isinstance(part, Pooling):
        if tuple(part.in_shape) != plane:
            raise Misfit(f"a pool works on the shape {_by(part.in_shape)}, the map is {_by(plane)}")
        value = 1.0 / size_of(part.kernel) if part.average else 1.0
        if plane[0] ** 2 * size_of(part.kernel) > MAX_WEIGHTS:
            raise Misfit("a pool that is not sum or average over 2x2 or 4x4 is too large to become a kernel")
        weight = _diagonal(np.full(plane[0], value)) * np.ones((1, 1, *part.kernel))
        return _Stage(weight, _pair(part.stride), (part.pads[0][0], part.pads[1][0]), _pair(part.out_shape[-2:]))
    if isinstance(part, Dense | Sparse):
        if part.weight.shape[0] * size_of(plane) > MAX_WEIGHTS:
            raise Misfit(f"a full matrix of {part.weight.shape[0]}x{part.weight.shape[1]} weights is beyond every core")
        full = part.weight if isinstance(part, Dense) else part.weight.toarray()
        matrix = np.zeros((full.shape[0], size_of(plane)))
        matrix[:, : full.shape[1]] = full
        return _Stage(matrix.reshape(full.shape[0], *plane), (1, 1), (0, 0), (1, 1))
    if isinstance(part, Scaling) and part.factor.size == size_of(plane):
        by_channel = part.factor.reshape(plane[0], -1)
        if np.all(by_channel == by_channel[:, :1]):
            return _Stage(_diagonal(by_channel[:, 0]), (1, 1), (0, 0), plane[1:])
        raise Misfit("a factor differs within a channel; a kernel is the same at every position")
    raise Misfit(f"{part.describe} is no convolution")


def _convolution(part: Convolution, plane: Plane) -> _Stage:
    if as_plane(part.in_shape) != plane:
        raise Misfit(f"a convolution works on the shape {_by(part.in_shape)}, the map is {_by(plane)}")
    kernel = part.weight
    stride, dilation, lead, size = part.stride, part.dilation, tuple(before for before, _ in part.pads), part.out_shape[1:]
    if len(part.in_shape) == 2:  # one row
        kernel = kernel[:, :, None, :]
        stride, dilation, lead, size = (1, *stride), (1, *dilation), (0, *lead), (1, *size)
    return _Stage(_dilated(_ungrouped(kernel, part.groups), _pair(dilation)), _pair(stride), _pair(lead), _pair(size))


def _ungrouped(kernel: Array, groups: int) -> Array:
    """Return a kernel of several groups as one over all input channels, zero between groups."""
    if groups == 1:
        return kernel
    out, inner = kernel.shape[0] // groups, kernel.shape[1]
    full = np.zeros((kernel.shape[0], inner * groups, *kernel.shape[2:]))
    for g in range(groups):
        full[g * out : (g + 1) * out, g * inner : (g + 1) * inner] = kernel[g * out : (g + 1) * out]
    return full


def _dilated(kernel: Array, dilation: Pair) -> Array:
    if dilation == (1, 1):
        return kernel
    height, width = ((n - 1) * d + 1 for n, d in zip(kernel.shape[2:], dilation, strict=True))
    wide = np.zeros((*kernel.shape[:2], height, width))
    wide[:, :, :: dilation[0], :: dilation[1]] = kernel
    return wide


def _composed(first: _Stage, second: _Stage, source: Plane) -> _Stage:
    """Return ``second`` after ``first`` as one convolution, where no padding between the two is lost."""
    for axis in (0, 1):
        kernel, stride, lead = first.weight.shape[2 + axis], first.stride[axis], first.lead[axis]
        inner, into = first.size[axis], source[1 + axis]
        reach = (second.size[axis] - 1) * second.stride[axis] - second.lead[axis] + second.weight.shape[2 + axis]
        before = second.lead[axis] > 0 and kernel > stride + lead
        behind = reach > inner and inner * stride - lead < into
        if before or behind:
            raise Misfit("two linear layers in a row with padding between them are not one convolution")
    height, width = (first.weight.shape[2 + a] + (second.weight.shape[2 + a] - 1) * first.stride[a] for a in (0, 1))
    out, middle, into = second.weight.shape[0], first.weight.shape[0], first.weight.shape[1]
    if out * into * height * width > MAX_WEIGHTS or out * middle * into > MAX_WEIGHTS:
        raise Misfit("linear layers in a row are too large to become one kernel")
    weight = np.zeros((out, into, height, width))
    for row, column in np.ndindex(second.weight.shape[2], second.weight.shape[3]):
        y, x = row * first.stride[0], column * first.stride[1]
        weight[:, :, y : y + first.weight.shape[2], x : x + first.weight.shape[3]] += np.tensordot(
            second.weight[:, :, row, column], first.weight, axes=1
        )
    strides = (first.stride[0] * second.stride[0], first.stride[1] * second.stride[1])
    leads = (first.lead[0] + second.lead[0] * first.stride[0], first.lead[1] + second.lead[1] * first.stride[1])
    return _Stage(weight, strides, leads, second.size)


def _stride(wanted: list[int], target: int, axis: str, hardware: Hardware) -> int | None:
    """Return the stride of an axis; None where the map is one neuron wide and any will do."""
    if target == 1:
        return None
    if len(set(wanted)) > 1:
        raise Misfit(f"its inputs arrive with different strides (axis {axis}): {sorted(set(wanted))}")
    if wanted[0] not in STRIDES or wanted[0] > hardware["stride_max"]:
        allowed = ", ".join(str(s) for s in STRIDES if s <= hardware["stride_max"])
        raise Misfit(f"stride {wanted[0]} (axis {axis}) is not one of {allowed}")
    return wanted[0]


def _axis(
    stencils: Sequence[Stencil],
    axis: int,
    size: int,
    target: int,
    stride: int | None,
    kernel: int,
    hardware: Hardware,
    exact: bool,
) -> Pair | None:
    """Return stride and padding of one axis for a kernel size, or None."""
    for padding in range(hardware["padding_max"] + 1):
        leads = [padding - s.lead[axis] for s in stencils]
        if any(a < 0 or a + s.weight.shape[2 + axis] > kernel for a, s in zip(leads, stencils, strict=True)):
            continue
        for step in STRIDES if stride is None else (stride,):
            given = (size + 2 * padding - kernel) // step + 1 if size + 2 * padding >= kernel else 0
            if step <= hardware["stride_max"] and (given == target or (not exact and given >= target)):
                return step, padding
    return None


def _why_no_frame(stencils: Sequence[Stencil], hardware: Hardware) -> str:
    most = hardware["padding_max"]
    for axis in (0, 1):
        lead = max(s.lead[axis] for s in stencils)
        if lead > most:
            return f"padding {lead} (axis {'yx'[axis]}) is more than {most}"
    return (
        f"no square kernel up to {hardware['kernel_size']} with padding up to {most} on all sides gives its output size "
        "from its input size"
    )


def as_plane(shape: Shape) -> Plane:
    """Return NIR's shape as (C, H, W): one row for (C, L), single positions for (C,)."""
    if len(shape) == 3:
        return (shape[0], shape[1], shape[2])
    if len(shape) == 2:
        return (shape[0], 1, shape[1])
    if len(shape) > 3:
        raise Misfit(f"its shape {_by(shape)} has more than three axes")
    return (size_of(shape), 1, 1)


def _diagonal(values: Array) -> Array:
    return np.diag(values)[:, :, None, None]


def _pair(values: Shape) -> Pair:
    return (values[0], values[1])


def _by(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "scalar"
