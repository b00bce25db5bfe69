"""Spikes as events with time stamps: what a sensor records, and what an asynchronous chip takes and gives.

Times are whole microseconds.  Nothing is binned: a target whose emulator has ``run_events`` works the events off one by one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nirhw.diagnostics import error
from nirhw.operators import Shape

Int64 = NDArray[np.int64]
AnyArray = NDArray[Any]

#: later times are refused (about 35 years)
LAST_TIME = 1 << 50


@dataclass(frozen=True, eq=False)
class Events:
    """A stream of events, in the order of their arrival.

    Attributes:
        time: microseconds, int64 ``[event]``; never negative, never falling.
        address: flat index (row-major) into ``shape``, int64 ``[event]``.
        shape: of the plane that the addresses count in.
        duration: length of the recording in microseconds; None: to its last event, which is included.
        sensor: the plane is the sensor's, ``(polarity, y, x)``, and the events pass the chip's own pre-processing on their way;
            else they are what arrives behind it.

    Raises:
        InputError: NIRHW-E050 for addresses outside the shape or columns of different length, NIRHW-E051 for other types and for
            times that are negative, falling or beyond ``duration``.
    """

    time: Int64
    address: Int64
    shape: Shape
    duration: int | None = None
    sensor: bool = False

    def __post_init__(self) -> None:
        time, address = _whole("time", self.time), _whole("address", self.address)
        if time.shape != address.shape:
            raise error("NIRHW-E050", f"{time.size} times, but {address.size} addresses")
        size = math.prod(self.shape)
        if address.size and not 0 <= int(address.min()) <= int(address.max()) < size:
            wrong = int(np.flatnonzero((address < 0) | (address >= size))[0])
            raise error(
                "NIRHW-E050", f"event {wrong} has address {address[wrong]}", why=f"a plane {self.shape} has 0 to {size - 1}"
            )
        if time.size and not 0 <= int(time.min()) <= int(time.max()) < LAST_TIME:
            raise error(
                "NIRHW-E051", f"times span {time.min()} to {time.max()} microseconds", why=f"0 to {LAST_TIME - 1} are allowed"
            )
        if np.any(np.diff(time) < 0):
            wrong = int(np.flatnonzero(np.diff(time) < 0)[0]) + 1
            raise error(
                "NIRHW-E051",
                f"event {wrong} is earlier than the one before it",
                fix="sort the events by time, keeping ties in order",
            )
        if self.duration is not None and time.size and self.duration <= time[-1]:
            raise error("NIRHW-E051", f"the last event comes at {time[-1]} us, the recording ends at {self.duration} us")
        object.__setattr__(self, "time", time)
        object.__setattr__(self, "address", address)
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))

    @classmethod
    def of_pixels(
        cls,
        time: ArrayLike,
        channel: ArrayLike,
        y: ArrayLike,
        x: ArrayLike,
        shape: Shape,
        *,
        duration: int | None = None,
        sensor: bool = False,
    ) -> Events:
        """Return events from columns; ``shape`` is ``(channels, height, width)``."""
        columns = [_whole(name, values) for name, values in (("channel", channel), ("y", y), ("x", x))]
        if len(shape) != len(columns) or len({c.shape for c in columns}) > 1:
            raise error("NIRHW-E050", f"events of pixels need a plane of three axes and columns of one length, got {shape}")
        for name, values, size in zip(("channel", "y", "x"), columns, shape, strict=True):
            if values.size and not 0 <= int(values.min()) <= int(values.max()) < size:
                raise error(
                    "NIRHW-E050",
                    f"{name} spans {values.min()} to {values.max()}",
                    why=f"the plane {tuple(shape)} has 0 to {size - 1}",
                )
        address = (columns[0] * shape[1] + columns[1]) * shape[2] + columns[2]
        return cls(np.asarray(time), address, tuple(shape), duration, sensor)

    @property
    def number(self) -> int:
        """Number of events."""
        return int(self.time.size)

    @property
    def length(self) -> int:
        """Length of the recording in microseconds."""
        return self.duration if self.duration is not None else int(self.time[-1]) + 1 if self.time.size else 0


@dataclass(frozen=True, eq=False)
class EventRun:
    """Result of a run on events.

    Attributes:
        events: output events; a dict by output name where the network has several.  A spike carries the time of the input event
            that caused it.
        counts: spikes of each output neuron, int64, in the output's shape; likewise.
        states: recorded populations by NIR node name: "events" (:class:`Events`) and "counts".
        cores: what each core did, by counter name, int64 ``[core]``.
        duration: length of the input in microseconds.
        state: opaque; pass it to the next run as ``state=`` to continue the stream.
    """

    events: Any
    counts: Any
    states: Mapping[str, Mapping[str, Any]]
    cores: Mapping[str, Int64]
    duration: int
    state: Any = field(repr=False)

    @property
    def event_rates(self) -> NDArray[np.float64]:
        """Events that each core received, a second; NaN for an input without length."""
        return self._rate(self.cores["events"])

    @property
    def synaptic_rates(self) -> NDArray[np.float64]:
        """Synaptic operations of each core, a second; NaN for an input without length."""
        return self._rate(self.cores["updates"])

    def _rate(self, counted: Int64) -> NDArray[np.float64]:
        return counted / (self.duration * 1e-6) if self.duration else np.full(counted.shape, np.nan)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but events and states as JSON-ready data."""
        rates = {"event_rate": self.event_rates, "synaptic_operations_per_second": self.synaptic_rates}
        counts = self.counts if isinstance(self.counts, Mapping) else {"": self.counts}
        return {
            "duration_us": self.duration,
            "counts": {name: values.tolist() for name, values in counts.items()},
            "cores": {name: values.tolist() for name, values in self.cores.items()},
            "rates": {name: [None if math.isnan(v) else v for v in values.tolist()] for name, values in rates.items()},
        }


def is_events(spikes: Any) -> bool:
    """Whether a model is given events rather than arrays."""
    if isinstance(spikes, Mapping):
        return bool(spikes) and all(isinstance(part, Events) for part in spikes.values())
    return isinstance(spikes, Events)


def as_events(spikes: Any, inputs: Mapping[str, Shape]) -> dict[str, Events]:
    """Return the events by input name.

    Raises:
        InputError: NIRHW-E050 where names or shapes are not those of the inputs.
    """
    given = dict(spikes) if isinstance(spikes, Mapping) else {next(iter(inputs)): spikes}
    if set(given) != set(inputs):
        raise error(
            "NIRHW-E050",
            f"events are given for {sorted(map(str, given))}, the inputs are {sorted(inputs)}",
            fix="pass a dict of events by input name",
        )
    for name, part in given.items():
        if not part.sensor and math.prod(part.shape) != math.prod(inputs[name]):
            raise error("NIRHW-E050", f"events lie on a plane {part.shape}", [name], f"this input takes {inputs[name]}")
    return given


def _whole(name: str, values: ArrayLike) -> Int64:
    array: AnyArray = np.asarray(values)
    if array.ndim != 1:
        raise error("NIRHW-E050", f"{name} of events has {array.ndim} axes, expected one")
    if array.dtype.kind not in "bui" and array.size:
        raise error("NIRHW-E051", f"{name} of events is of type {array.dtype}", fix="pass whole numbers, times in microseconds")
    if array.dtype.kind == "u" and array.size and int(array.max()) > np.iinfo(np.int64).max:
        raise error("NIRHW-E051", f"{name} of events is too large")
    return array.astype(np.int64)
