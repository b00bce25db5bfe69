"""A configuration as the flat arrays that the kernel reads.

``lanes`` is everywhere the number of features that a block holds; a map's features are padded to whole blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .config import READOUT_ID, CnnLayerConfig

Int8 = NDArray[np.int8]
Int64 = NDArray[np.int64]

#: features of a block of the kernel: a vector of 256 bits, or two of 128
LANES = 16


def fan_out(core: CnnLayerConfig) -> int:
    """Return to how many cores each spike goes."""
    return sum(d.enable and d.layer != READOUT_ID for d in core.destinations)


def most_spikes(core: CnnLayerConfig) -> int:
    """Return how many neurons one event visits at most."""
    shape, kernel, stride = core.dimensions.output_shape, core.dimensions.kernel_size, core.dimensions.stride
    return shape.feature_count * min(-(-kernel // stride.x), shape.size.x) * min(-(-kernel // stride.y), shape.size.y)


def padded(core: CnnLayerConfig, lanes: int) -> int:
    """Return the number of a core's features, padded to whole blocks."""
    return -(-core.dimensions.output_shape.feature_count // lanes) * lanes


def places(core: CnnLayerConfig, lanes: int) -> int:
    """Return how many states a core's map takes, padding included."""
    return padded(core, lanes) * core.dimensions.output_shape.size.x * core.dimensions.output_shape.size.y


def neuron_places(core: CnnLayerConfig, lanes: int) -> Int64:
    """Return the place ``[y][x][feature]`` of each neuron, neurons in (feature, y, x) order."""
    shape = core.dimensions.output_shape
    place = np.arange(places(core, lanes)).reshape(shape.size.y, shape.size.x, padded(core, lanes))
    return place[:, :, : shape.feature_count].transpose(2, 0, 1).ravel()


def geometry_table(cores: Sequence[CnnLayerConfig], lanes: int) -> Int64:
    """Return the kernel's table, one row a core."""
    from nirhw.targets.speck import kernel

    first_weight = np.cumsum([0, *(flat_weights(core, lanes).size for core in cores)])
    first_neuron = np.cumsum([0, *(places(core, lanes) for core in cores)])
    first_bias = np.cumsum([0, *(core.biases.size for core in cores)])
    table = np.zeros((len(cores), kernel.GEOMETRY_COLUMNS), np.int64)
    for row, (number, core) in zip(table, enumerate(cores), strict=True):
        source, target = core.dimensions.input_shape, core.dimensions.output_shape
        row[kernel.IN_CHANNELS], row[kernel.IN_Y], row[kernel.IN_X] = source.feature_count, source.size.y, source.size.x
        row[kernel.FEATURES], row[kernel.OUT_Y], row[kernel.OUT_X] = target.feature_count, target.size.y, target.size.x
        row[kernel.STEP] = padded(core, lanes)
        row[kernel.KERNEL] = core.dimensions.kernel_size
        row[kernel.PAD_Y], row[kernel.PAD_X] = core.dimensions.padding.y, core.dimensions.padding.x
        stride = core.dimensions.stride
        row[kernel.STRIDE_SHIFT_Y], row[kernel.STRIDE_SHIFT_X] = _log2(stride.y), _log2(stride.x)
        row[kernel.ROW_SIZE] = -(-core.dimensions.kernel_size // stride.x) * padded(core, lanes)
        row[kernel.PHASE_SIZE] = -(-core.dimensions.kernel_size // stride.y) * row[kernel.ROW_SIZE]
        row[kernel.FIRST_WEIGHT], row[kernel.FIRST_BIAS] = first_weight[number], first_bias[number]
        row[kernel.FIRST_NEURON] = first_neuron[number]
        row[kernel.THRESHOLD], row[kernel.BOUND] = core.threshold_high, core.threshold_low
        row[kernel.TO_ZERO], row[kernel.LEAK] = core.return_to_zero, core.leak_enable
        for k, destination in enumerate(core.destinations):
            sends = destination.enable and destination.layer != READOUT_ID
            columns = slice(kernel.DESTINATION + 3 * k, kernel.DESTINATION + 3 * k + 3)
            packed = int(pack(destination.layer, destination.feature_shift, 0, 0))
            row[columns] = (destination.layer if sends else -1, _log2(destination.pooling), packed)
    return table


def _log2(power: int) -> int:
    """Return the binary logarithm of a power of two."""
    return power.bit_length() - 1


def pack(core: Any, channel: Any, y: Any, x: Any) -> Int64:
    """Return events for cores as the kernel reads them; broadcasts."""
    parts = (np.asarray(part, np.int64) << shift for part, shift in ((core, 48), (channel, 32), (y, 16), (x, 0)))
    return np.asarray(sum(parts), np.int64)


def unpack(packed: Int64) -> tuple[Int64, Int64, Int64, Int64]:
    """Return core, channel, y and x of packed events."""
    core, channel, y, x = ((packed >> shift) & 0xFFFF for shift in (48, 32, 16, 0))
    return core, channel, y, x


def flat_weights(core: CnnLayerConfig, lanes: int) -> Int8:
    """Return the weights in the order of the kernel's loops.

    ``[channel][phase y][phase x][tap y][tap x][feature]``: the kernel rows of one stride phase stand together, the last first,
    as they lead to the first row of the map.  Phases with fewer rows end in zeros that nothing visits.
    """
    size, stride = core.dimensions.kernel_size, core.dimensions.stride
    weights = core.weights.transpose(1, 3, 2, 0)  # [in, y, x, out]
    weights = np.pad(weights, ((0, 0), (0, 0), (0, 0), (0, padded(core, lanes) - weights.shape[3])))
    block_y, block_x = -(-size // stride.y), -(-size // stride.x)
    flat = np.zeros((weights.shape[0], stride.y, stride.x, block_y, block_x, weights.shape[3]), np.int8)
    for phase_y in range(min(stride.y, size)):
        for phase_x in range(min(stride.x, size)):
            part = weights[:, phase_y :: stride.y, phase_x :: stride.x][:, ::-1, ::-1]
            flat[:, phase_y, phase_x, : part.shape[1], : part.shape[2]] = part
    return flat.ravel()
