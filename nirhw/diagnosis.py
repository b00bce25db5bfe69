"""What costs what on a chip: the float network with one property of the chip at a time, then all, then the chip itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nirhw.compiled import CHUNK, CompiledModel
from nirhw.compiler import compile
from nirhw.diagnostics import error
from nirhw.emulation.inputs import in_chunks
from nirhw.emulation.result import Run
from nirhw.fidelity import FidelityMeter, Share
from nirhw.network import Ints, Network
from nirhw.pipeline import Context
from nirhw.properties import Property, together
from nirhw.reference import run_reference
from nirhw.registry import find_target

Kind = Literal["float", "property", "together", "chip"]
#: a loss of fewer standard errors may be chance
DOUBT = 2.0
#: samples times rows that are done, and their number
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Change:
    """Mean of a difference between two runs of the same samples, with its standard error.

    Attributes:
        value: points, as a share: -0.1 is ten points less.
        error: from the differences sample by sample, so what both runs share does not blur it.
    """

    value: float
    error: float

    @classmethod
    def of(cls, after: NDArray[np.bool_], before: NDArray[np.bool_]) -> Change:
        """Return the change of a share of hits."""
        change = after.astype(float) - before
        return cls(float(change.mean()), float(change.std() / np.sqrt(change.size)))

    def __str__(self) -> str:
        return f"{100 * self.value:+.2f} ± {100 * self.error:.2f}"


@dataclass(frozen=True)
class OutputRow:
    """One output of a row; decisions as in :mod:`nirhw.fidelity`.

    Attributes:
        agreement: share of samples decided as the float network does.
        accuracy: share equal to the label, where labels were given.
        change: of accuracy against the float network; of agreement where there are no labels.
    """

    agreement: Share
    accuracy: Share | None
    change: Change


@dataclass(frozen=True)
class Row:
    """One network.

    Attributes:
        name: of the property.
        meaning: one phrase.
        kind: "float", a single "property", all of them "together", or the "chip" as compiled.
        outputs: by output name.
        count_error: mean of |count - float's count| over spiking neurons and samples, over the mean count.
    """

    name: str
    meaning: str
    kind: Kind
    outputs: Mapping[str, OutputRow]
    count_error: float


@dataclass(frozen=True)
class Diagnosis:
    """What each property of a chip costs a network on given samples.

    Attributes:
        target, title: the chip.
        samples, steps: size of the input.
        labelled: whether labels were given.
        rows: the float network, each property by itself, all together, the chip.
        absent: name and meaning of the properties of the target that make no difference to this network.
    """

    target: str
    title: str
    samples: int
    steps: int
    labelled: bool
    rows: tuple[Row, ...]
    absent: tuple[tuple[str, str], ...]

    @property
    def costliest(self) -> Row | None:
        """The property that alone costs most at one of the outputs; None where none costs more than ``DOUBT`` standard errors."""
        sure = [
            (out.change.value, number)
            for number, row in enumerate(self.rows)
            if row.kind == "property"
            for out in row.outputs.values()
            if out.change.value < -DOUBT * out.change.error
        ]
        return self.rows[min(sure)[1]] if sure else None

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-ready data."""
        absent = [{"name": name, "meaning": meaning} for name, meaning in self.absent]
        return {**asdict(self), "rows": [asdict(r) for r in self.rows], "absent": absent}

    def to_text(self) -> str:
        """Return the table as plain text of at most 110 columns."""
        from nirhw.report.diagnosis import render

        return render(self)


@dataclass(frozen=True, eq=False)
class Subject:
    """A compiled network and the properties of its chip."""

    model: CompiledModel
    properties: tuple[Property, ...]

    @property
    def present(self) -> list[Property]:
        """The properties that make a difference to the network."""
        return [p for p in self.properties if p.rewrite is not None]

    @property
    def rows(self) -> int:
        """Number of rows of its diagnosis: float, each property, all together where they are several, chip."""
        single = len(self.present)
        return single + 2 + (single > 1)


