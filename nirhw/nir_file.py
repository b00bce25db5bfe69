"""Reads NIR files (nir 0.1 to 1.0.8) into a :class:`~nirhw.raw.RawGraph`, whatever stands in them.

This is syntax only: which node types and fields exist, and what their values may be, is judged later.  How files are
kept from looping, filling memory or reaching other files is told in :mod:`nirhw.hdf5_guard`.

A NIR file holds ``version`` (text) and the group ``node``.  Every node is a group with ``type`` (text) and one dataset
a field; a graph has the group ``nodes`` and the dataset ``edges`` (N pairs of names).  ``metadata`` is not read.
"""

from __future__ import annotations

import os
import stat
import time
from typing import Any

from nirhw.diagnostics import NirhwError, error
from nirhw.hdf5_guard import DEFAULT, Budget, Hdf5Reader, Header
from nirhw.raw import MAX_DEPTH, RawGraph, RawNode

__all__ = ["DEFAULT", "Budget", "read_nir_file"]


def read_nir_file(path: str | os.PathLike[str], budget: Budget = DEFAULT) -> RawGraph:
    """Return the graph that the file at ``path`` holds.

    Values are arrays and scalars of numpy that own their memory, in native byte order, and ``str`` for ``padding``.
    Nodes stand in the file's order, which is alphabetical.  A node whose name holds slashes, which nir writes as nested
    groups and cannot read back, keeps its name.

    Args:
        path: the file.
        budget: what reading may cost.

    Raises:
        UsageError: NIRHW-E005 where the path names no file that can be opened.
        ReadError: NIRHW-E010 where the file is damaged or not HDF5, NIRHW-E011 where it holds no NIR graph,
            NIRHW-E012 where it links to other places or is packed in unusual ways, NIRHW-E013 where it exceeds the
            budget, NIRHW-E015 where a field, a node's ``type`` or the ``edges`` have the wrong form.
    """
    deadline = time.monotonic() + budget.seconds
    reader = Hdf5Reader(_bytes_of(path, budget), budget, deadline)
    try:
        return _root_graph(reader)
    except NirhwError:
        raise
    except Exception as cause:
        # pyfive raises whatever its bytes make it raise: KeyError, struct.error, AssertionError, OverflowError ...
        raise reader.failure(cause) from cause


