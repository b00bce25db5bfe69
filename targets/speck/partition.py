"""Which core holds which channels of which layer, with the fewest cores.

A layer that no core holds is split by channels: each part sends with its own feature shift, so its targets do not notice.  A
core has two destinations, so a layer whose targets take more cores is computed again on further cores (replicas).  CP-SAT
decides splits, replicas and cores together.  Where every layer fits a core of its own and has no more targets than
destinations, a matching of layers to cores is already optimal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from nirhw.diagnostics import error
from nirhw.hardware import Hardware
from nirhw.network import Network
from nirhw.pipeline import Context

from .layers import Layer, Link, Part, Plan
from .memory import MEMORIES, Need

#: CP-SAT's deterministic time, about seconds of one core
SEARCH_TIME = 20.0
#: samna's number of the readout layer as a destination
READOUT = 12


@dataclass(frozen=True)
class Unit:
    """A region of a layer: what is split and placed.

    Attributes:
        population, region: which.
        channels: on the core.
        whole: must stay on one core.
        need: memories.
    """

    population: str
    region: int
    channels: int
    whole: bool
    need: Need


@dataclass(frozen=True)
class Edge:
    """A destination that every core of ``source`` needs towards every core of ``target`` (indices of units)."""

    source: int
    target: int
    projection: str
    pooling: int
    first: int


@dataclass(frozen=True)
class Problem:
    """Units, destinations between them, and what an input of the sensor adds.

    Attributes:
        units: what is placed.
        edges: destinations between units.
        to_readout: units that send to the readout layer.
        from_sensor: how many cores' worth of destinations the sensor has for its units, by unit; empty for a host.
    """

    units: tuple[Unit, ...]
    edges: tuple[Edge, ...]
    to_readout: frozenset[int]
    from_sensor: tuple[int, ...]


@dataclass(frozen=True)
class Relaxed:
    """A limit that is lifted to find out which one binds: a memory, "destinations" or "cores"."""

    limit: str = ""


@dataclass(frozen=True)
class PlanCores:
    """Split, replicate and place all layers."""

    name: str = "plan-cores"

    def apply(self, network: Network, context: Context) -> Network:
        """Fill ``record.plan``; the network stays as it is.

        Raises:
            PlaceError: NIRHW-E035 with the limit that binds, where no plan exists.
        """
        record, hardware = context.record, context.hardware
        problem = problem_of(network, context)
        found = matched(problem, hardware) or searched(problem, hardware, patience=context.patience)
        if found is None:
            raise _no_plan(problem, hardware)
        record.plan = replace(found, links=found.links + _input_links(found, network, record.layers))
        return network


def problem_of(network: Network, context: Context) -> Problem:
    """Return what has to be placed."""
    record = context.record
    units: list[Unit] = []
    index: dict[tuple[str, int], int] = {}
    for name, layer in record.layers.items():
        has_bias = bool(np.any(record.integers[name].bias))
        for number, (region, frame) in enumerate(zip(layer.regions, layer.frames, strict=True)):
            index[name, number] = len(units)
            need = Need.of(layer, region, frame, has_bias)
            units.append(Unit(name, number, layer.core_channels, layer.channel_step > 1, need))
    edges, sensor = [], []
    for name, layer in record.layers.items():
        for way in layer.ways:
            targets = [index[name, r] for r in range(len(layer.regions))]
            if way.source in record.layers:
                # a layer that feeds others has one region
                edges += [Edge(index[way.source, 0], t, way.projection, way.stencil.pooling, way.first) for t in targets]
            elif context.options.input == "dvs":
                sensor += targets
    readout = {index[n, 0] for n, layer in record.layers.items() if layer.channel_step > 1}
    return Problem(tuple(units), tuple(edges), frozenset(readout), tuple(sensor))


def capacities(problem: Problem, hardware: Hardware, relaxed: Relaxed = Relaxed()) -> np.ndarray:
    """Return how many channels of each unit fit each core, ``[unit, core]``."""
    table = [[u.need.most_channels(c, hardware, relaxed.limit) for c in range(hardware["cores"])] for u in problem.units]
    return np.minimum(np.array(table, np.int64).reshape(len(problem.units), -1), [[u.channels] for u in problem.units])


def matched(problem: Problem, hardware: Hardware) -> Plan | None:
    """Return a plan with one core for each unit, where there is one; no plan can have fewer cores."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_bipartite_matching

    fan_out = np.bincount([e.source for e in problem.edges], minlength=len(problem.units))
    fan_out[list(problem.to_readout)] += 1
    if fan_out.max(initial=0) > hardware["destinations"] or len(problem.from_sensor) > hardware["dvs_destinations"]:
        return None
    fits = capacities(problem, hardware) >= np.array([[u.channels] for u in problem.units])
    core = maximum_bipartite_matching(csr_array(fits), perm_type="column")
    if np.any(core < 0):
        return None
    cores = [int(c) for c in core]
    parts = tuple(Part(c, u.population, u.region, 0, 0, u.channels) for c, u in zip(cores, problem.units, strict=True))
    links = [Link(cores[e.source], cores[e.target], e.projection, e.pooling, e.first) for e in problem.edges]
    links += [Link(cores[u], READOUT, "", 1, 0) for u in sorted(problem.to_readout)]
    return Plan(tuple(sorted(parts, key=lambda p: p.core)), tuple(links), "optimal", len(parts))


