"""What level 1, the default, adds to the time of a compile; the opponent is level 0, scales by the largest weight.

    python tests/benchmarks/level1_cost.py

Every target with the two Braille networks of the NIR paper (folder NIRHW_SHARED, default ``../shared``), or with the demo's networks
where that folder is missing; Speck, which takes neither, with the demo's convolutional network.  From a graph in memory to a checked
configuration; the two levels run in turn in one process.  Medians of the processor's time, which depends less than wall time on what else the
machine does; a compile has one thread.  Goal: level 1 adds less than 10 ms.  Below the table stand the stages that took most of what was
added where the goal was missed, in wall time.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping

import nir
from reading import medians
from rich.console import Console
from routes.cases import Case, braille_cases, catalogue, demo_case

import nirhw
from nirhw.report.text import WIDTH, table

GOAL = 10.0
#: stages named below the table
NAMED = 3
STAGE_REPEATS = 5


def targets() -> list[str]:
    """Return the targets, without short names of the same chips."""
    return [info.name for info in nirhw.list_targets() if info.name == info.hardware]


def cases() -> list[Case]:
    """Return the networks to compile."""
    recurrent = braille_cases() or [demo_case(network) for network in (catalogue.VOWELS, catalogue.POWER)]
    return [*recurrent, demo_case(catalogue.DIGITS)]


def fits(case: Case, target: str) -> bool:
    """Return whether a target takes a network; Speck's alone is not needed elsewhere."""
    convolutional = case.name == catalogue.DIGITS.name
    return target.startswith("speck") == convolutional


def stages(graph: nir.NIRGraph, case: Case, target: str, level: int) -> Mapping[str, float]:
    """Return the median time in ms of each stage."""
    models = [nirhw.compile(graph, target, dt=case.dt, reset=case.reset, level=level) for _ in range(STAGE_REPEATS)]
    laps = [model.report.timings for model in models]
    return {stage: 1e3 * statistics.median(lap[stage] for lap in laps) for stage in laps[0]}


def main() -> None:
    """Print the table."""
    rows, causes = [], []
    for case in cases():
        graph = nir.read(case.graph)
        for target in targets():
            if not fits(case, target):
                continue

            def at(level: int, case: Case = case, graph: nir.NIRGraph = graph, target: str = target) -> None:
                nirhw.compile(graph, target, dt=case.dt, reset=case.reset, level=level)

            plain, default = medians(lambda at=at: at(0), lambda at=at: at(1), time.process_time)  # type: ignore[misc]
            added = default - plain
            verdict = "met" if added < GOAL else "missed"
            rows.append((case.name, target, f"{plain:.1f}", f"{default:.1f}", f"{added:.1f}", f"{default / plain:.2f}", verdict))
            if added >= GOAL:
                before, after = (stages(graph, case, target, level) for level in (0, 1))
                grown = sorted(((after[s] - before.get(s, 0.0), s) for s in after), reverse=True)[:NAMED]
                causes.append(f"{case.name} on {target}: " + ", ".join(f"{stage} +{ms:.1f} ms" for ms, stage in grown))
    columns = ("network", "target", "level 0, ms", "level 1, ms", "added, ms", "ratio", f"under {GOAL:.0f} ms")
    Console(width=WIDTH).print(table("What level 1 adds to a compile", columns, rows))
    for cause in causes:
        print(cause)


if __name__ == "__main__":
    main()
