"""The hunt for the best candidate: stages, each of which begins at the best so far and has to show a gain beyond chance.

Trims (:mod:`.trim`) follow the float network's rates; ladders and steps try what has few values, one thing at a time; the search
(:mod:`.search`) turns what is continuous.  Trims and search take turns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from nirhw.operators import Array
from nirhw.pipeline import TrimWay, Tuning

from .evaluate import IMPOSSIBLE, Trial
from .knobs import Knob, starts, to_point, to_values
from .objective import Score
from .search import STEPS, search
from .trim import ROUNDS, Firing, Observed, following, trim

#: shares of what is left of the budget after all other stages that the turns of the search spend
TURNS = (0.5, 1.0)
#: first steps of a search around trims that fit, in widths of the cube
NEAR = (0.05, 0.02)
#: rounds of trims on each rung of a ladder, and what a higher rung must gain to be worth its cost
RUNG_ROUNDS, WORTH = 9, 0.01
#: the best so many steps of a batch get trims of their own, in so many rounds
STEPS_TRIMMED, STEP_ROUNDS = 3, 5
#: most of the budget that trims may take in a turn, a ladder, and one batch of steps
TRIMS, LADDERS, STEPPING = 0.1, 0.25, 0.25


@dataclass(frozen=True)
class Progress:
    """How far a hunt is: candidates evaluated, their budget, and share of hits of the best on the search half."""

    done: int
    budget: int
    hits: float


Watch = Callable[[Progress], None]


@dataclass(eq=False)
class Hunt:
    """Looks for the best candidate within a budget; the default is the first, so the best is never worse.

    Attributes:
        trial: scores candidates.
        knobs: what may be turned.
        trims: what of neurons may be trimmed.
        budget, seed: of the hunt.
        watch: told of its progress.
        best, score: the best candidate so far.
        leader: best candidate of the stage that runs, which has yet to show that chance does not explain its lead.
        evaluations: candidates so far.
        interrupted: whether the user ended it.
    """

    trial: Trial
    knobs: tuple[Knob, ...]
    trims: tuple[TrimWay, ...]
    budget: int
    seed: int
    watch: Watch | None
    best: Tuning
    score: Score
    evaluations: int = 1
    interrupted: bool = False

    def __post_init__(self) -> None:
        self.leader = self.best, self.score

    def run(self, firing: Firing | None) -> None:
        """Spend the budget, or less where a turn of the search brings nothing; a KeyboardInterrupt keeps the best."""
        try:
            self._tell()
            for turn, share in enumerate(TURNS):
                if firing is not None:
                    self._trim(firing)
                    if not turn:
                        self._climb_ladders(firing)
                if not turn:
                    self._take_steps(firing)
                before = self.score
                self._search(round(share * (self.budget - self.evaluations)), turn, NEAR if self.best.trims else STEPS)
                if self.score is before:
                    break
        except KeyboardInterrupt:
            self.interrupted = True
            self._settle()

    def _tell(self) -> None:
        if self.watch:
            self.watch(Progress(self.evaluations, self.budget, self.leader[1].hits))

    def _book(self, candidates: Sequence[Tuning], scores: Sequence[Score]) -> None:
        self.evaluations += len(candidates)
        for candidate, score in zip(candidates, scores, strict=True):
            if score.above(self.leader[1]):
                self.leader = candidate, score
        self._tell()

    def _settle(self) -> None:
        """End a stage: its leader becomes the best if it is clearly better, as the best of many is a little better by chance."""
        tuning, score = self.leader
        if score.clearly_above(self.score):
            self.best, self.score = tuning, score
        self.leader = self.best, self.score

    def _trim(self, firing: Firing) -> None:
        self._rounds([replace(self.best, overshoot=firing.overshoot)], firing, min(ROUNDS, round(TRIMS * self.budget)))
        self._settle()

    def _rounds(self, begins: Sequence[Tuning], firing: Firing, rounds: int) -> list[tuple[Tuning, Score]]:
        """Return the best of some rounds of trims from each beginning, all beginnings at once."""
        if not begins:
            return []
        rounds = min(rounds, (self.budget - self.evaluations) // len(begins))
        best = [(begin, IMPOSSIBLE) for begin in begins]
        trimming = [trim(begin, self.trial.network, firing, self.trims, rounds) for begin in begins]
        waiting = {at: tuning for at, run in enumerate(trimming) if (tuning := next(run, None)) is not None}
        while waiting:
            seen = self._observe(list(waiting.values()))
            next_round: dict[int, Tuning] = {}
            for (at, tuning), (score, observed) in zip(waiting.items(), seen, strict=True):
                if score.value > best[at][1].value:
                    best[at] = tuning, score
                if (tuned := following(trimming[at], observed)) is not None:
                    next_round[at] = tuned
            waiting = next_round
        return best

    def _observe(self, candidates: Sequence[Tuning]) -> list[tuple[Score, Observed | None]]:
        seen = self.trial.observe_all(candidates)
        self._book(candidates, [score for score, _ in seen])
        return seen

    def _climb_ladders(self, firing: Firing) -> None:
        """Try the rungs of each ladder, with trims of their own; keep the lowest that is about as good as the best.

        Ladders cost the same resources, so a rung of one has all others at their foot.
        """
        ladders = [k for k in self.knobs if k.kind == "ladder"]
        foot = {k.name: k.low for k in ladders}
        for knob in ladders:
            rungs = knob.rungs()
            if 1 + RUNG_ROUNDS * len(rungs) > min(LADDERS * self.budget, self.budget - self.evaluations):
                continue
            ((_, observed),) = self._observe([self.best])
            base = replace(self.best, bursts={} if observed is None else observed.bursts)
            begins = [replace(base, knobs={**base.knobs, **foot, knob.name: value}) for value in rungs]
            tried = [(self.best, self.score), *self._rounds(begins, firing, RUNG_ROUNDS)]
            top = max(score.value for _, score in tried)
            self.leader = next(t for t in tried if t[1].value >= top - WORTH)
            self._settle()

    def _take_steps(self, firing: Firing | None) -> None:
        """Move knobs of few values by one, each alone, the best moves with trims of their own; as long as one brings a gain."""
        knobs = [k for k in self.knobs if k.kind == "step"]
        while knobs:
            moves = [
                replace(self.best, knobs={**self.best.knobs, k.name: value})
                for k in knobs
                for value in (self.best.knobs[k.name] - 1, self.best.knobs[k.name] + 1)
                if k.low <= value <= k.high
            ]
            cost = len(moves) + (STEPS_TRIMMED * STEP_ROUNDS if firing else 0)
            if cost > min(STEPPING * self.budget, self.budget - self.evaluations):
                return
            scores, before = self.trial.score_all(moves), self.score
            self._book(moves, scores)
            if firing:
                order = np.argsort([-s.value for s in scores], kind="stable")[:STEPS_TRIMMED]
                self._rounds([moves[k] for k in order], firing, STEP_ROUNDS)
            self._settle()
            if self.score is before:
                return

    def _search(self, budget: int, turn: int, steps: tuple[float, ...]) -> None:
        base = self.best
        knobs = tuple(k for k in self.knobs if k.kind in ("log", "linear"))
        if not knobs or budget < 1:
            return

        def evaluate(points: Array) -> list[float]:
            candidates = [replace(base, knobs={**base.knobs, **to_values(knobs, p)}) for p in points]
            scores = self.trial.score_all(candidates)
            self._book(candidates, scores)
            return [s.value for s in scores]

        begin = to_point(knobs, base.knobs)[None]
        if not turn:
            begin = np.unique(np.concatenate([begin, to_point(knobs, starts(knobs))[None]]), axis=0)
        found = search(evaluate, begin, budget, self.seed + turn, None, steps)
        if found.interrupted:
            raise KeyboardInterrupt
        self._settle()
