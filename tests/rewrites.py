"""What a property of a chip changes in a float network, for the tests of all targets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from nirhw.cli_views import same
from nirhw.diagnosis import Subject, subject
from nirhw.emulation.result import Run
from nirhw.network import Network
from nirhw.operators import frozen
from nirhw.passes.merge_parallel import MergeParallel
from nirhw.pipeline import Context
from nirhw.reference import run_reference


def present(case: Subject) -> list[str]:
    return [p.name for p in case.present]


def rewritten(case: Subject, *names: str) -> Network:
    """Return the float network of a case with the named properties, checked."""
    known = {p.name: p for p in case.present}
    network = case.model.network
    for name in names:
        network = known[name].rewrite(network)  # type: ignore[misc]
        network.verify()
    return network


def merged(network: Network) -> Network:
    return MergeParallel().apply(network, Context(None, None, None))  # type: ignore[arg-type]


def touched(before: Network, after: Network) -> dict[str, set[str]]:
    """Return by population which of its parts differ, and by projection ("a->b") whether weights or delays do."""
    found: dict[str, set[str]] = {}

    def note(owner: str, what: str, one: Any, other: Any) -> None:
        if not same(one, other):
            found.setdefault(owner, set()).add(what)

    before = merged(before)
    after = merged(after)
    assert list(before.populations) == list(after.populations)
    for name, old in before.populations.items():
        new = after.populations[name]
        for part in ("rule", "signal", "threshold", "v_reset", "reset", "burst", "shape", "role", "codes"):
            note(name, part, getattr(old, part), getattr(new, part))
        if old.membrane is not None:
            for part in ("decay", "gain", "leak", "tau"):
                note(name, f"membrane {part}", getattr(old.membrane, part), getattr(new.membrane, part))
        assert [p.name for p in old.ports] == [p.name for p in new.ports]
        for one, other in zip(old.ports, new.ports, strict=True):
            for part in ("gain", "bias", "decay", "tau", "onsets"):
                note(name, f"port {part}", getattr(one, part), getattr(other, part))
    assert [p.name for p in before.projections] == [p.name for p in after.projections]
    for first, second in zip(before.projections, after.projections, strict=True):
        note(first.name, "weights", first.operator.matrix, second.operator.matrix)
        note(first.name, "delay", first.delay, second.delay)
    return found


def changes(graph: Any, target: str, name: str, **options: Any) -> dict[str, set[str]]:
    """Return what one property of a target changes in a graph."""
    case = subject(graph, target, **options)
    return touched(case.model.network, rewritten(case, name))


def assert_chip_does(case: Subject, network: Network, spikes: Any, lags: bool = True) -> None:
    """Every output of the chip is that of a float network, ``lag`` steps later where ``lags``."""
    chip, meant = case.model.emulate(spikes), run_reference(_without_ties(network), spikes)
    (entry,) = case.model.io_map["outputs"].values()
    lag = entry["lag"] if lags else 0
    got, wanted = _only(chip), _only(meant)
    steps = got.shape[0]
    assert wanted.sum() > 10, "a silent network shows nothing"
    np.testing.assert_array_equal(got[lag:], wanted[: steps - lag])


def _without_ties(network: Network) -> Network:
    """Return the network with thresholds a trifle higher: sums of integers that meet one exactly may not, as floats, exceed it."""
    spiking = [p for p in network.populations.values() if p.threshold is not None]
    return network.with_populations(replace(p, threshold=frozen(p.threshold * (1 + 1e-9))) for p in spiking)


def _only(run: Run) -> np.ndarray:
    return np.asarray(run.spikes)
