"""The inner loops of the Loihi 2 emulator, compiled by numba; imported only when something is emulated.

The arithmetic is that of lava-nc 0.10.0's fixed-point processes, in int32 that wraps, as
theirs does.  What makes it fast: sources are listed once a step, the int8 weights of dense blocks are summed four rows at a
time in int16, and every loop over neurons is one that LLVM turns into vector instructions.  The first compilation is kept
short: arguments are few arrays, and nothing is allocated here, so that no references are counted (``_nrt``).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]

# columns of FlatNetwork.groups and FlatNetwork.blocks (see GroupRow and BlockRow), and rows of a tally
FIRST, SIZE, MODEL, KEEP_U, KEEP_V, THRESHOLD, PAYLOAD_SHIFT, INTERVAL, RESET_AT = range(9)
FROM_INPUT, SOURCE, N_SOURCE, TARGET, N_TARGET, DELAY, SHIFT, GRADED, WRAPS, FIRST_ROW, FIRST_WEIGHT, OFFSET = range(12)
WRAPPED_U, CLIPPED_V = range(2)
LIF, LIF_RESET, LIF_SUBTRACT, GRADED_MODEL = range(4)

LIMIT = 1 << 23
# numba's annotations leave some of its options out
_njit: Any = njit
# called from compiled code alone: nothing is compiled for Python to call them
_inner = _njit(nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True, _nrt=False)

# so many int8 weights fit in an int16 sum; a multiple of 4
_ROWS_IN_INT16 = 252


@_njit(inline="always")
def _kept(x: int, keep: int) -> Any:
    """``x * keep / 4096`` towards zero, modulo 32 bits and in 32 bits only; ``keep`` is 0 to 4096."""
    sign = np.int32(x >> 31)
    size = np.int32(np.int32(x ^ sign) - sign)
    high = np.int32(np.int32(np.uint32(size) >> 12) * keep)
    low = np.int32(np.int32(np.int32(size & 4095) * keep) >> 12)
    return np.int32((np.int32(high + low) ^ sign) - sign)


@_inner
def _update(
    u: Array, v: Array, drive: Array, bias: Array, sent: Array, keep_u: int, keep_v: int, threshold: int, subtract: int
) -> Any:
    """One step of neurons with one set of registers; ``drive`` is consumed.  Returns wraps of u and clips of v."""
    wrapped, clipped = 0, 0
    kept_bits = np.int32(-1) if subtract else np.int32(0)  # of what is above the threshold; a mask, so that the loop stays one
    for k in range(u.size):
        x: Any = np.int32(_kept(u[k], keep_u) + np.int32(drive[k] << 6))
        drive[k] = 0
        u[k] = x
        wrapped += (x > LIMIT) | (x <= -LIMIT)
    if wrapped > 0:
        for k in range(u.size):
            x = u[k]
            u[k] = np.int32(x - 2 * LIMIT) if x > LIMIT else np.int32(x + 2 * LIMIT) if x <= -LIMIT else x
    for k in range(u.size):
        y = np.int32(np.int32(_kept(v[k], keep_v) + u[k]) + bias[k])
        bounded = min(max(y, np.int32(1 - LIMIT)), np.int32(LIMIT - 1))
        clipped += y != bounded
        fires = bounded > threshold
        v[k] = np.int32((bounded - threshold) & kept_bits) if fires else bounded
        sent[k] = np.int32(1) if fires else np.int32(0)
    return wrapped, clipped


@_inner
def _active(values: Array, index: Array) -> int:
    """List the indices of what is not zero in ``index``; return how many there are."""
    n = 0
    for k in range(values.size):
        index[n] = k
        n += values[k] != 0
    return n


@_inner
def _sum_rows(dense: Array, base: int, width: int, index: Array, total: Array, part: Array) -> None:
    """Add the dense rows ``index`` to ``total``, which is set to zero first."""
    for k in range(width):
        total[k] = 0
    for chunk in range(0, index.size, _ROWS_IN_INT16):
        last = min(chunk + _ROWS_IN_INT16, index.size)
        for k in range(width):
            part[k] = 0
        fours = chunk + (last - chunk) // 4 * 4
        for a in range(chunk, fours, 4):
            w0 = dense[base + index[a] * width : base + (index[a] + 1) * width]
            w1 = dense[base + index[a + 1] * width : base + (index[a + 1] + 1) * width]
            w2 = dense[base + index[a + 2] * width : base + (index[a + 2] + 1) * width]
            w3 = dense[base + index[a + 3] * width : base + (index[a + 3] + 1) * width]
            for k in range(width):
                part[k] = np.int16(part[k] + np.int16(w0[k]) + np.int16(w1[k]) + np.int16(w2[k]) + np.int16(w3[k]))
        for a in range(fours, last):
            w0 = dense[base + index[a] * width : base + (index[a] + 1) * width]
            for k in range(width):
                part[k] = np.int16(part[k] + np.int16(w0[k]))
        for k in range(width):
            total[k] = np.int32(total[k] + np.int32(part[k]))


@_inner
def _weigh_rows(dense: Array, base: int, width: int, index: Array, payload: Array, total: Array) -> None:
    """Add the dense rows ``index``, each times its payload, to ``total``, which is set to zero first."""
    for k in range(width):
        total[k] = 0
    for a in range(index.size):
        row, n = dense[base + index[a] * width : base + (index[a] + 1) * width], np.int32(payload[index[a]])
        for k in range(width):
            total[k] = np.int32(total[k] + np.int32(np.int32(row[k]) * n))


@_inner
def _scatter(rows: Array, entries: Array, index: Array, payload: Array, graded: int, total: Array) -> None:
    """Add the sparse rows ``index``, times the payload where ``graded``, to ``total``, which is set to zero first."""
    for k in range(total.size):
        total[k] = 0
    for a in range(index.size):
        first, last = rows[index[a]], rows[index[a] + 1]
        n = np.int32(payload[index[a]]) if graded else np.int32(1)
        posts, weights = entries[0, first:last], entries[1, first:last]
        for k in range(posts.size):
            total[posts[k]] = np.int32(total[posts[k]] + np.int32(weights[k] * n))


@_inner
def _arrive(total: Array, target: Array, shift: int, correction: int, wraps: int) -> None:
    """Add the corrected, shifted sum of a block to what will arrive at its targets."""
    fix, beyond = np.int32(correction), np.int32(8 if wraps else 0)
    left, right = np.int32(max(shift, 0)), np.int32(max(-shift, 0))
    for k in range(target.size):
        x = np.int32(np.int32(np.int32(total[k] + fix) << left) << beyond) >> beyond
        target[k] = np.int32(target[k] + (np.int32(x) >> right))


@_inner
def _deliver(
    blocks: Array, dense: Array, rows: Array, entries: Array, inputs: Array, sent: Array, arriving: Array, now: int,
    index: Array, total: Array, part: Array,
) -> None:  # fmt: skip
    """Deliver what all sources send in a step; ``arriving[slot, neuron]`` is a ring over steps, ``now`` its present slot."""
    active, last_input, last_source = 0, -1, -1
    for b in range(blocks.shape[0]):
        block = blocks[b]
        source, n_source, width = block[SOURCE], block[N_SOURCE], block[N_TARGET]
        payload = inputs[source : source + n_source] if block[FROM_INPUT] else sent[source : source + n_source]
        if block[FROM_INPUT] != last_input or source != last_source:
            active = _active(payload, index)
            last_input, last_source = block[FROM_INPUT], source
        if active == 0:
            continue
        listed, sums = index[:active], total[:width]
        events = np.int64(active)
        if block[GRADED]:
            events = np.int64(0)
            for a in range(active):
                events += payload[listed[a]]
        if block[FIRST_ROW] >= 0:
            _scatter(rows[block[FIRST_ROW] :], entries, listed, payload, block[GRADED], sums)
        elif block[GRADED]:
            _weigh_rows(dense, block[FIRST_WEIGHT], width, listed, payload, sums)
        else:
            _sum_rows(dense, block[FIRST_WEIGHT], width, listed, sums, part)
        slot = (now + 1 + block[DELAY]) % arriving.shape[0]
        target = arriving[slot, block[TARGET] : block[TARGET] + width]
        _arrive(sums, target, block[SHIFT], events * block[OFFSET], block[WRAPS])


@_inner
def _copy(source: Array, target: Array) -> None:
    for k in range(source.size):
        target[k] = source[k]


@_njit(cache=True, nogil=True, error_model="numpy", no_cfunc_wrapper=True, _nrt=False)
def run_samples(
    groups: Array, bias: Array, blocks: Array, dense: Array, rows: Array, entries: Array,
    counts: Array, state: Array, recorded: Array, out: Array, tally: Array,
    index: Array, sent: Array, total: Array, part: Array, step: int, first: int, last: int,
) -> None:  # fmt: skip
    """Run samples ``first`` to ``last - 1``.

    Args:
        groups: see :class:`~nirhw.targets.loihi2.flatten.FlatNetwork`, as the next five.
        bias: see there.
        blocks: see there.
        dense: see there.
        rows: see there.
        entries: see there.
        counts: ``[sample, time, input]``, int32.
        state: ``[sample, row, neuron]``, int32: u, v, then the ring of what arrives, whose first slot is that of ``step`` 0.
        recorded: ranges of neurons to record: first, size, and where they stand in ``out``, ``[range, 3]``, int64.
        out: ``[what, sample, time, recorded neuron]``, int32: what is sent, and, where ``what`` has three entries, u and v.
        tally: ``[sample, counter]``, int64.
        index: room for the active sources of a group, and one more, int64.
        sent: room for what neurons send, int32.
        total: room for the sums of a block, by neuron, int32.
        part: likewise, int16.
        step: steps already run.
        first: first sample.
        last: one past the last sample.
    """
    for s in range(first, last):
        u, v, arriving = state[s, 0], state[s, 1], state[s, 2:]
        for t in range(counts.shape[1]):
            now = (step + t) % arriving.shape[0]
            for g in range(groups.shape[0]):
                row = groups[g]
                a, b, model = row[FIRST], row[FIRST] + row[SIZE], row[MODEL]
                if model == LIF_RESET and (step + t + 1) % row[INTERVAL] == row[RESET_AT]:
                    u[a:b] = 0
                    v[a:b] = 0
                # a graded neuron has no threshold; v never reaches this one
                threshold = np.int32(LIMIT) if model == GRADED_MODEL else np.int32(row[THRESHOLD])
                wrapped, clipped = _update(
                    u[a:b], v[a:b], arriving[now, a:b], bias[a:b], sent[a:b],
                    np.int32(row[KEEP_U]), np.int32(row[KEEP_V]), threshold, model == LIF_SUBTRACT,
                )  # fmt: skip
                tally[s, WRAPPED_U] += wrapped
                tally[s, CLIPPED_V] += clipped
                if model == GRADED_MODEL:
                    for k in range(a, b):
                        sent[k] = np.int32(v[k] >> row[PAYLOAD_SHIFT])
            _deliver(blocks, dense, rows, entries, counts[s, t], sent, arriving, now, index, total, part)
            for r in range(recorded.shape[0]):
                a, size, at = recorded[r, 0], recorded[r, 1], recorded[r, 2]
                _copy(sent[a : a + size], out[0, s, t, at : at + size])
                if out.shape[0] > 1:
                    _copy(u[a : a + size], out[1, s, t, at : at + size])
                    _copy(v[a : a + size], out[2, s, t, at : at + size])
