"""The command line.  Every command is a few lines here; what they share is in ``cli_support``, their work behind them.

Exit codes: 0 done; 1 a network does not fit, is not supported, or a file's content is bad; 2 wrong usage.  Nothing heavy is
imported before a command needs it: ``nirhw --help`` answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from nirhw import cli_support as out
from nirhw.cli_options import Choices, spell_out_strict

if TYPE_CHECKING:
    from nirhw.cli_emulate import Outcome
    from nirhw.compiled import CompiledModel
    from nirhw.diagnostics import Diagnostic
    from nirhw.emulation.events import Events
    from nirhw.network import Network


class CommandGroup(TyperGroup):
    """All commands, with one way out: an exit code, and never a traceback for bad input."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Parse and run a command line; end the process with its exit code in standalone mode."""
        words = spell_out_strict(list(sys.argv[1:] if args is None else args))
        as_json = "--json" in words
        try:
            code = super().main(words, prog_name, complete_var, standalone_mode=False, obj={"json": as_json}, **extra)
        except KeyboardInterrupt:
            code = out.INTERRUPTED
        except Exception as failure:
            if not hasattr(failure, "format_message"):
                raise
            code = out.report_misuse(failure, as_json)
        if standalone_mode:
            sys.exit(code or out.DONE)
        return code

    def invoke(self, ctx: Any) -> int:
        """Run the command; returns its exit code."""
        return out.guarded(lambda: super(CommandGroup, self).invoke(ctx), ctx.obj["json"])


