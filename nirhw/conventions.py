"""Warnings about parameters that are legal NIR but hardly what their author meant.

NIR names no time step and no unit, so exporters fill ``tau``, ``r`` and ``w_in`` by conventions of their own (snnTorch 1.0,
Norse 1.1, Sinabs 3.1, Rockpool 3.1, SpikingJelly 2.0 and Spyx 1.0 were run; their update rules stand in tests/test_dialects.py).
A file read with the wrong one stays legal and goes silent, or fires without end.  Nothing is repaired here: the file means what
it says, and the warning names the node, the reason and the mend.

Three kinds of findings, all of them warnings:

* NIRHW-W004: a pattern that one exporter is known for, seen in the parameters or the wiring;
* NIRHW-W002: an upper bound of the membrane does not exceed the threshold.  Bounds are intervals, carried through the operators
  with at most one spike a channel and step; for a convolution one bound serves a whole output channel;
* NIRHW-W005: a population fires without any input, by v_leak, or at every single step by its bias.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from nirhw.diagnostics import Diagnostic
from nirhw.network import Network, Population, Port, Projection
from nirhw.nir_graph import SPIKING_KINDS, FlatGraph, Node
from nirhw.operators import Array, Chain, Convolution, Dense, Operator, Pooling, Scaling, size_of

#: relative spread within which two float32 parameters count as the same; as for dt
AGREE_WITHIN = 1e-3
#: a time constant shorter than this share of a step forgets everything at once: Norse's tau * dt is 0.01 steps by default
FORGETS_BELOW = 0.1
#: time constants of a second and of a thousand steps at once: no neuron is that slow, a count of steps or milliseconds is
SLOW_SECONDS, SLOW_STEPS = 1.0, 1000.0
#: a synapse this many steps long loses at least half of its weight where w_in lacks the 1 / dt that r has
SHORT_SYNAPSE = 2.0
#: share of a population's neurons that must be affected: single dead or tonic neurons are normal in trained networks
MOST = 0.5
#: a threshold above this share of the membrane's bound needs most excitatory inputs in every step
HARDLY = 0.5
#: a dt with more digits than two is no number that somebody typed in
ROUND_WITHIN = 1e-4

#: entries of a matrix that are looked at in one go
BLOCK = 1 << 20

_LEAKY = frozenset({"LI", "LIF", "CubaLI", "CubaLIF"})
_CUBA = frozenset({"CubaLI", "CubaLIF"})


def convention_findings(flat: FlatGraph, network: Network) -> tuple[Diagnostic, ...]:
    """Return warnings about suspicious conventions of a flat graph and of the network that was built from it."""
    leaky = [n for n in flat.nodes.values() if n.kind in _LEAKY]
    with np.errstate(all="ignore"):  # absurd parameters overflow; what is not a number then warns of nothing
        found = [
            *_short_tau(leaky, network),
            *_tau_in_steps(leaky, network.dt),
            *_gain_is_decay(leaky, network.dt),
            *_rockpool_dt(leaky, network.dt),
            *_half_converted(leaky, network.dt),
            *_input_through_recurrence(flat),
        ]
        told = {name for d in found for name in d.nodes}
        found += _Firing(flat, network, told).findings()
    return tuple(found)


def dt_hint(flat: FlatGraph) -> str:
    """Return the mend for an unknown dt where an exporter's convention tells it, or an empty text."""
    leaky = [n for n in flat.nodes.values() if n.kind in _LEAKY]
    with np.errstate(all="ignore"):
        steps = {dt for dt in (_dt_of_decay_gain(n, None) for n in leaky) if dt is not None}
    if len(steps) == 1:
        dt = steps.pop()
        return f"give dt={dt:g}: r = 1 - dt / tau, as Spyx writes it, says so (command line: --dt {dt:g})"
    if leaky and all(np.min(_tau(n)) >= SLOW_SECONDS for n in leaky):
        return "give dt=1.0 if tau counts in steps, as Sinabs writes it (command line: --dt 1.0); else dt in seconds"
    return ""


# -- parameters ----------------------------------------------------------------------------------------------------------


def _tau(node: Node) -> Array:
    tau: Array = node.values["tau"] if "tau" in node.values else node.values["tau_mem"]
    return tau


def _span(nodes: Iterable[Node], unit: float = 1.0) -> str:
    taus = [_tau(n) / unit for n in nodes]
    low, high = min(float(t.min()) for t in taus), max(float(t.max()) for t in taus)
    return f"{low:.3g}" if high <= low * (1 + AGREE_WITHIN) else f"{low:.3g} to {high:.3g}"


