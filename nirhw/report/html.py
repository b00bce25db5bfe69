"""The report as one HTML page: no scripts, no requests, readable on paper.

Here the report becomes plain rows and bars; ``report.html.j2`` only lays them out.  Every text passes :func:`_clean`, then
the template's autoescape: names come from files, and files are hostile.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from nirhw.diagnostics import error, printable

#: longer tables are cut, and say so; the JSON report has all rows
MAX_ROWS = 400
#: more layers or cores than this are left to the placement table
MAX_STRIPS = 48
#: colours of populations in the placement map, reused in turn
PALETTE_SIZE = 8
#: characters of a name that are shown; its tooltip has more
NAME_SHOWN = 72
TEXT_LIMIT = 2000
TITLE_SHOWN = 160
#: characters of a heading or a figure that must stay on one line
LABEL_SHOWN = 30
#: accents stacked on one letter that are kept; more would paint over other lines
MAX_ACCENTS = 3
STRIP_WIDTH = 1000
LANE_HEIGHT = 26

#: what a class of the ledger means, worst first
CLASS_MEANINGS: Mapping[str, str] = {
    "semantic": "The chip follows another rule than the network: another reset, several spikes a step, a bias turned leak.",
    "retimed": "The relative timing of spikes changed. A lag that is the same on all paths is not listed; placement shows it.",
    "host": "Computed off the chip, by the host.",
    "rounded": "Same rule, other numbers: time constants, weights or thresholds took the nearest values that the chip can hold.",
}

#: shares of a resource from which its bar changes colour
LEVELS: tuple[tuple[float, str], ...] = ((0.95, "high"), (0.75, "mid"), (0.0, "low"))

#: keys of the report that are no section of their own
_CORE = frozenset(
    {"schema_version", "target", "hardware", "title", "dt", "integrator", "reset", "counts_in_steps", "neurons", "added_neurons"}
    | {
        "binding_resource",
        "inferred_limits",
        "resources",
        "deviations",
        "findings",
        "timings",
        "clock",
        "notes",
        "verdict",
        "assumptions",
    }
)


@dataclass(frozen=True)
class Cell:
    """One cell of a table: a text, a name or a number.

    Attributes:
        text: what is shown.
        kind: "text", "name" or "number".
        note: a second, smaller text.
        tip: the whole of a shortened name.
        offset: bar from the middle, -1 .. 1; None: no bar.
        colour: index of a population's colour; None: no swatch.
    """

    text: str
    kind: str = "text"
    note: str = ""
    tip: str = ""
    offset: float | None = None
    colour: int | None = None


@dataclass(frozen=True)
class Column:
    """One column: the key of its value in a row, its heading, and how a value is shown."""

    key: str
    label: str
    show: Callable[[Any], Cell]


@dataclass(frozen=True)
class Table:
    """A section that is a table; ``left_out`` rows did not fit."""

    key: str
    title: str
    note: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    left_out: int


def render(report: Mapping[str, Any]) -> str:
    """Return a report of :class:`nirhw.report.model.Report` as one self-contained HTML page.

    Raises:
        UsageError: NIRHW-E004 where jinja2 is not installed.
    """
    try:
        import jinja2
    except ImportError:
        raise error(
            "NIRHW-E004",
            "the HTML report needs jinja2, which is not installed",
            why="the page is made from a template",
            fix="pip install 'nirhw[report]'",
        ) from None
    source = files("nirhw.report").joinpath("report.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(source).render(_page(_clean(report)))


def _clean(value: Any) -> Any:
    """Return ``value`` with every text in it printable: no control, format or surrogate characters, and a limited length."""
    if isinstance(value, str):
        return printable(_without_towers(_shorten(value, TEXT_LIMIT)), TEXT_LIMIT)
    if isinstance(value, Mapping):
        return {_clean(k): _clean(v) for k, v in value.items()}
    return [_clean(v) for v in value] if isinstance(value, list | tuple) else value


def _without_towers(text: str) -> str:
    """Return ``text`` without the accents beyond :data:`MAX_ACCENTS` on one letter."""
    if text.isascii():
        return text
    kept, accents = [], 0
    for char in text:
        accents = accents + 1 if unicodedata.category(char) in {"Mn", "Me"} else 0
        if accents <= MAX_ACCENTS:
            kept.append(char)
    return "".join(kept)


def _page(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the template shows, all of it text, numbers and rows."""
    return {
        "title": _shorten(str(report["title"]), TITLE_SHOWN),
        "schema_version": report["schema_version"],
        "facts": _facts(report),
        "resources": _resources(report),
        "resources_left_out": max(0, len(report["resources"]) - MAX_ROWS),
        "inferred": [_name(n) for n in report["inferred_limits"]],
        "tables": {t.key: t for t in _tables(report)},
        "known": tuple(SECTIONS),
        "strips": _strips(report.get("placement") or ()),
        "clock": _clock(report.get("clock")),
        "notes": report.get("notes") or (),
        "ledger": _ledger(report["deviations"]),
        "findings": [{**f, "nodes": _names(f["nodes"])} for f in report["findings"]],
        "timings": _timings(report.get("timings") or {}),
        "lane_height": LANE_HEIGHT,
        "strip_width": STRIP_WIDTH,
    }


