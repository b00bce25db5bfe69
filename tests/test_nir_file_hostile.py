"""Hostile files: each ends in an error with a code or in a graph, within time and memory, and reads no other file.

``NIRHW_MUTANTS=10000 pytest tests/test_nir_file_hostile.py -k mutants -s`` tries more mutants and prints the figures.
"""

from __future__ import annotations

import dataclasses
import os
import random
import struct
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
import zlib
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest

from nirhw.diagnostics import NirhwError, ReadError, UsageError
from nirhw.hdf5_guard import Source
from nirhw.nir_file import DEFAULT, Budget, read_nir_file
from nirhw.raw import MAX_DEPTH, RawGraph

LIF = {"tau": np.ones(3, "f4"), "r": np.ones(3), "v_leak": np.zeros(3), "v_threshold": np.ones(3)}
MIB = 1 << 20


def write(path: Path, change: Callable[[h5py.File], Any] = lambda file: None, **options: Any) -> Path:
    """Write a small good file with h5py alone, then ``change`` it."""
    with h5py.File(path, "w", **options) as file:
        file["version"] = "1.0.8"
        file["node/type"] = "NIRGraph"
        file.create_dataset("node/edges", data=[("in", "lif"), ("lif", "out")], dtype=h5py.string_dtype())
        for name, kind, fields in (
            ("in", "Input", {"shape": np.array([3])}),
            ("lif", "LIF", LIF),
            ("out", "Output", {"shape": np.array([3])}),
        ):
            file[f"node/nodes/{name}/type"] = kind
            for field, value in fields.items():
                file[f"node/nodes/{name}/{field}"] = value
        change(file)
    return path


def refused(path: Path, budget: Budget = DEFAULT, mib: float = 64) -> NirhwError:
    """Return the error with which ``path`` is refused, in time and with little memory."""
    start = time.monotonic()
    with pytest.raises(NirhwError) as caught:
        read_nir_file(path, budget)
    assert time.monotonic() - start < budget.seconds + 1
    tracemalloc.start()  # makes reading several times slower
    try:
        with pytest.raises(NirhwError):
            read_nir_file(path, dataclasses.replace(budget, seconds=20 * budget.seconds))
        assert tracemalloc.get_traced_memory()[1] < mib * MIB
    finally:
        tracemalloc.stop()
    return caught.value


def replaced(name: str, **create: Any) -> Callable[[h5py.File], None]:
    """Return a change that writes one dataset anew."""

    def change(file: h5py.File) -> None:
        if name in file:
            del file[name]
        file.create_dataset(name, **create)

    return change


TAU = "node/nodes/lif/tau"


def soft(file: h5py.File) -> None:
    file["node/nodes/loop"] = h5py.SoftLink("/node/nodes")


def soft_field(file: h5py.File) -> None:
    file["node/nodes/lif/extra"] = h5py.SoftLink("/node/nodes/lif/tau")


def hard(file: h5py.File) -> None:
    file["node/nodes/lif/self"] = file["node/nodes/lif"]


def hard_graph(file: h5py.File) -> None:
    file["node/nodes/sub"] = file["node"]


def doubled(file: h5py.File) -> None:
    file["node/nodes/lif/copy"] = file["node/nodes/lif/tau"]


def committed_type(file: h5py.File) -> None:
    file["kind"] = np.dtype("f4")
    replaced(TAU, data=np.ones(3, "f4"), dtype=file["kind"])(file)


def committed_node(file: h5py.File) -> None:
    file["node/nodes/lif2"] = np.dtype("f4")


def depth_bomb(levels: int) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        group = file["node/nodes"]
        for _ in range(levels):
            group = group.create_group("g")
            group["type"] = "NIRGraph"
            group["edges"] = np.zeros(0)
            group = group.create_group("nodes")

    return change


def name_bomb(file: h5py.File) -> None:
    group = file["node/nodes"]
    for _ in range(200):
        group = group.create_group("g")


def array_type(file: h5py.File) -> None:
    file["node/nodes/lif"].create_dataset("a", shape=(3,), dtype=np.dtype(("f4", (2,))))


