"""From NIR to the IR: paths of linear nodes become projections, neurons become populations in discrete time.

A population is made of every neuron node, Input, and Output that is not simply one population's own signal; also of linear
nodes at which a path cannot be followed further as one projection (see :func:`_anchors`).  Biases of all affine nodes on the
way are carried through the maps behind them and summed at the target's port.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from nirhw.conventions import convention_findings
from nirhw.diagnostics import Deviation, Diagnostic, error
from nirhw.network import Integrator, Ints, Membrane, Network, Onset, Population, Port, Projection, Reset
from nirhw.nir_graph import SPIKING_KINDS, STATE_KINDS, FlatGraph, Node, conv_pads, flatten_graph, pair
from nirhw.operators import (
    Array,
    Convolution,
    Dense,
    Operator,
    Pooling,
    Reshape,
    Scaling,
    Sparse,
    chain,
    frozen,
    identity,
    size_of,
)
from nirhw.raw import RawGraph, raw_from_nir
from nirhw.timestep import infer_dt

RESETS = ("value", "zero", "subtract")
INTEGRATORS = ("euler", "exact", "exponential")
#: a delay of more steps is a mistake
MAX_DELAY = 1 << 20
#: more paths than this into one population are cut by intermediate sums
MAX_PATHS = 256


@dataclass(frozen=True)
class Semantics:
    """What a NIR file leaves open.

    Attributes:
        dt: time step in seconds; None: told by the file's conventions.
        reset: for all nodes, or by NIR node name with "" as the default for the others.
        integrator: how time constants become factors.
    """

    dt: float | None = None
    reset: str | Mapping[str, str] = "value"
    integrator: Integrator = "euler"

    def __post_init__(self) -> None:
        if self.integrator not in INTEGRATORS:
            raise _option_error("integrator", self.integrator, INTEGRATORS)
        for kind in self.reset.values() if isinstance(self.reset, Mapping) else [self.reset]:
            if kind not in RESETS:
                raise _option_error("reset", kind, RESETS)
        if self.dt is not None:
            number = isinstance(self.dt, Real) and not isinstance(self.dt, bool)
            if not (number and np.isfinite(self.dt) and self.dt > 0):
                raise error("NIRHW-E002", f"dt must be a positive number of seconds, got {self.dt!r}")
            object.__setattr__(self, "dt", float(self.dt))

    def reset_of(self, node: str) -> str:
        """Return the reset kind of a node."""
        return self.reset if isinstance(self.reset, str) else self.reset.get(node, self.reset.get("", "value"))


def _option_error(name: str, value: object, known: tuple[str, ...]) -> Exception:
    return error("NIRHW-E002", f"{name} {value!r} is unknown", fix=f"one of {', '.join(known)}")


@dataclass(frozen=True, eq=False)
class ReadResult:
    """A network and what reading it changed."""

    network: Network
    deviations: tuple[Deviation, ...]


def read_raw(graph: Any) -> RawGraph:
    """Return the raw graph of a path or a ``nir.NIRGraph``."""
    if isinstance(graph, str | os.PathLike):
        from nirhw.nir_file import read_nir_file

        return read_nir_file(os.fspath(graph))
    return graph if isinstance(graph, RawGraph) else raw_from_nir(graph)


def read_network(graph: Any, semantics: Semantics | None = None) -> ReadResult:
    """Read a path, a ``nir.NIRGraph`` or a raw graph into the IR.

    Raises:
        ReadError: the file or object is not a legal NIR graph (NIRHW-E01x).
        MeaningError: dt, cycles or ports cannot be settled (NIRHW-E02x).
        UsageError: ``reset`` names a node that does not exist (NIRHW-E002).
    """
    semantics = semantics or Semantics()
    flat = flatten_graph(read_raw(graph))
    return build_network(flat, semantics)


def build_network(flat: FlatGraph, semantics: Semantics) -> ReadResult:
    """Build the IR of a flat graph; see :func:`read_network`."""
    if not isinstance(semantics.reset, str):
        for name in semantics.reset.keys() - {""}:
            if name not in flat.nodes or flat.nodes[name].kind not in SPIKING_KINDS & STATE_KINDS:
                known = ", ".join(n.name for n in flat.nodes.values() if n.kind in SPIKING_KINDS & STATE_KINDS)
                raise error(
                    "NIRHW-E002", f"reset names '{name}', which is no node with a reset", fix=f"nodes with a reset: {known}"
                )
    for kind in ("Input", "Output"):
        if not any(n.kind == kind for n in flat.nodes.values()):
            raise error("NIRHW-E023", f"the graph has no {kind} node", fix=f"add a nir.{kind}, connected to the network")
    dt, findings = (semantics.dt, ()) if semantics.dt else infer_dt(flat)
    return _Builder(flat, replace(semantics, dt=dt), findings).build()


@dataclass(frozen=True)
class _Path:
    """A way from an anchor to another, as met when walking backwards."""

    source: str
    operators: tuple[Operator, ...]
    delay: int
    source_delay: Ints | None
    nodes: tuple[str, ...]


@dataclass
class _Arrivals:
    """What arrives at an anchor: paths from other anchors, and constants."""

    paths: list[_Path] = field(default_factory=list)
    bias: Array | float = 0.0
    onsets: dict[int, Array] = field(default_factory=dict)


class _Builder:
    """Builds one network; holds the walk's tables."""

    def __init__(self, flat: FlatGraph, semantics: Semantics, findings: tuple[Diagnostic, ...]):
        self.flat, self.semantics = flat, semantics
        self.dt: float = semantics.dt or 1.0
        self.findings = [*flat.findings, *findings]
        self.deviations: list[Deviation] = []
        self.before, self.after = flat.neighbours()
        self.delays = {n.name: self._delay_steps(n) for n in flat.nodes.values() if n.kind == "Delay"}
        self.anchors, self.split = _anchors(flat, self.before, self.after, self.delays)
        self.operators: dict[str, Operator] = {}
        self.names: set[str] = set()

    def build(self) -> ReadResult:
        arrivals = {name: self._arrivals(name) for name in self.anchors if self.flat.nodes[name].kind != "Input"}
        outputs = {}
        for node in self.flat.nodes.values():
            if node.kind == "Output":
                outputs[node.name] = self._served_by(node.name, arrivals)
        for name, served in outputs.items():
            if served != name:
                del arrivals[name]
        populations = {
            n: self._population(self.flat.nodes[n], arrivals.get(n)) for n in self.anchors if n in arrivals or self._is_input(n)
        }
        projections = _mark_recurrent(populations, [p for n, a in arrivals.items() for p in self._projections(n, a)])
        order = _step_order(populations, projections)
        inputs = {n: n for n in populations if self._is_input(n)}
        self._warn_of_dead_ends(outputs)
        network = Network(
            {n: populations[n] for n in order},
            tuple(projections),
            inputs,
            outputs,
            {name: self.flat.nodes[name].out_shape for name in outputs},
            self.dt,
            self.semantics.integrator,
            tuple(self.findings),
        )
        network.verify()
        network = replace(network, findings=(*network.findings, *convention_findings(self.flat, network)))
        return ReadResult(network, tuple(self.deviations))

    # -- paths

    def _arrivals(self, target: str) -> _Arrivals:
        found = _Arrivals()
        node = self.flat.nodes[target]
        if node.kind == "Delay":  # an anchored delay: what arrives is late by target neuron
            step = _spread(self.delays[target], size_of(node.in_shape))
        for before in self.before[target]:
            self._walk(before, target, found)
        if node.kind not in STATE_KINDS and node.kind not in ("Output", "Threshold", "Delay"):
            # an anchored linear node works on what arrives at it
            operator = self._operator(node)
            found.paths = [replace(p, operators=(*p.operators, operator), nodes=(*p.nodes, target)) for p in found.paths]
            if isinstance(found.bias, np.ndarray):
                found.bias = operator.apply(found.bias[None])[0]
            found.onsets = {k: operator.apply(v[None])[0] for k, v in found.onsets.items()}
            own = self._bias(node)
            if own is not None:
                found.bias = found.bias + own
        if node.kind == "Delay":
            constants = {**found.onsets, 0: found.bias} if isinstance(found.bias, np.ndarray) else found.onsets
            found.bias, found.onsets = 0.0, {}
            for since, drive in constants.items():
                for k in np.unique(step):
                    late = since + int(k)
                    found.onsets[late] = found.onsets.get(late, 0.0) + np.where(step == k, drive, 0.0)
        return found

    def _walk(self, start: str, target: str, found: _Arrivals) -> None:
        """Follow an edge backwards from ``target``, along every path, up to the anchors."""
        # what is left to visit: a node, and the operators, delay and nodes that lie between it and the target
        ahead: list[tuple[str, tuple[Operator, ...], int, tuple[str, ...]]] = [(start, (), 0, ())]
        while ahead:
            name, operators, delay, nodes = ahead.pop()
            if name in self.anchors:
                found.paths.append(_Path(name, operators, delay, None, nodes))
                continue
            node, nodes = self.flat.nodes[name], (name, *nodes)
            ways = [(operators, delay)]
            if node.kind == "Delay":
                steps = self.delays[name]
                if steps.size == 1 or np.all(steps == steps.flat[0]):
                    ways = [((identity(node.in_shape), *operators), delay + int(steps.flat[0]))]
                elif name in self.split:
                    ways = [((mask, *operators), delay + k) for k, mask in self._delay_classes(node)]
                else:  # _anchors made sure that only anchors come before it
                    by_source = _spread(steps, size_of(node.in_shape)) + delay
                    for before in self.before[name]:
                        found.paths.append(_Path(before, (identity(node.in_shape), *operators), 0, by_source, nodes))
                    continue
            else:
                bias = self._bias(node)
                if bias is not None:
                    arriving = bias[None]
                    for operator in operators:
                        arriving = operator.apply(arriving)
                    if delay:
                        found.onsets[delay] = found.onsets.get(delay, 0.0) + arriving[0]
                    else:
                        found.bias = found.bias + arriving[0]
                ways = [((self._operator(node), *operators), delay)]
            ahead += [(b, o, d, nodes) for o, d in reversed(ways) for b in reversed(self.before[name])]

    def _delay_classes(self, node: Node) -> Iterator[tuple[int, Operator]]:
        """Return for each delay of a node the map that lets through the elements which have it."""
        steps = _spread(self.delays[node.name], size_of(node.in_shape))
        for k in np.unique(steps):
            yield int(k), Scaling(node.in_shape, node.in_shape, factor=frozen(np.where(steps == k, 1.0, 0.0)))

    def _projections(self, target: str, arrivals: _Arrivals) -> Iterator[Projection]:
        node = self.flat.nodes[target]
        held = _spread(self.delays[target], size_of(node.in_shape)) if node.kind == "Delay" else None
        for number, path in enumerate(arrivals.paths):
            shape = node.out_shape
            operator = chain(list(path.operators) or [Reshape(self.flat.nodes[path.source].out_shape, shape)])
            delay, by = np.array(path.delay, np.int64), "all"
            if path.source_delay is not None:
                delay, by = path.source_delay, "source"
            elif held is not None:
                delay, by = held + path.delay, "target"
            name = f"{path.source}->{target}" + (f"#{number}" if number else "")
            while name in self.names:  # node names may hold arrows themselves
                name += "~"
            self.names.add(name)
            port = "in"
            nodes = path.nodes + ((target,) if held is not None else ())
            yield Projection(name, path.source, target, port, operator, frozen(delay, np.int64), by, nodes=nodes)  # type: ignore[arg-type]

    def _served_by(self, output: str, arrivals: Mapping[str, _Arrivals]) -> str:
        """Return the population that is this output: its one source where nothing lies between, else one of its own."""
        found = arrivals[output]
        if len(found.paths) == 1 and not found.onsets and not isinstance(found.bias, np.ndarray):
            (path,) = found.paths
            plain = path.delay == 0 and path.source_delay is None and all(o.is_identity for o in path.operators)
            if plain and not self._is_input(path.source):
                return path.source
        if not found.paths:
            raise error("NIRHW-E023", "nothing arrives at an output", [output], fix="connect it, or leave it out")
        return output

    def _is_input(self, name: str) -> bool:
        return self.flat.nodes[name].kind == "Input"

    def _warn_of_dead_ends(self, outputs: Mapping[str, str]) -> None:
        backwards = nx.DiGraph((b, a) for a, b in self.flat.edges)
        backwards.add_nodes_from(self.flat.nodes)
        alive = set(outputs).union(*(nx.descendants(backwards, o) for o in outputs))
        dead = [n for n in self.flat.nodes if n not in alive]
        if dead:
            self.findings.append(
                Diagnostic(
                    "NIRHW-W003",
                    "nodes lead to no output; a layer or an edge may have been dropped",
                    tuple(dead),
                    "no path of edges ends in an Output node",
                    "check the export, or connect them",
                )
            )

    # -- linear nodes

    def _operator(self, node: Node) -> Operator:
        if node.name not in self.operators:
            self.operators[node.name] = _operator_of(node)
        return self.operators[node.name]

    def _bias(self, node: Node) -> Array | None:
        bias = node.values.get("bias")
        if bias is None or not np.any(bias):
            return None
        if node.kind.startswith("Conv"):
            bias = bias.reshape(-1, *(1,) * (len(node.out_shape) - 1))
        elif bias.size == size_of(node.out_shape):
            bias = bias.reshape(node.out_shape)
        return np.ascontiguousarray(np.broadcast_to(bias, node.out_shape)).ravel()

    def _delay_steps(self, node: Node) -> Ints:
        wanted = node.values["delay"] / self.dt
        if np.any(wanted > MAX_DELAY):
            raise error(
                "NIRHW-E021",
                f"a delay of {float(np.max(node.values['delay'])):.4g} s is {float(np.max(wanted)):.4g} steps",
                [node.name],
                f"more than {MAX_DELAY} steps are taken for a mistake in the unit of delays or of dt",
                "give delays and dt in seconds",
            )
        steps: Ints = np.floor(np.round(wanted, 9) + 0.5).astype(np.int64)
        off = float(np.max(np.abs(steps - wanted), initial=0.0))
        if off > 1e-6:
            self.deviations.append(
                Deviation("rounded", "delay-steps", (node.name,), f"delays round to whole steps, by up to {off:.3g} steps")
            )
        return steps

    # -- populations

    def _population(self, node: Node, arrivals: _Arrivals | None) -> Population:
        shape = node.out_shape
        if arrivals is None:
            return Population(node.name, shape, "input", "spike", nodes=(node.name,))
        size = size_of(shape)
        port = Port(
            "in",
            gain=_filled(1.0, size),
            bias=_filled(arrivals.bias, size),
            onsets=tuple(Onset(_filled_int(k, size), frozen(v)) for k, v in sorted(arrivals.onsets.items())),
        )
        if node.kind in STATE_KINDS or node.kind == "Threshold":
            return self._neurons(node, port)
        return Population(node.name, shape, "sum", "analog", (port,), nodes=(node.name,))

    def _neurons(self, node: Node, port: Port) -> Population:
        shape, size = node.out_shape, size_of(node.out_shape)
        v = {k: _spread(a, size) for k, a in node.values.items()}
        zero, one = _filled(0.0, size), _filled(1.0, size)
        if node.kind == "Threshold":
            membrane = Membrane(zero, one, zero, zero)
        elif "tau" in v or "tau_mem" in v:
            tau = v["tau"] if "tau" in v else v["tau_mem"]
            decay, gain = self._factors(node, tau)
            membrane = Membrane(decay, frozen(gain * v["r"]), frozen(gain * v["v_leak"]), tau)
        else:
            membrane = Membrane(one, frozen(self.dt * v["r"]), zero, _filled(np.inf, size))
        if "tau_syn" in v:
            decay, gain = self._factors(node, v["tau_syn"])
            port = replace(port, decay=decay, gain=frozen(gain * v.get("w_in", one)), tau=v["tau_syn"])
        if node.kind not in SPIKING_KINDS:
            return Population(node.name, shape, "analog", "analog", (port,), membrane, nodes=(node.name,))
        reset: Reset = "none" if node.kind == "Threshold" else self.semantics.reset_of(node.name)  # type: ignore[assignment]
        threshold = v["threshold"] if node.kind == "Threshold" else v["v_threshold"]
        return Population(
            node.name, shape, "spiking", "spike", (port,), membrane, threshold, v.get("v_reset", zero), reset, (node.name,)
        )

    def _factors(self, node: Node, tau: Array) -> tuple[Array, Array]:
        """Return what is kept a step, and the gain of the drive, for a time constant."""
        x = self.dt / tau
        kind = self.semantics.integrator
        if kind == "euler":
            if np.any(x > 1.0 + 1e-9):
                raise error(
                    "NIRHW-E021",
                    f"dt = {self.dt:g} s is longer than a time constant ({np.min(tau):.4g} s)",
                    [node.name],
                    "under the Euler rule a step would overshoot",
                    _tau_mend(self.dt, tau),
                )
            x = np.minimum(x, 1.0)
            return frozen(1.0 - x), frozen(x)
        decay = np.exp(-x)
        return frozen(decay), frozen(1.0 - decay if kind == "exact" else x)


