"""Level 2 with data: weights rounded for the recorded activity, neurons trimmed to the float network's firing rates.

Everything is decided on the search half, with the emulator's word: what makes its decisions worse is not kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from nirhw.diagnostics import NirhwError
from nirhw.fidelity import Share
from nirhw.network import Ints, Network
from nirhw.operators import Array
from nirhw.pipeline import TrimWay, Tuning

from .activity import Activity
from .driver import CHUNK, Check, Emulated, chip_evidence, effect_of, judged, observe, split
from .objective import Objective, Score
from .samples import Samples
from .trim import Firing, Observed, trim, trim_rows

#: returns the emulator for an activity to round for, and a tuning; may raise NirhwError
LowerRecorded = Callable[[Activity | None, Tuning], Emulated]


@dataclass(frozen=True)
class RateFit:
    """Firing rates of a population on the search half against the float network's.

    Attributes:
        population: name.
        before, after: mean difference of the neurons' rates, as a share of the mean rate; without and with trims.
    """

    population: str
    before: float
    after: float


@dataclass(frozen=True, eq=False)
class Recorded:
    """What was found.

    Attributes:
        activity: what weights are rounded for; None where rounding each to the nearest did better.
        tuning: trims, where they helped.
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
    tuning: Tuning
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
            "trims": trim_rows(self.tuning),
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


def fit_to_record(
    network: Network, lower: LowerRecorded, halves: Split, seed: int, trims: tuple[TrimWay, ...], alone: bool
) -> Recorded:
    """Return how weights and trims fit the activity that the float network shows on the search half.

    Weights are rounded for the activity, which always lowers the error of the drive, unless the decisions say clearly that this
    does harm: by more than a standard error, or below those of the default.  Where a search follows, which is quicker with
    weights that are rounded one by one, they have to say clearly that it helps.

    Args:
        network: the float network.
        lower: makes the emulator of a candidate.
        halves: calibration data.
        seed: for the report.
        trims: what of neurons may be trimmed.
        alone: whether no search follows, which finds trims of its own.

    Raises:
        NirhwError: where the network cannot be lowered at all.
    """
    searched = halves.searched
    activity = Activity.recorded(network, searched.counts)
    firing = Firing.of(network, searched, CHUNK)
    bench = _Bench(network, lower, searched, halves.objective, firing, trims if alone else ())
    plain = bench.tried(None, Tuning())
    assert plain is not None  # an error of the default is raised
    rounded = bench.tried(activity, Tuning())
    doubt = _doubt(plain.score, searched.number)
    best, base = bench.trimmed(plain), plain
    if rounded is not None and rounded.score.value >= plain.score.value + (-doubt if alone else doubt):
        other = bench.trimmed(rounded)
        if other.score.value >= max(plain.score.value, best.score.value - _doubt(best.score, searched.number)):
            best, base = other, rounded
    if base.score.value >= plain.score.value and not best.score.clearly_above(base.score):
        best = base  # the best of many rounds of trims is a little better by chance alone
    before, after, error = halves.judged(plain.emulated, best.emulated)
    return Recorded(
        best.activity,
        best.tuning,
        tuple(bench.rate_fits(plain, best)),
        plain.score,
        best.score,
        before,
        after,
        error,
        halves.float_accuracy,
        searched.labels is not None,
        (halves.chosen.size, halves.held.size),
        seed,
    )


def _doubt(score: Score, number: int) -> float:
    """Return the standard error of a share of hits on so many samples, and one sample more."""
    return float(np.sqrt(score.hits * (1.0 - score.hits) / number)) + 1.0 / number


@dataclass(frozen=True, eq=False)
class _Tried:
    """A candidate: what it was made of, its emulator, its score, and how its neurons fire."""

    activity: Activity | None
    tuning: Tuning
    emulated: Emulated
    score: Score
    observed: Observed


@dataclass(frozen=True, eq=False)
class _Bench:
    """Lowers and emulates candidates on the search half."""

    network: Network
    lower: LowerRecorded
    searched: Samples
    objective: Objective
    firing: Firing
    trims: tuple[TrimWay, ...]

    def tried(self, activity: Activity | None, tuning: Tuning) -> _Tried | None:
        """Return a candidate, None where it cannot be lowered; the default raises why."""
        try:
            emulated = self.lower(activity, tuning)
        except NirhwError:
            if activity is None and not tuning.trims:
                raise
            return None
        evidence, observed = observe(emulated, self.searched, self.network)
        return _Tried(activity, tuning, emulated, self.objective.score(evidence), observed)

    def trimmed(self, best: _Tried) -> _Tried:
        """Return the best of a candidate and those with trims."""
        if not self.trims:
            return best
        activity = best.activity

        def judge(tuning: Tuning) -> Observed | None:
            nonlocal best
            found = self.tried(activity, tuning)
            if found is not None and found.score.value > best.score.value:
                best = found
            return None if found is None else found.observed

        trim(Tuning(overshoot=self.firing.overshoot), self.network, self.firing, judge, self.trims)
        return best

    def rate_fits(self, plain: _Tried, best: _Tried) -> Iterator[RateFit]:
        """Yield how the rates of each population come out."""
        wanted = self.firing.rates(plain.observed.lags)
        for name, rates in wanted.items():
            gaps = (np.abs(t.observed.rates[name] - rates).sum() / max(float(rates.sum()), 1e-12) for t in (plain, best))
            yield RateFit(name, *map(float, gaps))