def bfloat16(file: h5py.File) -> None:
    kind = h5py.h5t.IEEE_F32LE.copy()
    kind.set_fields(15, 7, 8, 0, 7)
    kind.set_size(2)
    kind.set_ebias(127)
    h5py.h5d.create(file["node/nodes/lif"].id, b"b", kind, h5py.h5s.create_simple((3,)))


def without(name: str) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[name]

    return change


def group_at(name: str) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        if name in file:
            del file[name]
        file.create_group(name)

    return change


def null_space(file: h5py.File) -> None:
    file["node/nodes/lif/tau2"] = h5py.Empty("f4")


def partly_written(file: h5py.File) -> None:
    data = file.create_dataset("node/nodes/lif/part", shape=(100,), chunks=(10,), dtype="f4")
    data[:10] = 1


def unwritten(file: h5py.File) -> None:
    file.create_dataset("node/nodes/lif/part", shape=(100,), dtype="f4")


def many_chunks(file: h5py.File) -> None:
    file.create_dataset("node/nodes/lif/many", shape=(4_000_000,), dtype="u1", chunks=(1,))[0] = 1


def zlib_bomb(file: h5py.File) -> None:
    data = file.create_dataset("node/nodes/lif/bomb", shape=(64,), chunks=(64,), dtype="f4", compression="gzip")
    data.id.write_direct_chunk((0,), zlib.compress(bytes(200 * MIB), 9))


def short_chunk(file: h5py.File) -> None:
    data = file.create_dataset("node/nodes/lif/bomb", shape=(64,), chunks=(64,), dtype="f4", compression="gzip")
    data.id.write_direct_chunk((0,), zlib.compress(bytes(100), 9))


def bad_checksum(file: h5py.File) -> None:
    data = file.create_dataset("node/nodes/lif/sum", shape=(4,), chunks=(4,), dtype="u1", fletcher32=True)
    data.id.write_direct_chunk((0,), b"abcd\x01\x02\x03\x04")


def foreign_filter(file: h5py.File) -> None:
    file.create_dataset("node/nodes/lif/z", data=np.ones(300), compression="lzf")


def long_text(file: h5py.File) -> None:
    replaced("node/nodes/lif/type", data="L" * 5000)(file)


def references(file: h5py.File) -> None:
    file.create_dataset("node/nodes/lif/ref", data=[file.ref], dtype=h5py.ref_dtype)


def regions(file: h5py.File) -> None:
    ref = file[TAU].regionref[0:2]
    file.create_dataset("node/nodes/lif/ref", data=[ref], dtype=h5py.regionref_dtype)


def vlen_arrays(file: h5py.File) -> None:
    data = file.create_dataset("node/nodes/lif/v", (2,), dtype=h5py.vlen_dtype(np.float32))
    data[0] = np.ones(3)


def opaque(file: h5py.File) -> None:
    file.create_dataset("node/nodes/lif/o", data=np.void(b"pickled"))


def enumeration(file: h5py.File) -> None:
    file.create_dataset("node/nodes/lif/e", data=np.ones(3, "i1"), dtype=h5py.enum_dtype({"A": 0, "B": 1}, "i1"))


