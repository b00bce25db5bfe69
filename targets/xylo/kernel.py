"""The inner loops of the Xylo emulator, written for numba; imported only to be compiled.

The arithmetic is that of the chip's simulator (xylosim 0.1.3): 16-bit saturating states, an arithmetic
shift for decay, several spikes a step.  What makes it fast:

- All states are int16 and all sums are saturating int16 additions.  Processors have those as vector instructions, so
  the clamp after each event costs nothing and no case without clamps is needed.
- ``n`` equal events end where one addition of the ``n``-fold weight ends, as long as that product fits in 16 bits;
  ``FlatNetwork.chunk`` says how many do.
- Hidden and output neurons stand in one array of lanes (see :class:`~nirhw.targets.xylo.flat.FlatNetwork`): an
  output neuron is a neuron whose cap is 1 and whose second synapse stays empty.

Each loop touches few arrays, else LLVM gives up vectorising.

Three things keep the first compilation short: the kernel is a C function of pointers, as numba spends longer on the
arrays of arguments than on all loops together; the smallest functions are merged into their callers before typing
(``inline``) or written as intrinsics; states are recorded in one piece.  It makes no arrays and raises nothing, so that
its machine code can be kept (:mod:`nirhw.emulation.native`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import cfunc, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

INPUT_CAP = 15
SPIKE_CAP = 31
LOW, HIGH = -32768, 32767
# columns of FlatNetwork.rows, FlatNetwork.runs and of a tally, and how many there are
FIRST_RUN, LAST_RUN, FIRST_ENTRY, LAST_ENTRY, CHUNK, FAN_OUT = range(ROW_COLUMNS := 6)
RUN_LANE, RUN_OFFSET, RUN_SIZE = range(RUN_COLUMNS := 3)
EVENTS, CLIPPED_I, CLIPPED_V, CAPPED = range(COUNTERS := 4)

_INT16 = ir.IntType(16)
# numba's annotations count the typing context among the arguments of a call, and leave out the other two
_intrinsic: Any = intrinsic
_pointer: Any = types.CPointer
_copy_memory: Any = cgutils.raw_memcpy


@_intrinsic
def _add_saturated(typing_context: Any, a: Any, b: Any) -> Any:
    """``clamp(a + b)`` of two int16: one instruction, also in vectors."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        add = builder.module.declare_intrinsic("llvm.sadd.sat", [_INT16], ir.FunctionType(_INT16, [_INT16, _INT16]))
        return builder.call(add, args)

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


@_intrinsic
def _loss(typing_context: Any, x: Any, dash: Any) -> Any:
    """Return what a state loses in a step: ``x >> dash``, but at least 1 while ``x`` is positive.

    An arithmetic shift of an int16 by 0..15, kept in 16 bits: numba would widen to 64, which does not vectorise.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        shifted = builder.ashr(*args)
        stuck = builder.and_(builder.icmp_signed("==", shifted, _INT16(0)), builder.icmp_signed(">", args[0], _INT16(0)))
        return builder.select(stuck, _INT16(1), shifted)

    return types.int16(types.int16, types.int16), generate


@_intrinsic
def _at(typing_context: Any, pointer: Any, offset: Any) -> Any:
    """Pointer arithmetic: the address of ``pointer[offset]``; of no pointer, none."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return args[0] if pointer == types.none else builder.gep(args[0], [args[1]])

    return pointer(pointer, types.int64), generate


