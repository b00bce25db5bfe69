"""HDF5 from strangers: reads the objects of a small file without trusting a byte of it.

pyfive parses the format's structures (superblock, object headers, B-trees, symbol tables, heaps).  This module decides
what is parsed, how much, and decodes the values itself.  The file is read into memory once, so nothing can make us read
another file; links that lead elsewhere, external storage and virtual datasets are refused.

**Why there is no watchdog and no worker process.**  A loop that makes no reads cannot be stopped by a file object, so
each path of pyfive 1.3 was looked through for such loops:

- ``Dataset[...]`` halves a shape until a block falls below 4 MiB, for ever where one element is larger than that; it
  also inflates chunks without a bound.  Neither is called: :meth:`Hdf5Reader.array` decodes, with bounds.
- ``Group``, ``File`` and attributes resolve names without a bound (65,535 entries may share one name of a megabyte),
  and version 2 B-trees with fractal heaps multiply large integers up to 65,536 times.  Neither is called: names are
  looked up here, at most 1,024 bytes each, and groups with dense link storage are refused.
- Header messages (as short as 4 bytes), symbol table entries and B-tree entries are parsed in loops that advance
  through bytes that were read.  :class:`Source` gives each structure an allowance of bytes, which ends these loops
  within about a second, and every read checks the deadline.

So each call into pyfive is bounded by what it may read, memory included, on any thread.  The alternatives are worse: a
process costs 300 ms a file; an exception injected by a watchdog thread can arrive in a ``finally`` block, in a
destructor or after the read, and stops no memory bomb.
"""

from __future__ import annotations

import math
import struct
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from pyfive.btree import BTreeV1Groups, BTreeV1RawDataChunks
from pyfive.core import UNDEFINED_ADDRESS
from pyfive.dataobjects import DataObjects
from pyfive.misc_low_level import (
    FORMAT_SIGNATURE,
    GlobalHeap,
    Heap,
    SuperBlock,
    SymbolTable,
)

from nirhw.diagnostics import NirhwError, error

MAX_TEXT = 1024  # bytes of a name or a text; HDF5 sets no limit, nir's own names are far shorter
_MAX_RANK = 32  # H5S_MAX_RANK
_MAX_CHUNKS = 65_536  # of one dataset: h5py's own chunks reach this at tens of gigabytes
_MAX_RATIO = 1032  # deflate cannot expand more than that (zlib manual, "zlib_tech")
_RATIO_SLACK = 1 << 16
_HEADER_ALLOWANCE = 1 << 18  # a header message has at most 64 KiB, a NIR object's header has about 300 bytes
_HEAP_ALLOWANCE = 1 << 20  # libhdf5 opens a new collection after 4 KiB, or one as large as a single larger text
_LINK_ALLOWANCE = 80  # a link: its symbol table entry, or its name on average
_TREE_ALLOWANCE = 20  # a link's share of the group's B-tree: libhdf5 puts 4 to 8 links in a symbol table
_READ_COST = 16  # counted for each read on top of its bytes, so that empty reads end too
_HEAPS_KEPT = 8  # texts are written one after another, so few collections are in use at a time
_INFLATE_STEP = 1 << 20

_DATASPACE, _LINK_INFO, _DATATYPE, _LINK, _EXTERNAL_FILES = 0x01, 0x02, 0x03, 0x06, 0x07
_LAYOUT, _FILTERS, _SYMBOL_TABLE = 0x08, 0x0B, 0x11
_SHARED = 2  # flag of a header message whose body lies elsewhere
_COMPACT, _CONTIGUOUS, _CHUNKED, _VIRTUAL = 0, 1, 2, 3
_GZIP, _SHUFFLE, _FLETCHER32 = 1, 2, 3
_HARD, _SOFT, _EXTERNAL = 0, 1, 64
_LINK_KINDS = {_SOFT: "a soft link", _EXTERNAL: "a link to another file"}
_SYMBOL_KINDS = {0: _HARD, 1: _HARD, 2: _SOFT}  # by the cache type of a symbol table entry
_INTEGER, _STRING, _ENUMERATION, _VARIABLE = 0, 3, 8, 9
_CLASSES = (
    *("unusual integer", "unusual float", "time", "text", "bit field", "opaque", "compound or complex", "reference"),
    *("enumeration", "variable-length", "array"),
)


