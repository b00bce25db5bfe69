"""From the raw graph to a flat one whose nodes are checked: fields, values, edges and shapes.

Sub-graphs are inlined under dotted names (``"outer.inner"``); their Input and Output nodes become junctions that only add up
what arrives.  Shapes are inferred here, independently of the ``nir`` package, whose own inference is wrong for non-square
kernels, "same" padding with a stride and grouped convolutions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirhw.diagnostics import Diagnostic, error_of, printable
from nirhw.operators import Pads, Shape, size_of, windows
from nirhw.raw import RawGraph, RawNode

#: fields of every NIR primitive (nir 1.0.8): (numeric and required, numeric and optional)
NEURON_FIELDS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "I": (("r",), ()),
    "IF": (("r", "v_threshold"), ("v_reset",)),
    "LI": (("tau", "r", "v_leak"), ()),
    "LIF": (("tau", "r", "v_leak", "v_threshold"), ("v_reset",)),
    "CubaLI": (("tau_syn", "tau_mem", "r", "v_leak"), ("w_in",)),
    "CubaLIF": (("tau_syn", "tau_mem", "r", "v_leak", "v_threshold"), ("v_reset", "w_in")),
    "Threshold": (("threshold",), ()),
    "Delay": (("delay",), ()),
    "Scale": (("scale",), ()),
}
LAYOUT_FIELDS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "Input": (("shape",), ()),
    "Output": (("shape",), ()),
    "Linear": (("weight",), ()),
    "Affine": (("weight", "bias"), ()),
    "Conv1d": (("weight", "stride", "padding", "dilation", "groups", "bias"), ("input_shape",)),
    "Conv2d": (("weight", "stride", "padding", "dilation", "groups", "bias"), ("input_shape",)),
    "SumPool2d": (("kernel_size", "stride", "padding"), ()),
    "AvgPool2d": (("kernel_size", "stride", "padding"), ()),
    "Flatten": ((), ("input_type", "start_dim", "end_dim")),
}
FIELDS = {**NEURON_FIELDS, **LAYOUT_FIELDS}
SPIKING_KINDS = frozenset({"IF", "LIF", "CubaLIF", "Threshold"})
STATE_KINDS = frozenset({"I", "IF", "LI", "LIF", "CubaLI", "CubaLIF"})
TIME_CONSTANTS = frozenset({"tau", "tau_syn", "tau_mem"})
#: a plane axis or a kernel beyond this is a mistake, not a network
MAX_AXIS = 1 << 24


@dataclass(frozen=True)
class Node:
    """A checked node of the flat graph.

    Attributes:
        name: dotted path.
        kind: NIR type, or ``"Junction"`` for the ports of an inlined sub-graph.
        values: float64 arrays by field; layout fields as ints or tuples.
        in_shape, out_shape: set by :func:`infer_shapes`.
    """

    name: str
    kind: str
    values: Mapping[str, Any]
    in_shape: Shape = ()
    out_shape: Shape = ()


@dataclass(frozen=True)
class FlatGraph:
    """A flat NIR graph: nodes by dotted name, edges between them, warnings met so far."""

    nodes: Mapping[str, Node]
    edges: tuple[tuple[str, str], ...]
    findings: tuple[Diagnostic, ...] = ()

    def neighbours(self) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
        """Return predecessors and successors by node name."""
        before: dict[str, list[str]] = defaultdict(list)
        after: dict[str, list[str]] = defaultdict(list)
        for source, target in self.edges:
            before[target].append(source)
            after[source].append(target)
        return before, after


def flatten_graph(raw: RawGraph) -> FlatGraph:
    """Inline sub-graphs, check every node and infer all shapes.

    Raises:
        ReadError: NIRHW-E014 to E018, all findings of the step that failed.
    """
    found: list[Diagnostic] = []
    nodes: dict[str, Node] = {}
    edges: list[tuple[str, str]] = []
    _inline(raw, "", nodes, edges, found)
    if any(d.is_error for d in found):
        raise error_of(found)
    return infer_shapes(FlatGraph(nodes, tuple(edges), tuple(found)))


# -- structure -----------------------------------------------------------------------------------------------------------


def _inline(raw: RawGraph, prefix: str, nodes: dict[str, Node], edges: list[tuple[str, str]], found: list[Diagnostic]) -> None:
    for name, node in raw.nodes.items():
        path = prefix + name
        if isinstance(node, RawGraph):
            _inline(node, path + ".", nodes, edges, found)
        elif path in nodes:
            found.append(Diagnostic("NIRHW-E011", "two nodes have the same dotted name", (path,), fix="rename one"))
        else:
            nodes[path] = _checked(path, node, inner=bool(prefix), found=found)
    seen: set[tuple[str, str]] = set()
    for source, target in raw.edges:
        missing = [n for n in (source, target) if n not in raw.nodes]
        if missing:
            found.append(_edge_error(prefix, source, target, f"'{printable(missing[0])}' is not a node of this graph"))
        elif (source, target) in seen:
            found.append(_edge_error(prefix, source, target, "it is written twice; parallel edges have no meaning in NIR"))
        else:
            seen.add((source, target))
            against = None if prefix else _against(raw, source, target)
            if against:
                found.append(_edge_error(prefix, source, target, against))
                continue
            ends = _end(raw, prefix, source, "Output"), _end(raw, prefix, target, "Input")
            for end, name in zip(ends, (source, target), strict=True):
                if end is None:
                    what = f"sub-graph '{printable(name)}' has not exactly one port on that side"
                    found.append(_edge_error(prefix, source, target, what))
            if ends[0] is not None and ends[1] is not None:
                edges.append((ends[0], ends[1]))


def _against(raw: RawGraph, source: str, target: str) -> str | None:
    """Return why an edge between nodes of the outermost graph runs the wrong way through its boundary."""
    first, second = raw.nodes[source], raw.nodes[target]
    if isinstance(first, RawNode) and first.kind == "Output":
        return f"'{printable(source)}' is an Output, nothing follows it"
    if isinstance(second, RawNode) and second.kind == "Input":
        return f"'{printable(target)}' is an Input, it is fed from outside alone"
    return None


def _end(raw: RawGraph, prefix: str, name: str, kind: str) -> str | None:
    """Return the flat node that an edge to or from ``name`` reaches; the port where that is a sub-graph."""
    node = raw.nodes[name]
    if not isinstance(node, RawGraph):
        return prefix + name
    ports = [k for k, inner in node.nodes.items() if isinstance(inner, RawNode) and inner.kind == kind]
    return f"{prefix}{name}.{ports[0]}" if len(ports) == 1 else None


def _edge_error(prefix: str, source: str, target: str, why: str) -> Diagnostic:
    return Diagnostic(
        "NIRHW-E017",
        "an edge cannot be followed",
        (prefix + source, prefix + target),
        why,
        "repair the edge list and export again",
    )


# -- fields and values ---------------------------------------------------------------------------------------------------


def _checked(path: str, node: RawNode, inner: bool, found: list[Diagnostic]) -> Node:
    if node.kind not in FIELDS:
        known = ", ".join(sorted(FIELDS))
        found.append(
            Diagnostic("NIRHW-E014", f"node type '{printable(node.kind)}' is unknown", (path,), f"nir 1.0.8 has {known}")
        )
        return Node(path, node.kind, {})
    required, optional = FIELDS[node.kind]
    given = {k: v for k, v in node.fields.items() if v is not None}
    known_before = len(found)
    for name in required:
        if name not in given:
            found.append(Diagnostic("NIRHW-E015", f"{node.kind} lacks its field '{name}'", (path,)))
    for name in sorted(given.keys() - set(required) - set(optional)):
        found.append(Diagnostic("NIRHW-E015", f"{node.kind} has no field '{printable(name)}'", (path,)))
    kind = "Junction" if inner and node.kind in ("Input", "Output") else node.kind
    values: dict[str, Any] = {}
    for name in (*required, *optional):
        if name in given:
            try:
                values[name] = _value(node.kind, name, given[name])
            except _Unfit as reason:
                found.append(Diagnostic(reason.code, f"field '{name}' {reason}", (path,)))
    if len(found) == known_before:
        found.extend(_rule_findings(path, node.kind, values))
    return Node(path, kind, values)


class _Unfit(Exception):
    """A field's value that cannot be used; becomes a finding."""

    def __init__(self, reason: str, code: str = "NIRHW-E016"):
        super().__init__(reason)
        self.code = code


