"""The raw graph: a NIR graph as plain data, before anything is understood of it.

Files (:mod:`nirhw.nir_file`) and :class:`nir.NIRGraph` objects both become a :class:`RawGraph`; everything after that
is shared.  Values are numpy arrays, Python numbers or strings exactly as they were written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np

from nirhw.diagnostics import error

DERIVED_FIELDS = frozenset({"input_type", "output_type", "metadata"})
MAX_DEPTH = 32


@dataclass(frozen=True)
class RawNode:
    """A node that is not a graph.

    Attributes:
        kind: the NIR type, such as ``"CubaLIF"``.
        fields: its fields as written, by name (``Input`` and ``Output`` hold ``shape``; ``Flatten`` holds
            ``input_type`` as a shape).
    """

    kind: str
    fields: Mapping[str, Any]


@dataclass(frozen=True)
class RawGraph:
    """A graph or sub-graph.

    Attributes:
        nodes: nodes and sub-graphs by name.
        edges: pairs of node names, in the order in which they were written.
        version: version of the ``nir`` package that wrote the file, where known.
    """

    nodes: Mapping[str, RawNode | RawGraph]
    edges: tuple[tuple[str, str], ...]
    version: str | None = None


def raw_from_nir(graph: Any) -> RawGraph:
    """Return the raw form of a ``nir.NIRGraph``; arrays are shared, not copied.

    Raises:
        ReadError: NIRHW-E011 where ``graph`` is not a NIR graph, NIRHW-E014 for objects that are no NIR nodes,
            NIRHW-E013 where sub-graphs nest deeper than 32 levels (a graph that contains itself, for instance).
    """
    if type(graph).__name__ != "NIRGraph" or not hasattr(graph, "nodes"):
        raise error(
            "NIRHW-E011",
            f"expected a nir.NIRGraph or a path, got {type(graph).__name__}",
            fix="pass the graph itself, or the path of a .nir file",
        )
    return _raw_graph(graph, prefix="", depth=0)


def _raw_graph(graph: Any, prefix: str, depth: int) -> RawGraph:
    if depth > MAX_DEPTH:
        raise error("NIRHW-E013", f"sub-graphs nest deeper than {MAX_DEPTH} levels", [prefix.rstrip(".")])
    nodes: dict[str, RawNode | RawGraph] = {}
    for name, node in graph.nodes.items():
        kind = type(node).__name__
        if kind == "NIRGraph":
            nodes[_name(name)] = _raw_graph(node, f"{prefix}{name}.", depth + 1)
        elif is_dataclass(node):
            nodes[_name(name)] = RawNode(kind, _fields_of(kind, node))
        else:
            raise error("NIRHW-E014", f"a node is no NIR node but {kind}", [f"{prefix}{name}"])
    edges = tuple((_name(a), _name(b)) for a, b in graph.edges)
    return RawGraph(nodes, edges)


def _name(name: Any) -> str:
    """Return a node's name; the Lava-DL converter numbers nodes and writes bytes into edges."""
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)


def _fields_of(kind: str, node: Any) -> dict[str, Any]:
    values = {f.name: getattr(node, f.name) for f in fields(node) if f.name not in DERIVED_FIELDS}
    if kind == "Input":
        values["shape"] = next(iter(node.input_type.values()))
    elif kind == "Output":
        values["shape"] = next(iter(node.output_type.values()))
    elif kind == "Flatten":
        values["input_type"] = next(iter((node.input_type or {}).values()), None)
    elif kind in ("Conv1d", "Conv2d") and values.get("bias") is None:
        values["bias"] = np.zeros(1)  # Spyx and the Lava-DL converter leave it out
    return {k: np.asarray(v) if isinstance(v, list | tuple) and k != "padding" else v for k, v in values.items()}
