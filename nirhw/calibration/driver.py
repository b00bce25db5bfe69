"""The driver of calibration: candidates are lowered and emulated on the search half, the best is judged on the check half.

Trims (:mod:`.trim`) and knobs (:mod:`.search`) take turns: trims follow the float network's rates, which leaves the knobs what
rates do not tell.

Without labels the target is the float network's own decision, so no truth is needed and none leaks.  The default is the first
candidate: on the search half calibration is never worse than no calibration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from nirhw.diagnostics import NirhwError, error
from nirhw.emulation.inputs import as_counts, as_labels
from nirhw.emulation.parallel import processors
from nirhw.fidelity import Share
from nirhw.network import Ints, Network
from nirhw.operators import Array
from nirhw.pipeline import Device, TrimWay, Tuning
from nirhw.reference import run_reference

from .knobs import Knob, defaults, starts, to_point, to_values
from .objective import Objective, Score, evidence_of
from .samples import FEWEST, Samples, halves
from .search import STEPS, search
from .trim import ROUNDS, Firing, Observed, spiking, trim, trim_rows

#: samples that the float network runs at once
CHUNK = 64
#: a change of a continuous knob by this factor, or this share of its range, should not change the outcome
NUDGE = 0.05

#: returns the emulator of a candidate and its io map; raises NirhwError where the candidate cannot be lowered
Lower = Callable[[Tuning], tuple[Device, Mapping[str, Any]]]
#: an emulator and the io map of what it runs
Emulated = tuple[Device, Mapping[str, Any]]
#: shares of the budget that the turns of the search spend, each after trims were found anew
TURNS = (0.5, 1.0)
#: first steps of a search around trims that fit, in widths of the cube
NEAR = (0.05, 0.02)
#: rounds of trims on each rung of a ladder, and what a higher rung must gain to be worth its cost
RUNG_ROUNDS, WORTH = 9, 0.01
#: most of the budget that trims may take in a turn, and a ladder
TRIMS, LADDERS = 0.1, 0.25


@dataclass(frozen=True)
class Progress:
    """How far a search is: candidates evaluated, their budget, and share of hits of the best on the search half."""

    done: int
    budget: int
    hits: float


Watch = Callable[[Progress], None]


@dataclass(frozen=True)
class Check:
    """Shares on the check half, which the search never saw, by output.

    Attributes:
        agreement: with the float network's decision.
        accuracy: with the labels, where given.
    """

    agreement: Mapping[str, Share]
    accuracy: Mapping[str, Share]

    @property
    def mean_agreement(self) -> float:
        """Mean agreement over the outputs."""
        return float(np.mean([s.value for s in self.agreement.values()]))


def effect_of(before: Check, after: Check, gain_error: float) -> dict[str, float]:
    """Return mean agreement on the check half before and after a change, and the standard error of its difference."""
    return {"agreement_before": before.mean_agreement, "agreement": after.mean_agreement, "error_of_change": gain_error}


@dataclass(frozen=True)
class Calibration:
    """What calibration found.

    Attributes:
        tuning: the best candidate.
        knobs: the knobs that were searched.
        by_labels: whether labels were the target; otherwise the float network's decisions.
        evaluations, budget, seed: of the search.
        interrupted: whether the user ended the search early.
        search_before, search_after: scores on the search half, default and best.
        before, after: shares on the check half, default and best.
        float_accuracy: of the float network on the check half, by output, where labels were given.
        gain_error: standard error of the change of agreement on the check half, mean over outputs, from paired samples.
        sensitivity: by continuous knob, the largest drop of the share of hits on the search half when it is nudged.
        samples: numbers of search and check samples.
    """

    tuning: Tuning
    knobs: tuple[Knob, ...]
    by_labels: bool
    evaluations: int
    budget: int
    seed: int
    interrupted: bool
    search_before: Score
    search_after: Score
    before: Check
    after: Check
    float_accuracy: Mapping[str, Share]
    gain_error: float
    sensitivity: Mapping[str, float]
    samples: tuple[int, int]

    @property
    def effect(self) -> dict[str, float]:
        """What the ledger books, see :func:`effect_of`."""
        return effect_of(self.before, self.after, self.gain_error)

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
            "target": "labels" if self.by_labels else "decisions of the float network",
            "evaluations": self.evaluations,
            "budget": self.budget,
            "seed": self.seed,
            "interrupted": self.interrupted,
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
            "knobs": turned,
            "trims": trim_rows(self.tuning),
            "sensitivity": dict(self.sensitivity),
        }


def samples_of(network: Network, spikes: Any, labels: Any, peak: int | None) -> Samples:
    """Return calibration data, checked.

    Raises:
        InputError: NIRHW-E050 to E052 for spikes or labels that do not suit the network, or too few samples.
    """
    shapes = {name: network.populations[pop].shape for name, pop in network.inputs.items()}
    counts, batched = as_counts(spikes, shapes, peak)
    number, steps = next(iter(counts.values())).shape[:2]
    if not batched or number < FEWEST or steps == 0:
        raise error(
            "NIRHW-E050",
            f"calibration got {number if batched else 1} sample(s) of {steps} steps",
            why="half of the samples is searched, the other half judges the result",
            fix=f"give at least {FEWEST} samples as (B, T, *in); 50 to 300 are good",
        )
    return Samples(counts, None if labels is None else as_labels(labels, number))


def calibrate(
    network: Network,
    knobs: tuple[Knob, ...],
    trims: tuple[TrimWay, ...],
    lower: Lower,
    samples: Samples,
    budget: int,
    seed: int,
    watch: Watch | None = None,
) -> Calibration:
    """Search trims and knobs so that the emulated chip decides as the float network does, or as labels say.

    Args:
        network: the float network.
        knobs: what may be turned; none leaves the default, which is judged all the same.
        trims: what of neurons may be trimmed.
        lower: makes a candidate's emulator; called from several threads.
        samples: calibration data.
        budget: evaluations of candidates, the default included; the nudges that measure sensitivity come on top.
        seed: of the split and the search.
        watch: told how far the search is, after each batch of candidates.

    Returns:
        The best candidate found, judged on the half that was not searched.

    Raises:
        NirhwError: of the default, where even that cannot be lowered.
    """
    names = tuple(network.outputs)
    reference, chosen, held = split(network, samples, seed)
    searched = samples.picked(chosen)
    objective = Objective.of({n: e[chosen] for n, e in reference.items()}, searched.labels)
    start = Tuning(defaults(knobs))
    trial = _Trial(knobs, lower, searched, objective, names, network)
    hunt = _Hunt(trial, trims, budget, seed, watch, start, trial.score(start, strict=True))
    hunt.run(Firing.of(network, searched, CHUNK) if trims and budget > 1 else None)
    tuning = hunt.best
    sensitivity = {} if hunt.interrupted else trial.sensitivity(tuning)

    checked = samples.picked(held)
    wanted = {n: e[held].argmax(axis=1) for n, e in reference.items()}
    old, new = (_decisions(lower, values, checked, names) for values in (start, tuning))
    changes = [(new[n] == wanted[n]).astype(float) - (old[n] == wanted[n]) for n in names]
    change = np.mean(changes, axis=0)
    return Calibration(
        tuning=tuning,
        knobs=knobs,
        by_labels=samples.labels is not None,
        evaluations=hunt.evaluations,
        budget=budget,
        seed=seed,
        interrupted=hunt.interrupted,
        search_before=trial.score(start),
        search_after=trial.score(tuning),
        before=judged(old, wanted, checked),
        after=judged(new, wanted, checked),
        float_accuracy=judged(wanted, wanted, checked).accuracy,
        gain_error=float(change.std() / np.sqrt(change.size)),
        sensitivity=sensitivity,
        samples=(chosen.size, held.size),
    )


def split(network: Network, samples: Samples, seed: int) -> tuple[dict[str, Array], Ints, Ints]:
    """Return the float network's evidence by output, and the indices of the search half and of the check half.

    The halves depend on samples and seed alone, so all that is fitted to the search half leaves the same check half unseen.
    """
    reference = _reference_evidence(network, samples, tuple(network.outputs))
    decided = _joint({n: e.argmax(axis=1) for n, e in reference.items()})
    return reference, *halves(decided, seed)


@dataclass(eq=False)
class _Hunt:
    """Looks for the best candidate within a budget; the default is the first, so the best is never worse.

    Attributes:
        trial: judges candidates.
        trims: what of neurons may be trimmed.
        budget, seed: of the hunt.
        watch: told of its progress.
        best, score: the best candidate so far.
        leader: best candidate of the stage that runs, which has yet to show that chance does not explain its lead.
        evaluations: candidates so far.
        interrupted: whether the user ended it.
    """

    trial: _Trial
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
                if firing is not None and self.evaluations < self.budget:
                    self._trim(firing)
                    if not turn:
                        self._climb_ladders(firing)
                limit, before = round(share * self.budget), self.score
                if self.evaluations < limit:
                    self._search(limit - self.evaluations, turn, NEAR if self.best.trims else STEPS)
                if self.score is before:
                    break
        except KeyboardInterrupt:
            self.interrupted = True
            self._settle()

    def _tell(self) -> None:
        if self.watch:
            self.watch(Progress(self.evaluations, self.budget, self.leader[1].hits))

    def _book(self, candidates: list[Tuning], scores: list[Score]) -> None:
        self.evaluations += len(candidates)
        for candidate, score in zip(candidates, scores, strict=True):
            if score.above(self.leader[1]):
                self.leader = candidate, score

    def _settle(self) -> None:
        """End a stage: its leader becomes the best if it is clearly better, as the best of many is a little better by chance."""
        tuning, score = self.leader
        if score.clearly_above(self.score):
            self.best, self.score = tuning, score
        self.leader = self.best, self.score

    def _trim(self, firing: Firing) -> None:
        begin = replace(self.best, overshoot=firing.overshoot)
        self._rounds(begin, firing, min(ROUNDS, round(TRIMS * self.budget)))
        self._settle()

    def _rounds(self, begin: Tuning, firing: Firing, rounds: int) -> tuple[Tuning, Score]:
        """Return the best of some rounds of trims."""
        best, top = begin, Score(-np.inf, 0.0)

        def judge(candidate: Tuning) -> Observed | None:
            nonlocal best, top
            score, observed = self.trial.observe(candidate)
            if score.value > top.value:
                best, top = candidate, score
            self._book([candidate], [score])
            self._tell()
            return observed

        trim(begin, self.trial.network, firing, judge, self.trims, min(rounds, self.budget - self.evaluations))
        return best, top

    def _climb_ladders(self, firing: Firing) -> None:
        """Try the rungs of each ladder, with trims of their own; keep the lowest that is about as good as the best."""
        for knob in self.trial.knobs:
            if knob.kind != "ladder" or RUNG_ROUNDS * len(knob.rungs()) > LADDERS * self.budget:
                continue
            _, observed = self.trial.observe(self.best)
            self.evaluations += 1
            base = replace(self.best, bursts={} if observed is None else observed.bursts)
            tried = [(self.best, self.score)]
            for value in knob.rungs():
                if self.evaluations < self.budget:
                    rung = replace(base, knobs={**base.knobs, knob.name: value})
                    tried.append(self._rounds(rung, firing, RUNG_ROUNDS))
            top = max(score.value for _, score in tried)
            self.leader = next(t for t in tried if t[1].value >= top - WORTH)
            self._settle()

    def _search(self, budget: int, turn: int, steps: tuple[float, ...]) -> None:
        base = self.best
        knobs = tuple(k for k in self.trial.knobs if k.kind != "ladder")
        if not knobs:
            return

        def evaluate(points: Array) -> list[float]:
            candidates = [replace(base, knobs={**base.knobs, **to_values(knobs, p)}) for p in points]
            scores = self.trial.batch(candidates)
            self._book(candidates, scores)
            return [s.value for s in scores]

        begin = to_point(knobs, base.knobs)[None]
        if not turn:
            begin = np.unique(np.concatenate([begin, to_point(knobs, starts(knobs))[None]]), axis=0)
        levels = tuple(int(k.high - k.low) + 1 if k.kind == "integer" else 0 for k in knobs)
        found = search(evaluate, begin, levels, budget, self.seed + turn, lambda _: self._tell(), steps)
        if found.interrupted:
            raise KeyboardInterrupt
        self._settle()


@dataclass(frozen=True, eq=False)
class _Trial:
    """Lowers and scores candidates on the search half; several at once, each on one thread."""

    knobs: tuple[Knob, ...]
    lower: Lower
    samples: Samples
    objective: Objective
    names: tuple[str, ...]
    network: Network

    def score(self, values: Tuning, strict: bool = False) -> Score:
        """Return a candidate's score; an impossible one has the value -inf, or raises where ``strict``."""
        try:
            device, io_map = self.lower(values)
        except NirhwError:
            if strict:
                raise
            return Score(-np.inf, 0.0)
        return self.objective.score(chip_evidence(device, io_map, self.samples, self.names, 1))

    def observe(self, values: Tuning) -> tuple[Score, Observed | None]:
        """Return a candidate's score and what its spiking populations do; None of an impossible one."""
        try:
            device, io_map = self.lower(values)
        except NirhwError:
            return Score(-np.inf, 0.0), None
        evidence, observed = observe((device, io_map), self.samples, self.network)
        return self.objective.score(evidence), observed

    def batch(self, candidates: list[Tuning]) -> list[Score]:
        """Return the scores of candidates, in their order, whatever thread ran them."""
        workers = min(processors(), len(candidates))
        if workers <= 1:
            return [self.score(c) for c in candidates]
        pool = ThreadPoolExecutor(workers)
        try:
            return list(pool.map(self.score, candidates))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def sensitivity(self, tuning: Tuning) -> dict[str, float]:
        """Return by continuous knob how many hits a small turn, down or up, costs at most."""
        names, candidates = [], []
        for knob in self.knobs:
            value = tuning.knobs[knob.name]
            step = NUDGE * (knob.high - knob.low)
            turns = {
                "log": (value / (1 + NUDGE), value * (1 + NUDGE)),
                "linear": (value - step, value + step),
                "integer": (),
                "ladder": (),
            }[knob.kind]
            names += [knob.name] * len(turns)
            turned = [float(np.clip(t, knob.low, knob.high)) for t in turns]
            candidates += [replace(tuning, knobs={**tuning.knobs, knob.name: t}) for t in turned]
        hits = self.score(tuning).hits
        lost: dict[str, float] = {}
        for name, score in zip(names, self.batch(candidates), strict=True):
            lost[name] = max(lost.get(name, 0.0), hits - score.hits)
        return lost


