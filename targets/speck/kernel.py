"""The inner loops of the Speck emulator, compiled by numba; imported only when something is emulated.

One event at a core visits every neuron that its kernel covers, each exactly once (sinabs docs, tips_for_training.md):
``v += w``; at or above the threshold one spike, and the threshold is subtracted or the state set to zero; then the lower
bound.  Since no neuron is visited twice, the order inside an event only decides the order of its spikes.  So:

- Maps are stored ``[y][x][feature]``, features padded to whole blocks of ``LANES``, and the weights of an input channel in the
  same order, split by stride phase: what an event visits are then a few runs of blocks in both.
- A block is one vector operation: add, bound, compare, subtract or zero.  It answers with bits that say which of its neurons
  fired, were lifted to the bound, or left 16 bits.
- States are int16, and their sums saturate (the chip's own rule is not documented).
- Padding never fires: its weights and states are 0, thresholds are positive, bounds negative.
- Spikes are brought into the wanted order afterwards: few, compared with visited neurons.

The spikes of an event go onto a stack, so that the first one is worked off to the end before the next: depth first.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from nirhw.targets.speck.arrays import LANES

Array = NDArray[Any]

LOW, HIGH = -32768, 32767

_INT16 = ir.IntType(16)
# numba's annotations count the typing context among the arguments of a call
_intrinsic: Any = intrinsic

# columns of the geometry table, one row a core
(
    IN_CHANNELS,
    IN_Y,
    IN_X,
    FEATURES,
    OUT_Y,
    OUT_X,
    KERNEL,
    PAD_Y,
    PAD_X,
    STRIDE_SHIFT_Y,  # binary logarithms
    STRIDE_SHIFT_X,
    FIRST_WEIGHT,
    FIRST_NEURON,
    FIRST_BIAS,
    THRESHOLD,
    BOUND,
    TO_ZERO,
    LEAK,
    LOGGED,
    STEP,  # features, padded to whole blocks
    ROW_SIZE,  # weights from one kernel row of a phase to the next
    PHASE_SIZE,  # weights from one phase to the next
    DESTINATION,  # two times: core or -1, binary logarithm of the pooling, packed core and feature shift
) = range(23)
GEOMETRY_COLUMNS = DESTINATION + 6
# columns of a tally, one row a core
EVENTS, OUTSIDE, UPDATES, SPIKES, BOUNDED, OVERFLOWS, QUEUE = range(7)
TALLY_COLUMNS = 7
# orders inside an event
FEATURE, ROW, REVERSED, SHUFFLED = range(4)
# columns of the marks
POSITION, KIND = range(2)
TICK = -1
#: bits of a packed event: core, channel, y, x
CORE_SHIFT, CHANNEL_SHIFT, Y_SHIFT, MASK = 48, 32, 16, 0xFFFF


@_intrinsic
def _visit_block(
    typing_context: Any, states: Any, at: Any, weights: Any, source: Any, bound: Any, threshold: Any, kept: Any
) -> Any:
    """Work off an event at ``LANES`` neurons: states from ``at`` on, weights from ``source`` on.

    ``kept`` is -1 where a spike subtracts the threshold, 0 where it sets the state to zero.

    Returns:
        int64: 16 bits each of neurons that fired, were lifted to the bound, left 16 bits, from the lowest.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vector, wide = ir.VectorType(_INT16, LANES), ir.IntType(64)

        def pointer(array: int, index: int, kind: Any) -> Any:
            data = context.make_array(signature.args[array])(context, builder, args[array]).data
            return builder.bitcast(builder.gep(data, [args[index]]), kind.as_pointer())

        def every(value: Any) -> Any:
            first = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.IntType(32)(0))
            return builder.shuffle_vector(first, first, ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES))

        def bits(flags: Any, shift: int) -> Any:
            return builder.shl(builder.zext(builder.bitcast(flags, _INT16), wide), wide(shift))

        place = pointer(0, 1, vector)
        before = builder.load(place, align=2)
        weight = builder.sext(builder.load(pointer(2, 3, ir.VectorType(ir.IntType(8), LANES)), align=1), vector)
        low, high, mask = every(args[4]), every(args[5]), every(args[6])
        kind = ir.FunctionType(vector, [vector, vector])
        saturate = builder.module.declare_intrinsic(f"llvm.sadd.sat.v{LANES}i16", (), kind)
        total = builder.call(saturate, [before, weight])
        overflowed = builder.icmp_signed("!=", total, builder.add(before, weight))
        lifted = builder.icmp_signed("<", total, low)
        held = builder.select(lifted, low, total)
        fired = builder.icmp_signed(">=", held, high)
        after = builder.select(fired, builder.and_(builder.sub(held, high), mask), held)
        builder.store(after, place, align=2)
        return builder.or_(bits(fired, 0), builder.or_(bits(lifted, 16), bits(overflowed, 32)))

    return types.int64(states, types.int64, weights, types.int64, types.int16, types.int16, types.int16), generate


