"""The emulator as a device: NIR's arrays or events in, NIR's arrays or events out, by the configuration and the io map alone.

Frames become events by a fixed rule.  Rows come one after the other; in a row the inputs in the io map's order, in an input
all addresses in ascending flat order, a count of n as n events in a row.  With ``input_order`` "shuffled" in the io map the
events of a row come in a random order instead, which depends on the seed and on the row's number only.  The host sends an
event to all cores of its input, one after the other; each is worked off to the end.

A tick of the slow clock comes at the beginning of every ``tick_rows``-th row, the first one included; on events at the same
times, before the events of that microsecond.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirhw.diagnostics import error
from nirhw.emulation.events import EventRun, Events
from nirhw.emulation.parallel import Job
from nirhw.emulation.result import Run, pack_outputs

from .arrays import pack
from .config import SpeckConfiguration
from .emulator import SpeckEmulator, SpeckState, SpeckTrace, Stimulus
from .sensor import through_sensor_layer

Array = NDArray[Any]
Int64 = NDArray[np.int64]

#: largest number of ticks between the first and the last event
MAX_TICKS = 10_000_000


@dataclass(frozen=True, eq=False)
class _Arrivals:
    """Events of the host for one sample: packed, and which event of the input each comes from."""

    packed: Int64
    origin: Int64


class SpeckDevice:
    """Runs a configuration on the event-driven emulator."""

    def __init__(self, config: SpeckConfiguration, io_map: Mapping[str, Any]):
        self._config, self._map = config, io_map
        self._emulator = SpeckEmulator(config, io_map.get("order", "feature"), io_map.get("seed", 0))

    def prepare(self, counts: Mapping[str, Int64], record: Mapping[str, str] | None = None, state: Any = None) -> Job[Run]:
        """Return the run of ``counts[input][batch, time, channel]``; see :meth:`nirhw.compiled.CompiledModel.emulate`.

        Row t out counts the spikes that the events of row t cause.  Recorded are "spikes" and "v", the state at the end of a row.

        Raises:
            InputError: NIRHW-E053 where ``state`` is not this model's.
        """
        batch, rows = next(iter(counts.values())).shape[:2]
        names = tuple(record or ())
        start = self._checked(state, batch)
        stimuli, starts = [], []
        for packed, first in self._of_rows(counts, start.rows):
            stimuli.append(Stimulus(packed, self._row_marks(first, start.rows), rows))
            starts.append(first)
        cores = self._cores_of(names)
        job = self._emulator.prepare(stimuli, start, cores | self._cores_of(None), cores)
        return job.then(lambda trace: self._read(trace, starts, range(start.rows, start.rows + rows), names))

    def _read(self, trace: SpeckTrace, starts: Sequence[Int64], rows: range, names: tuple[str, ...]) -> Run:
        """Return a trace in NIR's arrays, with the states of some populations.

        Args:
            trace: of all samples.
            starts: by sample, where each row begins among its events.
            rows: their numbers, counted from where the stream began.
            names: populations.
        """
        # which row each spike belongs to: the row of the host's event that caused it
        row_of = [np.searchsorted(s, spikes[:, 0], side="right") - 1 for s, spikes in zip(starts, trace.spikes, strict=True)]
        outputs = {n: self._frames(trace, row_of, e, len(rows)) for n, e in self._map["outputs"].items()}
        states: dict[str, dict[str, Array]] = {}
        for name in names:
            entry = self._map["populations"][name]
            spikes, v = self._frames(trace, row_of, entry, len(rows)), self._membranes(trace, entry, len(rows))
            states[name] = {"spikes": spikes, "v": v}
        after = replace(trace.state, rows=rows.stop)
        return Run(pack_outputs(outputs, len(outputs)), None, states, self._lags(), after, trace.counters)

    def run_events(
        self, events: Mapping[str, Events], record: Iterable[str] = (), state: Any = None, threads: int | None = None
    ) -> EventRun:
        """Work off events with time stamps, as they are; see :meth:`nirhw.compiled.CompiledModel.emulate`.

        Events of several inputs at the same microsecond come in the io map's order of inputs.  A stream may be continued where it
        has no leak, or at a whole number of ticks: the clock starts anew with each call.

        Raises:
            InputError: NIRHW-E053 where ``state`` is not this model's, NIRHW-E050 for sensor events where there is no sensor
                input, NIRHW-E051 where the slow clock would tick more than ``MAX_TICKS`` times.
        """
        names = tuple(record)
        start = self._checked(state, 1)
        parts = [self._of_events(name, events[name]) for name in self._map["inputs"]]
        time = np.concatenate([events[n].time[a.origin] for n, a in zip(self._map["inputs"], parts, strict=True)])
        packed = np.concatenate([a.packed for a in parts])
        order = np.argsort(time, kind="stable")
        time, packed = time[order], packed[order]
        duration = max(part.length for part in events.values())
        stimulus = Stimulus(packed, self._time_marks(time, duration))
        trace = self._emulator.prepare([stimulus], start, self._cores_of(names) | self._cores_of(None)).run(threads)
        found = {n: self._events(trace, time, e, duration) for n, e in self._map["outputs"].items()}
        counts = {n: _counts(e) for n, e in found.items()}
        states: dict[str, dict[str, Any]] = {}
        for name in names:
            own = self._events(trace, time, self._map["populations"][name], duration)
            states[name] = {"events": own, "counts": _counts(own)}
        counters = {name: values[0] for name, values in trace.counters.items()}
        total = len(found)
        return EventRun(_packed(found, total), _packed(counts, total), states, counters, duration, trace.state)

    # -- what goes in

    def _of_rows(self, counts: Mapping[str, Int64], first_row: int) -> Iterator[tuple[Int64, Int64]]:
        """Yield each sample's packed events, and where each row begins among them; ``counts[input][sample, time, address]``."""
        batch, rows = next(iter(counts.values())).shape[:2]
        columns = []
        for number, name in enumerate(self._map["inputs"]):
            where = np.nonzero(counts[name])
            times = counts[name][where]
            sample, row, address = (np.repeat(index, times) for index in where)
            columns.append(np.stack([sample, row, np.full(sample.size, number), address]))
        sample, row, number, address = np.concatenate(columns, axis=1)
        if len(columns) > 1:
            order = np.lexsort((address, number, row, sample))
            sample, row, number, address = sample[order], row[order], number[order], address[order]
        if self._map.get("input_order", "ascending") == "shuffled":
            ends = np.searchsorted(sample, np.arange(batch + 1))
            lots = np.concatenate([np.empty(0, np.int64), *(self._lots(row[i:j] + first_row) for i, j in pairwise(ends))])
            order = np.lexsort((lots, row, sample))
            number, address = number[order], address[order]
        parts = [np.flatnonzero(number == k) for k in range(len(columns))]
        sent = [_for_cores(address[own], entry) for own, entry in zip(parts, self._map["inputs"].values(), strict=True)]
        packed = np.concatenate([arrivals.packed for arrivals in sent])
        origin = np.concatenate([own[arrivals.origin] for own, arrivals in zip(parts, sent, strict=True)])
        if len(columns) > 1:
            back = np.argsort(origin, kind="stable")
            packed, origin = packed[back], origin[back]
        ends = np.searchsorted(sample[origin], np.arange(batch + 1))
        for first, last in pairwise(ends):
            yield packed[first:last], np.searchsorted(row[origin[first:last]], np.arange(rows + 1))

    def _lots(self, rows: Int64) -> Int64:
        """Return random numbers by which the events of each row are shuffled; a row's depend on its number alone."""
        lots = np.empty(rows.size, np.int64)
        seed = self._map.get("seed", 0)
        for row in np.unique(rows):
            own = rows == row
            lots[own] = np.random.default_rng([seed, int(row)]).permutation(int(own.sum()))
        return lots

    def _of_events(self, name: str, events: Events) -> _Arrivals:
        entry = self._map["inputs"][name]
        if not events.sensor:
            return _for_cores(events.address, entry)
        if not entry["dvs"]:
            raise error(
                "NIRHW-E050",
                "sensor events, but this input is not the chip's sensor",
                [name],
                fix="compile with options={'input': 'dvs'}",
            )
        return _Arrivals(*through_sensor_layer(events, self._config.dvs_layer, name))

    def _row_marks(self, first: Int64, first_row: int) -> Int64:
        """Return ticks at the beginning of their rows, and recordings at the end of all."""
        rows = first.size - 1
        marks = np.stack([first[1:], np.arange(rows)], axis=1)
        every = self._map["tick_rows"]
        if not every:
            return marks
        ticking = np.flatnonzero((np.arange(rows) + first_row) % every == 0)
        ticks = np.stack([first[ticking], np.full(ticking.size, -1)], axis=1)
        # sorted by row, tick before recording: empty rows share one position
        row, late = np.concatenate([np.arange(rows), ticking]), np.repeat([1, 0], [rows, ticking.size])
        return np.concatenate([marks, ticks])[np.lexsort((late, row))]

    def _time_marks(self, time: Int64, duration: int) -> Int64:
        every = self._map["tick_rows"] * self._map["dt"] * 1e6
        if not every:
            return np.zeros((0, 2), np.int64)
        number = int(np.ceil(duration / every))
        if number > MAX_TICKS:
            raise error(
                "NIRHW-E051",
                f"the slow clock would tick {number} times",
                why=f"it ticks every {every} us",
                fix="split the recording",
            )
        positions = np.searchsorted(time, np.arange(number) * every)
        return np.stack([positions, np.full(number, -1)], axis=1)

    # -- what comes out

    def _cores_of(self, names: Iterable[str] | None) -> frozenset[int]:
        """Return the cores of populations, or of all outputs."""
        entries = self._map["outputs"].values() if names is None else [self._map["populations"][n] for n in names]
        return frozenset(int(part["core"]) for entry in entries for part in entry["slices"])

    def _frames(self, trace: SpeckTrace, row_of: list[Int64], entry: Mapping[str, Any], rows: int) -> NDArray[np.int32]:
        """Return spike counts ``[sample, row, *shape]``."""
        size = int(np.prod(entry["shape"]))
        frames = np.zeros((len(row_of), rows, size), np.int32)
        for sample, (spikes, row) in enumerate(zip(trace.spikes, row_of, strict=True)):
            which, address = _addresses(spikes, entry)
            found = np.bincount(row[which] * size + address, minlength=rows * size)
            frames[sample] = found.reshape(rows, size)
        return frames.reshape(len(row_of), rows, *entry["shape"])

    def _membranes(self, trace: SpeckTrace, entry: Mapping[str, Any], rows: int) -> NDArray[np.int16]:
        size = int(np.prod(entry["shape"]))
        values = np.zeros((len(trace.spikes), rows, size), np.int16)
        for part in entry["slices"]:
            index = np.asarray(part["index"])
            real = index >= 0
            values[:, :, index[real]] = trace.v[part["core"]][:, :, real]
        return values.reshape(*values.shape[:2], *entry["shape"])

    def _events(self, trace: SpeckTrace, time: Int64, entry: Mapping[str, Any], duration: int) -> Events:
        which, address = _addresses(trace.spikes[0], entry)
        return Events(time[trace.spikes[0][which, 0]], address, tuple(entry["shape"]), duration)

    def _lags(self) -> dict[str, int]:
        return {name: entry["lag"] for part in ("populations", "outputs") for name, entry in self._map[part].items()}

    def _checked(self, state: Any, batch: int) -> SpeckState:
        if state is None:
            return self._emulator.initial_state(batch)
        if not isinstance(state, SpeckState) or state.v.shape != (batch, self._emulator.n_places):
            raise error(
                "NIRHW-E053",
                "the state is of another model or batch size",
                fix="pass run.state of a run of this model with the same batch",
            )
        return state


