"""How many bits synapses take on a core.

The packing is that of Loihi 1 (nengo-loihi e564f66, ``bits_per_axon``), taken as an assumption for Loihi 2: the synapses of one
source neuron stand in blocks of up to 64, each with a header, each ending on a whole word; sparse synapses name their target.
A shared kernel counts the weights of the filters that a core computes once; lava publishes no layout for it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirhw.hardware import Hardware

from .config import Kernel


def axon_bits(count: NDArray[np.int64], synapse_bits: int, hardware: Hardware) -> NDArray[np.int64]:
    """Return the bits that ``count`` synapses of one source take, for each of many sources."""
    block, header, word = (hardware[k] for k in ("synapses_per_block", "block_header_bits", "block_word_bits"))

    def packed(n: Any) -> Any:
        return -(-(n * synapse_bits + header) // word) * word

    full, rest = np.divmod(count, block)
    return np.asarray(full * packed(block) + np.where(rest > 0, packed(rest), 0), np.int64)


def kernel_bits(kernel: Kernel, weight_bits: int, first: int, last: int, hardware: Hardware) -> int:
    """Return the bits of the filters that neurons ``first`` to ``last - 1`` of the target need."""
    filters, height, width = kernel.out_shape
    used = (last - 1) // (height * width) - first // (height * width) + 1
    return used * int(axon_bits(np.array([kernel.weight.size // filters]), weight_bits, hardware)[0])


def synapse_bits(weight_bits: int, delayed: bool, n_targets: int, sparse: bool, hardware: Hardware) -> int:
    """Return the bits of one synapse on a core that holds ``n_targets`` of its targets."""
    index = max(hardware["index_bits_min"], int(n_targets - 1).bit_length()) if sparse else 0
    return weight_bits + (hardware["delay_bits"] if delayed else 0) + index
