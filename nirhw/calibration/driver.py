"""Level 3: candidates are lowered and emulated on the search half, the best is judged on the check half.

Without labels the target is the float network's own decision, so no truth is needed and none leaks.  The default is the first
candidate: on the search half calibration is never worse than no calibration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nirhw.pipeline import TrimWay, Tuning

from .evaluate import Lower, Trial
from .halves import Halves, Outcome
from .hunt import Hunt, Watch
from .knobs import Knob, defaults
from .objective import Score
from .trim import trim_rows

#: a change of a continuous knob by this factor, or this share of its range, should not change the outcome
NUDGE = 0.05


@dataclass(frozen=True)
class Calibration:
    """What calibration found.

    Attributes:
        tuning: the best candidate.
        knobs: the knobs that were searched.
        evaluations, budget: of the search.
        interrupted: whether the user ended the search early.
        outcome: of the change from default to best.
        sensitivity: by continuous knob, the largest drop of the share of hits on the search half when it is nudged.
    """

    tuning: Tuning
    knobs: tuple[Knob, ...]
    evaluations: int
    budget: int
    interrupted: bool
    outcome: Outcome
    sensitivity: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Return the section "calibration" of the report, JSON-ready."""
        turned = [
            {
                "knob": k.name,
                "value": self.tuning.knobs[k.name],
                "default": k.default,
                "low": k.low,
                "high": k.high,
                "meaning": k.help,
            }
            for k in self.knobs
        ]
        return {
            **self.outcome.to_dict(),
            "evaluations": self.evaluations,
            "budget": self.budget,
            "interrupted": self.interrupted,
            "knobs": turned,
            "trims": trim_rows(self.tuning),
            "sensitivity": dict(self.sensitivity),
        }


def calibrate(
    halves: Halves,
    knobs: tuple[Knob, ...],
    trims: tuple[TrimWay, ...],
    lower: Lower,
    budget: int,
    watch: Watch | None = None,
) -> Calibration:
    """Search trims and knobs so that the emulated chip decides as the float network does, or as labels say.

    Args:
        halves: calibration data, and the float network; their seed is the search's, too.
        knobs: what may be turned; none leaves the default, which is judged all the same.
        trims: what of neurons may be trimmed.
        lower: makes a candidate's emulator.
        budget: evaluations of candidates, the default included; the nudges that measure sensitivity come on top.
        watch: told how far the search is, after each batch of candidates.

    Returns:
        The best candidate found, judged on the half that was not searched.

    Raises:
        NirhwError: of the default, where even that cannot be lowered.
    """
    trial = Trial(lower, halves.searched, halves.objective, halves.network)
    start = Tuning(defaults(knobs))
    default = lower(start)  # raises why it cannot be lowered
    (score,) = trial.score_all([start])
    hunt = Hunt(trial, knobs, trims, budget, halves.seed, watch, start, score)
    hunt.run(halves.firing if trims and budget > 1 else None)
    return Calibration(
        tuning=hunt.best,
        knobs=knobs,
        evaluations=hunt.evaluations,
        budget=budget,
        interrupted=hunt.interrupted,
        outcome=halves.outcome((score, default), (hunt.score, lower(hunt.best))),
        sensitivity={} if hunt.interrupted else _sensitivity(trial, hunt.best, hunt.score, knobs),
    )


def _sensitivity(trial: Trial, tuning: Tuning, score: Score, knobs: tuple[Knob, ...]) -> dict[str, float]:
    """Return by continuous knob how many hits a small turn, down or up, costs at most."""
    names, candidates = [], []
    for knob in knobs:
        value = tuning.knobs[knob.name]
        step = NUDGE * (knob.high - knob.low)
        turns = {"log": (value / (1 + NUDGE), value * (1 + NUDGE)), "linear": (value - step, value + step)}.get(knob.kind, ())
        names += [knob.name] * len(turns)
        turned = [float(np.clip(t, knob.low, knob.high)) for t in turns]
        candidates += [replace(tuning, knobs={**tuning.knobs, knob.name: t}) for t in turned]
    lost: dict[str, float] = {}
    for name, nudged in zip(names, trial.score_all(candidates), strict=True):
        lost[name] = max(lost.get(name, 0.0), score.hits - nudged.hits)
    return lost