def _numeric(value: Any) -> NDArray[np.float64]:
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):
        raise _Unfit("holds no array of numbers", "NIRHW-E015") from None
    if array.dtype.kind not in "biuf":
        raise _Unfit(f"holds {array.dtype} data instead of real numbers", "NIRHW-E015")
    if array.dtype != np.float64 or array.flags.writeable:
        array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise _Unfit("holds NaN or infinite values")
    array.flags.writeable = False
    return array


def _integers(value: Any, lowest: int, what: str) -> Shape:
    array = _numeric(value).ravel()
    if np.any(array != np.floor(array)) or np.any(array < lowest) or np.any(array > MAX_AXIS):
        raise _Unfit(f"must hold whole numbers from {lowest} to {MAX_AXIS} ({what})")
    return tuple(int(x) for x in array)


def _integer(value: Any, lowest: int, what: str) -> int:
    numbers = _integers(value, lowest, what)
    if len(numbers) != 1:
        raise _Unfit(f"holds {len(numbers)} numbers instead of one ({what})")
    return numbers[0]


def _value(kind: str, name: str, value: Any) -> Any:
    if name in ("shape", "input_type"):
        shape = _integers(value, 1, "a shape")
        if len(shape) > 8 or size_of(shape) > 1 << 31:
            raise _Unfit("is no shape a network can have")
        return shape
    if name == "input_shape":
        return _integers(value, 1, "a plane")
    if name in ("stride", "dilation", "kernel_size"):
        return _integers(value, 1, "steps by axis")
    if name == "groups":
        return _integer(value, 1, "a count")
    if name in ("start_dim", "end_dim"):
        return _integer(value, -8, "an axis")
    if name == "padding":
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        if isinstance(value, str) or (isinstance(value, np.ndarray) and value.dtype.kind in "US"):
            text = str(np.asarray(value).item() if np.asarray(value).ndim == 0 else value)
            if text not in ("same", "valid"):
                raise _Unfit(f"is '{printable(text)}', not 'same', 'valid' or numbers")
            return text
        return _integers(value, 0, "zeros by axis")
    array = _numeric(value)
    if array.size == 0:
        raise _Unfit("is empty", "NIRHW-E018")
    if name in TIME_CONSTANTS and not np.all(array > 0):
        raise _Unfit("must be positive (seconds)")
    if name == "delay" and np.any(array < 0):
        raise _Unfit("must not be negative (seconds)")
    return array


