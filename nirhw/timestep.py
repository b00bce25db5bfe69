"""The time step: given, or told by conventions of exporters; see ../shared facts on NIR dialects in docs/design/meaning.md.

NIR has no dt.  Three exporters leave a trace of it in the gains:

* snnTorch, SpikingJelly: ``r = tau_mem / dt`` and ``w_in = tau_syn / dt``, so that a step adds the drive itself;
* SpikingJelly's IF: ``r = 1 / dt``;
* Rockpool: ``r = tau * exp(-dt / tau) / dt``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from nirhw.conventions import dt_hint
from nirhw.diagnostics import Diagnostic, error
from nirhw.nir_graph import FlatGraph, Node

#: relative spread within which two traces of dt count as the same (float32 parameters)
AGREE_WITHIN = 1e-3
#: gains up to this say nothing: they are a plain 1
SILENT_UP_TO = 1.0 + 1e-6

#: relative noise that float32 parameters leave on a dt of few digits
NOISE = 1e-6

Evidence = dict[str, NDArray[np.float64]]


def infer_dt(graph: FlatGraph) -> tuple[float, tuple[Diagnostic, ...]]:
    """Return the time step in seconds and warnings about it.

    Graphs whose only neurons are IF with ``r = 1`` count in steps: dt is 1.

    Raises:
        MeaningError: NIRHW-E020 where nodes say nothing or contradict each other; the text lists what each says.
    """
    ratio, other, rockpool = (_collect(graph, rule) for rule in (_ratio_trace, _other_trace, _rockpool_trace))
    plain = _together(ratio, other)
    agreed = _agreed(plain)
    if agreed is not None:
        return agreed, _lone_warning(plain, agreed)
    if ratio and _agreed(ratio) is None:  # nodes of different tau: with equal ones, Rockpool's rule would agree no better
        agreed = _agreed(_together(rockpool, other))
        if agreed is not None:
            return agreed, _lone_warning(_together(rockpool, other), agreed)
    neurons = [n for n in graph.nodes.values() if n.kind in ("IF", "I", "LI", "LIF", "CubaLI", "CubaLIF")]
    if not plain and neurons and all(n.kind == "IF" and np.all(n.values["r"] == 1.0) for n in neurons):
        return 1.0, ()
    if not neurons and not any(n.kind == "Delay" for n in graph.nodes.values()):
        return 1.0, ()  # nothing depends on time
    said = "; ".join(f"{name}: {np.min(v):.4g} s" for name, v in sorted(plain.items())[:8])
    raise error(
        "NIRHW-E020",
        "the time step is not in the file and its nodes do not agree on one",
        sorted(plain) or [n.name for n in neurons][:8],
        f"r and w_in say {said}" if said else "r = 1 and w_in = 1 say nothing about dt",
        dt_hint(graph) or "give dt in seconds: dt=1e-3 (command line: --dt 1e-3)",
    )


def _collect(graph: FlatGraph, rule: Callable[[Node], Iterator[NDArray[np.float64]]]) -> Evidence:
    found: Evidence = {}
    for name, node in graph.nodes.items():
        traces = [np.ravel(t) for t in rule(node)]
        if traces:
            found[name] = np.concatenate(traces)
    return found


def _together(first: Evidence, second: Evidence) -> Evidence:
    return {n: np.concatenate([e[n] for e in (first, second) if n in e]) for n in {**first, **second}}


def _ratio_trace(node: Node) -> Iterator[NDArray[np.float64]]:
    v = node.values
    tau = v.get("tau_mem", v.get("tau"))
    if tau is not None and np.all(v["r"] > SILENT_UP_TO):
        yield tau / v["r"]


def _other_trace(node: Node) -> Iterator[NDArray[np.float64]]:
    """Yield what every dialect means alike: w_in = tau_syn / dt, and r = 1 / dt of IF."""
    v = node.values
    if "w_in" in v and np.all(v["w_in"] > SILENT_UP_TO):
        yield v["tau_syn"] / v["w_in"]
    if node.kind == "IF" and np.all(v["r"] > SILENT_UP_TO):
        yield 1.0 / v["r"]


def _rockpool_trace(node: Node) -> Iterator[NDArray[np.float64]]:
    """Solve r = exp(-x) / x for x = dt / tau by Newton's method on x + log(x) + log(r) = 0."""
    tau = node.values.get("tau_mem", node.values.get("tau"))
    if tau is None or not np.all(node.values["r"] > SILENT_UP_TO):
        return
    log_r = np.log(node.values["r"])
    x = 1.0 / (1.0 + node.values["r"])
    for _ in range(30):
        x = np.maximum(x - (x + np.log(x) + log_r) / (1.0 + 1.0 / x), 1e-300)
    yield x * tau


def _agreed(evidence: Evidence) -> float | None:
    if not evidence:
        return None
    values = np.concatenate([np.ravel(v) for v in evidence.values()])
    middle = float(np.median(values))
    if not np.isfinite(middle) or np.max(np.abs(values - middle)) > AGREE_WITHIN * middle:
        return None
    short = float(f"{middle:.5g}")
    return short if abs(short - middle) <= NOISE * middle else middle


def _lone_warning(evidence: Evidence, dt: float) -> tuple[Diagnostic, ...]:
    if len(evidence) > 1:
        return ()
    (name,) = evidence
    return (
        Diagnostic(
            "NIRHW-W001",
            f"dt = {dt:g} s rests on a single node",
            (name,),
            "its gain says so, no other node confirms it",
            f"give dt={dt:g} to confirm",
        ),
    )