CASES: dict[str, tuple[Callable[[h5py.File], Any], str, str]] = {
    # links
    "soft-cycle": (soft, "NIRHW-E012", "loop"),
    "soft-field": (soft_field, "NIRHW-E012", "lif"),
    "hard-cycle": (hard, "NIRHW-E012", "lif"),
    "hard-graph-cycle": (hard_graph, "NIRHW-E012", "sub"),
    "linked-twice": (doubled, "NIRHW-E012", "lif"),
    # depth and size
    "depth-bomb": (depth_bomb(100), "NIRHW-E013", "g.g.g"),
    "name-bomb": (name_bomb, "NIRHW-E013", "g/g/g"),
    "3-TiB": (replaced(TAU, shape=(3 << 40,), dtype="u1", chunks=(MIB,)), "NIRHW-E013", "lif"),
    "2.4-GB-sparse": (replaced(TAU, shape=(600_000_000,), dtype="f4", chunks=(MIB,)), "NIRHW-E013", "lif"),
    "500-MB-sparse": (replaced(TAU, shape=(125_000_000,), dtype="f4", chunks=(MIB,)), "NIRHW-E013", "lif"),
    "500-MB-contiguous": (replaced(TAU, shape=(125_000_000,), dtype="f4"), "NIRHW-E013", "lif"),
    "huge-empty": (replaced(TAU, shape=(0, 1 << 62), dtype="f4"), "NIRHW-E013", "lif"),
    "many-chunks": (many_chunks, "NIRHW-E013", "lif"),
    "zlib-bomb": (zlib_bomb, "NIRHW-E010", "lif"),
    "short-chunk": (short_chunk, "NIRHW-E010", "lif"),
    "checksum": (bad_checksum, "NIRHW-E010", "lif"),
    "lzf": (foreign_filter, "NIRHW-E012", "lif"),
    "scale-offset": (replaced(TAU, data=np.arange(300), scaleoffset=0), "NIRHW-E012", "lif"),
    # types
    "string-tau": (replaced(TAU, data="fast"), "NIRHW-E015", "lif"),
    "string-array-tau": (replaced(TAU, data=["a", "b"], dtype=h5py.string_dtype()), "NIRHW-E015", "lif"),
    "fixed-string-tau": (replaced(TAU, data=np.array([b"a", b"b"])), "NIRHW-E015", "lif"),
    "complex": (replaced(TAU, data=np.ones(3, "c8")), "NIRHW-E015", "lif"),
    "compound": (replaced(TAU, data=np.zeros(3, [("a", "f4"), ("b", "i8")])), "NIRHW-E015", "lif"),
    "long-double": (replaced(TAU, data=np.ones(3, np.longdouble)), "NIRHW-E015", "lif"),
    "references": (references, "NIRHW-E015", "lif"),
    "regions": (regions, "NIRHW-E015", "lif"),
    "vlen": (vlen_arrays, "NIRHW-E015", "lif"),
    "opaque": (opaque, "NIRHW-E015", "lif"),
    "enumeration": (enumeration, "NIRHW-E015", "lif"),
    "array-type": (array_type, "NIRHW-E015", "lif"),
    "bfloat16": (bfloat16, "NIRHW-E015", "lif"),
    "committed-type": (committed_type, "NIRHW-E015", "lif"),
    "committed-node": (committed_node, "NIRHW-E015", "lif2"),
    "null-space": (null_space, "NIRHW-E015", "lif"),
    "partly-written": (partly_written, "NIRHW-E015", "lif"),
    "unwritten": (unwritten, "NIRHW-E015", "lif"),
    # form
    "field-is-group": (group_at(TAU), "NIRHW-E015", "lif"),
    "node-is-dataset": (replaced("node/nodes/d", data=1.0), "NIRHW-E015", "d"),
    "no-type": (without("node/nodes/lif/type"), "NIRHW-E015", "lif"),
    "empty-node": (group_at("node/nodes/lif"), "NIRHW-E015", "lif"),
    "type-is-group": (group_at("node/nodes/lif/type"), "NIRHW-E015", "lif"),
    "type-is-number": (replaced("node/nodes/lif/type", data=3), "NIRHW-E015", "lif"),
    "type-is-list": (replaced("node/nodes/lif/type", data=["LIF"], dtype=h5py.string_dtype()), "NIRHW-E015", "lif"),
    "long-type": (long_text, "NIRHW-E015", "lif"),
    "no-edges": (without("node/edges"), "NIRHW-E015", ""),
    "edges-flat": (replaced("node/edges", data=["in", "lif"], dtype=h5py.string_dtype()), "NIRHW-E015", ""),
    "edges-numbers": (replaced("node/edges", data=np.ones((2, 2))), "NIRHW-E015", ""),
    "edges-triples": (replaced("node/edges", data=np.array([[b"a", b"b", b"c"]])), "NIRHW-E015", ""),
    "edges-group": (group_at("node/edges"), "NIRHW-E015", ""),
    "no-nodes": (without("node/nodes"), "NIRHW-E015", ""),
    "nodes-dataset": (replaced("node/nodes", data=1), "NIRHW-E015", ""),
    "graph-with-field": (replaced("node/gain", data=1), "NIRHW-E015", ""),
    "no-node": (without("node"), "NIRHW-E011", ""),
    "node-dataset": (replaced("node", data=1), "NIRHW-E011", ""),
    "lone-node": (replaced("node/type", data="LIF"), "NIRHW-E011", ""),
    "version-number": (replaced("version", data=3), "NIRHW-E015", ""),
}


