"""Trims: one constant drive a neuron, found by matching the firing rates of chip and float network.

A rate is the mean of many thousand steps, so a trim is well determined by few samples where a searched parameter of a neuron
would only fit noise.  What trims make up for: truncation in the chip's states, rounded weights and time constants, several
spikes a step, another reset.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
class Firing:
    """How the neurons of the float network fire, by spiking population.

    Attributes:
        spikes: spikes in each step, mean over samples, ``(steps, neurons)``.
        overshoot: mean membrane at a spike, before the reset, in thresholds, ``(neurons,)``; 1 where a neuron hardly spikes.
    """

    spikes: Mapping[str, Array]
    overshoot: Mapping[str, Array]

    @classmethod
    def of(cls, network: Network, samples: Samples, chunk: int) -> Firing:
        """Return how the float network fires on some samples, ``chunk`` of which run at once."""
        names = spiking(network)
        rows: dict[str, list[Array]] = {n: [] for n in names}
        level = {n: np.zeros(network.populations[n].size) for n in names}

        def probe(name: str, membrane: Array, fired: Array) -> None:
            rows[name].append(fired.sum(axis=0, dtype=np.float64))
            level[name] += (membrane * fired).sum(axis=0)

        for part in samples.chunks(network, chunk):
            run_reference(network, part, probe=probe)
        spikes = {n: np.stack(r).reshape(-1, samples.steps, level[n].size).sum(axis=0) for n, r in rows.items()}
        overshoot = {}
        for name in names:
            threshold = network.populations[name].threshold
            assert threshold is not None  # it spikes
            total = spikes[name].sum(axis=0)
            enough = (total >= FEWEST_SPIKES) & (threshold > 0)
            overshoot[name] = np.where(enough, level[name] / np.where(enough, total * threshold, 1.0), 1.0)
        return cls({n: s / samples.number for n, s in spikes.items()}, overshoot)

    def rates(self, lags: Mapping[str, int]) -> dict[str, Array]:
        """Return spikes a step, ``(neurons,)``, in the steps that a chip shows whose populations lag behind."""
        return {n: self.spikes[n][: self.spikes[n].shape[0] - lag].mean(axis=0) for n, lag in lags.items()}


def spiking(network: Network) -> tuple[str, ...]:
    """Return the populations that have rates."""
    return tuple(n for n, p in network.populations.items() if p.rule == "spiking" and p.role == "network")


@dataclass(frozen=True, eq=False)
class Observed:
    """How the neurons of a chip fire, by spiking population.

    Attributes:
        rates: spikes a step, ``(neurons,)``, in the steps after the population's lag.
        bursts: those of them beyond one a step.
        lags: steps behind the float network.
    """

    rates: Rates
    bursts: Rates
    lags: Mapping[str, int]

    @classmethod
    def of(cls, runs: Sequence[States], lags: Mapping[str, int]) -> Observed:
        """Return what runs did that recorded the populations of ``lags``."""
        rates, bursts = {}, {}
        for name, lag in lags.items():
            counts = [r[name]["spikes"].reshape(*r[name]["spikes"].shape[:2], -1)[:, lag:] for r in runs]
            shown = max(sum(c.shape[0] * c.shape[1] for c in counts), 1)
            rates[name] = np.asarray(sum(c.sum(axis=(0, 1), dtype=np.float64) for c in counts)) / shown
            bursts[name] = rates[name] - np.asarray(sum((c > 0).sum(axis=(0, 1)) for c in counts)) / shown
        return cls(rates, bursts, lags)


def corrected(trims: Mapping[str, Array], network: Network, wanted: Rates, got: Rates) -> dict[str, Array]:
    """Return trims after one round: up where a neuron fires too rarely, down where too often; zero where there were none."""
    new = {}
    for name in got:
        membrane = network.populations[name].membrane
        assert membrane is not None  # it spikes
        missing = np.log((wanted[name] + SILENCE) / (got[name] + SILENCE))
        # a drive d lifts the resting level by d / (1 - decay)
        leak = np.maximum(1.0 - membrane.decay, SILENCE)
        new[name] = trims.get(name, 0.0) + leak * np.clip(STEP * missing, -MOST, MOST)
    return new


def trim(
    start: Tuning, network: Network, firing: Firing, judge: Callable[[Tuning], Observed | None], rounds: int = ROUNDS
) -> None:
    """Judge ``start`` and, round by round, candidates whose rates come nearer to those that are wanted.

    Args:
        start: tuning to begin with.
        network: the float network.
        firing: how it fires.
        judge: returns what a candidate does, and keeps the best; None of one that cannot be lowered.
        rounds: candidates, ``start`` included.
    """
    tried = start
    for _ in range(rounds):
        got = judge(tried)
        if got is None:
            return
        tried = replace(tried, trims=corrected(tried.trims, network, firing.rates(got.lags), got.rates))
