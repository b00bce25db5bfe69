"""Agreement of a chip with the float network, defined once for all targets; see :class:`Fidelity`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirhw.emulation.result import Run, unpack

#: raster distances are taken at shifts of up to this many steps
MAX_SHIFT = 3
SHIFTS = tuple(range(-MAX_SHIFT, MAX_SHIFT + 1))

AnyArray = NDArray[Any]


@dataclass(frozen=True)
class Share:
    """A share of samples with its binomial standard error."""

    value: float
    error: float
    samples: int

    @classmethod
    def of(cls, hits: AnyArray) -> Share:
        """Return the share of true entries."""
        n = int(hits.size)
        p = float(np.mean(hits)) if n else float("nan")
        return cls(p, float(np.sqrt(p * (1.0 - p) / n)) if n else float("nan"), n)

    def __str__(self) -> str:
        return f"{100 * self.value:.2f} % ± {100 * self.error:.2f} ({self.samples} samples)"


@dataclass(frozen=True)
class OutputFidelity:
    """One output: decisions (argmax of counts, or of the mean analog value, over the run; lowest index wins ties).

    Attributes:
        agreement: share of samples decided as the reference does.
        accuracy, reference_accuracy: shares equal to the label, where labels were given.
    """

    agreement: Share
    accuracy: Share | None
    reference_accuracy: Share | None


@dataclass(frozen=True)
class PopulationFidelity:
    """One spiking population, rasters aligned by its latency.

    Attributes:
        count_error: mean of |count - reference count| over neurons and samples, over the mean reference count.
        rate_distance: Wasserstein distance of the distributions of per-neuron rates, spikes a step.
        raster_distance: wrong cells over reference spikes, at shift 0.
        best_raster_distance, best_shift: the least such distance within 3 steps, over the rows that overlap, and its shift
            (positive: the chip is late).
        first_divergent_step: first row in which any aligned raster differs, -1 where none does.
    """

    count_error: float
    rate_distance: float
    raster_distance: float
    best_raster_distance: float
    best_shift: int
    first_divergent_step: int


@dataclass(frozen=True)
class Fidelity:
    """All measures; by output name and by population name, and over all spiking neurons together.

    ``agreement``, ``accuracy`` and ``reference_accuracy`` are those of the only output, None where there are several.
    """

    outputs: Mapping[str, OutputFidelity]
    populations: Mapping[str, PopulationFidelity]
    count_error: float
    rate_distance: float

    @property
    def agreement(self) -> Share | None:
        """Agreement of the only output."""
        return self._only("agreement")

    @property
    def accuracy(self) -> Share | None:
        """Accuracy of the only output."""
        return self._only("accuracy")

    @property
    def reference_accuracy(self) -> Share | None:
        """Accuracy of the reference on the only output."""
        return self._only("reference_accuracy")

    def _only(self, name: str) -> Share | None:
        return getattr(next(iter(self.outputs.values())), name) if len(self.outputs) == 1 else None

    def to_dict(self) -> dict[str, Any]:
        """Return all measures as JSON-ready data."""
        return asdict(self)


def decisions(run: Run, names: tuple[str, ...], lag: Mapping[str, int]) -> dict[str, AnyArray]:
    """Return the decision ``(B,)`` of every output of a run with a batch axis."""
    found = {}
    for name, spikes in unpack(run.spikes, names).items():
        late = lag.get(name, 0)
        counts = spikes[:, late:].sum(axis=1, dtype=np.int64)
        found[name] = counts.reshape(counts.shape[0], -1).argmax(axis=1)
    for name, values in unpack(run.outputs, names).items():
        late = lag.get(name, 0)
        mean = values[:, late:].mean(axis=1) if values.shape[1] > late else values.mean(axis=1)
        found[name] = mean.reshape(mean.shape[0], -1).argmax(axis=1)
    return found


@dataclass
class _Sums:
    """What is added up over chunks of samples for one population."""

    cells: int = 0
    neurons: AnyArray | None = None
    reference: AnyArray | None = None
    absolute: float = 0.0
    spikes: float = 0.0
    wrong: AnyArray | None = None  # by shift: differing cells, reference spikes, both over the rows that overlap
    first: int = -1


class FidelityMeter:
    """Adds up rasters chunk by chunk, so that large sets need little memory."""

    def __init__(self, outputs: tuple[str, ...]):
        self._outputs = outputs
        self._sums: dict[str, _Sums] = {}
        self._chip: dict[str, list[AnyArray]] = {n: [] for n in outputs}
        self._float: dict[str, list[AnyArray]] = {n: [] for n in outputs}

    def add(self, chip: Run, reference: Run) -> None:
        """Add runs of the same samples; both with a batch axis and all spiking populations recorded."""
        for name, decided in decisions(chip, self._outputs, chip.latency).items():
            self._chip[name].append(decided)
        for name, decided in decisions(reference, self._outputs, {}).items():
            self._float[name].append(decided)
        for name, parts in chip.states.items():
            if "spikes" in parts and name in reference.states:
                lag = chip.latency[name]
                self._add_rasters(name, _flat(parts["spikes"]), _flat(reference.states[name]["spikes"]), lag)

    def _add_rasters(self, name: str, got: AnyArray, wanted: AnyArray, lag: int) -> None:
        sums = self._sums.setdefault(name, _Sums())
        steps = wanted.shape[1]
        seen = max(steps - lag, 0)
        aligned = got[:, lag:]
        expected = wanted[:, :seen]
        counts, reference = aligned.sum(axis=1, dtype=np.int64), expected.sum(axis=1, dtype=np.int64)
        sums.cells += seen * got.shape[0]
        sums.neurons = counts.sum(axis=0) + (0 if sums.neurons is None else sums.neurons)
        sums.reference = reference.sum(axis=0) + (0 if sums.reference is None else sums.reference)
        sums.absolute += float(np.abs(counts - reference).sum())
        sums.spikes += float(reference.sum())
        wrong = np.array([_wrong_cells(got, wanted, lag + shift) for shift in SHIFTS])
        sums.wrong = wrong + (0 if sums.wrong is None else sums.wrong)
        rows = np.flatnonzero(np.any(aligned != expected, axis=(0, 2)))
        if rows.size and (sums.first < 0 or rows[0] < sums.first):
            sums.first = int(rows[0])

    def decided(self) -> dict[str, tuple[AnyArray, AnyArray]]:
        """Return the decisions ``(B,)`` of the chip and of the reference, by output."""
        return {name: (np.concatenate(self._chip[name]), np.concatenate(self._float[name])) for name in self._outputs}

    def result(self, labels: AnyArray | None) -> Fidelity:
        """Return all measures of what was added."""
        outputs = {}
        for name, (got, wanted) in self.decided().items():
            outputs[name] = OutputFidelity(
                Share.of(got == wanted),
                None if labels is None else Share.of(got == labels),
                None if labels is None else Share.of(wanted == labels),
            )
        populations = {name: _population(sums) for name, sums in self._sums.items()}
        spikes = sum(s.spikes for s in self._sums.values())
        absolute = sum(s.absolute for s in self._sums.values())
        rates = [_rates(s) for s in self._sums.values()]
        distance = _wasserstein(*(np.concatenate([r[k] for r in rates]) for k in (0, 1))) if rates else 0.0
        return Fidelity(outputs, populations, _ratio(absolute, spikes), distance)


def _flat(spikes: AnyArray) -> AnyArray:
    return spikes.reshape(*spikes.shape[:2], -1)


def _wrong_cells(got: AnyArray, wanted: AnyArray, shift: int) -> tuple[int, int]:
    """Return differing cells of ``got[t + shift]`` and ``wanted[t]``, and spikes of ``wanted``, over the rows that both have."""
    rows = max(wanted.shape[1] - abs(shift), 0)
    late, early = max(shift, 0), max(-shift, 0)
    expected = wanted[:, early : early + rows]
    return int(np.count_nonzero(got[:, late : late + rows] != expected)), int(expected.sum(dtype=np.int64))


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else (0.0 if part == 0 else float("inf"))


def _rates(sums: _Sums) -> tuple[AnyArray, AnyArray]:
    assert sums.neurons is not None and sums.reference is not None  # a population is listed once it was added
    return sums.neurons / max(sums.cells, 1), sums.reference / max(sums.cells, 1)


def _wasserstein(first: AnyArray, second: AnyArray) -> float:
    """Return the 1-D Wasserstein distance of two samples of the same size."""
    return float(np.mean(np.abs(np.sort(first) - np.sort(second)))) if first.size else 0.0


def _population(sums: _Sums) -> PopulationFidelity:
    assert sums.wrong is not None  # a population is listed once it was added
    # a shift whose common rows hold no reference spike says nothing: a silent chip would look perfect there
    distances = {
        shift: float(cells) / spikes if spikes else float("inf")
        for shift, (cells, spikes) in zip(SHIFTS, sums.wrong.tolist(), strict=True)
    }
    distances[0] = _ratio(float(sums.wrong[MAX_SHIFT, 0]), sums.spikes)
    best = min(SHIFTS, key=lambda shift: (distances[shift], abs(shift), shift < 0))
    return PopulationFidelity(
        _ratio(sums.absolute, sums.spikes),
        _wasserstein(*_rates(sums)),
        distances[0],
        distances[best],
        best,
        sums.first,
    )
