"""Jobs: every sample is handled once, results keep their order, and preparation and execution overlap."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from nirhw.emulation.parallel import AHEAD, Job, run_jobs, settled


def counting(samples: int, name: int = 0) -> Job[tuple[int, list[int]]]:
    """Return a job whose result is its name, and how often each sample was handled."""
    seen = np.zeros(samples, np.int64)

    def work(first: int, last: int) -> None:
        seen[first:last] += 1

    return Job(samples, work, lambda: (name, seen.tolist()))


@pytest.mark.parametrize("threads", [None, 1, 2, 5])
@pytest.mark.parametrize("samples", [0, 1, 3, 97])
def test_every_sample_is_handled_once(samples: int, threads: int | None) -> None:
    assert counting(samples).run(threads) == (0, [1] * samples)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_come_in_the_order_of_the_jobs(threads: int) -> None:
    jobs = [counting(size, name) for name, size in enumerate([40, 0, 1, 7, 300, 2, 5, 5, 9, 12, 31, 1, 4, 8])]
    assert list(run_jobs(jobs, threads)) == [job.finish() for job in jobs]
    assert [name for name, _ in run_jobs(jobs, threads)] == list(range(len(jobs)))


def test_a_job_runs_while_the_next_is_prepared() -> None:
    started, prepared = threading.Event(), threading.Event()

    def work(first: int, last: int) -> None:
        started.set()
        assert prepared.wait(20)

    def jobs() -> Iterator[Job[str]]:
        yield Job(1, work, lambda: "first")
        assert started.wait(20)  # the first runs although nobody asked for its result
        prepared.set()
        yield settled("second")

    assert list(run_jobs(jobs(), 2)) == ["first", "second"]


def test_only_a_few_jobs_wait_in_memory() -> None:
    drawn = 0

    def jobs() -> Iterator[Job[int]]:
        nonlocal drawn
        for k in range(100):
            drawn += 1
            yield settled(k)

    results = run_jobs(jobs(), 2)
    assert next(results) == 0
    assert drawn == 2 * AHEAD + 1


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("kind", [KeyboardInterrupt, ValueError])
def test_what_goes_wrong_in_a_thread_reaches_the_caller(threads: int, kind: type[BaseException]) -> None:
    def work(first: int, last: int) -> None:
        raise kind

    with pytest.raises(kind):
        list(run_jobs([counting(5), Job(5, work, lambda: (1, [])), counting(5)], threads))


def test_a_result_is_changed_after_all_samples_are_done() -> None:
    name, seen = counting(50, 3).then(lambda found: (found[0] + 1, found[1])).run(4)
    assert (name, seen) == (4, [1] * 50)
