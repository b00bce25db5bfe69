"""Accuracy on each chip of the float network, of nirhw at level 1 and at level 3 without labels, and of the vendor's own route.

    python tests/benchmarks/accuracy.py [--networks NAME ...] [--chips NAME ...] [--json FILE]

Networks are those of ``demo/networks`` and, where the folder NIRHW_SHARED (default ``../shared``) is there, the two Braille
networks of the NIR paper.  Level 3 sees the network's calibration samples without labels; all accuracies are of test samples that
nothing was fitted to.  Behind each accuracy stands its difference to the float network's, in points, with the standard error of that
difference (from differences sample by sample).

The vendors' routes:

* Xylo: rockpool 3.1.0 in a Python of its own (NIRHW_ROCKPOOL_PYTHON, default ``.venv-rockpool``): ``from_nir``, ``mapper``,
  ``channel_quantize`` or ``global_quantize``, ``config_from_specification``, XyloSim on xylosim 0.1.3.  samna is a stand-in;
  ``tests/oracles/rockpool_worker.py`` tells what was done by hand.  Its mapper drops biases of linear nodes; "biases by hand" moves
  them to the neurons first.
* Speck: sinabs 3.1.3 (NIRHW_SINABS_PYTHON, default ``.venv-sinabs``): ``from_nir``, ``DynapcnnNetwork`` with discretization, with the
  lower bound that ``from_nir`` sets and with its default of none.  "frames": simulated by sinabs' layers, which sum a step.
  "events": the same integers in our event-driven emulator.  specksim needs samna and could not be run.
* SpiNNaker2: what py-spinnaker2's NIR converter does, by ``conversion="vendor"``, which equals the board's raster.
* Loihi 2: what the NIR paper's Lava script does, by ``conversion="lava"``; its weights have 8 bits, its reset is to zero, 1.0 is 256
  weight units whatever the weights are.  No vendor's route to 4 bits is public; "largest weight" is the plain rule, one scale from the
  largest weight.

Networks that no way brings to a chip have no row; a single way that does not run is a code.  The reasons stand below the table.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np
from rich.console import Console
from routes.cases import Array, Case, all_cases
from routes.chips import CHIPS, Chip, decided, refused
from routes.score import Refusal, Row, Score, Way
from routes.vendors import NOTHING_TO_DO

import nirhw
from nirhw.files import write_whole
from nirhw.nir_reader import Semantics, read_network
from nirhw.reference import run_reference
from nirhw.report.text import table

COLUMNS = ("network", "chip", "float", "level 1", "level 3", "vendor's route")
LEVELS = (1, 3)
REASON_WIDTH = 120


def rows(cases: Sequence[Case], chips: Sequence[Chip], budget: int | None) -> Iterator[Row]:
    """Run every network on every chip, all ways."""
    for case in cases:
        references: dict[str, Array] = {}
        for chip in chips:
            if chip.reset == case.reset:
                continue  # the same as the row with the network's own reset
            meant = replace(case, reset=chip.reset or case.reset)
            if meant.reset not in references:
                references[meant.reset] = float_decisions(meant)
            yield row(meant, chip, references[meant.reset], budget)


def float_decisions(case: Case) -> Array:
    """Return what the float network decides, ``[sample]``."""
    network = read_network(case.graph, Semantics(case.dt, case.reset)).network
    run = run_reference(network, case.spikes)
    values = run.outputs if run.spikes is None else run.spikes
    return values.sum(axis=1).reshape(len(case.spikes), -1).argmax(axis=1)


def row(case: Case, chip: Chip, reference: Array, budget: int | None) -> Row:
    """Run one network on one chip, all ways."""
    ways = []
    steps: list[tuple[str, Any]] = [(f"level {level}", level) for level in LEVELS]
    for name, what in [*steps, *chip.routes.items()]:
        begin = time.perf_counter()
        found = compiled(case, chip, what, budget) if isinstance(what, int) else what(case)
        seconds = time.perf_counter() - begin
        ways.append(Way(name, found if isinstance(found, Refusal) else Score.of(found, reference, case.labels), seconds))
    accuracy = float(np.mean(reference == case.labels))
    return Row(case.name, chip.name, case.reset, len(case.labels), accuracy, tuple(ways))


def compiled(case: Case, chip: Chip, level: int, budget: int | None) -> Array | Refusal:
    """Return the decisions of our compilation at a level."""
    search = {"calibration": case.calibration, "budget": budget} if level == 3 else {}
    try:
        model = nirhw.compile(case.graph, chip.target, dt=case.dt, reset=case.reset, options=chip.options, level=level, **search)
        return decided(model, case.spikes)
    except nirhw.NirhwError as error:
        return Refusal("-", str(error)) if error.code == "NIRHW-E002" else refused(error)


def cells(found: Row) -> tuple[str, ...]:
    """Return a row of the table."""
    ours, vendor = found.ways[: len(LEVELS)], found.ways[len(LEVELS) :]
    reset = f"{100 * found.reference:.1f} ({found.reset})"
    theirs = "; ".join(f"{way.name} {way.outcome}" for way in vendor if worth_telling(way)) or "-"
    return (found.network, found.chip, reset, *(str(way.outcome) for way in ours), theirs)


def worth_telling(way: Way) -> bool:
    """Return whether a way is not another one again."""
    return not isinstance(way.outcome, Refusal) or way.outcome.code != NOTHING_TO_DO


def runs(found: Row) -> bool:
    """Return whether any way brought the network to the chip."""
    return any(isinstance(way.outcome, Score) for way in found.ways)


def refusals(found: Sequence[Row]) -> list[str]:
    """Return one line for each reason why a way did not run, and where; the JSON file has the whole reasons."""
    reasons: dict[str, dict[str, None]] = {}
    for entry in found:
        for way in entry.ways:
            if isinstance(way.outcome, Refusal) and worth_telling(way):
                reason = shorten(way.outcome.reason.removeprefix(way.outcome.code).strip(), REASON_WIDTH)
                reasons.setdefault(f"{way.outcome.code}: {reason}", {})[f"{entry.network} on {entry.chip}"] = None
    return [f"{reason}  [{'; '.join(places)}]" for reason, places in reasons.items()]


def chosen(names: Sequence[str], asked: Sequence[str] | None, what: str) -> list[str]:
    """Return the names that begin as asked; all where nothing was asked."""
    kept = [name for name in names if not asked or name.startswith(tuple(asked))]
    if not kept:
        sys.exit(f"no {what} of that name; there are: {', '.join(names)}")
    return kept


def main() -> None:
    """Run what was asked for and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", help="networks whose names begin so")
    parser.add_argument("--chips", nargs="+", help="chips whose names begin so")
    parser.add_argument("--budget", type=int, help="evaluations at level 3")
    parser.add_argument("--samples", type=int, help="at most so many test samples")
    parser.add_argument("--json", type=Path, help="also write everything to this file")
    parser.add_argument("--markdown", action="store_true", help="print the table in Markdown")
    args = parser.parse_args()
    cases = all_cases()
    kept = chosen([case.name for case in cases], args.networks, "network")
    cases = [case.first(args.samples or len(case.labels)) for case in cases if case.name in kept]
    wanted = chosen([chip.name for chip in CHIPS], args.chips, "chip")
    console = Console(width=None if sys.stdout.isatty() else 200)
    found = []
    for entry in rows(cases, [chip for chip in CHIPS if chip.name in wanted], args.budget):
        found.append(entry)
        print(" | ".join(cells(entry)), file=sys.stderr)
        if args.json:
            write_whole(args.json, json.dumps([asdict(r) for r in found], indent=1).encode())
    shown = [cells(entry) for entry in found if runs(entry)]
    if args.markdown:
        print("\n".join(f"| {' | '.join(line)} |" for line in [COLUMNS, ("---",) * len(COLUMNS), *shown]))
    else:
        console.print(table("Accuracy on test samples, percent (difference to float)", COLUMNS, shown))
    for reason in refusals(found):
        console.print(reason, markup=False, highlight=False)


if __name__ == "__main__":
    main()
