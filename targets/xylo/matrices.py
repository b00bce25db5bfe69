"""The chip's three weight matrices; each has one bit shift."""

from __future__ import annotations

from nirhw.network import Projection

MATRICES = ("input", "hidden", "readout")


def matrix_of(proj: Projection, layer: dict[str, str]) -> str:
    """Return the matrix that holds a projection."""
    if layer[proj.source] == "input":
        return "input"
    return "readout" if layer[proj.target] == "output" else "hidden"
