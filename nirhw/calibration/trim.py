"""Trims: constant drives or thresholds of single neurons, found by matching the firing rates of chip and float network.

A rate is the mean of many thousand steps, so a trim is well determined by few samples where a searched parameter of a neuron
would only fit noise.  What trims make up for: truncation in the chip's states, rounded weights and time constants, several
spikes a step, another reset.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirhw.emulation.result import States
from nirhw.network import Network
from nirhw.operators import Array
from nirhw.pipeline import Trim, TrimWay, Tuning
from nirhw.reference import run_reference

from .samples import Samples

#: rounds of emulation and correction
ROUNDS = 16
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

        def probe(name: str, membrane: Array, fired: NDArray[np.bool_]) -> None:
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
    def of(cls, states: States, lags: Mapping[str, int]) -> Observed:
        """Return what a run did that recorded the populations of ``lags``."""
        rates, bursts = {}, {}
        for name, lag in lags.items():
            spikes = states[name]["spikes"]
            counts = spikes.reshape(*spikes.shape[:2], -1)[:, lag:]
            shown = max(counts.shape[0] * counts.shape[1], 1)
            rates[name] = counts.sum(axis=(0, 1), dtype=np.int64) / shown
            bursts[name] = rates[name] - (counts > 0).sum(axis=(0, 1)) / shown
        return cls(rates, bursts, lags)

    @classmethod
    def mean(cls, parts: Sequence[Observed], sizes: Sequence[int]) -> Observed:
        """Return the mean over parts of a set of samples, of so many samples each."""

        def mean(rates: Sequence[Rates]) -> dict[str, Array]:
            return {n: np.average([r[n] for r in rates], axis=0, weights=sizes) for n in rates[0]}

        return cls(mean([p.rates for p in parts]), mean([p.bursts for p in parts]), parts[0].lags)


def corrected(trims: Mapping[str, Trim], network: Network, wanted: Rates, got: Rates, by: TrimWay) -> dict[str, Trim]:
    """Return trims after one round, with another drive or threshold: neurons that fire too rarely are helped, others held back.

    Neurons of a map are trimmed together: by channel, or, as kernels are shared, all by one factor on the threshold.
    """
    new = {}
    for name in got:
        pop = network.populations[name]
        assert pop.membrane is not None  # it spikes
        rows = 1 if pop.size == 0 else pop.size if len(pop.shape) < 2 else pop.shape[0] if by == "drive" else 1
        mean_wanted, mean_got = (r[name].reshape(rows, -1).mean(axis=1) for r in (wanted, got))
        missing = np.repeat(np.log((mean_wanted + SILENCE) / (mean_got + SILENCE)), pop.size // rows)
        step = np.clip(STEP * missing, -MOST, MOST)
        old = trims.get(name) or Trim(np.zeros(pop.size), np.ones(pop.size))
        # a drive d lifts the resting level by d / (1 - decay)
        leak = np.maximum(1.0 - pop.membrane.decay, SILENCE)
        change = {"drive": old.drive + leak * step} if by == "drive" else {"factor": old.factor * np.exp(-step)}
        new[name] = replace(old, **change)
    return new


def trim(
    start: Tuning, network: Network, firing: Firing, ways: tuple[TrimWay, ...], rounds: int = ROUNDS
) -> Generator[Tuning, Observed | None, None]:
    """Yield ``start`` and, round by round, candidates whose rates come nearer to those that are wanted.

    Constant drives make up for pushes, such as truncation, and factors on thresholds for gains, such as rounded weights; each way
    begins at ``start``.  The caller sends what each candidate does, None of one that cannot be lowered.

    Args:
        start: tuning to begin with.
        network: the float network.
        firing: how it fires.
        ways: what is trimmed.
        rounds: candidates, ``start`` included.
    """
    first = (yield start) if rounds else None
    for by in ways:
        tried, got = start, first
        for _ in range((rounds - 1) // len(ways)):
            if got is None:
                break
            tried = replace(tried, trims=corrected(tried.trims, network, firing.rates(got.lags), got.rates, by))
            got = yield tried


def following(rounds: Generator[Tuning, Observed | None, None], observed: Observed | None) -> Tuning | None:
    """Return the next candidate of :func:`trim` once it is told what the last one does; None after the last round."""
    try:
        return rounds.send(observed)
    except StopIteration:
        return None


def trim_rows(tuning: Tuning) -> list[dict[str, Any]]:
    """Return rows of the report: smallest and largest drive, in thresholds a step, and factor on thresholds, by population."""
    return [
        {
            "population": name,
            "drive": [float(t.drive.min()), float(t.drive.max())],
            "factor": [float(t.factor.min()), float(t.factor.max())],
        }
        for name, t in tuning.trims.items()
    ]
