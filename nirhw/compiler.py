"""The whole compiler in one function; see :func:`compile`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from nirhw.compiled import CompiledModel
from nirhw.diagnostics import DEVIATION_CLASSES, Diagnostic, NirhwError, error, error_of
from nirhw.hardware import load_hardware
from nirhw.network import Integrator, Network
from nirhw.nir_reader import Semantics, read_network
from nirhw.pipeline import PASS_STAGES, Context, Pass
from nirhw.registry import extra_passes, find_target
from nirhw.report.model import build_report

#: called after every pass with stage, pass name and the network as it is then
Observer = Callable[[str, str, Network], None]


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
    observer: Observer | None = None,
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
        observer: called after every pass; for ``nirhw inspect``.

    Returns:
        The compiled model: configuration, io map, report, ledger, emulator, reference.

    Raises:
        NirhwError: one subclass a stage, with every finding of that stage.
    """
    family = find_target(target)
    chip = load_hardware(hardware or family.variants[target], family.name)
    context = Context(chip, family.make_options(options or {}), family.new_record())
    refused = _refused_classes(strict)
    semantics = Semantics(dt, reset, integrator)
    clock = _Clock()

    read = read_network(graph, semantics)
    network = read.network
    context.deviations.extend(read.deviations)
    context.findings.extend(network.findings)
    clock.lap("read")

    meaning = network
    passes = family.passes(context.options)
    for stage in PASS_STAGES:
        for step in _with_extras(stage, passes.get(stage, ()), family.name):
            before, network = network, step.apply(network, context)
            network.verify(since=before)
            if observer:
                observer(stage, step.name, network)
            clock.lap(stage)
        if stage == "canonicalize":
            meaning = network  # what the reference runs: the same meaning in fewer populations

    config, io_map = family.lower(network, context)
    _refuse_deviations(context, refused)
    clock.lap("lower")
    broken = family.check(config, io_map, chip)
    if broken:
        raise error_of(broken)
    clock.lap("verify")
    sections = family.report(config, io_map, chip, context.record)
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
