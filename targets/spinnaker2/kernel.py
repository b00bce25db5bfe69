"""The inner loops of the SpiNNaker2 emulator, compiled by numba; imported only when something is emulated.

One step, in the order of a PE (NESTML, resources_spinnaker2): the spikes of the step before add their weights to the
slots of the delay ring, the slot of this step moves the synaptic and then the membrane state, neurons above their threshold
fire and are reset.  States are float32, sums of weights are int32; every product and every sum is rounded on its own unless
``fused`` asks for multiply-add in one rounding.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

Array = Any

# rows of FlatNetwork.parameters
ALPHA, OFFSET, THRESHOLD, V_RESET, EXC_DECAY, INH_DECAY = range(6)
# rows of a sample's state
V, EXC, INH = range(3)
# columns of FlatNetwork.segments
FIRST, LAST, CURRENT, SUBTRACT = range(4)
# columns of FlatNetwork.kernels; the last is where the weights begin
SOURCE_LANE, TARGET_LANE, CHANNELS, HEIGHT, WIDTH, KERNEL_HEIGHT, KERNEL_WIDTH = range(7)
IN_HEIGHT, IN_WIDTH, STRIDE, POOL, PAD_TOP, PAD_LEFT, WEIGHTS = range(7, 14)
# columns of a tally
SPIKES, EVENTS = range(2)

# functions that only the kernel calls need no entry from Python or C, which would cost a third of the compilation
_LEAN: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
_inner: Any = njit(nogil=True, error_model="numpy", **_LEAN)
# numba's annotations count the typing context among the arguments of a call
_intrinsic: Any = intrinsic


@_intrinsic
def _multiply_add(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
    """Return ``a * b + c`` of float32, rounded once, on every processor."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fma(*args)

    return types.float32(types.float32, types.float32, types.float32), generate


@njit(inline="always")
def _product_sum(a: Any, b: Any, c: Any) -> Any:
    return a * b + c


@_inner
def _scatter(slot: Array, lane: Array, weight: Array) -> None:
    """Add the weights of one row to their lanes."""
    for k in range(lane.size):
        slot[lane[k]] += np.int32(weight[k])


