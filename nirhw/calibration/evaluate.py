"""Candidates on calibration samples: lowered one after the other, emulated together.

All runs of a batch of candidates stand in one queue (:func:`nirhw.emulation.parallel.run_jobs`), and a candidate is lowered while
those before it run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from nirhw.diagnostics import NirhwError
from nirhw.emulation.parallel import Job, run_jobs, settled
from nirhw.emulation.result import Run
from nirhw.network import Ints, Network
from nirhw.operators import Array
from nirhw.pipeline import Device, Tuning

from .objective import Objective, Score, evidence_of
from .samples import CHUNK, Samples
from .trim import Observed, spiking

#: an emulator and the io map of what it runs
Emulated = tuple[Device, Mapping[str, Any]]
#: returns the emulator of a candidate and its io map; raises NirhwError where the candidate cannot be lowered
Lower = Callable[[Tuning], Emulated]

#: what a candidate scores that cannot be lowered
IMPOSSIBLE = Score(-np.inf, 0.0)


@dataclass(frozen=True, eq=False)
class Seen:
    """What a chip does on some samples.

    Attributes:
        evidence: by output, ``[sample, class]``.
        observed: how its spiking populations fire, where that was recorded.
    """

    evidence: Mapping[str, Array]
    observed: Observed | None


def emulate_all(
    candidates: Iterable[Emulated | None], samples: Samples, network: Network, observe: bool = False
) -> Iterator[Seen | None]:
    """Yield what candidates do on samples, in their order; nothing for an impossible one.

    Args:
        candidates: drawn one by one while those before them run.
        samples: input of each.
        network: the float network.
        observe: whether spiking populations are recorded, as far as they can be.
    """
    parts = [samples.picked(i) for i in _pieces(samples.number)] if observe else [samples]
    jobs = (_job(candidate, part, network, observe) for candidate in candidates for part in parts)
    results = run_jobs(jobs)
    while seen := list(islice(results, len(parts))):
        found = [s for s in seen if s is not None]
        yield _joined(found, [part.number for part in parts]) if found else None


@dataclass(frozen=True, eq=False)
class Trial:
    """Scores candidates on the search half.

    Attributes:
        lower: makes a candidate's emulator.
        samples: the search half.
        objective: what candidates are measured against.
        network: the float network.
    """

    lower: Lower
    samples: Samples
    objective: Objective
    network: Network

    def score_all(self, candidates: Iterable[Tuning]) -> list[Score]:
        """Return the scores of candidates, in their order."""
        return [score for score, _ in self._run(candidates, observe=False)]

    def observe_all(self, candidates: Iterable[Tuning]) -> list[tuple[Score, Observed | None]]:
        """Return the scores of candidates, and what their spiking populations do; None of an impossible one."""
        return list(self._run(candidates, observe=True))

    def _run(self, candidates: Iterable[Tuning], observe: bool) -> Iterator[tuple[Score, Observed | None]]:
        for seen in emulate_all(map(self._lowered, candidates), self.samples, self.network, observe):
            yield (IMPOSSIBLE, None) if seen is None else (self.objective.score(seen.evidence), seen.observed)

    def _lowered(self, candidate: Tuning) -> Emulated | None:
        try:
            return self.lower(candidate)
        except NirhwError:
            return None


def _pieces(number: int) -> Iterator[Ints]:
    return (np.arange(first, min(first + CHUNK, number)) for first in range(0, number, CHUNK))


def _job(candidate: Emulated | None, samples: Samples, network: Network, observe: bool) -> Job[Seen | None]:
    if candidate is None:
        return settled(None)
    device, io_map = candidate
    names, populations = tuple(network.outputs), io_map["populations"]
    record = {n: n for n in spiking(network) if n in populations} if observe else {}

    def seen(run: Run) -> Seen:
        evidence = evidence_of(run, names, {n: io_map["outputs"][n]["lag"] for n in names})
        return Seen(evidence, Observed.of(run.states, {n: populations[n]["lag"] for n in record}) if observe else None)

    return device.prepare(samples.counts, record, None).then(seen)


def _joined(parts: Sequence[Seen], sizes: Sequence[int]) -> Seen:
    """Return what a candidate does on all samples, of which each part shows so many."""
    evidence = {n: np.concatenate([p.evidence[n] for p in parts]) for n in parts[0].evidence}
    observed = [p.observed for p in parts if p.observed is not None]
    return Seen(evidence, Observed.mean(observed, sizes) if observed else None)