@pytest.mark.parametrize("case", CASES)
def test_hostile_files_are_refused_with_a_code_and_the_node(case: str, tmp_path: Path) -> None:
    change, code, node = CASES[case]
    found = refused(write(tmp_path / "a.nir", change)).diagnostics[0]
    assert found.code == code
    assert (found.nodes[0] if found.nodes else "").startswith(node) and bool(node) == bool(found.nodes)


def test_the_file_that_the_cases_start_from_is_good(tmp_path: Path) -> None:
    assert sorted(read_nir_file(write(tmp_path / "a.nir")).nodes) == ["in", "lif", "out"]


def test_depth_up_to_the_limit_is_read(tmp_path: Path) -> None:
    assert read_nir_file(write(tmp_path / "a.nir", depth_bomb(MAX_DEPTH))).nodes


# -- other files ------------------------------------------------------------------------------------------------------


def external_link(secret: Path) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        file["node/nodes/lif/stolen"] = h5py.ExternalLink(str(secret), "/x")

    return change


def external_node(secret: Path) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        file["node/nodes/lif2"] = h5py.ExternalLink(str(secret), "/x")

    return change


def external_link_among_many(secret: Path) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        for i in range(40):
            file[f"node/nodes/lif/f{i}"] = i
        external_link(secret)(file)

    return change


def external_metadata(secret: Path) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        file["node/nodes/lif/metadata"] = h5py.ExternalLink(str(secret), "/x")

    return change


def external_storage(secret: Path) -> Callable[[h5py.File], None]:
    return replaced(TAU, shape=(5,), dtype="u1", external=[(str(secret), 0, 5)])


def virtual(secret: Path) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        layout = h5py.VirtualLayout((3,), "f4")
        layout[:] = h5py.VirtualSource(str(secret), "x", (3,))
        file.create_virtual_dataset("node/nodes/lif/stolen", layout)

    return change


