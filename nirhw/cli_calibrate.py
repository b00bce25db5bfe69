"""What the command line adds to calibration: files of spikes and labels, a budget in seconds, a bar with the best so far."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nirhw import cli_support as out
from nirhw.cli_options import Choices
from nirhw.spike_files import read_labels, read_spikes

if TYPE_CHECKING:
    from nirhw.calibration.hunt import Progress

#: evaluations beyond which a budget in seconds ends a search, too
MOST = 1_000_000


@contextmanager
def effort(file: Path, choices: Choices) -> Iterator[dict[str, Any]]:
    """Give the keyword arguments of :func:`nirhw.compile` that calibration needs, and show how far it is.

    Raises:
        NirhwError: NIRHW-E005 and E050 to E052, as :mod:`nirhw.spike_files` tells; E002 for labels without spikes.
    """
    arguments: dict[str, Any] = {}
    if choices.calibration is not None:
        from nirhw.nir_reader import read_network

        network = read_network(file, choices.semantics()).network
        shapes = {name: network.populations[pop].shape for name, pop in network.inputs.items()}
        found = read_spikes(choices.calibration, shapes, network.dt)
        arguments["calibration"] = dict(found.spikes)
    if choices.labels is not None:
        arguments["labels"] = read_labels(choices.labels)
    seconds = choices.budget_seconds()
    if seconds is not None:
        arguments["budget"] = MOST
        out.warn(f"a budget of {seconds:g} s depends on the machine's speed: the result may differ from run to run")
    with _bar(seconds) as progress:
        yield {**arguments, "progress": progress}


@contextmanager
def _bar(seconds: float | None) -> Iterator[Callable[[Progress], None]]:
    """Give a function that shows progress on stderr, where that is a terminal, and ends the search at its deadline."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    start = time.monotonic()
    shown = sys.stderr is not None and sys.stderr.isatty()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True, disable=not shown) as bar:
        task = bar.add_task("calibrating", total=None, visible=False)

        def show(at: Progress) -> None:
            spent = time.monotonic() - start
            total = at.budget if seconds is None else round(seconds)
            done = at.done if seconds is None else min(round(spent), total)
            bar.update(task, description=f"best hits {at.hits:.1%}", completed=done, total=total, visible=True)
            if seconds is not None and spent > seconds:
                raise KeyboardInterrupt  # as a user would: the search keeps the best

        yield show
