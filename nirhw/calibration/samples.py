"""Calibration samples: checked, and split into the half that is searched and the half by which the result is judged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirhw.diagnostics import error
from nirhw.emulation.inputs import Counts, as_counts, as_labels, in_chunks
from nirhw.network import Ints, Network

#: fewer samples than this cannot be split into a search and a check half
FEWEST = 4
#: samples that run at once where states are kept
CHUNK = 64


@dataclass(frozen=True, eq=False)
class Samples:
    """Input counts ``[sample, time, size]`` by input name, and labels ``(samples,)`` where there are some."""

    counts: Mapping[str, Counts]
    labels: Ints | None = None

    @classmethod
    def of(cls, network: Network, spikes: Any, labels: Any, peak: int | None) -> Samples:
        """Return calibration data, checked.

        Args:
            network: the float network.
            spikes: ``(B, T, *in)``, a dict by input name where there are several inputs.
            labels: classes ``(B,)``, or None.
            peak: largest count that will be sent, where that is known.

        Raises:
            InputError: NIRHW-E050 to E052 for spikes or labels that do not suit the network, or too few samples.
        """
        shapes = {name: network.populations[pop].shape for name, pop in network.inputs.items()}
        counts, batched = as_counts(spikes, shapes, peak)
        number, steps = next(iter(counts.values())).shape[:2]
        if not batched or number < FEWEST or steps == 0:
            raise error(
                "NIRHW-E050",
                f"calibration got {number if batched else 1} sample(s) of {steps} steps",
                why="half of the samples is searched, the other half judges the result",
                fix=f"give at least {FEWEST} samples as (B, T, *in); 50 to 300 are good",
            )
        return cls(counts, None if labels is None else as_labels(labels, number))

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


def halve(classes: Ints, seed: int) -> tuple[Ints, Ints]:
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
