"""Level 2 with data: weights rounded for the recorded activity, thresholds corrected by firing rate.

Everything is decided on the search half, with the emulator's word: what makes its decisions worse is not kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from nirhw.diagnostics import NirhwError
from nirhw.fidelity import Share
from nirhw.network import Ints, Network, Population
from nirhw.operators import Array, frozen

from .activity import Activity
from .driver import CHUNK, Check, Emulated, chip_evidence, effect_of, judged, split
from .objective import Objective, Score, evidence_of
from .samples import Samples

#: corrections of a layer's thresholds, one after the other
ROUNDS = 4
#: a correction is at first this power of the ratio of rates, and no larger than this
POWER, LARGEST = 0.5, 1.4
#: spikes that both rates are given for free, so that a few by chance correct nothing
FREE = 5.0

#: returns the emulator for an activity to round for, and factors on thresholds by population; may raise NirhwError
LowerRecorded = Callable[[Activity | None, Mapping[str, Array]], Emulated]


@dataclass(frozen=True)
class RateFit:
    """Firing rates of a population on the search half against the float network's.

    Attributes:
        population: name.
        before, after: mean difference of the neurons' rates, as a share of the mean rate; without and with the corrections.
        low, high: smallest and largest factor on a threshold.
    """

    population: str
    before: float
    after: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Recorded:
    """What was found.

    Attributes:
        activity: what weights are rounded for; None where rounding each to the nearest did better.
        thresholds: factor on the thresholds by population, ``(size,)``; only of those that were corrected.
        rates: firing rates of all spiking populations.
        search_before, search_after: scores on the search half of the default and of the result.
        before, after: shares on the check half.
        gain_error: standard error of the change of agreement on the check half.
        float_accuracy: of the float network on the check half, where labels were given.
        by_labels: whether labels were the target.
        samples: numbers of search and check samples.
        seed: of the split.
    """

    activity: Activity | None
    thresholds: Mapping[str, Array]
    rates: tuple[RateFit, ...]
    search_before: Score
    search_after: Score
    before: Check
    after: Check
    gain_error: float
    float_accuracy: Mapping[str, Share]
    by_labels: bool
    samples: tuple[int, int]
    seed: int

    @property
    def effect(self) -> dict[str, float]:
        """What the ledger books, see :func:`~nirhw.calibration.driver.effect_of`."""
        return effect_of(self.before, self.after, self.gain_error)

    def to_dict(self) -> dict[str, Any]:
        """Return the section "recorded" of the report, JSON-ready."""
        return {
            "target": "labels" if self.by_labels else "decisions of the float network",
            "compensated": self.activity is not None,
            "rates": [asdict(r) for r in self.rates],
            "search_samples": self.samples[0],
            "check_samples": self.samples[1],
            "search_hits_before": self.search_before.hits,
            "search_hits": self.search_after.hits,
            "search_value_before": self.search_before.value,
            "search_value": self.search_after.value,
            "check_before": asdict(self.before),
            "check": asdict(self.after),
            "float_accuracy": {n: asdict(s) for n, s in self.float_accuracy.items()},
            "error_of_change": self.gain_error,
            "seed": self.seed,
        }


@dataclass(frozen=True, eq=False)
class Split:
    """Calibration samples in two halves, and what the float network says of all of them.

    Attributes:
        samples: all of them.
        reference: evidence of the float network by output, ``[sample, class]``.
        chosen, held: indices of the search half and of the check half.
    """

    samples: Samples
    reference: Mapping[str, Array]
    chosen: Ints
    held: Ints

    @classmethod
    def of(cls, network: Network, samples: Samples, seed: int) -> Split:
        """Return the halves that :func:`~nirhw.calibration.driver.calibrate` makes, too."""
        return cls(samples, *split(network, samples, seed))

    @property
    def searched(self) -> Samples:
        """The search half."""
        return self.samples.picked(self.chosen)

    @property
    def objective(self) -> Objective:
        """What candidates are measured against on the search half."""
        return Objective.of({n: e[self.chosen] for n, e in self.reference.items()}, self.searched.labels)

    @property
    def wanted(self) -> dict[str, Ints]:
        """Decisions of the float network on the check half, by output."""
        return {n: e[self.held].argmax(axis=1) for n, e in self.reference.items()}

    def judged(self, old: Emulated, new: Emulated) -> tuple[Check, Check, float]:
        """Return the shares of two configurations on the check half, and the standard error of the change of agreement."""
        held, names, wanted = self.samples.picked(self.held), tuple(self.reference), self.wanted
        before, after = ({n: e.argmax(axis=1) for n, e in chip_evidence(*d, held, names, None).items()} for d in (old, new))
        change = np.mean([(after[n] == wanted[n]).astype(float) - (before[n] == wanted[n]) for n in names], axis=0)
        return judged(before, wanted, held), judged(after, wanted, held), float(change.std() / np.sqrt(change.size))

    @property
    def float_accuracy(self) -> Mapping[str, Share]:
        """Accuracy of the float network on the check half, by output, where there are labels."""
        return judged(self.wanted, self.wanted, self.samples.picked(self.held)).accuracy


def fit_to_record(network: Network, lower: LowerRecorded, halves: Split, seed: int, correct: bool = True) -> Recorded:
    """Return how weights and thresholds fit the activity that the float network shows on the search half.

    Weights are rounded for the activity, which always lowers the error of the drive, unless the decisions say clearly that this
    does harm: by more than a standard error, or below those of the default.  Where nothing else is to be corrected they have
    to say clearly that it helps.

    Args:
        network: the float network.
        lower: makes the emulator of a candidate.
        halves: calibration data.
        seed: for the report.
        correct: whether thresholds are corrected; a search that follows does that better, and is quicker with weights that
            are rounded one by one.

    Raises:
        NirhwError: where the network cannot be lowered at all.
    """
    activity = Activity.recorded(network, halves.searched.counts)
    bench = _Bench(network, lower, halves, activity)
    plain = bench.tried(None, {})
    assert plain is not None  # an error of the default is raised
    rounded = bench.tried(activity, {})
    doubt = _doubt(plain.score, halves)
    best = bench.corrected(plain) if correct else plain
    if rounded is not None and rounded.score.value >= plain.score.value + (-doubt if correct else doubt):
        rounded = bench.corrected(rounded) if correct else rounded
        if rounded.score.value >= max(plain.score.value, best.score.value - _doubt(best.score, halves)):
            best = rounded
    before, after, error = halves.judged(plain.emulated, best.emulated)
    ones = np.ones(1)
    rates = tuple(
        RateFit(
            p.name,
            plain.gaps[p.name],
            best.gaps[p.name],
            float(best.factors.get(p.name, ones).min()),
            float(best.factors.get(p.name, ones).max()),
        )
        for p in bench.layers
    )
    return Recorded(
        best.activity,
        best.factors,
        rates,
        plain.score,
        best.score,
        before,
        after,
        error,
        halves.float_accuracy,
        halves.samples.labels is not None,
        (halves.chosen.size, halves.held.size),
        seed,
    )


def _doubt(score: Score, halves: Split) -> float:
    """Return the standard error of a share of hits on the search half, and one sample more."""
    number = halves.chosen.size
    return float(np.sqrt(score.hits * (1.0 - score.hits) / number)) + 1.0 / number


def with_thresholds(network: Network, factors: Mapping[str, Array]) -> Network:
    """Return the network with ``factors`` on the thresholds of populations, ``(size,)`` each."""
    changed = []
    for name, factor in factors.items():
        pop = network.populations[name]
        assert pop.threshold is not None  # spiking
        changed.append(replace(pop, threshold=frozen(pop.threshold * factor)))
    return network.with_populations(changed) if changed else network


@dataclass(frozen=True, eq=False)
class _Tried:
    """A candidate: what it was made of, its emulator and score, and spikes by neuron, there and in the float network."""

    activity: Activity | None
    factors: Mapping[str, Array]
    emulated: Emulated
    score: Score
    counts: Mapping[str, Array]
    wanted: Mapping[str, Array]

    @property
    def gaps(self) -> dict[str, float]:
        return {n: _gap(c, self.wanted[n]) for n, c in self.counts.items()}


def _gap(got: Array, wanted: Array) -> float:
    return float(np.abs(got - wanted).sum() / max(float(wanted.sum()), 1.0))


@dataclass(frozen=True, eq=False)
class _Bench:
    """Lowers and emulates candidates on the search half."""

    network: Network
    lower: LowerRecorded
    halves: Split
    activity: Activity

    @property
    def layers(self) -> list[Population]:
        """Populations whose thresholds can be corrected, in the order of a step."""
        found = [p for p in self.network.populations.values() if p.rule == "spiking" and p.role == "network"]
        return [p for p in found if p.threshold is not None and np.all(p.threshold > 0)]

    def tried(self, activity: Activity | None, factors: Mapping[str, Array]) -> _Tried | None:
        """Return a candidate, None where it cannot be lowered; the default raises why."""
        try:
            device, io_map = self.lower(activity, factors)
        except NirhwError:
            if activity is None and not factors:
                raise
            return None
        searched = self.halves.searched
        names = tuple(self.halves.reference)
        lags = {n: entry["lag"] for n, entry in io_map["outputs"].items()}
        record = {p.name: p.name for p in self.layers if p.name in io_map["populations"]}
        counts, wanted = ({n: np.zeros(self.network.populations[n].size) for n in record} for _ in range(2))
        parts = []
        for first in range(0, searched.number, CHUNK):
            some = searched.picked(np.arange(first, min(first + CHUNK, searched.number)))
            run = device.run(some.counts, record, None, None)
            parts.append(evidence_of(run, names, lags))
            for name in record:
                spikes = run.states[name]["spikes"]
                counts[name] += spikes.reshape(*spikes.shape[:2], -1).sum(axis=(0, 1), dtype=np.float64)
        for name in record:
            spikes = self.activity.spikes[name]
            late = io_map["populations"][name]["lag"]
            shown = spikes[:, : spikes.shape[1] - late].sum(axis=(0, 1), dtype=np.float64)
            wanted[name] = shown * (searched.number / spikes.shape[0])
        evidence = {n: np.concatenate([p[n] for p in parts]) for n in names}
        return _Tried(activity, factors, (device, io_map), self.halves.objective.score(evidence), counts, wanted)

    def corrected(self, best: _Tried) -> _Tried:
        """Return a candidate with its thresholds corrected, layer after layer, as long as that does no harm."""
        for pop in self.layers:
            power = POWER
            for _ in range(ROUNDS):
                step = self.step(pop, best, power)
                factors = {**best.factors, pop.name: frozen(best.factors.get(pop.name, np.ones(pop.size)) * step)}
                found = self.tried(best.activity, factors)
                if found is None or found.score.value < best.score.value or found.gaps[pop.name] >= best.gaps[pop.name]:
                    power /= 2.0  # a smaller step may do
                    continue
                best = found
        return best

    def step(self, pop: Population, seen: _Tried, power: float) -> Array:
        """Return by which factor the thresholds of a population should change, ``(size,)``; of a map, by channel."""
        if pop.name not in seen.counts:
            return np.ones(pop.size)
        by_channel = (pop.shape[0], -1) if len(pop.shape) > 1 else (pop.size, 1)
        got, wanted = (c[pop.name].reshape(by_channel).sum(axis=1) for c in (seen.counts, seen.wanted))
        ratio = np.clip(((got + FREE) / (wanted + FREE)) ** power, 1.0 / LARGEST, LARGEST)
        return np.repeat(ratio, pop.size // ratio.size)