app = typer.Typer(
    name="nirhw",
    cls=CommandGroup,
    help="Compile spiking networks in NIR for neuromorphic chips, and emulate the chips bit by bit.",
    epilog="Exit codes: 0 done, 1 does not fit or is not supported, 2 wrong usage.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

NirFile = Annotated[Path, typer.Argument(metavar="FILE", help="A .nir file.", show_default=False)]
AnyFile = Annotated[Path, typer.Argument(metavar="FILE", help="A .nir file, or a compiled .nirhw file.", show_default=False)]
TargetName = Annotated[
    str | None, typer.Option("--target", "-t", metavar="NAME", help="Chip to compile for; see 'nirhw targets'.")
]
HardwareName = Annotated[
    str | None, typer.Option("--hardware", metavar="FILE|NAME", help="Hardware description instead of the target's own.")
]
TimeStep = Annotated[float | None, typer.Option("--dt", metavar="SECONDS", help="Time step; by default told by the file.")]
ResetKind = Annotated[
    list[str] | None,
    typer.Option("--reset", metavar="[NODE=]KIND", help="value (default), zero or subtract; for all nodes, or one. Repeatable."),
]
IntegratorName = Annotated[
    str | None, typer.Option("--integrator", metavar="NAME", help="euler (default), exact or exponential.")
]
StrictClasses = Annotated[
    str | None,
    typer.Option("--strict", metavar="[=CLASS,...]", help="Refuse deviations of these classes; alone: semantic,retimed."),
]
TargetOption = Annotated[
    list[str] | None,
    typer.Option("--option", metavar="NAME=VALUE", help="Option of the target; see 'nirhw targets'. Repeatable."),
]
Level = Annotated[
    int | None,
    typer.Option(
        "--level",
        metavar="N",
        help="0 quickest, 1 analytic gains (default), 2 fitted to recorded spikes, 3 calibration (default with spikes).",
    ),
]
CalibrationSpikes = Annotated[
    Path | None,
    typer.Option("--calibration", metavar="SPIKES", help="Spikes (B, T, channels) to calibrate with: .npz, .npy or events."),
]
CalibrationLabels = Annotated[
    Path | None,
    typer.Option("--labels", metavar="LABELS", help="Labels of the calibration samples; by default the float network decides."),
]
Budget = Annotated[
    str | None,
    typer.Option("--budget", metavar="N|SECONDSs", help="Evaluations of calibration (default 250), or seconds, such as 30s."),
]
Seed = Annotated[int | None, typer.Option("--seed", metavar="N", help="Seed of calibration; 0 by default.")]
InputSpikes = Annotated[
    Path,
    typer.Option(
        "--input",
        "-i",
        metavar="SPIKES",
        help="Spikes: .npz (key 'spikes'), .npy or .csv; or events with time stamps.",
        show_default=False,
    ),
]
SampleLabels = Annotated[
    Path | None,
    typer.Option(
        "--labels", metavar="LABELS", help="Labels: .npy, or .npz with the key 'labels'; by default those beside the spikes."
    ),
]
EventSteps = Annotated[
    int | None, typer.Option("--steps", min=1, metavar="N", help="Length of an event file; by default up to its last event.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        from nirhw import __version__

        out.emit(f"nirhw {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
) -> None:
    """Take the options of the program itself."""


@app.command()
def check(
    file: NirFile,
    target: TargetName = None,
    hardware: HardwareName = None,
    dt: TimeStep = None,
    reset: ResetKind = None,
    integrator: IntegratorName = None,
    strict: StrictClasses = None,
    option: TargetOption = None,
    json: AsJson = False,
) -> int:
    """Say whether a network fits a chip, with all findings."""
    from nirhw.cli_options import refuse_artifact
    from nirhw.compiler import compile
    from nirhw.diagnostics import NirhwError

    choices = _choices(target, hardware, dt, reset, integrator, strict, option)
    arguments = choices.arguments()
    refuse_artifact(file)
    model: CompiledModel | None = None
    findings: tuple[Diagnostic, ...] = ()
    try:
        model = compile(file, **arguments)
        findings = model.findings
    except NirhwError as failure:
        if out.exit_code(failure) == out.USAGE:
            raise
        findings = failure.diagnostics
    if json:
        verdict = {"ok": model is not None, "file": str(file), "target": target, "fits": model is not None}
        out.emit_json({**verdict, **(_fit_data(model) if model else {}), "diagnostics": _dicts(findings)})
    else:
        out.emit_blocks(out.text_of(_verdict(file, arguments["target"], model, findings)), *out.findings_blocks(findings))
    return out.DONE if model else out.REFUSED


@app.command()
def compile(
    file: NirFile,
    target: TargetName = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="OUT.nirhw", help="Where the compiled model goes.")
    ] = None,
    config_json: Annotated[
        Path | None, typer.Option("--config-json", metavar="PATH", help="Write the chip's configuration as JSON, too.")
    ] = None,
    hardware: HardwareName = None,
    dt: TimeStep = None,
    reset: ResetKind = None,
    integrator: IntegratorName = None,
    strict: StrictClasses = None,
    option: TargetOption = None,
    calibration: CalibrationSpikes = None,
    labels: CalibrationLabels = None,
    level: Level = None,
    budget: Budget = None,
    seed: Seed = None,
    json: AsJson = False,
) -> int:
    """Compile a network, write the model, print the report."""
    from nirhw.cli_options import check_writable, refuse_artifact
    from nirhw.compiler import compile as compile_graph
    from nirhw.diagnostics import error
    from nirhw.files import write_whole

    choices = replace(
        _choices(target, hardware, dt, reset, integrator, strict, option),
        level=level,
        calibration=calibration,
        labels=labels,
        budget=budget,
        seed=seed,
    )
    arguments = choices.arguments()
    if output is None and config_json is None:
        raise error("NIRHW-E002", "nothing would be written", fix="add -o OUT.nirhw; 'nirhw report' prints the report alone")
    refuse_artifact(file)
    for path, other in ((output, config_json), (config_json, output)):
        check_writable(path, file, other, calibration, labels)
    if calibration is None and labels is None and budget is None:
        model = compile_graph(file, **arguments)
    else:
        from nirhw.cli_calibrate import effort

        with effort(file, choices) as more:
            model = compile_graph(file, **{**arguments, **more})
    if config_json is not None:
        write_whole(config_json, model.config.to_json().encode())
    if output is not None:
        model.save(output)
    written = {"artifact": output, "config_json": config_json}
    if json:
        paths = {k: None if p is None else str(p) for k, p in written.items()}
        out.emit_json({"ok": True, **paths, "report": model.report.to_dict(), "diagnostics": _dicts(model.findings)})
    else:
        out.emit(model.report.to_text())
        for path in filter(None, written.values()):
            out.emit(f"written to {path}")
    return out.DONE


@app.command()
def inspect(
    file: AnyFile,
    target: TargetName = None,
    hardware: HardwareName = None,
    dt: TimeStep = None,
    reset: ResetKind = None,
    integrator: IntegratorName = None,
    option: TargetOption = None,
    as_dot: Annotated[bool, typer.Option("--dot", help="Print the network as a Graphviz diagram.")] = False,
    as_mermaid: Annotated[bool, typer.Option("--mermaid", help="Print the network as a Mermaid diagram.")] = False,
    json: AsJson = False,
) -> int:
    """Show a network as nirhw reads it; with --target, also after each pass."""
    from nirhw.cli_options import is_artifact, model_of
    from nirhw.diagnostics import NirhwError
    from nirhw.nir_reader import read_network

    choices = _choices(target, hardware, dt, reset, integrator, None, option)
    stages: list[tuple[str, str, Network]] = []
    failure: NirhwError | None = None
    if is_artifact(file):
        model = model_of(file, choices)
        stages.append(("canonicalize", "", model.network))
        findings = model.findings
    else:
        arguments = choices.arguments() if target else {}
        network = read_network(file, choices.semantics()).network
        stages.append(("read", "", network))
        findings = network.findings
        try:
            if target:
                from nirhw.compiler import compile

                findings = compile(file, **arguments, observer=lambda *seen: stages.append(seen)).findings
        except NirhwError as reason:
            failure = reason
    if as_dot or as_mermaid:
        from nirhw import diagram

        print((diagram.dot if as_dot else diagram.mermaid)(stages[0][2]), end="")
        return out.DONE
    if not json:
        _show_stages(file, stages)
        if failure is None:
            out.emit_blocks(*out.findings_blocks(findings))
            return out.DONE
        return out.report_failure(failure, as_json=False)
    payload = _stage_data(file, stages)
    if failure is not None:
        return out.report_failure(failure, as_json=True, **payload)
    out.emit_json({"ok": True, **payload, "diagnostics": _dicts(findings)})
    return out.DONE


@app.command()
def emulate(
    file: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A compiled .nirhw file, or a .nir file with --target.", show_default=False)
    ],
    spikes: InputSpikes,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="OUT.npz", help="Where the results go.")] = None,
    labels: SampleLabels = None,
    record: Annotated[
        list[str] | None, typer.Option("--record", metavar="NODE", help="Keep spikes and states of a population. Repeatable.")
    ] = None,
    reference: Annotated[
        bool, typer.Option("--reference", help="Run the float network, too; its results get the prefix reference/.")
    ] = False,
    fidelity: Annotated[bool, typer.Option("--fidelity", help="Measure the agreement with the float network.")] = False,
    steps: EventSteps = None,
    target: TargetName = None,
    hardware: HardwareName = None,
    dt: TimeStep = None,
    reset: ResetKind = None,
    integrator: IntegratorName = None,
    strict: StrictClasses = None,
    option: TargetOption = None,
    json: AsJson = False,
) -> int:
    """Run spikes through the emulated chip, bit by bit."""
    from nirhw.cli_options import check_writable, model_of

    check_writable(output, file, spikes, labels)
    model = model_of(file, _choices(target, hardware, dt, reset, integrator, strict, option))
    for found in model.findings:
        out.warn(f"warning {found}")
    from nirhw import cli_emulate as work

    names = work.known_populations(model, tuple(record or ()))
    from nirhw.event_files import read_events

    events = read_events(spikes, model.io_map)
    if events is not None:
        only_counts = {
            "--labels": labels is not None,
            "--reference": reference,
            "--fidelity": fidelity,
            "--steps": steps is not None,
        }
        return _emulate_events(model, events, names, output, [name for name, given in only_counts.items() if given], json)
    samples = work.read_samples(model, spikes, labels, steps)
    outcome = work.run(model, samples, names, reference, fidelity, keep=output is not None)
    if output is not None:
        from nirhw.spike_files import write_npz

        write_npz(output, outcome.arrays)
    if json:
        written = None if output is None else str(output)
        out.emit_json(
            {"ok": True, "target": model.target, "output": written, **outcome.to_dict(), "diagnostics": _dicts(model.findings)}
        )
    else:
        _show_outcome(model, outcome, output)
    return out.DONE


