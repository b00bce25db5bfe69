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
            nodes[str(name)] = _raw_graph(node, f"{prefix}{name}.", depth + 1)
        elif is_dataclass(node):
            nodes[str(name)] = RawNode(kind, _fields_of(kind, node))
        else:
            raise error("NIRHW-E014", f"a node is no NIR node but {kind}", [f"{prefix}{name}"])
    edges = tuple((str(a), str(b)) for a, b in graph.edges)
    return RawGraph(nodes, edges)


def _fields_of(kind: str, node: Any) -> dict[str, Any]:
    values = {f.name: getattr(node, f.name) for f in fields(node) if f.name not in DERIVED_FIELDS}
    if kind == "Input":
        values["shape"] = next(iter(node.input_type.values()))
    elif kind == "Output":
        values["shape"] = next(iter(node.output_type.values()))
    elif kind == "Flatten":
        values["input_type"] = next(iter((node.input_type or {}).values()), None)
    return {k: np.asarray(v) if isinstance(v, list | tuple) and k != "padding" else v for k, v in values.items()}