def _bytes_of(path: str | os.PathLike[str], budget: Budget) -> bytes:
    """Return the content of a regular file."""
    try:
        name = os.fspath(path)
        # looked at before it is opened, as opening a device can have effects and opening a pipe waits for a writer
        if not stat.S_ISREG(os.stat(name).st_mode):
            raise OSError("it is a directory, a pipe or a device, not a file")
        descriptor = os.open(name, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except (OSError, TypeError, ValueError) as cause:
        raise _unusable(path, str(cause)) from cause
    with open(descriptor, "rb") as file:
        size = os.fstat(descriptor).st_size
        if size > budget.file_bytes:
            raise error(
                "NIRHW-E013",
                f"the file has {size:,} bytes",
                why=f"the reading budget allows {budget.file_bytes:,}",
                fix="if the file can be trusted, read it with a larger nirhw.nir_file.Budget",
            )
        try:
            return file.read(size)
        except (OSError, MemoryError) as cause:
            raise _unusable(path, str(cause) or "out of memory") from cause


def _unusable(path: object, why: str) -> NirhwError:
    return error("NIRHW-E005", f"'{path}' cannot be read", why=why, fix="pass the path of a .nir file")


def _root_graph(reader: Hdf5Reader) -> RawGraph:
    members = reader.links(reader.root())
    if "node" not in members:
        raise reader.refusal("NIRHW-E011", "the file has no group 'node' at its root", fix="pass a file of nir.write")
    version = _text(reader, members["version"], "version") if "version" in members else None
    header = reader.open(members["node"])
    if not header.is_group:
        raise reader.refusal("NIRHW-E011", "'node' is no group", fix="pass a file of nir.write")
    fields = reader.links(header)
    kind = _kind(reader, fields)
    if kind != "NIRGraph":
        raise reader.refusal(
            "NIRHW-E011",
            f"the file holds a single {kind}, not a graph",
            fix="wrap the node: nir.NIRGraph.from_list(node)",
        )
    graph = _graph(reader, fields, prefix="", depth=0)
    return RawGraph(graph.nodes, graph.edges, version)


def _kind(reader: Hdf5Reader, fields: dict[str, int]) -> str:
    if "type" not in fields:
        raise reader.refusal("NIRHW-E015", "a node has no field 'type'", fix="write the graph again with nir.write")
    return _text(reader, fields["type"], "type")


def _graph(reader: Hdf5Reader, fields: dict[str, int], prefix: str, depth: int) -> RawGraph:
    """Return the graph whose members are ``fields``; ``prefix`` is its name and a dot, or empty for the outermost."""
    unknown = fields.keys() - {"type", "nodes", "edges", "metadata"}
    missing = {"nodes", "edges"} - fields.keys()
    if unknown or missing:
        found = f"lacks {sorted(missing)}" if missing else f"has the unknown fields {sorted(unknown)[:6]}"
        raise reader.refusal("NIRHW-E015", f"a graph {found}")
    owner = reader.node
    edges = _edges(reader, fields["edges"])
    group = reader.open(fields["nodes"])
    if not group.is_group:
        raise reader.refusal("NIRHW-E015", "the field 'nodes' of a graph is no group")
    nodes: dict[str, RawNode | RawGraph] = {}
    _collect(reader, nodes, reader.links(group, lambda name: prefix + name), prefix, "", depth)
    reader.node = owner
    return RawGraph(nodes, edges)


def _collect(
    reader: Hdf5Reader,
    nodes: dict[str, RawNode | RawGraph],
    members: dict[str, int],
    prefix: str,
    path: str,
    depth: int,
) -> None:
    """Read ``members`` into ``nodes``; a group without a type that holds only groups is the first part of names.

    Args:
        reader: the reading.
        nodes: nodes read so far, by name.
        members: addresses of groups, by name.
        prefix: name of the graph and a dot, or empty for the outermost.
        path: first part of the members' names, with a slash at its end, or empty.
        depth: how many groups lie above.
    """
    if depth > MAX_DEPTH:
        raise reader.refusal("NIRHW-E013", f"nodes and sub-graphs nest deeper than {MAX_DEPTH} levels")
    for part, address in members.items():
        name = path + part
        reader.node = prefix + name
        header = reader.open(address)
        if not header.is_group:
            reader.node = prefix + (path.removesuffix("/") or part)
            what = "a node has no field 'type'" if path else "a node is no group"
            raise reader.refusal("NIRHW-E015", what, fix="write the graph again with nir.write")
        fields = reader.links(header)
        if fields and "type" not in fields:
            reader.count("nodes", len(fields))
            _collect(reader, nodes, fields, prefix, f"{name}/", depth + 1)
            continue
        kind = _kind(reader, fields)
        if kind == "NIRGraph":
            nodes[name] = _graph(reader, fields, f"{prefix}{name}.", depth + 1)
        else:
            nodes[name] = RawNode(kind, _values(reader, fields))


def _values(reader: Hdf5Reader, fields: dict[str, int]) -> dict[str, Any]:
    """Return the values of a node's fields; texts are allowed for ``padding`` only."""
    values: dict[str, Any] = {}
    for field, address in fields.items():
        if field in ("type", "metadata"):
            continue
        header = _dataset(reader, address, field)
        if field == "padding" and header.is_text:
            values[field] = _single_text(reader, header)
        else:
            array = reader.array(header)
            values[field] = array if array.ndim else array[()]
        reader.field = ""
    return values


def _edges(reader: Hdf5Reader, address: int) -> tuple[tuple[str, str], ...]:
    header = _dataset(reader, address, "edges")
    shape = header.shape or ()
    if 0 not in shape:  # h5py writes an empty list as an empty array of floats
        if len(shape) != 2 or shape[1] != 2:
            raise reader.refusal("NIRHW-E015", f"the shape is {shape}", "a list of pairs of node names is expected")
        reader.count("edges", shape[0])
    names = [] if 0 in shape else reader.texts(header)[1]
    reader.field = ""
    return tuple(zip(names[::2], names[1::2], strict=True))


def _text(reader: Hdf5Reader, address: int, field: str) -> str:
    text = _single_text(reader, _dataset(reader, address, field))
    reader.field = ""
    return text


def _single_text(reader: Hdf5Reader, header: Header) -> str:
    if header.shape != ():
        raise reader.refusal("NIRHW-E015", "a single text is expected", f"the shape is {header.shape}")
    return reader.texts(header)[1][0]


def _dataset(reader: Hdf5Reader, address: int, field: str) -> Header:
    """Return the header of a field of the node being read, and make errors name that field."""
    reader.field = field
    header = reader.open(address)
    if not header.is_dataset:
        raise reader.refusal("NIRHW-E015", "a dataset is expected, but a group or a datatype is stored")
    return header
