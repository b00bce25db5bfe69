"""Candidates of calibration in one batch; the opponent lowers and emulates them one after the other, each on all processors.

    python tests/benchmarks/candidates.py [--batch 10]

Every target with a network of the demo that it takes, and its calibration samples.  Candidates differ by small turns of the target's
knobs, as those of a search do.  "one a thread" gives each candidate, lowering included, to one thread.  All three give the same
evidence, bit by bit, which is checked.  Medians of wall time.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from rich.console import Console
from routes.cases import Case, catalogue, demo_case

from nirhw.calibration.evaluate import Emulated, Seen, emulate_all
from nirhw.calibration.knobs import defaults, to_point, to_values
from nirhw.calibration.samples import Samples
from nirhw.compiler import _Candidates, _run
from nirhw.emulation.parallel import processors
from nirhw.hardware import load_hardware
from nirhw.network import Network
from nirhw.nir_reader import Semantics, read_network
from nirhw.pipeline import Context, Tuning
from nirhw.registry import find_target
from nirhw.report.text import WIDTH, table

CASES = (
    (catalogue.VOWELS, "xylo"),
    (catalogue.VOWELS, "spinnaker2"),
    (catalogue.VOWELS, "loihi2"),
    (catalogue.DIGITS, "speck"),
)
REPEATS = 7
#: turns of the knobs, as a share of their ranges
TURN = 0.05

Way = Callable[[], list[Seen]]


def ways(case: Case, target: str, batch: int) -> dict[str, Way]:
    """Return the three ways to evaluate a batch; each returns what the candidates do."""
    family = find_target(target)
    context = Context(load_hardware(family.variants[target], family.name), family.make_options({}), family.new_record())
    network = read_network(case.graph, Semantics(case.dt, case.reset)).network
    network = _run(("canonicalize",), network, context, family, None, None)
    candidates, samples = _Candidates(network, context, family), Samples.of(network, case.calibration, None, None)
    knobs = tuple(k for k in candidates.knobs if k.kind in ("log", "linear"))
    random, start = np.random.default_rng(0), to_point(knobs, defaults(knobs))
    turned = [Tuning(to_values(knobs, start + random.normal(0, TURN, start.size))) for _ in range(batch)]
    candidates.lowered(Tuning(defaults(candidates.knobs)), None)  # the default comes first

    def lower(tuning: Tuning) -> Emulated:
        return candidates.lowered(tuning, None)

    return {
        "one by one": lambda: [s for t in turned for s in seen(emulate_all([lower(t)], samples, network))],
        "one a thread": lambda: threaded(turned, lower, samples, network),
        "one batch": lambda: seen(emulate_all(map(lower, turned), samples, network)),
    }


def seen(found: object) -> list[Seen]:
    """Return what candidates do, none of which is impossible."""
    return [s for s in found if s is not None]  # type: ignore[attr-defined]


def threaded(turned: Sequence[Tuning], lower: Callable[[Tuning], Emulated], samples: Samples, network: Network) -> list[Seen]:
    """Evaluate each candidate on one thread."""
    from nirhw.calibration.objective import evidence_of

    def one(tuning: Tuning) -> Seen:
        device, io_map = lower(tuning)
        names = tuple(network.outputs)
        run = device.prepare(samples.counts, {}, None).run(1)
        return Seen(evidence_of(run, names, {n: io_map["outputs"][n]["lag"] for n in names}), None)

    with ThreadPoolExecutor(processors()) as pool:
        return list(pool.map(one, turned))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=10, help="candidates of a batch")
    args = parser.parse_args()
    rows = []
    for network, target in CASES:
        case = demo_case(network)
        found = ways(case, target, args.batch)
        wanted, *others = ([s.evidence for s in way()] for way in found.values())
        for other in others:
            assert all(np.array_equal(a[n], b[n]) for a, b in zip(wanted, other, strict=True) for n in a)
        seconds: dict[str, list[float]] = {name: [] for name in found}
        for _ in range(REPEATS):
            for name, way in found.items():
                begin = time.perf_counter()
                way()
                seconds[name].append(time.perf_counter() - begin)
        opponent, thread, batch = (1e3 * statistics.median(s) / args.batch for s in seconds.values())
        figures = (f"{opponent:.1f}", f"{thread:.1f}", f"{batch:.1f}", f"{batch / opponent:.2f}", f"{batch / thread:.2f}")
        rows.append((case.name, target, *figures))
    columns = ("network", "target", "one by one, ms", "one a thread, ms", "one batch, ms", "ratio", "ratio to one a thread")
    title = f"{args.batch} candidates, ms a candidate, {processors()} processors"
    Console(width=WIDTH).print(table(title, columns, rows))


if __name__ == "__main__":
    main()