def diagnose(
    graph: Any, target: str, spikes: Any, labels: Any = None, *, progress: Progress | None = None, **same_options: Any
) -> Diagnosis:
    """Show what each property of a chip costs a network: float with one of them at a time, all together, and the chip.

    A property is shown raw, without what the compiler does to make up for it; the last row, the emulated chip as compiled, shows
    what is left of the loss.

    Args:
        graph: a ``nir.NIRGraph``, or the path of a NIR file.
        target: a name of :func:`nirhw.list_targets`.
        spikes: ``(B, T, *in)``, or one sample ``(T, *in)``; a dict by input name where there are several inputs.
        labels: classes ``(B,)``; without them only the agreement with the float network is known.
        progress: called with samples times rows that are done, and their number.
        **same_options: those of :func:`nirhw.compile`.

    Raises:
        NirhwError: as :func:`nirhw.compile`; NIRHW-E050 to E052 for spikes or labels that do not suit the network.
    """
    return examine(subject(graph, target, **same_options), spikes, labels, progress)


def subject(graph: Any, target: str, **same_options: Any) -> Subject:
    """Compile a network and find the properties of its chip; raises what :func:`nirhw.compile` raises."""
    declared = find_target(target).properties
    found: list[Property] = []

    def explain(network: Network, lowered: Network, context: Context) -> None:
        if declared is not None:
            found.extend(declared(network, lowered, context))

    return Subject(compile(graph, target, explainer=explain, **same_options), tuple(found))


def examine(subject: Subject, spikes: Any, labels: Any = None, progress: Progress | None = None) -> Diagnosis:
    """Run every row on the same samples; arguments and errors of :func:`diagnose`."""
    model = subject.model
    counts, checked = model.samples_of(spikes, labels)
    samples, steps = next(iter(counts.values())).shape[:2]
    if not samples or not steps:
        raise error("NIRHW-E050", f"spikes hold {samples} samples of {steps} steps", fix="give at least one of each")
    trials = list(_trials(subject))
    meters = [FidelityMeter(tuple(model.io_map["outputs"])) for _ in trials]
    shapes = {name: model.network.populations[pop].shape for name, pop in model.network.inputs.items()}
    done = 0
    for chunk in in_chunks(counts, shapes, CHUNK):
        reference = model.reference(chunk, record=model.spiking_populations)
        for trial, meter in zip(trials, meters, strict=True):
            meter.add(trial.run(chunk, reference), reference)
            done += next(iter(chunk.values())).shape[0]
            if progress:
                progress(done, samples * len(trials))
    return Diagnosis(
        target=model.target,
        title=model.hardware.title,
        samples=samples,
        steps=steps,
        labelled=checked is not None,
        rows=tuple(_row(trial, meter, checked) for trial, meter in zip(trials, meters, strict=True)),
        absent=tuple((p.name, p.meaning) for p in subject.properties if p.rewrite is None),
    )


@dataclass(frozen=True, eq=False)
class _Trial:
    """What a row runs: given a chunk of samples and the float network's run of them."""

    name: str
    meaning: str
    kind: Kind
    run: Callable[[Any, Run], Run]


def _trials(subject: Subject) -> Iterator[_Trial]:
    model, present = subject.model, subject.present
    yield _Trial("float", "the network itself", "float", lambda chunk, reference: reference)
    for one in present:
        yield _Trial(one.name, one.meaning, "property", _runner(model, one))
    if len(present) > 1:
        every = together(present)
        yield _Trial(every.name, every.meaning, "together", _runner(model, every))
    meaning = "the emulator, with all that the compiler does to make up for them"
    yield _Trial("chip", meaning, "chip", lambda chunk, _: model.emulate(chunk, record=model.spiking_populations))


def _runner(model: CompiledModel, one: Property) -> Callable[[Any, Run], Run]:
    """Return what runs the float network with a property; its run says by how much the populations lag."""
    assert one.rewrite is not None  # only those that are present
    network = one.rewrite(model.network)
    network.verify()
    lag = {**one.lag, **{out: one.lag.get(pop, 0) for out, pop in network.outputs.items()}}

    def run(chunk: Any, _: Run) -> Run:
        found = run_reference(network, chunk, model.spiking_populations)
        return replace(found, latency={**found.latency, **lag})

    return run


def _row(trial: _Trial, meter: FidelityMeter, labels: Ints | None) -> Row:
    found, outputs = meter.result(labels), {}
    for name, (got, wanted) in meter.decided().items():
        truth = wanted if labels is None else labels
        measured = found.outputs[name]
        outputs[name] = OutputRow(measured.agreement, measured.accuracy, Change.of(got == truth, wanted == truth))
    return Row(trial.name, trial.meaning, trial.kind, outputs, found.count_error)
