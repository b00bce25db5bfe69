"""Accuracy and agreement with the float network on 579 Braille samples: py-spinnaker2's conversion and ours."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nirhw

#: graph, reset
GRAPHS = (("repo_braille_noDelay_bias_zero", "zero"), ("repo_braille_noDelay_noBias_subtract", "subtract"))


@pytest.fixture(scope="module")
def samples(shared) -> tuple[np.ndarray, np.ndarray]:
    data = np.load(shared / "data" / "braille7_l2mu_half.npz")
    silent = np.zeros((len(data["x"]), 2, 12), data["x"].dtype)  # the last spikes take two hops
    return np.concatenate([data["x"], silent], axis=1), data["y"]


@pytest.mark.parametrize(("graph", "reset"), GRAPHS)
def test_our_parameters_agree_with_the_network_at_least_as_well_as_the_vendor_s(graph, reset, samples, zoo, record_property):
    measured: dict[str, Any] = {}
    for conversion in ("vendor", "nirhw"):
        model = nirhw.compile(zoo(graph), "spinnaker2", dt=1e-4, reset=reset, options={"conversion": conversion})
        measured[conversion] = model.fidelity(*samples)
        assert measured[conversion].accuracy is not None
        for name in ("agreement", "accuracy"):
            share = getattr(measured[conversion], name)
            record_property(f"{graph} {conversion} {name}", f"{share.value:.4f} +- {share.error:.4f}")
    ours, vendor = measured["nirhw"], measured["vendor"]
    assert ours.agreement.value >= vendor.agreement.value
    if reset == "zero":
        assert ours.agreement.value > vendor.agreement.value + 2 * vendor.agreement.error
    assert ours.count_error < vendor.count_error
    assert ours.accuracy.value >= ours.reference_accuracy.value - 2 * ours.accuracy.error
