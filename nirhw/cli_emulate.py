"""The work of ``nirhw emulate``: runs in chunks of samples, what they amount to, and the arrays that are written."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirhw.compiled import CHUNK, CompiledModel
from nirhw.diagnostics import error, printable
from nirhw.emulation.inputs import as_counts, as_labels
from nirhw.emulation.result import Run, unpack
from nirhw.fidelity import Fidelity, Share, decisions
from nirhw.spike_files import key_of, read_labels, read_spikes

AnyArray = NDArray[Any]
Arrays = dict[str, AnyArray]
Advance = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Samples:
    """Checked inputs ``[batch, time, *in]`` by input name, and labels ``[batch]`` where there are some."""

    inputs: Mapping[str, AnyArray]
    labels: AnyArray | None
    batched: bool

    @property
    def number(self) -> int:
        """Number of samples."""
        return int(next(iter(self.inputs.values())).shape[0])

    @property
    def steps(self) -> int:
        """Number of steps of each sample."""
        return int(next(iter(self.inputs.values())).shape[1])

    def chunk(self, first: int) -> Any:
        """Return some samples from ``first`` on as the model takes them: bare where there is one input."""
        parts = {n: a[first : first + CHUNK] for n, a in self.inputs.items()}
        return parts if len(parts) > 1 else next(iter(parts.values()))

    def whole(self) -> Any:
        """Return all samples as the model takes them."""
        return dict(self.inputs) if len(self.inputs) > 1 else next(iter(self.inputs.values()))


@dataclass
class Outcome:
    """What a run came to.

    Attributes:
        samples, steps: size of the input.
        seconds: time that the emulator took.
        latency: steps by which a population lags the network.
        spikes: mean spikes a sample, by spiking output.
        accuracy: by output, where there are labels.
        reference_accuracy, agreement: by output, where the reference was run.
        fidelity: all measures, where asked for.
        arrays: what is written, by npz key.
    """

    samples: int
    steps: int
    seconds: float = 0.0
    latency: dict[str, int] = field(default_factory=dict)
    spikes: dict[str, float] = field(default_factory=dict)
    accuracy: dict[str, Share] = field(default_factory=dict)
    reference_accuracy: dict[str, Share] = field(default_factory=dict)
    agreement: dict[str, Share] = field(default_factory=dict)
    fidelity: Fidelity | None = None
    arrays: Arrays = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the arrays as JSON-ready data."""
        shares = {k: {n: asdict(s) for n, s in getattr(self, k).items()} for k in ("accuracy", "reference_accuracy", "agreement")}
        return {
            "samples": self.samples,
            "steps": self.steps,
            "seconds": self.seconds,
            "latency": self.latency,
            "spikes_per_sample": self.spikes,
            **shares,
            "fidelity": self.fidelity and self.fidelity.to_dict(),
        }


def read_samples(model: CompiledModel, spikes: Path, labels: Path | None, steps: int | None) -> Samples:
    """Read and check everything that a run is fed with, before it begins.

    Raises:
        NirhwError: NIRHW-E005 and E050 to E052, as :mod:`nirhw.spike_files` and :mod:`nirhw.emulation.inputs` tell.
    """
    shapes = {name: tuple(entry["shape"]) for name, entry in model.io_map["inputs"].items()}
    found = read_spikes(spikes, shapes, model.io_map["dt"], steps)
    arrays = {name: np.asarray(found.spikes[name]) for name in shapes}
    batched = all(a.ndim == len(shapes[n]) + 2 for n, a in arrays.items())
    if not batched:
        as_counts(_bare(arrays), shapes, model.io_map["input_peak"])  # says what is wrong where some shape is
        arrays = {n: a[None] for n, a in arrays.items()}
    if len({a.shape[:2] for a in arrays.values()}) > 1 or not next(iter(arrays.values())).size:
        as_counts(_bare(arrays), shapes, model.io_map["input_peak"])
        if not next(iter(arrays.values())).shape[0]:
            raise error("NIRHW-E050", f"'{printable(spikes)}' holds no samples")
    samples = Samples(arrays, None, batched)
    for first in range(0, samples.number, CHUNK):
        as_counts(samples.chunk(first), shapes, model.io_map["input_peak"])
    given = read_labels(labels) if labels else found.labels
    if given is None:
        return samples
    return Samples(arrays, as_labels(given if batched else np.atleast_1d(given), samples.number), batched)


def _bare(arrays: Arrays) -> Any:
    return arrays if len(arrays) > 1 else next(iter(arrays.values()))


