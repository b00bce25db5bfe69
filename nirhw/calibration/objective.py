"""How well a candidate does on the search half: hits, less what separates its evidence from the float network's.

The evidence of an output is its spike count, or the mean of an analog output, over the run; the decision is its argmax.  The
divergence compares the whole distribution of the evidence over the classes, not only the winner, so every sample says more than
right or wrong, and the chip keeps the float network's margins.  It does not see a factor on all evidence; the count error
does, and keeps the search from networks that decide alike by other rates, which carry over worse to other samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from nirhw.emulation.result import Run, unpack
from nirhw.network import Ints
from nirhw.operators import Array

#: evidence is brought to this spread before the softmax, so that a gain of the outputs alone buys no score
SPREAD = 2.0
#: what a count error of 1 costs, in hits
COUNTS = 0.5
#: standard errors of the mean gain by sample from which on a candidate is taken for better than the default
CLEAR = 2.0


def evidence_of(run: Run, names: tuple[str, ...], lag: Mapping[str, int]) -> dict[str, Array]:
    """Return the evidence ``[sample, class]`` of every output of a run with a batch axis; float64."""
    found = {}
    for name, spikes in unpack(run.spikes, names).items():
        counts = spikes[:, lag.get(name, 0) :].sum(axis=1, dtype=np.int64)
        found[name] = counts.reshape(counts.shape[0], -1).astype(np.float64)
    for name, values in unpack(run.outputs, names).items():
        late = lag.get(name, 0) if values.shape[1] > lag.get(name, 0) else 0
        mean = values[:, late:].mean(axis=1)
        found[name] = mean.reshape(mean.shape[0], -1)
    return found


@dataclass(frozen=True, eq=False)
class Score:
    """Value of a candidate: larger is better.

    Attributes:
        value: what the search climbs.
        hits: share of decisions that meet the target, mean over the outputs.
        decided: value without what counts are off: hits less divergence, mean over the outputs.
        by_sample: value of each sample, ``(samples,)``; empty for an impossible candidate.
    """

    value: float
    hits: float
    decided: float = -np.inf
    by_sample: Array = field(default_factory=lambda: np.zeros(0))

    def above(self, other: Score) -> bool:
        """Return whether this is better, and not for the counts at the decisions' expense."""
        return self.value > other.value and self.decided >= other.decided

    def clearly_above(self, other: Score) -> bool:
        """Return whether this is :meth:`above`, by more than ``CLEAR`` standard errors of the gain by sample."""
        if not self.above(other) or self.by_sample.size != other.by_sample.size:
            return self.above(other)
        gain = self.by_sample - other.by_sample
        return bool(gain.mean() > CLEAR * gain.std() / np.sqrt(gain.size))


@dataclass(frozen=True, eq=False)
class Objective:
    """What a candidate is measured against, by output.

    Attributes:
        reference: evidence of the float network, ``[sample, class]``.
        target: wanted decisions, ``(samples,)``: the float network's, or labels.
    """

    reference: Mapping[str, Array]
    target: Mapping[str, Ints]

    @classmethod
    def of(cls, reference: Mapping[str, Array], labels: Ints | None) -> Objective:
        """Return the objective for the float network's evidence, and labels where they were given."""
        return cls(reference, {n: r.argmax(axis=1) if labels is None else labels for n, r in reference.items()})

    def score(self, evidence: Mapping[str, Array]) -> Score:
        """Return how well a candidate's evidence, shaped as the reference's, meets the target."""
        parts = [_score(evidence[n], wanted, self.target[n]) for n, wanted in self.reference.items()]
        by_sample = np.mean([p.by_sample for p in parts], axis=0)
        value, hits, decided = (float(np.mean([getattr(p, k) for p in parts])) for k in ("value", "hits", "decided"))
        return Score(value, hits, decided, by_sample)


def divergence(wanted: Array, got: Array) -> Array:
    """Return the Kullback-Leibler divergence between the classes' distributions, ``(samples,)``; both ``[sample, class]``."""
    expected, found = _log_softmax(wanted), _log_softmax(got)
    return np.asarray((np.exp(expected) * (expected - found)).sum(axis=1))


def _score(got: Array, wanted: Array, target: Ints) -> Score:
    hit = got.argmax(axis=1) == target
    off = np.abs(got - wanted).mean(axis=1) / max(float(np.abs(wanted).mean()), 1e-12)
    if wanted.shape[1] == 1:
        # one neuron decides nothing: its count should be the reference's
        return Score(float(-off.mean()), float(hit.mean()), float(-off.mean()), -off)
    decided = hit - divergence(wanted, got)
    values = decided - COUNTS * off
    return Score(float(values.mean()), float(hit.mean()), float(decided.mean()), values)


def _log_softmax(evidence: Array) -> Array:
    centred = evidence - evidence.mean(axis=1, keepdims=True)
    logits = SPREAD * centred / max(float(centred.std(axis=1).mean()), 1e-12)
    logits -= logits.max(axis=1, keepdims=True)
    return np.asarray(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))
