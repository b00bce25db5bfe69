"""Level 2 with data: weights rounded for the recorded activity, neurons trimmed to the float network's firing rates.

Everything is decided on the search half, with the emulator's word: what makes its decisions worse is not kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from nirhw.diagnostics import NirhwError
from nirhw.pipeline import TrimWay, Tuning

from .activity import Activity
from .evaluate import Emulated, emulate_all
from .halves import Halves, Outcome
from .objective import Score
from .trim import Observed, following, trim, trim_rows

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
        outcome: of the change from the default to this.
    """

    activity: Activity | None
    tuning: Tuning
    rates: tuple[RateFit, ...]
    outcome: Outcome

    def to_dict(self) -> dict[str, Any]:
        """Return the section "recorded" of the report, JSON-ready."""
        return {
            **self.outcome.to_dict(),
            "compensated": self.activity is not None,
            "rates": [asdict(r) for r in self.rates],
            "trims": trim_rows(self.tuning),
        }


def fit_to_record(lower: LowerRecorded, halves: Halves, trims: tuple[TrimWay, ...], alone: bool) -> Recorded:
    """Return how weights and trims fit the activity that the float network shows on the search half.

    Weights are rounded for the activity, which always lowers the error of the drive, unless the decisions say clearly that this
    does harm: by more than a standard error, or below those of the default.  Where a search follows, which is quicker with
    weights that are rounded one by one, they have to say clearly that it helps.

    Args:
        lower: makes the emulator of a candidate.
        halves: calibration data, and the float network.
        trims: what of neurons may be trimmed.
        alone: whether no search follows, which finds trims of its own.

    Raises:
        NirhwError: where the network cannot be lowered at all.
    """
    searched = halves.searched
    activity = Activity.recorded(halves.network, searched.counts)
    bench = _Bench(lower, halves, trims if alone else ())
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
    return Recorded(
        best.activity,
        best.tuning,
        tuple(bench.rate_fits(plain, best)),
        halves.outcome((plain.score, plain.emulated), (best.score, best.emulated)),
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

    lower: LowerRecorded
    halves: Halves
    trims: tuple[TrimWay, ...]

    def tried(self, activity: Activity | None, tuning: Tuning) -> _Tried | None:
        """Return a candidate, None where it cannot be lowered; the default raises why."""
        try:
            emulated = self.lower(activity, tuning)
        except NirhwError:
            if activity is None and not tuning.trims:
                raise
            return None
        (seen,) = emulate_all([emulated], self.halves.searched, self.halves.network, observe=True)
        assert seen is not None and seen.observed is not None  # there is an emulator, and it was asked
        return _Tried(activity, tuning, emulated, self.halves.objective.score(seen.evidence), seen.observed)

    def trimmed(self, best: _Tried) -> _Tried:
        """Return the best of a candidate and those with trims."""
        if not self.trims:
            return best
        halves, activity = self.halves, best.activity
        rounds = trim(Tuning(overshoot=halves.firing.overshoot), halves.network, halves.firing, self.trims)
        tuning = next(rounds, None)
        while tuning is not None:
            found = self.tried(activity, tuning)
            if found is not None and found.score.value > best.score.value:
                best = found
            tuning = following(rounds, None if found is None else found.observed)
        return best

    def rate_fits(self, plain: _Tried, best: _Tried) -> Iterator[RateFit]:
        """Yield how the rates of each population come out."""
        wanted = self.halves.firing.rates(plain.observed.lags)
        for name, rates in wanted.items():
            gaps = (np.abs(t.observed.rates[name] - rates).sum() / max(float(rates.sum()), 1e-12) for t in (plain, best))
            yield RateFit(name, *map(float, gaps))
