"""Accuracy on the Braille letters, and agreement with the float networks, 8-bit weights; numbers go to the test report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nirhw

GRAPHS = ("repo_braille_noDelay_bias_zero", "repo_braille_noDelay_noBias_subtract")
#: steps by which the last layer lags, so that its last spikes are seen
HOPS = 2


@pytest.fixture(scope="module")
def letters(shared: Path) -> tuple[np.ndarray, np.ndarray]:
    with np.load(shared / "data" / "braille7_l2mu_half.npz") as data:
        spikes, labels = data["x"], data["y"]
    assert spikes.shape == (579, 256, 12)
    return np.pad(spikes, ((0, 0), (0, HOPS), (0, 0))), labels


def measured(path: Path, letters: tuple[np.ndarray, np.ndarray], reset: str, options: dict[str, Any], report: Any) -> Any:
    found = nirhw.compile(path, "loihi2", reset=reset, options=options).fidelity(*letters)
    report("agreement", f"{found.agreement.value:.4f} +- {found.agreement.error:.4f}")
    report("accuracy", f"{found.accuracy.value:.4f} +- {found.accuracy.error:.4f}, float {found.reference_accuracy.value:.4f}")
    return found


@pytest.mark.parametrize("graph", GRAPHS)
def test_braille_agrees_with_the_hard_reset_network(
    graph: str, zoo: Callable[[str], Path], letters: Any, record_property: Callable[[str, object], None]
) -> None:
    found = measured(zoo(graph), letters, "zero", {}, record_property)
    assert found.agreement.value >= 0.97
    assert found.accuracy.value >= found.reference_accuracy.value - 2 * found.accuracy.error


@pytest.mark.parametrize("graph", GRAPHS)
def test_a_soft_reset_of_its_own_is_closer_to_the_soft_reset_network(
    graph: str, zoo: Callable[[str], Path], letters: Any, record_property: Callable[[str, object], None]
) -> None:
    hard = measured(zoo(graph), letters, "subtract", {}, record_property)
    soft = measured(zoo(graph), letters, "subtract", {"soft_reset": True}, record_property)
    assert soft.agreement.value > hard.agreement.value
    layers = hard.populations
    assert all(soft.populations[n].count_error < layers[n].count_error for n in layers)
    assert hard.agreement.value >= 0.9


@pytest.mark.parametrize(
    ("network", "data", "floor"), [("vowels_cubalif", "vowels_test", 0.97), ("digits_conv_if", "digits_test", 0.97)]
)
def test_demo_networks_agree(network: str, data: str, floor: float, record_property: Callable[[str, object], None]) -> None:
    folder = Path(__file__).parents[3] / "demo" / "networks"
    with np.load(folder / f"{data}.npz") as file:
        spikes, labels, dt = file["spikes"], file["labels"], float(file["dt"])
    padded = np.pad(spikes, ((0, 0), (0, 4), *((0, 0),) * (spikes.ndim - 2)))
    model = nirhw.compile(folder / f"{network}.nir", "loihi2", dt=dt, reset="zero")
    found = model.fidelity(padded, labels)
    record_property("agreement", f"{found.agreement.value:.4f} +- {found.agreement.error:.4f}")
    record_property("accuracy", f"{found.accuracy.value:.4f}, float {found.reference_accuracy.value:.4f}")
    assert found.agreement.value >= floor
