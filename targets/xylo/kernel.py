"""The inner loops of the Xylo emulator, compiled by numba; imported only when something is emulated.

The arithmetic is that of the chip's simulator (facts: sheet "Xylo", section 3): 16-bit saturating states, an arithmetic
shift for decay, several spikes a step.  What makes it fast:

- All states are int16 and all sums are saturating int16 additions.  Processors have those as vector instructions, so
  the clamp after each event costs nothing and no case without clamps is needed.
- ``n`` equal events end where one addition of the ``n``-fold weight ends, as long as that product fits in 16 bits;
  ``FlatNetwork.chunk`` says how many do.
- Hidden and output neurons stand in one array of lanes (see :class:`~nirhw.targets.xylo.emulator.FlatNetwork`): an
  output neuron is a neuron whose cap is 1 and whose second synapse stays empty.

Loops run over slices, whose indices numba knows to be non-negative, and each touches few arrays: else LLVM gives up
vectorising.  Two things keep the first compilation short: the smallest functions are merged into their callers before
typing (``inline``), and states are recorded in one piece.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

if TYPE_CHECKING:
    from nirhw.targets.xylo.emulator import Array, FlatNetwork, LaneState, Recording

INPUT_CAP = 15
SPIKE_CAP = 31
LOW, HIGH = -32768, 32767
# columns of FlatNetwork.rows, FlatNetwork.runs and of a tally
FIRST_RUN, LAST_RUN, FIRST_ENTRY, LAST_ENTRY, CHUNK, FAN_OUT = range(6)
RUN_LANE, RUN_OFFSET, RUN_SIZE = range(3)
EVENTS, CLIPPED_I, CLIPPED_V, CAPPED = range(4)

_INT16 = ir.IntType(16)
# numba's annotations count the typing context among the arguments of a call
_intrinsic: Any = intrinsic


@_intrinsic
def _add_saturated(typing_context: Any, a: Any, b: Any) -> Any:
    """``clamp(a + b)`` of two int16: one instruction, also in vectors."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        add = builder.module.declare_intrinsic("llvm.sadd.sat", [_INT16], ir.FunctionType(_INT16, [_INT16, _INT16]))
        return builder.call(add, args)

    return types.int16(types.int16, types.int16), generate


@_intrinsic
def _shift_right(typing_context: Any, value: Any, bits: Any) -> Any:
    """Arithmetic shift of an int16 by 0..15, kept in 16 bits (numba would widen to 64, which does not vectorise)."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ashr(*args)

    return types.int16(types.int16, types.int16), generate


@_intrinsic
def _clamp(typing_context: Any, value: Any) -> Any:
    """Return the nearest int16 to an int32."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        wide = ir.IntType(32)
        kind = ir.FunctionType(wide, [wide, wide])
        low = builder.module.declare_intrinsic("llvm.smax", [wide], kind)
        high = builder.module.declare_intrinsic("llvm.smin", [wide], kind)
        bounded = builder.call(high, [builder.call(low, [args[0], wide(LOW)]), wide(HIGH)])
        return builder.trunc(bounded, _INT16)

    return types.int16(types.int32), generate


@njit(inline="always")
def _loss(x: int, dash: int) -> Any:
    """Return what a state loses in a step: ``x >> dash``, but at least 1 while ``x`` is positive."""
    shifted = _shift_right(x, dash)
    return np.int16(1) if (shifted == 0) & (x > 0) else shifted


@njit(inline="always")
def _add_events(target: Array, weight: Array, n: int) -> None:
    """``n`` events on each synapse of a run; ``n * weight`` fits in int16."""
    times = np.int16(n)
    for k in range(weight.size):
        target[k] = _add_saturated(target[k], np.int16(times * weight[k]))


@njit(inline="always")
def _scatter_events(current: Array, lane: Array, weight: Array, n: int) -> None:
    """``n`` events on each of a list of synapses; ``n * weight`` fits in int16."""
    times = np.int16(n)
    for k in range(lane.size):
        current[lane[k]] = _add_saturated(current[lane[k]], np.int16(times * weight[k]))