def _rule_findings(path: str, kind: str, values: Mapping[str, Any]) -> Iterator[Diagnostic]:
    weight: Any = values.get("weight")
    if weight is not None:
        lowest = {"Conv1d": 3, "Conv2d": 4}.get(kind, 2)
        exact = kind.startswith("Conv")
        if (weight.ndim != lowest) if exact else (weight.ndim < lowest):
            yield Diagnostic("NIRHW-E018", f"weight of {kind} has {weight.ndim} axes, expected {lowest}", (path,))
            return
    if kind == "Affine" and not (
        values["bias"].size in (1, size_of(weight.shape[:-1])) or values["bias"].shape == weight.shape[-2:-1]
    ):
        yield Diagnostic("NIRHW-E018", f"bias {values['bias'].shape} does not fit weight {weight.shape}", (path,))
    if kind in ("Conv1d", "Conv2d"):
        if values["bias"].size not in (1, weight.shape[0]):
            yield Diagnostic("NIRHW-E018", f"bias {values['bias'].shape} does not fit {weight.shape[0]} channels", (path,))
        if weight.shape[0] % values["groups"]:
            yield Diagnostic("NIRHW-E018", f"{weight.shape[0]} channels do not split into {values['groups']} groups", (path,))
    axes = {"Conv1d": 1}.get(kind, 2)
    for name in ("stride", "dilation", "kernel_size", "padding"):
        if name in values and not isinstance(values[name], str) and len(values[name]) not in (1, axes):
            yield Diagnostic("NIRHW-E018", f"{name} has {len(values[name])} entries, expected 1 or {axes}", (path,))
    if kind in STATE_KINDS:
        shapes = {a.shape for a in values.values() if a.size > 1}
        if len(shapes) > 1:
            yield Diagnostic("NIRHW-E018", f"parameters have different shapes: {sorted(shapes)}", (path,))


# -- shapes --------------------------------------------------------------------------------------------------------------


