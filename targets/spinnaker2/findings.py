"""Findings of the independent check."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from nirhw.diagnostics import Diagnostic
from nirhw.hardware import Hardware


def broken(what: str, why: str = "", nodes: Iterable[str] = ()) -> Diagnostic:
    """Return the finding that a rule is broken."""
    return Diagnostic("NIRHW-E040", what, tuple(nodes), why, "compile again; if nirhw made this configuration, report it")


def over_limit(hardware: Hardware, name: str, used: int, unit: str, nodes: Iterable[str] = ()) -> Iterator[Diagnostic]:
    """Yield a finding where more is used than limit ``name`` allows."""
    entry = hardware.limits[name]
    if used > entry.value:
        yield broken(f"{used} {unit}, {int(entry.value)} exist", f"limit {name} ({entry.certainty}: {entry.source})", nodes)
