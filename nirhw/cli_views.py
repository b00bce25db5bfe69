"""Networks, targets, measures and installations as tables, and as plain data for JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nirhw.cli_support import counted, table, text_of
from nirhw.diagnostics import printable

if TYPE_CHECKING:
    from nirhw.doctor import Examination
    from nirhw.fidelity import Fidelity
    from nirhw.network import Network, Population, Port, Projection
    from nirhw.registry import TargetInfo

Span = list[float] | None


def _span(values: Any, unit: float = 1.0) -> Span:
    """Return least and largest value in ``unit``; None where there is none."""
    if values is None or not np.size(values):
        return None
    return [float(np.min(values)) / unit, float(np.max(values)) / unit]


def _short(span: Span) -> str:
    if span is None:
        return ""
    low, high = (f"{value:.4g}" for value in span)
    return low if low == high else f"{low}..{high}"


def _by(shape: Iterable[int]) -> str:
    return "x".join(map(str, shape)) or "1"


def network_data(network: Network) -> dict[str, Any]:
    """Return a network as JSON-ready data; arrays as ``[least, largest]``, time constants in steps of dt."""
    return {
        "dt": network.dt,
        "integrator": network.integrator,
        "neurons": _neurons(network),
        "inputs": dict(network.inputs),
        "outputs": dict(network.outputs),
        "populations": [_population_data(p, network.dt) for p in network.populations.values()],
        "projections": [_projection_data(p) for p in network.projections],
    }


def _neurons(network: Network) -> int:
    return sum(p.size for p in network.populations.values() if p.rule != "input")


def _population_data(pop: Population, dt: float) -> dict[str, Any]:
    return {
        "name": pop.name,
        "rule": pop.rule,
        "signal": pop.signal,
        "role": pop.role,
        "shape": list(pop.shape),
        "neurons": pop.size,
        "nodes": list(pop.nodes),
        "ports": [_port_data(p, dt) for p in pop.ports],
        "tau_mem_steps": _span(pop.membrane.tau, dt) if pop.membrane else None,
        "threshold": _span(pop.threshold),
        "reset": pop.reset,
        "codes": {name: _span(values) for name, values in pop.codes.items()},
    }


def _port_data(port: Port, dt: float) -> dict[str, Any]:
    return {
        "name": port.name,
        "tau_steps": _span(port.tau, dt) if port.decay is not None else None,
        "gain": _span(port.gain),
        "bias": _span(port.bias),
        "nodes": list(port.nodes),
    }


def _projection_data(proj: Projection) -> dict[str, Any]:
    quantized = proj.quantized
    return {
        "name": proj.name,
        "source": proj.source,
        "target": proj.target,
        "port": proj.port,
        "operator": proj.operator.describe,
        "shape": [list(proj.operator.out_shape), list(proj.operator.in_shape)],
        "delay_steps": [proj.min_delay, proj.max_delay],
        "recurrent": proj.recurrent,
        "nodes": list(proj.nodes),
        "quantized": quantized
        and {"weights": int(quantized.weight.nnz), "shift": int(quantized.shift), "scale": _span(quantized.scale)},
    }


def same(first: Any, second: Any) -> bool:
    """Whether two IR values are equal to the last weight; parts that a pass left alone are not looked into."""
    if first is second:
        return True
    if type(first) is not type(second):
        return False
    if is_dataclass(first):
        return all(same(getattr(first, f.name), getattr(second, f.name)) for f in fields(first))
    if isinstance(first, np.ndarray):
        return first.shape == second.shape and np.array_equal(first, second, equal_nan=first.dtype.kind == "f")
    if isinstance(first, Mapping):
        return list(first) == list(second) and all(same(first[k], second[k]) for k in first)
    if isinstance(first, tuple):
        return len(first) == len(second) and all(map(same, first, second))
    if hasattr(first, "tocsr"):
        return bool(first.shape == second.shape and (first != second).nnz == 0)
    return bool(first == second)


def network_blocks(network: Network, title: str, before: Network | None = None) -> list[Any]:
    """Return the tables of ``nirhw inspect``; where there is a network ``before``, only those that differ from its own."""
    if before is not None and same(network, before):
        return [text_of(f"{title}: nothing changed")]
    data = network_data(network)
    pops, projs = data["populations"], data["projections"]
    old = network_data(before) if before is not None else {"populations": None, "projections": None}
    blocks: list[Any] = [text_of(title, "bold")]
    blocks.append(
        text_of(f"{counted(data['neurons'], 'neuron')}, {counted(len(pops), 'population')}, {counted(len(projs), 'projection')}")
    )
    if _without_codes(pops) != _without_codes(old["populations"]):
        blocks.append(_population_table(pops))
    if _codes(pops) != _codes(old["populations"]):
        blocks.append(table("Registers", ("population", "register", ">value"), _codes(pops)))
    if projs != old["projections"] and projs:
        blocks.append(_projection_table(projs, any(len(p["ports"]) > 1 for p in pops)))
    return blocks if len(blocks) > 2 else [*blocks, text_of("numbers changed, but none that these tables show\n")]


def _without_codes(pops: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
    return [{k: v for k, v in p.items() if k != "codes"} for p in pops or ()]


def _codes(pops: list[dict[str, Any]] | None) -> list[tuple[str, str, str]]:
    return [
        (printable(p["name"], 40), printable(code, 60), _short(span)) for p in pops or () for code, span in p["codes"].items()
    ]


def _population_table(pops: list[dict[str, Any]]) -> Any:
    rows = [
        (
            printable(p["name"], 40) + (f" ({p['role']})" if p["role"] != "network" else ""),
            p["rule"],
            _by(p["shape"]),
            p["neurons"],
            _ports_text(p["ports"]),
            _short(p["tau_mem_steps"]),
            _short(p["threshold"]),
            "" if p["reset"] == "none" else p["reset"],
        )
        for p in pops
    ]
    columns = ("population", "rule", "shape", ">neurons", "synapse tau", "membrane tau", "threshold", "reset")
    return table("Populations (time constants in steps)", columns, rows)


def _ports_text(ports: list[dict[str, Any]]) -> str:
    """Return the time constants of a population's synapses; with their names where there are several."""
    texts = []
    for port in ports:
        tau = _short(port["tau_steps"]) or "unfiltered"
        bias = f", bias {_short(port['bias'])}" if any(port["bias"] or ()) else ""
        texts.append((f"{printable(port['name'], 30)}: " if len(ports) > 1 else "") + tau + bias)
    return "\n".join(texts)


