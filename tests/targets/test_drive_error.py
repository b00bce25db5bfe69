"""Level 1 never loses to max scaling: what one spike does to every membrane, measured on both emulators.

The drive error of a neuron is the squared error of its weights plus the square of their sum, as :mod:`nirhw.balance` defines it,
where Loihi 2 stores the signs apart for each sign; neurons that share a scale are judged together.
"""

from __future__ import annotations

from typing import Any

import nir
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nirhw
from tests import builders as b


def received(layer: Any, shape: tuple[int, ...], out: tuple[int, ...], threshold: float, target: str, options: Any) -> Any:
    """Return what a spike of each source adds to each membrane, ``[source, target]``: on the chip and in the network."""
    neuron = nir.LIF(
        tau=np.full(out, 8 * b.DT),
        r=np.full(out, 8.0),
        v_leak=np.zeros(out),
        v_threshold=np.full(out, threshold),
        v_reset=np.zeros(out),
    )
    model = nirhw.compile(b.chain(shape, out, w=layer, n=neuron), target, dt=b.DT, reset="zero", options=options)
    size = int(np.prod(shape))
    x = np.zeros((size, 2, *shape), np.uint8)
    x[:, 0] = np.eye(size).reshape(size, *shape)
    chip = model.emulate(x, record=["n"]).states["n"]["v"][:, 1].reshape(size, -1)
    scale = np.broadcast_to(np.asarray(model.io_map["populations"]["n"]["scale"], float).ravel(), chip.shape[1:])
    return chip / scale, model.reference(x, record=["n"]).states["n"]["v"][:, 0].reshape(size, -1)


def drive_error(chip: np.ndarray, meant: np.ndarray, by_sign: bool = False) -> np.ndarray:
    lost = chip - meant
    parts = [np.where(meant > 0, lost, 0.0), np.where(meant > 0, 0.0, lost)] if by_sign else [lost]
    return np.asarray((lost**2).sum(axis=0) + sum(part.sum(axis=0) ** 2 for part in parts))


def random_weights(seed: int, shape: tuple[int, ...], outlier: float, zeros: float) -> np.ndarray:
    random = np.random.default_rng(seed)
    weight = random.standard_t(4, shape) * random.uniform(0.1, 2.0, (shape[0], *(1,) * (len(shape) - 1)))
    weight.ravel()[random.integers(weight.size)] *= outlier
    return weight * (random.random(shape) >= zeros)


LAYERS = {
    "seed": st.integers(0, 10**6),
    "outlier": st.sampled_from([1.0, 5.0, 40.0]),
    "zeros": st.sampled_from([0.0, 0.5, 0.97]),
}


@settings(max_examples=25, deadline=None)
@given(**LAYERS, pre=st.integers(1, 40), post=st.integers(1, 12), form=st.sampled_from(["no_delay", "delay"]))
def test_every_neuron_of_spinnaker2(seed: int, outlier: float, zeros: float, pre: int, post: int, form: str) -> None:
    weight = random_weights(seed, (post, pre), outlier, zeros)
    threshold = 4.0 * np.abs(weight).sum() + 1.0
    ours, plain = (
        drive_error(
            *received(nir.Linear(weight), (pre,), (post,), threshold, "spinnaker2", {"application": form, "scaling": scaling})
        )
        for scaling in ("auto", "max")
    )
    assert np.all(ours <= plain * (1 + 1e-4) + 1e-9)


@settings(max_examples=10, deadline=None)
@given(**LAYERS)
def test_every_channel_of_spinnaker2(seed: int, outlier: float, zeros: float) -> None:
    kernel = random_weights(seed, (3, 2, 3, 3), outlier, zeros)
    layer = nir.Conv2d((5, 5), kernel, 1, 0, 1, 1, np.zeros(3))
    threshold = 4.0 * np.abs(kernel).sum() + 1.0
    ours, plain = (
        drive_error(*received(layer, (2, 5, 5), (3, 3, 3), threshold, "spinnaker2", {"scaling": scaling}))
        for scaling in ("auto", "max")
    )
    by_channel = (v.reshape(3, -1).sum(axis=1) for v in (ours, plain))
    mine, other = by_channel
    assert np.all(mine <= other * (1 + 1e-4) + 1e-9)


@settings(max_examples=30, deadline=None)
@given(
    **LAYERS,
    pre=st.integers(1, 40),
    post=st.integers(1, 12),
    bits=st.integers(1, 8),
    signs=st.sampled_from(["auto", "joint"]),
    ranges=st.sampled_from([1, 4]),
)
def test_every_population_of_loihi2(
    seed: int, outlier: float, zeros: float, pre: int, post: int, bits: int, signs: str, ranges: int
) -> None:
    weight = random_weights(seed, (post, pre), outlier, zeros)
    threshold = 4.0 * np.abs(weight).sum() + 1.0
    given_options = {"weight_bits": bits, "signs": signs, "ranges": ranges}
    ours, plain = (
        drive_error(
            *received(nir.Linear(weight), (pre,), (post,), threshold, "loihi2", {**given_options, "scaling": scaling}),
            by_sign=signs == "auto" or bits == 1,
        ).sum()
        for scaling in ("error", "max")
    )
    assert ours <= plain * (1 + 1e-4) + 1e-9


@pytest.mark.parametrize("bits", [8, 4, 2])
def test_an_outlier_does_not_silence_the_rest_on_loihi2(bits: int) -> None:
    """One weight of a hundred times the others: matrices by size keep both."""
    weight = random_weights(3, (8, 40), 1.0, 0.0) / 10
    weight[2, 7] = 20.0
    found = {}
    for ranges in (1, 4):
        chip, meant = received(nir.Linear(weight), (40,), (8,), 100.0, "loihi2", {"weight_bits": bits, "ranges": ranges})
        found[ranges] = drive_error(chip, meant).sum()
        assert abs(chip[7, 2] - 20.0) < 20.0 * 2.0**-bits
    assert found[4] < 0.25 * found[1]


@pytest.mark.parametrize("bits", [4, 2])
def test_matrices_add_up_to_a_weight_on_loihi2(bits: int) -> None:
    """Few weights of ten times the others: what a coarse matrix leaves of them stands in the fine one."""
    weight = random_weights(3, (8, 40), 1.0, 0.0) / 10
    large = np.zeros(weight.shape, bool)
    large.ravel()[[7, 93, 160, 301]] = True
    weight = np.where(large, 10.0 * np.abs(weight).max() * (1.0 + 0.137 * np.arange(320).reshape(8, 40) / 320), weight)
    chip, meant = received(nir.Linear(weight), (40,), (8,), 100.0, "loihi2", {"weight_bits": bits})
    lost = np.abs(chip - meant).T
    assert lost[large].max() <= 1.01 * max(lost[~large].max(), np.abs(weight[~large]).max() * 2.0**-bits)
    assert lost[large].max() < 0.1 * np.abs(weight[large]).min() * 2.0**-bits