@dataclass(frozen=True)
class Budget:
    """What reading one file may cost; beyond it the file is refused with NIRHW-E013.

    Attributes:
        seconds: wall time.
        file_bytes: size of the file.
        data_bytes: bytes of all values and texts together, decoded, as declared.
        nodes: nodes, those of sub-graphs included.
        edges: edges, those of sub-graphs included.
        objects: HDF5 objects (a node of 8 fields is 10).
    """

    seconds: float = 5.0
    file_bytes: int = 512 << 20
    data_bytes: int = 1 << 30
    nodes: int = 20_000
    edges: int = 200_000
    objects: int = 250_000


DEFAULT = Budget()


class _Damaged(Exception):
    """The file contradicts itself or the format; becomes NIRHW-E010."""


class _Exhausted(Exception):
    """A part of the budget is used up; becomes NIRHW-E013."""


class Source:
    """The bytes of the file as pyfive reads them: counts, checks the deadline, never reads past the end.

    Attributes:
        data: the whole file.
    """

    def __init__(self, data: bytes, deadline: float):
        self.data = data
        self._deadline = deadline
        self._position = 0
        self._left = 0

    def allow(self, size: int) -> None:
        """Set how many bytes the next structure may read, whatever the last one left over."""
        self._left = size

    def check_time(self) -> None:
        """Raise where the deadline has passed."""
        if time.monotonic() > self._deadline:
            raise _Exhausted("reading takes too long")

    def seek(self, offset: int) -> None:
        """Move to an absolute ``offset``."""
        self._position = offset

    def read(self, size: int) -> bytes:
        """Return exactly ``size`` bytes."""
        self.check_time()
        piece = self.view(self._position, size)
        self._left -= size + _READ_COST
        if self._left < 0:
            raise _Exhausted("one structure of the file is larger than any that NIR needs")
        self._position += size
        return bytes(piece)

    def view(self, offset: int, size: int) -> memoryview:
        """Return ``size`` bytes at ``offset`` without copying or counting them."""
        if size < 0 or not 0 <= offset <= len(self.data) - size:
            raise _Damaged(f"{size} bytes at {offset} lie outside the file's {len(self.data)} bytes")
        return memoryview(self.data)[offset : offset + size]


