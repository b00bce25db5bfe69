"""The configuration of Loihi 2 as plain data: neuron groups, synapses, and the cores that hold them.

Intel's register formats are not public, so the format is ours.  Its integers are those that lava-nc 0.10.0's fixed-point
processes take (lava-nc 0.10.0): a group is one ``LIF`` process with one set of registers, synapses are
one ``Dense``, ``Sparse``, ``DelayDense`` or ``Conv`` process, and weights are those given to lava, before it drops low bits.

Time: a spike of step t acts in step t + 1, over a synapse of delay d in step t + 1 + d.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Int = NDArray[np.int64]
Model = Literal["input", "lif", "lif_reset", "lif_subtract", "graded"]
Kind = Literal["dense", "sparse", "conv"]
SignMode = Literal["mixed", "excitatory", "inhibitory"]

#: neuron programs that lava 0.10.0 has as fixed-point process models
LAVA_MODELS = frozenset({"input", "lif", "lif_reset"})
#: input currents enter u, and thresholds meet v, shifted left by so many bits
STATE_SHIFT = 6


@dataclass(frozen=True, eq=False)
class Group:
    """Neurons of one population with one set of registers.

    Attributes:
        name: unique in the configuration.
        population: the IR population that the neurons belong to.
        neurons: flat index of each neuron in its population, ``(size,)`` int64.
        model: ``"input"`` is fed by the host and has no registers.  ``"lif"`` fires above its threshold and falls to zero.
            ``"lif_reset"`` also clears u and v at a fixed interval.  ``"lif_subtract"`` loses its threshold at a spike, and
            ``"graded"`` sends ``v >> payload_shift`` in every step; these two are neuron programs that lava does not have.
        du: decay of u, -1 to 4095: u keeps ``(4096 - (du + 1)) / 4096`` a step.
        dv: decay of v, 0 to 4096: v keeps ``(4096 - dv) / 4096`` a step.
        threshold: mantissa; a neuron fires where ``v > threshold << 6``.
        bias_mantissa: added to v every step as ``bias_mantissa << bias_exponent``, ``(size,)`` int64.
        bias_exponent: shift of the bias, to the right where it is negative.
        reset_interval, reset_offset: ``"lif_reset"`` clears u and v before step t (counted from 1) where
            ``t % reset_interval == reset_offset % reset_interval``.
        payload_shift: bits that ``"graded"`` drops of v, towards minus infinity.
    """

    name: str
    population: str
    neurons: Int
    model: Model
    du: int = 0
    dv: int = 0
    threshold: int = 0
    bias_mantissa: Int = field(default_factory=lambda: np.zeros(0, np.int64))
    bias_exponent: int = 0
    reset_interval: int = 0
    reset_offset: int = 0
    payload_shift: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "neurons", _int(self.neurons))
        bias = _int(self.bias_mantissa)
        object.__setattr__(self, "bias_mantissa", bias if bias.size else np.zeros(self.neurons.size, np.int64))

    @property
    def size(self) -> int:
        """Number of neurons."""
        return int(self.neurons.size)


@dataclass(frozen=True, eq=False)
class Kernel:
    """A convolution whose weights are shared: NIR's cross-correlation, flat order (channel, row, column).

    Attributes:
        weight: ``weight[out_channel, in_channel / groups, row, column]``, int64.
        in_shape, out_shape: (channels, rows, columns) of source and target.
        stride, padding, dilation: by (row, column); the padding is that of both sides.
        groups: number of channel groups.
    """

    weight: Int
    in_shape: tuple[int, int, int]
    out_shape: tuple[int, int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", _int(self.weight))
        for name in ("in_shape", "out_shape", "stride", "padding", "dilation"):
            object.__setattr__(self, name, tuple(int(n) for n in getattr(self, name)))

    def matrix(self) -> csr_array:
        """Return the unrolled int64 matrix ``[post, pre]``, zero weights left out."""
        from nirhw.operators import Convolution

        pads = tuple((p, p) for p in self.padding)
        operator = Convolution(
            self.in_shape,
            self.out_shape,
            weight=self.weight.astype(np.float64),
            stride=self.stride,
            pads=pads,
            dilation=self.dilation,
            groups=self.groups,
        )
        return operator.matrix.astype(np.int64)


@dataclass(frozen=True, eq=False)
class Synapses:
    """One connection process, from all neurons of one group to all of another.

    The non-zero weights are held by source neuron, as the chip looks them up: those of source ``n`` stand at
    ``start[n]:start[n + 1]``.  :func:`synapses_from_matrix` makes them from ``weight[post, pre]``.

    Attributes:
        name: unique in the configuration.
        source, target: names of groups.
        kind: how the chip would store them: ``"dense"`` keeps every pair, ``"sparse"`` the non-zero weights with their
            targets, ``"conv"`` the shared ``kernel``, with ``start``, ``post``, ``weight`` empty.
        start: ``(source size + 1,)``, int64.
        post: target neuron of each weight, ascending within a source, ``(weights,)``, int64.
        weight: as given to lava, ``(weights,)``, int64.
        delay: extra steps, ``()`` or ``(weights,)``, int64.
        exponent: the sum over all arriving spikes is shifted left by it, or right (towards minus infinity).
        weight_bits: 1 to 8; lower bits are dropped, see :func:`nirhw.targets.loihi2.weights.stored`.
        sign_mode: which signs the weights may have.
        message_bits: 0 for spikes that only say that they are; else the payload's width, and weights are multiplied by it.
        kernel: of ``"conv"``, else None.
    """

    name: str
    source: str
    target: str
    kind: Kind
    start: Int
    post: Int
    weight: Int
    delay: Int = field(default_factory=lambda: np.zeros((), np.int64))
    exponent: int = 0
    weight_bits: int = 8
    sign_mode: SignMode = "mixed"
    message_bits: int = 0
    kernel: Kernel | None = None

    def __post_init__(self) -> None:
        for name in ("start", "post", "weight", "delay"):
            object.__setattr__(self, name, _int(getattr(self, name)))

    @property
    def max_delay(self) -> int:
        """Longest delay, in extra steps."""
        return int(self.delay.max(initial=0))

    def matrix(self, n_post: int) -> csr_array:
        """Return the int64 matrix ``[post, pre]`` of the weights as given to lava."""
        if self.kernel is not None:
            return self.kernel.matrix()
        return self._by_post(self.weight, n_post)

    def delay_matrix(self, n_post: int) -> csr_array:
        """Return the delays as an int64 matrix ``[post, pre]`` with the entries of :meth:`matrix`."""
        return self._by_post(np.broadcast_to(self.delay, self.weight.shape), n_post)

    def _by_post(self, values: Int, n_post: int) -> csr_array:
        from scipy.sparse import csc_array

        return csc_array((values, self.post, self.start), shape=(n_post, self.start.size - 1)).tocsr()


def synapses_from_matrix(
    name: str,
    source: str,
    target: str,
    matrix: Any,
    *,
    kind: Literal["dense", "sparse"],
    delay: ArrayLike | Any = 0,
    exponent: int = 0,
    weight_bits: int = 8,
    sign_mode: SignMode = "mixed",
    message_bits: int = 0,
) -> Synapses:
    """Return the synapses of an integer matrix ``weight[post, pre]``, dense or scipy sparse.

    Args:
        name: see :class:`Synapses`, as all others.
        source: see there.
        target: see there.
        matrix: weights; zeros are left out.
        kind: see there.
        delay: extra steps: one number, or an array (dense or sparse) of the matrix's shape.
        exponent: see there.
        weight_bits: see there.
        sign_mode: see there.
        message_bits: see there.
    """
    from scipy.sparse import csc_array, issparse

    columns = csc_array(matrix)
    columns.sum_duplicates()
    columns.eliminate_zeros()
    if issparse(delay) or np.ndim(delay) == 2:
        pre = np.repeat(np.arange(columns.shape[1]), np.diff(columns.indptr))
        table: Any = delay.tocsr() if issparse(delay) else np.asarray(delay)  # type: ignore[union-attr]
        delays = np.asarray(table[columns.indices, pre]).ravel()
    else:
        delays = np.asarray(delay)
    return Synapses(
        name,
        source,
        target,
        kind,
        start=_int(columns.indptr),
        post=_int(columns.indices),
        weight=_int(columns.data),
        delay=_int(delays),
        exponent=exponent,
        weight_bits=weight_bits,
        sign_mode=sign_mode,
        message_bits=message_bits,
    )


def synapses_from_kernel(
    name: str, source: str, target: str, kernel: Kernel, *, sign_mode: SignMode = "mixed", message_bits: int = 0
) -> Synapses:
    """Return a convolution whose weights the chip shares; lava honours neither exponent nor weight bits there."""
    none = np.zeros(0, np.int64)
    return Synapses(name, source, target, "conv", none, none, none, sign_mode=sign_mode, message_bits=message_bits, kernel=kernel)


@dataclass(frozen=True)
class CoreSlice:
    """Neurons ``first`` to ``first + size - 1`` of a group, with all synapses that end in them, on one neuro-core.

    Attributes:
        chip, core: where; cores are counted within their chip.
        group: name of the group; never an input.
        first, size: which of its neurons.
    """

    chip: int
    core: int
    group: str
    first: int
    size: int


@dataclass(frozen=True, eq=False)
class Loihi2Configuration:
    """What would be written to the chips.

    Attributes:
        groups: all groups; inputs among them.
        synapses: all connections.
        cores: which core holds what; together every neuron that is no input, once.
    """

    groups: tuple[Group, ...]
    synapses: tuple[Synapses, ...]
    cores: tuple[CoreSlice, ...]

    def group(self, name: str) -> Group:
        """Return the group called ``name``."""
        return next(g for g in self.groups if g.name == name)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data: dicts, lists, numbers and int64 arrays."""
        return {
            "groups": [_plain(g) for g in self.groups],
            "synapses": [
                {k: v for k, v in _plain(s).items() if k != "kernel"} | ({"kernel": _plain(s.kernel)} if s.kernel else {})
                for s in self.synapses
            ],
            "cores": [_plain(c) for c in self.cores],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Loihi2Configuration:
        """Rebuild a configuration from :meth:`to_dict`; arrays may be lists."""
        synapses = [
            Synapses(**{**entry, "kernel": Kernel(**entry["kernel"]) if "kernel" in entry else None})
            for entry in data["synapses"]
        ]
        return cls(
            tuple(Group(**entry) for entry in data["groups"]),
            tuple(synapses),
            tuple(CoreSlice(**entry) for entry in data["cores"]),
        )

    def to_json(self) -> str:
        """Return :meth:`to_dict` as JSON text."""
        return json.dumps(self.to_dict(), sort_keys=True, default=lambda array: array.tolist())

    @classmethod
    def from_json(cls, text: str) -> Loihi2Configuration:
        """Rebuild a configuration from :meth:`to_json`."""
        return cls.from_dict(json.loads(text))


def _plain(record: Any) -> dict[str, Any]:
    values = {f.name: getattr(record, f.name) for f in fields(record)}
    return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}


def _int(values: Any) -> Int:
    """Return ``values`` as an int64 array; fractions are an error, not a rounding."""
    array = np.asarray(values)
    if array.size and array.dtype.kind not in "iub":
        raise ValueError(f"expected whole numbers, got {array.dtype}")
    return array.astype(np.int64, copy=False)
