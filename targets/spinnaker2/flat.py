"""A configuration as the flat arrays that the emulator's kernel reads."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirhw.diagnostics import error

from .config import CURRENT, RESET_SUBTRACT, SPIKE_LIST, SpiNNaker2Configuration
from .rules import faults
from .synapses import ConvBlock, SynapseBlock

Array = NDArray[Any]
Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]

#: float32 holds whole numbers up to here; larger sums of weights would depend on the order of packets
LARGEST_SUM = 1 << 24
_ROWS = ("alpha_decay", "i_offset", "threshold", "v_reset", "exc_decay", "inh_decay")


@dataclass(frozen=True, eq=False)
class FlatNetwork:
    """All slices as one population; neurons are counted in the order of the slices, spike_list neurons among them.

    A *lane* collects arriving weights: lane n those of neuron n; in neurons with synaptic currents only the excitatory ones, and
    the magnitudes of the inhibitory ones in lane ``n + neurons``.

    Attributes:
        parameters: float32 ``[6, neuron]``: alpha_decay, i_offset, threshold, v_reset, exc_decay, inh_decay.
        v_init: float32 ``(neuron,)``.
        segments: neurons of one kind in a row, int64 ``[segment, 4]``: first, last, with currents, reset by subtraction.
        delays: slots of the delay ring.
        lanes: number of lanes.
        start: where the synapses of each source and delay begin, int64 ``(neurons * delays + 1,)``, source by source.
        lane, weight: uint32 and int16 by synapse.
        conv_range: first and last convolution of every neuron, int64 ``[neuron, 2]``.
        kernels: int64 ``[convolution, 14]``, columns as named in the kernel.
        taps: all kernels, int8, each ``[in_channel, out_channel, row, column]``.
        inputs: neuron of every input channel, uint32.
    """

    parameters: Float32
    v_init: Float32
    segments: Int64
    delays: int
    lanes: int
    start: Int64
    lane: Array
    weight: Array
    conv_range: Int64
    kernels: Int64
    taps: Array
    inputs: Array

    @property
    def n_neurons(self) -> int:
        """Number of neurons, spike_list neurons included."""
        return int(self.v_init.size)


def flatten(config: SpiNNaker2Configuration) -> FlatNetwork:
    """Return ``config`` as flat arrays.

    Raises:
        VerifyError: NIRHW-E040 where blocks do not fit their slices, or where the emulation would not be exact.
    """
    fault = next((f"slice {k}: {what}" for k in range(config.n_slices) for what in faults(config, k)), None)
    if fault:
        raise error("NIRHW-E040", fault)
    starts = config.starts
    n_neurons = int(starts[-1])
    delays, start, lane, weight = _synapses(config, starts)
    ranges, kernels, taps = _convolutions(config, starts)
    _check_sums(config, starts, lane, weight)
    columns = {name: np.zeros(n_neurons, np.float32) for name in (*_ROWS, "v_init")}
    for part, first in zip(config.slices, starts, strict=False):
        for name in columns.keys() & part.parameters.keys():
            columns[name][first : first + part.size] = part.parameters[name]
    is_input = np.repeat([s.application == SPIKE_LIST for s in config.slices], np.diff(starts))
    has_currents = any(s.application in CURRENT for s in config.slices)
    return FlatNetwork(
        parameters=np.stack([columns[name] for name in _ROWS]),
        v_init=columns["v_init"],
        segments=_segments(config, starts),
        delays=delays,
        lanes=n_neurons * (2 if has_currents else 1),
        start=start,
        lane=lane,
        weight=weight,
        conv_range=ranges,
        kernels=kernels,
        taps=taps,
        inputs=np.flatnonzero(is_input).astype(np.uint32),
    )


def _segments(config: SpiNNaker2Configuration, starts: Int64) -> Int64:
    rows = []
    kinds = [(s.application == SPIKE_LIST, s.application in CURRENT, s.reset == RESET_SUBTRACT) for s in config.slices]
    for (is_input, current, subtract), run in groupby(range(config.n_slices), key=lambda k: kinds[k]):
        members = list(run)
        if not is_input:
            rows.append((starts[members[0]], starts[members[-1] + 1], current, subtract))
    return np.array(rows, np.int64).reshape(-1, 4)


def _synapses(config: SpiNNaker2Configuration, starts: Int64) -> tuple[int, Int64, Array, Array]:
    """Return the slots of the ring, and all synapses ordered by source and delay."""
    n_neurons = int(starts[-1])
    sources: list[Array] = []
    lanes: list[Array] = []
    weights: list[Array] = []
    late: list[Array] = []
    for part, first in zip(config.slices, starts, strict=False):
        for block in part.blocks:
            if isinstance(block, SynapseBlock) and block.n_synapses:
                lane = block.target.astype(np.int64) + first
                weight = block.weight.astype(np.int16)
                if part.application in CURRENT:
                    lane = np.where(weight < 0, lane + n_neurons, lane)
                    weight = np.abs(weight)
                sources.append(block.pre + starts[block.source])
                lanes.append(lane.astype(np.uint32))
                weights.append(weight)
                late.append(block.delay)
    delay = _joined(late, np.uint8)
    delays = int(delay.max(initial=0)) + 1
    row = _joined(sources, np.int64) * delays + delay
    order = np.argsort(row, kind="stable")
    start = np.zeros(n_neurons * delays + 1, np.int64)
    np.cumsum(np.bincount(row, minlength=n_neurons * delays), out=start[1:])
    return delays, start, _joined(lanes, np.uint32)[order], _joined(weights, np.int16)[order]


def _joined(parts: list[Array], dtype: Any) -> Array:
    return np.concatenate([np.zeros(0, dtype), *parts], dtype=dtype)


def _convolutions(config: SpiNNaker2Configuration, starts: Int64) -> tuple[Int64, Int64, Array]:
    """Return the convolutions of every source neuron, ordered by source, and their kernels."""
    found = [(b.source, i, b) for i, s in enumerate(config.slices) for b in s.blocks if isinstance(b, ConvBlock)]
    found.sort(key=lambda entry: entry[:2])
    ranges = np.zeros((int(starts[-1]), 2), np.int64)
    for source, run in groupby(range(len(found)), key=lambda k: found[k][0]):
        members = list(run)
        ranges[starts[source] : starts[source + 1]] = members[0], members[-1] + 1
    rows, taps, offset = [], [], 0
    for source, target, b in found:
        _, channels, height, width = b.kernel.shape
        row = (starts[source], starts[target], channels, b.out_height, b.out_width, height, width)
        rows.append((*row, b.in_height, b.in_width, b.stride, b.pool, b.pad_top, b.pad_left, offset))
        taps.append(b.kernel.ravel())
        offset += b.kernel.size
    return ranges, np.array(rows, np.int64).reshape(-1, 14), _joined(taps, np.int8)


def _check_sums(config: SpiNNaker2Configuration, starts: Int64, lane: Array, weight: Array) -> None:
    """Refuse neurons whose weights of one step can add up to more than float32 counts exactly."""
    largest = np.bincount(lane, weights=np.abs(weight.astype(np.float64)), minlength=int(starts[-1]))
    for part, first in zip(config.slices, starts, strict=False):
        for block in part.blocks:
            if isinstance(block, ConvBlock):
                channel = np.abs(block.kernel.astype(np.int64)).sum(axis=(0, 2, 3)) * block.pool**2
                largest[first : first + part.size] += np.repeat(channel, block.out_height * block.out_width)
    if largest.max(initial=0) > LARGEST_SUM:
        worst = int(np.searchsorted(starts, np.argmax(largest) % starts[-1], side="right")) - 1
        raise error(
            "NIRHW-E040",
            f"the weights of one neuron add up to {int(largest.max())}",
            [config.slices[worst].population],
            f"float32 counts exactly up to {LARGEST_SUM}; beyond, the result depends on the order of packets",
        )
