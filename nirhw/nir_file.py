"""Reads NIR files (nir 0.1 to 1.0.8) into a :class:`~nirhw.raw.RawGraph`, whatever stands in them.

This is syntax only: which node types and fields exist, and what their values may be, is judged later.  How files are
kept from looping, filling memory or reaching other files is told in :mod:`nirhw.hdf5_guard`.

A NIR file holds ``version`` (text) and the group ``node``.  Every node is a group with ``type`` (text) and one dataset a
field; a graph has the group ``nodes`` and the dataset ``edges`` (N pairs of names).  ``metadata`` is not read.
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
    Nodes stand in the file's order, which is alphabetical. A node whose name holds slashes, which nir writes as nested
    groups and cannot read, keeps its name.

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
        # looked at before it is opened, as opening a device can have effects; and without waiting for a pipe's writer
        regular = stat.S_ISREG(os.stat(path).st_mode)
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)) if regular else -1
    except (OSError, ValueError) as cause:
        raise _unusable(path, str(cause)) from cause
    if not regular:
        raise _unusable(path, "it is a directory, a pipe or a device, not a file")
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
        except OSError as cause:
            raise _unusable(path, str(cause)) from cause


def _unusable(path: object, why: str) -> NirhwError:
    return error("NIRHW-E005", f"'{os.fspath(path)!s}' cannot be read", why=why, fix="pass the path of a .nir file")


def _root_graph(reader: Hdf5Reader) -> RawGraph:
    members = reader.links(reader.root())
    if "node" not in members:
        raise reader.refusal("NIRHW-E011", "the file has no group 'node' at its root", fix="pass a file of nir.write")
    version = _text(reader, reader.open(members["version"]), "version") if "version" in members else None
    header = reader.open(members["node"])
    fields = reader.links(header) if header.is_group else {}
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
    return _text(reader, reader.open(fields["type"]), "type")


def _graph(reader: Hdf5Reader, fields: dict[str, int], prefix: str, depth: int) -> RawGraph:
    """Return the graph whose members are ``fields``; ``prefix`` is its name and a dot, or empty for the outermost."""
    unknown = fields.keys() - {"type", "nodes", "edges", "metadata"}
    missing = {"nodes", "edges"} - fields.keys()
    if unknown or missing:
        found = f"lacks {sorted(missing)}" if missing else f"has the unknown fields {sorted(unknown)[:6]}"
        raise reader.refusal("NIRHW-E015", f"a graph {found}")
    owner = reader.node
    group = reader.open(fields["nodes"])
    if not group.is_group:
        raise reader.refusal("NIRHW-E015", "the field 'nodes' of a graph is no group")
    edges = _edges(reader, reader.open(fields["edges"]))
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
    """Read ``members`` into ``nodes``; a group without a type that holds only groups is a part of a name."""
    if depth > MAX_DEPTH:
        raise reader.refusal("NIRHW-E013", f"sub-graphs nest deeper than {MAX_DEPTH} levels")
    reader.count("nodes", len(members))
    for part, address in members.items():
        name = path + part
        reader.node = prefix + name
        header = reader.open(address)
        if not header.is_group:
            raise reader.refusal("NIRHW-E015", "a node is no group, or a group above it has no field 'type'")
        fields = reader.links(header)
        if "type" not in fields and fields:
            _collect(reader, nodes, fields, prefix, f"{name}/", depth + 1)
            continue
        kind = _kind(reader, fields)
        if kind == "NIRGraph":
            nodes[name] = _graph(reader, fields, f"{prefix}{name}.", depth + 1)
        else:
            values = {f: _value(reader, reader.open(a), f) for f, a in fields.items() if f not in ("type", "metadata")}
            nodes[name] = RawNode(kind, values)


def _edges(reader: Hdf5Reader, header: Header) -> tuple[tuple[str, str], ...]:
    if not header.is_dataset:
        raise reader.refusal("NIRHW-E015", "the field 'edges' of a graph is no dataset")
    if 0 in (header.parsed.shape or ()):  # h5py writes an empty list as an empty array of floats
        return ()
    shape, names = reader.texts(header)
    if len(shape) != 2 or shape[1] != 2:
        raise reader.refusal("NIRHW-E015", f"the edges have the shape {shape}", "a list of pairs of names is expected")
    reader.count("edges", shape[0])
    return tuple(zip(names[::2], names[1::2], strict=True))


def _value(reader: Hdf5Reader, header: Header, field: str) -> Any:
    """Return the value of a field; texts are allowed for ``padding`` only."""
    if not header.is_dataset:
        raise reader.refusal("NIRHW-E015", f"the field '{field}' is no dataset but a group or a datatype")
    if field == "padding" and header.is_text:
        return _text(reader, header, field)
    try:
        return reader.array(header)[()]
    except NirhwError as cause:
        raise _in_field(cause, field) from None


def _text(reader: Hdf5Reader, header: Header, field: str) -> str:
    if not header.is_dataset:
        raise reader.refusal("NIRHW-E015", f"the field '{field}' is no dataset but a group or a datatype")
    shape, texts = reader.texts(header)
    if shape != ():
        raise reader.refusal("NIRHW-E015", f"the field '{field}' holds {len(texts)} texts instead of one")
    return texts[0]