def _emulate_events(
    model: CompiledModel, events: Events, names: tuple[str, ...], output: Path | None, refused: list[str], as_json: bool
) -> int:
    from nirhw import cli_events as work
    from nirhw.diagnostics import error

    if refused:
        raise error(
            "NIRHW-E002", f"{refused[0]} takes counts per step, and this file holds events with time stamps", fix="leave it out"
        )
    done, seconds = work.run(model, events, names)
    if output is not None:
        from nirhw.spike_files import write_npz

        write_npz(output, work.arrays(done))
    if as_json:
        written = None if output is None else str(output)
        found = work.outcome(model, events, done, seconds)
        out.emit_json({"ok": True, "target": model.target, "output": written, **found, "diagnostics": _dicts(model.findings)})
    else:
        out.emit("\n".join(work.lines(model, events, done, seconds)) + "\n")
    return out.DONE


@app.command()
def diagnose(
    file: NirFile,
    spikes: InputSpikes,
    labels: SampleLabels = None,
    steps: EventSteps = None,
    target: TargetName = None,
    hardware: HardwareName = None,
    dt: TimeStep = None,
    reset: ResetKind = None,
    integrator: IntegratorName = None,
    strict: StrictClasses = None,
    option: TargetOption = None,
    level: Level = None,
    json: AsJson = False,
) -> int:
    """Show which property of a chip costs a network what, one at a time."""
    from nirhw import cli_emulate as work
    from nirhw.cli_options import refuse_artifact
    from nirhw.diagnosis import examine, subject

    choices = replace(_choices(target, hardware, dt, reset, integrator, strict, option), level=level)
    arguments = choices.arguments()
    refuse_artifact(file)
    case = subject(file, **arguments)
    samples = work.read_samples(case.model, spikes, labels, steps)
    with work.progress_bar(case.rows * samples.number, samples.number > 1) as advance:
        found = examine(case, samples.whole(), samples.labels, lambda done, total: advance("diagnosing", done))
    if json:
        out.emit_json({"ok": True, **found.to_dict(), "diagnostics": _dicts(case.model.findings)})
    else:
        for warning in case.model.findings:
            out.warn(f"warning {warning}")
        out.emit(found.to_text())
    return out.DONE


