"""Parallel projections of one delay onto one port are one projection."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from nirhw.network import Network, Projection
from nirhw.operators import Dense, Operator, Sparse, frozen
from nirhw.pipeline import Context


@dataclass(frozen=True)
class MergeParallel:
    """Add up the matrices of projections that share source, target, port and delay."""

    name: str = "merge-parallel"

    def apply(self, network: Network, context: Context) -> Network:
        """Return the network with at most one projection for each such key."""
        groups: dict[tuple[object, ...], list[Projection]] = {}
        for proj in network.projections:
            key = (proj.source, proj.target, proj.port, proj.delay_by, proj.delay.tobytes(), proj.recurrent)
            groups.setdefault(key, []).append(proj)
        return replace(network, projections=tuple(_merged(group) for group in groups.values()))


def _merged(group: list[Projection]) -> Projection:
    first = group[0]
    if len(group) == 1:
        return first
    nodes = tuple(dict.fromkeys(n for p in group for n in p.nodes))
    return replace(first, operator=_sum([p.operator for p in group]), nodes=nodes)


def _sum(operators: list[Operator]) -> Operator:
    shapes = operators[0].in_shape, operators[0].out_shape
    if all(isinstance(o, Dense) for o in operators):
        return Dense(*shapes, weight=frozen(np.sum([o.weight for o in operators], axis=0)))  # type: ignore[attr-defined]
    total = operators[0].matrix
    for operator in operators[1:]:
        total = total + operator.matrix
    return Sparse(*shapes, weight=total)