@_inner
def _convolve(slot: Array, place: int, geometry: Array, weights: Array) -> Any:
    """Add what the spike of neuron ``place`` of a source slice gives to a convolution's targets; return the additions."""
    in_height, in_width, pool, stride = geometry[IN_HEIGHT], geometry[IN_WIDTH], geometry[POOL], geometry[STRIDE]
    channels, height, width = geometry[CHANNELS], geometry[HEIGHT], geometry[WIDTH]
    kernel_height, kernel_width = geometry[KERNEL_HEIGHT], geometry[KERNEL_WIDTH]
    plane = in_height * in_width
    channel, place = place // plane, place % plane
    row, column = place // in_width // pool, place % in_width // pool
    if row >= in_height // pool or column >= in_width // pool:
        return 0
    row += geometry[PAD_TOP]
    column += geometry[PAD_LEFT]
    # outputs whose window holds the spike
    first_row, last_row = max(0, -((kernel_height - 1 - row) // stride)), min(height - 1, row // stride)
    first_column, last_column = max(0, -((kernel_width - 1 - column) // stride)), min(width - 1, column // stride)
    taps = kernel_height * kernel_width
    for f in range(channels):
        tap = geometry[WEIGHTS] + (channel * channels + f) * taps
        lane = geometry[TARGET_LANE] + f * height * width
        for y in range(first_row, last_row + 1):
            for x in range(first_column, last_column + 1):
                weight = weights[tap + (row - y * stride) * kernel_width + column - x * stride]
                slot[lane + y * width + x] += np.int32(weight)
    return channels * max(0, last_row - first_row + 1) * max(0, last_column - first_column + 1)


def _updates(multiply_add: Any) -> Any:
    """Return the functions of the synaptic and of the membrane step for one way to round ``a * b + c``."""

    @_inner
    def synapses(current: Array, decay: Array, slot: Array) -> None:
        for n in range(current.size):
            current[n] = multiply_add(decay[n], current[n], np.float32(slot[n]))
            slot[n] = 0

    @_inner
    def membranes(v: Array, alpha: Array, drive: Array, offset: Array) -> None:
        for n in range(v.size):
            v[n] = multiply_add(alpha[n], v[n], drive[n]) + offset[n]

    return synapses, membranes


_synapses, _membranes = _updates(_product_sum)
_synapses_fused, _membranes_fused = _updates(_multiply_add)


@_inner
def _difference(drive: Array, exc: Array, inh: Array) -> None:
    for n in range(drive.size):
        drive[n] = exc[n] - inh[n]


@_inner
def _take(drive: Array, slot: Array) -> None:
    """Move what arrived to the drive of neurons without synaptic currents."""
    for n in range(drive.size):
        drive[n] = np.float32(slot[n])
        slot[n] = 0


@_inner
def _fire(v: Array, threshold: Array, v_reset: Array, subtract: bool, spikes: Array) -> None:
    """Threshold (strict) and reset."""
    if subtract:
        for n in range(v.size):
            fires = v[n] > threshold[n]
            spikes[n] = fires
            v[n] = v[n] - threshold[n] if fires else v[n]
    else:
        for n in range(v.size):
            fires = v[n] > threshold[n]
            spikes[n] = fires
            v[n] = v_reset[n] if fires else v[n]


@_inner
def _collect(spikes: Array, words: Array, fired: Array) -> int:
    """List the neurons that fired; ``words`` is ``spikes`` seen as uint64, so eight silent neurons are passed over at once."""
    count = 0
    for w in range(words.size):
        if words[w] != 0:
            for n in range(8 * w, 8 * w + 8):
                if spikes[n] != 0:
                    fired[count] = n
                    count += 1
    return count


@_inner
def _deliver(
    fired: Array, ring: Array, now: int, start: Array, lane: Array, weight: Array, conv_range: Array, kernels: Array, taps: Array
) -> int:
    """Add what the listed neurons send to the slots of the ring; return the synaptic events."""
    delays, events = ring.shape[0], 0
    for k in range(fired.size):
        source = np.int64(fired[k])
        for d in range(delays):
            low, high = start[source * delays + d], start[source * delays + d + 1]
            if high > low:
                _scatter(ring[(now + d) % delays], lane[low:high], weight[low:high])
                events += high - low
        for b in range(conv_range[source, 0], conv_range[source, 1]):
            events += _convolve(ring[now], source - kernels[b, SOURCE_LANE], kernels[b], taps)
    return events


@njit(nogil=True, cache=True, error_model="numpy")
def run_samples(
    parameters: Array,
    segments: Array,
    start: Array,
    lane: Array,
    weight: Array,
    conv_range: Array,
    kernels: Array,
    taps: Array,
    inputs: Array,
    events: Array,
    states: Array,
    rings: Array,
    spikes: Array,
    words: Array,
    kept: Array,
    kept_spikes: Array,
    kept_v: Array,
    kept_i: Array,
    tally: Array,
    fired: Array,
    drive: Array,
    fused: bool | None,
    first: int,
    last: int,
) -> None:
    """Run samples ``first`` to ``last``.

    The network, from ``parameters`` to ``inputs``, is that of :class:`~nirhw.targets.spinnaker2.flat.FlatNetwork`.  ``events``
    are the input spikes, uint8 ``[sample, time, channel]``; ``states`` are float32 ``[sample, 3, neuron]``: membranes, excitatory
    and inhibitory currents; ``rings`` are int32 ``[sample, delay, lane]``, slot 0 is the run's first step;
    ``spikes`` are those of the last step, uint8 ``[sample, neuron]``, and ``words`` the same memory as uint64.  Neurons ``kept``
    are recorded to ``kept_spikes`` (uint8), ``kept_v`` and ``kept_i`` (float32), ``[sample, time, kept]``, without time where not
    wanted; ``tally`` takes spikes and synaptic events, int64 ``[sample, 2]``.  ``fired`` (uint32) and ``drive`` (zeros, float32)
    are scratch over the neurons.  ``fused`` is None or True: products and sums are rounded once then; each of the two is compiled
    when it is first used.
    """
    n_neurons, n_steps = parameters.shape[1], events.shape[1]
    for s in range(first, last):
        state, ring, spike = states[s], rings[s], spikes[s]
        now = 0
        for t in range(n_steps):
            count = _collect(spike, words[s], fired)
            tally[s, SPIKES] += count
            tally[s, EVENTS] += _deliver(fired[:count], ring, now, start, lane, weight, conv_range, kernels, taps)
            slot = ring[now]
            for g in range(segments.shape[0]):
                low, high = segments[g, FIRST], segments[g, LAST]
                v, force = state[V, low:high], drive[low:high]
                if segments[g, CURRENT]:
                    exc, inh, below = state[EXC, low:high], state[INH, low:high], slot[n_neurons + low : n_neurons + high]
                    if fused is not None:
                        _synapses_fused(exc, parameters[EXC_DECAY, low:high], slot[low:high])
                        _synapses_fused(inh, parameters[INH_DECAY, low:high], below)
                    else:
                        _synapses(exc, parameters[EXC_DECAY, low:high], slot[low:high])
                        _synapses(inh, parameters[INH_DECAY, low:high], below)
                    _difference(force, exc, inh)
                else:
                    _take(force, slot[low:high])
                if fused is not None:
                    _membranes_fused(v, parameters[ALPHA, low:high], force, parameters[OFFSET, low:high])
                else:
                    _membranes(v, parameters[ALPHA, low:high], force, parameters[OFFSET, low:high])
                _fire(
                    v, parameters[THRESHOLD, low:high], parameters[V_RESET, low:high], segments[g, SUBTRACT] != 0, spike[low:high]
                )
            for c in range(inputs.size):
                spike[inputs[c]] = events[s, t, c]
            for k in range(kept.size):
                if kept_spikes.shape[1]:
                    kept_spikes[s, t, k] = spike[kept[k]]
                if kept_v.shape[1]:
                    kept_v[s, t, k] = state[V, kept[k]]
                if kept_i.shape[1]:
                    kept_i[s, t, k] = drive[kept[k]]
            now = (now + 1) % ring.shape[0]