@app.command()
def report(
    file: AnyFile,
    target: TargetName = None,
    hardware: HardwareName = None,
    dt: TimeStep = None,
    reset: ResetKind = None,
    integrator: IntegratorName = None,
    strict: StrictClasses = None,
    option: TargetOption = None,
    json: AsJson = False,
) -> int:
    """Print resources, losses and deviations of a compiled network."""
    from nirhw.cli_options import model_of

    model = model_of(file, _choices(target, hardware, dt, reset, integrator, strict, option))
    if json:
        out.emit_json({"ok": True, "report": model.report.to_dict(), "diagnostics": _dicts(model.findings)})
    else:
        out.emit(model.report.to_text())
    return out.DONE


@app.command()
def targets(json: AsJson = False) -> int:
    """List the chips there are, and their options."""
    from dataclasses import asdict

    from nirhw.registry import list_targets

    infos = list_targets()
    if json:
        out.emit_json({"ok": True, "targets": [asdict(i) for i in infos], "diagnostics": []})
    else:
        from nirhw.cli_views import target_blocks

        out.emit_blocks(*target_blocks(infos))
    return out.DONE


@app.command()
def doctor(json: AsJson = False) -> int:
    """Show what is installed, and which vendor software is real."""
    from nirhw.doctor import examine

    found = examine()
    if json:
        out.emit_json({"ok": found.healthy, **found.to_dict(), "diagnostics": []})
    else:
        from nirhw.cli_views import doctor_blocks

        out.emit_blocks(*doctor_blocks(found))
    return out.DONE if found.healthy else out.REFUSED


