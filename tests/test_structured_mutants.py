"""Structured mutants: legal graphs with wrong shapes, types, values and edges end in a coded error or in a legal network."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import nirhw
from nirhw.diagnostics import CODES
from nirhw.nir_graph import FIELDS
from nirhw.nir_reader import Semantics, read_network
from nirhw.raw import RawGraph, RawNode, raw_from_nir
from tests import builders as b

STRANGE: tuple[Any, ...] = (
    None, "text", "same", b"bytes", True, -1, 0, 1e308, float("nan"), float("inf"), 1j, [], [1, [2]], {}, object(),
    np.zeros(0), np.zeros((0, 3)), np.zeros((3, 0)), np.full(6, np.nan), np.full(6, -1.0), np.zeros(6), np.ones((2, 3)),
    np.ones((2, 3, 3, 3)), np.array("x"), np.array(["a", "b"]), np.array([None, 1], dtype=object), np.ones(6, complex),
    np.ones(6, np.float16), np.ones(6, np.uint8), np.ones((1, 1, 6)), np.ones(7), np.array(2.0), np.ones(6, "datetime64[s]"),
)  # fmt: skip


def good() -> RawGraph:
    nodes = {"w": b.linear(6, 4), "n": b.cubalif(6), "rec": b.linear(6, 6, 3), "d": b.lif(6), "o": b.li(6)}
    edges = [("in", "w"), ("w", "n"), ("n", "rec"), ("rec", "n"), ("n", "d"), ("d", "o"), ("o", "out")]
    return raw_from_nir(b.graph(4, 6, nodes, edges))


@st.composite
def mutants(draw: st.DrawFn) -> RawGraph:
    """Return the good graph after one to four structural changes."""
    graph = good()
    nodes, edges = dict(graph.nodes), list(graph.edges)
    names = st.sampled_from([*nodes, "nowhere", "", "a.b", "\x1b[31m"])
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["field", "drop", "extra", "type", "edge", "cut", "twice", "nest", "remove"]))
        name = draw(st.sampled_from(sorted(nodes))) if nodes else ""
        node = nodes.get(name)
        if kind == "edge":
            edges.append((draw(names), draw(names)))
        elif kind == "cut" and edges:
            edges.pop(draw(st.integers(0, len(edges) - 1)))
        elif kind == "twice" and edges:
            edges.append(draw(st.sampled_from(edges)))
        elif kind == "nest":
            nodes[name] = RawGraph(dict(nodes), tuple(edges))
        elif kind == "remove":
            nodes.pop(name, None)
        elif isinstance(node, RawNode):
            fields = dict(node.fields)
            field = draw(st.sampled_from(sorted(fields))) if fields else "tau"
            if kind == "field":
                fields[field] = draw(st.sampled_from(STRANGE))
            elif kind == "drop":
                fields.pop(field, None)
            elif kind == "extra":
                fields["surplus"] = draw(st.sampled_from(STRANGE))
            other = draw(st.sampled_from([*FIELDS, "Quux", ""])) if kind == "type" else node.kind
            nodes[name] = RawNode(other, fields)
    return RawGraph(nodes, tuple(edges))


@settings(max_examples=600, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(mutants(), st.sampled_from([None, b.DT, 1.0]))
def test_mutants_end_in_a_code_or_in_a_legal_network(graph: RawGraph, dt: float | None) -> None:
    try:
        network = read_network(graph, Semantics(dt)).network
    except nirhw.NirhwError as failure:
        assert all(d.code in CODES for d in failure.diagnostics) and failure.diagnostics[0].is_error
        assert "\x1b" not in str(failure)
        return
    network.verify()
    try:
        nirhw.compile(graph, "xylo", dt=dt)
    except nirhw.NirhwError as failure:
        assert failure.code in CODES
