"""Events with time stamps from files: npz, CSV, AEDAT4 and N-MNIST's .bin; nothing is binned, nothing is unpickled.

* **npz**: key ``t`` (whole microseconds) with ``address`` (flat index into the input's shape) or with ``x``, ``y`` and, as
  wanted, ``p`` or ``channel``; optional ``duration`` (microseconds) and ``sensor`` (true: the pixels are the sensor's, ahead of
  the chip's own pre-processing; its ``height`` and ``width`` are 128 where they are not given).
* **CSV**: a header with the column ``t_us`` and the same columns as above; one event a row.
* **AEDAT4** (iniVation): the first stream of events; times count from its first event.  Needs the package ``aedat``
  (``pip install 'nirhw[events]'``).
* **.bin** (N-MNIST, N-Caltech101): five bytes an event, x, y, then polarity and 23 bits of microseconds.

The last two are recordings of a sensor: where the model's input is the chip's own sensor, they pass its pre-processing.
Polarity is the channel: 1 a brightening pixel, 0 a darkening one; a plane with one channel takes both.  Files of other kinds are
left to :mod:`nirhw.spike_files`.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirhw.diagnostics import NirhwError, error, printable
from nirhw.emulation.events import Events
from nirhw.files import read_bytes
from nirhw.spike_files import MAX_BYTES, npz_keys, npz_members, table_of

AnyArray = NDArray[Any]

AEDAT4 = b"#!AER-DAT4."
RECORD_BYTES = 5
SENSOR_SIDE = 128
_COLUMNS = ("t", "address", "x", "y", "p", "channel")


def read_events(path: str | os.PathLike[str], io_map: Mapping[str, Any]) -> Events | None:
    """Return the events in a file; None where it holds no events with time stamps.

    Args:
        path: told apart by content; ``.bin`` by its name, as that format has no mark.
        io_map: of a compiled model: plane and shape of its input.

    Raises:
        UsageError: NIRHW-E005 where the file cannot be read, NIRHW-E004 where the package for AEDAT4 is missing.
        InputError: NIRHW-E050 for events outside the input's plane or a network with several inputs, NIRHW-E051 for damaged files
            and values that are no events.
    """
    content = read_bytes(path, MAX_BYTES)
    name = printable(os.fspath(path))
    columns = _columns_of(content, name, Path(path).suffix.lower())
    if columns is None:
        return None
    if len(io_map["inputs"]) > 1:
        raise error("NIRHW-E050", f"'{name}' holds one stream of events, the inputs are {sorted(io_map['inputs'])}")
    (entry,) = io_map["inputs"].values()
    try:
        return _events(columns, entry)
    except NirhwError as reason:
        found = reason.diagnostics[0]
        raise error(found.code, f"'{name}': {found.what}", found.nodes, found.why, found.fix) from None


def _columns_of(content: bytes, name: str, suffix: str) -> dict[str, AnyArray] | None:
    if content.startswith(AEDAT4):
        return {**_aedat4(content, name), "recording": np.ones(1)}
    if suffix == ".bin":
        return {**_five_bytes(content, name), "recording": np.ones(1)}
    if content.startswith(b"PK"):
        keys = set(npz_keys(content, name))
        if "spikes" in keys or "t" not in keys or not ("address" in keys or {"x", "y"} <= keys):
            return None
        return npz_members(content, name, {*_COLUMNS, "duration", "sensor", "height", "width"})
    head = content[:4096].split(b"\n", 1)[0].decode("utf-8-sig", "replace").lower()
    if b"\0" in content[:4096] or "t_us" not in [cell.strip() for cell in head.split(",")]:
        return None
    table = table_of(content, name, ("t_us", *_COLUMNS[1:]))
    return {"t" if column == "t_us" else column: values for column, values in table.items()}


def _events(columns: Mapping[str, AnyArray], entry: Mapping[str, Any]) -> Events:
    recorded = "recording" in columns and entry.get("dvs", False)
    sensor = bool(_single(columns, "sensor", int(recorded)))
    sides = (_single(columns, "height", SENSOR_SIDE), _single(columns, "width", SENSOR_SIDE))
    plane = (2, *sides) if sensor else tuple(entry["plane"])
    duration = _single(columns, "duration", -1)
    end = None if duration < 0 else duration
    if "address" in columns:
        return Events(columns["t"], columns["address"], plane, end, sensor)
    if not {"t", "x", "y"} <= set(columns):
        raise error("NIRHW-E051", "an event needs x and y, or address", fix="add the columns, or call them so")
    x, y = columns["x"], columns["y"]
    channel = columns.get("channel", columns.get("p"))
    if channel is None or plane[0] == 1:
        channel = np.zeros(x.shape, np.int64)
    return Events.of_pixels(columns["t"], channel, y, x, plane, duration=end, sensor=sensor)


def _single(columns: Mapping[str, AnyArray], name: str, default: int) -> int:
    values = np.asarray(columns.get(name, default))
    if values.size != 1 or values.dtype.kind not in "bui":
        raise error("NIRHW-E051", f"{name} is no single whole number")
    return int(values.reshape(-1)[0])


def _five_bytes(content: bytes, name: str) -> dict[str, AnyArray]:
    if len(content) % RECORD_BYTES or not content:
        raise error("NIRHW-E051", f"'{name}' has {len(content)} bytes", why=f"an event has {RECORD_BYTES}")
    rows = np.frombuffer(content, np.uint8).reshape(-1, RECORD_BYTES).astype(np.int64)
    time = ((rows[:, 2] & 0x7F) << 16) | (rows[:, 3] << 8) | rows[:, 4]
    return {"t": time, "x": rows[:, 0], "y": rows[:, 1], "p": rows[:, 2] >> 7}


def _aedat4(content: bytes, name: str) -> dict[str, AnyArray]:
    try:
        import aedat
    except ImportError:
        raise error(
            "NIRHW-E004", f"'{name}' is an AEDAT4 file, and the package aedat is missing", fix="pip install 'nirhw[events]'"
        ) from None
    parts: list[AnyArray] = []
    with tempfile.TemporaryDirectory() as folder:  # the package takes a path; what was checked is what it reads
        copy = Path(folder) / "events.aedat4"
        copy.write_bytes(content)
        try:
            decoder = aedat.Decoder(str(copy))
            streams = [key for key, stream in decoder.id_to_stream().items() if stream["type"] == "events"]
            parts = [packet["events"] for packet in decoder if packet["stream_id"] in streams[:1]]
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as cause:  # its panics are no Exception
            raise error("NIRHW-E051", f"'{name}' is damaged, or no AEDAT4 file", why=f"{type(cause).__name__}: {cause}") from None
    if not parts:
        raise error("NIRHW-E051", f"'{name}' holds no events")
    events = np.concatenate(parts)
    time = events["t"].astype(np.int64)
    return {"t": time - time[0], **{key: events[key].astype(np.int64) for key in ("x", "y", "p")}}
