"""The IR: populations, projections and ports, in discrete time.

A network is a directed graph of populations.  Each projection carries a linear operator, a delay in steps and the port of
its target on which it arrives.  One step of the reference meaning, for every population in order::

    drive[p]   = sum of the projections on port p + bias[p]
    current[p] = decay[p] * current[p] + gain[p] * drive[p]     (a port without decay passes gain * drive)
    v          = decay * v + gain * sum(current) + leak         (a population without membrane passes the sum)
    spike      = v > threshold, then the reset of the population

A population with a ``burst`` above 1 sends as many spikes a step as there are multiples of its threshold below v, at most
``burst``; subtraction takes all of them off.  NIR has no such neurons; chips do.

How the four chips sit in it (drawn before it was frozen, see docs/design/ir.md): a convolution stays symbolic in its
projection (Speck), delays belong to projections by source or target (SpiNNaker2), a signal kind says spike, count, graded or
analog (Loihi 2), and several ports with own time constants end in one neuron (Xylo).

Arrays are flat over the population (``shape`` gives NIR's axes), float64 and immutable; a pass returns a new network.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nirhw.diagnostics import Diagnostic, error_of
from nirhw.operators import Array, Operator, Shape, size_of

Reset = Literal["value", "zero", "subtract", "none"]
Integrator = Literal["euler", "exact", "exponential"]
Signal = Literal["spike", "count", "graded", "analog"]
Role = Literal["network", "relay", "bias", "driver"]
Rule = Literal["input", "spiking", "analog", "sum"]
Ints = NDArray[np.int64]

#: largest number of spikes a step that rasters hold
BURST_MAX = 255


@dataclass(frozen=True, eq=False)
class Onset:
    """A constant drive that starts ``step`` steps late: a bias behind a delay."""

    step: Ints
    drive: Array


@dataclass(frozen=True, eq=False)
class Port:
    """A synaptic input of a population.

    Attributes:
        name: unique within the population.
        gain: factor on the arriving drive, ``(size,)``.
        bias: constant drive a step, before gain and filter, ``(size,)``.
        decay: share of the current kept a step, ``(size,)``; None where the drive passes unfiltered.
        tau: time constant in seconds behind ``decay``, for reports.
        onsets: biases that start late.
        nodes: NIR nodes whose filter this port is, where that is not the population's own node.
    """

    name: str
    gain: Array
    bias: Array
    decay: Array | None = None
    tau: Array | None = None
    onsets: tuple[Onset, ...] = ()
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Membrane:
    """A leaky or perfect integrator.

    Attributes:
        decay: share of ``v`` kept a step, ``(size,)``; 1 for an integrator.
        gain: factor on the summed currents, ``(size,)``.
        leak: constant added every step (the pull of v_leak), ``(size,)``.
        tau: time constant in seconds, infinite for an integrator.
    """

    decay: Array
    gain: Array
    leak: Array
    tau: Array


@dataclass(frozen=True, eq=False)
class Population:
    """Neurons of one rule.

    Attributes:
        name: unique in the network; the NIR node that owns the neurons.
        shape: NIR's shape.
        rule: ``"input"`` (fed from outside), ``"spiking"``, ``"analog"`` (output is v) or ``"sum"`` (no state).
        signal: what it sends.
        ports: synaptic inputs; empty for inputs.
        membrane: None for inputs and sums; a spiking population always has one.
        threshold, v_reset: ``(size,)`` for spiking populations, else None.
        reset: what happens to v at a spike.
        burst: largest number of spikes a step, 1 to 255.
        nodes: NIR nodes that the population stands for.
        role: "network", or why a pass added it.
        codes: the chip's integers by register name, once fitted.
    """

    name: str
    shape: Shape
    rule: Rule
    signal: Signal
    ports: tuple[Port, ...] = ()
    membrane: Membrane | None = None
    threshold: Array | None = None
    v_reset: Array | None = None
    reset: Reset = "none"
    nodes: tuple[str, ...] = ()
    role: Role = "network"
    codes: Mapping[str, Ints] = field(default_factory=dict)
    burst: int = 1

    @property
    def size(self) -> int:
        """Number of neurons."""
        return size_of(self.shape)

    def port(self, name: str) -> Port:
        """Return the port called ``name``."""
        return next(p for p in self.ports if p.name == name)

    def with_port(self, port: Port) -> Population:
        """Return the population with the port of the same name replaced."""
        return replace(self, ports=tuple(port if p.name == port.name else p for p in self.ports))


@dataclass(frozen=True, eq=False)
class Quantized:
    """Integers of a projection on a chip.

    Attributes:
        weight: sparse integer matrix ``[post, pre]``.
        shift: the chip multiplies every weight by ``2 ** shift``.
        scale: chip units of drive per unit of drive in the network, by post neuron, ``(post,)``.
    """

    weight: Any
    shift: int
    scale: Array


@dataclass(frozen=True, eq=False)
class Projection:
    """Synapses from one population to one port of another.

    Attributes:
        name: unique in the network.
        source, target, port: names.
        operator: the linear map, source shape to target shape.
        delay: steps, an int64 array of shape ``()`` (uniform), or by source or by target neuron.
        delay_by: the axis of ``delay``: ``"all"``, ``"source"`` or ``"target"``.
        recurrent: whether the edge closes a cycle and is late for that reason; its delay is at least one step then.
        nodes: NIR nodes of the path, source to target.
        quantized: integers, once quantized.
    """

    name: str
    source: str
    target: str
    port: str
    operator: Operator
    delay: Ints = field(default_factory=lambda: np.zeros((), np.int64))
    delay_by: Literal["all", "source", "target"] = "all"
    recurrent: bool = False
    nodes: tuple[str, ...] = ()
    quantized: Quantized | None = None

    @property
    def min_delay(self) -> int:
        """Shortest delay of any synapse, steps."""
        return int(self.delay.min()) if self.delay.size else 0

    @property
    def max_delay(self) -> int:
        """Longest delay of any synapse, steps."""
        return int(self.delay.max()) if self.delay.size else 0


@dataclass(frozen=True, eq=False)
class Network:
    """A network in discrete time; populations stand in an order in which one step can be computed.

    Attributes:
        populations: by name, in the order of one step.
        projections: all synapses.
        inputs, outputs: NIR's Input and Output names and the populations that serve them.
        output_shapes: shape of every output, which a Flatten can make another than its population's.
        dt: the step in seconds (1.0 where a network counts in steps).
        integrator: how tau became decay and gain.
        findings: warnings met on the way.
    """

    populations: Mapping[str, Population]
    projections: tuple[Projection, ...]
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    output_shapes: Mapping[str, Shape]
    dt: float
    integrator: Integrator
    findings: tuple[Diagnostic, ...] = ()

    def into(self, name: str) -> tuple[Projection, ...]:
        """Return the projections that end in population ``name``."""
        return tuple(p for p in self.projections if p.target == name)

    def out_of(self, name: str) -> tuple[Projection, ...]:
        """Return the projections that start in population ``name``."""
        return tuple(p for p in self.projections if p.source == name)

    def with_populations(self, changed: Iterable[Population]) -> Network:
        """Return the network with populations of the same names replaced."""
        return replace(self, populations={**self.populations, **{p.name: p for p in changed}})

    def verify(self, since: Network | None = None) -> None:
        """Check that the IR is legal; called after every pass.

        What is the same object in ``since``, a network that was verified, is not looked at again: it cannot have changed.

        Raises:
            MeaningError: NIRHW-E024 with every rule that is broken; a bug of a pass, or of whoever built the network.
        """
        broken = list(_broken_rules(self, since))
        if broken:
            raise error_of([Diagnostic("NIRHW-E024", what, (node,), fix="report this") for node, what in broken])


def _broken_rules(net: Network, since: Network | None) -> Iterable[tuple[str, str]]:
    rank = {name: k for k, name in enumerate(net.populations)}
    for name, pop in net.populations.items():
        if pop.name != name:
            yield name, f"population is filed under another name ({pop.name})"
        if since is None or since.populations.get(name) is not pop:
            yield from _broken_population(pop)
    for proj in net.projections:
        source, target = net.populations.get(proj.source), net.populations.get(proj.target)
        if source is None or target is None:
            yield proj.name, "projection ends in a population that does not exist"
            continue
        if proj.port not in {p.name for p in target.ports}:
            yield proj.name, f"target has no port {proj.port}"
        if size_of(proj.operator.in_shape) != source.size or size_of(proj.operator.out_shape) != target.size:
            yield proj.name, "operator does not fit its populations"
        wanted = {"all": (), "source": (source.size,), "target": (target.size,)}[proj.delay_by]
        if proj.delay.shape != wanted or proj.delay.dtype != np.int64 or (proj.delay.size and proj.min_delay < 0):
            yield proj.name, "delay has the wrong shape, type or sign"
        elif proj.min_delay == 0 and proj.delay.size and rank[proj.source] >= rank[proj.target]:
            yield proj.name, "an undelayed projection runs against the order of the populations"
    for boundary, names in (("input", net.inputs), ("output", net.outputs)):
        for outer, inner in names.items():
            if inner not in net.populations:
                yield outer, f"{boundary} is served by a population that does not exist"
    for name, inner in net.outputs.items():
        if inner in net.populations and size_of(net.output_shapes.get(name, ())) != net.populations[inner].size:
            yield name, "the output's shape does not fit its population"
    taken = [p.name for p in net.projections]
    if len(set(taken)) != len(taken):
        yield "network", "two projections share a name"
    if not net.dt > 0:
        yield "network", "dt is not positive"


def _broken_population(pop: Population) -> Iterable[tuple[str, str]]:
    arrays: dict[str, Array | None] = {"threshold": pop.threshold, "v_reset": pop.v_reset}
    if pop.membrane is not None:
        arrays |= {f"membrane {k}": getattr(pop.membrane, k) for k in ("decay", "gain", "leak", "tau")}
    for port in pop.ports:
        arrays |= {f"{port.name} {k}": getattr(port, k) for k in ("decay", "gain", "bias", "tau")}
    for label, array in arrays.items():
        if array is not None and (array.shape != (pop.size,) or array.flags.writeable):
            yield pop.name, f"{label} is writeable or not of shape ({pop.size},)"
    if (pop.rule == "spiking") != (pop.threshold is not None):
        yield pop.name, "a spiking population, and no other, has a threshold"
    if (pop.rule in ("spiking", "analog")) != (pop.membrane is not None):
        yield pop.name, "spiking and analog populations, and no others, have a membrane"
    if (pop.rule == "input") == bool(pop.ports):
        yield pop.name, "inputs have no ports, all others have some"
    if not 1 <= pop.burst <= BURST_MAX or (pop.burst > 1 and (pop.threshold is None or np.any(pop.threshold < 0))):
        yield pop.name, f"several spikes a step, {BURST_MAX} at most, need thresholds that are not negative"
    if len({p.name for p in pop.ports}) != len(pop.ports):
        yield pop.name, "two ports share a name"