def _names(nodes: Iterable[Node]) -> tuple[str, ...]:
    return tuple(n.name for n in nodes)


def _short_tau(leaky: list[Node], network: Network) -> Iterator[Diagnostic]:
    """Norse multiplies tau by its dt (norse#411); under the Euler rule dt > tau is an error that says the same."""
    hit = [n for n in leaky if np.max(_tau(n)) < FORGETS_BELOW * network.dt]
    if hit:
        yield Diagnostic(
            "NIRHW-W004",
            f"time constants are far shorter than a step ({_span(hit, network.dt)} steps): nothing is remembered",
            _names(hit),
            f"tau is {_span(hit)} s, dt is {network.dt:g} s; Norse up to 1.1 multiplies tau by its dt (norse#411)",
            "export with dt=1.0 from Norse, or give the dt that the file was written for",
        )


def _tau_in_steps(leaky: list[Node], dt: float) -> Iterator[Diagnostic]:
    """Sinabs writes tau in time steps; the NIR documentation speaks of milliseconds."""
    hit = [n for n in leaky if np.min(_tau(n)) >= max(SLOW_SECONDS, SLOW_STEPS * dt)]
    if hit:
        yield Diagnostic(
            "NIRHW-W004",
            f"time constants of {_span(hit)} s are {_span(hit, dt)} steps: they look like a count of steps or milliseconds",
            _names(hit),
            f"dt is {dt:g} s; Sinabs exports tau in time steps",
            "give dt=1.0 for tau in steps (Sinabs: with integrator='exact'), or dt in milliseconds for tau in milliseconds",
        )


def _dt_of_decay_gain(node: Node, dt: float | None) -> float | None:
    """Return the dt for which r = 1 - dt / tau or exp(-dt / tau), or None where r says no such thing.

    Neurons of different tau prove it among themselves; a uniform layer proves it only together with a known ``dt``.
    """
    if "r" not in node.values or node.kind not in ("LIF", "CubaLIF"):
        return None
    r, tau = node.values["r"], _tau(node)
    low, high = float(r.min()), float(r.max())
    if high >= 1.0:
        return None
    uniform = high - low <= AGREE_WITHIN * abs(high)
    for steps in (tau * (1.0 - r), -tau * np.log(r)) if low > 0.0 else (tau * (1.0 - r),):
        middle = float(np.median(steps))
        if not np.max(np.abs(steps - middle)) <= AGREE_WITHIN * middle:
            continue
        if not uniform or (dt is not None and abs(middle - dt) <= AGREE_WITHIN * dt):
            return float(f"{middle:.4g}")
    return None


def _gain_is_decay(leaky: list[Node], dt: float) -> Iterator[Diagnostic]:
    """Spyx writes r = beta, the share that is kept, where a step of its own neurons adds the drive itself."""
    by_dt: dict[float, list[Node]] = {}
    for node in leaky:
        told = _dt_of_decay_gain(node, dt)
        if told is not None:
            by_dt.setdefault(told, []).append(node)
    for told, hit in by_dt.items():
        synapse = " and w_in = tau_syn / dt" if any(n.kind == "CubaLIF" for n in hit) else ""
        yield Diagnostic(
            "NIRHW-W004",
            f"r equals the decay of the membrane at dt = {told:g} s: Spyx writes r = beta",
            _names(hit),
            "as written, a step adds r * dt / tau of the drive; Spyx's own neurons add all of it",
            f"scale r: set r = tau / dt{synapse} with dt = {told:g}, and read with dt={told:g}, reset='subtract'",
        )


def _rockpool_dt(leaky: list[Node], dt: float) -> Iterator[Diagnostic]:
    """With one tau for all, r = tau * exp(-dt / tau) / dt reads as tau / dt, with another dt."""
    hit: list[Node] = []
    told: set[float] = set()
    for node in leaky:
        tau, r = _tau(node), node.values["r"]
        first_tau, first_r = float(tau.flat[0]), float(r.flat[0])
        if first_r <= 1.0 or abs(first_tau / first_r - dt) > AGREE_WITHIN * dt or np.ptp(r) > AGREE_WITHIN * first_r:
            continue
        meant = first_tau * _solve_rockpool(first_r)
        if _is_round(meant) and not _is_round(first_tau / first_r):
            hit.append(node)
            told.add(float(f"{meant:.2g}"))
    if hit and len(told) == 1:
        meant = told.pop()
        yield Diagnostic(
            "NIRHW-W004",
            f"dt = {dt:.6g} s is read from r = tau / dt, but r = tau * exp(-dt / tau) / dt gives the round dt = {meant:g} s",
            _names(hit),
            "Rockpool writes r this way; with one tau for all neurons the file cannot tell",
            f"if the file comes from Rockpool, give dt={meant:g}, integrator='exponential', reset='subtract', "
            "and set r = tau / dt, as a step of its own neurons adds the drive itself",
        )