@pytest.mark.parametrize(
    ("make", "node"),
    [
        (external_link, "lif"),
        (external_node, "lif2"),
        (external_link_among_many, "lif"),
        (external_metadata, "lif"),
        (external_storage, "lif"),
        (virtual, "lif"),
    ],
    ids=lambda x: getattr(x, "__name__", x),
)
def test_other_files_are_not_read(make: Callable[[Path], Callable[[h5py.File], None]], node: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    with h5py.File(secret, "w") as file:
        file["x"] = np.arange(3, dtype="f4")
    path = write(tmp_path / "a.nir", make(secret))
    opened: list[object] = []
    guard = {"on": True}
    sys.addaudithook(lambda event, args: opened.append(args[0]) if event == "open" and guard["on"] else None)
    found = refused(path).diagnostics[0]
    guard["on"] = False
    assert (found.code, found.nodes) == ("NIRHW-E012", (node,))
    assert str(secret) not in [str(p) for p in opened] and str(path) in [str(p) for p in opened]


def test_user_defined_links_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nir", external_link(tmp_path / "x"))
    data = path.read_bytes()
    assert data.count(b"\x01\x08\x40\x06stolen") == 1
    path.write_bytes(data.replace(b"\x01\x08\x40\x06stolen", b"\x01\x08\xc8\x06stolen"))
    found = refused(path).diagnostics[0]
    assert (found.code, found.nodes) == ("NIRHW-E012", ("lif",))


# -- what is no NIR file at all ---------------------------------------------------------------------------------------


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "missing.nir", tmp_path / "pipe", Path("/dev/zero"), Path("a\0b"), 3):
        assert isinstance(error := refused(path), UsageError)  # type: ignore[arg-type]
        assert error.code == "NIRHW-E005"


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_unreadable_file(tmp_path: Path) -> None:
    write(tmp_path / "a.nir").chmod(0)
    assert refused(tmp_path / "a.nir").code == "NIRHW-E005"


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89HDF\r\n\x1a\n", b"\x89HDF\r\n\x1a\n" + bytes(500), bytes(4096)])
def test_other_contents(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.nir").write_bytes(content)
    assert refused(tmp_path / "a.nir").code == "NIRHW-E010"


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    data = write(tmp_path / "a.nir").read_bytes()
    for size in range(0, len(data), 97):
        (tmp_path / "b.nir").write_bytes(data[:size])
        with pytest.raises(ReadError, match="NIRHW-E010"):
            read_nir_file(tmp_path / "b.nir")


# -- budgets ----------------------------------------------------------------------------------------------------------


def test_many_nodes_are_refused_before_they_are_read(tmp_path: Path) -> None:
    def change(file: h5py.File) -> None:
        for i in range(50_000):
            file[f"node/nodes/n{i}"] = file["node/nodes/lif"]

    error = refused(write(tmp_path / "a.nir", change))
    assert error.code == "NIRHW-E013" and "20,000 nodes" in str(error)


@pytest.mark.parametrize(
    ("budget", "what"),
    [
        (Budget(nodes=2), "2 nodes"),
        (Budget(edges=1), "1 edges"),
        (Budget(objects=9), "9 objects"),
        (Budget(file_bytes=1000), "bytes"),
        (Budget(data_bytes=100), "100 bytes"),
        (Budget(seconds=0), "too long"),
    ],
    ids=lambda x: x.replace(" ", "-") if isinstance(x, str) else "",
)
def test_each_part_of_the_budget_is_kept(budget: Budget, what: str, tmp_path: Path) -> None:
    error = refused(write(tmp_path / "a.nir"), budget)
    assert error.code == "NIRHW-E013" and what in str(error)


def test_compressible_weights_are_no_bomb(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nir", replaced(TAU, data=np.zeros((2000, 2000)), compression="gzip", compression_opts=9))
    assert read_nir_file(path).nodes["lif"].fields["tau"].shape == (2000, 2000)


# -- structures that make parsers loop or fill memory ------------------------------------------------------------------


def with_root(path: Path, header: Callable[[int], bytes]) -> Path:
    """Append bytes to a good file and make them the root's object header; ``header`` gets their address."""
    data = bytearray(write(path).read_bytes())
    address = len(data)
    data += header(address)
    struct.pack_into("<Q", data, 40, len(data))  # the superblock's end of file
    struct.pack_into("<Q", data, 64, address)  # the root's symbol table entry: address of its header
    path.write_bytes(data)
    return path


def header_v1(messages: bytes, number: int) -> bytes:
    return struct.pack("<BBHIIxxxx", 1, 0, number, 1, len(messages)) + messages


def message(kind: int, body: bytes, size: int | None = None) -> bytes:
    return struct.pack("<HHBxxx", kind, len(body) if size is None else size, 0) + body


def symbol_group(address: int, tree: bytes, heap: bytes, rest: bytes = b"") -> bytes:
    """Return a root header followed by its B-tree, its heap and the rest."""
    size = len(header_v1(message(0x11, bytes(16)), 1))
    places = struct.pack("<QQ", address + size, address + size + len(tree))
    return header_v1(message(0x11, places), 1) + tree + heap + rest


def local_heap(address: int, data: bytes) -> bytes:
    return b"HEAP" + struct.pack("<B3xQQQ", 0, len(data), 0, address + 32) + data


def tree_node(level: int, children: list[int]) -> bytes:
    body = b"".join(struct.pack("<QQ", 0, child) for child in children) + bytes(8)
    return b"TREE" + struct.pack("<BBHQQ", 0, level, len(children), 0, 0) + body


def empty_messages_v1(address: int) -> bytes:
    return header_v1(bytes(8 * 65_535), 65_535)


def empty_messages_v2(address: int) -> bytes:
    return b"OHDR" + struct.pack("<BBQ", 2, 3, 40 * MIB) + bytes(40 * MIB)


def continuation_of_itself(address: int) -> bytes:
    again = message(0x10, struct.pack("<QQ", address + 16, 24))
    return header_v1(again, 65_535)


def continuation_of_itself_v2(address: int) -> bytes:
    again = struct.pack("<BHBQQ", 0x10, 16, 0, address + 34, 28)
    return b"OHDR" + struct.pack("<BBQ", 2, 3, len(again)) + again + b"OCHK" + again + bytes(4)


def messages_that_overlap(address: int) -> bytes:
    """Thousands of chunks of one header whose links all reach 64 KiB beyond their chunk."""
    first = address + 14 + 20
    chunks = bytearray()
    for i in range(4000):
        next_chunk = struct.pack("<BHBQQ", 0x10, 16, 0, first + (i + 1) * 32, 32)
        chunks += b"OCHK" + next_chunk + struct.pack("<BHB", 0x06, 65_535, 0) + bytes(4)
    start = struct.pack("<BHBQQ", 0x10, 16, 0, first, 32)
    return b"OHDR" + struct.pack("<BBQ", 2, 3, len(start)) + start + chunks + b"OCHK" + bytes(65_535)


def continuation_of_everything(address: int) -> bytes:
    return header_v1(b"".join(message(0x10, struct.pack("<QQ", 0, address)) for _ in range(2000)), 2000)


def long_names(address: int) -> bytes:
    """65,535 entries that share one name of a mebibyte: 64 GiB of names in a file of 4 MiB."""
    tree = address + 40
    heap = tree + len(tree_node(0, [0]))
    table = heap + 32 + MIB
    entries = struct.pack("<QQII16x", 0, 96, 0, 0) * 65_535
    snod = b"SNOD" + struct.pack("<BBH", 1, 0, 65_535) + entries
    return symbol_group(address, tree_node(0, [table]), local_heap(heap, b"a" * (MIB - 1) + b"\0"), snod)


def tree_of_itself(address: int) -> bytes:
    return symbol_group(address, tree_node(3, [address + 40] * 9), local_heap(address + 40 + 176, bytes(8)))


def tree_that_doubles(address: int) -> bytes:
    """200 levels of nodes whose 60 children are all the same node."""
    size = len(tree_node(0, [0] * 60))
    first = address + 40
    nodes = [tree_node(level, [first + (200 - level) * size] * 60) for level in range(199, -1, -1)]
    tree = b"".join(nodes)
    return symbol_group(address, tree, local_heap(first + len(tree), bytes(8)))


def table_of_equal_names(address: int) -> bytes:
    """A B-tree of 60,000 references to one table with 60,000 entries."""
    tree = tree_node(0, [address + 40 + 24 + 60_000 * 16 + 8 + 32 + 8] * 60_000)
    snod = b"SNOD" + struct.pack("<BBH", 1, 0, 60_000) + struct.pack("<QQII16x", 0, 96, 0, 0) * 60_000
    return symbol_group(address, tree, local_heap(address + 40 + len(tree), b"a" + bytes(7)), snod)


def dense_links(address: int) -> bytes:
    return header_v1(message(0x02, struct.pack("<BBQQ6x", 0, 0, address, address)), 1)


STRUCTURES = {
    empty_messages_v1: "NIRHW-E013",
    empty_messages_v2: "NIRHW-E013",
    continuation_of_itself: "NIRHW-E013",
    continuation_of_itself_v2: "NIRHW-E013",
    messages_that_overlap: "NIRHW-E010",
    continuation_of_everything: "NIRHW-E013",
    long_names: "NIRHW-E010",
    tree_of_itself: "NIRHW-E010",
    tree_that_doubles: "NIRHW-E013",
    table_of_equal_names: "NIRHW-E010",
    dense_links: "NIRHW-E012",
}


@pytest.mark.parametrize("header", STRUCTURES, ids=lambda h: h.__name__)
def test_structures_that_loop_or_multiply(header: Callable[[int], bytes], tmp_path: Path) -> None:
    path = with_root(tmp_path / "a.nir", header)
    assert refused(path, mib=256).code == STRUCTURES[header]


def test_element_larger_than_any_block(tmp_path: Path) -> None:
    """pyfive's Dataset[...] never returns where one element is larger than 4 MiB."""
    path = write(tmp_path / "a.nir", replaced(TAU, data=np.array([b"a" * (5 * MIB)])))
    assert refused(path).code == "NIRHW-E015"


def test_texts_that_share_one_long_text(tmp_path: Path) -> None:
    def change(file: h5py.File) -> None:
        replaced("node/edges", data=[("e" * 60_000, "b")] * 100, dtype=h5py.string_dtype())(file)

    assert refused(write(tmp_path / "a.nir", change)).code == "NIRHW-E015"


def test_heap_of_empty_texts(tmp_path: Path) -> None:
    """A global heap collection whose objects are all empty: 16 bytes each, a Python object each."""
    data = bytearray(write(tmp_path / "a.nir").read_bytes())
    place = data.index(b"GCOL")
    collection = b"GCOL" + struct.pack("<B3xQ", 1, 32 * MIB)
    collection += b"".join(struct.pack("<HHIQ", i % 65_535 + 1, 1, 0, 0) for i in range(2 * MIB - 1))
    data = bytearray(data.replace(struct.pack("<Q", place), struct.pack("<Q", len(data))))
    data += collection
    struct.pack_into("<Q", data, 40, len(data))
    (tmp_path / "a.nir").write_bytes(data)
    assert refused(tmp_path / "a.nir", mib=128).code == "NIRHW-E013"


def test_source_reads_nothing_past_the_end_or_the_allowance() -> None:
    source = Source(b"0123456789", time.monotonic() + 60)
    for offset, size in ((0, 11), (10, 1), (0, -1), (1 << 64, 1), (0, 1 << 64)):
        source.allow(1 << 20)
        source.seek(offset)
        with pytest.raises(Exception, match="lie outside"):
            source.read(size)
    source.seek(2)
    assert source.read(3) == b"234"
    source.allow(20)
    assert source.read(4) == b"5678"
    with pytest.raises(Exception, match="larger than any"):
        source.read(0)


# -- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["\x1b[2J\x1b]0;x\x07", "<script>alert(1)</script>", "[red]x[/red]", "..", "日本", "a b"])
def test_names_come_through_as_data_and_leave_escaped(name: str, tmp_path: Path) -> None:
    def good_node(file: h5py.File) -> None:
        group = file["node/nodes"].create_group(name)
        group["type"] = "I"
        group["r"] = np.ones(1)

    def bad(file: h5py.File) -> None:
        good_node(file)
        group = file["node/nodes"][name]
        del group["r"]
        group[name] = "text"

    assert name in read_nir_file(write(tmp_path / "a.nir", good_node)).nodes
    error = refused(write(tmp_path / "b.nir", bad))
    assert error.code == "NIRHW-E015" and "\x1b" not in str(error) and "\x07" not in str(error)


def test_path_tricks_stay_names(tmp_path: Path) -> None:
    nodes = {"../../etc/passwd": nir.Scale(scale=np.ones(3)), "x": nir.Scale(scale=np.ones(3))}
    nir.write(tmp_path / "a.nir", nir.NIRGraph(nodes, [("x", "../../etc/passwd")], type_check=False))
    assert sorted(read_nir_file(tmp_path / "a.nir").nodes) == sorted(nodes)


# -- mutants ----------------------------------------------------------------------------------------------------------


def good_files() -> list[bytes]:
    """Return files that differ in what they exercise: plain, packed, nested, new headers, many links."""
    ends = {"in": nir.Input(np.array([3])), "out": nir.Output(np.array([3]))}
    lif = nir.LIF(**LIF, v_reset=np.zeros(3))
    inner = nir.NIRGraph({**ends, "lif": lif}, [("in", "lif"), ("lif", "out")], type_check=False)
    conv = nir.Conv2d(
        input_shape=(8, 8),
        weight=np.ones((4, 2, 3, 3)),
        stride=1,
        padding="same",
        dilation=1,
        groups=1,
        bias=np.ones(4),
    )
    nodes = {**ends, "a/b": conv, "sub": inner, "flat": nir.Flatten({"input": np.array([4, 8, 8])}, 0, -1)}
    many = {f"n{i}": nir.Scale(scale=np.arange(3.0)) for i in range(60)}
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, f"{i}.nir") for i in range(5)]
        nir.write(paths[0], nir.NIRGraph(nodes, [("in", "a/b"), ("sub", "out")], type_check=False))
        nir.write(paths[1], inner, compression=None)
        nir.write(paths[2], nir.NIRGraph(many, [("n0", "n1")] * 40, type_check=False))
        weight = np.arange(900.0).reshape(30, 30)
        options = {"chunks": (7, 7), "compression": "gzip", "shuffle": True, "fletcher32": True}
        write(paths[3], replaced(TAU, data=weight, **options))
        write(paths[4], replaced(TAU, data=weight), libver="latest")
        return [path.read_bytes() for path in paths]


