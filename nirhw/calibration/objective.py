"""How well a candidate does on the search half: hits, less a divergence from the float network that gives the search a slope.

The evidence of an output is its spike count, or the mean of an analog output, over the run; the decision is its argmax.  The
divergence compares the whole distribution of the evidence over the classes, not only the winner, so every sample says more than
right or wrong, and the chip keeps the float network's margins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nirhw.emulation.result import Run, unpack
from nirhw.network import Ints
from nirhw.operators import Array

#: evidence is brought to this spread before the softmax, so that a gain of the outputs alone buys no score
SPREAD = 2.0


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


@dataclass(frozen=True)
class Score:
    """Value of a candidate: larger is better.

    Attributes:
        value: what the search climbs.
        hits: share of decisions that meet the target, mean over the outputs.
    """

    value: float
    hits: float


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
        return Score(float(np.mean([p.value for p in parts])), float(np.mean([p.hits for p in parts])))


def divergence(wanted: Array, got: Array) -> float:
    """Return the Kullback-Leibler divergence between the classes' distributions, mean over samples; both ``[sample, class]``."""
    expected, found = _log_softmax(wanted), _log_softmax(got)
    return float((np.exp(expected) * (expected - found)).sum(axis=1).mean())


def _score(got: Array, wanted: Array, target: Ints) -> Score:
    hits = float(np.mean(got.argmax(axis=1) == target))
    if wanted.shape[1] == 1:
        # one neuron decides nothing: its count should be the reference's
        return Score(-float(np.abs(got - wanted).mean() / max(float(np.abs(wanted).mean()), 1e-12)), hits)
    return Score(hits - divergence(wanted, got), hits)


def _log_softmax(evidence: Array) -> Array:
    centred = evidence - evidence.mean(axis=1, keepdims=True)
    logits = SPREAD * centred / max(float(centred.std(axis=1).mean()), 1e-12)
    logits -= logits.max(axis=1, keepdims=True)
    return np.asarray(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))