def _tau_mend(dt: float, tau: Array) -> str:
    smallest = float(np.min(tau))
    if smallest < 0.02 * dt:
        return (
            "Norse before its fix multiplies tau by its own dt (0.001 by default): export with dt=1.0, or divide the "
            f"time constants by that dt; or give dt below {smallest:.3g}"
        )
    return f"give dt of at most {smallest:.3g}, or integrator='exact' or 'exponential'"


def _spread(array: NDArray[Any], size: int) -> NDArray[Any]:
    """Return a parameter by element, flat: a single number, of whatever rank, serves all."""
    return frozen(np.full(size, array.item()) if array.size == 1 else array.ravel(), array.dtype)


def _filled(value: Array | float, size: int) -> Array:
    return frozen(np.full(size, value, dtype=np.float64))


def _filled_int(value: int, size: int) -> Ints:
    return frozen(np.full(size, value), np.int64)


def _operator_of(node: Node) -> Operator:
    v, source, target = node.values, node.in_shape, node.out_shape
    if node.kind in ("Linear", "Affine"):
        if v["weight"].ndim == 2:
            return Dense(source, target, weight=v["weight"])
        from scipy.sparse import block_diag

        blocks = v["weight"].reshape(-1, *v["weight"].shape[-2:])
        return Sparse(source, target, weight=block_diag(list(blocks), format="csr"))
    if node.kind in ("Conv1d", "Conv2d"):
        axes = len(source) - 1
        return Convolution(
            source,
            target,
            weight=v["weight"],
            stride=pair(v["stride"], axes),
            pads=conv_pads(node, source[1:]),
            dilation=pair(v["dilation"], axes),
            groups=v["groups"],
        )
    if node.kind in ("SumPool2d", "AvgPool2d"):
        kernel, stride, padding = (pair(v[k], 2) for k in ("kernel_size", "stride", "padding"))
        pads = tuple((p, p) for p in padding)
        return Pooling(source, target, kernel=kernel, stride=stride, pads=pads, average=node.kind == "AvgPool2d")
    if node.kind == "Scale":
        return Scaling(source, target, factor=_spread(v["scale"], size_of(source)))
    return Reshape(source, target)


