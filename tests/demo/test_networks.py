"""The committed demo networks keep the accuracies that demo/README.md states.

The simulation here is plain numpy in float64, reads the files through the nir package and knows nothing of nirhw, whose
reference is compared with it.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from catalogue import ALL, DIGITS, DIGITS_CONV_LIF, DIGITS_MLP, NETWORKS, POWER, VOWELS, VOWELS_PLAIN, DemoNetwork

from nirhw.nir_reader import Semantics, read_network
from nirhw.reference import run_reference

nir = pytest.importorskip("nir")

RECURRENT = (VOWELS, VOWELS_PLAIN)
COMPARED = 40  # samples run by nirhw, too
MEGABYTE = 1_000_000
Array = np.ndarray[Any, np.dtype[Any]]


class Population:
    """IF, LIF or CubaLIF without leak voltage; one call is one step on ``drive[sample, *shape]``."""

    def __init__(self, node: Any, dt: float, reset: str) -> None:
        assert not np.any(getattr(node, "v_leak", 0))
        cuba = isinstance(node, nir.CubaLIF)
        tau_mem = getattr(node, "tau_mem", getattr(node, "tau", np.inf))
        self.threshold = node.v_threshold.astype(np.float64)
        self.current_keep = 1 - dt / node.tau_syn if cuba else 0.0
        self.current_gain = node.w_in * dt / node.tau_syn if cuba else 1.0
        self.membrane_keep = 1 - dt / tau_mem
        self.membrane_gain = node.r * dt / (1.0 if isinstance(node, nir.IF) else tau_mem)
        self.reset = reset
        self.current: Any = 0.0
        self.membrane: Any = 0.0
        self.spikes_by_sample: Any = 0.0

    def __call__(self, drive: Array) -> Array:
        self.current = self.current_keep * self.current + self.current_gain * drive
        self.membrane = self.membrane_keep * self.membrane + self.membrane_gain * self.current
        spikes = (self.membrane > self.threshold).astype(np.float64)
        self.membrane = self.membrane - spikes * (self.threshold if self.reset == "subtract" else self.membrane)
        self.spikes_by_sample = self.spikes_by_sample + spikes
        return spikes


def load(path: Path, network: DemoNetwork) -> tuple[Array, Array]:
    """``spikes[step, sample, ...]`` and labels of a data file, after checking its format."""
    with np.load(path) as data:
        spikes, labels, dt, reset = (data[key] for key in ("spikes", "labels", "dt", "reset"))
    assert spikes.dtype == np.uint8
    assert spikes.max() == 1
    assert labels.dtype == np.int64
    assert labels.shape == spikes.shape[:1]
    assert (dt.item(), reset.item()) == (network.dt, network.reset)
    return np.moveaxis(spikes, 1, 0).astype(np.float64), labels


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


def populations_of(network: DemoNetwork) -> tuple[dict[str, Any], dict[str, Population]]:
    """All nodes, and the populations among them, in the order of the file."""
    nodes = nir.read(network.graph).nodes
    spiking = {name: node for name, node in nodes.items() if isinstance(node, nir.IF | nir.LIF | nir.CubaLIF)}
    return nodes, {name: Population(node, network.dt, network.reset) for name, node in spiking.items()}


def in_order(network: DemoNetwork) -> list[str]:
    """Names of the nodes between input and output of a chain."""
    following = dict(nir.read(network.graph).edges)
    name, found = following["input"], []
    while name != "output":
        found.append(name)
        name = following[name]
    return found


def run_chain(network: DemoNetwork, steps: Array) -> dict[str, Array]:
    """Spikes by sample and neuron ``[sample, *shape]`` of every population, the last one's are the output's."""
    nodes, populations = populations_of(network)
    order = in_order(network)
    for signal in steps:
        for name in order:
            node = nodes[name]
            if name in populations:
                signal = populations[name](signal)
            elif isinstance(node, nir.Conv2d):
                signal = convolve(signal, node)
            elif isinstance(node, nir.SumPool2d):
                signal = sum_pool(signal)
            elif isinstance(node, nir.Flatten):
                signal = signal.reshape(len(signal), -1)
            else:
                signal = signal @ node.weight.T.astype(np.float64) + getattr(node, "bias", 0.0)
    return {name: populations[name].spikes_by_sample for name in order if name in populations}


def run_recurrent(network: DemoNetwork, steps: Array) -> dict[str, Array]:
    """The same of a recurrent network."""
    nodes, populations = populations_of(network)
    first, back, last = (nodes[key].weight.T.astype(np.float64) for key in ("fc1", "lif1.w_rec", "fc2"))
    hidden, output = (populations[key] for key in ("lif1.lif", "lif2"))
    spikes = np.zeros((steps.shape[1], len(back)))
    for step in steps:
        spikes = hidden(step @ first + spikes @ back)
        output(spikes @ last)
    return {"lif1.lif": hidden.spikes_by_sample, "lif2": output.spikes_by_sample}


def run(network: DemoNetwork, path: Path) -> tuple[list[Array], Array]:
    """Spikes by sample and neuron of each population in order, and labels."""
    steps, labels = load(path, network)
    found = run_recurrent(network, steps) if network in RECURRENT else run_chain(network, steps)
    return list(found.values()), labels


def correct(counts: Array, labels: Array) -> int:
    """Samples whose largest count (the lowest index wins ties) is at the label."""
    return int(np.sum(counts.argmax(axis=1) == labels))


@pytest.mark.parametrize(
    ("network", "samples", "right"),
    [
        (VOWELS, 341, 328),
        (VOWELS_PLAIN, 341, 327),
        (POWER, 636, 612),
        (DIGITS_MLP, 450, 438),
        (DIGITS, 450, 445),
        (DIGITS_CONV_LIF, 450, 441),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_accuracy_and_rates(network: DemoNetwork, samples: int, right: int) -> None:
    counts, labels = run(network, network.test)
    steps = load(network.test, network)[0].shape[0]
    assert len(labels) == samples
    assert abs(correct(counts[-1], labels) - right) <= (network is not DIGITS)  # the order of sums may move a spike
    for hidden in counts[:-1]:
        by_layer = hidden.mean() / steps
        assert 0.02 <= by_layer <= 0.2


@pytest.mark.parametrize("network", ALL, ids=lambda network: network.name)
def test_the_reference_of_nirhw_gives_the_same_output_spikes(network: DemoNetwork) -> None:
    counts, _ = run(network, network.test)
    with np.load(network.test) as data:
        spikes = data["spikes"][:COMPARED]
    reference = run_reference(read_network(network.graph, Semantics(network.dt, network.reset)).network, spikes)
    np.testing.assert_array_equal(reference.spikes.sum(axis=1), counts[-1][:COMPARED])


@pytest.mark.parametrize("network", ALL, ids=lambda network: network.name)
def test_calibration_samples_are_no_test_samples(network: DemoNetwork) -> None:
    test, _ = load(network.test, network)
    calibration, labels = load(network.calibration, network)
    classes = np.bincount(labels)
    assert len(labels) >= 150
    assert classes.min() >= 0.9 * classes.mean()
    seen = {sample.tobytes() for sample in np.moveaxis(calibration, 0, 1)}
    assert not any(sample.tobytes() in seen for sample in np.moveaxis(test, 0, 1))


@pytest.mark.parametrize("network", RECURRENT, ids=lambda network: network.name)
def test_the_vowels_calibration_set_is_from_the_training_set(network: DemoNetwork) -> None:
    counts, labels = run(network, network.calibration)
    assert network.calibration_seen
    np.testing.assert_array_equal(np.bincount(labels), [20] * 8)
    assert correct(counts[-1], labels) == 160


@pytest.mark.parametrize("network", [*RECURRENT, POWER], ids=lambda network: network.name)
def test_time_series_networks_suit_xylo(network: DemoNetwork) -> None:
    nodes = nir.read(network.graph).nodes
    weights = [node.weight for node in nodes.values() if isinstance(node, nir.Linear)]
    assert nodes["fc1"].weight.shape[1] <= 16
    assert max(np.count_nonzero(weight, axis=0).max() for weight in weights if weight is not nodes["fc1"].weight) <= 63
    assert nodes["output"].output_type["output"][0] <= 8


def test_only_the_perceptron_has_biases() -> None:
    for network in ALL:
        nodes = nir.read(network.graph).nodes.values()
        biased = [node for node in nodes if np.any(getattr(node, "bias", 0))]
        assert len(biased) == (3 if network is DIGITS_MLP else 0)


def test_committed_files_are_small() -> None:
    sizes = [path.stat().st_size for path in NETWORKS.iterdir()]
    assert len(sizes) == 6 + 2 * 4  # two pairs of networks share their sets
    assert max(sizes) < MEGABYTE
    assert sum(sizes) < 2 * MEGABYTE