def infer_shapes(graph: FlatGraph) -> FlatGraph:
    """Return the graph with ``in_shape`` and ``out_shape`` on every node.

    Axes that exporters leaked in front of the true shape (batch, time) are dropped where a neighbour fixes the rank; what is
    dropped beyond axes of one is a warning.

    Raises:
        ReadError: NIRHW-E018 with every node whose neighbours disagree, or whose shape nothing determines.
    """
    before, after = graph.neighbours()
    nodes = dict(graph.nodes)
    found: list[Diagnostic] = list(graph.findings)
    known: dict[str, tuple[Shape, Shape]] = {}
    for name, node in nodes.items():
        own = _own_shapes(node)
        if own is not None and node.kind not in ("Input", "Output", "Junction"):
            known[name] = own
    for name, node in nodes.items():
        if node.kind == "Input":
            wanted = _wanted_by([nodes[n] for n in after[name]], known)
            shape = _without_leaked_axes(node.values["shape"] or (1,), wanted, name, found)
            known[name] = (shape, shape)
    _propagate(nodes, before, known, found)
    unknown = [n for n in nodes if n not in known and n not in {d.nodes[0] for d in found if d.nodes and d.is_error}]
    if unknown:
        found.append(
            Diagnostic(
                "NIRHW-E018",
                "the shape cannot be told from the file",
                tuple(unknown[:20]),
                "no Input leads there, or parameters are scalars without a sized neighbour",
                "connect the node, or export parameters of the layer's shape",
            )
        )
    _check_edges(graph.edges, nodes, known, found)
    if any(d.is_error for d in found):
        raise error_of(found)
    shaped = {n: replace(node, in_shape=known[n][0], out_shape=known[n][1]) for n, node in nodes.items()}
    return FlatGraph(shaped, graph.edges, tuple(found))


def _own_shapes(node: Node) -> tuple[Shape, Shape] | None:
    """Return (in, out) where the node's own fields fix both, else None."""
    v = node.values
    if node.kind in ("Linear", "Affine"):
        *lead, out, inner = v["weight"].shape
        return (*lead, inner), (*lead, out)
    if node.kind in NEURON_FIELDS:
        shape = max((a.shape for a in v.values()), key=lambda s: (size_of(s), len(s)))
        return (shape, shape) if size_of(shape) > 1 else None
    return None


def _wanted_by(nodes: list[Node], known: Mapping[str, tuple[Shape, Shape]]) -> Shape | int | None:
    """Return the shape, or at least the rank, that the consumers of an Input ask for."""
    for node in nodes:
        if node.name in known:
            return known[node.name][0]
        if node.kind == "Conv1d":
            return 2
        if node.kind in ("Conv2d", "SumPool2d", "AvgPool2d"):
            return 3
    return None


def _without_leaked_axes(shape: Shape, wanted: Shape | int | None, name: str, found: list[Diagnostic]) -> Shape:
    """Return ``shape`` with leading batch or time axes dropped down to what a neighbour wants, never below rank 1."""
    rank = len(wanted) if isinstance(wanted, tuple) else wanted
    keep = max(1, rank or 1)
    if rank is None:  # nobody fixes the rank: only axes of one can be leaked ones
        return shape
    short = shape
    while len(short) > keep and short[0] == 1:
        short = short[1:]
    if isinstance(wanted, tuple) and len(short) > keep and short[-keep:] == wanted:
        found.append(_leaked(shape, short[-keep:], name))
        short = short[-keep:]
    return short


def _leaked(shape: Shape, used: Shape, name: str) -> Diagnostic:
    return Diagnostic(
        "NIRHW-W006",
        f"shape {shape} holds a leaked batch or time axis, {used} is used",
        (name,),
        "its neighbour has no such axis",
        "export with the sample's shape alone",
    )


def _propagate(
    nodes: Mapping[str, Node], before: Mapping[str, list[str]], known: dict[str, tuple[Shape, Shape]], found: list[Diagnostic]
) -> None:
    """Fill ``known`` from predecessors, until nothing changes."""
    pending = [n for n in nodes if n not in known]
    failed: set[str] = set()
    while pending:
        rest = []
        for name in pending:
            arriving = [known[p][1] for p in before[name] if p in known]
            if name in failed:
                continue
            if not arriving:
                rest.append(name)
                continue
            try:
                known[name] = _shapes_from(nodes[name], max(arriving, key=size_of))
            except _Unfit as reason:
                failed.add(name)
                found.append(Diagnostic("NIRHW-E018", str(reason), (name,)))
        if len(rest) == len(pending):
            break
        pending = rest
    for name in pending:  # single neurons that nothing feeds
        node = nodes[name]
        if node.kind in NEURON_FIELDS:
            shape = max((a.shape for a in node.values.values()), key=len)
            known[name] = (shape or (1,), shape or (1,))