# -- graph analysis ------------------------------------------------------------------------------------------------------


def _anchors(
    flat: FlatGraph, before: Mapping[str, list[str]], after: Mapping[str, list[str]], delays: Mapping[str, Ints]
) -> tuple[dict[str, None], set[str]]:
    """Return the nodes that become populations, in the file's order, and the delays that are split into their classes.

    Besides neurons, inputs and outputs: delays of a step or more inside a cycle of linear nodes; delays that differ by neuron,
    unless only anchors come right before them; and nodes with several ways in and out where the paths would become too many.

    A delay that differs by neuron and is 0 for some cannot be a population where spikes come round a cycle: an edge there is
    late by ``max(d, 1)`` steps in all, which only the whole path can tell.  It is split into one path for each delay.
    """
    fixed = {n.name for n in flat.nodes.values() if n.kind in STATE_KINDS or n.kind in ("Input", "Output", "Threshold")}
    linear = nx.DiGraph()
    linear.add_nodes_from(n for n in flat.nodes if n not in fixed)
    linear.add_edges_from(e for e in flat.edges if e[0] not in fixed and e[1] not in fixed)
    if not nx.is_directed_acyclic_graph(linear):
        for component in nx.strongly_connected_components(linear):
            if len(component) > 1 or linear.has_edge(*(next(iter(component)),) * 2):
                fixed |= {n for n in component if n in delays and delays[n].min() >= 1}
        linear.remove_nodes_from(fixed & set(linear))
    if not nx.is_directed_acyclic_graph(linear):
        cycle = [a for a, _ in nx.find_cycle(linear)]
        raise error(
            "NIRHW-E022",
            "a cycle has neither a spiking population nor a delay of a step",
            cycle,
            fix="put a neuron or a delay of a step into it",
        )
    uneven = {n for n, d in delays.items() if d.size > 1 and np.any(d != d.flat[0])} - fixed
    split: set[str] = set()
    if uneven:
        held = {n for n in uneven if not before[n] or any(b not in fixed for b in before[n])}
        held |= {n for n in uneven if _reaches(n, held | (fixed & delays.keys()), after, fixed)}
        split = {n for n in held & _in_spiking_cycles(flat) if delays[n].min() < 1}
        fixed |= held - split
    paths: dict[str, int] = {}
    for name in nx.topological_sort(linear):
        if name in fixed:
            continue
        paths[name] = sum(paths.get(b, 1) for b in before[name])
        if name in split:
            paths[name] *= np.unique(delays[name]).size
        if paths[name] > MAX_PATHS and len(after[name]) > 1:
            if name in _in_spiking_cycles(flat):
                raise error(
                    "NIRHW-E013",
                    f"more than {MAX_PATHS} linear paths run through a node inside a cycle",
                    [name],
                    fix="multiply out the linear nodes of the cycle",
                )
            fixed.add(name)
            del paths[name]
    return {n: None for n in flat.nodes if n in fixed}, split