@njit(nogil=True)
def _clipped_events(current: int, weight: int, n: int) -> Any:
    """How many of ``n`` equal events, one after the other, are clamped."""
    end = np.int64(current) + np.int64(n) * np.int64(weight)
    if LOW <= end <= HIGH:
        return 0
    room = HIGH - current if weight > 0 else current - LOW
    return n - room // abs(np.int64(weight))


@njit(nogil=True)
def _collect(counts: Array, spikes: Array, words: Array, row: Array, times: Array) -> int:
    """List the active rows of a step, in the order of delivery: input channels, then last step's hidden spikes.

    ``words`` is ``spikes`` seen as uint64: eight silent neurons are passed over at once.

    Returns:
        How many there are; their numbers stand in ``row``, their events in ``times``.
    """
    active = 0
    for channel in range(counts.size):
        if counts[channel] > 0:
            row[active], times[active] = channel, min(np.int64(counts[channel]), INPUT_CAP)
            active += 1
    for word in range(words.size):
        if words[word] != 0:
            for j in range(8 * word, 8 * word + 8):
                if spikes[j] > 0:
                    row[active], times[active] = counts.size + j, spikes[j]
                    active += 1
    return active


@njit(nogil=True)
def _deliver(
    rows: Array,
    runs: Array,
    run_weights: Array,
    entry_lane: Array,
    entry_weight: Array,
    row: Array,
    times: Array,
    current: Array,
    tally: Array | None,
) -> None:
    """Deliver ``times`` events of each row to all its targets, clamping after each."""
    for a in range(row.size):
        r, n = row[a], times[a]
        first, last = rows[r, FIRST_ENTRY], rows[r, LAST_ENTRY]
        lanes, entries = entry_lane[first:last], entry_weight[first:last]
        if tally is not None:
            tally[EVENTS] += n * rows[r, FAN_OUT]
        while n > 0:
            m = min(n, rows[r, CHUNK])
            n -= m
            for run in range(rows[r, FIRST_RUN], rows[r, LAST_RUN]):
                lane, offset, size = runs[run, RUN_LANE], runs[run, RUN_OFFSET], runs[run, RUN_SIZE]
                target, weight = current[lane : lane + size], run_weights[offset : offset + size]
                if tally is not None:
                    for k in range(size):
                        tally[CLIPPED_I] += _clipped_events(target[k], weight[k], m)
                _add_events(target, weight, m)
            if tally is not None:
                for k in range(lanes.size):
                    tally[CLIPPED_I] += _clipped_events(current[lanes[k]], entries[k], m)
            _scatter_events(current, lanes, entries, m)


@njit(inline="always")
def _decay(current: Array, dash: Array) -> None:
    """Decay all synaptic currents, new events included."""
    for k in range(current.size):
        current[k] = np.int16(current[k] - _loss(current[k], dash[k]))


@njit(inline="always")
def _integrate(v: Array, dash: Array, i: Array, i2: Array, bias: Array) -> None:
    """Membrane update without firing.  The negated loss wraps at -32768 (dash 0), as it does on the chip."""
    for k in range(v.size):
        dv = np.int32(np.int16(-_loss(v[k], dash[k])))
        dv = _clamp(np.int32(dv + np.int32(i[k]) + np.int32(i2[k])))
        v[k] = _add_saturated(v[k], _add_saturated(dv, bias[k]))


@njit(nogil=True)
def _clipped_membranes(v: Array, dash: Array, i: Array, i2: Array, bias: Array) -> int:
    """How many of the three clamps of :func:`_integrate` clip, summed over neurons; changes nothing."""
    clipped = 0
    for k in range(v.size):
        x: Any = np.int64(np.int16(-_loss(v[k], dash[k])))
        for term in (np.int64(i[k]) + np.int64(i2[k]), np.int64(bias[k]), np.int64(v[k])):
            x += term
            bounded = min(max(x, LOW), HIGH)
            clipped += x != bounded
            x = bounded
    return clipped


