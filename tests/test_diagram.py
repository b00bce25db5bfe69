"""Diagrams: every population and projection is drawn, and names stay text."""

from __future__ import annotations

import re
from pathlib import Path

import nir
import numpy as np
import pytest
from typer.testing import CliRunner

from nirhw.cli import app
from nirhw.diagram import dot, mermaid
from nirhw.nir_reader import Semantics, read_network
from tests import builders as b

HOSTILE = 'a"]; b [label="x\\" <script>alert(1)</script> \x1b[31m `c`|'


def recurrent(name: str = "n") -> nir.NIRGraph:
    nodes = {"w": b.linear(6, 4), name: b.cubalif(6), "rec": b.linear(6, 6, 3), "o": b.li(6)}
    edges = [("in", "w"), ("w", name), (name, "rec"), ("rec", name), (name, "o"), ("o", "out")]
    return b.graph(4, 6, nodes, edges)


def test_everything_is_drawn_once() -> None:
    net = read_network(recurrent(), Semantics(b.DT)).network
    for text, arrow in ((dot(net), "->"), (mermaid(net), r"-->|-\.->")):
        assert len(re.findall(rf"^  n\d+ (?:{arrow})", text, re.MULTILINE)) == len(net.projections) == 3
        assert "dense 6x6, delay 1" in text and "in (4 input)" in text
    assert "style=dashed" in dot(net) and "-.->" in mermaid(net)


@pytest.mark.parametrize("draw", [dot, mermaid])
def test_names_stay_text(draw: object) -> None:
    net = read_network(recurrent(HOSTILE), Semantics(b.DT)).network
    text = draw(net)  # type: ignore[operator]
    plain = draw(read_network(recurrent(), Semantics(b.DT)).network)  # type: ignore[operator]
    assert "\x1b" not in text and len(text.splitlines()) == len(plain.splitlines())
    if draw is mermaid:
        assert "<script>" not in text and "`" not in text
    else:
        for line in text.splitlines():  # quotes are balanced once escaped ones are gone
            assert re.sub(r"\\.", "", line).count('"') % 2 == 0


@pytest.mark.parametrize(("flag", "start"), [("--dot", "digraph"), ("--mermaid", "flowchart")])
def test_inspect_prints_diagrams(flag: str, start: str, tmp_path: Path) -> None:
    nir.write(tmp_path / "net.nir", recurrent())
    shown = CliRunner().invoke(app, ["inspect", str(tmp_path / "net.nir"), "--dt", str(b.DT), flag])
    assert shown.exit_code == 0 and shown.stdout.startswith(start)
    assert np.char.count(shown.stdout, "->") >= 1
