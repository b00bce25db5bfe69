"""What a NIR graph means, computed the slow way: node by node, element by element, step by step, in plain Python.

Written from the text of the design (time semantics), not from nirhw's code, and without importing nirhw: the two are
compared with each other on random graphs.  Signals are flat lists in row-major order.

Every value is asked for by a consumer, which is a neuron or an Output, and is traced back through the linear nodes between:
a spiking population answers one step late if it lies in the consumer's strongly connected component, unless the Delay nodes
on the way already hold a step or more (the whole delay of such an edge is ``max(d, 1)``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import networkx as nx

Vector = list[float]

SPIKING = ("IF", "LIF", "CubaLIF", "Threshold")
NEURONS = ("I", "LI", "IF", "LIF", "CubaLI", "CubaLIF", "Threshold")


class NoMeaning(Exception):
    """The value of a node within one step depends on itself."""


@dataclass
class Trace:
    """History of a neuron node: by step, flat lists."""

    v: list[Vector]
    i: list[Vector]
    spikes: list[Vector]


class SlowInterpreter:
    """Runs one graph on one sample."""

    def __init__(
        self,
        graph: Any,
        dt: float,
        reset: str | Mapping[str, str] = "value",
        integrator: str = "euler",
        burst: Mapping[str, int] | None = None,
    ):
        self.dt, self.reset, self.integrator = dt, reset, integrator
        self.burst = burst or {}  # largest number of spikes a step, by neuron node; 1 for all others
        self.nodes: dict[str, Any] = {}
        self.kinds: dict[str, str] = {}
        self.sources: dict[str, list[str]] = {}
        self._inline(graph, "")
        links = nx.DiGraph()
        links.add_nodes_from(self.nodes)
        links.add_edges_from((a, b) for b, before in self.sources.items() for a in before)
        self.component = {n: k for k, c in enumerate(nx.strongly_connected_components(links)) for n in c}
        self.in_shape: dict[str, tuple[int, ...]] = {}
        self.out_shape: dict[str, tuple[int, ...]] = {}
        self._find_shapes()
        self.delay = {n: self._delay_steps(n) for n, kind in self.kinds.items() if kind == "Delay"}

    # -- structure

    def _inline(self, graph: Any, prefix: str) -> None:
        kind_of = {name: type(node).__name__ for name, node in graph.nodes.items()}
        for name, node in graph.nodes.items():
            if kind_of[name] == "NIRGraph":
                self._inline(node, f"{prefix}{name}.")
            else:
                inner = prefix and kind_of[name] in ("Input", "Output")
                self.nodes[prefix + name] = node
                self.kinds[prefix + name] = "Port" if inner else kind_of[name]
                self.sources.setdefault(prefix + name, [])

        def port(name: str, kind: str) -> str:
            if kind_of[name] != "NIRGraph":
                return prefix + name
            (inner,) = [n for n, x in graph.nodes[name].nodes.items() if type(x).__name__ == kind]
            return f"{prefix}{name}.{inner}"

        for a, b in graph.edges:
            self.sources[port(b, "Input")].append(port(a, "Output"))

    def _find_shapes(self) -> None:
        waiting = list(self.nodes)
        while waiting:
            left = []
            for name in waiting:
                arriving = [self.out_shape[s] for s in self.sources[name] if s in self.out_shape]
                shapes = self._shapes(name, arriving[0] if arriving else None)
                if shapes is None:
                    left.append(name)
                else:
                    self.in_shape[name], self.out_shape[name] = shapes
            assert len(left) < len(waiting), f"no shape for {left}"
            waiting = left

    def _shapes(self, name: str, arriving: tuple[int, ...] | None) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
        node, kind = self.nodes[name], self.kinds[name]
        if kind == "Input":
            shape = tuple(int(n) for n in node.input_type["input"])
            return shape, shape
        if kind in ("Linear", "Affine"):
            *lead, out, inner = node.weight.shape
            return (*lead, inner), (*lead, out)
        if kind in (*NEURONS, "Delay", "Scale"):
            fields = [getattr(node, f) for f in vars(node) if hasattr(getattr(node, f), "shape")]
            biggest = max((tuple(f.shape) for f in fields), key=math.prod)
            shape = biggest if math.prod(biggest) > 1 else arriving
            return None if shape is None else (shape, shape)
        if arriving is None:
            return None
        if kind in ("Port", "Output"):
            return arriving, arriving
        if kind == "Flatten":
            start, end = (x % len(arriving) for x in (node.start_dim, node.end_dim))
            return arriving, (*arriving[:start], math.prod(arriving[start : end + 1]), *arriving[end + 1 :])
        if kind in ("Conv1d", "Conv2d"):
            axes = len(arriving) - 1
            plane = []
            for axis in range(axes):
                reach = _axis(node.dilation, axis) * (node.weight.shape[2 + axis] - 1) + 1
                before, behind = self._conv_padding(node, axis)
                plane.append((arriving[1 + axis] + before + behind - reach) // _axis(node.stride, axis) + 1)
            return arriving, (node.weight.shape[0], *plane)
        if kind in ("SumPool2d", "AvgPool2d"):
            plane = [
                (arriving[1 + a] + 2 * _axis(node.padding, a) - _axis(node.kernel_size, a)) // _axis(node.stride, a) + 1
                for a in (0, 1)
            ]
            return arriving, (arriving[0], *plane)
        raise AssertionError(f"unknown kind {kind}")

    @staticmethod
    def _conv_padding(node: Any, axis: int) -> tuple[int, int]:
        if isinstance(node.padding, str):
            if node.padding == "valid":
                return 0, 0
            zeros = _axis(node.dilation, axis) * (node.weight.shape[2 + axis] - 1)
            return zeros // 2, zeros - zeros // 2
        return (_axis(node.padding, axis),) * 2

    def _delay_steps(self, name: str) -> list[int]:
        size = math.prod(self.in_shape[name])
        return [math.floor(d / self.dt + 0.5) for d in _flat(self.nodes[name].delay, size)]

    # -- running

    def run(self, inputs: Mapping[str, Sequence[Vector]]) -> dict[str, list[Vector]]:
        """Return what arrives at every Output, by step; ``inputs`` holds a flat list by step for every Input."""
        self.inputs = inputs
        self.traces = {n: Trace([], [], []) for n, kind in self.kinds.items() if kind in NEURONS}
        self._known: dict[tuple[str, int, bool, int], Vector] = {}
        self._busy: set[tuple[str, int, bool, int]] = set()
        outputs: dict[str, list[Vector]] = {n: [] for n, kind in self.kinds.items() if kind == "Output"}
        for t in range(len(next(iter(inputs.values())))):
            for name in self.traces:
                self._advance(name, t)
            for name, rows in outputs.items():
                rows.append(self._arriving(name, t, False, self.component[name]))
        return outputs

    def _arriving(self, name: str, t: int, late: bool, consumer: int) -> Vector:
        """Sum of what the sources of ``name`` send, as the consumer's component sees it."""
        total = [0.0] * math.prod(self.in_shape[name])
        for source in self.sources[name]:
            sent = self._sent(source, t, late, consumer)
            total = [a + b for a, b in zip(total, sent, strict=True)]
        return total

    def _sent(self, name: str, t: int, late: bool, consumer: int) -> Vector:
        """What ``name`` sends at step ``t``; ``late``: whether Delay nodes behind it hold a step or more."""
        if self.kinds[name] in SPIKING and self.component[name] == consumer and not late:
            t -= 1
        if t < 0:
            return [0.0] * math.prod(self.out_shape[name])
        if self.kinds[name] == "Input":
            return list(self.inputs[name][t])
        if self.kinds[name] in NEURONS:
            self._advance(name, t)
            trace = self.traces[name]
            return trace.spikes[t] if self.kinds[name] in SPIKING else trace.v[t]
        key = (name, t, late, consumer)
        if key not in self._known:
            self._enter(key)
            self._known[key] = self._linear(name, t, late, consumer)
            self._busy.discard(key)
        return self._known[key]

    def _enter(self, key: tuple[str, int, bool, int]) -> None:
        if key in self._busy:
            raise NoMeaning(key[0])
        self._busy.add(key)

    def _linear(self, name: str, t: int, late: bool, consumer: int) -> Vector:
        node, kind = self.nodes[name], self.kinds[name]
        if kind == "Delay":
            sent = []
            for k, steps in enumerate(self.delay[name]):
                past = t - steps
                sent.append(self._arriving(name, past, late or steps > 0, consumer)[k] if past >= 0 else 0.0)
            return sent
        x = self._arriving(name, t, late, consumer)
        size = len(x)
        if kind == "Scale":
            return [a * b for a, b in zip(x, _flat(node.scale, size), strict=True)]
        if kind in ("Linear", "Affine"):
            return self._matrix(name, x)
        if kind in ("Conv1d", "Conv2d"):
            return self._convolution(name, x)
        if kind in ("SumPool2d", "AvgPool2d"):
            return self._pool(name, x)
        return x  # Flatten, Port

    def _matrix(self, name: str, x: Vector) -> Vector:
        node = self.nodes[name]
        *lead, out, inner = node.weight.shape
        weight = _flat(node.weight, node.weight.size)
        bias = _flat(node.bias, math.prod(lead) * out) if self.kinds[name] == "Affine" else [0.0] * (math.prod(lead) * out)
        y = []
        for block in range(math.prod(lead)):
            for post in range(out):
                total = bias[block * out + post]
                for pre in range(inner):
                    total += weight[(block * out + post) * inner + pre] * x[block * inner + pre]
                y.append(total)
        return y

    def _convolution(self, name: str, x: Vector) -> Vector:
        node = self.nodes[name]
        _, *plane = self.in_shape[name]
        channels, *out_plane = self.out_shape[name]
        per_group, kernel = node.weight.shape[1], node.weight.shape[2:]
        bias = _flat(node.bias, channels)
        y = []
        for post, *at in product(range(channels), *map(range, out_plane)):
            total = bias[post]
            group = post // (channels // node.groups)
            for channel, *tap in product(range(per_group), *map(range, kernel)):
                index = group * per_group + channel
                inside = True
                for axis, (p, k) in enumerate(zip(at, tap, strict=True)):
                    place = p * _axis(node.stride, axis) + k * _axis(node.dilation, axis) - self._conv_padding(node, axis)[0]
                    inside = inside and 0 <= place < plane[axis]
                    index = index * plane[axis] + place
                if inside:
                    total += float(node.weight[(post, channel, *tap)]) * x[index]
            y.append(total)
        return y

    def _pool(self, name: str, x: Vector) -> Vector:
        node = self.nodes[name]
        channels, height, width = self.in_shape[name]
        _, out_height, out_width = self.out_shape[name]
        kernel = [_axis(node.kernel_size, a) for a in (0, 1)]
        share = 1.0 / (kernel[0] * kernel[1]) if self.kinds[name] == "AvgPool2d" else 1.0
        y = []
        for c, row, column in product(range(channels), range(out_height), range(out_width)):
            total = 0.0
            for dy, dx in product(range(kernel[0]), range(kernel[1])):
                y0 = row * _axis(node.stride, 0) + dy - _axis(node.padding, 0)
                x0 = column * _axis(node.stride, 1) + dx - _axis(node.padding, 1)
                if 0 <= y0 < height and 0 <= x0 < width:
                    total += x[(c * height + y0) * width + x0]
            y.append(total * share)
        return y

    # -- neurons

    def _advance(self, name: str, t: int) -> None:
        """Compute step ``t`` of a neuron, if that was not done yet."""
        trace = self.traces[name]
        if t < len(trace.v):
            return
        assert t == len(trace.v), "steps are computed one after the other"
        key = (name, t, False, -1)
        self._enter(key)
        x = self._arriving(name, t, False, self.component[name])
        self._busy.discard(key)
        node, kind, size = self.nodes[name], self.kinds[name], len(x)
        if kind == "Threshold":
            limit = _flat(node.threshold, size)
            trace.v.append(x)
            trace.i.append(x)
            trace.spikes.append([float(self._spikes(name, a, b)) for a, b in zip(x, limit, strict=True)])
            return
        p = {f: _flat(getattr(node, f), size) for f in vars(node) if hasattr(getattr(node, f), "shape")}
        rule = self.reset if isinstance(self.reset, str) else self.reset.get(name, self.reset.get("", "value"))
        v_row, i_row, spike_row = [], [], []
        for k in range(size):
            current = x[k]
            if "tau_syn" in p:
                kept, gain = self._factors(p["tau_syn"][k])
                before = trace.i[t - 1][k] if t else 0.0
                current = kept * before + gain * p["w_in"][k] * x[k]
            before = trace.v[t - 1][k] if t else 0.0
            tau = p["tau"][k] if "tau" in p else p["tau_mem"][k] if "tau_mem" in p else None
            if tau is None:
                v = before + self.dt * p["r"][k] * current
            else:
                kept, gain = self._factors(tau)
                v = kept * before + gain * (p["v_leak"][k] + p["r"][k] * current)
            spike = 0.0
            if kind in SPIKING and v > p["v_threshold"][k]:
                spike = float(self._spikes(name, v, p["v_threshold"][k]))
                if rule == "subtract":
                    v = v - spike * p["v_threshold"][k]
                elif rule == "zero":
                    v = 0.0
                else:
                    v = p["v_reset"][k]
            v_row.append(v)
            i_row.append(current)
            spike_row.append(spike)
        trace.v.append(v_row)
        trace.i.append(i_row)
        trace.spikes.append(spike_row)

    def _spikes(self, name: str, v: float, threshold: float) -> int:
        """Return how many spikes a neuron sends: one for each multiple of its threshold below ``v``, up to its cap."""
        count = 0
        while count < self.burst.get(name, 1) and v > (count + 1) * threshold:
            count += 1
        return count

    def _factors(self, tau: float) -> tuple[float, float]:
        """Share kept a step, and gain of the drive."""
        x = self.dt / tau
        if self.integrator == "euler":
            return 1.0 - x, x
        kept = math.exp(-x)
        return kept, (1.0 - kept if self.integrator == "exact" else x)


def _flat(value: Any, size: int) -> Vector:
    """Return a parameter as one number per element; a single number serves all."""
    numbers = [float(n) for n in value.reshape(-1).tolist()]
    return numbers * size if len(numbers) == 1 else numbers


def _axis(value: Any, axis: int) -> int:
    """Return a layout field's entry for an axis; a single entry serves all."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, int | float):
        return int(value)
    return int(value[axis] if len(value) > 1 else value[0])