def _shapes_from(node: Node, arriving: Shape) -> tuple[Shape, Shape]:
    v = node.values
    if node.kind in NEURON_FIELDS or node.kind == "Junction":
        return arriving, arriving
    if node.kind == "Output":
        return arriving, arriving
    if node.kind in ("Conv1d", "Conv2d"):
        return _conv_shapes(node, arriving)
    if node.kind in ("SumPool2d", "AvgPool2d"):
        if len(arriving) != 3:
            raise _Unfit(f"pooling needs (C, H, W), {arriving} arrives")
        kernel, stride, padding = (pair(v[k], 2) for k in ("kernel_size", "stride", "padding"))
        plane = tuple(windows(n, k, s, (p, p), 1) for n, k, s, p in zip(arriving[1:], kernel, stride, padding, strict=True))
        if min(plane) < 1:
            raise _Unfit(f"the kernel {kernel} does not fit the plane {arriving[1:]}")
        return arriving, (arriving[0], *plane)
    if node.kind == "Flatten":
        return arriving, _flattened(arriving, v)
    raise _Unfit(f"{node.kind} has no shape")


def pair(value: Shape, axes: int) -> Shape:
    """Return ``value`` by axis: a single entry serves all."""
    return value * axes if len(value) == 1 else value


def conv_pads(node: Node, plane: Shape) -> Pads:
    """Return zeros before and after by axis; "same" pads ``dilation * (kernel - 1)`` in all, the larger half behind."""
    padding, kernel = node.values["padding"], node.values["weight"].shape[2:]
    if padding == "valid":
        return ((0, 0),) * len(plane)
    if padding == "same":
        total = [d * (k - 1) for k, d in zip(kernel, pair(node.values["dilation"], len(plane)), strict=True)]
        return tuple((t // 2, t - t // 2) for t in total)
    return tuple((p, p) for p in pair(padding, len(plane)))


def _conv_shapes(node: Node, arriving: Shape) -> tuple[Shape, Shape]:
    weight, axes = node.values["weight"], node.values["weight"].ndim - 2
    plane = arriving[1:]
    if len(plane) != axes:
        raise _Unfit(f"{node.kind} needs (C{', L' if axes == 1 else ', H, W'}), {arriving} arrives")
    channels, groups = weight.shape[1] * node.values["groups"], node.values["groups"]
    if arriving[0] != channels:
        raise _Unfit(f"weight {weight.shape} with {groups} groups takes {channels} channels, {arriving[0]} arrive")
    written = node.values.get("input_shape")
    if written is not None and pair(written, axes) != plane:
        raise _Unfit(f"input_shape says {written}, {plane} arrives")
    stride, dilation = pair(node.values["stride"], axes), pair(node.values["dilation"], axes)
    out = tuple(
        windows(n, k, s, p, d)
        for n, k, s, p, d in zip(plane, weight.shape[2:], stride, conv_pads(node, plane), dilation, strict=True)
    )
    if min(out) < 1:
        raise _Unfit(f"the kernel {weight.shape[2:]} does not fit the plane {plane}")
    return arriving, (weight.shape[0], *out)


def _flattened(shape: Shape, values: Mapping[str, Any]) -> Shape:
    """Return the shape after Flatten; an axis count that includes a batch axis (start 1 of a written rank) is understood."""
    written = values.get("input_type")
    start, end = values.get("start_dim", 1), values.get("end_dim", -1)
    rank = len(written) if written else len(shape)
    lead = max(0, rank - len(shape))  # leaked axes in front of what arrives
    first = max(0, (start + rank if start < 0 else start) - lead)
    last = (end + rank if end < 0 else end) - lead
    if not 0 <= first <= last < len(shape):
        raise _Unfit(f"cannot flatten axes {start} to {end} of {shape}")
    return (*shape[:first], size_of(shape[first : last + 1]), *shape[last + 1 :])


def _check_edges(
    edges: tuple[tuple[str, str], ...],
    nodes: Mapping[str, Node],
    known: dict[str, tuple[Shape, Shape]],
    found: list[Diagnostic],
) -> None:
    for source, target in edges:
        if source not in known or target not in known:
            continue
        out, wanted = known[source][1], known[target][0]
        if out != wanted and _squeezed(out) != _squeezed(wanted):
            found.append(
                Diagnostic(
                    "NIRHW-E018",
                    f"{out} leaves '{printable(source)}', '{printable(target)}' takes {wanted}",
                    (source, target),
                    fix="export with matching shapes; a Flatten node may be missing",
                )
            )
    for name, node in nodes.items():
        if node.kind == "Output" and name in known:
            written = node.values["shape"]
            arriving = known[name][1]
            if _squeezed(written) == _squeezed(arriving):
                continue
            if written[-len(arriving) :] == arriving:
                found.append(_leaked(written, arriving, name))
            else:
                found.append(Diagnostic("NIRHW-E018", f"Output says {written}, {arriving} arrives", (name,)))


def _squeezed(shape: Shape) -> Shape:
    return tuple(n for n in shape if n != 1)