def _reaches(start: str, wanted: set[str], after: Mapping[str, list[str]], stops: set[str]) -> bool:
    """Whether a path of linear nodes leads from ``start`` to one of ``wanted``."""
    ahead, seen = list(after[start]), {start}
    while ahead:
        name = ahead.pop()
        if name in wanted:
            return True
        if name not in seen and name not in stops:
            seen.add(name)
            ahead += after[name]
    return False


def _in_spiking_cycles(flat: FlatGraph) -> set[str]:
    """Return the nodes of strongly connected components that hold a spiking node and a cycle."""
    graph = nx.DiGraph(flat.edges)
    return {
        n
        for c in nx.strongly_connected_components(graph)
        if len(c) > 1 and any(flat.nodes[x].kind in SPIKING_KINDS for x in c)
        for n in c
    }


def _mark_recurrent(populations: Mapping[str, Population], projections: list[Projection]) -> list[Projection]:
    """Make every edge from a spiking population towards its own cycle at least one step late."""
    graph = nx.DiGraph()
    graph.add_nodes_from(populations)
    graph.add_edges_from((p.source, p.target) for p in projections)
    component = {n: k for k, c in enumerate(nx.strongly_connected_components(graph)) for n in c}
    marked = []
    for proj in projections:
        inside = component[proj.source] == component[proj.target]
        if inside and populations[proj.source].rule == "spiking":
            proj = replace(proj, recurrent=True, delay=frozen(np.maximum(proj.delay, 1), np.int64))
        marked.append(proj)
    return marked


def _step_order(populations: Mapping[str, Population], projections: list[Projection]) -> list[str]:
    """Return an order in which every undelayed projection points forward; the file's order decides ties."""
    graph = nx.DiGraph()
    graph.add_nodes_from(populations)
    graph.add_edges_from((p.source, p.target) for p in projections if p.min_delay == 0)
    rank = {n: k for k, n in enumerate(populations)}
    try:
        return list(nx.lexicographical_topological_sort(graph, key=rank.__getitem__))
    except nx.NetworkXUnfeasible:
        cycle = [a for a, _ in nx.find_cycle(graph)]
    raise error(
        "NIRHW-E022",
        "a cycle has neither a spiking population nor a delay of a step",
        cycle,
        "its value within one step would depend on itself",
        "put a spiking neuron, or a Delay of at least dt, into the cycle",
    )