def _solve_rockpool(r: float) -> float:
    """Return x = dt / tau with r = exp(-x) / x, by Newton's method on x + log(x) + log(r)."""
    x = 1.0 / (1.0 + r)
    for _ in range(6):  # quadratic, and x starts within a few per cent
        x -= (x + math.log(x) + math.log(r)) / (1.0 + 1.0 / x)
    return x


def _is_round(value: float) -> bool:
    return abs(float(f"{value:.2g}") - value) <= ROUND_WITHIN * value


def _half_converted(leaky: list[Node], dt: float) -> Iterator[Diagnostic]:
    """Norse and Rockpool leave w_in at 1, though their synapses add the whole weight; Rockpool writes 1 / dt into r."""
    hit = [
        n
        for n in leaky
        if n.kind in _CUBA
        and np.min(n.values["r"]) >= 1.0
        and np.all(n.values.get("w_in", 1.0) == 1.0)
        and np.min(n.values["tau_syn"]) >= SHORT_SYNAPSE * dt
    ]
    for rockpool in (True, False):
        some = [n for n in hit if (np.min(n.values["r"]) > 1.0) == rockpool]
        if not some:
            continue
        kept = max(dt / float(np.min(n.values["tau_syn"])) for n in some)
        yield Diagnostic(
            "NIRHW-W004",
            f"{'r holds the factor 1 / dt, w_in does not' if rockpool else 'w_in = 1'}: "
            f"a spike adds at most {kept:.3g} of its weight to the synaptic current",
            _names(some),
            "Rockpool leaves w_in out, but its own synapses add the whole weight, decayed by one step"
            if rockpool
            else "Norse leaves w_in out, but its own synapses add the whole weight",
            "if so meant, set w_in = tau_syn / dt; for Rockpool w_in = tau_syn * exp(-dt / tau_syn) / dt and r = tau_mem / dt"
            if rockpool
            else "if so meant, set w_in = tau_syn / dt",
        )


# -- wiring --------------------------------------------------------------------------------------------------------------


def _input_through_recurrence(flat: FlatGraph) -> Iterator[Diagnostic]:
    """Spyx nests a recurrent layer so that its input arrives at the recurrent weights, not at the neuron."""
    ports = [n for n in flat.nodes.values() if n.kind == "Junction"]
    if not ports:
        return
    before, after = flat.neighbours()
    for port in ports:
        if len(after[port.name]) != 1:
            continue
        weights = flat.nodes[after[port.name][0]]
        if weights.kind not in ("Linear", "Affine") or len(after[weights.name]) != 1:
            continue
        neuron = flat.nodes[after[weights.name][0]]
        if neuron.kind in SPIKING_KINDS and weights.name in after[neuron.name] and before[neuron.name] == [weights.name]:
            yield Diagnostic(
                "NIRHW-W004",
                "the layer's input passes the recurrent weights before it reaches the neurons",
                (port.name, weights.name, neuron.name),
                "the edges say so and are read literally; Spyx 1.0 writes its recurrent layers like this, "
                "though its own input goes to the neurons directly",
                f"if the graph comes from Spyx, replace the edge from '{port.name}' to '{weights.name}' "
                f"by one to '{neuron.name}'",
            )


# -- firing --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Range:
    """Lowest and highest value a signal can take in any step, by element; infinite where nothing is known."""

    low: Array
    high: Array

    @property
    def is_known(self) -> bool:
        return bool(np.isfinite(self.low).all() and np.isfinite(self.high).all())

    def times(self, factor: Array) -> _Range:
        """Return the range of the product with a factor by element."""
        if factor.size and factor.min() >= 0.0:
            return _Range(self.low * factor, self.high * factor)
        first, second = self.low * factor, self.high * factor
        return _Range(np.minimum(first, second), np.maximum(first, second))

    def __add__(self, other: _Range) -> _Range:
        return _Range(self.low + other.low, self.high + other.high)


def _unknown(size: int) -> _Range:
    return _Range(np.full(size, -np.inf), np.full(size, np.inf))


