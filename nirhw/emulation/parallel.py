"""Runs of emulators as pieces of work for threads: the samples of one run, or of many runs at once.

Kernels work without the interpreter's lock, and samples are independent, so the pieces of all runs of a batch stand in one queue:
no thread waits for the last samples of a run while another run has some left, and a run is prepared while those before it are
executed.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Generic, TypeVar

T = TypeVar("T")
U = TypeVar("U")

#: pieces of a run by thread: several, as samples differ in activity
PIECES = 4
#: runs by thread that wait to be finished while the next is prepared; each keeps its room in memory
AHEAD = 2


@dataclass(frozen=True, eq=False)
class Job(Generic[T]):
    """A run that is ready to be executed.

    Attributes:
        samples: how many there are.
        work: ``work(first, last)`` handles samples ``first`` to ``last - 1``, and no others, on any thread; its bits may not
            depend on how samples are divided.
        finish: makes the result once all samples are done.
    """

    samples: int
    work: Callable[[int, int], None]
    finish: Callable[[], T]

    def then(self, change: Callable[[T], U]) -> Job[U]:
        """Return the job whose result is this one's, changed."""
        return Job(self.samples, self.work, lambda: change(self.finish()))

    def run(self, threads: int | None = None) -> T:
        """Execute this job alone, see :func:`run_jobs`."""
        (result,) = run_jobs([self], 1 if self.samples <= 1 else threads)
        return result


def settled(result: T) -> Job[T]:
    """Return a job that has nothing to do."""
    return Job(0, lambda first, last: None, lambda: result)


def run_jobs(jobs: Iterable[Job[T]], threads: int | None = None) -> Iterator[T]:
    """Execute jobs together and yield their results, in the order of the jobs.

    Args:
        jobs: drawn one by one, on the caller's thread, while those before are executed.
        threads: at most so many; None: one for each processor this process may use.
    """
    workers = threads or processors()
    if workers <= 1:
        for job in jobs:
            job.work(0, job.samples)
            yield job.finish()
        return
    yield from _run_pooled(jobs, workers)


def _run_pooled(jobs: Iterable[Job[T]], workers: int) -> Iterator[T]:
    waiting: deque[tuple[Job[T], list[Future[None]]]] = deque()

    def finished() -> T:
        job, parts = waiting.popleft()
        for part in parts:
            part.result()
        return job.finish()

    pool = ThreadPoolExecutor(workers)
    try:
        for job in jobs:
            waiting.append((job, [pool.submit(job.work, *piece) for piece in _pieces(job.samples, workers)]))
            if len(waiting) > AHEAD * workers:
                yield finished()
        while waiting:
            yield finished()
    finally:
        pool.shutdown(cancel_futures=True)


def _pieces(samples: int, workers: int) -> Iterator[tuple[int, int]]:
    number = min(PIECES * workers, samples)
    return pairwise(round(k * samples / number) for k in range(number + 1)) if number else iter(())


def processors() -> int:
    """Return how many processors this process may use; where the system cannot tell, all of them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
