"""A configuration as the flat arrays that the emulator's kernel reads."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nirhw.diagnostics import error
from nirhw.operators import windows

from .config import STATE_SHIFT, Group, Kernel, Loihi2Configuration, Synapses
from .weights import acting

Array = NDArray[Any]
Int = NDArray[np.int64]

MODELS = ("lif", "lif_reset", "lif_subtract", "graded")
#: a dense row costs about one scattered synapse for so many neurons
_DENSE_LANES = 24


class GroupRow(NamedTuple):
    """One row of :attr:`FlatNetwork.groups`; neurons are numbered over all groups that are no inputs."""

    first: int
    size: int
    model: int
    keep_u: int
    keep_v: int
    threshold: int
    payload_shift: int
    reset_interval: int
    reset_offset: int


class BlockRow(NamedTuple):
    """One row of :attr:`FlatNetwork.blocks`: the synapses of one process and one delay.

    Attributes:
        from_input: whether the source's neurons are counted over the inputs.
        source, n_source: first source neuron and their number.
        target, n_target: first target neuron and their number.
        delay: extra steps.
        shift: of the sum, left where it is positive.
        graded: whether payloads count.
        wraps: whether the sum wraps at 24 bits, as lava's ``Conv`` does.
        first_row: row of the first source in :attr:`FlatNetwork.rows`; -1 for a dense block.
        first_weight: of a dense block, where its ``[source, target]`` weights begin.
        offset: to be added to every weight of a dense block.
    """

    from_input: int
    source: int
    n_source: int
    target: int
    n_target: int
    delay: int
    shift: int
    graded: int
    wraps: int
    first_row: int
    first_weight: int
    offset: int


@dataclass(frozen=True, eq=False)
class FlatNetwork:
    """What the kernel reads.

    Attributes:
        groups: :class:`GroupRow` by group that is no input, int64.
        bias: added to v every step, by neuron, int32.
        blocks: :class:`BlockRow` by block, those of one source one after the other, int64.
        dense: weights of all dense blocks, int8.
        rows: where each source's entries begin, over all sparse blocks; the next row says where they end, int64.
        entries: target within the block, and weight, ``[2, entry]``, int32.
        places: first neuron and size by group; of inputs over the inputs.
        n_inputs, n_neurons: numbers of neurons.
        max_delay: longest delay.
    """

    groups: Int
    bias: NDArray[np.int32]
    blocks: Int
    dense: NDArray[np.int8]
    rows: Int
    entries: NDArray[np.int32]
    places: dict[str, slice]
    n_inputs: int
    n_neurons: int
    max_delay: int


def flatten(config: Loihi2Configuration) -> FlatNetwork:
    """Return the kernel's view of a configuration.

    Raises:
        VerifyError: NIRHW-E040 for what the kernel cannot execute: unknown groups, indices or shapes that do not fit, registers
            beyond the arithmetic.  Limits of the chip are not looked at.
    """
    refuse_unexecutable(config)
    places = _places(config)
    inputs, cells = ([g for g in config.groups if (g.model == "input") is kind] for kind in (True, False))
    store = _Store()
    blocks = _blocks(config, places, store)
    return FlatNetwork(
        groups=np.array([_group_row(g, places[g.name]) for g in cells], np.int64).reshape(len(cells), len(GroupRow._fields)),
        bias=np.concatenate([np.zeros(0, np.int64), *(_bias(g) for g in cells)]).astype(np.int32),
        blocks=np.array(blocks, np.int64).reshape(len(blocks), len(BlockRow._fields)),
        dense=np.concatenate(store.dense),
        rows=store.rows(),
        entries=np.concatenate(store.entries, axis=1),
        places=places,
        n_inputs=sum(g.size for g in inputs),
        n_neurons=sum(g.size for g in cells),
        max_delay=max((block.delay for block in blocks), default=0),
    )


def refuse_unexecutable(config: Loihi2Configuration) -> None:
    """Raise VerifyError NIRHW-E040 for parts that do not fit together and registers beyond the arithmetic."""
    groups = {g.name: g for g in config.groups}
    if len(groups) != len(config.groups):
        raise error("NIRHW-E040", "two groups share a name")
    for group in config.groups:
        _check_group(group)
    for syn in config.synapses:
        if syn.source not in groups or syn.target not in groups:
            raise _unfit(syn.name, "it joins groups that do not exist")
        _check_synapses(syn, groups[syn.source], groups[syn.target])


def _places(config: Loihi2Configuration) -> dict[str, slice]:
    places, used = {}, {True: 0, False: 0}
    for group in config.groups:
        kind = group.model == "input"
        places[group.name] = slice(used[kind], used[kind] + group.size)
        used[kind] += group.size
    return places


def _check_group(group: Group) -> None:
    if group.model not in (*MODELS, "input"):
        raise _unfit(group.name, f"model {group.model} is not known")
    if group.bias_mantissa.shape != (group.size,):
        raise _unfit(group.name, f"{group.bias_mantissa.size} biases for {group.size} neurons")
    wide = 1 << 31 - STATE_SHIFT
    ranges = {
        "du": (-1, 4095),
        "dv": (0, 4096),
        "threshold": (-wide, wide - 1),
        "bias_exponent": (-31, 31),
        "payload_shift": (0, 31),
    }
    for name, (low, high) in ranges.items():
        if not low <= getattr(group, name) <= high:
            raise _unfit(group.name, f"{name} is {getattr(group, name)}, allowed {low} to {high}")
    if np.any(np.abs(group.bias_mantissa) >= 1 << 31):
        raise _unfit(group.name, "a bias mantissa leaves 32 bits")
    if group.model == "lif_reset" and group.reset_interval < 1:
        raise _unfit(group.name, f"its reset interval is {group.reset_interval}")


def _check_synapses(syn: Synapses, source: Group, target: Group) -> None:
    if target.model == "input":
        raise _unfit(syn.name, "synapses end in an input")
    if syn.sign_mode not in ("mixed", "excitatory", "inhibitory"):
        raise _unfit(syn.name, f"sign mode {syn.sign_mode} is not known")
    if not 1 <= syn.weight_bits <= 8 or not -31 <= syn.exponent <= 31:
        raise _unfit(syn.name, f"{syn.weight_bits} weight bits and exponent {syn.exponent} have no meaning")
    if syn.kernel is not None:
        _check_kernel(syn.name, syn.kernel, source.size, target.size)
        return
    if syn.kind == "conv":
        raise _unfit(syn.name, "it is a convolution without a kernel")
    n, ends = syn.weight.size, syn.start
    if ends.shape != (source.size + 1,) or ends[0] != 0 or ends[-1] != n or np.any(np.diff(ends) < 0) or syn.post.shape != (n,):
        raise _unfit(syn.name, "its index of synapses is broken")
    if n and (syn.post.min() < 0 or syn.post.max() >= target.size):
        raise _unfit(syn.name, "a synapse ends outside its group")
    if syn.delay.shape not in ((), (n,)) or (syn.delay.size and (syn.delay.min() < 0 or syn.delay.max() > 1 << 16)):
        raise _unfit(syn.name, "its delays have the wrong shape or are out of range")


def _check_kernel(name: str, kernel: Kernel, n_source: int, n_target: int) -> None:
    if math.prod(kernel.in_shape) != n_source or math.prod(kernel.out_shape) != n_target:
        raise _unfit(name, "the convolution does not fit its groups")
    geometry = (*kernel.stride, *kernel.dilation, *kernel.weight.shape)
    if kernel.weight.ndim != 4 or min(geometry) < 1 or min(kernel.padding) < 0 or kernel.groups < 1:
        raise _unfit(name, "its geometry has no meaning")
    filters, per_group, *size = kernel.weight.shape
    axes = zip(kernel.in_shape[1:], size, kernel.stride, kernel.padding, kernel.dilation, strict=True)
    planes = tuple(windows(n, k, stride, (pad, pad), dilation) for n, k, stride, pad, dilation in axes)
    if kernel.out_shape != (filters, *planes) or kernel.in_shape[0] != per_group * kernel.groups or filters % kernel.groups:
        raise _unfit(name, "its kernel does not fit its shapes")


def _unfit(name: str, why: str) -> Exception:
    return error("NIRHW-E040", "the configuration cannot be executed", [name], why)


def _group_row(group: Group, place: slice) -> GroupRow:
    return GroupRow(
        place.start,
        group.size,
        MODELS.index(group.model),
        4096 - (group.du + 1),
        4096 - group.dv,
        group.threshold << STATE_SHIFT,
        group.payload_shift,
        group.reset_interval,
        group.reset_offset % max(group.reset_interval, 1),
    )


def _bias(group: Group) -> Int:
    e = group.bias_exponent
    shifted = group.bias_mantissa << e if e >= 0 else group.bias_mantissa >> -e
    return np.asarray(shifted, np.int64)


class _Store:
    """Collects the weights of all blocks."""

    def __init__(self) -> None:
        self.dense: list[Array] = [np.zeros(0, np.int8)]
        self.starts: list[Array] = []
        self.entries: list[Array] = [np.zeros((2, 0), np.int32)]
        self._n_dense = self._n_rows = self._n_entries = 0

    def add_dense(self, matrix: Int) -> int:
        """Store ``matrix[source, target]``; return where its weights begin."""
        self.dense.append(matrix.astype(np.int8).ravel())
        self._n_dense += matrix.size
        return self._n_dense - matrix.size

    def add_rows(self, start: Int, post: Int, weight: Int) -> int:
        """Store sparse rows; return the number of the first."""
        self.starts.append(start[:-1] + self._n_entries)
        self.entries.append(np.stack([post, weight]).astype(np.int32))
        self._n_entries += weight.size
        self._n_rows += start.size - 1
        return self._n_rows - start.size + 1

    def rows(self) -> Int:
        """Return where every row begins, and where the last one ends."""
        return np.concatenate([*self.starts, [self._n_entries]]).astype(np.int64)


def _blocks(config: Loihi2Configuration, places: dict[str, slice], store: _Store) -> list[BlockRow]:
    groups = {g.name: g for g in config.groups}
    order = {name: k for k, name in enumerate(groups)}
    blocks = []
    for syn in sorted(config.synapses, key=lambda s: order[s.source]):
        source, target = groups[syn.source], groups[syn.target]
        for delay, start, post, weight in _delay_classes(syn, source.size):
            common, offset = _common_bits(weight)
            if offset is not None and weight.size * _DENSE_LANES > source.size * target.size:
                matrix = np.full((source.size, target.size), -offset, np.int64)
                matrix[np.repeat(np.arange(source.size), np.diff(start)), post] = (weight >> common) - offset
                first_row, first_weight = -1, store.add_dense(matrix)
            else:
                common, offset = 0, 0
                first_row, first_weight = store.add_rows(start, post, weight), 0
            blocks.append(
                BlockRow(
                    from_input=int(source.model == "input"),
                    source=places[syn.source].start,
                    n_source=source.size,
                    target=places[syn.target].start,
                    n_target=target.size,
                    delay=delay,
                    shift=common + (syn.exponent if syn.kernel is None else 0),
                    graded=int(syn.message_bits > 0),
                    wraps=int(syn.kernel is not None),
                    first_row=first_row,
                    first_weight=first_weight,
                    offset=offset,
                )
            )
    return blocks


def _delay_classes(syn: Synapses, n_source: int) -> Iterator[tuple[int, Int, Int, Int]]:
    """Yield for each delay its synapses by source: delay, start, post, weight; zero weights left out."""
    if syn.kernel is not None:
        by_pre = syn.kernel.matrix().tocsc()
        start, post, weight, delay = by_pre.indptr, by_pre.indices, by_pre.data, np.zeros(by_pre.nnz, np.int64)
    else:
        start, post, weight = syn.start, syn.post, acting(syn)
        delay = np.broadcast_to(syn.delay, weight.shape)
    pre = np.repeat(np.arange(n_source), np.diff(start))
    for value in np.unique(delay[weight != 0]).tolist():
        chosen = (delay == value) & (weight != 0)
        counts = np.bincount(pre[chosen], minlength=n_source)
        yield value, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), post[chosen], weight[chosen]


def _common_bits(weight: Int) -> tuple[int, int | None]:
    """Return the zero bits below all weights, and what to subtract from the rest so that it fits int8 (None: nothing does)."""
    together = int(np.bitwise_or.reduce(weight))
    common = (together & -together).bit_length() - 1 if together else 0
    low, high = min(int(weight.min() >> common), 0), max(int(weight.max() >> common), 0)
    if high - low > 255:
        return common, None
    return common, 0 if low >= -128 and high <= 127 else low + 128