@dataclass(frozen=True)
class Header:
    """The header of an HDF5 object.

    Attributes:
        parsed: pyfive's view of it.
        bodies: body of the first message of each type.
        links: bodies of all link messages.
        shared: types of messages whose body lies elsewhere.
    """

    parsed: DataObjects
    bodies: Mapping[int, bytes]
    links: tuple[bytes, ...]
    shared: frozenset[int]

    @property
    def is_dataset(self) -> bool:
        """Whether the object holds values."""
        return _DATASPACE in self.bodies

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Shape of a dataset; None where it is declared to hold nothing at all."""
        shape: tuple[int, ...] | None = self.parsed.shape
        return shape

    @property
    def is_text(self) -> bool:
        """Whether the object holds strings."""
        return self.is_dataset and self.bodies.get(_DATATYPE, b"\0")[0] & 15 in (_STRING, _VARIABLE)

    @property
    def is_group(self) -> bool:
        """Whether the object holds other objects."""
        return not self.is_dataset and (_SYMBOL_TABLE in self.bodies or _LINK_INFO in self.bodies)


class Hdf5Reader:
    """One reading of one file.

    Attributes:
        node: name of the NIR node being read; every error names it.
        field: its field being read, likewise.
    """

    def __init__(self, data: bytes, budget: Budget, deadline: float):
        self.node = ""
        self.field = ""
        self._budget = budget
        self._source = Source(data, deadline)
        self._seen: set[int] = set()
        self._heaps: dict[int, dict[int, bytes]] = {}
        self._texts: dict[bytes, str] = {}
        self._left = {"nodes": budget.nodes, "edges": budget.edges, "objects": budget.objects}
        self._declared = 0

    def refusal(self, code: str, what: str, why: str = "", fix: str = "") -> NirhwError:
        """Return the error for the node and field being read."""
        where = f"field '{self.field}': " if self.field else ""
        return error(code, where + what, [self.node] if self.node else [], why, fix)

    def failure(self, cause: BaseException) -> NirhwError:
        """Return the error for an exception that pyfive, numpy or this module raised on the file's account."""
        if isinstance(cause, _Exhausted | MemoryError):
            reason = str(cause) or "out of memory"
            return self.refusal("NIRHW-E013", f"the file exceeds the reading budget: {reason}", fix=_FIX_BUDGET)
        reason = str(cause) if isinstance(cause, _Damaged) else f"{type(cause).__name__}: {cause}"
        return self.refusal("NIRHW-E010", "not an HDF5 file, or a damaged one", reason, _FIX_DAMAGED)

    def count(self, what: str, number: int) -> None:
        """Take ``number`` nodes, edges or objects off the budget.

        Raises:
            ReadError: NIRHW-E013 where fewer are left.
        """
        self._left[what] -= number
        if self._left[what] < 0:
            limit = getattr(self._budget, what)
            raise self.refusal("NIRHW-E013", f"the file holds more than {limit:,} {what}", fix=_FIX_BUDGET)

    def root(self) -> Header:
        """Return the root group."""
        data = self._source.data
        if not data.startswith(FORMAT_SIGNATURE):
            raise _Damaged("the file is empty" if not data else "the HDF5 signature is missing at its start")
        self._source.allow(_HEADER_ALLOWANCE)
        superblock = SuperBlock(self._source, 0)
        base, _, end = struct.unpack_from("<QQQ", data, 24 if superblock.version == 0 else 12)
        if base:
            raise _Damaged("a user block precedes the data")
        if end > len(data):
            raise _Damaged(f"the file has {len(data)} bytes of the {end} that it declares: it is cut off")
        return self.open(superblock.offset_to_dataobjects)

    def open(self, address: int) -> Header:
        """Return the header at ``address``.

        Raises:
            ReadError: NIRHW-E012 where the object was opened before: it has two names, or contains itself.
        """
        if address in self._seen:
            raise self.refusal("NIRHW-E012", "an object is linked twice, or contains itself", _NEVER_WRITTEN, _FIX_WRITE)
        self._seen.add(address)
        self._source.allow(_HEADER_ALLOWANCE)
        parsed = DataObjects(self._source, address)
        if sum(message["size"] for message in parsed.msgs) > len(parsed.msg_data):
            raise _Damaged("the messages of an object header overlap")  # many could then share one long body
        bodies: dict[int, bytes] = {}
        links: list[bytes] = []
        shared: set[int] = set()
        for message in parsed.msgs:
            kind, start = message["type"], message["offset_to_message"]
            if kind == _LINK:
                links.append(parsed.msg_data[start : start + message["size"]])
            elif kind not in bodies:
                bodies[kind] = parsed.msg_data[start : start + message["size"]]
                if message["flags"] & _SHARED:
                    shared.add(kind)
        return Header(parsed, bodies, tuple(links), frozenset(shared))

    def links(self, group: Header, node_of: Callable[[str], str] | None = None) -> dict[str, int]:
        """Return the members of ``group``: the address of each by name, in the file's order.

        Args:
            group: header of a group.
            node_of: name of the NIR node that a member is, where members are nodes.

        Raises:
            ReadError: NIRHW-E012 for links that are not hard links, NIRHW-E013 for too many members.
        """
        found: dict[str, int] = {}
        for name, kind, address in self._iterate_links(group, ("objects", "nodes") if node_of else ("objects",)):
            self._charge(len(name))
            if kind != _HARD:
                self.node = node_of(name) if node_of else self.node
                text = _LINK_KINDS.get(kind, "a user-defined link")
                raise self.refusal("NIRHW-E012", f"'{name}' is {text}", _NEVER_WRITTEN, _FIX_WRITE)
            if not name or "/" in name or name in found:
                raise _Damaged(f"the link name '{name}' is empty, doubled or holds a slash")
            found[name] = address
        return found

    def _iterate_links(self, group: Header, counted: tuple[str, ...]) -> Iterator[tuple[str, int, int]]:
        """Yield name, kind and address of the links of a group, which count as ``counted``."""
        if _LINK_INFO in group.bodies:
            flags = group.bodies[_LINK_INFO][1]
            (fractal_heap,) = struct.unpack_from("<Q", group.bodies[_LINK_INFO], 10 if flags & 1 else 2)
            if fractal_heap != UNDEFINED_ADDRESS:
                raise self.refusal(
                    "NIRHW-E012",
                    "a group stores its links in a fractal heap",
                    "nir writes symbol tables; fractal heaps cannot be read within safe bounds",
                    _FIX_WRITE,
                )
            for what in counted:
                self.count(what, len(group.links))
            yield from (_decode_link(body) for body in group.links)
        if _SYMBOL_TABLE in group.bodies:
            tree, heap = struct.unpack_from("<QQ", group.bodies[_SYMBOL_TABLE])
            yield from self._iterate_symbols(tree, heap, counted)

    def _iterate_symbols(self, tree: int, heap: int, counted: tuple[str, ...]) -> Iterator[tuple[str, int, int]]:
        allowance = _HEADER_ALLOWANCE + _LINK_ALLOWANCE * self._budget.objects
        self._source.allow(allowance)
        names = Heap(self._source, heap).data
        self._source.allow(_HEADER_ALLOWANCE + _TREE_ALLOWANCE * self._budget.objects)
        tables = BTreeV1Groups(self._source, tree).symbol_table_addresses()
        self._source.allow(allowance)
        for address in tables:
            entries = SymbolTable(self._source, address).entries
            for what in counted:
                self.count(what, len(entries))
            for entry in entries:
                start = entry["link_name_offset"]
                end = names.find(b"\0", start, start + MAX_TEXT + 1)
                if end < 0:
                    raise _Damaged(f"a link name is longer than {MAX_TEXT} bytes")
                kind = _SYMBOL_KINDS[entry["cache_type"]]
                yield names[start:end].decode("utf-8"), kind, entry["object_header_address"]

    def array(self, header: Header) -> np.ndarray[Any, np.dtype[Any]]:
        """Return the numbers of a dataset: an array of its own memory, in the byte order of this machine.

        Raises:
            ReadError: NIRHW-E015 for anything but real numbers and booleans or for values that were never written,
                NIRHW-E012 for storage outside the file and foreign filters, NIRHW-E013 beyond the budget.
        """
        body = self._datatype(header)
        kind = body[0] & 15
        dtype = _NUMBERS.get(bytes([kind]) + body[1 : 12 if kind == _INTEGER else 20])
        is_bool = kind == _ENUMERATION and body[8:].rstrip(b"\0") in _BOOLEANS
        if dtype is None and not is_bool:
            raise self.refusal(
                "NIRHW-E015",
                f"numbers are expected, but {_class_name(body)} values are stored",
                "read are integers, IEEE floats of 2, 4 and 8 bytes, and booleans",
            )
        values = self._values(header, dtype or np.dtype(np.int8))
        return values != 0 if is_bool else values.astype(values.dtype.newbyteorder("="), copy=False)

    def texts(self, header: Header) -> tuple[tuple[int, ...], list[str]]:
        """Return shape and texts (in C order) of a dataset of fixed-length or variable-length strings.

        Raises:
            ReadError: NIRHW-E015 where the dataset holds something else, and as :meth:`array`.
        """
        body = self._datatype(header)
        if body[0] & 15 == _STRING:
            (size,) = struct.unpack_from("<I", body, 4)
            if not 0 < size <= MAX_TEXT:
                raise self.refusal("NIRHW-E015", f"a text field has {size} bytes", f"at most {MAX_TEXT} are read")
            values = self._values(header, np.dtype(f"S{size}"))
            pad = b" " if body[1] & 15 == 2 else b""
            return values.shape, [self._text(raw.rstrip(pad) if pad else raw) for raw in values.ravel().tolist()]
        if body[0] & 15 == _VARIABLE and body[1] & 15 == 1:
            values = self._values(header, np.dtype("V16"))
            places = struct.iter_unpack("<IQI", values.tobytes())
            return values.shape, [self._text(self._heap_object(*place)) for place in places]
        raise self.refusal("NIRHW-E015", f"a text is expected, but {_class_name(body)} values are stored")

    def _datatype(self, header: Header) -> bytes:
        if _DATATYPE in header.shared:
            raise self.refusal("NIRHW-E015", "a dataset refers to a committed datatype", _NEVER_WRITTEN, _FIX_WRITE)
        body = header.bodies.get(_DATATYPE, b"")
        if len(body) < 8:
            raise _Damaged("a dataset has no datatype")
        return body

    def _text(self, raw: bytes) -> str:
        """Return a text, shared with all equal ones (names of nodes recur in edges)."""
        known = self._texts.get(raw)
        if known is None:
            self._charge(len(raw))
            known = self._texts[raw] = raw.decode("utf-8")
        return known

    def _heap_object(self, size: int, address: int, index: int) -> bytes:
        """Return the bytes of a variable-length string."""
        if size > MAX_TEXT:
            raise self.refusal("NIRHW-E015", f"a text has {size} bytes", f"at most {MAX_TEXT} are read")
        if size == 0:
            return b""
        if address not in self._heaps:
            if len(self._heaps) >= _HEAPS_KEPT:
                self._heaps.clear()
            self._source.allow(_HEAP_ALLOWANCE)
            self._heaps[address] = _heap_objects(GlobalHeap(self._source, address).heap_data)
        raw = self._heaps[address][index]
        if len(raw) < size:
            raise _Damaged(f"a text has {len(raw)} bytes of the {size} that it declares")
        return raw[:size]

    def _charge(self, size: int) -> None:
        """Count ``size`` bytes that are about to be unpacked and kept."""
        self._declared += size
        self._check_room(0)
        if self._declared > _RATIO_SLACK + _MAX_RATIO * len(self._source.data):
            raise _Exhausted("its values take more bytes than any compression could have stored in it")

    def _check_room(self, size: int) -> None:
        """Raise where ``size`` bytes more would not fit."""
        if self._declared + size > self._budget.data_bytes:
            raise _Exhausted(f"its values take more than {self._budget.data_bytes:,} bytes")

    def _values(self, header: Header, dtype: np.dtype[Any]) -> np.ndarray[Any, np.dtype[Any]]:
        """Return the values of a dataset whose stored type is ``dtype``."""
        if _EXTERNAL_FILES in header.bodies:
            raise self.refusal("NIRHW-E012", "values are stored in another file", _NEVER_WRITTEN, _FIX_WRITE)
        layout = header.bodies.get(_LAYOUT, b"")
        if header.shared & {_DATASPACE, _LAYOUT, _FILTERS} or len(layout) < 4:
            raise _Damaged("a dataset does not say where its values lie")
        version, storage = layout[0], layout[1]
        if version == 4 and storage == _VIRTUAL:
            raise self.refusal("NIRHW-E012", "values are mapped from other datasets", _NEVER_WRITTEN, _FIX_WRITE)
        if version not in (3, 4) or storage > (_CHUNKED if version == 3 else _CONTIGUOUS):
            raise _Damaged(f"the storage layout {storage} of version {version} is not one that nir writes")
        shape = header.shape
        if shape is None:
            raise self.refusal("NIRHW-E015", "a dataset holds no values")
        if len(shape) > _MAX_RANK or (shape and max(shape) > self._budget.data_bytes):
            raise _Exhausted(f"a dataset declares the shape {shape}")
        self._charge(math.prod(shape) * dtype.itemsize)
        if math.prod(shape) == 0:
            return np.empty(shape, dtype)
        if storage == _CHUNKED:
            return self._chunked(header, layout, shape, dtype)
        return self._unchunked(layout, shape, dtype)

    def _unchunked(self, layout: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, np.dtype[Any]]:
        size = math.prod(shape) * dtype.itemsize
        stored: bytes | memoryview
        if layout[1] == _COMPACT:
            stored = layout[4 : 4 + struct.unpack_from("<H", layout, 2)[0]]
        else:
            address, stored_size = struct.unpack_from("<QQ", layout, 2)
            if address == UNDEFINED_ADDRESS:
                raise self._unwritten()
            stored = self._source.view(address, min(size, stored_size))
        if len(stored) < size:
            raise _Damaged(f"a dataset declares {size} bytes and stores {len(stored)}")
        self._source.check_time()
        return np.frombuffer(stored, dtype, math.prod(shape)).reshape(shape).copy()

    def _chunked(
        self, header: Header, layout: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]
    ) -> np.ndarray[Any, np.dtype[Any]]:
        rank, address = struct.unpack_from("<BQ", layout, 2)
        *chunk, itemsize = struct.unpack_from(f"<{rank}I", layout, 11)
        if len(chunk) != len(shape) or itemsize != dtype.itemsize or min(chunk, default=0) < 1:
            raise _Damaged(f"chunks of shape {chunk} do not suit a dataset of shape {shape}")
        chunk_bytes = math.prod(chunk) * itemsize
        self._check_room(chunk_bytes)
        filters = self._filters(header)
        if address == UNDEFINED_ADDRESS:
            raise self._unwritten()
        places = self._chunk_index(address, shape, chunk)
        values = np.empty(shape, dtype)
        for origin, (start, size, mask) in places.items():
            self._source.check_time()
            active = [f for i, f in enumerate(filters) if not mask >> i & 1]
            raw = self._unfilter(self._source.view(start, size), active, chunk_bytes, itemsize)
            target = values[tuple(slice(o, o + c) for o, c in zip(origin, chunk, strict=True))]
            block = np.frombuffer(raw, dtype).reshape(chunk)
            target[...] = block[tuple(slice(n) for n in target.shape)]
        return values

    def _filters(self, header: Header) -> list[int]:
        """Return the filters of a dataset in the order in which they were applied."""
        filters = [entry["filter_id"] for entry in header.parsed.filter_pipeline or ()]
        foreign = [f for f in filters if f not in (_GZIP, _SHUFFLE, _FLETCHER32)]
        if foreign or len(set(filters)) < len(filters):
            raise self.refusal(
                "NIRHW-E012",
                f"values are packed with the HDF5 filters {filters}",
                "only gzip (1), shuffle (2) and fletcher32 (3), each once, are unpacked",
                "write the file with nir.write(path, graph, compression='gzip')",
            )
        return filters

    def _chunk_index(self, address: int, shape: tuple[int, ...], chunk: list[int]) -> dict[tuple[int, ...], tuple[int, int, int]]:
        """Return address, size and filter mask of each chunk by its origin; all chunks must be there."""
        number = math.prod(-(-n // c) for n, c in zip(shape, chunk, strict=True))
        entry = 16 + 8 * (len(chunk) + 1)
        if number > _MAX_CHUNKS or number * entry > len(self._source.data):
            raise _Exhausted(f"a dataset declares {number:,} chunks")
        self._source.allow(_HEADER_ALLOWANCE + 4 * number * entry)
        tree = BTreeV1RawDataChunks(self._source, address, len(chunk) + 1)
        places: dict[tuple[int, ...], tuple[int, int, int]] = {}
        for leaf in tree.all_nodes[0]:
            for key, start in zip(leaf["keys"], leaf["addresses"], strict=True):
                origin = key["chunk_offset"][:-1]
                if origin in places or any(o % c or o >= n for o, c, n in zip(origin, chunk, shape, strict=True)):
                    raise _Damaged(f"a chunk lies at {origin} of a dataset of shape {shape}")
                places[origin] = start, key["chunk_size"], key["filter_mask"]
        if len(places) < number:
            raise self._unwritten()
        return places

    def _unwritten(self) -> NirhwError:
        return self.refusal("NIRHW-E015", "a dataset was declared, but not all of its values were written")

    def _unfilter(self, raw: memoryview, filters: list[int], size: int, itemsize: int) -> bytes | memoryview:
        """Undo ``filters`` on one chunk that has ``size`` bytes in the end."""
        data: bytes | memoryview = raw
        for position in range(len(filters) - 1, -1, -1):
            if filters[position] == _GZIP:
                # a checksum that was added before packing comes out of it again
                data = self._inflate(data, size + 4 * filters[:position].count(_FLETCHER32))
            elif filters[position] == _SHUFFLE:
                data = _unshuffle(data, itemsize)
            else:
                data = _checked(data)
        if len(data) != size:
            raise _Damaged(f"a chunk unpacks to {len(data)} bytes instead of {size}")
        return data

    def _inflate(self, packed: bytes | memoryview, size: int) -> bytes:
        """Return what ``packed`` holds, never more than ``size`` bytes, looking at the clock on the way."""
        stream = zlib.decompressobj()
        parts: list[bytes] = []
        left = size
        for start in range(0, len(packed), _INFLATE_STEP):
            self._source.check_time()
            part = stream.decompress(packed[start : start + _INFLATE_STEP], left + 1)
            left -= len(part)
            parts.append(part)
            if left < 0 or stream.eof:
                break
        if left or not stream.eof:
            raise _Damaged(f"a gzip chunk does not unpack to its {size} bytes")
        return parts[0] if len(parts) == 1 else b"".join(parts)


_NEVER_WRITTEN = "no NIR writer produces this; a file that does could loop or read other files"
_FIX_WRITE = "write the graph again with nir.write"
_FIX_DAMAGED = "fetch the file again, or write the graph again with nir.write"
_FIX_BUDGET = "if the file can be trusted, read it with a larger nirhw.nir_file.Budget"


def _number_encodings() -> dict[bytes, np.dtype[Any]]:
    """Return numpy's type by the datatype message of each number that is read.

    The whole message is compared: a float of two bytes that is not IEEE's (bfloat16) would otherwise be misread.
    """
    found: dict[bytes, np.dtype[Any]] = {}
    for order, mark in enumerate("<>"):
        for size in (1, 2, 4, 8):
            for sign, letter in ((0, "u"), (8, "i")):
                key = struct.pack("<BBBBIHH", 0, order | sign, 0, 0, size, 0, 8 * size)
                found[key] = np.dtype(f"{mark}{letter}{size}")
        for size, exponent in ((2, 5), (4, 8), (8, 11)):
            fraction, bias = 8 * size - 1 - exponent, 2 ** (exponent - 1) - 1
            key = struct.pack("<BBBBI", 1, 0x20 | order, 8 * size - 1, 0, size)
            key += struct.pack("<HHBBBBI", 0, 8 * size, fraction, exponent, 0, fraction, bias)
            found[key] = np.dtype(f"{mark}f{size}")
    return found


_NUMBERS = _number_encodings()
# h5py writes booleans as an enumeration of one-byte integers; names are padded to 8 bytes in old messages only
_BOOLEANS = tuple(
    struct.pack("<BBBBIHH", 0x10, 8, 0, 0, 1, 0, 8) + names + b"\0\1" for names in (b"FALSE\0\0\0TRUE\0\0\0\0", b"FALSE\0TRUE\0")
)


def _class_name(body: bytes) -> str:
    kind = body[0] & 15
    return _CLASSES[kind] if kind < len(_CLASSES) else "unknown"


def _decode_link(body: bytes) -> tuple[str, int, int]:
    """Return name, kind and address (0 but for hard links) of a link message."""
    version, flags = body[0], body[1]
    if version != 1:
        raise _Damaged(f"a link message has version {version}")
    position = 2
    kind = body[position] if flags & 8 else 0
    position += (1 if flags & 8 else 0) + (8 if flags & 4 else 0) + (1 if flags & 16 else 0)
    width = 1 << (flags & 3)
    size = int.from_bytes(body[position : position + width], "little")
    position += width
    if size > min(MAX_TEXT, len(body) - position):
        raise _Damaged(f"a link name has {size} bytes")
    name = body[position : position + size].decode("utf-8")
    return name, kind, struct.unpack_from("<Q", body, position + size)[0] if kind == _HARD else 0


def _heap_objects(data: bytes) -> dict[int, bytes]:
    """Return the objects of a global heap collection by index (pyfive's own property takes three times as long)."""
    objects: dict[int, bytes] = {}
    start = 0
    while start + 16 <= len(data):
        index, size = struct.unpack_from("<H6xQ", data, start)
        if index == 0:  # the free space at the end
            break
        start += 16
        if size > len(data) - start:
            raise _Damaged(f"a text of {size} bytes leaves its heap")
        objects[index] = data[start : start + size]
        start += -(-size // 8) * 8
    return objects


def _unshuffle(data: bytes | memoryview, itemsize: int) -> bytes:
    """Undo the shuffle filter, which stores first bytes first; a rest that fills no element stays where it is."""
    whole = len(data) - len(data) % itemsize
    planes = np.frombuffer(data, np.uint8, whole).reshape(itemsize, -1)
    return planes.T.tobytes() + bytes(data[whole:])


def _checked(data: bytes | memoryview) -> memoryview:
    """Return ``data`` without its fletcher32 checksum, which must be right."""
    view = memoryview(data)
    if len(view) < 4 or _fletcher32(view[:-4]) != tuple(w % 65535 for w in struct.unpack("<HH", view[-4:])):
        raise _Damaged("a chunk's checksum is wrong")
    return view[:-4]


def _fletcher32(data: memoryview) -> tuple[int, int]:
    """Return HDF5's Fletcher sums (of big-endian words, modulo 65535)."""
    padded = bytes(data) + b"\0" * (len(data) % 2)
    first = second = 0
    for start in range(0, len(padded), 1 << 17):
        words = np.frombuffer(padded[start : start + (1 << 17)], ">u2").astype(np.uint64)
        weights = np.arange(len(words), 0, -1, dtype=np.uint64)
        second = (second + first * len(words) + int((words * weights).sum())) % 65535
        first = (first + int(words.sum())) % 65535
    return first, second