@_intrinsic
def _copy(typing_context: Any, target: Any, source: Any, size: Any) -> Any:
    """Copy the first ``size`` values of ``source``."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _copy_memory(builder, args[0], args[1], args[2], context.get_abi_sizeof(context.get_data_type(target.dtype)))
        return context.get_dummy_value()

    return types.none(target, source, types.int64), generate


@njit(inline="always")
def _add_events(current: Any, weight: Any, size: int, n: int) -> None:
    """``n`` events on each synapse of a run; ``n * weight`` fits in int16."""
    times = np.int16(n)
    for k in range(size):
        current[k] = _add_saturated(current[k], np.int16(times * weight[k]))


@njit(inline="always")
def _scatter_events(current: Any, lane: Any, weight: Any, size: int, n: int) -> None:
    """``n`` events on each of a list of synapses; ``n * weight`` fits in int16."""
    times = np.int16(n)
    for k in range(size):
        current[lane[k]] = _add_saturated(current[lane[k]], np.int16(times * weight[k]))


@njit(error_model="numpy")
def _clipped_events(current: int, weight: int, n: int) -> Any:
    """How many of ``n`` equal events, one after the other, are clamped."""
    end = np.int64(current) + np.int64(n) * np.int64(weight)
    if LOW <= end <= HIGH:
        return 0
    room = HIGH - current if weight > 0 else current - LOW
    return n - room // abs(np.int64(weight))


@njit(error_model="numpy")
def _collect(counts: Any, channels: int, spikes: Any, words: Any, n_words: int, row: Any, times: Any) -> int:
    """List the active rows of a step, in the order of delivery: input channels, then last step's hidden spikes.

    ``words`` is ``spikes`` seen as uint64: eight silent neurons are passed over at once.

    Returns:
        How many there are; their numbers stand in ``row``, their events in ``times``.
    """
    active = 0
    for channel in range(channels):
        if counts[channel] > 0:
            row[active] = channel
            times[active] = counts[channel] if counts[channel] < INPUT_CAP else INPUT_CAP
            active += 1
    for word in range(n_words):
        if words[word] != 0:
            for j in range(8 * word, 8 * word + 8):
                if spikes[j] > 0:
                    row[active] = channels + j
                    times[active] = spikes[j]
                    active += 1
    return active


@njit(error_model="numpy")
def _deliver(
    rows: Any,
    runs: Any,
    run_weights: Any,
    entry_lane: Any,
    entry_weight: Any,
    row: Any,
    times: Any,
    active: int,
    current: Any,
    tally: Any,
) -> None:
    """Deliver ``times`` events of each row to all its targets, clamping after each."""
    for a in range(active):
        r, n = _at(rows, ROW_COLUMNS * row[a]), times[a]
        first = r[FIRST_ENTRY]
        lanes, entries, size = _at(entry_lane, first), _at(entry_weight, first), r[LAST_ENTRY] - first
        if tally is not None:
            tally[EVENTS] += n * r[FAN_OUT]
        while n > 0:
            m = n if n < r[CHUNK] else r[CHUNK]
            n -= m
            for index in range(r[FIRST_RUN], r[LAST_RUN]):
                run = _at(runs, RUN_COLUMNS * index)
                target, weight = _at(current, run[RUN_LANE]), _at(run_weights, run[RUN_OFFSET])
                if tally is not None:
                    for k in range(run[RUN_SIZE]):
                        tally[CLIPPED_I] += _clipped_events(target[k], weight[k], m)
                _add_events(target, weight, run[RUN_SIZE], m)
            if tally is not None:
                for k in range(size):
                    tally[CLIPPED_I] += _clipped_events(current[lanes[k]], entries[k], m)
            _scatter_events(current, lanes, entries, size, m)


@njit(inline="always")
def _decay(current: Any, dash: Any, size: int) -> None:
    """Decay all synaptic currents, new events included."""
    for k in range(size):
        current[k] = np.int16(current[k] - _loss(current[k], dash[k]))


@njit(inline="always")
def _integrate(v: Any, dash: Any, i: Any, i2: Any, bias: Any, size: int) -> None:
    """Membrane update without firing.  The negated loss wraps at -32768 (dash 0), as it does on the chip."""
    for k in range(size):
        dv = np.int32(np.int16(-_loss(v[k], dash[k])))
        dv = _clamp(np.int32(dv + np.int32(i[k]) + np.int32(i2[k])))
        v[k] = _add_saturated(v[k], _add_saturated(dv, bias[k]))


@njit(error_model="numpy")
def _clipped_membranes(v: Any, dash: Any, i: Any, i2: Any, bias: Any, size: int) -> int:
    """How many of the three clamps of :func:`_integrate` clip, summed over neurons; changes nothing."""
    clipped = 0
    for k in range(size):
        x: Any = np.int64(np.int16(-_loss(v[k], dash[k])))
        for term in (np.int64(i[k]) + np.int64(i2[k]), np.int64(bias[k]), np.int64(v[k])):
            x += term
            bounded = min(max(x, LOW), HIGH)
            clipped += x != bounded
            x = bounded
    return clipped


@njit(inline="always")
def _fire(v: Any, threshold: Any, cap: Any, spikes: Any, size: int) -> None:
    """Spikes of all neurons at once; needs positive thresholds and no alias.

    The float32 quotient of two 15-bit integers has the right integer part: a quotient below ``q`` is smaller than it by
    at least ``2**-16`` of its size.
    """
    for k in range(size):
        quotient, most = np.float32(v[k]) / np.float32(threshold[k]), np.float32(cap[k])
        n = np.int16(np.int32(quotient if quotient < most else most))
        n = n if v[k] >= threshold[k] else np.int16(0)
        v[k] = np.int16(v[k] - np.int16(n * threshold[k]))
        spikes[k] = np.uint8(n)


@njit(error_model="numpy")
def _fire_in_order(v: Any, threshold: Any, cap: Any, alias: Any, spikes: Any, size: int) -> None:
    """Spikes neuron by neuron, for aliases and for thresholds of any sign.

    A copy that an alias sends upwards is there before its target fires and takes part in the target's cap; a copy sent
    downwards is added to spikes that are already settled.
    """
    for k in range(size):
        spikes[k] = 0
    for k in range(size):
        n, x = np.int64(spikes[k]), v[k]
        while x >= threshold[k] and n < cap[k]:
            x = np.int16(x - threshold[k])
            n += 1
        v[k] = x
        spikes[k] = np.uint8(n)
        if alias[k] >= 0:
            received: Any = min(np.int64(spikes[alias[k]]) + n, SPIKE_CAP)
            spikes[alias[k]] = np.uint8(received)


def run_samples(
    rows: Any,
    runs: Any,
    run_weights: Any,
    entry_lane: Any,
    entry_weight: Any,
    i_dash: Any,
    neurons: Any,
    alias: Any,
    current_lanes: int,
    lanes: int,
    hidden_lanes: int,
    channels: int,
    n_outputs: int,
    row: Any,
    times: Any,
    counts: Any,
    values: Any,
    spikes: Any,
    spike_words: Any,
    out_spikes: Any,
    recorded_spikes: Any,
    recorded_values: Any,
    tally: Any,
    spike_width: int,
    value_width: int,
    steps: int,
    first: int,
    last: int,
) -> None:
    """Run samples ``first`` to ``last - 1``; values and spikes change in place.

    The arguments are, in C order: the arrays of :class:`~nirhw.targets.xylo.flat.FlatNetwork`; ``alias[lane]``,
    where neurons must fire in order; sizes of the network; ``row`` and ``times``, room for one number a row each;
    ``counts[sample, time, channel]``; the state, :class:`~nirhw.targets.xylo.emulator.LaneState` and its spikes as words
    of eight; what is recorded, :class:`~nirhw.targets.xylo.emulator.Recording`; ``tally[sample, counter]``, where events
    and clamps are counted; the widths of the recordings of spikes and values, 0 where they are off.

    ``alias`` and ``tally`` may be ``None``: numba then leaves their branches out.
    """
    v_dash, bias, threshold, cap = neurons, _at(neurons, lanes), _at(neurons, 2 * lanes), _at(neurons, 3 * lanes)
    for b in range(first, last):
        i = _at(values, 3 * lanes * b)
        i2, v = _at(i, lanes), _at(i, 2 * lanes)
        fired, words = _at(spikes, lanes * b), _at(spike_words, lanes // 8 * b)
        sample_tally = _at(tally, COUNTERS * b)
        for t in range(steps):
            step = steps * b + t
            n = _collect(_at(counts, channels * step), channels, fired, words, hidden_lanes // 8, row, times)
            _deliver(rows, runs, run_weights, entry_lane, entry_weight, row, times, n, i, sample_tally)
            _decay(i, i_dash, current_lanes)
            if tally is not None:
                sample_tally[CLIPPED_V] += _clipped_membranes(v, v_dash, i, i2, bias, lanes)
            _integrate(v, v_dash, i, i2, bias, lanes)
            if alias is None:
                _fire(v, threshold, cap, fired, lanes)
            else:
                _fire_in_order(v, threshold, cap, alias, fired, lanes)
            if tally is not None:
                for k in range(hidden_lanes):
                    sample_tally[CAPPED] += fired[k] == SPIKE_CAP
            _copy(_at(out_spikes, n_outputs * step), _at(fired, hidden_lanes), n_outputs)
            _copy(_at(recorded_spikes, spike_width * step), fired, spike_width)
            _copy(_at(recorded_values, value_width * step), i, value_width)


def compile_kernel(in_order: bool, counting: bool) -> Any:
    """Return :func:`run_samples` as a ``numba.cfunc``, with or without aliases and counters."""
    uint8, uint32, uint64 = map(_pointer, (types.uint8, types.uint32, types.uint64))
    int16, int32, int64 = map(_pointer, (types.int16, types.int32, types.int64))
    alias, tally = int32 if in_order else types.none, int64 if counting else types.none
    network = (int64, int64, int16, uint32, int16, int16, int16, alias, *[types.int64] * 5)
    run = (int64, int64, uint8, int16, uint8, uint64, uint8, uint8, int16, tally, *[types.int64] * 5)
    return cfunc(types.void(*network, *run), error_model="numpy")(run_samples)