def known_populations(model: CompiledModel, record: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names to record, once each; raises UsageError NIRHW-E002 for one that is no population."""
    known = model.io_map["populations"]
    for name in record:
        if name not in known:
            raise error(
                "NIRHW-E002",
                f"--record {printable(name)}: no population is called so",
                fix="one of " + ", ".join(map(printable, list(known)[:40])),
            )
    return tuple(dict.fromkeys(record))


def run(model: CompiledModel, samples: Samples, record: tuple[str, ...], reference: bool, fidelity: bool, keep: bool) -> Outcome:
    """Emulate all samples, and what else was asked for; arrays are kept only where ``keep`` says they are written."""
    outcome = Outcome(samples.number, samples.steps)
    chip = _Collected(tuple(model.io_map["outputs"]), keep)
    floats = _Collected(tuple(model.io_map["outputs"]), keep)
    rounds = 1 + reference + fidelity
    with progress_bar(rounds * samples.number, samples.number > CHUNK) as advance:
        for first in range(0, samples.number, CHUNK):
            part = samples.chunk(first)
            start = time.perf_counter()
            done = model.emulate(part, record=record)
            outcome.seconds += time.perf_counter() - start
            outcome.latency = {n: int(lag) for n, lag in done.latency.items()}
            chip.add(done, done.latency)
            if reference:
                floats.add(model.reference(part, record=record), {})
            at = min(first + CHUNK, samples.number)
            advance("emulating", (1 + reference) * at)
        if fidelity:
            outcome.fidelity = model.fidelity(
                samples.whole(),
                samples.labels,
                progress=lambda at, _: advance("comparing", (1 + reference) * samples.number + at),
            )
    _conclude(outcome, chip, floats if reference else None, samples)
    return outcome


def _conclude(outcome: Outcome, chip: _Collected, floats: _Collected | None, samples: Samples) -> None:
    outcome.spikes = {n: total / samples.number for n, total in chip.totals.items()}
    outcome.arrays = chip.arrays(samples.batched)
    decided = chip.decided()
    if samples.labels is not None:
        outcome.accuracy = {n: Share.of(d == samples.labels) for n, d in decided.items()}
    if floats is not None:
        wanted = floats.decided()
        outcome.arrays |= {f"reference/{k}": a for k, a in floats.arrays(samples.batched).items()}
        outcome.agreement = {n: Share.of(d == wanted[n]) for n, d in decided.items()}
        if samples.labels is not None:
            outcome.reference_accuracy = {n: Share.of(d == samples.labels) for n, d in wanted.items()}
    if outcome.arrays:
        outcome.arrays["latency"] = np.array(json.dumps(outcome.latency, sort_keys=True))


class _Collected:
    """Runs of consecutive chunks, joined."""

    def __init__(self, names: tuple[str, ...], keep: bool):
        self.totals: dict[str, float] = {}
        self._names, self._keep = names, keep
        self._parts: dict[str, list[AnyArray]] = {}
        self._decisions: dict[str, list[AnyArray]] = {}

    def add(self, done: Run, lag: Mapping[str, int]) -> None:
        """Add the next samples."""
        for name, found in decisions(done, self._names, lag).items():
            self._decisions.setdefault(name, []).append(found)
        for kind in ("spikes", "outputs"):
            for name, values in unpack(getattr(done, kind), self._names).items():
                if kind == "spikes":
                    self.totals[name] = self.totals.get(name, 0.0) + float(values.sum(dtype=np.int64))
                self._put(kind if len(self._names) == 1 else f"{kind}/{key_of(name)}", values)
        for name, parts in done.states.items():
            for part, values in parts.items():
                self._put(f"state/{key_of(name)}/{part}", values)

    def _put(self, key: str, values: AnyArray) -> None:
        if self._keep:
            self._parts.setdefault(key, []).append(values)

    def decided(self) -> dict[str, AnyArray]:
        """Return the decision of every sample by output."""
        return {n: np.concatenate(parts) for n, parts in self._decisions.items()}

    def arrays(self, batched: bool) -> Arrays:
        """Return all arrays by npz key, without the batch axis where the input had none."""
        return {k: np.concatenate(parts) if batched else parts[0][0] for k, parts in self._parts.items()}


@contextmanager
def progress_bar(total: int, wanted: bool) -> Iterator[Callable[[str, int], None]]:
    """Give a function that shows how far the work is: on stderr, where that is a terminal and the work is long."""
    if not wanted or sys.stderr is None or not sys.stderr.isatty():
        yield lambda what, at: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("emulating", total=total)
        yield lambda what, at: bar.update(task, description=what, completed=at)
