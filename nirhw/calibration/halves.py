"""Calibration samples in two halves: one is searched, the other judges what was found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from nirhw.fidelity import Share
from nirhw.network import Ints, Network
from nirhw.operators import Array
from nirhw.reference import run_reference

from .evaluate import Emulated, emulate_all
from .objective import Objective, Score, evidence_of
from .samples import CHUNK, Samples, halve
from .trim import Firing


@dataclass(frozen=True)
class Check:
    """Shares on the check half, which nothing was fitted to, by output.

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


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a change does on both halves.

    Attributes:
        search_before, search_after: scores on the search half, without and with it.
        check_before, check_after: shares on the check half, likewise.
        float_accuracy: of the float network on the check half, by output, where labels were given.
        gain_error: standard error of the change of agreement on the check half, mean over outputs, from paired samples.
        by_labels: whether labels were the target; otherwise the float network's decisions.
        samples: numbers of search and check samples.
        seed: of the split.
    """

    search_before: Score
    search_after: Score
    check_before: Check
    check_after: Check
    float_accuracy: Mapping[str, Share]
    gain_error: float
    by_labels: bool
    samples: tuple[int, int]
    seed: int

    @property
    def gain(self) -> float:
        """Change of the mean agreement on the check half."""
        return self.check_after.mean_agreement - self.check_before.mean_agreement

    @property
    def effect(self) -> dict[str, float]:
        """What the ledger books: mean agreement before and after the change, and the standard error of its difference."""
        return {
            "agreement_before": self.check_before.mean_agreement,
            "agreement": self.check_after.mean_agreement,
            "error_of_change": self.gain_error,
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the entries of the report, JSON-ready."""
        return {
            "target": "labels" if self.by_labels else "decisions of the float network",
            "seed": self.seed,
            "search_samples": self.samples[0],
            "check_samples": self.samples[1],
            "search_hits_before": self.search_before.hits,
            "search_hits": self.search_after.hits,
            "search_value_before": self.search_before.value,
            "search_value": self.search_after.value,
            "check_before": asdict(self.check_before),
            "check": asdict(self.check_after),
            "float_accuracy": {n: asdict(s) for n, s in self.float_accuracy.items()},
            "error_of_change": self.gain_error,
        }


@dataclass(frozen=True, eq=False)
class Halves:
    """Both halves, and what the float network says of them.

    Attributes:
        network: the float network.
        samples: all of them.
        reference: evidence of the float network by output, ``[sample, class]``.
        chosen, held: indices of the search half and of the check half.
        seed: of the split.
    """

    network: Network
    samples: Samples
    reference: Mapping[str, Array]
    chosen: Ints
    held: Ints
    seed: int

    @classmethod
    def of(cls, network: Network, samples: Samples, seed: int) -> Halves:
        """Return the halves of samples; they depend on samples and seed alone."""
        reference = _reference_evidence(network, samples)
        decided = np.stack([e.argmax(axis=1) for e in reference.values()])
        joint = np.unique(decided, axis=1, return_inverse=True)[1]  # one class for each combination of decisions
        return cls(network, samples, reference, *halve(np.asarray(joint, dtype=np.int64).reshape(-1), seed), seed)

    @cached_property
    def searched(self) -> Samples:
        """The search half."""
        return self.samples.picked(self.chosen)

    @cached_property
    def objective(self) -> Objective:
        """What candidates are measured against on the search half."""
        return Objective.of({n: e[self.chosen] for n, e in self.reference.items()}, self.searched.labels)

    @cached_property
    def firing(self) -> Firing:
        """How the float network fires on the search half."""
        return Firing.of(self.network, self.searched, CHUNK)

    def outcome(self, before: tuple[Score, Emulated], after: tuple[Score, Emulated]) -> Outcome:
        """Return what a change from one configuration to another does, both given with their scores on the search half."""
        held = self.samples.picked(self.held)
        wanted = {n: e[self.held].argmax(axis=1) for n, e in self.reference.items()}
        seen = [s for s in emulate_all([before[1], after[1]], held, self.network) if s is not None]
        old, new = ({n: e.argmax(axis=1) for n, e in s.evidence.items()} for s in seen)
        change = np.mean([(new[n] == wanted[n]).astype(float) - (old[n] == wanted[n]) for n in wanted], axis=0)
        return Outcome(
            search_before=before[0],
            search_after=after[0],
            check_before=_check(old, wanted, held.labels),
            check_after=_check(new, wanted, held.labels),
            float_accuracy=_check(wanted, wanted, held.labels).accuracy,
            gain_error=float(change.std() / np.sqrt(change.size)),
            by_labels=held.labels is not None,
            samples=(self.chosen.size, self.held.size),
            seed=self.seed,
        )


def _reference_evidence(network: Network, samples: Samples) -> dict[str, Array]:
    names = tuple(network.outputs)
    parts = [evidence_of(run_reference(network, chunk), names, {}) for chunk in samples.chunks(network, CHUNK)]
    return {n: np.concatenate([p[n] for p in parts]) for n in names}


def _check(got: Mapping[str, Ints], wanted: Mapping[str, Ints], labels: Ints | None) -> Check:
    """Return the shares of decisions that equal the float network's, and labels where there are some."""
    return Check(
        {n: Share.of(got[n] == wanted[n]) for n in wanted},
        {} if labels is None else {n: Share.of(got[n] == labels) for n in wanted},
    )
