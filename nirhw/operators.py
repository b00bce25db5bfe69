"""Linear maps between populations, kept symbolic until a chip needs their matrix.

Every operator maps arrays of ``in_shape`` to arrays of ``out_shape``; flat order is row-major (C, H, W).  Arrays are float64
and immutable.  Semantics are those of NIR: cross-correlation, zero padding, average pooling that counts the padding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Array = NDArray[np.float64]
Shape = tuple[int, ...]
Pads = tuple[tuple[int, int], ...]

#: above this share of non-zero entries a matrix is multiplied as a dense one
DENSE_ABOVE = 0.25


def size_of(shape: Shape) -> int:
    """Return the number of elements of ``shape``; a 0-d shape has one."""
    return math.prod(shape)


def frozen(array: Any, dtype: Any = np.float64) -> NDArray[Any]:
    """Return ``array`` as an immutable array of ``dtype``; copied only where it could be written to from elsewhere."""
    values = np.asarray(array, dtype=dtype)
    if values.flags.writeable:
        values = values.copy() if values is array or values.base is not None else values
        values.flags.writeable = False
    return values


def entries(matrix: csr_array) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any]]:
    """Return rows, columns and values of what a matrix stores, by rows; a tenth of the time of ``tocoo`` on a small one."""
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    return rows, matrix.indices.astype(np.int64), matrix.data


@dataclass(frozen=True, eq=False)
class Operator:
    """Base of all linear maps; subclasses give :meth:`_build_matrix` and a short ``describe``."""

    in_shape: Shape
    out_shape: Shape

    @cached_property
    def matrix(self) -> csr_array:
        """The map as a sparse matrix ``[post, pre]`` over flat indices, canonical (sorted, no explicit zeros)."""
        from scipy.sparse import csr_array

        matrix = csr_array(self._build_matrix())
        matrix.sum_duplicates()
        matrix.eliminate_zeros()
        return matrix

    def _build_matrix(self) -> Any:
        raise TypeError(f"{type(self).__name__} has no matrix")

    @cached_property
    def _multiplier(self) -> Any:
        """The transposed map in the faster form: dense where it is filled, sparse otherwise."""
        matrix = self.matrix
        if matrix.nnz > DENSE_ABOVE * max(1, matrix.shape[0] * matrix.shape[1]):
            return np.ascontiguousarray(matrix.toarray().T)
        return matrix.T.tocsr()

    def apply(self, values: Array) -> Array:
        """Map ``values[batch, pre]`` to ``[batch, post]``, flat."""
        return np.asarray(values @ self._multiplier)

    @property
    def is_identity(self) -> bool:
        """Whether the map changes nothing but, at most, the shape."""
        return False

    @property
    def describe(self) -> str:
        """One short phrase for tables."""
        return type(self).__name__.lower()


@dataclass(frozen=True, eq=False)
class Reshape(Operator):
    """The identity, from one shape to another of the same size."""

    def _build_matrix(self) -> Any:
        from scipy.sparse import eye_array

        return eye_array(size_of(self.in_shape))

    def apply(self, values: Array) -> Array:  # noqa: D102
        return values

    @property
    def is_identity(self) -> bool:  # noqa: D102
        return True

    @property
    def describe(self) -> str:  # noqa: D102
        return "identity" if self.in_shape == self.out_shape else "reshape"


@dataclass(frozen=True, eq=False)
class Scaling(Operator):
    """An element-wise product with ``factor``, flat, shape ``(size,)``."""

    factor: Array = field(kw_only=True)

    def _build_matrix(self) -> Any:
        from scipy.sparse import diags_array

        return diags_array(self.factor)

    def apply(self, values: Array) -> Array:  # noqa: D102
        return values * self.factor

    @property
    def describe(self) -> str:  # noqa: D102
        return "scale"


@dataclass(frozen=True, eq=False)
class Dense(Operator):
    """A full matrix ``weight[post, pre]``."""

    weight: Array = field(kw_only=True)

    def _build_matrix(self) -> Any:
        return self.weight

    @cached_property
    def _multiplier(self) -> Any:
        return self.weight.T

    @property
    def describe(self) -> str:  # noqa: D102
        return f"dense {self.weight.shape[0]}x{self.weight.shape[1]}"


@dataclass(frozen=True, eq=False)
class Sparse(Operator):
    """A sparse matrix ``weight[post, pre]``."""

    weight: csr_array = field(kw_only=True)

    def _build_matrix(self) -> Any:
        return self.weight

    @property
    def describe(self) -> str:  # noqa: D102
        return f"sparse {self.weight.shape[0]}x{self.weight.shape[1]}, {self.weight.nnz} weights"


@dataclass(frozen=True, eq=False)
class Convolution(Operator):
    """A 1-D or 2-D cross-correlation; shapes are (C, L) or (C, H, W).

    Attributes:
        weight: ``weight[out_channel, in_channel / groups, *kernel]``.
        stride, dilation: steps by axis.
        pads: zeros before and after, by axis.
        groups: number of channel groups.
    """

    weight: Array = field(kw_only=True)
    stride: Shape = field(kw_only=True)
    pads: Pads = field(kw_only=True)
    dilation: Shape = field(kw_only=True)
    groups: int = field(kw_only=True)

    def _build_matrix(self) -> Any:
        from scipy.sparse import coo_array

        out_per_group = self.weight.shape[0] // self.groups
        in_per_group = self.weight.shape[1]
        taps = _taps(self.in_shape[1:], self.out_shape[1:], self.weight.shape[2:], self.stride, self.pads, self.dilation)
        n_in, n_out = size_of(self.in_shape[1:]), size_of(self.out_shape[1:])
        f, c = np.meshgrid(np.arange(self.weight.shape[0]), np.arange(in_per_group), indexing="ij")
        source_channel = (f // out_per_group) * in_per_group + c
        flat = self.weight.reshape(self.weight.shape[0], in_per_group, -1)
        rows, cols, data = [], [], []
        for tap, (post, pre) in enumerate(taps):
            rows.append((f[..., None] * n_out + post).ravel())
            cols.append((source_channel[..., None] * n_in + pre).ravel())
            data.append(np.repeat(flat[:, :, tap].ravel(), post.size))
        shape = (size_of(self.out_shape), size_of(self.in_shape))
        return coo_array((np.concatenate(data), (np.concatenate(rows), np.concatenate(cols))), shape=shape)

    @property
    def describe(self) -> str:  # noqa: D102
        kernel = "x".join(map(str, self.weight.shape[2:]))
        return f"conv {self.weight.shape[0]}@{kernel}"


@dataclass(frozen=True, eq=False)
class Pooling(Operator):
    """Sum or average pooling over the last two axes; an average divides by the kernel's size, padding included."""

    kernel: Shape = field(kw_only=True)
    stride: Shape = field(kw_only=True)
    pads: Pads = field(kw_only=True)
    average: bool = field(kw_only=True)

    def _build_matrix(self) -> Any:
        from scipy.sparse import coo_array, eye_array, kron

        n_in, n_out = size_of(self.in_shape[-2:]), size_of(self.out_shape[-2:])
        taps = _taps(self.in_shape[-2:], self.out_shape[-2:], self.kernel, self.stride, self.pads, (1, 1))
        rows = np.concatenate([post for post, _ in taps])
        cols = np.concatenate([pre for _, pre in taps])
        value = 1.0 / size_of(self.kernel) if self.average else 1.0
        plane = coo_array((np.full(rows.size, value), (rows, cols)), shape=(n_out, n_in))
        channels = size_of(self.in_shape[:-2])
        return kron(eye_array(channels), plane)

    @property
    def describe(self) -> str:  # noqa: D102
        return f"{'avg' if self.average else 'sum'} pool {'x'.join(map(str, self.kernel))}"