def _for_cores(address: Int64, entry: Mapping[str, Any]) -> _Arrivals:
    """Return the events of an input for its cores: all cores of the first event, then those of the second, ..."""
    _, height, width = entry["plane"]
    channel, pixel = np.divmod(address, height * width)
    y, x = np.divmod(pixel, width)
    cores = [(core, shift, *pooling) for core, shift, *pooling in entry["cores"]]
    packed = np.empty((address.size, len(cores)), np.int64)
    for k, (core, shift, *pooling) in enumerate(cores):
        factor = pooling[0] if pooling else 1
        packed[:, k] = pack(core, channel + shift, y // factor, x // factor)
    return _Arrivals(packed.ravel(), np.repeat(np.arange(address.size), len(cores)))


def _addresses(spikes: Int64, entry: Mapping[str, Any]) -> tuple[Int64, Int64]:
    """Return which spikes are of a population, and the flat index of their neurons in it."""
    address = np.full(spikes.shape[0], -1, np.int64)
    for part in entry["slices"]:
        own = np.flatnonzero(spikes[:, 1] == part["core"])
        address[own] = np.asarray(part["index"])[spikes[own, 2]]
    which = np.flatnonzero(address >= 0)
    return which, address[which]


def _counts(events: Events) -> Int64:
    counts = np.bincount(events.address, minlength=int(np.prod(events.shape))).astype(np.int64)
    return counts.reshape(events.shape)


def _packed(values: Mapping[str, Any], total: int) -> Any:
    return next(iter(values.values())) if total == 1 else dict(values)