@njit(inline="always")
def _fire(v: Array, threshold: Array, cap: Array, spikes: Array) -> None:
    """Spikes of all neurons at once; needs positive thresholds and no alias.

    The float32 quotient of two 15-bit integers has the right integer part: a quotient below ``q`` is smaller than it by
    at least ``2**-16`` of its size.
    """
    for k in range(v.size):
        quotient, most = np.float32(v[k]) / np.float32(threshold[k]), np.float32(cap[k])
        n = np.int16(np.int32(quotient if quotient < most else most))
        n = n if v[k] >= threshold[k] else np.int16(0)
        v[k] = np.int16(v[k] - np.int16(n * threshold[k]))
        spikes[k] = np.uint8(n)


@njit(nogil=True)
def _fire_in_order(v: Array, threshold: Array, cap: Array, alias: Array, spikes: Array) -> None:
    """Spikes neuron by neuron, for aliases and for thresholds of any sign.

    A copy that an alias sends upwards is there before its target fires and takes part in the target's cap; a copy sent
    downwards is added to spikes that are already settled.
    """
    for k in range(v.size):
        spikes[k] = 0
    for k in range(v.size):
        n, x = np.int64(spikes[k]), v[k]
        while x >= threshold[k] and n < cap[k]:
            x = np.int16(x - threshold[k])
            n += 1
        v[k] = x
        spikes[k] = np.uint8(n)
        if alias[k] >= 0:
            received: Any = min(np.int64(spikes[alias[k]]) + n, SPIKE_CAP)
            spikes[alias[k]] = np.uint8(received)


@njit(nogil=True)
def _copy(target: Array, source: Array) -> None:
    """Copy the first neurons of ``source``; as many as ``target`` holds."""
    for k in range(target.size):
        target[k] = source[k]


@njit(cache=True, nogil=True, error_model="numpy")
def run_samples(
    net: FlatNetwork,
    alias: Array | None,
    counts: Array,
    state: LaneState,
    recording: Recording,
    tally: Array | None,
    first: int,
    last: int,
) -> None:
    """Run samples ``first`` to ``last - 1``; ``counts[sample, time, channel]`` uint8; ``state`` changes in place.

    ``alias`` says that neurons must fire in order, ``tally[sample, counter]`` counts: where they are ``None``, numba
    leaves their branches out.  Recordings that nobody asked for have no time axis.
    """
    rows, runs, run_weights, entry_lane, entry_weight = (
        net.rows,
        net.runs,
        net.run_weights,
        net.entry_lane,
        net.entry_weight,
    )
    i_dash, h = net.i_dash, net.hidden_lanes
    v_dash, bias, threshold, cap = net.neurons[0], net.neurons[1], net.neurons[2], net.neurons[3]
    row, times = np.empty(rows.shape[0], np.int64), np.empty(rows.shape[0], np.int64)
    for b in range(first, last):
        values, spikes, words = state.values[b], state.spikes[b], state.spike_words[b, : h // 8]
        n_lanes = spikes.size
        i, i2, v = values[:n_lanes], values[n_lanes : 2 * n_lanes], values[2 * n_lanes :]
        # without a second synapse its currents stay zero, so they need no decay
        current = values[: i_dash.size]
        sample_tally = None if tally is None else tally[b]
        for t in range(counts.shape[1]):
            n = _collect(counts[b, t], spikes, words, row, times)
            _deliver(rows, runs, run_weights, entry_lane, entry_weight, row[:n], times[:n], current, sample_tally)
            _decay(current, i_dash)
            if tally is not None:
                tally[b, CLIPPED_V] += _clipped_membranes(v, v_dash, i, i2, bias)
            _integrate(v, v_dash, i, i2, bias)
            if alias is None:
                _fire(v, threshold, cap, spikes)
            else:
                _fire_in_order(v, threshold, cap, alias, spikes)
            if tally is not None:
                for k in range(h):
                    tally[b, CAPPED] += spikes[k] == SPIKE_CAP
            _copy(recording.out_spikes[b, t], spikes[h:])
            if recording.spikes.shape[1] > 0:
                _copy(recording.spikes[b, t], spikes)
            if recording.values.shape[1] > 0:
                _copy(recording.values[b, t], values)
