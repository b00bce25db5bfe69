"""Spike inputs from files (npz, npy, event CSV), and results to npz; nothing is unpickled, nothing is read beyond a budget.

* **npz**: key ``spikes``, or one key per input of the network by its name; optional ``labels``; other keys are ignored.
* **npy**: the array alone; for networks with one input.
* **event CSV**: a header and one event a row.  Columns: ``step`` (whole, from 0) or ``t`` (seconds), ``channel`` (index into
  the input's flat shape, row-major), and as wanted ``count`` (default 1), ``sample`` (from 0) and ``input`` (a name, for
  networks with several inputs).  Events of the same step and channel add up.  A time falls into the half-open step
  ``[k dt, (k + 1) dt)``, where a time within a billionth of ``k dt`` counts as ``k dt``.

Arrays are ``(T, *in)`` or ``(B, T, *in)``; what they may hold is judged by :mod:`nirhw.emulation.inputs`.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
import os
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from nirhw.diagnostics import Diagnostic, NirhwError, error, error_of, printable
from nirhw.files import read_bytes, write_whole
from nirhw.operators import Shape, size_of

AnyArray = NDArray[Any]

#: larger files, and arrays that would unpack to more, are refused before anything is allocated
MAX_BYTES = 1 << 30
#: findings of an event file that are shown at once
MAX_FINDINGS = 10
#: largest count of one event
MAX_COUNT = 1_000_000
#: distance from a step's beginning, relative, within which a time counts as lying on it
ON_THE_EDGE = 1e-9

_COLUMNS = ("step", "t", "channel", "count", "sample", "input")
_WHOLE = re.compile(r"[0-9]{1,15}")


@dataclass(frozen=True, eq=False)
class SpikeFile:
    """What a file holds.

    Attributes:
        spikes: array by input name.
        labels: class labels, where the file has some.
    """

    spikes: Mapping[str, AnyArray]
    labels: AnyArray | None = None


def read_spikes(path: str | os.PathLike[str], inputs: Mapping[str, Shape], dt: float, steps: int | None = None) -> SpikeFile:
    """Read the spikes for a network's inputs.

    Args:
        path: an npz, npy or CSV file; told apart by content.
        inputs: shape by input name.
        dt: the model's time step in seconds, for times in event files.
        steps: number of steps of an event file; None: up to its last event.

    Raises:
        UsageError: NIRHW-E005 where the file cannot be read, NIRHW-E002 for ``steps`` with arrays.
        InputError: NIRHW-E050 for missing arrays, channels and inputs that do not exist and sizes beyond the budget,
            NIRHW-E051 for files that are damaged or of another kind, and for malformed rows, by line.
    """
    content = read_bytes(path, MAX_BYTES)
    name = printable(os.fspath(path))
    kind = _kind_of(content, name)
    if kind == "csv":
        return SpikeFile(_events(content, name, inputs, dt, steps))
    if steps is not None:
        raise error(
            "NIRHW-E002", f"--steps is given, but '{name}' holds arrays, which have a length of their own", fix="leave it out"
        )
    if kind == "npy":
        if len(inputs) > 1:
            raise error(
                "NIRHW-E050",
                f"'{name}' holds one array, the inputs are {sorted(inputs)}",
                fix="pass an npz file with one key by input name",
            )
        return SpikeFile({next(iter(inputs)): _npy(content, name)})
    members = npz_members(content, name, {"spikes", "labels", *inputs})
    labels = members.get("labels")
    if len(inputs) == 1 and "spikes" in members:
        return SpikeFile({next(iter(inputs)): members["spikes"]}, labels)
    missing = [n for n in inputs if n not in members]
    if missing:
        wanted = "'spikes'" if len(inputs) == 1 else "one key by input name"
        raise error(
            "NIRHW-E050",
            f"'{name}' has no spikes for {', '.join(map(repr, missing))}",
            why=f"its keys: {', '.join(_keys(content)) or 'none'}",
            fix=f"name the array {wanted}",
        )
    return SpikeFile({n: members[n] for n in inputs}, labels)


def read_labels(path: str | os.PathLike[str]) -> AnyArray:
    """Return the labels in an npy file, or under the key ``labels`` of an npz file.

    Raises:
        UsageError: NIRHW-E005 where the file cannot be read.
        InputError: NIRHW-E051 for other or damaged files, NIRHW-E052 where the key is missing.
    """
    content = read_bytes(path, MAX_BYTES)
    name = printable(os.fspath(path))
    kind = _kind_of(content, name)
    if kind == "npy":
        return _npy(content, name)
    members = npz_members(content, name, {"labels"}) if kind == "npz" else {}
    if "labels" not in members:
        raise error("NIRHW-E052", f"'{name}' holds no labels", fix="pass an npy file, or an npz file with the key 'labels'")
    return members["labels"]


def write_npz(path: str | os.PathLike[str], arrays: Mapping[str, AnyArray]) -> None:
    """Write arrays to an npz file, whole or not at all; the same arrays give the same bytes.

    Raises:
        UsageError: NIRHW-E005 where the path cannot be written.
    """
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, allowZip64=True) as archive:
        for name, array in arrays.items():
            part = io.BytesIO()
            np.lib.format.write_array(part, np.asarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0)), part.getvalue(), zipfile.ZIP_DEFLATED, 4)
    write_whole(path, stream.getvalue())


def key_of(name: str) -> str:
    """Return a node name as part of an npz key.

    Letters, digits, ``.``, ``_``, ``-`` and ``~`` stay; all others become ``%XX``, so that no name can pass for a path that
    leads out of the folder an archive is unpacked in.  Very long names end in a hash.
    """
    key = quote(name, safe="", errors="backslashreplace")
    if not key.strip("."):
        key = key.replace(".", "%2E") or "%"
    return key if len(key) <= 200 else f"{key[:160]}~{hashlib.sha256(name.encode('utf-8', 'backslashreplace')).hexdigest()[:32]}"


def _damaged(name: str, why: object) -> NirhwError:
    return error("NIRHW-E051", f"'{name}' is damaged, or no spike file", why=str(why), fix="pass an npz, npy or event CSV file")


def _kind_of(content: bytes, name: str) -> str:
    if content.startswith(b"\x93NUMPY"):
        return "npy"
    if content.startswith(b"PK"):
        return "npz"
    if b"\0" in content[:4096]:
        raise _damaged(name, "it is binary, but neither npz nor npy")
    return "csv"


def _npy(content: bytes, name: str) -> AnyArray:
    """Return the array of an npy file; its header is checked against the bytes that are there before it is believed."""
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        if version not in ((1, 0), (2, 0)):
            raise _damaged(name, f"npy version {version} is not known")
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read_header(stream)
    except NirhwError:
        raise
    except Exception as cause:  # whatever its header makes numpy raise
        raise _damaged(name, f"{type(cause).__name__} in the header of an array") from None
    if dtype.hasobject:
        raise error(
            "NIRHW-E051",
            f"'{name}' holds Python objects",
            why="they would be unpickled, which could run code",
            fix="save plain numbers: np.save(path, array.astype(np.uint8))",
        )
    if any(n < 0 for n in shape) or math.prod(shape) * dtype.itemsize != len(content) - stream.tell():
        raise _damaged(name, f"an array of shape {shape} and type {dtype} does not fit its bytes")
    flat: AnyArray = np.frombuffer(content, dtype, count=math.prod(shape), offset=stream.tell())
    return flat.reshape(shape, order="F" if fortran else "C")


def _keys(content: bytes) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return [n.removesuffix(".npy") for n in archive.namelist()][:20]


def npz_members(content: bytes, name: str, wanted: set[str]) -> dict[str, AnyArray]:
    """Return the members of an npz file that are ``wanted``, within the budget."""
    found = {}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [m for m in archive.infolist() if m.filename.removesuffix(".npy") in wanted]
            if sum(m.file_size for m in members) > MAX_BYTES:
                raise error(
                    "NIRHW-E050",
                    f"'{name}' unpacks to more than {MAX_BYTES >> 20} MiB",
                    fix="split the samples over several files",
                )
            for member in members:
                key = member.filename.removesuffix(".npy")
                with archive.open(member) as handle:
                    found[key] = _npy(handle.read(member.file_size), f"{name}: {printable(key)}")
    except NirhwError:
        raise
    except Exception as cause:  # zipfile and zlib raise a dozen types on damaged archives
        raise _damaged(name, f"{type(cause).__name__}: {cause}") from None
    return found


def npz_keys(content: bytes, name: str) -> list[str]:
    """Return the first keys of an npz file; raises InputError NIRHW-E051 for one that is damaged."""
    try:
        return _keys(content)
    except Exception as cause:  # zipfile raises a dozen types on damaged archives
        raise _damaged(name, f"{type(cause).__name__}: {cause}") from None


def table_of(content: bytes, name: str, known: tuple[str, ...]) -> dict[str, AnyArray]:
    """Return the columns of a CSV file of whole numbers, int64, by name.

    Raises:
        InputError: NIRHW-E051 for columns that are not ``known`` or stand twice, and for rows that are malformed, by line.
    """
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as cause:
        raise _damaged(name, f"{cause.reason} at byte {cause.start}") from None
    rows = _rows(csv.reader(lines, strict=True), name)
    _, header = next(rows, (0, []))
    names = [cell.lower() for cell in header]
    if len(set(names)) != len(names) or not set(names) <= set(known):
        raise error("NIRHW-E051", f"'{name}' has the columns {printable(', '.join(names))}", why=f"known: {', '.join(known)}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # numpy warns where it would read 1.5 as a whole number
            table = np.loadtxt(lines[1:], np.int64, delimiter=",", comments=None, ndmin=2)
        if table.shape[1] == len(names) and table.min(initial=0) >= 0 and table.max(initial=0) < 10**15:
            return {column: table[:, k] for k, column in enumerate(names)}
    except (ValueError, OverflowError, Warning):
        pass  # something is unusual or wrong: row by row, so that an error can name its line
    values = []
    for line, row in rows:
        if len(row) != len(names) or not all(_WHOLE.fullmatch(cell) for cell in row):
            raise error("NIRHW-E051", f"'{name}', line {line}: {len(names)} whole numbers from 0 are expected")
        values.append([int(cell) for cell in row])
    table = np.array(values, np.int64).reshape(-1, len(names))
    return {column: table[:, k] for k, column in enumerate(names)}


class _Events(NamedTuple):
    """Columns of an event file; ``input`` is an index into the network's inputs."""

    input: AnyArray
    sample: AnyArray
    step: AnyArray
    channel: AnyArray
    spikes: AnyArray


