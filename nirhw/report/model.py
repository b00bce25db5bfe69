"""The report: one model, of which JSON, text and HTML are views.

All figures come from the lowered configuration.  Timings stand apart (``timings``), outside everything that is hashed or
compared.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nirhw.hardware import Hardware
    from nirhw.network import Network
    from nirhw.nir_reader import Semantics
    from nirhw.pipeline import Context

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Report:
    """A resource and loss report.

    Attributes:
        data: JSON-ready; ``schema_version`` says how to read it.
        timings: seconds by pipeline stage.
    """

    data: Mapping[str, Any]
    timings: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Return the report with its timings."""
        return {**self.data, "timings": dict(self.timings)}

    def to_json(self) -> str:
        """Return :meth:`to_dict` as JSON text, keys sorted; infinite numbers as strings."""
        return json.dumps(finite(self.to_dict()), indent=2, sort_keys=True, allow_nan=False)

    def to_text(self) -> str:
        """Return the report as plain text of at most 110 columns."""
        from nirhw.report.text import render

        return render(self.to_dict())

    def to_html(self, path: str | os.PathLike[str]) -> None:
        """Write the report as one self-contained HTML file, whole or not at all.

        Raises:
            UsageError: NIRHW-E004 where jinja2 is missing, NIRHW-E005 where the path cannot be written.
        """
        from nirhw.files import write_whole
        from nirhw.report.html import render

        write_whole(path, render(self.to_dict()).encode())

    @property
    def fits(self) -> bool:
        """Whether the network fits; a report exists only for networks that do."""
        return all(row["used"] <= row["available"] for row in self.data["resources"])


def finite(value: Any) -> Any:
    """Return ``value`` with infinite and undefined floats as strings, which JSON has no numbers for."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {k: finite(v) for k, v in value.items()}
    return [finite(v) for v in value] if isinstance(value, list | tuple) else value


def build_report(
    target: str,
    hardware: Hardware,
    network: Network,
    semantics: Semantics,
    context: Context,
    sections: Mapping[str, Any],
    timings: Mapping[str, float],
) -> Report:
    """Return the report of a compiled network; ``sections`` are the target's own, counted from its configuration."""
    resources = sections["resources"]
    binding = max(resources, key=lambda row: row["share"])
    own = [p for p in network.populations.values() if p.role == "network" and p.rule != "input"]
    data = {
        "schema_version": SCHEMA_VERSION,
        "target": target,
        "hardware": hardware.name,
        "title": hardware.title,
        "dt": network.dt,
        "integrator": network.integrator,
        "reset": semantics.reset if isinstance(semantics.reset, str) else dict(semantics.reset),
        "counts_in_steps": network.dt == 1.0,
        "neurons": sum(p.size for p in own),
        "added_neurons": sum(p.size for p in network.populations.values() if p.role != "network"),
        "binding_resource": binding["resource"],
        "inferred_limits": [row["resource"] for row in resources if row["certainty"] == "inferred"],
        **sections,
        "deviations": [d.to_dict() for d in context.deviations],
        "findings": [d.to_dict() for d in context.findings],
    }
    return Report(data, timings)
