"""A Xylo configuration as the flat arrays that the emulator's kernel reads."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .config import NO_ALIAS, XyloConfiguration

Array = NDArray[Any]
Int16 = NDArray[np.int16]
Int64 = NDArray[np.int64]

_HIDDEN_CAP = 31  # spikes a step
_OUTPUT_CAP = 1
# an int16 vector of today's processors; also a whole number of 8-byte words of spike counts
_LANES = 16
# rough costs of delivery, in the time of one scattered synapse: a block of _LANES, and the start of a run of blocks
_BLOCK_COST = 1.0
_RUN_COST = 6.0


class FlatNetwork(NamedTuple):
    """A configuration as the kernel reads it.

    Neurons are *lanes*: the hidden ones, padded to whole blocks, then the output ones, padded too.  Currents are lanes
    as well: first those of synapse 1 (of the outputs' only synapse), then those of synapse 2.  A *row* is what one
    pre-synaptic unit reaches: first the input channels, then the hidden neurons.  The synapses of a row are stored
    partly as dense runs over neighbouring lanes (zeros included), partly as single entries; weights are already
    shifted.

    Attributes:
        rows: per row first and last run, first and last entry, how many events one int16 product of its weights can
            hold, and its fan-out (both synapses and outputs together), ``[row, 6]``.
        runs: per run first lane, first weight and length, ``[run, 3]``.
        run_weights: weights of all runs.
        entry_lane, entry_weight: target lanes and weights of the single synapses.
        i_dash: decay codes of all current lanes in use.
        neurons: per neuron lane decay code, bias, threshold and cap of the spikes a step, ``[4, lane]``.
        hidden_lanes: where the output lanes begin.
    """

    rows: Int64
    runs: Int64
    run_weights: Int16
    entry_lane: Array
    entry_weight: Int16
    i_dash: Int16
    neurons: Int16
    hidden_lanes: int


def flatten(config: XyloConfiguration) -> FlatNetwork:
    """Return a checked configuration in the kernel's layout."""
    hidden, outputs = config.hidden.neurons, config.readout.neurons
    h, o = padded(config.n_hidden), padded(config.n_outputs)

    def lanes(of_hidden: Array | int, of_outputs: Array | int, dtype: type = np.int16, padding: int = 0) -> Array:
        values: Array = np.full(h + o, padding, dtype)
        values[: config.n_hidden] = of_hidden
        values[h : h + config.n_outputs] = of_outputs
        return values

    i_dash = lanes(hidden.i_syn_decay, outputs.i_syn_decay)
    if config.synapse2_enable:
        i_dash = np.concatenate([i_dash, lanes(hidden.i_syn2_decay, 0)])
    return FlatNetwork(
        **_synapses(_weights_by_row(config, h, h + o, i_dash.size)),
        i_dash=i_dash,
        neurons=np.stack(
            [
                lanes(hidden.v_mem_decay, outputs.v_mem_decay),
                lanes(hidden.v_mem_bias, outputs.v_mem_bias) * np.int16(config.bias_enable),
                # padding lanes have no input, so their membrane of 0 never gets there
                lanes(hidden.threshold, outputs.threshold, padding=32767),
                lanes(_HIDDEN_CAP, _OUTPUT_CAP),
            ]
        ),
        hidden_lanes=h,
    )


def alias_lanes(config: XyloConfiguration) -> Array | None:
    """Return the alias targets of all neuron lanes; ``None`` where neurons may fire all at once.

    They may if there are no aliases and all thresholds are positive.
    """
    hidden = config.hidden.neurons
    aliasing = config.hidden.aliasing and bool(np.any(hidden.alias_target != NO_ALIAS))
    if not aliasing and hidden.threshold.min(initial=1) > 0 and config.readout.neurons.threshold.min(initial=1) > 0:
        return None
    lanes = np.full(padded(config.n_hidden) + padded(config.n_outputs), NO_ALIAS, np.int32)
    if aliasing:
        lanes[: config.n_hidden] = hidden.alias_target
    return lanes


def padded(neurons: int) -> int:
    """Return the lanes of so many neurons: whole vectors."""
    return -(-neurons // _LANES) * _LANES


def _weights_by_row(config: XyloConfiguration, first_output: int, neuron_lanes: int, current_lanes: int) -> Int16:
    """All weights as ``[row, current lane]``, shifted; beyond the chip's shifts they wrap in 16 bits, as in xylosim."""
    n_in, n_hid = config.n_inputs, config.n_hidden
    weights = np.zeros((n_in + n_hid, current_lanes), np.int16)

    def put(rows: slice, first_lane: int, matrix: Array, shift: int) -> None:
        weights[rows, first_lane : first_lane + matrix.shape[1]] = (matrix.astype(np.int32) << shift).astype(np.int16)

    inputs, recurrent = slice(0, n_in), slice(n_in, None)
    readout_rows = slice(n_in + n_hid - config.readout.weights.shape[0], None)
    put(inputs, 0, config.input.weights, config.input.weight_bit_shift)
    put(recurrent, 0, config.hidden.weights, config.hidden.weight_bit_shift)
    put(readout_rows, first_output, config.readout.weights, config.readout.weight_bit_shift)
    if config.synapse2_enable:
        put(inputs, neuron_lanes, config.input.syn2_weights, config.input.weight_bit_shift)
        put(recurrent, neuron_lanes, config.hidden.syn2_weights, config.hidden.weight_bit_shift)
    return weights


def _chunks(weights: Int16) -> Int64:
    """How many times each row's largest weight fits in int16, at least once."""
    high, low = weights.max(axis=1, initial=1).astype(np.int64), weights.min(axis=1, initial=-1).astype(np.int64)
    return np.asarray(np.maximum(32767 // np.maximum(high, -low), 1), dtype=np.int64)


def _synapses(weights: Int16) -> dict[str, Array]:
    """Store each row as runs of blocks and single entries, whichever is cheaper to deliver."""
    n_rows = weights.shape[0]
    blocks = weights.reshape(n_rows, -1, _LANES)
    dense = _dense_blocks(np.count_nonzero(blocks, axis=2))
    edges = np.diff(np.pad(dense.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    run_row, run_first = np.nonzero(edges == 1)
    run_last = np.nonzero(edges == -1)[1]
    entry_row, entry_lane = np.nonzero(np.where(dense[..., None], 0, blocks).reshape(weights.shape))
    first_run, first_entry = _starts(run_row, n_rows), _starts(entry_row, n_rows)
    fan_out = np.count_nonzero(weights, axis=1)
    length = (run_last - run_first) * _LANES
    return {
        "rows": np.stack([first_run[:-1], first_run[1:], first_entry[:-1], first_entry[1:], _chunks(weights), fan_out], axis=1),
        "runs": np.stack([run_first * _LANES, np.cumsum(length) - length, length], axis=1).astype(np.int64),
        "run_weights": blocks[dense].ravel(),
        # unsigned, so that numba need not look for negative indices
        "entry_lane": entry_lane.astype(np.uint32),
        "entry_weight": weights[entry_row, entry_lane],
    }


def _starts(row: Int64, n_rows: int) -> Int64:
    """Where each row begins in a list sorted by row."""
    return np.searchsorted(row, np.arange(n_rows + 1)).astype(np.int64)


def _dense_blocks(synapses: Int64) -> NDArray[np.bool_]:
    """Which blocks to store densely: the cheapest choice for each row, found exactly by dynamic programming.

    Args:
        synapses: non-zero weights, ``[row, block]``.

    Returns:
        ``[row, block]``, True where a block belongs to a run.
    """
    n_rows, n_blocks = synapses.shape
    single, run = np.zeros(n_rows), np.full(n_rows, np.inf)  # least cost so far, by how the last block is stored
    run_before = np.zeros((2, n_rows, n_blocks), bool)  # was the block before in a run? for this block single, in a run
    for b in range(n_blocks):
        run_before[0, :, b] = run < single
        run_before[1, :, b] = run <= single + _RUN_COST
        single, run = np.minimum(single, run) + synapses[:, b], np.minimum(single + _RUN_COST, run) + _BLOCK_COST
    dense = np.zeros((n_rows, n_blocks), bool)
    in_run = run < single
    for b in reversed(range(n_blocks)):
        dense[:, b] = in_run
        in_run = np.where(in_run, run_before[1, :, b], run_before[0, :, b])
    return dense