def _events(content: bytes, name: str, inputs: Mapping[str, Shape], dt: float, steps: int | None) -> dict[str, AnyArray]:
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as cause:
        raise _damaged(name, f"neither npz nor npy, and as text: {cause.reason} at byte {cause.start}") from None
    rows = _rows(csv.reader(lines, strict=True), name)
    first, header = next(rows, (0, []))
    columns = _columns(header, name, inputs)
    found = _parsed_at_once(lines[first:], columns, inputs, dt)
    if found is None:  # something is unusual or wrong: row by row, so that a finding can name its line
        events, broken = [], []
        for line, row in rows:
            try:
                events.append(_event(row, columns, inputs, dt))
            except _BadRow as reason:
                broken.append(Diagnostic(reason.code, f"'{name}', line {line}: {reason.what}", why=reason.why))
                if len(broken) == MAX_FINDINGS:
                    break
        if broken:
            raise error_of(broken)
        found = _Events(*np.array(events, np.int64).reshape(-1, 5).T)
    return _dense(found, name, inputs, steps, "sample" in columns)


def _parsed_at_once(lines: list[str], columns: Mapping[str, int], inputs: Mapping[str, Shape], dt: float) -> _Events | None:
    """Return all events of a plain file, quickly; None where a row needs a closer look."""
    if "input" in columns or not lines:
        return None
    kinds = [(c, np.float64 if c == "t" else np.int64) for c in sorted(columns, key=lambda c: columns[c])]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # numpy warns where it would read 1.5 as a whole number
            table = np.atleast_1d(np.loadtxt(lines, np.dtype(kinds), delimiter=",", comments=None))
    except (ValueError, OverflowError, Warning):
        return None
    none = np.zeros(table.size, np.int64)
    count = table["count"] if "count" in columns else none + 1
    sample = table["sample"] if "sample" in columns else none
    step = _steps_of(table["t"], dt) if "t" in columns else table["step"]
    if step is None or any(np.any((c < 0) | (c >= 10**15)) for c in (step, table["channel"], count, sample)):
        return None
    if np.any(table["channel"] >= size_of(next(iter(inputs.values())))) or np.any(count > MAX_COUNT):
        return None
    return _Events(none, sample, step, table["channel"], count)


