"""Samples of a batch over threads, for kernels that run without the interpreter's lock."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise


def over_samples(work: Callable[[int, int], None], samples: int, threads: int | None) -> None:
    """Call ``work(first, last)`` for pieces that together cover all samples.

    Args:
        work: handles samples ``first`` to ``last - 1``, and no others; its bits may not depend on the pieces.
        samples: how many there are.
        threads: at most so many; None: one for each processor this process may use.
    """
    workers = min(threads or processors(), samples)
    if workers <= 1:
        work(0, samples)
        return
    pieces = min(4 * workers, samples)  # several a worker, as samples differ in activity
    bounds = [round(k * samples / pieces) for k in range(pieces + 1)]
    with ThreadPoolExecutor(workers) as pool:
        for piece in [pool.submit(work, first, last) for first, last in pairwise(bounds)]:
            piece.result()


def processors() -> int:
    """Return how many processors this process may use; where the system cannot tell, all of them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
