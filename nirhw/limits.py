"""What limits of a chip become: rows of the report, and findings where they are exceeded."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from nirhw.diagnostics import Diagnostic
from nirhw.hardware import Hardware


def usage_row(hardware: Hardware, limit: str, used: int, name: str = "", available: int | None = None) -> dict[str, Any]:
    """Return a row of the report's resources.

    Args:
        hardware: the chip.
        limit: name of the limit.
        used: how much the configuration takes.
        name: what the report calls it; the limit's own name where empty.
        available: how much there is, where that is not the limit's value.
    """
    entry = hardware.limits[limit]
    there = int(entry.value) if available is None else available
    return {
        "resource": name or limit,
        "used": int(used),
        "available": there,
        "share": used / there,
        "certainty": entry.certainty,
        "source": entry.source,
    }


def over_limit(hardware: Hardware, limit: str, used: int, unit: str, nodes: Iterable[str], fix: str = "") -> Diagnostic:
    """Return the finding for a limit that is exceeded: which, by how much, and who says so."""
    entry = hardware.limits[limit]
    most = int(entry.value)
    return Diagnostic(
        "NIRHW-E031",
        f"{used} {unit} are needed, {hardware.title} has {most} ({used - most} too many)",
        tuple(nodes),
        f"limit {limit} = {most} ({entry.certainty}: {entry.source})",
        fix or f"train with fewer {unit}, or choose a variant with more",
    )
