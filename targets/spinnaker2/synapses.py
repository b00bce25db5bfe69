"""Synapses that arrive at one slice from one source slice: as rows of synapse words, or as a convolution kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nirhw.diagnostics import error
from nirhw.operators import frozen

Int8 = NDArray[np.int8]
UInt8 = NDArray[np.uint8]
Int64 = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class SynapseBlock:
    """Synapses of one source slice onto one slice, row by row (one row a source neuron).

    Arrays of other types are converted; what does not fit the type is refused, never wrapped.

    Attributes:
        source: index of the source slice in the configuration.
        start: row pointer, int64 ``(source neurons + 1,)``; row ``k`` is ``start[k]:start[k + 1]`` of the other arrays.
        target: index of the neuron in its slice, uint8.
        weight: signed integer; the board stores magnitude and a type bit (excitatory or inhibitory), int8.
        delay: extra steps, uint8; 0 in applications without delays.
    """

    source: int
    start: Int64
    target: UInt8
    weight: Int8
    delay: UInt8

    def __post_init__(self) -> None:
        for name, dtype in (("start", np.int64), ("target", np.uint8), ("weight", np.int8), ("delay", np.uint8)):
            object.__setattr__(self, name, narrowed(getattr(self, name), dtype, f"synapse {name}"))

    @classmethod
    def from_synapses(
        cls, source: int, n_source: int, pre: ArrayLike, target: ArrayLike, weight: ArrayLike, delay: ArrayLike = 0
    ) -> SynapseBlock:
        """Return the block of a list of synapses; rows are ordered by target, then delay.

        Args:
            source: index of the source slice.
            n_source: neurons of the source slice.
            pre: neuron of the source slice by synapse, 0 to ``n_source - 1``.
            target: neuron of the target slice by synapse.
            weight: signed weight by synapse.
            delay: extra steps by synapse, or one number for all.

        Raises:
            VerifyError: NIRHW-E040 for a value that its field cannot hold.
        """
        pre, target = np.asarray(pre, np.int64), np.asarray(target, np.int64)
        delay = np.broadcast_to(np.asarray(delay, np.int64), pre.shape)
        if pre.size and (pre.min() < 0 or pre.max() >= n_source):
            raise error("NIRHW-E040", f"a synapse starts outside its source slice of {n_source} neurons")
        order = np.lexsort((delay, target, pre))
        start = np.zeros(n_source + 1, np.int64)
        np.cumsum(np.bincount(pre, minlength=n_source), out=start[1:])
        return cls(source, start, target[order], np.asarray(weight)[order], delay[order])

    @property
    def n_synapses(self) -> int:
        """Number of synapses."""
        return int(self.target.size)

    @property
    def pre(self) -> Int64:
        """Source neuron of every synapse, ``(n_synapses,)``."""
        return np.repeat(np.arange(self.start.size - 1), np.diff(self.start))


@dataclass(frozen=True, eq=False)
class ConvBlock:
    """A 2-D convolution from one source slice onto one slice of application ``lif_conv2d``.

    The source slice holds whole channels (``kernel.shape[0]`` maps of ``in_height`` x ``in_width``), the target slice whole
    output channels; both are in C, H, W order.  Sums over ``pool`` x ``pool`` windows come first (rows and columns beyond
    the last whole window are dropped), then the cross-correlation.  Stride and pool are the same along both axes: which axis
    py-spinnaker2's ``stride_x`` means is not settled (its NIR converter fills it with the stride along the rows).

    Attributes:
        source: index of the source slice in the configuration.
        kernel: int8 ``[in_channel, out_channel, row, column]``, the axes of ``snn.Conv2DProjection``.
        in_height, in_width: size of a map of the source.
        stride: step of the kernel along both axes.
        pool: side of the pooling window before the kernel; 1 is none.
        pad_top, pad_bottom, pad_left, pad_right: zeros around the pooled map.
    """

    source: int
    kernel: Int8
    in_height: int
    in_width: int
    stride: int = 1
    pool: int = 1
    pad_top: int = 0
    pad_bottom: int = 0
    pad_left: int = 0
    pad_right: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "kernel", narrowed(self.kernel, np.int8, "kernel"))
        if self.kernel.ndim != 4:
            raise error("NIRHW-E040", f"a kernel has {self.kernel.ndim} axes, expected [in channel, out channel, row, column]")
        if min(self.in_height, self.in_width, self.stride, self.pool) < 1 or min(self.pads) < 0:
            raise error("NIRHW-E040", "the geometry of a convolution is not positive")
        if min(self.out_height, self.out_width) < 1:
            raise error("NIRHW-E040", "a kernel does not fit its map")

    @property
    def pads(self) -> tuple[int, int, int, int]:
        """Zeros at the top, bottom, left and right."""
        return self.pad_top, self.pad_bottom, self.pad_left, self.pad_right

    @property
    def out_height(self) -> int:
        """Rows of a map of the target."""
        rows = self.in_height // self.pool + self.pad_top + self.pad_bottom - int(self.kernel.shape[2])
        return rows // self.stride + 1

    @property
    def out_width(self) -> int:
        """Columns of a map of the target."""
        columns = self.in_width // self.pool + self.pad_left + self.pad_right - int(self.kernel.shape[3])
        return columns // self.stride + 1

    @property
    def n_source(self) -> int:
        """Neurons of the source slice."""
        return int(self.kernel.shape[0]) * self.in_height * self.in_width

    @property
    def n_target(self) -> int:
        """Neurons of the target slice."""
        return int(self.kernel.shape[1]) * self.out_height * self.out_width


Block = SynapseBlock | ConvBlock


def narrowed(values: Any, dtype: Any, name: str) -> NDArray[Any]:
    """Return integers as ``dtype``; a value beyond it is an error."""
    array = np.asarray(values)
    if array.dtype != dtype:
        limits = np.iinfo(dtype)
        if array.size and (array.dtype.kind not in "biu" or array.min() < limits.min or array.max() > limits.max):
            raise error("NIRHW-E040", f"{name} does not fit {np.dtype(dtype).name}")
        array = array.astype(dtype)
    return frozen(array, dtype)
