"""Which slices send to which: counted from the quantized synapses."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from nirhw.network import Network, Projection
from nirhw.operators import entries
from nirhw.pipeline import Context

from .config import CONVOLUTION

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Traffic:
    """The graph of slices.

    Attributes:
        population, first, size: by slice, in the order of the configuration.
        targets: slices that take the spikes of a slice, ascending, by slice.
    """

    population: tuple[str, ...]
    first: Ints
    size: Ints
    targets: tuple[Ints, ...]

    @property
    def n_slices(self) -> int:
        """Number of slices."""
        return len(self.population)


def first_slices(context: Context) -> dict[str, int]:
    """Return the number of the first slice of every population."""
    cuts = context.record.cuts
    counts = np.cumsum([0, *(len(c) - 1 for c in cuts.values())])
    return dict(zip(cuts, counts.tolist(), strict=False))


def traffic(network: Network, context: Context) -> Traffic:
    """Return the graph of slices of a cut network."""
    cuts, start = context.record.cuts, first_slices(context)
    names = tuple(name for name, c in cuts.items() for _ in c[:-1])
    first = np.array([k for c in cuts.values() for k in c[:-1]], np.int64)
    size = np.array([k for c in cuts.values() for k in np.diff(c)], np.int64)
    pairs = [np.zeros(0, np.int64)]
    for proj in network.projections:
        pre, post = _pairs(context, proj)
        pairs.append(np.unique((start[proj.source] + pre) * len(names) + start[proj.target] + post))
    both = np.unique(np.concatenate(pairs))
    sources, targets = both // len(names), both % len(names)
    bounds = np.searchsorted(sources, np.arange(len(names) + 1))
    return Traffic(names, first, size, tuple(targets[a:b] for a, b in pairwise(bounds)))


def _pairs(context: Context, proj: Projection) -> tuple[Ints, Ints]:
    """Return the slices, counted within their populations, that the synapses of a projection join."""
    cuts = context.record.cuts
    if context.record.application[proj.target] in CONVOLUTION:  # a kernel joins all channels
        grid = np.indices((len(cuts[proj.source]) - 1, len(cuts[proj.target]) - 1))
        return grid[0].ravel(), grid[1].ravel()
    assert proj.quantized is not None  # the quantize stage set it
    post, pre, _ = entries(proj.quantized.weight)
    return _slice_of(cuts[proj.source], pre), _slice_of(cuts[proj.target], post)


def _slice_of(firsts: list[int], neurons: Ints) -> Ints:
    return np.searchsorted(firsts, neurons, side="right").astype(np.int64) - 1