# numbers and names


def _figure(value: Any, digits: int = 4) -> str:
    """Return a number for reading; whole numbers in full, infinite ones as a sign, everything else as its own text."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        if not math.isfinite(value):
            return "undefined" if math.isnan(value) else ("∞" if value > 0 else "-∞")
        return f"{value:,.0f}" if 1e4 <= abs(value) < 1e12 else f"{value:.{digits}g}"
    return {"inf": "∞", "-inf": "-∞", "nan": "undefined"}.get(str(value)) or _shorten(str(value), LABEL_SHOWN)


def _shorten(text: str, limit: int = NAME_SHOWN) -> str:
    """Return a long text with its middle left out, so that names which only differ at their ends stay apart."""
    tail = limit // 3
    return text if len(text) <= limit else f"{text[: limit - tail - 1]}…{text[-tail:]}"


def _name(value: Any) -> Cell:
    full = str(value)
    shown = _shorten(full)
    return Cell(shown, "name", tip=full if full != shown else "")


def _names(values: Sequence[Any], limit: int = 12) -> list[Cell]:
    """Return cells for several names; beyond ``limit`` a count stands for the rest."""
    cells = [_name(v) for v in values[:limit]]
    return [*cells, Cell(f"and {len(values) - limit:,} more")] if len(values) > limit else cells


def _number(value: Any) -> Cell:
    return Cell(_figure(value), "number")


def _decibel(value: Any) -> Cell:
    return Cell(f"{value:.1f}" if isinstance(value, float) and math.isfinite(value) else _figure(value), "number")


def _percent(value: Any) -> Cell:
    return Cell(f"{value:.1%}" if _is_finite(value) else _figure(value), "number")


def _signed_percent(value: Any) -> Cell:
    return Cell(f"{value:+.1%}" if _is_finite(value) else _figure(value), "number")


def _span(value: Any) -> Cell:
    """Return a pair (lowest, highest) as one text; one number where both agree."""
    low, high = (_figure(v) for v in value) if isinstance(value, list) and len(value) == 2 else (_figure(value),) * 2
    return Cell(low if low == high else f"{low} … {high}", "number")


def _any(value: Any) -> Cell:
    """Return whatever a target put into a column that is not known here."""
    if isinstance(value, list):
        return Cell(_shorten(", ".join(str(v) for v in value)), "name", tip=", ".join(str(v) for v in value)[:TEXT_LIMIT])
    return _number(value) if isinstance(value, int | float) else _name("" if value is None else value)


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _level(share: Any) -> str:
    return next((name for least, name in LEVELS if not _is_finite(share) or share >= least), "low")


def _fill(share: Any) -> float:
    """Return the length of a bar in percent; what is used at all stays visible."""
    return 100.0 if not _is_finite(share) else 0.0 if share <= 0 else round(min(100.0, max(0.6, 100.0 * share)), 2)


# head


def _facts(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the cards at the head: label, value, note."""
    if report["counts_in_steps"]:
        dt, dt_note = "1 step", "the network counts in steps"
    else:
        dt, dt_note = _seconds(report["dt"]), f"{_figure(report['dt'])} s a step"
    added = f"and {report['added_neurons']:,} added by the compiler" if report["added_neurons"] else "none added by the compiler"
    reset = report["reset"]
    by_node = isinstance(reset, Mapping)
    return [
        {"label": "chip", "value": _name(report["hardware"]), "note": f"target {_shorten(report['target'])}"},
        {"label": "time step dt", "value": Cell(dt), "note": dt_note},
        {"label": "integrator", "value": Cell(_shorten(report["integrator"])), "note": ""},
        {
            "label": "reset asked for",
            "value": Cell("by node" if by_node else _shorten(reset)),
            "note": _resets(reset) if by_node else "",
        },
        {"label": "neurons", "value": Cell(f"{report['neurons']:,}"), "note": added},
    ]


