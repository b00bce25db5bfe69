"""``.nirhw`` files: a zip of one JSON document and the arrays that it names.

Nothing in a file is executed: there is no pickle, types are looked up in a fixed table, arrays are plain numbers.  The
document carries the format's version and a SHA-256 over the document and all arrays; the same model gives the same bytes
(timings are left out).
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

import numpy as np

import nirhw
from nirhw import operators
from nirhw.diagnostics import ArtifactError, Deviation, Diagnostic, NirhwError, error
from nirhw.hardware import Hardware, Limit
from nirhw.network import Membrane, Network, Onset, Population, Port, Projection, Quantized

Built = TypeVar("Built")

FORMAT = "nirhw-artifact"
FORMAT_VERSION = 1
DOCUMENT = "model.json"
#: larger files, members and documents are refused before anything is unpacked
MAX_BYTES = 1 << 30
MAX_MEMBERS = 100_000
MAX_DEPTH = 64

_TYPES: Mapping[str, type] = {
    t.__name__: t
    for t in (
        Deviation,
        Diagnostic,
        Hardware,
        Limit,
        Membrane,
        Network,
        Onset,
        Population,
        Port,
        Projection,
        Quantized,
        operators.Reshape,
        operators.Scaling,
        operators.Dense,
        operators.Sparse,
        operators.Convolution,
        operators.Pooling,
        operators.Chain,
    )
}
#: kinds of numbers an array may hold: bool, signed, unsigned, float
_KINDS = "biuf"


def to_bytes(content: Mapping[str, Any]) -> bytes:
    """Return the artifact of a model's parts by name; equal parts give equal bytes."""
    writer = _Writer()
    body = {name: writer.encode(part) for name, part in content.items()}
    head = {"format": FORMAT, "format_version": FORMAT_VERSION, "nirhw": nirhw.__version__}
    document = {**head, "body": body, "sha256": _digest({**head, "body": body}, writer.arrays)}
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, member in ((DOCUMENT, _json(document)), *writer.arrays.items()):
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), member, zipfile.ZIP_DEFLATED, 6)
    return stream.getvalue()


def from_bytes(content: bytes, build: Callable[[dict[str, Any]], Built]) -> Built:
    """Return what ``build`` makes of the parts in an artifact's bytes.

    Raises:
        ArtifactError: NIRHW-E060 for damaged bytes, bytes that are no artifact, or parts that ``build`` refuses;
            NIRHW-E061 for another format version.
    """
    try:
        document, arrays = _unpacked(content)
        _check_head(document, arrays)
        reader = _Reader(arrays)
        return build({name: reader.decode(part) for name, part in document["body"].items()})
    except ArtifactError:
        raise
    except Exception as reason:  # whatever a stranger's file provokes is one answer
        raise _damaged(f"{type(reason).__name__}: {reason}") from None


