"""Emulation of a Speck configuration, event by event.

The arithmetic stands in :mod:`nirhw.targets.speck.kernel`; here a configuration is flattened to the arrays that the kernel
reads.  Samples are independent, so the same bits come out for any batch size and any number of threads, and a stream may
be cut between any two events and continued.

What this is exact about: each core's states and spikes, given the order in which events reach it.  What is not documented and
hence inferred: the order of the spikes of one event (an option), saturation at 16 bits, that a tick of the slow clock holds the
lower bound and fires nothing, and that an event outside a core's input map (the rest of a map that its pooling does not
divide) is dropped.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirhw.emulation.parallel import Job
from nirhw.targets.speck import arrays
from nirhw.targets.speck.arrays import unpack
from nirhw.targets.speck.config import SpeckConfiguration

Array = NDArray[Any]
Int8 = NDArray[np.int8]
Int16 = NDArray[np.int16]
Int64 = NDArray[np.int64]

#: order of the spikes of one event: by feature, y, x; by y, x, feature; the first backwards; or random, another each event
ORDERS = ("feature", "row", "reversed", "shuffled")
#: order of a row's events that the host sends: by address, or random
INPUT_ORDERS = ("ascending", "shuffled")
#: what :attr:`SpeckTrace.counters` counts, ``[sample, core]`` each: events received, events outside the input map, synaptic
#: updates, spikes, states lifted to the lower bound, sums beyond 16 bits, and the most events that waited at once
COUNTERS = ("events", "outside", "updates", "spikes", "bounded", "overflows", "queue")


@dataclass(frozen=True, eq=False)
class SpeckState:
    """State of a batch between two calls.

    Attributes:
        v: states of all cores' neurons, int16 ``[sample, place]``, in the kernel's order, padding included.
        serial: events worked off so far, int64 ``[sample]``; the order "shuffled" depends on it.
        rows: input rows so far; the slow clock's ticks are counted from there.
    """

    v: Int16
    serial: Int64
    rows: int = 0


@dataclass(frozen=True, eq=False)
class Stimulus:
    """What one sample is fed with.

    Attributes:
        events: packed events (:func:`nirhw.targets.speck.arrays.pack`), in the order of their arrival.
        marks: ``[mark, 2]`` int64, position and kind: before the event at a position a tick (``-1``), or the states are recorded
            in row ``kind``.  Positions ascend.
        rows: number of recorded rows.
    """

    events: Int64
    marks: Int64
    rows: int = 0


@dataclass(frozen=True, eq=False)
class SpeckTrace:
    """Result of a run.

    Attributes:
        spikes: a sample's spikes of the logged cores in the order of their emission, int64 ``[spike, 3]``: index of the host's
            event that caused it, core, neuron in (feature, y, x) row-major order.
        v: recorded states by core, int16 ``[sample, row, neuron]``, neurons as above.
        counters: by name (:data:`COUNTERS`), int64 ``[sample, core]``.
        state: where a next run continues.
    """

    spikes: tuple[Int64, ...]
    v: dict[int, Int16]
    counters: dict[str, Int64]
    state: SpeckState


class SpeckEmulator:
    """Executes a checked configuration.

    Args:
        config: legal for some Speck chip (:func:`nirhw.targets.speck.check.check`).
        order: order of the spikes of one event, one of :data:`ORDERS`.
        seed: for the order "shuffled".
    """

    def __init__(self, config: SpeckConfiguration, order: str = "feature", seed: int = 0):
        self._order, self._seed = ORDERS.index(order), seed
        cores = config.cnn_layers
        self._cores = arrays.geometry_table(cores, arrays.LANES)
        self._weights = np.concatenate([arrays.flat_weights(core, arrays.LANES) for core in cores])
        self._biases = np.concatenate([core.biases for core in cores])
        self._first = np.cumsum([0, *(arrays.places(core, arrays.LANES) for core in cores)])
        self._places = [f + arrays.neuron_places(core, arrays.LANES) for f, core in zip(self._first[:-1], cores, strict=True)]
        self._initial = np.zeros(self._first[-1], np.int16)
        for core, own in zip(cores, self._places, strict=True):
            self._initial[own] = core.neurons_initial_value.transpose(0, 2, 1).ravel()
        self._sizes = np.array([[core.dimensions.output_shape.size.y, core.dimensions.output_shape.size.x] for core in cores])
        # depth first, what waits are the rests of one event's spikes at each core on the way
        waiting = sum(arrays.most_spikes(core) * arrays.fan_out(core) for core in cores)
        self._stack_size = max(waiting + 2, *(arrays.most_spikes(core) for core in cores))

    @property
    def n_places(self) -> int:
        """Number of states of a sample, padding included."""
        return int(self._first[-1])

    def initial_state(self, batch: int) -> SpeckState:
        """Return the state after configuring the chip."""
        return SpeckState(np.repeat(self._initial[None], batch, axis=0), np.zeros(batch, np.int64))

    def prepare(
        self,
        stimuli: Sequence[Stimulus],
        state: SpeckState | None = None,
        log: Set[int] = frozenset(),
        record: Set[int] = frozenset(),
    ) -> Job[SpeckTrace]:
        """Return the run that works off all events of all samples, to be executed alone or with others.

        Args:
            stimuli: one a sample.
            state: of an earlier run with the same batch; it is not changed.  None: as configured.
            log: cores whose spikes are kept.
            record: cores whose states are kept, at the recording marks.
        """
        before = self.initial_state(len(stimuli)) if state is None else state
        v, serial = before.v.copy(), before.serial.copy()
        tally = np.zeros((len(stimuli), len(self._places), len(COUNTERS)), np.int64)
        recorded = [np.zeros((s.rows, self.n_places if record else 0), np.int16) for s in stimuli]

        spikes: list[Int64] = [np.zeros((0, 3), np.int64)] * len(stimuli)

        def work(first: int, last: int) -> None:
            for k in range(first, last):
                spikes[k], serial[k] = self._run_one(stimuli[k], v[k], tally[k], recorded[k], serial[k], log)

        def finish() -> SpeckTrace:
            kept = {core: np.stack([rows[:, self._places[core]] for rows in recorded]) for core in sorted(record)}
            counters = {name: tally[:, :, k] for k, name in enumerate(COUNTERS)}
            return SpeckTrace(tuple(spikes), kept, counters, SpeckState(v, serial, before.rows))

        return Job(len(stimuli), work, finish)

    def _run_one(
        self, stimulus: Stimulus, v: Int16, tally: Int64, recorded: Int16, serial: int, log: Set[int]
    ) -> tuple[Int64, int]:
        from nirhw.targets.speck import kernel

        cores = self._cores.copy()
        cores[sorted(log), kernel.LOGGED] = 1
        marks = stimulus.marks if recorded.shape[1] else stimulus.marks[stimulus.marks[:, 1] < 0]
        stack = np.empty((2, self._stack_size), np.int64)
        found, serial = kernel.run_stream(
            cores,
            self._weights,
            self._biases,
            stimulus.events,
            marks,
            v,
            tally,
            stack,
            recorded,
            self._order,
            self._seed,
            int(serial),
        )
        core, feature, y, x = unpack(found[:, 1])
        neuron = (feature * self._sizes[core, 0] + y) * self._sizes[core, 1] + x
        return np.stack([found[:, 0], core, neuron], axis=1), int(serial)