def _through(operator: Operator, arriving: _Range) -> _Range:
    """Return the range behind an operator."""
    if operator.is_identity:
        return arriving
    if not arriving.is_known:
        return _unknown(size_of(operator.out_shape))
    if isinstance(operator, Chain):
        for part in operator.parts:
            arriving = _through(part, arriving)
        return arriving
    if isinstance(operator, Scaling):
        return arriving.times(operator.factor)
    if isinstance(operator, Convolution | Pooling):
        return _through_windows(operator, arriving)
    if isinstance(operator, Dense):
        rows = max(1, BLOCK // max(1, operator.weight.shape[1]))  # temporaries stay small, however large the matrix
        return _joined([_weighted(operator.weight[k : k + rows], arriving) for k in range(0, operator.weight.shape[0], rows)])
    return _weighted(operator.matrix, arriving)


def _weighted(weight: Any, arriving: _Range) -> _Range:
    """Return the range of a matrix product, dense or sparse."""
    positive = np.maximum(weight, 0.0) if isinstance(weight, np.ndarray) else weight.maximum(0.0)
    negative = weight - positive
    return _Range(
        np.asarray(positive @ arriving.low + negative @ arriving.high),
        np.asarray(positive @ arriving.high + negative @ arriving.low),
    )


def _joined(parts: list[_Range]) -> _Range:
    if len(parts) == 1:
        return parts[0]
    return _Range(np.concatenate([p.low for p in parts]), np.concatenate([p.high for p in parts]))


def _through_windows(operator: Convolution | Pooling, arriving: _Range) -> _Range:
    """Bound a window operator by output channel; zero padding may take the place of any input."""
    channels = operator.in_shape[0]
    low = np.minimum(arriving.low.reshape(channels, -1).min(axis=1), 0.0)
    high = np.maximum(arriving.high.reshape(channels, -1).max(axis=1), 0.0)
    if isinstance(operator, Pooling):
        factor = 1.0 if operator.average else float(size_of(operator.kernel))
        low, high = low * factor, high * factor
    else:
        groups = operator.groups
        taps = operator.weight.reshape(groups, operator.weight.shape[0] // groups, operator.weight.shape[1], -1)
        positive, negative = np.maximum(taps, 0.0).sum(axis=-1), np.minimum(taps, 0.0).sum(axis=-1)
        low, high = low.reshape(groups, -1), high.reshape(groups, -1)
        low, high = (
            (np.einsum("goi,gi->go", positive, a) + np.einsum("goi,gi->go", negative, b)).ravel()
            for a, b in ((low, high), (high, low))
        )
    plane = size_of(operator.out_shape) // low.size
    return _Range(np.repeat(low, plane), np.repeat(high, plane))


def _leaked(drive: _Range, decay: Array) -> _Range:
    """Return the range of x = decay * x + drive, from x = 0 on: after one step, or in the long run."""
    kept = 1.0 - decay
    low = np.where(drive.low < 0.0, drive.low / kept, drive.low)
    return _Range(low, np.where(drive.high > 0.0, drive.high / kept, drive.high))


class _Firing:
    """Bounds of all populations, and the quiet state: what each neuron comes to where no spike ever arrives."""

    def __init__(self, flat: FlatGraph, network: Network, told: set[str]):
        self.flat, self.network, self.told = flat, network, told
        self.into: dict[str, list[Projection]] = {n: [] for n in network.populations}
        for proj in network.projections:
            self.into[proj.target].append(proj)
        self.range: dict[str, _Range] = {}
        self.quiet: dict[str, Array | None] = {}  # None: zero
        self.weak: set[str] = set()

    def findings(self) -> Iterator[Diagnostic]:
        """Yield the warnings, population by population."""
        for pop in self.network.populations.values():
            if self._is_weak(pop):
                self.weak.add(pop.name)
            if pop.rule == "input":
                self.range[pop.name] = _Range(np.zeros(pop.size), np.ones(pop.size))
                continue
            membrane = self._membrane_range(pop)
            if pop.rule == "spiking":
                yield from self._silent(pop, membrane)
                yield from self._tonic(pop)
            else:
                self.range[pop.name] = membrane
                self.quiet[pop.name] = self._quiet_membrane(pop)

    # -- bounds

    def _signal(self, proj: Projection) -> _Range:
        """Return the range of what a projection carries; a source later in the order closes a cycle."""
        source = self.network.populations[proj.source]
        known = self.range.get(source.name)
        if known is None:
            known = _Range(np.zeros(source.size), np.ones(source.size)) if source.rule == "spiking" else _unknown(source.size)
        # a delayed signal is zero until the delay is over
        late = _Range(np.minimum(known.low, 0.0), np.maximum(known.high, 0.0)) if proj.max_delay else known
        return _through(proj.operator, late)

    def _membrane_range(self, pop: Population) -> _Range:
        total = _Range(np.zeros(pop.size), np.zeros(pop.size))
        for port in pop.ports:
            drive = _Range(port.bias, port.bias)
            for onset in port.onsets:
                drive = drive + _Range(np.minimum(onset.drive, 0.0), np.maximum(onset.drive, 0.0))
            for proj in self.into[pop.name]:
                if proj.port == port.name:
                    drive = drive + self._signal(proj)
            if not drive.is_known:
                return _unknown(pop.size)
            arrived = drive.times(port.gain)
            total = total + (arrived if port.decay is None else _leaked(arrived, port.decay))
        if pop.membrane is None:
            return total
        if not total.is_known:
            return _unknown(pop.size)
        driven = total.times(pop.membrane.gain) + _Range(pop.membrane.leak, pop.membrane.leak)
        return _leaked(driven, pop.membrane.decay)

    def _silent(self, pop: Population, membrane: _Range) -> Iterator[Diagnostic]:
        assert pop.threshold is not None  # spiking populations have one
        dead = membrane.high <= pop.threshold  # a spike needs more than the threshold
        count = int(np.count_nonzero(dead))
        self.range[pop.name] = _Range(np.zeros(pop.size), np.where(dead, 0.0, 1.0))
        if count >= max(1.0, MOST * pop.size):
            yield self._never(pop, membrane.high, count)
        elif pop.name in self.weak and pop.name not in self.told:
            hard = int(np.count_nonzero(HARDLY * membrane.high < pop.threshold))
            if hard >= max(1.0, MOST * pop.size) and self._has_choice(pop):
                yield Diagnostic(
                    "NIRHW-W004",
                    f"r = 1 together with tau: a step adds {self._share(pop)} of the drive, the threshold is hardly ever reached",
                    pop.nodes,
                    f"{hard} of {pop.size} neurons need more than half of their excitatory inputs to spike in every step",
                    _scale_r(self._kind(pop)),
                )

    def _has_choice(self, pop: Population) -> bool:
        """Whether neurons have several excitatory inputs, so that "most of them" says something."""
        sources = self.into[pop.name]
        if self._kind(pop) == "Threshold":
            sources = [p for s in sources for p in self.into[s.source]]
        parts = [part for p in sources for part in (p.operator.parts if isinstance(p.operator, Chain) else (p.operator,))]
        dense = [part.weight for part in parts if isinstance(part, Dense)]
        wide = any(not isinstance(part, Dense | Scaling) and not part.is_identity for part in parts)
        return wide or any(np.count_nonzero(w > 0.0) >= 2 * w.shape[0] for w in dense)

    def _never(self, pop: Population, high: Array, count: int) -> Diagnostic:
        assert pop.threshold is not None
        nearest = int(np.argmax(high / np.where(pop.threshold > 0.0, pop.threshold, 1.0)))
        who = "the population" if count == pop.size else f"{count} of {pop.size} neurons"
        if count == pop.size:
            where = f"the membrane of the neuron that comes nearest never exceeds {high[nearest]:.3g}"
            where += f", its threshold is {pop.threshold[nearest]:.3g}"
        else:
            where = "the membrane never exceeds the threshold"
        weak = f"; r = 1, so a step adds {self._share(pop)} of the drive" if pop.name in self.weak else ""
        fix = _scale_r(self._kind(pop)) if pop.name in self.weak else "check threshold, r, the unit of tau, and dt"
        return Diagnostic(
            "NIRHW-W002",
            f"{who} can never fire",
            pop.nodes,
            f"{where} though every excitatory input spikes in every step (dt = {self.network.dt:g} s){weak}",
            fix,
        )

    # -- r = 1

    def _kind(self, pop: Population) -> str:
        return self.flat.nodes[pop.name].kind

    def _is_weak(self, pop: Population) -> bool:
        """Whether r = 1 (and w_in = 1) stands beside a tau longer than a step, here or in the LI that feeds a Threshold."""
        node = self.flat.nodes.get(pop.name)
        if node is None:
            return False
        if node.kind == "Threshold":
            sources = [p.source for p in self.into[pop.name]]
            return bool(sources) and all(s in self.weak and self.network.populations[s].rule == "analog" for s in sources)
        if node.kind not in _LEAKY or np.any(node.values["r"] != 1.0) or np.any(node.values.get("w_in", 1.0) != 1.0):
            return False
        return bool(np.max(_tau(node)) > self.network.dt * (1.0 + AGREE_WITHIN))

    def _share(self, pop: Population) -> str:
        """Return the share of the drive that a step adds, as text."""
        owner = pop
        if self._kind(pop) == "Threshold":
            owner = self.network.populations[self.into[pop.name][0].source]
        if owner.membrane is None:
            return "a part"
        shares = owner.membrane.gain * owner.ports[0].gain
        low, high = float(shares.min()), float(shares.max())
        return f"{low:.3g}" if high <= low * (1 + AGREE_WITHIN) else f"{low:.3g} to {high:.3g}"

    # -- without input

    def _quiet_drive(self, pop: Population) -> Array | None:
        """Return the summed currents in the long run without a single spike; None for zero."""
        total: Array | None = None
        for port in pop.ports:
            drive = _constant(port)
            for proj in self.into[pop.name]:
                sent = self.quiet.get(proj.source)
                if proj.port == port.name and sent is not None:
                    carried = proj.operator.apply(sent[None])[0]
                    drive = carried if drive is None else drive + carried
            if drive is not None:
                arrived = port.gain * drive if port.decay is None else _settled(port.gain * drive, port.decay)
                total = arrived if total is None else total + arrived
        return total

    def _quiet_membrane(self, pop: Population) -> Array | None:
        drive = self._quiet_drive(pop)
        if pop.membrane is None:
            return drive
        if drive is None and not pop.membrane.leak.any():
            return None
        pushed = pop.membrane.leak if drive is None else pop.membrane.gain * drive + pop.membrane.leak
        settled = _settled(pushed, pop.membrane.decay)
        return settled if np.isfinite(settled).all() else None

    def _tonic(self, pop: Population) -> Iterator[Diagnostic]:
        """Warn where v_leak alone lies above the threshold, or a constant drive lifts most neurons over it in every step."""
        assert pop.threshold is not None and pop.membrane is not None  # as for all spiking populations
        leak = pop.membrane.leak
        drive = self._quiet_drive(pop)
        if drive is None and not leak.any() and pop.threshold.min() >= 0.0:
            return
        if leak.any():
            selfish = np.count_nonzero(_settled(leak, pop.membrane.decay) > pop.threshold)
            if selfish:
                yield Diagnostic(
                    "NIRHW-W005",
                    f"{_how_many(int(selfish), pop.size)} without input: v_leak lies above v_threshold",
                    pop.nodes,
                    "the membrane is drawn towards v_leak and passes the threshold on its own",
                    "nothing, if this pacemaker is meant; else lower v_leak or raise v_threshold",
                )
                return
        start = pop.v_reset if pop.reset == "value" and pop.v_reset is not None else 0.0
        once = (0.0 if drive is None else pop.membrane.gain * drive) + leak
        reached = _settled(once, pop.membrane.decay) if pop.reset == "none" else pop.membrane.decay * start + once
        count = int(np.count_nonzero(reached > pop.threshold))
        if count >= max(1.0, MOST * pop.size):
            why = "the constant drive (bias) alone passes the threshold in a single step"
            if drive is None:
                why = "the threshold is negative, a membrane at rest lies above it"
            yield Diagnostic(
                "NIRHW-W005",
                f"{_how_many(count, pop.size)} without input, at every step",
                pop.nodes,
                why,
                "check the bias, r and threshold, and that dt is the one the network was made for",
            )


def _how_many(count: int, size: int) -> str:
    return "the population fires" if count == size else f"{count} of {size} neurons fire"


def _scale_r(kind: str) -> str:
    """Return the mend of a gain that lacks 1 / dt."""
    both = "r = tau_mem / dt and w_in = tau_syn / dt" if kind in _CUBA else "r = tau / dt"
    return f"if the network was trained so that a step adds the drive itself, scale r: {both}; else check dt and the threshold"


def _constant(port: Port) -> Array | None:
    """Return what drives a port in the long run without spikes; None for zero."""
    drive = port.bias if port.bias.any() else None
    for onset in port.onsets:
        drive = onset.drive if drive is None else drive + onset.drive
    return drive


def _settled(pushed: Array, decay: Array) -> Array:
    """Return the limit of x = decay * x + pushed; infinite for an integrator that is pushed."""
    return np.where(pushed == 0.0, 0.0, pushed / (1.0 - decay))