def _choices(
    target: str | None,
    hardware: str | None,
    dt: float | None,
    reset: list[str] | None,
    integrator: str | None,
    strict: str | None,
    option: list[str] | None,
) -> Choices:
    return Choices(target, hardware, dt, tuple(reset or ()), integrator, strict, tuple(option or ()))


def _dicts(findings: tuple[Diagnostic, ...]) -> list[dict[str, Any]]:
    return [d.to_dict() for d in findings]


def _fit_data(model: CompiledModel) -> dict[str, Any]:
    data = model.report.data
    return {"binding_resource": data["binding_resource"], "resources": data["resources"], "deviations": data["deviations"]}


def _verdict(file: Path, target: str, model: CompiledModel | None, findings: tuple[Diagnostic, ...]) -> str:
    """Return the first line of ``nirhw check``."""
    warnings = out.counted(sum(not d.is_error for d in findings), "warning")
    if model is None:
        errors = out.counted(sum(d.is_error for d in findings), "error")
        verdict = {
            "read": "is not a network that nirhw can read",
            "meaning": "leaves open what it means",
        }.get(findings[0].stage, f"does not fit {target}")
        return f"{file} {verdict}: {errors}, {warnings}"
    row = next(r for r in model.report.data["resources"] if r["resource"] == model.report.data["binding_resource"])
    kinds = [d.kind for d in model.deviations]
    ledger = ", ".join(f"{kinds.count(k)} {k}" for k in dict.fromkeys(kinds)) or "none"
    return (
        f"{file} fits {target}: {warnings}\n"
        f"tightest: {row['resource']}, {row['used']} of {row['available']} ({row['share']:.0%})\n"
        f"deviations from the network: {ledger}" + (" ('nirhw report' lists them)" if kinds else "")
    )


def _show_stages(file: Path, stages: list[tuple[str, str, Network]]) -> None:
    from nirhw.cli_views import network_blocks

    first = stages[0][2]
    step = "counts in steps (dt = 1)" if first.dt == 1.0 else f"dt = {first.dt:g} s"
    out.emit_blocks(*network_blocks(first, f"{file}: {step}, {first.integrator} integrator"))
    for (_, _, before), (stage, name, network) in pairwise(stages):
        out.emit_blocks(*network_blocks(network, f"after {stage} / {name}", before))


def _stage_data(file: Path, stages: list[tuple[str, str, Network]]) -> dict[str, Any]:
    from nirhw.cli_views import network_data, same

    passes = []
    for (_, _, before), (stage, name, network) in pairwise(stages):
        changed = not same(before, network)
        passes.append({"stage": stage, "pass": name, "changed": changed, "network": network_data(network) if changed else None})
    return {"file": str(file), "network": network_data(stages[0][2]), "passes": passes}


def _show_outcome(model: CompiledModel, outcome: Outcome, output: Path | None) -> None:
    from nirhw.cli_views import fidelity_blocks

    size = f"{out.counted(outcome.samples, 'sample')} of {out.counted(outcome.steps, 'step')}"
    lines = [f"{size} on {model.report.data['title']}, emulated in {outcome.seconds:.2f} s"]
    for name in model.io_map["outputs"]:
        late = f"{out.counted(outcome.latency[name], 'step')} behind the network"
        rate = f"{outcome.spikes[name]:.4g} spikes a sample" if name in outcome.spikes else "analog"
        lines.append(f"{name}: {rate}, {late}")
        if outcome.fidelity is None:  # whose table says the same
            lines += _share_lines(name, outcome)
    out.emit("\n".join(lines) + "\n")
    if outcome.fidelity is not None:
        out.emit_blocks(*fidelity_blocks(outcome.fidelity))
    if output is not None:
        out.emit(f"written to {output}")


def _share_lines(name: str, outcome: Outcome) -> list[str]:
    measures = {
        "accuracy": outcome.accuracy,
        "accuracy of the float network": outcome.reference_accuracy,
        "agreement with the float network": outcome.agreement,
    }
    return [f"{name}: {what} {shares[name]}" for what, shares in measures.items() if name in shares]


def main() -> None:
    """Run the command line; ends the process."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(out.INTERRUPTED)


if __name__ == "__main__":
    main()