def searched(problem: Problem, hardware: Hardware, relaxed: Relaxed = Relaxed(), patience: int = 1) -> Plan | None:
    """Return the plan with the fewest cores by exact search, or None where it was proved that there is none.

    Raises:
        PlaceError: NIRHW-E035 where the search ended without plan and without proof.
    """
    from ortools.sat.python import cp_model

    copies = 2 if relaxed.limit == "cores" else 1
    capacity = np.tile(capacities(problem, hardware, relaxed), (1, copies))
    outs = 1 << 10 if relaxed.limit == "destinations" else hardware["destinations"]
    model = cp_model.CpModel()
    names = _Variables(model, problem, capacity, outs)
    _cover(model, problem, names, capacity)
    _connect(model, problem, names, outs)
    sensor_cores = [x for u in problem.from_sensor for r in names.replicas[u] for x in names.used[u, r]]
    if problem.from_sensor and relaxed.limit != "destinations":
        model.add(sum(sensor_cores) <= hardware["dvs_destinations"])
    n_cores = capacity.shape[1]
    everything = [(c, x) for row in names.used.values() for c, x in enumerate(row)]
    # fewest cores first, then the lowest numbers: the same plan on every machine
    model.minimize(sum((n_cores * n_cores + c) * x for c, x in everything))
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.max_deterministic_time = SEARCH_TIME * patience
    status = solver.solve(model)
    if status == cp_model.INFEASIBLE:
        return None
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        raise error(
            "NIRHW-E035",
            "the search for cores ended without a plan and without proof that there is none",
            why=f"it may take {SEARCH_TIME * patience:.0f} units of deterministic time",
            fix="make the layers smaller, so that fewer of them have to be split",
        )
    bound = -(-int(solver.best_objective_bound) // (n_cores * n_cores + n_cores))
    return _plan(problem, names, solver, "optimal" if status == cp_model.OPTIMAL else "feasible", bound)


class _Variables:
    """Decisions: which core works for which replica of which unit, with how many channels, and who serves whom."""

    def __init__(self, model: object, problem: Problem, capacity: np.ndarray, outs: int):
        n_cores = capacity.shape[1]
        feeds = {e.source for e in problem.edges}
        # r replicas are of use only for more than outs * (r - 1) target cores, and all have to fit
        most = max(1, (n_cores + outs - 1) // (outs + 1))
        self.replicas: Mapping[int, range] = {u: range(most if u in feeds else 1) for u in range(len(problem.units))}
        self.used, self.channels, self.alive = {}, {}, {}
        for u, unit in enumerate(problem.units):
            for r in self.replicas[u]:
                key = u, r
                self.alive[key] = model.new_bool_var(f"alive{key}")  # type: ignore[attr-defined]
                self.used[key] = [model.new_bool_var(f"used{key}{c}") for c in range(n_cores)]  # type: ignore[attr-defined]
                self.channels[key] = [model.new_int_var(0, unit.channels, f"n{key}{c}") for c in range(n_cores)]  # type: ignore[attr-defined]
        #: replica r of an edge's source serves core c of its target
        self.serves = {
            (number, r): [model.new_bool_var(f"serves{number}{r}{c}") for c in range(n_cores)]  # type: ignore[attr-defined]
            for number, edge in enumerate(problem.edges)
            for r in self.replicas[edge.source]
        }


def _cover(model: object, problem: Problem, names: _Variables, capacity: np.ndarray) -> None:
    add = model.add  # type: ignore[attr-defined]
    for u, unit in enumerate(problem.units):
        add(names.alive[u, 0] == 1)
        for r in names.replicas[u]:
            used, channels = names.used[u, r], names.channels[u, r]
            if r:
                add(names.alive[u, r] <= names.alive[u, r - 1])
            add(sum(channels) == unit.channels * names.alive[u, r])
            if capacity[u].any():  # follows from the rest; without it a proof that nothing fits takes long
                add(sum(used) >= -(-unit.channels // int(capacity[u].max())) * names.alive[u, r])
            if unit.whole:
                add(sum(used) == names.alive[u, r])
            for c, most in enumerate(capacity[u]):
                add(channels[c] <= int(most) * used[c])
                add(channels[c] >= used[c])
    for c in range(capacity.shape[1]):
        add(sum(row[c] for row in names.used.values()) <= 1)


def _connect(model: object, problem: Problem, names: _Variables, outs: int) -> None:
    """Every core of a target is served by one replica of each source; a replica has so many destinations."""
    add = model.add  # type: ignore[attr-defined]
    for number, edge in enumerate(problem.edges):
        for c in range(len(names.used[edge.target, 0])):
            serving = [names.serves[number, r][c] for r in names.replicas[edge.source]]
            add(sum(serving) == sum(names.used[edge.target, r][c] for r in names.replicas[edge.target]))
    for u in range(len(problem.units)):
        for r in names.replicas[u]:
            served = [x for n, e in enumerate(problem.edges) if e.source == u for x in names.serves[n, r]]
            to_readout = [1] if u in problem.to_readout else []
            if served or to_readout:
                add(sum(served) + sum(to_readout) <= outs * names.alive[u, r])


def _plan(problem: Problem, names: _Variables, solver: object, status: str, bound: int) -> Plan:
    value = solver.value  # type: ignore[attr-defined]
    parts: dict[tuple[int, int], list[Part]] = {}
    for (u, r), used in names.used.items():
        unit, first = problem.units[u], 0
        for c, x in enumerate(used):
            if value(x):
                channels = value(names.channels[u, r][c])
                parts.setdefault((u, r), []).append(Part(c, unit.population, unit.region, r, first, channels))
                first += channels
    links = []
    for (number, r), serves in names.serves.items():
        edge = problem.edges[number]
        for c, x in enumerate(serves):
            if value(x):
                links += [Link(p.core, c, edge.projection, edge.pooling, edge.first + p.first) for p in parts[edge.source, r]]
    links += [Link(p.core, READOUT, "", 1, 0) for u in sorted(problem.to_readout) for p in parts[u, 0]]
    everything = sorted((p for row in parts.values() for p in row), key=lambda p: p.core)
    return Plan(tuple(everything), tuple(sorted(links, key=lambda k: (k.source, k.target, k.projection))), status, bound)


def _input_links(plan: Plan, network: Network, layers: Mapping[str, Layer]) -> tuple[Link, ...]:
    """Return what the host, or the sensor, sends where."""
    links = []
    for part in plan.parts:
        for way in layers[part.population].ways:
            if network.populations[way.source].rule == "input":
                links.append(Link(way.source, part.core, way.projection, way.stencil.pooling, way.first))
    return tuple(links)


def _no_plan(problem: Problem, hardware: Hardware) -> Exception:
    """Return the error that says which limit binds: the one without which a plan exists."""
    nodes = sorted({u.population for u in problem.units})
    limits = (*MEMORIES, "destinations", "cores")
    binding = [limit for limit in limits if searched(problem, hardware, Relaxed(limit)) is not None]
    wide = searched(problem, hardware, Relaxed("cores")) if "cores" in binding else None
    titles = {m: f"{m} memory" for m in MEMORIES} | {"destinations": "destinations a core", "cores": "the number of cores"}
    named = ", ".join(titles[b] for b in binding)
    why = f"binding: {named}" if binding else "no single limit is to blame: several bind together"
    if wide is not None:
        why += f"; {len(wide.parts)} cores like these would do, {hardware['cores']} exist"
    return error(
        "NIRHW-E035",
        f"{len(problem.units)} layers cannot be placed on {hardware['cores']} cores; proved by exhaustive search",
        nodes,
        why,
        "use fewer channels, smaller maps (stride or pooling earlier), or fewer layers",
    )
