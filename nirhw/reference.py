"""The float reference: what the network means, in float64, batch first.

One step, for every population in the order of the IR: sum what arrives (delayed or not), filter, integrate, compare (strict),
reset.  Rules: DESIGN of the time semantics in docs/design/meaning.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirhw.diagnostics import error
from nirhw.emulation.inputs import as_counts, populations_named
from nirhw.emulation.result import Run, pack_outputs, shaped
from nirhw.network import Network, Population, Projection
from nirhw.operators import Array

Progress = Callable[[int, int], None]
#: told of a spiking population, in every step: its name, its membranes before the reset and which fired, ``[batch, neuron]``
Probe = Callable[[str, Array, NDArray[np.bool_]], None]


@dataclass
class ReferenceState:
    """State of all populations of a batch; continues a stream."""

    step: int
    v: dict[str, Array] = field(default_factory=dict)
    current: dict[tuple[str, str], Array] = field(default_factory=dict)
    history: dict[str, Array] = field(default_factory=dict)  # by projection: ring[slot, batch, target or source]


def run_reference(
    network: Network,
    spikes: Any,
    record: Iterable[str] = (),
    state: ReferenceState | None = None,
    progress: Progress | None = None,
    probe: Probe | None = None,
) -> Run:
    """Run ``network`` on ``spikes`` (``(T, *in)`` or ``(B, T, *in)``; a dict by input name where there are several).

    ``record`` names populations whose "spikes", "v" and "i" are kept, ``(.., T, *shape)`` float64 (spikes uint8: counts, where
    a population sends several a step).

    Raises:
        InputError: NIRHW-E050 to E053 for spikes, names and states that do not suit the network.
    """
    shapes = {name: network.populations[pop].shape for name, pop in network.inputs.items()}
    counts, batched = as_counts(spikes, shapes)
    wanted = populations_named(record, owners(network))
    batch, steps = next(iter(counts.values())).shape[:2]
    now = _fresh(network, batch) if state is None else _copied(state, network, batch)
    kept = {network.outputs[o] for o in network.outputs}
    traces: dict[str, Array] = {n: np.zeros((batch, steps, network.populations[n].size)) for n in kept}
    states = {n: _empty_record(network.populations[p], batch, steps) for n, p in wanted.items()}
    incoming = {n: network.into(n) for n in network.populations}
    for t in range(steps):
        signals: dict[str, Array] = {}
        for name, pop in network.populations.items():
            if pop.rule == "input":
                signals[name] = counts[name][:, t].astype(np.float64)
            else:
                signals[name] = _update(pop, incoming[name], signals, now, batch, probe)
        _remember(network, signals, now)
        for name, trace in traces.items():
            trace[:, t] = signals[name]
        for name, kept_state in states.items():
            _record(network.populations[wanted[name]], signals, now, kept_state, t)
        now.step += 1
        if progress:
            progress(t + 1, steps)
    return _result(network, traces, states, wanted, now, batched)


def owners(network: Network) -> dict[str, str]:
    """Return population by every name under which it can be recorded: its own and those of its NIR nodes."""
    found = {node: p.name for p in network.populations.values() for node in p.nodes if p.role == "network"}
    return found | {p.name: p.name for p in network.populations.values() if p.role == "network"}


def _fresh(network: Network, batch: int) -> ReferenceState:
    state = ReferenceState(0)
    for name, pop in network.populations.items():
        if pop.membrane is not None:
            state.v[name] = np.zeros((batch, pop.size))
        for port in pop.ports:
            if port.decay is not None:
                state.current[name, port.name] = np.zeros((batch, pop.size))
    for proj in network.projections:
        if proj.max_delay:
            width = network.populations[proj.target if proj.delay_by == "target" else proj.source].size
            state.history[proj.name] = np.zeros((proj.max_delay, batch, width))
    return state


def _copied(state: Any, network: Network, batch: int) -> ReferenceState:
    fresh = _fresh(network, batch)
    if not isinstance(state, ReferenceState) or any(
        {k: a.shape for k, a in getattr(state, part).items()} != {k: a.shape for k, a in getattr(fresh, part).items()}
        for part in ("v", "current", "history")
    ):
        raise error(
            "NIRHW-E053",
            "the state is of another network or batch size",
            fix="pass run.state of a run of this model with the same batch",
        )
    copies = {part: {k: a.copy() for k, a in getattr(state, part).items()} for part in ("v", "current", "history")}
    return ReferenceState(state.step, **copies)


def _update(
    pop: Population,
    incoming: Iterable[Projection],
    signals: Mapping[str, Array],
    now: ReferenceState,
    batch: int,
    probe: Probe | None,
) -> Array:
    """Advance one population by a step and return what it sends."""
    total: Array | float = 0.0
    for port in pop.ports:
        drive: Array | float = port.bias
        for onset in port.onsets:
            drive = drive + np.where(now.step >= onset.step, onset.drive, 0.0)
        for proj in incoming:
            if proj.port == port.name:
                drive = drive + _arriving(proj, signals, now)
        arrived = port.gain * drive
        if port.decay is not None:
            current = now.current[pop.name, port.name]
            current *= port.decay
            current += arrived
            arrived = current
        total = total + arrived
    if pop.membrane is None:
        return np.broadcast_to(total, (batch, pop.size))
    v = now.v[pop.name]
    v *= pop.membrane.decay
    v += pop.membrane.gain * total + pop.membrane.leak
    if pop.threshold is None:
        return v.copy()
    fired = v > pop.threshold
    if probe:
        probe(pop.name, v, fired)
    sent = fired.astype(np.float64) if pop.burst == 1 else _multiples(v, pop.threshold, pop.burst)
    if pop.reset == "subtract":
        v -= sent * pop.threshold
    elif pop.reset == "zero":
        v[fired] = 0.0
    elif pop.reset == "value":
        np.copyto(v, pop.v_reset, where=fired)  # type: ignore[arg-type]  # a reset to a value has one
    return sent


def _multiples(v: Array, threshold: Array, most: int) -> Array:
    """Return how many of the first ``most`` multiples of the threshold lie below ``v``."""
    count = (v > threshold).astype(np.float64)
    for k in range(2, most + 1):
        above = v > k * threshold
        if not above.any():
            break
        count += above
    return count


def _arriving(proj: Projection, signals: Mapping[str, Array], now: ReferenceState) -> Array:
    """Return what a projection delivers in this step, ``[batch, target]``."""
    if not proj.max_delay:
        return proj.operator.apply(signals[proj.source])
    ring = now.history[proj.name]
    depth = ring.shape[0]
    if proj.delay_by == "all":
        return proj.operator.apply(ring[now.step % depth])
    # by neuron: a delay of d was written d steps ago; slot of now holds the oldest, a delay of 0 is what arrives now
    fresh = signals.get(proj.source)
    if fresh is not None and proj.delay_by == "target":
        fresh = proj.operator.apply(fresh)
    slots = (now.step - proj.delay) % depth
    past = ring[slots, :, np.arange(ring.shape[2])].T
    if fresh is not None and proj.min_delay == 0:
        past = np.where(proj.delay == 0, fresh, past)
    return proj.operator.apply(past) if proj.delay_by == "source" else past


def _remember(network: Network, signals: Mapping[str, Array], now: ReferenceState) -> None:
    for proj in network.projections:
        if proj.max_delay:
            sent = signals[proj.source]
            ring = now.history[proj.name]
            ring[now.step % ring.shape[0]] = proj.operator.apply(sent) if proj.delay_by == "target" else sent


def _empty_record(pop: Population, batch: int, steps: int) -> dict[str, Any]:
    shape = (batch, steps, pop.size)
    kept: dict[str, Any] = {"spikes": np.zeros(shape, np.uint8)} if pop.rule in ("spiking", "input") else {}
    if pop.rule == "input":
        return {"spikes": np.zeros(shape, np.int64)}
    if pop.membrane is not None:
        kept["v"] = np.zeros(shape)
    filtered = [p for p in pop.ports if p.decay is not None]
    return kept | {("i" if k == 0 else f"i{k + 1}"): np.zeros(shape) for k in range(len(filtered))}


def _record(pop: Population, signals: Mapping[str, Array], now: ReferenceState, kept: dict[str, Any], t: int) -> None:
    if "spikes" in kept:
        kept["spikes"][:, t] = signals[pop.name]
    if "v" in kept:
        kept["v"][:, t] = now.v[pop.name]
    filtered = [p for p in pop.ports if p.decay is not None]
    for k, port in enumerate(filtered):
        kept["i" if k == 0 else f"i{k + 1}"][:, t] = now.current[pop.name, port.name]


def _result(
    network: Network,
    traces: Mapping[str, Array],
    states: Mapping[str, dict[str, Any]],
    wanted: Mapping[str, str],
    now: ReferenceState,
    batched: bool,
) -> Run:
    spiking, analog = {}, {}
    for output, name in network.outputs.items():
        pop = network.populations[name]
        values = shaped(traces[name], network.output_shapes[output], batched)
        if pop.rule == "spiking":
            spiking[output] = values.astype(np.uint8)
        else:
            analog[output] = values
    total = len(network.outputs)
    recorded = {
        n: {k: shaped(a, network.populations[wanted[n]].shape, batched) for k, a in parts.items()} for n, parts in states.items()
    }
    lags = dict.fromkeys(owners(network), 0)
    return Run(pack_outputs(spiking, total), pack_outputs(analog, total), recorded, lags, now)
