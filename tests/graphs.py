"""Random legal NIR graphs that use every primitive, for tests that compare two ways of computing them.

Parameters lie on a coarse dyadic grid (weights in eighths, time constants of ``dt * 2**k``, dt a power of two), so that adding
in another order cannot turn a strict comparison with a threshold.  A graph is drawn from a :class:`Dice`: from a seed, or from
hypothesis, which then shrinks what fails.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import nir
import numpy as np
from hypothesis import strategies as st

DT = 2.0**-10
T = TypeVar("T")
Shape = tuple[int, ...]

SPIKING = ("IF", "LIF", "CubaLIF", "Threshold")
STATEFUL = ("I", "LI", "IF", "LIF", "CubaLI", "CubaLIF")


class Dice:
    """Random choices from a seed."""

    def __init__(self, seed: int):
        self._random = random.Random(seed)

    def integer(self, low: int, high: int) -> int:
        """Return a whole number, both ends included."""
        return self._random.randint(low, high)

    def integers(self, low: int, high: int, count: int) -> list[int]:
        """Return ``count`` of them."""
        return [self._random.randint(low, high) for _ in range(count)]

    def pick(self, options: Sequence[T]) -> T:
        """Return one of ``options``."""
        return options[self.integer(0, len(options) - 1)]

    def chance(self, percent: int) -> bool:
        """Return True in so many of 100 cases."""
        return self.integer(0, 99) >= 100 - percent

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """Return the items in another order."""
        rest = list(items)
        return [rest.pop(self.integer(0, len(rest) - 1)) for _ in items]


class DrawnDice(Dice):
    """Choices that hypothesis makes, and shrinks."""

    def __init__(self, draw: Callable[[st.SearchStrategy[Any]], Any]):
        self._draw = draw

    def integer(self, low: int, high: int) -> int:
        return self._draw(st.integers(low, high))

    def integers(self, low: int, high: int, count: int) -> list[int]:
        return self._draw(st.lists(st.integers(low, high), min_size=count, max_size=count))


@dataclass
class Case:
    """A graph with how it is to be read and what is fed in.

    Attributes:
        graph: the ``nir.NIRGraph``.
        reset, integrator: reading options; dt is ``DT``.
        spikes: counts ``[time, size]`` by Input.
        output_shapes: what each Output says.
    """

    graph: nir.NIRGraph
    reset: str | dict[str, str]
    integrator: str
    spikes: dict[str, np.ndarray]
    output_shapes: dict[str, Shape]

    @property
    def kinds(self) -> set[str]:
        """Node types that occur, at any depth."""
        return kinds_of(self.graph)

    def __repr__(self) -> str:
        lines = [f"reset={self.reset!r} integrator={self.integrator!r}", *describe(self.graph)]
        return "\n".join([*lines, *(f"spikes[{n}]={s.tolist()}" for n, s in self.spikes.items())])


def kinds_of(graph: nir.NIRGraph) -> set[str]:
    """Return the node types of a graph and its sub-graphs."""
    found: set[str] = set()
    for node in graph.nodes.values():
        found.add(type(node).__name__)
        if isinstance(node, nir.NIRGraph):
            found |= kinds_of(node)
    return found


def describe(graph: nir.NIRGraph, indent: str = "") -> list[str]:
    """Return one line for each node and for the edges."""
    lines = []
    for name, node in graph.nodes.items():
        if isinstance(node, nir.NIRGraph):
            lines += [f"{indent}{name}: NIRGraph", *describe(node, indent + "    ")]
        else:
            given = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in vars(node).items() if k != "metadata"}
            lines.append(f"{indent}{name}: {type(node).__name__} {given}")
    return [*lines, f"{indent}edges: {graph.edges}"]


@dataclass
class _Signal:
    """Something an edge can start from: a node of the graph that is being built."""

    name: str
    shape: Shape
    kind: str


@dataclass
class _Builder:
    """A graph on its way: nodes, edges, and what its nodes send and take."""

    dice: Dice
    nodes: dict[str, Any] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)
    signals: list[_Signal] = field(default_factory=list)
    takes: dict[str, Shape] = field(default_factory=dict)
    spiking: list[str] = field(default_factory=list)  # dotted names, for reset by node

    # -- numbers

    def grid(self, shape: Shape, low: int, high: int) -> np.ndarray:
        """Return multiples of an eighth, from ``low / 8`` to ``high / 8``."""
        kind = self.dice.pick(("f8", "f8", "f4"))
        return (np.array(self.dice.integers(low, high, math.prod(shape)), kind) / 8).reshape(shape)

    def parameter(self, shape: Shape, values: Sequence[float]) -> np.ndarray:
        """Return values of a list, by element or the same for all."""
        if self.dice.chance(50):
            return np.full(shape, self.dice.pick(values))
        chosen = self.dice.integers(0, len(values) - 1, math.prod(shape))
        return np.array([values[k] for k in chosen], np.float64).reshape(shape)

    # -- names and edges

    def new_name(self, kind: str) -> str:
        """Return a fresh name: plain, a number, dotted, or with letters beyond ASCII."""
        number = len(self.nodes)
        form = self.dice.integer(0, 4)
        name = (f"{kind.lower()}_{number}", str(number), f"{number}.{kind.lower()}", f"_{number}", f"été{number}")[form]
        return name if name not in self.nodes else f"{name}_{number}"

    def add(self, kind: str, node: Any, takes: Shape, gives: Shape, sources: Sequence[_Signal]) -> _Signal:
        """Add a node behind ``sources``."""
        name = self.new_name(kind)
        self.nodes[name] = node
        self.takes[name] = takes
        self.edges += [(s.name, name) for s in sources]
        signal = _Signal(name, gives, kind)
        self.signals.append(signal)
        if kind in SPIKING and kind != "Threshold":
            self.spiking.append(name)
        return signal

    def some_sources(self) -> list[_Signal]:
        """Return one signal, or several of the same shape."""
        recent = self.signals[-6:]
        first = recent[-1 - self.dice.integer(0, len(recent) - 1)]
        alike = [s for s in self.signals if s.shape == first.shape and s is not first]
        others = [self.dice.pick(alike)] if alike and self.dice.chance(35) else []
        return [first, *others]

    # -- nodes

    def neuron(self, kind: str, shape: Shape) -> Any:
        """Return a neuron node with parameters on the grid."""
        form = shape if self.dice.chance(85) else self.dice.pick(((), (1,)))
        dt = DT

        def par(*values: float) -> np.ndarray:
            return self.parameter(form, values)

        if kind == "Threshold":
            return nir.Threshold(threshold=par(0.125, 0.5, 1.0, 0.0))
        r = {"r": par(1.0, 2.0, 0.5) / (dt if kind in ("I", "IF") else 1.0)}
        tau = (dt, 2 * dt, 4 * dt, 8 * dt)
        if kind in ("LI", "LIF"):
            r |= {"tau": par(*tau)}
        if kind in ("CubaLI", "CubaLIF"):
            r |= {"tau_syn": par(*tau), "tau_mem": par(*tau), "w_in": par(1.0, 2.0, 0.5)}
        if kind not in ("I", "IF"):
            r |= {"v_leak": par(0.0, 0.0, 0.0, 0.25, -0.125)}
        if kind in ("IF", "LIF", "CubaLIF"):
            r |= {"v_threshold": par(0.125, 0.25, 0.5, 1.0)}
            if self.dice.chance(60):
                r |= {"v_reset": par(0.0, 0.0, -0.25, 0.125, 0.375)}
            else:
                r |= {"v_reset": np.zeros_like(r["v_threshold"])}
        return getattr(nir, kind)(**r)

    def delay(self, shape: Shape, least: int = 0) -> Any:
        """Return a Delay; quarters of a step are rounded half up by the reader."""
        low = 4 * least
        uneven = self.dice.chance(50)
        quarters = self.dice.integers(low, low + 10, math.prod(shape) if uneven else 1)
        steps = np.array(quarters, np.float64) / 4
        return nir.Delay(delay=(steps.reshape(shape) if uneven else np.full(shape, steps[0])) * DT)

    def linear(self, takes: Shape, gives: int) -> tuple[str, Any, Shape]:
        """Return a Linear or Affine on the last axis."""
        *lead, inner = takes
        out = (*lead, gives)
        weight = self.grid((*lead, gives, inner), -8, 12)
        if self.dice.chance(50):
            return "Linear", nir.Linear(weight=weight), out
        return "Affine", nir.Affine(weight=weight, bias=self.grid(out, -4, 4)), out

    def convolution(self, takes: Shape) -> tuple[str, Any, Shape] | None:
        """Return a Conv1d or Conv2d that fits the plane, or None."""
        dice, axes = self.dice, len(takes) - 1
        kernel = tuple(dice.integers(1, 3, axes))
        stride = tuple(dice.integers(1, 2, axes))
        dilation = tuple(dice.integers(1, 2, axes))
        padding: Any = dice.pick(("numbers", "numbers", "same", "valid"))
        reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        pads = [0] * axes if padding == "valid" else dice.integers(0, 2, axes)
        total = reach if padding == "same" else [2 * p for p in pads]
        out = [(n + p - r - 1) // s + 1 for n, p, r, s in zip(takes[1:], total, reach, stride, strict=True)]
        if min(out) < 1:
            return None
        groups = dice.pick([g for g in (1, 2, 3) if takes[0] % g == 0])
        channels = groups * dice.integer(1, 2)
        weight = self.grid((channels, takes[0] // groups, *kernel), -8, 12)
        plane = takes[1:] if dice.chance(50) else None
        common = {"weight": weight, "groups": groups, "bias": self.grid((channels,), -4, 4)}
        given = padding if padding in ("same", "valid") else tuple(pads)
        layout = {"stride": stride, "padding": given, "dilation": dilation}
        if axes == 1:
            layout = {k: v if isinstance(v, str) else v[0] for k, v in layout.items()}
            return "Conv1d", nir.Conv1d(input_shape=None if plane is None else plane[0], **common, **layout), (channels, *out)
        # nir types planes by the kernel's height alone, so it is told nothing it would compute
        return "Conv2d", nir.Conv2d(input_shape=None, **common, **layout), (channels, *out)

    def pool(self, takes: Shape) -> tuple[str, Any, Shape] | None:
        """Return a pooling node that fits the plane, or None; a kernel of 3 is no dyadic average and is left out."""
        dice = self.dice
        kernel, stride, pads = (dice.integers(1, 2, 2), dice.integers(1, 2, 2), dice.integers(0, 1, 2))
        out = [(n + 2 * p - k) // s + 1 for n, p, k, s in zip(takes[1:], pads, kernel, stride, strict=True)]
        if min(out) < 1:
            return None
        kind = dice.pick(("SumPool2d", "AvgPool2d"))
        node = getattr(nir, kind)(kernel_size=np.array(kernel), stride=np.array(stride), padding=np.array(pads))
        return kind, node, (takes[0], *out)

    def grow(self) -> None:
        """Add one random node, or a group of nodes, behind what there is."""
        dice, sources = self.dice, self.some_sources()
        shape = sources[0].shape
        options = ["neuron"] * 5 + ["delay", "scale", "linear", "linear", "sub-graph", "psu"]
        options += ["flatten"] if len(shape) > 1 else ["recurrent", "two filters"]
        options += ["convolution"] * 4 if len(shape) in (2, 3) else []
        options += ["pool"] * 3 if len(shape) == 3 else []
        what = dice.pick(options)
        made: tuple[str, Any, Shape] | None = None
        if what == "neuron":
            kind = dice.pick((*STATEFUL, "Threshold", "LIF", "CubaLIF", "IF"))
            made = kind, self.neuron(kind, shape), shape
        elif what == "delay":
            made = "Delay", self.delay(shape), shape
        elif what == "scale":
            form = shape if dice.chance(80) else (1,)
            made = "Scale", nir.Scale(scale=self.grid(form, -4, 16)), shape
        elif what == "linear":
            made = self.linear(shape, dice.integer(1, 4))
        elif what == "flatten":
            start = dice.integer(0, len(shape) - 1)
            end = dice.integer(start, len(shape) - 1)
            flat = (*shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :])
            node = nir.Flatten(np.array(shape), start, end if dice.chance(50) else end - len(shape))
            made = "Flatten", node, flat
        elif what == "convolution":
            made = self.convolution(shape)
        elif what == "pool":
            made = self.pool(shape)
        elif what == "sub-graph":
            self.sub_graph(sources)
        elif what == "psu":
            self.reset_free(sources)
        elif what == "two filters":
            self.two_filters(sources)
        elif what == "recurrent":
            self.recurrent(sources)
        if made is not None:
            kind, node, gives = made
            self.add(kind, node, shape, gives, sources)

    def reset_free(self, sources: list[_Signal]) -> None:
        """Add an LI or CubaLI followed by a Threshold."""
        shape = sources[0].shape
        kind = self.dice.pick(("LI", "CubaLI"))
        first = self.add(kind, self.neuron(kind, shape), shape, shape, sources)
        self.add("Threshold", self.neuron("Threshold", shape), shape, shape, [first])

    def two_filters(self, sources: list[_Signal]) -> None:
        """Add two analog filters that meet in one neuron: two synapses."""
        shape = sources[0].shape
        kind = self.dice.pick(("LI", "LI", "CubaLI"))
        filters = []
        for _ in range(2):
            name, node, gives = self.linear(shape, shape[-1])
            way = self.add(name, node, shape, gives, sources)
            filters.append(self.add(kind, self.neuron(kind, shape), shape, shape, [way]))
        if self.dice.chance(30):  # both through a matrix each, or one through two
            name, node, gives = self.linear(shape, shape[-1])
            filters.append(self.add(name, node, shape, gives, [filters[0]]))
        target = self.dice.pick(("LIF", "IF", "CubaLIF", "Threshold"))
        self.add(target, self.neuron(target, shape), shape, shape, filters)

    def recurrent(self, sources: list[_Signal]) -> None:
        """Add a spiking population that feeds itself, flattened as snnTorch's exporter writes it."""
        shape, number = sources[0].shape, len(self.nodes)
        kind = self.dice.pick(("LIF", "CubaLIF", "IF"))
        cell, loop = f"{number}.lif", f"{number}.w_rec"
        name, node, _ = self.linear(shape, shape[-1])
        self.nodes |= {cell: self.neuron(kind, shape), loop: node}
        self.takes |= {cell: shape, loop: shape}
        self.edges += [*((s.name, cell) for s in sources), (cell, loop), (loop, cell)]
        self.signals += [_Signal(loop, shape, name), _Signal(cell, shape, kind)]
        self.spiking.append(cell)

    def sub_graph(self, sources: list[_Signal]) -> None:
        """Add a nested graph: a chain, often with recurrence inside in one of two layouts, sometimes nested again."""
        dice, shape = self.dice, sources[0].shape
        inner = _Builder(dice)
        inner.nodes["input"] = nir.Input(np.array(shape))
        inner.takes["input"] = shape
        inner.signals.append(_Signal("input", shape, "Input"))
        if len(shape) == 1 and dice.chance(60):
            kind = dice.pick(("LIF", "CubaLIF"))
            inner.nodes |= {"lif": inner.neuron(kind, shape), "w_rec": inner.linear(shape, shape[0])[1]}
            entry = dice.pick(("w_rec", "lif"))  # spyx lets the input enter through the recurrent weights
            inner.edges += [("input", entry), ("lif", "w_rec"), ("w_rec", "lif")]
            inner.signals.append(_Signal("lif", shape, kind))
            inner.spiking.append("lif")
        else:
            for _ in range(dice.integer(1, 2)):
                inner.grow()
        last = inner.signals[-1]
        inner.nodes["output"] = nir.Output(np.array(last.shape))
        inner.edges.append((last.name, "output"))
        graph = nir.NIRGraph(inner.nodes, dice.shuffled(inner.edges), type_check=False)
        signal = self.add("NIRGraph", graph, shape, last.shape, sources)
        self.spiking += [f"{signal.name}.{n}" for n in inner.spiking]

    def close_loop(self) -> None:
        """Add an edge back through a Delay, or a linear node behind a spiking node; every cycle stays legal."""
        dice = self.dice
        ends = [s for s in self.signals if s.kind != "Input"]
        if not ends:
            return
        last = dice.pick(ends)
        targets = [n for n, shape in self.takes.items() if shape == last.shape and n not in ("input",)]
        targets = [n for n in targets if not isinstance(self.nodes[n], nir.Input)]
        if not targets:
            return
        target = dice.pick(targets)
        if last.kind in SPIKING:
            if dice.chance(30):
                if (last.name, target) not in self.edges:
                    self.edges.append((last.name, target))
                return
            if dice.chance(50):
                way = self.add("Delay", self.delay(last.shape), last.shape, last.shape, [last])
            else:
                kind, node, gives = self.linear(last.shape, last.shape[-1])
                way = self.add(kind, node, last.shape, gives, [last])
        else:
            way = self.add("Delay", self.delay(last.shape, least=1), last.shape, last.shape, [last])
            half = self.add("Scale", nir.Scale(scale=np.full(last.shape, 0.25)), last.shape, last.shape, [way])
            way = half
        self.edges.append((way.name, target))