def mutate(data: bytes, dice: random.Random) -> bytes:
    """Return ``data`` with one to eight faults; signatures and fields near them are hit more often than chance."""
    mutant = bytearray(data)
    marks = [i for s in (b"TREE", b"HEAP", b"SNOD", b"GCOL", b"OHDR") if (i := data.find(s, dice.randrange(len(data)))) >= 0]
    words = [0, 1, 2, 7, 255, 65_535, 2**31, 2**32 - 1, 2**63, 2**64 - 1, len(data), len(data) - 8, *marks]
    for _ in range(dice.choice((1, 1, 1, 2, 3, 8))):
        near = dice.choice(marks) + dice.randrange(200) if marks and dice.random() < 0.5 else dice.randrange(len(mutant))
        place = min(near, len(mutant) - 9)
        match dice.randrange(6):
            case 0:
                mutant[place] ^= 1 << dice.randrange(8)
            case 1:
                mutant[place] = dice.randrange(256)
            case 2:
                width = dice.choice((1, 2, 4, 8))
                mutant[place : place + width] = (dice.choice(words) % 256**width).to_bytes(width, "little")
            case 3:
                struct.pack_into("<Q", mutant, place & ~7, dice.choice(words))
            case 4:
                size = dice.randrange(1, 200)
                source = dice.randrange(len(mutant))
                piece = mutant[source : source + size]
                mutant[place : place + len(piece)] = piece
            case _:
                size = dice.randrange(1, 64)
                mutant[place : place + size] = bytes(size)
        if len(mutant) < 64:
            break
    return bytes(mutant[: dice.randrange(64, len(mutant))]) if dice.random() < 0.03 else bytes(mutant)


