"""Emulation of a SpiNNaker2 configuration, many samples at once.

The arithmetic stands in :mod:`nirhw.targets.spinnaker2.kernel`.  Samples are independent, so the same bits come out for any batch
size and any number of threads; a stream may be cut anywhere and continued from :attr:`Trace.state`.

What is known of the board: float32 states, integer weights, the order of a step, a strict threshold, the reset within the step, a
latency of one step a hop.  What is not: whether its compiler fuses ``alpha_decay * v + current`` into one rounding; ``fused``
chooses, and only last bits of the states depend on it.  ``i_offset`` is added last.

Witness: ``tests/targets/spinnaker2/slow_model.py``, written apart in plain Python, in all states on random configurations; the
board's raster of the Braille network in ``tests/targets/spinnaker2/test_board.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nirhw.diagnostics import error
from nirhw.emulation.parallel import Job

from .config import SpiNNaker2Configuration
from .flat import FlatNetwork, flatten

Array = NDArray[Any]
Float32 = NDArray[np.float32]
UInt8 = NDArray[np.uint8]

#: what :meth:`Emulator.prepare` can record
RECORDABLE = frozenset({"spikes", "v", "i"})


@dataclass(frozen=True, eq=False)
class State:
    """State between two steps; neurons in the order of the slices.

    Attributes:
        v: membranes, float32 ``[sample, neuron]``; 0 for spike_list.
        i_exc, i_inh: synaptic currents, float32 ``[sample, neuron]``; 0 where the application has none.
        ring: weights on their way, int32 ``[sample, delay, lane]``; slot 0 is the next step.
        spikes: spikes of the last step, uint8 ``[sample, neuron]``.
    """

    v: Float32
    i_exc: Float32
    i_inh: Float32
    ring: NDArray[np.int32]
    spikes: UInt8


@dataclass(frozen=True, eq=False)
class Trace:
    """What a run recorded, ``[sample, time, neuron]`` over the neurons asked for.

    Attributes:
        spikes: uint8; None unless recorded.
        v: membranes after the reset, float32; None unless recorded.
        i: current into the membrane (excitatory less inhibitory, without i_offset), float32; None unless recorded.
        state: pass it to the next run to continue.
        n_spikes: spikes that were received, by sample, int64: those of the step before the run up to the last step but one.
        n_events: synaptic events of these spikes, by sample, int64.
    """

    spikes: UInt8 | None
    v: Float32 | None
    i: Float32 | None
    state: State
    n_spikes: NDArray[np.int64]
    n_events: NDArray[np.int64]


class Emulator:
    """Executes a configuration.

    Args:
        config: what is on the chips.
        fused: whether the processor's multiply-add rounds once.

    Raises:
        VerifyError: NIRHW-E040 where blocks do not fit their slices, or where the emulation would not be exact.
    """

    def __init__(self, config: SpiNNaker2Configuration, *, fused: bool = False):
        self.config = config
        self.net: FlatNetwork = flatten(config)
        self._fused = bool(fused)

    def prepare(
        self,
        spikes: ArrayLike,
        state: State | None = None,
        record: Set[str] = frozenset(),
        neurons: ArrayLike | None = None,
    ) -> Job[Trace]:
        """Return the run of a batch of samples, to be executed alone or with others.

        Args:
            spikes: input spikes ``[sample, time, channel]``, 0 or 1; channels are the spike_list neurons in the order of the
                slices.  Row t is sent in step t and acts in step t + 1.
            state: where to continue; default is the initial state.
            record: any of ``"spikes"``, ``"v"``, ``"i"``.
            neurons: which neurons to record, counted in the order of the slices; default: all.

        Raises:
            InputError: NIRHW-E050 to E053 where spikes, state or record do not suit the configuration.
        """
        from .kernel import run_samples  # numba takes half a second to import

        kernel: Callable[..., None] = run_samples
        events = self._events(spikes)
        unknown = frozenset(record) - RECORDABLE
        if unknown:
            raise error("NIRHW-E052", f"cannot record {sorted(unknown)}", fix=f"choose among {sorted(RECORDABLE)}")
        kept = self._kept(neurons)
        samples, steps, _ = events.shape
        states, rings, fired = self._unpacked(samples, state)
        recorded = {
            name: np.empty((samples, steps if name in record else 0, kept.size), dtype)
            for name, dtype in (("spikes", np.uint8), ("v", np.float32), ("i", np.float32))
        }
        tally = np.zeros((samples, 2), np.int64)
        net = self.net
        network = (
            net.parameters,
            net.segments,
            net.start,
            net.lane,
            net.weight,
            net.conv_range,
            net.kernels,
            net.taps,
            net.inputs,
        )

        def piece(first: int, last: int) -> None:
            scratch = np.empty(fired.shape[1], np.uint32), np.zeros(net.n_neurons, np.float32)
            memory = (states, rings, fired, fired.view(np.uint64))
            arrays = (*network, events, *memory, kept, *recorded.values(), tally, *scratch)
            kernel(*arrays, True if self._fused else None, first, last)

        def finish() -> Trace:
            # the kernel leaves the ring where its last step stood
            turned = np.roll(rings, -(steps % net.delays), axis=1)
            v, i_exc, i_inh = (np.ascontiguousarray(states[:, k]) for k in range(3))
            final = State(v, i_exc, i_inh, turned, np.ascontiguousarray(fired[:, : net.n_neurons]))
            wanted: dict[str, Any] = {name: values if name in record else None for name, values in recorded.items()}
            return Trace(**wanted, state=final, n_spikes=tally[:, 0].copy(), n_events=tally[:, 1].copy())

        return Job(samples, piece, finish)

    def _events(self, spikes: ArrayLike) -> UInt8:
        values = np.asarray(spikes)
        channels = self.net.inputs.size
        if values.ndim != 3 or values.shape[2] != channels:
            raise error(
                "NIRHW-E050",
                f"input has shape {values.shape}",
                why=f"the configuration has {channels} input channels",
                fix="give (samples, steps, channels)",
            )
        if values.dtype.kind not in "bui" or (values.size and (values.min() < 0 or values.max() > 1)):
            raise error(
                "NIRHW-E051", "input holds other values than 0 and 1", why="a spike_list neuron sends at most one spike a step"
            )
        return np.array(values, dtype=np.uint8, order="C")  # fresh, so that the kernel sees one type only

    def _kept(self, neurons: ArrayLike | None) -> Array:
        total = self.net.n_neurons
        wanted = np.arange(total) if neurons is None else np.asarray(neurons)
        if wanted.ndim != 1 or wanted.dtype.kind not in "ui" or (wanted.size and (wanted.min() < 0 or wanted.max() >= total)):
            raise error("NIRHW-E052", f"neurons to record lie outside 0 to {total - 1}")
        return np.array(wanted, dtype=np.uint32, order="C")

    def _unpacked(self, samples: int, state: State | None) -> tuple[Array, Array, UInt8]:
        """Return fresh arrays of the kernel: states, ring, spikes padded to whole words."""
        net = self.net
        n = net.n_neurons
        states = np.zeros((samples, 3, n), np.float32)
        rings = np.zeros((samples, net.delays, net.lanes), np.int32)
        spikes = np.zeros((samples, -(-n // 8) * 8), np.uint8)
        if state is None:
            states[:, 0] = net.v_init
            return states, rings, spikes
        targets: tuple[Array, ...] = (states[:, 0], states[:, 1], states[:, 2], rings, spikes[:, :n])
        for part, target in zip(fields(State), targets, strict=True):
            given = np.asarray(getattr(state, part.name))
            if given.shape != target.shape or given.dtype != target.dtype:
                raise error(
                    "NIRHW-E053",
                    f"state {part.name} has shape {given.shape} and type {given.dtype}",
                    why=f"expected {target.shape} and {target.dtype}",
                    fix="pass the state of a run of the same configuration and batch size",
                )
            target[...] = given
        return states, rings, spikes