INPUT_SHAPES: tuple[Shape, ...] = ((1,), (2,), (3,), (3,), (4,), (2, 4), (1, 5), (1, 3, 4), (2, 4, 4), (3, 3, 5))


def make_case(dice: Dice, steps: int = 12, blocks: int = 8) -> Case:
    """Return a random case."""
    builder = _Builder(dice)
    inputs = {}
    for _ in range(dice.pick((1, 1, 1, 2, 3))):
        shape = dice.pick(INPUT_SHAPES)
        signal = builder.add("Input", nir.Input(np.array(shape)), shape, shape, [])
        inputs[signal.name] = shape
    if dice.chance(8):  # a neuron that nothing feeds
        shape = (dice.integer(2, 3),)
        builder.add("LIF", _self_driven(builder, shape), shape, shape, [])
    for _ in range(dice.integer(1, blocks)):
        builder.grow()
    for _ in range(dice.pick((0, 0, 1, 2))):
        builder.close_loop()
    output_shapes = {}
    last = builder.signals[-1]
    for number in range(dice.pick((1, 1, 2, 3))):
        source = last if number == 0 else dice.pick(builder.signals)
        alike = [s for s in builder.signals if s.shape == source.shape and s is not source]
        sources = [source, dice.pick(alike)] if alike and dice.chance(15) else [source]
        name = f"out{number}" if number else "output"
        builder.nodes[name] = nir.Output(np.array(source.shape))
        builder.edges += [(s.name, name) for s in sources]
        output_shapes[name] = source.shape
    names = dice.shuffled(list(builder.nodes))
    graph = nir.NIRGraph({n: builder.nodes[n] for n in names}, dice.shuffled(builder.edges), type_check=False)
    spikes = {}
    for name, shape in inputs.items():
        counts = dice.integers(0, 5, steps * math.prod(shape))
        spikes[name] = np.maximum(np.array(counts, np.int64) - 3, 0).reshape(steps, -1)  # 0 in four of six cases, else 1 or 2
    reset: Any = dice.pick(("value", "value", "zero", "subtract", "mixed"))
    if reset == "mixed":
        reset = {"": dice.pick(("value", "zero", "subtract"))}
        reset |= {n: dice.pick(("value", "zero", "subtract")) for n in builder.spiking if dice.chance(50)}
    integrator = dice.pick(("euler", "euler", "exact", "exponential"))
    return Case(graph, reset, integrator, spikes, output_shapes)


def _self_driven(builder: _Builder, shape: Shape) -> Any:
    ones = np.ones(shape)
    return nir.LIF(
        tau=4 * DT * ones, r=ones, v_leak=1.25 * ones, v_threshold=builder.parameter(shape, (0.5, 1.0)), v_reset=0 * ones
    )


@st.composite
def cases(draw: Callable[[st.SearchStrategy[Any]], Any], steps: int = 8, blocks: int = 5) -> Case:
    """Strategy of random cases."""
    return make_case(DrawnDice(draw), steps, blocks)