def _joint(decided: Mapping[str, Ints]) -> Ints:
    """Return one class for each combination of decisions."""
    classes = np.unique(np.stack(list(decided.values())), axis=1, return_inverse=True)[1]
    return np.asarray(classes, dtype=np.int64).reshape(-1)


def _reference_evidence(network: Network, samples: Samples, names: tuple[str, ...]) -> dict[str, Array]:
    parts = [evidence_of(run_reference(network, chunk), names, {}) for chunk in samples.chunks(network, CHUNK)]
    return {n: np.concatenate([p[n] for p in parts]) for n in names}


def chip_evidence(
    device: Device, io_map: Mapping[str, Any], samples: Samples, names: tuple[str, ...], threads: int | None
) -> dict[str, Array]:
    """Return the evidence of a configuration on samples, by output."""
    run = device.run(samples.counts, {}, None, threads)
    return evidence_of(run, names, {n: io_map["outputs"][n]["lag"] for n in names})


def observe(emulated: Emulated, samples: Samples, network: Network) -> tuple[dict[str, Array], Observed]:
    """Return the evidence of an emulator and how its spiking populations fire, as far as they can be recorded."""
    device, io_map = emulated
    names, populations = tuple(network.outputs), io_map["populations"]
    record = {n: n for n in spiking(network) if n in populations}
    parts, states = [], []
    for first in range(0, samples.number, CHUNK):
        some = samples.picked(np.arange(first, min(first + CHUNK, samples.number)))
        run = device.run(some.counts, record, None, None)
        parts.append(evidence_of(run, names, {n: io_map["outputs"][n]["lag"] for n in names}))
        states.append({n: {"spikes": run.states[n]["spikes"]} for n in record})
    evidence = {n: np.concatenate([p[n] for p in parts]) for n in names}
    return evidence, Observed.of(states, {n: populations[n]["lag"] for n in record})


def _decisions(lower: Lower, values: Tuning, samples: Samples, names: tuple[str, ...]) -> dict[str, Ints]:
    evidence = chip_evidence(*lower(values), samples, names, None)
    return {n: e.argmax(axis=1) for n, e in evidence.items()}


def judged(got: Mapping[str, Ints], wanted: Mapping[str, Ints], samples: Samples) -> Check:
    """Return the shares of decisions that equal the float network's, and labels where there are some."""
    labels = samples.labels
    return Check(
        {n: Share.of(got[n] == wanted[n]) for n in wanted},
        {} if labels is None else {n: Share.of(got[n] == labels) for n in wanted},
    )