def run_mutants(n: int, seed: int) -> tuple[Counter[str], float]:
    """Read ``n`` mutants; return the number of each outcome and the longest time of one.

    Raises:
        BaseException: whatever a read raises that is no :class:`NirhwError`.
    """
    dice = random.Random(seed)
    files = good_files()
    outcomes: Counter[str] = Counter()
    longest = 0.0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "mutant.nir")
        for _ in range(n):
            path.write_bytes(mutate(dice.choice(files), dice))
            start = time.monotonic()
            try:
                outcomes["graph" if isinstance(read_nir_file(path), RawGraph) else "other"] += 1
            except NirhwError as found:
                outcomes[found.code] += 1
            longest = max(longest, time.monotonic() - start)
    return outcomes, longest


def test_mutants_end_in_an_error_or_a_graph() -> None:
    number = int(os.environ.get("NIRHW_MUTANTS", "1500"))
    outcomes, longest = run_mutants(number, seed=0)
    print(f"\n{number} mutants: {dict(sorted(outcomes.items()))}, the longest took {longest:.3f} s")
    assert sum(outcomes.values()) == number and outcomes["other"] == 0
    assert outcomes["graph"] > number / 20 and outcomes["NIRHW-E010"] > number / 20
    assert longest < Budget().seconds + 1


def test_mutants_from_threads_other_than_the_main_one() -> None:
    assert threading.current_thread() is threading.main_thread()
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(run_mutants, (150, 150), (1, 2)))
    assert all(sum(outcomes.values()) == 150 and longest < Budget().seconds + 1 for outcomes, longest in results)


def test_mutants_keep_memory_bounded() -> None:
    pytest.importorskip("resource")
    code = (
        "import sys, resource; sys.path.insert(0, sys.argv[1]); import test_nir_file_hostile as t; t.good_files()\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; t.run_mutants(300, 3)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    unit = 1 if sys.platform == "darwin" else 1024
    assert int(done.stdout) * unit < 300 * MIB
