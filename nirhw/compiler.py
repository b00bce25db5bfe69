"""The whole compiler in one function; see :func:`compile`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from nirhw.calibration.effort import CALIBRATED, PATIENCE, SEARCHED, Effort, list_calibration, list_recorded, settled_effort
from nirhw.compiled import CompiledModel
from nirhw.diagnostics import DEVIATION_CLASSES, Diagnostic, NirhwError, error, error_of
from nirhw.hardware import load_hardware
from nirhw.network import Integrator, Network
from nirhw.nir_reader import Semantics, read_network
from nirhw.numerics import FINE_FACTORS, RANGE_FACTORS
from nirhw.pipeline import PASS_STAGES, Context, Pass, Target, Tuning
from nirhw.registry import extra_passes, find_target
from nirhw.report.model import build_report

if TYPE_CHECKING:
    from nirhw.calibration.activity import Activity
    from nirhw.calibration.evaluate import Emulated
    from nirhw.calibration.hunt import Watch
    from nirhw.calibration.knobs import Knob

#: what calibration runs again for each candidate: all of them, or without those that place
BACK_STAGES = PASS_STAGES[PASS_STAGES.index("fit") :]
TUNED_STAGES = tuple(s for s in BACK_STAGES if s not in ("partition", "place"))

#: called after every pass with stage, pass name and the network as it is then
Observer = Callable[[str, str, Network], None]
#: called once with the canonical network, the network after all passes, and the context with its record
Explainer = Callable[[Network, Network, Context], None]


def compile(
    graph: Any,
    target: str = "xylo",
    *,
    hardware: str | os.PathLike[str] | None = None,
    dt: float | None = None,
    reset: str | Mapping[str, str] = "value",
    integrator: Integrator = "euler",
    strict: bool | tuple[str, ...] = False,
    options: Mapping[str, Any] | None = None,
    calibration: Any = None,
    labels: Any = None,
    level: int | None = None,
    budget: int | None = None,
    seed: int = 0,
    observer: Observer | None = None,
    progress: Watch | None = None,
    explainer: Explainer | None = None,
) -> CompiledModel:
    """Lower a network to a chip's configuration.

    Args:
        graph: a ``nir.NIRGraph``, or the path of a NIR file.
        target: a name of :func:`nirhw.list_targets`.
        hardware: a description of your own (TOML file), or the name of a shipped one, instead of the target's.
        dt: time step in seconds; None: told by the file's conventions, or an error that asks for it.
        reset: "value" (to v_reset), "zero" or "subtract"; or a dict by NIR node name, ``""`` for all others.
        integrator: "euler", "exact" or "exponential".
        strict: True refuses "semantic" and "retimed" deviations; a tuple refuses those classes.
        options: the target's own options by name.
        calibration: spikes ``(B, T, *in)``, a dict by input name where there are several inputs; half of the samples is
            searched, the other half judges the result (see :mod:`nirhw.calibration`).
        labels: classes ``(B,)`` of the calibration samples; without them the float network's decisions are the target.
        level: 0 quickest; 1 all analytic gains (the default without calibration spikes); 2 scales searched finely, and with
            calibration spikes weights rounded for the recorded activity and thresholds corrected by firing rate; 3 the
            emulator in the loop on top of that (the default with calibration spikes).
        budget: evaluations of candidates at level 3; by default 250.
        seed: of everything random in calibration.
        observer: called after every pass; for ``nirhw inspect``.
        progress: told how far calibration is; a KeyboardInterrupt during it keeps the best so far.
        explainer: called once with the networks before and after lowering; for :func:`nirhw.diagnose`.

    Returns:
        The compiled model: configuration, io map, report, ledger, emulator, reference.

    Raises:
        NirhwError: one subclass a stage, with every finding of that stage.
    """
    family = find_target(target)
    chip = load_hardware(hardware or family.variants[target], family.name)
    effort = settled_effort(calibration, labels, level, budget, seed)
    if effort.level == CALIBRATED and family.knobs is None:
        raise error("NIRHW-E002", f"target {family.name} cannot be calibrated", fix=f"compile with level={SEARCHED}")
    given = {**family.level_options.get(effort.level, {}), **(options or {})}
    context = Context(chip, family.make_options(given), family.new_record())
    refused = _refused_classes(strict)
    semantics = Semantics(dt, reset, integrator)
    clock = _Clock()

    read = read_network(graph, semantics)
    network = read.network
    context.deviations.extend(read.deviations)
    context.findings.extend(network.findings)
    clock.lap("read")

    network = meaning = _run(("canonicalize",), network, context, family, observer, clock)
    # what the reference runs is the canonical network: the same meaning in fewer populations
    if effort.level == SEARCHED:  # with the emulator in the loop each candidate has to be quick
        context.shares, context.drive_shares, context.patience = FINE_FACTORS, RANGE_FACTORS, PATIENCE
    found: dict[str, Any] = {}
    if calibration is not None:
        found = _fit(meaning, context, family, effort, calibration, labels, progress)
        clock.lap("calibrate")
    network = _trimmed(_run(("legalize",), network, context, family, observer, clock), context.tuning)
    network = _run(BACK_STAGES, network, context, family, observer, clock)

    config, io_map = family.lower(network, context)
    _refuse_deviations(context, refused)
    clock.lap("lower")
    broken = family.check(config, io_map, chip)
    if broken:
        raise error_of(broken)
    clock.lap("verify")
    if explainer:
        explainer(meaning, network, context)
    sections = family.report(config, io_map, chip, context.record)
    if context.drives:
        found["drives"] = [d.as_row() for d in context.drives]
    sections = {**sections, **found}
    report = build_report(target, chip, network, semantics, context, sections, clock.seconds)
    return CompiledModel(
        target=target,
        config=config,
        io_map=io_map,
        report=report,
        deviations=tuple(context.deviations),
        findings=tuple(context.findings),
        hardware=chip,
        network=replace(meaning, findings=()),
    )


def _run(
    stages: tuple[str, ...], network: Network, context: Context, family: Target, observer: Observer | None, clock: _Clock | None
) -> Network:
    """Return the network after all passes of some stages."""
    passes = family.passes(context.options)
    for stage in stages:
        for step in _with_extras(stage, passes.get(stage, ()), family.name):
            before, network = network, step.apply(network, context)
            network.verify(since=before)
            if observer:
                observer(stage, step.name, network)
            if clock:
                clock.lap(stage)
    return network


def _fit(
    meaning: Network, context: Context, family: Target, effort: Effort, spikes: Any, labels: Any, progress: Watch | None
) -> dict[str, Any]:
    """Fit what follows to calibration spikes: fill the context's activity and tuning; return sections of the report."""
    from nirhw.calibration.driver import calibrate
    from nirhw.calibration.halves import Halves
    from nirhw.calibration.recorded import fit_to_record
    from nirhw.calibration.samples import Samples

    samples = Samples.of(meaning, spikes, labels, getattr(context.options, "input_peak", 0) or None)
    halves = Halves.of(meaning, samples, effort.seed)
    candidates = {rounded: _Candidates(meaning, context, family) for rounded in (False, True)}

    def recorded(activity: Activity | None, tuning: Tuning) -> Emulated:
        return candidates[activity is not None].lowered(tuning, activity)

    # a conversion that is literally a vendor's has no knobs, and takes no trims
    trims = family.trims if candidates[False].knobs else ()
    level2 = fit_to_record(recorded, halves, trims, alone=effort.level == SEARCHED)
    context.activity, context.tuning = level2.activity, level2.tuning
    sections = {"recorded": level2.to_dict()}
    list_recorded(level2, meaning, context)
    if effort.level == CALIBRATED:
        chosen = candidates[level2.activity is not None]

        def lower(tuning: Tuning) -> Emulated:
            return chosen.lowered(tuning, level2.activity)

        level3 = calibrate(halves, chosen.knobs, trims, lower, effort.budget, progress)
        context.tuning, context.options = level3.tuning, _tuned_options(context.options, level3.tuning)
        list_calibration(level3, meaning, context)
        sections["calibration"] = level3.to_dict()
    return sections


