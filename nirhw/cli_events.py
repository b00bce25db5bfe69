"""The work of ``nirhw emulate`` on events with time stamps: one stream, what it amounts to, and the arrays that are written."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirhw.compiled import CompiledModel
from nirhw.emulation.events import EventRun, Events
from nirhw.spike_files import key_of

AnyArray = NDArray[Any]


def run(model: CompiledModel, events: Events, record: tuple[str, ...]) -> tuple[EventRun, float]:
    """Return the run and the seconds that the emulator took."""
    start = time.perf_counter()
    done: EventRun = model.emulate(events, record=record)
    return done, time.perf_counter() - start


def arrays(done: EventRun) -> dict[str, AnyArray]:
    """Return what is written, by npz key: ``t``, ``address``, ``duration`` and ``counts``, by output where there are several.

    A file of one output can be read as the input of the next network.
    """
    found: dict[str, AnyArray] = {}
    if isinstance(done.events, Events):
        found |= _of("", done.events, done.counts)
    else:
        for name, events in done.events.items():
            found |= _of(f"{key_of(name)}/", events, done.counts[name])
    for name, parts in done.states.items():
        found |= _of(f"state/{key_of(name)}/", parts["events"], parts["counts"])
    return found


def _of(prefix: str, events: Events, counts: AnyArray) -> dict[str, AnyArray]:
    parts = {"t": events.time, "address": events.address, "duration": np.array(events.length), "counts": counts}
    return {f"{prefix}{key}": np.asarray(array) for key, array in parts.items()}


def outcome(model: CompiledModel, events: Events, done: EventRun, seconds: float) -> dict[str, Any]:
    """Return what a run came to as JSON-ready data."""
    counts = _by_name(model, done.counts)
    return {
        "input_events": events.number,
        "seconds": seconds,
        "spikes": {name: int(values.sum()) for name, values in counts.items()},
        "decision": {name: int(values.argmax()) for name, values in counts.items()},
        **done.to_dict(),
        "counts": {name: values.tolist() for name, values in counts.items()},
    }


def lines(model: CompiledModel, events: Events, done: EventRun, seconds: float) -> list[str]:
    """Return the same as text: what went in, what came out, what each core did."""
    title = model.report.data["title"]
    found = [f"{events.number} events in {done.duration / 1e6:.6g} s on {title}, emulated in {seconds:.2f} s"]
    for name, values in _by_name(model, done.counts).items():
        found.append(f"{name}: {int(values.sum())} spikes, most at {int(values.argmax())}")
    for core in np.flatnonzero(done.cores["events"]):
        rate, operations = done.event_rates[core], done.synaptic_rates[core]
        queue, over = done.cores["queue"][core], done.cores["overflows"][core]
        found.append(
            f"core {core}: {rate:.4g} events/s, {operations:.4g} synaptic operations/s, "
            f"{done.cores['spikes'][core]} spikes, at most {queue} events waiting, {over} sums beyond 16 bits"
        )
    return found


def _by_name(model: CompiledModel, values: Any) -> Mapping[str, AnyArray]:
    return values if isinstance(values, Mapping) else {next(iter(model.io_map["outputs"])): values}
