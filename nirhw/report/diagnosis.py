"""A diagnosis as text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from nirhw.diagnosis import DOUBT, Diagnosis
from nirhw.diagnostics import printable
from nirhw.report.text import plain_text, table

if TYPE_CHECKING:
    from nirhw.diagnosis import OutputRow, Row


def render(found: Diagnosis) -> str:
    """Return a diagnosis as plain text."""
    return plain_text(_blocks(found))


def _blocks(found: Diagnosis) -> Iterable[Any]:
    size = f"{found.samples} sample{'s' * (found.samples != 1)} of {found.steps} step{'s' * (found.steps != 1)}"
    yield f"{printable(found.title, 80)}  (target {printable(found.target)}), {size}; in percent"
    several = len(found.rows[0].outputs) > 1
    measure = "accuracy" if found.labelled else "agreement"
    columns = (
        "float network with",
        *(("output",) if several else ()),
        "same decision",
        *(("accuracy",) if found.labelled else ()),
        f"{measure}, points",
        "counts off",
    )
    yield table(
        "What each property of the chip costs",
        columns,
        (_cells(row, name, first, several, found.labelled) for row in found.rows for first, name in enumerate(row.outputs)),
    )
    for row in found.rows:
        if row.kind != "float":
            yield f"{_name(row)}: {row.meaning}"
    yield ""
    worst = found.costliest
    if worst is not None:
        changes = ", ".join(str(o.change) for o in worst.outputs.values())
        yield f"costs most by itself: {worst.name} ({changes} points of {measure})"
    elif any(row.kind == "property" for row in found.rows):
        yield f"no property by itself costs more than {DOUBT:g} standard errors"
    if found.absent:
        yield "make no difference to this network, and are left out:"
        for name, meaning in found.absent:
            yield f"  {name}: {meaning}"
    elif not any(row.kind == "property" for row in found.rows):
        yield "the target declares no properties"


def _cells(row: Row, output: str, first: int, several: bool, labelled: bool) -> tuple[Any, ...]:
    shown: OutputRow = row.outputs[output]
    shares = (shown.agreement, shown.accuracy) if labelled else (shown.agreement,)
    return (
        "" if first else _name(row),
        *((printable(output, 30),) if several else ()),
        *(f"{100 * s.value:.1f} ± {100 * s.error:.1f}" for s in shares if s is not None),
        "" if row.kind == "float" else f"{100 * shown.change.value:+.1f} ± {100 * shown.change.error:.1f}",
        "" if first or row.kind == "float" else f"{row.count_error:.1%}",
    )


def _name(row: Row) -> str:
    return {"float": "nothing changed", "together": "all of these", "chip": "(the chip itself)"}.get(row.kind, row.name)
