"""Convolutions that the chip can share: one kernel for a whole plane, pooling in front of it multiplied in."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from nirhw.operators import Array, Chain, Convolution, Operator, Pooling, Scaling

from .config import Int, Kernel

Plane = tuple[int, int, int]
Pair = tuple[int, int]


@dataclass(frozen=True, eq=False)
class SharedKernel:
    """A 2-D cross-correlation with float weights; fields as in :class:`~.config.Kernel`."""

    weight: Array
    in_shape: Plane
    out_shape: Plane
    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int

    def scaled(self, factor: Array) -> SharedKernel | None:
        """Return the kernel times ``factor`` by output neuron; None where it differs within a channel."""
        by_channel = factor.reshape(self.out_shape[0], -1)
        if np.any(by_channel != by_channel[:, :1]):
            return None
        return replace(self, weight=self.weight * by_channel[:, 0].reshape(-1, 1, 1, 1))

    def sums(self) -> tuple[Array, Array]:
        """Return the sum of the positive weights and the size of that of the negative ones, by output neuron."""
        flat = self.weight.reshape(self.weight.shape[0], -1)
        plane = self.out_shape[1] * self.out_shape[2]
        up, down = np.maximum(flat, 0.0).sum(axis=1), np.maximum(-flat, 0.0).sum(axis=1)
        return np.repeat(up, plane), np.repeat(down, plane)

    def whole(self, weight: Int) -> Kernel:
        """Return the configuration's kernel with integer weights of the same shape."""
        return Kernel(weight, self.in_shape, self.out_shape, self.stride, self.padding, self.dilation, self.groups)


def shared_kernel(operator: Operator) -> SharedKernel | None:
    """Return ``operator`` as one convolution, or None where it is none that lava's Conv process can be.

    Taken are a convolution in 1 or 2 dimensions with equal zeros on both sides, sum and average pooling (a convolution of each
    channel by itself), a convolution behind pooling, and any of these times one number.
    """
    parts = [p for p in _flat(operator) if not p.is_identity]
    factor, kernels = 1.0, []
    for part in parts:
        if isinstance(part, Scaling):
            if np.any(part.factor != part.factor[0]):
                return None
            factor *= float(part.factor[0])
            continue
        kernel = (
            _of_convolution(part) if isinstance(part, Convolution) else _of_pooling(part) if isinstance(part, Pooling) else None
        )
        if kernel is None:
            return None
        kernels.append(kernel)
    pools = sum(isinstance(p, Pooling) for p in parts)
    if not kernels or len(kernels) > 2:
        return None
    if len(kernels) == 2:
        behind_pool = pools == 1 and any(isinstance(p, Pooling) for p in parts[:-1])
        last = [p for p in parts if not isinstance(p, Scaling)][-1]
        merged = _behind_pooling(*kernels) if behind_pool and isinstance(last, Convolution) else None
        if merged is None:
            return None
        kernels = [merged]
    return replace(kernels[0], weight=kernels[0].weight * factor)


def _flat(operator: Operator) -> list[Operator]:
    return [q for p in operator.parts for q in _flat(p)] if isinstance(operator, Chain) else [operator]


def _plane(shape: tuple[int, ...]) -> Plane | None:
    """Return (channels, rows, columns); a line is a plane of one row."""
    if len(shape) == 2:
        return shape[0], 1, shape[1]
    return (shape[0], shape[1], shape[2]) if len(shape) == 3 else None


def _pair(values: tuple[int, ...], fill: int) -> Pair:
    return (fill, values[0]) if len(values) == 1 else (values[0], values[1])


def _of_convolution(conv: Convolution) -> SharedKernel | None:
    before, after = _plane(conv.in_shape), _plane(conv.out_shape)
    if before is None or after is None or any(a != b for a, b in conv.pads):
        return None
    weight = conv.weight[:, :, None, :] if conv.weight.ndim == 3 else conv.weight
    padding = _pair(tuple(a for a, _ in conv.pads), 0)
    return SharedKernel(weight, before, after, _pair(conv.stride, 1), padding, _pair(conv.dilation, 1), conv.groups)


def _of_pooling(pool: Pooling) -> SharedKernel | None:
    before, after = _plane(pool.in_shape), _plane(pool.out_shape)
    if len(pool.in_shape) != 3 or before is None or after is None or any(a != b for a, b in pool.pads):
        return None
    height, width = _pair(pool.kernel, 1)
    weight = np.full((before[0], 1, height, width), 1.0 / (height * width) if pool.average else 1.0)
    return SharedKernel(weight, before, after, _pair(pool.stride, 1), _pair(tuple(a for a, _ in pool.pads), 0), (1, 1), before[0])


def _behind_pooling(pool: SharedKernel, conv: SharedKernel) -> SharedKernel | None:
    """Return ``conv`` after ``pool`` as one kernel, where padding does not let it see what the pool left out."""
    if any(pool.padding) or pool.out_shape != conv.in_shape:
        return None
    for axis in (0, 1):
        unread = (pool.in_shape[axis + 1] - pool.weight.shape[axis + 2]) % pool.stride[axis]
        if conv.padding[axis] and (unread or pool.weight.shape[axis + 2] > pool.stride[axis]):
            return None
    out_channels, in_channels, height, width = conv.weight.shape
    (step_y, step_x), (pool_y, pool_x) = pool.stride, pool.weight.shape[2:]
    reach_y = (height - 1) * conv.dilation[0] * step_y + pool_y
    reach_x = (width - 1) * conv.dilation[1] * step_x + pool_x
    weight = np.zeros((out_channels, in_channels, reach_y, reach_x))
    share = pool.weight[0, 0]
    for i in range(height):
        for j in range(width):
            y, x = i * conv.dilation[0] * step_y, j * conv.dilation[1] * step_x
            weight[:, :, y : y + pool_y, x : x + pool_x] += conv.weight[:, :, i, j, None, None] * share
    return SharedKernel(
        weight,
        pool.in_shape,
        conv.out_shape,
        (conv.stride[0] * step_y, conv.stride[1] * step_x),
        (conv.padding[0] * step_y, conv.padding[1] * step_x),
        (1, 1),
        conv.groups,
    )