class _Candidates:
    """Lowers a canonical network with one tuning after the other; what does not depend on the tuning is done once."""

    def __init__(self, network: Network, context: Context, family: Target):
        self._family, self._context, self._network = family, context, network
        self._legal: dict[Any, tuple[Network, Context]] = {}
        self._kept: dict[str, Any] | None = None

    def _legalized(self, options: Any) -> tuple[Network, Context]:
        """Return the legalized network and its context with some options."""
        if options not in self._legal:
            context = _branch(replace(self._context, options=options), Tuning())
            self._legal[options] = _run(("legalize",), self._network, context, self._family, None, None), context
        return self._legal[options]

    @property
    def knobs(self) -> tuple[Knob, ...]:
        """What may be turned."""
        return self._family.knobs(*self._legalized(self._context.options)) if self._family.knobs else ()

    def lowered(self, tuning: Tuning, activity: Activity | None) -> Emulated:
        """Return the emulator of a candidate and its io map; weights are rounded for the activity where there is one.

        Raises:
            NirhwError: where it cannot be lowered.
        """
        family = self._family
        legal, context = self._legalized(_tuned_options(self._context.options, tuning))
        trial, network = _branch(context, tuning), _trimmed(legal, tuning)
        trial.activity = activity
        if self._kept is None:
            # the default comes first
            network = _run(BACK_STAGES, network, trial, family, None, None)
            self._kept = {name: getattr(trial.record, name) for name in family.placement}
        else:
            network = _run(TUNED_STAGES if self._kept else BACK_STAGES, network, trial, family, None, None)
            for name, value in self._kept.items():
                setattr(trial.record, name, value)
        config, io_map = family.lower(network, trial)
        broken = family.check(config, io_map, trial.hardware)
        if broken:
            raise error_of(broken)
        return family.device(config, io_map), io_map