@dataclass(frozen=True, eq=False)
class Chain(Operator):
    """Several maps one after the other, first to last."""

    parts: tuple[Operator, ...] = field(kw_only=True)

    def _build_matrix(self) -> Any:
        product = self.parts[0].matrix
        for part in self.parts[1:]:
            product = part.matrix @ product
        return product

    @property
    def describe(self) -> str:  # noqa: D102
        return " > ".join(part.describe for part in self.parts)


def identity(shape: Shape) -> Reshape:
    """Return the identity on ``shape``."""
    return Reshape(shape, shape)


def chain(parts: list[Operator]) -> Operator:
    """Return the composition of ``parts``, identities left out where shapes allow."""
    if not parts:
        raise ValueError("a chain needs at least one part")
    kept = [p for p in parts if not p.is_identity]
    in_shape, out_shape = parts[0].in_shape, parts[-1].out_shape
    if not kept:
        return Reshape(in_shape, out_shape)
    if len(kept) == 1:
        return kept[0]
    return Chain(in_shape, out_shape, parts=tuple(kept))


def windows(size: int, kernel: int, stride: int, pad: tuple[int, int], dilation: int) -> int:
    """Return the number of positions of a kernel along one axis; not positive where it does not fit."""
    return (size + sum(pad) - dilation * (kernel - 1) - 1) // stride + 1


def _taps(
    in_plane: Shape, out_plane: Shape, kernel: Shape, stride: Shape, pads: Pads, dilation: Shape
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Return for each kernel position the flat (post, pre) index pairs inside the plane, row-major over the kernel."""
    taps = []
    for offset in np.ndindex(*kernel):
        axes = []
        for axis, k in enumerate(offset):
            post = np.arange(out_plane[axis])
            pre = post * stride[axis] + k * dilation[axis] - pads[axis][0]
            inside = (pre >= 0) & (pre < in_plane[axis])
            axes.append((post[inside], pre[inside]))
        post_grid = np.meshgrid(*(a[0] for a in axes), indexing="ij")
        pre_grid = np.meshgrid(*(a[1] for a in axes), indexing="ij")
        taps.append((np.ravel_multi_index(post_grid, out_plane).ravel(), np.ravel_multi_index(pre_grid, in_plane).ravel()))
    return taps