def _resets(reset: Mapping[str, Any], limit: int = 8) -> str:
    """Return reset kinds by node as one text; the empty name stands for all other nodes."""
    parts = [f"{_shorten(str(node)) or 'all others'}: {_shorten(str(kind))}" for node, kind in list(reset.items())[:limit]]
    return ", ".join([*parts, f"and {len(reset) - limit:,} more"] if len(reset) > limit else parts)


def _seconds(value: Any) -> str:
    """Return a duration in the unit that reads best."""
    if not _is_finite(value) or value <= 0:
        return _figure(value)
    factor, unit = next((f, u) for f, u in ((1.0, "s"), (1e3, "ms"), (1e6, "µs"), (1e9, "ns")) if value * f >= 1 or u == "ns")
    return f"{_figure(float(value * factor))} {unit}"


# resources, clock and timings


def _resources(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the resource rows; where there are too many, those with the highest shares."""
    rows = report["resources"]
    if len(rows) > MAX_ROWS:
        rows = sorted(rows, key=lambda row: -row["share"])[:MAX_ROWS]
    known = {"resource", "used", "available", "share", "certainty", "source"}
    highest = max((row["share"] for row in rows if row["resource"] == report["binding_resource"]), default=None)
    return [
        {
            "name": _name(row["resource"]),
            "where": ", ".join(f"{_shorten(k)} {_figure(v)}" for k, v in row.items() if k not in known),
            "used": row["used"],
            "available": row["available"],
            "used_text": _figure(row["used"]),
            "available_text": _figure(row["available"]),
            "share": _percent(row["share"]).text,
            "level": _level(row["share"]),
            "fill": _fill(row["share"]),
            "certainty": _shorten(row["certainty"]),
            "inferred": row["certainty"] == "inferred",
            "source": row.get("source", ""),
            "binding": row["resource"] == report["binding_resource"] and row["share"] == highest,
        }
        for row in rows
    ]


def _clock(clock: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if not clock:
        return None
    share = clock["needed_hz"] / clock["available_hz"] if clock["available_hz"] else math.inf
    return {
        "cycles": f"{clock['cycles_per_step']:,.0f}",
        "needed": f"{clock['needed_hz'] / 1e6:.3g} MHz",
        "available": f"{clock['available_hz'] / 1e6:.3g} MHz",
        "share": _percent(share).text,
        "level": _level(share),
        "fill": _fill(share),
        "real_time": bool(clock["real_time"]),
        "assumption": clock.get("assumption", ""),
        "model": clock.get("model", ""),
    }


def _timings(timings: Mapping[str, float]) -> dict[str, Any] | None:
    """Return the time by stage in ms, with bars relative to the longest."""
    if not timings:
        return None
    longest = max(timings.values())
    rows = [
        {"stage": _shorten(k), "ms": f"{1e3 * v:.1f}", "fill": _fill(v / longest if longest else 0.0)} for k, v in timings.items()
    ]
    return {"rows": rows, "total": f"{1e3 * sum(timings.values()):.1f}"}


# ledger


def _ledger(deviations: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the ledger by class, worst first, with every class that exists: an empty one is good news worth telling."""
    kinds = [*CLASS_MEANINGS, *sorted({d["class"] for d in deviations} - CLASS_MEANINGS.keys())]
    groups = []
    for kind in kinds:
        found = [d for d in deviations if d["class"] == kind]
        entries = [
            {
                "rule": _name(d["rule"]),
                "nodes": _names(d["nodes"]),
                "reason": d["reason"],
                "effect": ", ".join(f"{_shorten(k)} {_figure(v)}" for k, v in (d.get("effect") or {}).items()),
            }
            for d in found[:MAX_ROWS]
        ]
        groups.append(
            {
                "kind": _shorten(kind),
                "meaning": CLASS_MEANINGS.get(kind, "A class of an extension."),
                "entries": entries,
                "count": len(found),
                "left_out": len(found) - len(entries),
                "measured": any(e["effect"] for e in entries),
            }
        )
    return groups


# tables

#: section of the report -> its title, an explanation, and its columns; a column that no row has is left out
SECTIONS: Mapping[str, tuple[str, str, tuple[Column, ...]]] = {
    "time_constants": (
        "Time constants",
        "In steps of dt; one row for each distinct value. ∞ is an integrator without leak.",
        (
            Column("population", "population", _name),
            Column("quantity", "constant", _name),
            Column("neurons", "neurons", _number),
            Column("wanted", "wanted", _number),
            Column("code", "code", _number),
            Column("achieved", "achieved", _number),
            Column("error", "error", _signed_percent),
        ),
    ),
    "responses": (
        "Response to an event",
        "How far the membrane's answer to one event is off, root mean square, as a share of the wanted one.",
        (
            Column("population", "population", _name),
            Column("port", "port", _name),
            Column("neurons", "neurons", _number),
            Column("synapse_codes", "synapse codes", _any),
            Column("membrane_code", "membrane code", _number),
            Column("one_synapse_error", "off with one synapse", _percent),
            Column("error", "off", _percent),
        ),
    ),
    "tensors": (
        "Weights",
        "Scale: chip units for one unit of the network, lowest to highest over the neurons. SQNR: signal to quantization noise.",
        (
            Column("name", "projection", _name),
            Column("nodes", "NIR nodes", _any),
            Column("weights", "weights", _number),
            Column("scale", "scale", _span),
            Column("shift", "shift", _number),
            Column("sqnr_db", "SQNR dB", _decibel),
            Column("zeroed", "zeroed", _percent),
            Column("clipped", "clipped", _percent),
        ),
    ),
    "delays": (
        "Delays",
        "",
        (
            Column("projection", "projection", _name),
            Column("wanted_steps", "wanted, steps", _number),
            Column("code", "code", _number),
            Column("achieved_steps", "achieved, steps", _number),
            Column("error", "error", _signed_percent),
            Column("relay_stages", "relay stages", _number),
            Column("shared_relay_neurons", "relay neurons (shared)", _number),
        ),
    ),
    "placement": (
        "Placement",
        "Lag: steps by which a population is behind the float reference.",
        (
            Column("population", "population", _name),
            Column("layer", "layer", _name),
            Column("neurons", "neurons", _number),
            Column("ids", "ids", _span),
            Column("lag", "lag, steps", _number),
        ),
    ),
}


def _tables(report: Mapping[str, Any]) -> list[Table]:
    """Return the tables of all sections that the target gives, known ones first; single figures together at the end."""
    made = [_table(key, *SECTIONS[key], _rows_of(key, report)) for key in SECTIONS if report.get(key)]
    others = {k: v for k, v in report.items() if k not in _CORE and k not in SECTIONS and v not in (None, [], {}, "")}
    figures = []
    for key, value in others.items():
        if isinstance(value, list) and all(isinstance(row, Mapping) for row in value):
            made.append(_table(key, _heading(key), "", (), value))
        elif isinstance(value, Mapping):
            made.append(_table(key, _heading(key), "", (), [{"figure": k, "value": v} for k, v in value.items()]))
        else:
            figures.append({"figure": _heading(key), "value": value})
    return [*made, _table("figures", "More figures", "", (), figures)] if figures else made


def _heading(key: str) -> str:
    return _shorten(key.replace("_", " "), NAME_SHOWN).capitalize()


def _rows_of(key: str, report: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Return the rows of a known section; first and last id of a placement become one span."""
    rows: Sequence[Mapping[str, Any]] = report[key]
    if key != "placement":
        return rows
    ends = ("first", "last")
    return [
        {**{k: v for k, v in row.items() if k not in ends}, **({"ids": [row[e] for e in ends]} if _has_ids(row) else {})}
        for row in rows
    ]


def _table(key: str, title: str, note: str, columns: tuple[Column, ...], rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return a table of ``rows``; keys that no column names are appended, so that nothing a target tells is lost."""
    shown = rows[:MAX_ROWS]
    present = {k: None for row in shown for k in row}
    named = {c.key for c in columns}
    columns = (
        *(c for c in columns if c.key in present),
        *(Column(k, _shorten(k.replace("_", " "), LABEL_SHOWN), _any) for k in present if k not in named),
    )
    errors = [abs(row["error"]) for row in shown if _is_finite(row.get("error"))]
    widest = max(0.05, *errors) if errors else 0.0
    made = [
        tuple(_mark(c, row, number, key, widest) if c.key in row else Cell("") for c in columns)
        for number, row in enumerate(shown)
    ]
    return Table(key, title, note, columns, tuple(made), len(rows) - len(shown))


def _mark(column: Column, row: Mapping[str, Any], number: int, section: str, widest: float) -> Cell:
    """Return a cell with what goes beside its text: a bar for an error, a colour for a placed population."""
    cell, value = column.show(row[column.key]), row[column.key]
    if column.key == "error" and widest and _is_finite(value):
        return Cell(cell.text, "number", offset=round(value / widest, 3))
    if section == "placement" and column.key == "population":
        return Cell(cell.text, cell.kind, tip=cell.tip, colour=number % PALETTE_SIZE)
    if section == "placement" and column.key == "ids" and _is_scattered(row, *value):
        return Cell(cell.text, cell.kind, note="not all of them")
    return cell


# placement map


def _has_ids(row: Mapping[str, Any]) -> bool:
    return isinstance(row.get("first"), int) and isinstance(row.get("last"), int)


def _is_scattered(row: Mapping[str, Any], first: int, last: int) -> bool:
    """Return whether a population takes only some of the ids between its first and its last."""
    neurons = row.get("neurons")
    return isinstance(neurons, int) and neurons < last - first + 1


def _strips(placement: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return one strip a layer (or core): the ids in use to scale, and a block for each population."""
    groups: dict[str, list[tuple[int, Mapping[str, Any]]]] = {}
    for number, row in enumerate(placement[:MAX_ROWS]):
        if _has_ids(row):
            where = " ".join(f"{k} {row[k]}" if k != "layer" else str(row[k]) for k in ("chip", "core", "layer") if k in row)
            groups.setdefault(where or "chip", []).append((number, row))
    return [_strip(where, rows) for where, rows in groups.items()] if len(groups) <= MAX_STRIPS else []


def _strip(where: str, rows: Sequence[tuple[int, Mapping[str, Any]]]) -> dict[str, Any]:
    low, high = min(row["first"] for _, row in rows), max(row["last"] for _, row in rows)
    lanes: list[int] = []
    blocks = []
    for number, row in sorted(rows, key=lambda entry: entry[1]["first"]):
        lane = next((i for i, last in enumerate(lanes) if row["first"] > last), len(lanes))
        lanes[lane : lane + 1] = [row["last"]]
        blocks.append(_block(number, row, lane, low, high - low + 1))
    return {
        "where": _name(where),
        "low": f"{low:,}",
        "high": f"{high:,}",
        "neurons": f"{sum(row.get('neurons', 0) for _, row in rows):,}",
        "blocks": blocks,
        "height": LANE_HEIGHT * len(lanes),
    }


def _block(number: int, row: Mapping[str, Any], lane: int, low: int, ids: int) -> dict[str, Any]:
    """Return one population's block in a strip, in the strip's units; a label only where it has room."""
    left = STRIP_WIDTH * (row["first"] - low) / ids
    width = max(1.5, STRIP_WIDTH * (row["last"] - row["first"] + 1) / ids)
    name, room = str(row["population"]), int((width - 10) / 8)
    label = _shorten(name, room) if room >= 3 else ""
    return {
        "left": round(min(left, STRIP_WIDTH - width), 2),
        "top": lane * LANE_HEIGHT,
        "width": round(width, 2),
        "colour": number % PALETTE_SIZE,
        "label": label,
        "tip": f"{_shorten(name)}: ids {row['first']:,} to {row['last']:,}",
        "scattered": _is_scattered(row, row["first"], row["last"]),
    }