def _damaged(why: str) -> NirhwError:
    return error("NIRHW-E060", "the file is no nirhw artifact, or it is damaged", why=why, fix="compile and save the model again")


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _digest(document: Mapping[str, Any], arrays: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256(_json(document))
    for name, content in sorted(arrays.items()):
        digest.update(name.encode() + b"\0" + hashlib.sha256(content).digest())
    return digest.hexdigest()


def _unpacked(content: bytes) -> tuple[dict[str, Any], dict[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
        if len(members) > MAX_MEMBERS or sum(m.file_size for m in members) > MAX_BYTES:
            raise _damaged(f"it unpacks to more than {MAX_BYTES >> 20} MiB or {MAX_MEMBERS} members")
        if len({m.filename for m in members}) != len(members):
            raise _damaged("two members share a name")
        parts = {}
        for member in members:
            with archive.open(member) as handle:  # a member that holds more than it declares is cut here
                parts[member.filename] = handle.read(member.file_size + 1)
    document = json.loads(parts.pop(DOCUMENT))
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise _damaged("it does not say that it is one")
    return document, parts


def _check_head(document: Mapping[str, Any], arrays: Mapping[str, bytes]) -> None:
    if document.get("format_version") != FORMAT_VERSION:
        raise error(
            "NIRHW-E061",
            f"the artifact has format version {document.get('format_version')!r}, this nirhw reads {FORMAT_VERSION}",
            why=f"written by nirhw {document.get('nirhw')!r}, this is {nirhw.__version__}",
            fix="compile again with this version, or install the one that wrote it",
        )
    signed = {k: v for k, v in document.items() if k != "sha256"}
    if document.get("sha256") != _digest(signed, arrays):
        raise _damaged("its checksum does not match its content")


class _Writer:
    """Turns values into JSON; arrays are collected by the names under which the document refers to them."""

    def __init__(self) -> None:
        self.arrays: dict[str, bytes] = {}

    def encode(self, value: Any) -> Any:
        """Return ``value`` as JSON data."""
        if value is None or isinstance(value, bool | int | str):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else {"$float": repr(value)}
        if isinstance(value, np.generic):
            return self.encode(value.item())
        if isinstance(value, np.ndarray):
            return {"$array": self._store(value)}
        if isinstance(value, Mapping):
            return {"$dict": [[self.encode(k), self.encode(v)] for k, v in value.items()]}
        if isinstance(value, tuple):
            return {"$tuple": [self.encode(v) for v in value]}
        if isinstance(value, list):
            return self._list(value)
        if is_dataclass(value) and type(value).__name__ in _TYPES:
            return {
                "$type": type(value).__name__,
                "fields": {f.name: self.encode(getattr(value, f.name)) for f in fields(value)},
            }
        if hasattr(value, "tocsr"):
            csr = value.tocsr()
            return {"$csr": [self.encode(a) for a in (csr.data, csr.indices, csr.indptr)], "shape": list(csr.shape)}
        raise TypeError(f"a {type(value).__name__} cannot be saved")

    def _list(self, value: list[Any]) -> Any:
        if len(value) > 16 and all(isinstance(row, list) for row in value):  # a matrix written as rows
            array = np.array(value)
            if array.dtype.kind in "iu":
                return {"$rows": self._store(array)}
        return [self.encode(v) for v in value]

    def _store(self, array: np.ndarray[Any, Any]) -> str:
        if array.dtype.kind not in _KINDS:
            raise TypeError(f"an array of {array.dtype} cannot be saved")
        name = f"arrays/{len(self.arrays)}.npy"
        stream = io.BytesIO()
        np.lib.format.write_array(stream, np.asarray(array, order="C"), version=(1, 0), allow_pickle=False)
        self.arrays[name] = stream.getvalue()
        return name


class _Reader:
    """Turns JSON data back into values."""

    def __init__(self, arrays: Mapping[str, bytes]):
        self._arrays = arrays

    def decode(self, value: Any, depth: int = 0) -> Any:
        """Return the value of JSON data made by :class:`_Writer`."""
        if depth > MAX_DEPTH:
            raise ValueError("values nest too deeply")
        if isinstance(value, list):
            return [self.decode(v, depth + 1) for v in value]
        if not isinstance(value, dict):
            return value
        if "$array" in value:
            return self._array(value["$array"])
        if "$rows" in value:
            return self._array(value["$rows"]).tolist()
        if "$tuple" in value:
            return tuple(self.decode(v, depth + 1) for v in value["$tuple"])
        if "$dict" in value:
            return {self.decode(k, depth + 1): self.decode(v, depth + 1) for k, v in value["$dict"]}
        if "$float" in value:
            return float(value["$float"])
        if "$csr" in value:
            return self._sparse(value, depth)
        made = _TYPES[value["$type"]]
        return made(**{k: self.decode(v, depth + 1) for k, v in value["fields"].items()})

    def _array(self, name: str) -> np.ndarray[Any, Any]:
        array = np.lib.format.read_array(io.BytesIO(self._arrays[name]), allow_pickle=False)
        if array.dtype.kind not in _KINDS:
            raise ValueError(f"an array of {array.dtype}")
        array.flags.writeable = False
        return array

    def _sparse(self, value: Mapping[str, Any], depth: int) -> Any:
        from scipy.sparse import csr_array

        data, indices, indptr = (self.decode(v, depth + 1) for v in value["$csr"])
        matrix = csr_array((data.copy(), indices.copy(), indptr.copy()), shape=tuple(value["shape"]))
        matrix.check_format(full_check=True)
        return matrix
