"""What a slice must satisfy to be executed at all, whatever the machine."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .config import CONVOLUTION, DELAYED, RESET_SUBTRACT, RESET_VALUE, SPIKE_LIST, Slice, SpiNNaker2Configuration
from .synapses import Block, ConvBlock, SynapseBlock


def faults(config: SpiNNaker2Configuration, index: int) -> Iterator[str]:
    """Yield what is wrong with slice ``index`` and the blocks that arrive at it."""
    part = config.slices[index]
    if part.application == SPIKE_LIST:
        if part.reset or part.blocks:
            yield "a spike_list has no reset and takes no synapses"
        return
    if part.reset not in (RESET_SUBTRACT, RESET_VALUE):
        yield f"reset {part.reset!r} is unknown"
    if "t_refrac" in part.parameters and np.any(part.parameters["t_refrac"]):
        yield "the meaning of a refractory time above 0 is not public"
    for block in part.blocks:
        if not 0 <= block.source < config.n_slices:
            yield f"its source slice {block.source} does not exist"
        else:
            yield from _block_faults(block, part, config.slices[block.source].size)


def _block_faults(block: Block, part: Slice, n_source: int) -> Iterator[str]:
    if isinstance(block, ConvBlock) != (part.application in CONVOLUTION):
        yield f"{part.application} takes {'kernels' if part.application in CONVOLUTION else 'synapses'} only"
    elif isinstance(block, ConvBlock):
        if (block.n_source, block.n_target) != (n_source, part.size):
            yield f"a kernel joins {block.n_source} to {block.n_target} neurons, its slices have {n_source} and {part.size}"
    else:
        yield from _synapse_faults(block, part, n_source)


def _synapse_faults(block: SynapseBlock, part: Slice, n_source: int) -> Iterator[str]:
    start, count = block.start, block.target.size
    if start.shape != (n_source + 1,) or start[0] != 0 or start[-1] != count or np.any(np.diff(start) < 0):
        yield f"the row pointers of source slice {block.source} do not fit"
    if not block.target.shape == block.weight.shape == block.delay.shape == (count,):
        yield f"the synapses of source slice {block.source} differ in number"
    if count and block.target.max() >= part.size:
        yield f"a synapse ends in neuron {block.target.max()} of {part.size}"
    if part.application not in DELAYED and np.any(block.delay):
        yield f"{part.application} has no delays"
