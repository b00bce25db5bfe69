"""Calibration samples: the half that is searched, and the half by which the result is judged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nirhw.emulation.inputs import Counts, in_chunks
from nirhw.network import Ints, Network

#: fewer samples than this cannot be split into a search and a check half
FEWEST = 4


@dataclass(frozen=True, eq=False)
class Samples:
    """Input counts ``[sample, time, size]`` by input name, and labels ``(samples,)`` where there are some."""

    counts: Mapping[str, Counts]
    labels: Ints | None = None

    @property
    def number(self) -> int:
        """Number of samples."""
        return int(next(iter(self.counts.values())).shape[0])

    @property
    def steps(self) -> int:
        """Steps of a sample."""
        return int(next(iter(self.counts.values())).shape[1])

    def chunks(self, network: Network, size: int) -> Iterator[dict[str, Counts]]:
        """Yield ``size`` samples after the other, in the shapes of the network's inputs."""
        shapes = {name: network.populations[pop].shape for name, pop in network.inputs.items()}
        return in_chunks(self.counts, shapes, size)

    def picked(self, index: NDArray[np.int64]) -> Samples:
        """Return the samples of ``index``, in its order."""
        labels = None if self.labels is None else self.labels[index]
        return Samples({n: np.ascontiguousarray(c[index]) for n, c in self.counts.items()}, labels)


def halves(classes: Ints, seed: int) -> tuple[Ints, Ints]:
    """Return indices of the search half and of the check half, both ascending.

    Every class is halved, so both halves show the same mix; of classes with an odd number the search half and the check half
    take the larger part in turns.  The search half holds at least as many samples as the check half.

    Args:
        classes: what the samples are stratified by, ``(samples,)``.
        seed: draws the order within a class.
    """
    random = np.random.default_rng(seed)
    order = random.permutation(classes.size)
    order = order[np.argsort(classes[order], kind="stable")]  # by class, drawn within
    return np.sort(order[0::2]), np.sort(order[1::2])
