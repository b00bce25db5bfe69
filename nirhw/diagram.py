"""Diagrams of a network as text: Graphviz DOT and Mermaid.

Node names come from files.  Diagram ids are numbers; names appear only in quoted labels, with everything escaped that either
language, a terminal or HTML would read as more than text.
"""

from __future__ import annotations

import html
from collections.abc import Callable

from nirhw.diagnostics import printable
from nirhw.network import Network, Population, Projection

#: shape of a population by rule: DOT's name, Mermaid's brackets
SHAPES = {
    "input": ("invhouse", ("[/", "/]")),
    "spiking": ("box", ("[", "]")),
    "analog": ("ellipse", ("(", ")")),
    "sum": ("circle", ("((", "))")),
}


def dot(network: Network) -> str:
    """Return the network in the DOT language; ``dot -Tsvg`` draws it."""

    def quoted(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    lines = ["digraph network {", "  rankdir=LR;"]
    for number, pop in enumerate(network.populations.values()):
        shape, _ = SHAPES[pop.rule]
        lines.append(f"  n{number} [shape={shape}, label={quoted(_population_label(pop))}];")
    lines += _edges(network, lambda a, b, p: f"  n{a} -> n{b} [label={quoted(_edge_label(p))}{', style=dashed' * p.recurrent}];")
    return "\n".join([*lines, "}"]) + "\n"


def mermaid(network: Network) -> str:
    """Return the network as a Mermaid flowchart."""

    def quoted(text: str) -> str:
        return '"' + html.escape(text).replace("\\", "#92;").replace("`", "#96;") + '"'

    lines = ["flowchart LR"]
    for number, pop in enumerate(network.populations.values()):
        _, (opened, closed) = SHAPES[pop.rule]
        lines.append(f"  n{number}{opened}{quoted(_population_label(pop))}{closed}")
    lines += _edges(network, lambda a, b, p: f"  n{a} {'-.->' if p.recurrent else '-->'}|{quoted(_edge_label(p))}| n{b}")
    return "\n".join(lines) + "\n"


def _edges(network: Network, draw: Callable[[int, int, Projection], str]) -> list[str]:
    number = {name: k for k, name in enumerate(network.populations)}
    return [draw(number[p.source], number[p.target], p) for p in network.projections]


def _population_label(pop: Population) -> str:
    return f"{printable(pop.name, 60)} ({'x'.join(map(str, pop.shape))} {pop.rule})"


def _edge_label(proj: Projection) -> str:
    late = f", delay {proj.min_delay}" if proj.max_delay == proj.min_delay else f", delay {proj.min_delay}..{proj.max_delay}"
    return proj.operator.describe + (late if proj.max_delay else "")