def _tuned_options(options: Any, tuning: Tuning) -> Any:
    """Return options in which those that are knobs, too, have the values of a tuning."""
    named = {f.name for f in fields(options)} & set(tuning.knobs)
    return replace(options, **{name: type(getattr(options, name))(tuning.knobs[name]) for name in named})


def _trimmed(network: Network, tuning: Tuning) -> Network:
    """Return the network with the trims that calibration found."""
    return (
        network.with_populations(t.applied(network.populations[n]) for n, t in tuning.trims.items()) if tuning.trims else network
    )


def _branch(context: Context, tuning: Tuning) -> Context:
    """Return a context that candidates may fill without touching the original; what passes write are fields of the record."""
    record = replace(context.record, **{f.name: copy(getattr(context.record, f.name)) for f in fields(context.record)})
    return replace(context, record=record, deviations=[], findings=[], drives=[], tuning=tuning)


def check(graph: Any, target: str = "xylo", **same_options: Any) -> tuple[Diagnostic, ...]:
    """Return all findings of compiling ``graph`` for ``target``: errors first, then warnings; empty where all is well.

    Takes the options of :func:`compile`.  Wrong usage (unknown target, option or file) is raised, not returned.
    """
    try:
        return compile(graph, target, **same_options).findings
    except NirhwError as failure:
        if failure.diagnostics[0].stage == "usage":
            raise
        return failure.diagnostics


def _refused_classes(strict: bool | tuple[str, ...]) -> tuple[str, ...]:
    classes = ("semantic", "retimed") if strict is True else () if strict is False else tuple(strict)
    for name in classes:
        if name not in DEVIATION_CLASSES:
            raise error("NIRHW-E002", f"strict names the unknown class '{name}'", fix=f"of {', '.join(DEVIATION_CLASSES)}")
    return classes


def _refuse_deviations(context: Context, refused: tuple[str, ...]) -> None:
    found = [
        Diagnostic(
            "NIRHW-E033",
            f"{d.kind} deviation '{d.rule}': {d.reason}",
            d.nodes,
            f"strict mode refuses {', '.join(refused)}",
            "change the network, or allow this class",
        )
        for d in context.deviations
        if d.kind in refused
    ]
    if found:
        raise error_of(found)


def _with_extras(stage: str, own: tuple[Pass, ...], family: str) -> tuple[Pass, ...]:
    extras = [e for e in extra_passes() if e.stage == stage and (not e.families or family in e.families)]
    if not extras:
        return own
    return (*(e.step for e in extras if e.order < 0), *own, *(e.step for e in extras if e.order >= 0))


@dataclass
class _Clock:
    """Wall time by stage, for the report; it stands outside everything that is hashed."""

    def __post_init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        """Book the time since the last lap to ``stage``."""
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now
