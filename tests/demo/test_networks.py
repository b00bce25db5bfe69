"""The committed demo networks keep the accuracies that demo/README.md states.

The simulation here is plain numpy in float64, reads the files through the nir package and knows nothing of nirhw.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

nir = pytest.importorskip("nir")

NETWORKS = Path(__file__).parents[2] / "demo" / "networks"
MEGABYTE = 1_000_000
Array = np.ndarray[Any, np.dtype[Any]]


class Population:
    """IF or CubaLIF with subtracting reset; one call is one step on ``drive[sample, *shape]``."""

    def __init__(self, node: Any, dt: float) -> None:
        cuba = isinstance(node, nir.CubaLIF)
        self.threshold = node.v_threshold.astype(np.float64)
        self.current_keep = 1 - dt / node.tau_syn if cuba else 0.0
        self.current_gain = node.w_in * dt / node.tau_syn if cuba else 1.0
        self.membrane_keep = 1 - dt / node.tau_mem if cuba else 1.0
        self.membrane_gain = node.r * dt / node.tau_mem if cuba else node.r * dt
        self.current: Any = 0.0
        self.membrane: Any = 0.0

    def __call__(self, drive: Array) -> Array:
        self.current = self.current_keep * self.current + self.current_gain * drive
        self.membrane = self.membrane_keep * self.membrane + self.membrane_gain * self.current
        spikes = (self.membrane > self.threshold).astype(np.float64)
        self.membrane = self.membrane - spikes * self.threshold
        return spikes


def load(name: str) -> tuple[Array, Array, float]:
    """``spikes[step, sample, ...]``, labels and dt of a data file, after checking its format."""
    with np.load(NETWORKS / name) as data:
        spikes, labels, dt, reset = (data[key] for key in ("spikes", "labels", "dt", "reset"))
    assert spikes.dtype == np.uint8
    assert spikes.max() == 1
    assert labels.dtype == np.int64
    assert labels.shape == spikes.shape[:1]
    assert reset.item() == "subtract"
    return np.moveaxis(spikes, 1, 0).astype(np.float64), labels, dt.item()


def convolve(image: Array, node: Any) -> Array:
    """Stride-1 cross-correlation of ``image[sample, channel, y, x]``."""
    weight = node.weight.astype(np.float64)
    (pad_y, pad_x), (kernel_y, kernel_x) = np.broadcast_to(node.padding, 2), weight.shape[2:]
    padded = np.pad(image, ((0, 0), (0, 0), (pad_y, pad_y), (pad_x, pad_x)))
    patches = np.lib.stride_tricks.sliding_window_view(padded, (kernel_y, kernel_x), axis=(2, 3))
    return np.einsum("bcyxij,ocij->boyx", patches, weight, optimize=True)


def sum_pool(image: Array) -> Array:
    """2x2 sums without overlap."""
    samples, channels, height, width = image.shape
    return image.reshape(samples, channels, height // 2, 2, width // 2, 2).sum(axis=(3, 5))


def run_digits(name: str) -> tuple[Array, Array]:
    """Output counts ``[sample, class]`` and labels."""
    nodes = nir.read(NETWORKS / "digits_conv_if.nir").nodes
    steps, labels, dt = load(name)
    first, second, last = (Population(nodes[key], dt) for key in ("if1", "if2", "if3"))
    counts = np.zeros((len(labels), 10))
    for step in steps:
        hidden = second(convolve(sum_pool(first(convolve(step, nodes["conv1"]))), nodes["conv2"]))
        counts += last(hidden.reshape(len(labels), -1) @ nodes["fc"].weight.T.astype(np.float64))
    return counts, labels


def run_vowels(name: str) -> tuple[Array, Array, Array]:
    """Output counts ``[sample, class]``, labels and mean spikes a step of each hidden neuron."""
    nodes = nir.read(NETWORKS / "vowels_cubalif.nir").nodes
    steps, labels, dt = load(name)
    hidden, output = (Population(nodes[key], dt) for key in ("lif1.lif", "lif2"))
    first, back, last = (nodes[key].weight.T.astype(np.float64) for key in ("fc1", "lif1.w_rec", "fc2"))
    counts = np.zeros((len(labels), last.shape[1]))
    rates = np.zeros(len(back))
    spikes = np.zeros((len(labels), len(back)))
    for step in steps:
        spikes = hidden(step @ first + spikes @ back)
        rates += spikes.mean(axis=0) / len(steps)
        counts += output(spikes @ last)
    return counts, labels, rates


def correct(counts: Array, labels: Array) -> int:
    """Samples whose largest count (the lowest index wins ties) is at the label."""
    return int(np.sum(counts.argmax(axis=1) == labels))


def test_digits_accuracy() -> None:
    counts, labels = run_digits("digits_test.npz")
    assert len(labels) == 450
    assert correct(counts, labels) == 445


def test_vowels_accuracy() -> None:
    counts, labels, rates = run_vowels("vowels_test.npz")
    assert len(labels) == 341
    assert abs(correct(counts, labels) - 328) <= 1  # the order of sums may move a spike
    assert rates.max() <= 0.2


def test_vowels_calibration_set_is_from_the_training_set() -> None:
    counts, labels, _ = run_vowels("vowels_calibration.npz")
    np.testing.assert_array_equal(np.bincount(labels), [20] * 8)
    assert correct(counts, labels) == 160
    test_steps, _, _ = load("vowels_test.npz")
    calibration_steps, _, _ = load("vowels_calibration.npz")
    seen = {sample.tobytes() for sample in np.moveaxis(calibration_steps, 0, 1)}
    assert not any(sample.tobytes() in seen for sample in np.moveaxis(test_steps, 0, 1))


def test_vowels_network_suits_xylo() -> None:
    nodes = nir.read(NETWORKS / "vowels_cubalif.nir").nodes
    assert nodes["fc1"].weight.shape[1] <= 16
    assert np.count_nonzero(nodes["lif1.w_rec"].weight, axis=0).max() <= 63
    assert nodes["fc2"].weight.shape[0] <= 8


def test_networks_have_no_biases() -> None:
    digits = nir.read(NETWORKS / "digits_conv_if.nir").nodes
    assert not digits["conv1"].bias.any()
    assert not digits["conv2"].bias.any()
    vowels = nir.read(NETWORKS / "vowels_cubalif.nir").nodes
    assert not any(isinstance(node, nir.Affine) for node in [*digits.values(), *vowels.values()])


def test_committed_files_are_small() -> None:
    sizes = [path.stat().st_size for path in NETWORKS.iterdir()]
    assert max(sizes) < MEGABYTE
    assert sum(sizes) < 2 * MEGABYTE
