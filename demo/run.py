"""The demo: compile the trained networks for every target, emulate them on their test sets, print what was kept and lost.

Run by ``make demo``.  Artifacts and reports go to the folder ``out``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from catalogue import DIGITS, VOWELS, DemoNetwork
from rich.console import Console
from rich.progress import Progress

import nirhw
from nirhw.fidelity import Share
from nirhw.files import write_whole
from nirhw.report.text import WIDTH, table

HERE = Path(__file__).parent
OUT = HERE.parent / "out"
#: the target whose whole report is printed; all of them are written to files
REPORT_PRINTED_FOR = "xylo-audio2"
#: a quick selection
NETWORKS = (VOWELS, DIGITS)


def main() -> None:
    """Run every network on every target and print one table."""
    console = Console(width=None if sys.stdout.isatty() else WIDTH)  # without a terminal rich would take 80 columns
    OUT.mkdir(exist_ok=True)
    rows = []
    for network in NETWORKS:
        data = np.load(network.test)
        for info in nirhw.list_targets():
            if info.name == info.hardware:  # leave out the short names of the same chips
                rows.append(_compile_and_measure(network, info.name, data, console))
    columns = ("network", "target", "float", "on the chip", "agree", "samples", "binding resource")
    console.print(table("Accuracy on the test sets, percent with standard error", columns, rows))
    console.print(f"artifacts and reports are in {OUT.name}/", highlight=False)


def _compile_and_measure(network: DemoNetwork, target: str, data: np.lib.npyio.NpzFile, console: Console) -> tuple[str, ...]:
    try:
        model = nirhw.compile(network.graph, target, dt=float(data["dt"]), reset=str(data["reset"]))
    except nirhw.NirhwError as refusal:
        console.print(f"{network.title} on {target}:\n{refusal}\n", markup=False, highlight=False)
        reference = _reference_accuracy(network, data)
        return network.title, target, _percent(reference), "does not fit", "", str(reference.samples), refusal.code
    stem = OUT / f"{network.graph.stem}-{target}"
    model.save(stem.with_suffix(".nirhw"))
    write_whole(stem.with_suffix(".txt"), model.report.to_text().encode())
    write_whole(stem.with_suffix(".json"), model.report.to_json().encode())
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(f"{network.title} on {target}")
        fidelity = model.fidelity(
            data["spikes"],
            data["labels"],
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    if target == REPORT_PRINTED_FOR:
        console.print(model.report.to_text(), markup=False, highlight=False)
    return (
        network.title,
        target,
        _percent(fidelity.reference_accuracy),
        _percent(fidelity.accuracy),
        _percent(fidelity.agreement),
        str(len(data["labels"])),
        str(model.report.data["binding_resource"]),
    )


def _percent(share: Share | None) -> str:
    return "" if share is None else f"{100 * share.value:.1f} ± {100 * share.error:.1f}"


def _reference_accuracy(network: DemoNetwork, data: np.lib.npyio.NpzFile) -> Share:
    """Return the float network's accuracy where no chip runs it."""
    from nirhw.nir_reader import Semantics, read_network
    from nirhw.reference import run_reference

    float_network = read_network(network.graph, Semantics(float(data["dt"]), str(data["reset"]))).network
    counts = run_reference(float_network, data["spikes"]).spikes.sum(axis=1)
    return Share.of(counts.argmax(axis=1) == data["labels"])


if __name__ == "__main__":
    main()