@_intrinsic
def _ones(typing_context: Any, word: Any) -> Any:
    """Return how many bits of an int64 are set."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ctpop(args[0])

    return types.int64(types.int64), generate


@_intrinsic
def _lowest(typing_context: Any, word: Any) -> Any:
    """Return the number of the lowest set bit of an int64 that is not 0."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.IntType(1)(1))

    return types.int64(types.int64), generate


@njit(nogil=True)
def _mixed(word: int) -> Any:
    """Return 62 well mixed bits of a number (two rounds of multiply and shift)."""
    z = np.uint64(word) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(31))) * np.uint64(0xD6E8FEB86659FD93)
    z = (z ^ (z >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    return np.int64((z ^ (z >> np.uint64(32))) >> np.uint64(2))


@njit(nogil=True)
def _sort(values: Array, n: int) -> None:
    """Sort the first ``n`` values (shell sort: no memory, quick for few)."""
    gap = 1
    while 3 * gap + 1 < n:
        gap = 3 * gap + 1
    while gap > 0:
        for i in range(gap, n):
            value, j = values[i], i
            while j >= gap and values[j - gap] > value:
                values[j] = values[j - gap]
                j -= gap
            values[j] = value
        gap //= 3


@njit(nogil=True)
def _put_in_order(fired: Array, n: int, order: int, salt: int) -> None:
    """Bring the neurons that fired, packed and in the order of rows, into the wanted order; ``salt`` decides a random one."""
    if order == ROW:
        return
    _sort(fired, n)
    if order == REVERSED:
        for k in range(n // 2):
            fired[k], fired[n - 1 - k] = fired[n - 1 - k], fired[k]
    if order == SHUFFLED:
        lot = _mixed(salt)
        for k in range(n - 1, 0, -1):
            lot = _mixed(lot + k)
            other = lot % (k + 1)
            fired[k], fired[other] = fired[other], fired[k]


@njit(inline="always")
def _convolve(
    cores: Array, c: int, channel: int, y: int, x: int, weights: Array, state: Array, fired: Array, tally: Array
) -> Any:
    """Work off one event at core ``c``.

    Returns:
        How many neurons fired; they stand in ``fired``, packed without a core, by y, x and feature.
    """
    kernel, step, width = cores[c, KERNEL], cores[c, STEP], cores[c, OUT_X]
    shift_y, shift_x = cores[c, STRIDE_SHIFT_Y], cores[c, STRIDE_SHIFT_X]
    at_y, at_x = y + cores[c, PAD_Y], x + cores[c, PAD_X]
    phase_y, phase_x = at_y & ((1 << shift_y) - 1), at_x & ((1 << shift_x) - 1)
    at_y, at_x = at_y >> shift_y, at_x >> shift_x
    # taps of this phase: tap j leads to row at_y - j, and the last is stored first, as it leads to the lowest row
    low_y, low_x = at_y - ((kernel - 1 - phase_y) >> shift_y), at_x - ((kernel - 1 - phase_x) >> shift_x)
    first_y, last_y = max(low_y, 0), min(at_y, cores[c, OUT_Y] - 1)
    first_x, last_x = max(low_x, 0), min(at_x, width - 1)
    n = 0
    if phase_y < kernel and phase_x < kernel and first_x <= last_x and first_y <= last_y:
        phase = (((channel << shift_y) + phase_y) << shift_x) + phase_x
        first_weight = cores[c, FIRST_WEIGHT] + phase * cores[c, PHASE_SIZE]
        first_neuron = cores[c, FIRST_NEURON]
        threshold, bound = np.int16(cores[c, THRESHOLD]), np.int16(cores[c, BOUND])
        kept = np.int16(0 if cores[c, TO_ZERO] else -1)
        blocks = (last_x - first_x + 1) * (step // LANES)
        lifted = overflowed = 0
        for row in range(first_y, last_y + 1):
            source = first_weight + (row - low_y) * cores[c, ROW_SIZE] + (first_x - low_x) * step
            at = first_neuron + (row * width + first_x) * step
            feature, column = 0, first_x
            for _ in range(blocks):
                found = _visit_block(state, at, weights, source, bound, threshold, kept)
                at += LANES
                source += LANES
                lifted += _ones((found >> 16) & 0xFFFF)
                overflowed += _ones(found >> 32)
                found &= 0xFFFF
                while found != 0:
                    fired[n] = ((feature + _lowest(found)) << CHANNEL_SHIFT) | (row << Y_SHIFT) | column
                    found &= found - 1
                    n += 1
                feature += LANES
                if feature == step:
                    feature = 0
                    column += 1
        tally[c, BOUNDED] += lifted
        tally[c, OVERFLOWS] += overflowed
        tally[c, UPDATES] += (last_y - first_y + 1) * (last_x - first_x + 1) * cores[c, FEATURES]
    return n


@njit(nogil=True)
def _leak(cores: Array, c: int, biases: Array, state: Array, tally: Array) -> None:
    """Add the biases to all neurons of a core: a tick of the slow clock.  It holds the bound and fires nothing."""
    for pixel in range(cores[c, OUT_Y] * cores[c, OUT_X]):
        first = cores[c, FIRST_NEURON] + pixel * cores[c, STEP]
        for feature in range(cores[c, FEATURES]):
            total = np.int64(state[first + feature]) + np.int64(biases[cores[c, FIRST_BIAS] + feature])
            held = min(max(total, LOW), HIGH)
            tally[c, OVERFLOWS] += total != held
            tally[c, BOUNDED] += held < cores[c, BOUND]
            state[first + feature] = max(held, cores[c, BOUND])


@njit(nogil=True)
def _grown(log: Array, needed: int) -> Array:
    """Return a longer log with the same content."""
    longer = np.empty((max(2 * log.shape[0], needed), 2), np.int64)
    longer[: log.shape[0]] = log
    return longer


@njit(cache=True, nogil=True, error_model="numpy")
def run_stream(
    cores: Array,
    weights: Array,
    biases: Array,
    events: Array,
    marks: Array,
    state: Array,
    tally: Array,
    stack: Array,
    recorded: Array,
    order: int,
    seed: int,
    serial: int,
) -> Any:
    """Work off the events of one sample, one after the other.

    Args:
        cores: geometry table ``[core, column]``, int64.
        weights: int8, all cores one after the other, ``[channel][phase y][phase x][tap y][tap x][feature]`` each, padded.
        biases: int8, all cores.
        events: packed events of the host, int64.
        marks: ``[mark, (position, kind)]``, int64: before the event at ``position`` a tick (kind ``TICK``), or all states are
            copied to row ``kind`` of ``recorded``; in the order of their positions.
        state: int16, all neurons, ``[y][x][feature]`` a core, padded; changes in place.
        tally: int64 ``[core, counter]``; adds up in place.
        stack: int64 ``[2, size]``: events to be worked off, and neurons that fired.
        recorded: int16 ``[row, neuron]``.
        order: order inside an event.
        seed: for the order ``SHUFFLED``.
        serial: events worked off so far, for the same.

    Returns:
        Spikes of the logged cores, ``[spike, (index of the host's event, packed core and neuron)]``, and the new ``serial``.
    """
    pending, fired = stack[0], stack[1]
    waiting = np.zeros(cores.shape[0], np.int64)
    log = np.empty((256, 2), np.int64)
    logged, mark, salt = 0, 0, _mixed(seed)
    for e in range(events.size + 1):
        while mark < marks.shape[0] and marks[mark, POSITION] == e:
            if marks[mark, KIND] == TICK:
                for leaking in range(cores.shape[0]):
                    if cores[leaking, LEAK]:
                        _leak(cores, leaking, biases, state, tally)
            else:
                recorded[marks[mark, KIND], :] = state
            mark += 1
        if e == events.size:
            break
        pending[0], depth = events[e], 1
        waiting[events[e] >> CORE_SHIFT] += 1
        while depth > 0:
            depth -= 1
            event = pending[depth]
            c: Any = np.uintp(event >> CORE_SHIFT)  # unsigned: spares a test for negative indices
            channel = (event >> CHANNEL_SHIFT) & MASK
            y, x = (event >> Y_SHIFT) & MASK, event & MASK
            tally[c, EVENTS] += 1
            tally[c, QUEUE] = max(tally[c, QUEUE], waiting[c])
            waiting[c] -= 1
            serial += 1
            if channel >= cores[c, IN_CHANNELS] or y >= cores[c, IN_Y] or x >= cores[c, IN_X]:
                tally[c, OUTSIDE] += 1
                continue
            n = _convolve(cores, c, channel, y, x, weights, state, fired, tally)
            if n == 0:
                continue
            tally[c, SPIKES] += n
            if n > 1:
                _put_in_order(fired, n, order, salt ^ serial)
            if cores[c, LOGGED]:
                if logged + n > log.shape[0]:
                    log = _grown(log, logged + n)
                for k in range(n):
                    log[logged + k, 0], log[logged + k, 1] = e, (np.int64(c) << CORE_SHIFT) | fired[k]
                logged += n
            for k in range(n - 1, -1, -1):  # the last goes to the bottom of the stack
                spike = fired[k]
                spike_y, spike_x = (spike >> Y_SHIFT) & MASK, spike & MASK
                for d in range(DESTINATION + 3, DESTINATION - 3, -3):
                    if cores[c, d] >= 0:
                        pooled = ((spike_y >> cores[c, d + 1]) << Y_SHIFT) | (spike_x >> cores[c, d + 1])
                        pending[depth] = cores[c, d + 2] + (spike & (MASK << CHANNEL_SHIFT)) + pooled
                        waiting[cores[c, d]] += 1
                        depth += 1
    return log[:logged], serial