def _rows(reader: Any, name: str) -> Iterator[tuple[int, list[str]]]:
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells):
                yield reader.line_num, cells
    except csv.Error as cause:
        raise error("NIRHW-E051", f"'{name}', line {reader.line_num}: {cause}") from None


def _columns(header: list[str], name: str, inputs: Mapping[str, Shape]) -> dict[str, int]:
    """Return the position of each column; raises NIRHW-E051 where the header is not one of an event file."""
    names = [cell.lower() for cell in header]
    unknown = [c for c in names if c not in _COLUMNS]
    problem = ""
    if unknown:
        problem = f"unknown columns: {', '.join(printable(u or '(empty)', 30) for u in unknown[:6])}"
    elif len(set(names)) != len(names):
        problem = "a column stands twice"
    elif ("step" in names) == ("t" in names):
        problem = "one of the columns step and t is needed, and not both"
    elif "channel" not in names:
        problem = "the column channel is missing"
    elif "input" not in names and len(inputs) > 1:
        problem = f"the network has the inputs {', '.join(sorted(inputs))}: the column input is missing"
    if problem:
        raise error(
            "NIRHW-E051",
            f"'{name}' has no header of an event file: {problem}",
            why=f"columns: {', '.join(_COLUMNS)}",
            fix="begin with a line such as: step,channel",
        )
    return {c: k for k, c in enumerate(names)}