def _projection_table(projs: list[dict[str, Any]], ported: bool) -> Any:
    quantized = any(p["quantized"] for p in projs)
    rows = [
        (
            printable(p["source"], 40),
            printable(p["target"], 40),
            *([printable(p["port"], 40)] if ported else []),
            p["operator"],
            _short([float(d) for d in p["delay_steps"]]),
            "yes" if p["recurrent"] else "",
            *([_quantized_text(p["quantized"])] if quantized else []),
        )
        for p in projs
    ]
    columns = ["from", "to", *(["port"] if ported else []), "operator", ">delay", "recurrent"]
    return table("Projections (delays in steps)", [*columns, *(["integers"] if quantized else [])], rows)


def _quantized_text(quantized: Mapping[str, Any] | None) -> str:
    return f"{quantized['weights']} weights << {quantized['shift']}" if quantized else ""


def target_blocks(infos: Iterable[TargetInfo]) -> list[Any]:
    """Return the table of targets, and one table of options for each family."""
    known = list(infos)
    targets = [(i.name, i.title, i.hardware, i.family) for i in known]
    blocks = [table("Targets", ("target", "chip", "hardware description", "family"), targets)]
    for family in dict.fromkeys(i.family for i in known):
        options = next(i.options for i in known if i.family == family)
        rows = [(o.name, o.type, o.default, o.help + (f"\none of {', '.join(o.choices)}" if o.choices else "")) for o in options]
        blocks.append(table(f"Options of {family}: --option NAME=VALUE", ("option", "type", "default", "meaning"), rows))
    return blocks


def fidelity_blocks(fidelity: Fidelity) -> list[Any]:
    """Return the tables of agreement with the float network."""
    decisions = [
        (name, out.agreement, out.accuracy or "", out.reference_accuracy or "") for name, out in fidelity.outputs.items()
    ]
    populations = [
        (
            printable(name, 40),
            f"{p.count_error:.1%}",
            f"{p.rate_distance:.4f}",
            f"{p.raster_distance:.3f}",
            f"{p.best_raster_distance:.3f} at {p.best_shift:+d}",
            "never" if p.first_divergent_step < 0 else p.first_divergent_step,
        )
        for name, p in fidelity.populations.items()
    ]
    columns = (
        "population",
        ">count error",
        ">rate distance",
        ">raster distance",
        ">best within 3 steps",
        ">first difference in step",
    )
    return [
        table("Decisions", ("output", "agrees with the float network", "accuracy", "accuracy of the float network"), decisions),
        table("Spikes against the float network, aligned by latency", columns, populations),
    ]


def doctor_blocks(found: Examination) -> list[Any]:
    """Return the tables of ``nirhw doctor``."""
    m = found.machine
    cache = (
        f"{m.kernel_cache} ({'writable' if m.kernel_cache_writable else 'not writable: every process compiles its kernels anew'})"
    )
    about = [("nirhw", m.nirhw), ("Python", m.python), ("system", m.system), ("cores", m.cores), ("kernel cache", cache)]
    packages = [
        (p.name, p.version or ("MISSING" if p.required else "absent"), "required" if p.required else "optional", p.purpose)
        for p in found.packages
    ]
    vendors = [(v.name, v.state, v.version, v.purpose, v.detail) for v in found.vendors]
    return [
        text_of("".join(f"{name:14}{value}\n" for name, value in about)),
        table("Packages", ("package", "version", "", "for"), packages),
        table("Vendor software (looked at, never imported)", ("package", "state", "version", "for", "detail"), vendors),
    ]
