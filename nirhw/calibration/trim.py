"""Trims: one constant drive a neuron, found by matching the firing rates of chip and float network.

A rate is the mean of many thousand steps, so a trim is well determined by few samples where a searched parameter of a neuron
would only fit noise.  What trims make up for: truncation in the chip's states, rounded weights and time constants, several
spikes a step, another reset.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from nirhw.emulation.result import States
from nirhw.network import Network
from nirhw.operators import Array
from nirhw.pipeline import Tuning
from nirhw.reference import run_reference

from .samples import Samples

#: rounds of emulation and correction
ROUNDS = 12
#: change of the resting level, in thresholds, for an e-fold of rate, and the largest in one round
STEP, MOST = 0.3, 0.5
#: spikes a step that count as silence
SILENCE = 1e-3
#: a neuron with fewer spikes than this has no typical membrane
FEWEST_SPIKES = 6

Rates = Mapping[str, Array]


@dataclass(frozen=True, eq=False)
class Recorded:
    """What the float network did, by spiking population.

    Attributes:
        rates: spikes a step, ``(neurons,)``.
        overshoot: mean membrane at a spike, before the reset, in thresholds, ``(neurons,)``; 1 where a neuron hardly spikes.
    """

    rates: Rates
    overshoot: Mapping[str, Array]


def recorded(network: Network, samples: Samples, chunk: int) -> Recorded:
    """Return rates and overshoots of the float network on some samples, ``chunk`` of which run at once."""
    names = spiking(network)
    fired = {n: np.zeros(network.populations[n].size) for n in names}
    level = {n: np.zeros(network.populations[n].size) for n in names}

    def probe(name: str, membrane: Array, spikes: Array) -> None:
        fired[name] += spikes.sum(axis=0)
        level[name] += (membrane * spikes).sum(axis=0)

    for part in samples.chunks(network, chunk):
        run_reference(network, part, probe=probe)
    steps = samples.number * samples.steps
    overshoot = {}
    for name in names:
        threshold = network.populations[name].threshold
        assert threshold is not None  # it spikes
        enough = (fired[name] >= FEWEST_SPIKES) & (threshold > 0)
        overshoot[name] = np.where(enough, level[name] / np.where(enough, fired[name] * threshold, 1.0), 1.0)
    return Recorded({n: f / steps for n, f in fired.items()}, overshoot)


def spiking(network: Network) -> tuple[str, ...]:
    """Return the populations that have rates."""
    return tuple(n for n, p in network.populations.items() if p.rule == "spiking" and p.role == "network")


@dataclass(frozen=True, eq=False)
class Observed:
    """What the chip did: spikes a step, and those of them beyond one a step, by spiking population, ``(neurons,)``."""

    rates: Rates
    bursts: Rates

    @classmethod
    def of(cls, states: States, network: Network) -> Observed:
        """Return what a run did that recorded all spiking populations."""
        counts = {n: states[n]["spikes"].reshape(-1, network.populations[n].size) for n in spiking(network)}
        rates = {n: c.mean(axis=0, dtype=np.float64) for n, c in counts.items()}
        return cls(rates, {n: rates[n] - (c > 0).mean(axis=0) for n, c in counts.items()})


def corrected(trims: Mapping[str, Array], network: Network, wanted: Rates, got: Rates) -> dict[str, Array]:
    """Return trims after one round: up where a neuron fires too rarely, down where too often; all zero where there were none."""
    new = {}
    for name in spiking(network):
        membrane = network.populations[name].membrane
        assert membrane is not None  # it spikes
        missing = np.log((wanted[name] + SILENCE) / (got[name] + SILENCE))
        # a drive d lifts the resting level by d / (1 - decay)
        leak = np.maximum(1.0 - membrane.decay, SILENCE)
        new[name] = trims.get(name, 0.0) + leak * np.clip(STEP * missing, -MOST, MOST)
    return new


def trim(
    start: Tuning, network: Network, wanted: Rates, judge: Callable[[Tuning], Observed | None], rounds: int = ROUNDS
) -> None:
    """Judge ``start`` and, round by round, candidates whose rates come nearer to those that are wanted.

    Args:
        start: tuning to begin with.
        network: the float network.
        wanted: its rates.
        judge: returns what a candidate does, and keeps the best; None of one that cannot be lowered.
        rounds: candidates, ``start`` included.
    """
    tried = start
    for _ in range(rounds):
        got = judge(tried)
        if got is None:
            return
        tried = replace(tried, trims=corrected(tried.trims, network, wanted, got.rates))
