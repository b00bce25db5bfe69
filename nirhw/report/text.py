"""The report as text; every table is made by rich, without colours."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from io import StringIO
from typing import Any

from nirhw.diagnostics import printable

WIDTH = 110
#: longer tables are cut; the JSON report has all rows
MAX_ROWS = 40


def render(report: Mapping[str, Any]) -> str:
    """Return a report of :class:`nirhw.report.model.Report` as plain text."""
    return plain_text(_blocks(report))


def plain_text(blocks: Iterable[Any]) -> str:
    """Return rich renderables and strings as plain text of at most ``WIDTH`` columns."""
    from rich.console import Console

    stream = StringIO()
    console = Console(file=stream, width=WIDTH, color_system=None, force_terminal=False, legacy_windows=False)
    for block in blocks:
        console.print(block, markup=False, highlight=False)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n"


def _blocks(report: Mapping[str, Any]) -> Iterable[Any]:
    yield f"{printable(report['title'])}  (target {report['target']})"
    step = "counts in steps (dt = 1)" if report["counts_in_steps"] else f"dt = {report['dt']:g} s"
    added = f", {report['added_neurons']} added by the compiler" if report["added_neurons"] else ""
    asked = printable(report["reset"])
    yield f"{report['neurons']} neurons{added}; {step}, {report['integrator']} integrator, reset asked for: {asked}"
    yield f"binding resource: {report['binding_resource']}"
    for note in report.get("notes", ()):
        yield printable(note, 2000)
    yield ""
    yield table(
        "Resources",
        ("resource", "used", "available", "share", "limit is"),
        [(r["resource"], r["used"], r["available"], f"{r['share']:.1%}", r["certainty"]) for r in report["resources"]],
    )
    if report["inferred_limits"]:
        yield f"only inferred, not documented: {', '.join(report['inferred_limits'])}\n"
    yield from _fit_blocks(report)
    if "clock" in report:
        yield from _clock_block(report["clock"])
    if "recorded" in report:
        yield from _recorded_blocks(report["recorded"])
    if "calibration" in report:
        yield from _calibration_blocks(report["calibration"])
    yield from _ledger_blocks(report)
    if not report["timings"]:  # a loaded model: nothing was compiled
        return
    total = 1e3 * sum(report["timings"].values())
    stages = ", ".join(f"{k} {1e3 * v:.1f}" for k, v in report["timings"].items())
    yield f"compiled in {total:.1f} ms: {stages}"


def _fit_blocks(report: Mapping[str, Any]) -> Iterable[Any]:
    for title, key, columns, cells in FIT_TABLES:
        if report.get(key):
            yield table(title, columns, [cells(row) for row in report[key][:MAX_ROWS]])
        if len(report.get(key, ())) > MAX_ROWS:
            yield f"and {len(report[key]) - MAX_ROWS} more, see the JSON report\n"


def _time_cells(fit: Mapping[str, Any]) -> tuple[Any, ...]:
    name = printable(fit["population"], 30)
    return (
        name,
        fit["quantity"],
        fit["neurons"],
        f"{fit['wanted']:.4g}",
        f"{fit['code']:g}",
        f"{fit['achieved']:.4g}",
        f"{fit['error']:+.1%}",
    )


def _tensor_cells(fit: Mapping[str, Any]) -> tuple[Any, ...]:
    low, high = fit["scale"]
    name = printable(fit["name"], 40)
    quality = f"{fit['sqnr_db']:.1f}", f"{fit['zeroed']:.1%}", f"{fit['clipped']:.1%}"
    return (name, fit["weights"], f"{low:.4g}..{high:.4g}", fit["shift"], *quality)


def _drive_cells(fit: Mapping[str, Any]) -> tuple[Any, ...]:
    return printable(fit["population"], 40), fit["rows"], f"{fit['nearest']:.3%}", f"{fit['error']:.3%}"


def _delay_cells(delay: Mapping[str, Any]) -> tuple[Any, ...]:
    return printable(delay["projection"], 40), delay["wanted_steps"], delay["relay_stages"], delay["shared_relay_neurons"]


def _place_cells(place: Mapping[str, Any]) -> tuple[Any, ...]:
    ids = f"{place['first']}..{place['last']}"
    chip = [f"chip {place['chip']}"] if "chip" in place else []
    where = ", ".join([*chip, *([place["core"]] if "core" in place else []), place["layer"]])
    return printable(place["population"], 40), where, place["neurons"], ids, place["lag"]


def _memory_cells(row: Mapping[str, Any]) -> tuple[Any, ...]:
    name = printable(row["population"], 40)
    used = f"{row['bytes']} of {row['available']}"
    return name, row["slices"], row["table"], row["synapses"], row["recordings"], used, row["steps_that_fit"]


def _head_room_cells(row: Mapping[str, Any]) -> tuple[Any, ...]:
    shares = (f"{row[name]:.1%}" if math.isfinite(row[name]) else "saturates" for name in ("u", "v_high", "v_low"))
    return printable(row["population"], 40), *shares, f"{row['saturates_at']:.4g}"


def _response_cells(row: Mapping[str, Any]) -> tuple[Any, ...]:
    name, codes = printable(row["population"], 40), ", ".join(map(str, row["synapse_codes"]))
    return name, row["neurons"], codes, row["membrane_code"], f"{row['one_synapse_error']:.1%}", f"{row['error']:.1%}"


#: title, section of the report, columns, cells of a row
FIT_TABLES: tuple[tuple[str, str, tuple[str, ...], Callable[[Mapping[str, Any]], tuple[Any, ...]]], ...] = (
    (
        "Time constants (steps)",
        "time_constants",
        ("population", "constant", "neurons", "wanted", "code", "achieved", "error"),
        _time_cells,
    ),
    (
        "Response to an event",
        "responses",
        ("population", "neurons", "synapse codes", "membrane code", "off with one synapse", "off"),
        _response_cells,
    ),
    ("Weights", "tensors", ("projection", "weights", "scale", "shift", "SQNR dB", "zeroed", "clipped"), _tensor_cells),
    ("Drive on the recorded activity", "drives", ("population", "rows", "error, each nearest", "error"), _drive_cells),
    ("Delays", "delays", ("projection", "wanted steps", "relay stages", "relay neurons (shared)"), _delay_cells),
    (
        "Memory of the fullest PE (bytes)",
        "memory",
        ("population", "PEs", "table", "synapses", "recordings", "used", "steps that fit"),
        _memory_cells,
    ),
    (
        "Head-room: worst case as a share of 24 bits",
        "head_room",
        ("population", "current", "membrane up", "membrane down", "lowest membrane, thresholds"),
        _head_room_cells,
    ),
    ("Placement", "placement", ("population", "where", "neurons", "ids", "lag in steps"), _place_cells),
)


def _clock_block(clock: Mapping[str, Any]) -> Iterable[Any]:
    verdict = "real time is possible" if clock["real_time"] else "too slow for real time"
    needed, there = clock["needed_hz"] / 1e6, clock["available_hz"] / 1e6
    yield f"clock: {clock['cycles_per_step']:.0f} cycles a step need {needed:.3g} MHz, {there:.3g} MHz are there: {verdict}"
    yield f"  modelled, {clock['assumption']}; source: {clock['model']}\n"


def _recorded_blocks(found: Mapping[str, Any]) -> Iterable[Any]:
    rounding = "weights are rounded together" if found["compensated"] else "each weight is rounded by itself"
    yield (
        f"fitted to the activity of {found['search_samples']} calibration samples, seed {found['seed']}: {rounding}; "
        f"judged on {found['check_samples']} other samples"
    )
    yield from _check_lines(found)
    rows = [(printable(r["population"], 40), f"{r['before']:.1%}", f"{r['after']:.1%}") for r in found["rates"]]
    yield table("Firing rates against the float network", ("population", "off before", "off"), rows)
    yield from _trim_blocks(found["trims"])


def _trim_blocks(trims: Iterable[Mapping[str, Any]]) -> Iterable[Any]:
    rows = [(printable(t["population"], 40), *(f"{t[k][0]:.3g}..{t[k][1]:.3g}" for k in ("drive", "factor"))) for t in trims]
    if rows:
        yield table("Trims of neurons", ("population", "drive, thresholds a step", "threshold times"), rows)


def _check_lines(found: Mapping[str, Any]) -> Iterable[str]:
    """Yield what was measured on the samples that were not searched."""

    def share(value: Mapping[str, Any]) -> str:
        return f"{value['value']:.2%} ± {value['error']:.2%}"

    for measure in ("agreement", "accuracy"):
        for output, after in found["check"][measure].items():
            before = found["check_before"][measure][output]
            yield f"  {measure} of {printable(output, 40)}: {share(before)} without, {share(after)} with"
    for output, value in found["float_accuracy"].items():
        yield f"  accuracy of {printable(output, 40)} in the float network: {share(value)}"


def _calibration_blocks(found: Mapping[str, Any]) -> Iterable[Any]:
    ended = ", ended by the user" if found["interrupted"] else ""
    yield (
        f"calibrated against {found['target']}: {found['evaluations']} evaluations on {found['search_samples']} samples{ended}, "
        f"seed {found['seed']}; judged on {found['check_samples']} other samples"
    )
    yield from _check_lines(found)
    rows = [
        (printable(k["knob"], 40), f"{k['value']:.4g}", f"{k['default']:.4g}", printable(k["meaning"], 80))
        for k in found["knobs"]
    ]
    yield table("Calibration", ("knob", "value", "default", "meaning"), rows)


def _ledger_blocks(report: Mapping[str, Any]) -> Iterable[Any]:
    rows = [
        (d["class"], d["rule"], printable(", ".join(d["nodes"]), 60), printable(d["reason"], 400)) for d in report["deviations"]
    ]
    yield (
        table("What differs from the network", ("class", "rule", "nodes", "why"), rows)
        if rows
        else "nothing differs from the network\n"
    )
    for finding in report["findings"]:
        yield f"warning {finding['code']}: {finding['what']} [{', '.join(finding['nodes'])}]"


def table(title: str, columns: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> Any:
    """Return a rich table whose cells are plain text: markup in names stays text."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(title=title, box=box.SIMPLE, title_justify="left", title_style="", pad_edge=False)
    for name in columns:
        made.add_column(name, overflow="fold")
    for row in rows:
        made.add_row(*(Text(str(cell)) for cell in row))
    return made