class _BadRow(Exception):
    """A row that is refused."""

    def __init__(self, code: str, what: str, why: str = ""):
        super().__init__(what)
        self.code, self.what, self.why = code, what, why


def _event(row: list[str], columns: Mapping[str, int], inputs: Mapping[str, Shape], dt: float) -> tuple[int, int, int, int, int]:
    if len(row) != len(columns):
        raise _BadRow("NIRHW-E051", f"{len(row)} values stand in {len(columns)} columns")
    cells = {c: row[k] for c, k in columns.items()}
    target = cells.get("input", next(iter(inputs)))
    if target not in inputs:
        raise _BadRow("NIRHW-E050", f"no input is called '{printable(target, 60)}'", f"inputs: {', '.join(inputs)}")
    step = _step_of(cells["t"], dt) if "t" in cells else _whole("step", cells["step"])
    channel = _whole("channel", cells["channel"])
    size = size_of(inputs[target])
    if channel >= size:
        raise _BadRow("NIRHW-E050", f"channel {channel} does not exist", f"input '{target}' has the channels 0 to {size - 1}")
    count = _whole("count", cells["count"]) if "count" in cells else 1
    if count > MAX_COUNT:
        raise _BadRow("NIRHW-E051", f"a count of {count} is too large", f"the largest is {MAX_COUNT}")
    sample = _whole("sample", cells["sample"]) if "sample" in cells else 0
    return list(inputs).index(target), sample, step, channel, count


def _whole(column: str, cell: str) -> int:
    if not _WHOLE.fullmatch(cell):
        raise _BadRow("NIRHW-E051", f"{column} is '{printable(cell, 40)}'", "a whole number from 0 is expected")
    return int(cell)


def _step_of(cell: str, dt: float) -> int:
    try:
        seconds = float(cell)
    except ValueError:
        seconds = math.nan
    step = None if "_" in cell else _steps_of(np.array([seconds]), dt)
    if step is None:
        raise _BadRow("NIRHW-E051", f"t is '{printable(cell, 40)}'", "a time in seconds from 0 is expected")
    return int(step[0])


def _steps_of(seconds: AnyArray, dt: float) -> AnyArray | None:
    """Return the step of each time; None where one is no time, or beyond all counting."""
    with np.errstate(over="ignore"):
        ratio = seconds / dt
    if not np.all((ratio >= 0) & (ratio < 1e15)):
        return None
    nearest = np.rint(ratio)
    on_the_edge = np.abs(ratio - nearest) <= ON_THE_EDGE * np.maximum(1.0, ratio)
    return np.where(on_the_edge, nearest, np.floor(ratio)).astype(np.int64)


def _dense(events: _Events, name: str, inputs: Mapping[str, Shape], steps: int | None, batched: bool) -> dict[str, AnyArray]:
    """Return counts ``[(sample,) step, *in]`` by input name."""
    needed = 1 + int(events.step.max(initial=-1))
    samples = 1 + int(events.sample.max(initial=-1))
    if steps is not None and needed > steps:
        raise error(
            "NIRHW-E050",
            f"'{name}' has an event in step {needed - 1}, --steps allows 0 to {steps - 1}",
            fix=f"give at least {needed}",
        )
    if not samples and (steps is None or batched):
        raise error(
            "NIRHW-E051",
            f"'{name}' holds no events",
            fix="give the number of silent steps: --steps 100, without the column sample",
        )
    samples, length = max(samples, 1), needed if steps is None else steps
    size = 8 * samples * length * sum(size_of(s) for s in inputs.values())
    if size > MAX_BYTES:
        raise error(
            "NIRHW-E050",
            f"'{name}' fills {samples} samples x {length} steps, {size >> 20} MiB",
            why=f"the budget is {MAX_BYTES >> 20} MiB",
            fix="check the columns sample, step and t, or split the file",
        )
    dense = {}
    for index, (key, shape) in enumerate(inputs.items()):
        counts = np.zeros((samples, length, size_of(shape)), np.int64)
        own = events.input == index
        np.add.at(counts, (events.sample[own], events.step[own], events.channel[own]), events.spikes[own])
        full = counts.reshape(samples, length, *shape)
        dense[key] = full if batched else full[0]
    return dense
