"""Train a convolutional IF network on scikit-learn's digits and write it with its test set.

Run: ``python demo/train_digits.py``. Needs torch, nir and scikit-learn; takes a minute or two on one core.
"""

from collections.abc import Callable
from itertools import pairwise

import nir
import numpy as np
import torch
from data import digits
from learning import NETWORKS, accuracy, set_seed, spike, train, write_network
from torch import Tensor, nn
from torch.nn import functional

SEED = 0
EPOCHS = 60
THRESHOLD = 1.0
CHANNELS = (8, 16)
WEIGHT_STEP = 2.0**-10  # membranes are sums of few weights: exact in float32, in any order
OUTPUT_GAIN = 0.5  # loss logits per output spike
WANTED_RATE = 0.15
RATE_COST = 1.0


class DigitNetwork(nn.Module):
    """Conv 3x3, IF, sum pool 2x2, conv 3x3, IF, linear, IF: no biases, soft reset."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, CHANNELS[0], 3, padding=1, bias=False)
        self.second = nn.Conv2d(CHANNELS[0], CHANNELS[1], 3, padding=1, bias=False)
        self.readout = nn.Linear(CHANNELS[1] * 4 * 4, 10, bias=False)
        with torch.no_grad():
            self.second.weight.mul_(0.5)

    def forward(self, spikes: Tensor) -> list[Tensor]:
        """Spike rasters ``[step, sample, ...]`` of the three populations for input ``[sample, step, 1, 8, 8]``.

        A chain without cycles answers in the same step, so each layer runs over all steps at once.
        """
        first = integrate(over_steps(self.first, spikes.transpose(0, 1)))
        pooled = over_steps(lambda image: 4 * functional.avg_pool2d(image, 2), first)
        second = integrate(over_steps(self.second, pooled))
        return [first, second, integrate(self.readout(second.flatten(2)))]

    def loss(self, spikes: Tensor, labels: Tensor) -> Tensor:
        """Cross entropy of the output counts, plus a cost on mean rates above the wanted one."""
        *hidden, output = self(spikes)
        cost = sum(functional.relu(raster.mean() - WANTED_RATE) for raster in hidden)
        return functional.cross_entropy(OUTPUT_GAIN * output.sum(0), labels) + RATE_COST * cost


def over_steps(layer: Callable[[Tensor], Tensor], signal: Tensor) -> Tensor:
    """Apply an image layer to every step of ``signal[step, sample, ...]`` in one call."""
    return layer(signal.flatten(0, 1)).unflatten(0, signal.shape[:2])


def integrate(current: Tensor) -> Tensor:
    """IF with r = 1 and dt = 1: v += current, spike where v > threshold, then v -= threshold."""
    membrane = torch.zeros_like(current[0])
    raster = []
    for step in current:
        membrane = membrane + step
        fired = spike(membrane - THRESHOLD)
        membrane = membrane - THRESHOLD * fired
        raster.append(fired)
    return torch.stack(raster)


def if_node(*shape: int) -> nir.IF:
    """IF population that counts in steps."""
    ones = np.ones(shape, dtype=np.float32)
    return nir.IF(r=ones, v_threshold=THRESHOLD * ones, v_reset=0 * ones)


def conv_node(layer: nn.Conv2d, side: int) -> nir.Conv2d:
    """The convolution on square images of the given side."""
    return nir.Conv2d(
        input_shape=(side, side),
        weight=layer.weight.detach().float().numpy(),
        stride=1,
        padding=1,
        dilation=1,
        groups=1,
        bias=np.zeros(layer.out_channels, dtype=np.float32),
    )


def export(network: DigitNetwork) -> None:
    """Write the network as a chain of NIR nodes."""
    first, second = CHANNELS
    nodes = {
        "input": nir.Input(input_type={"input": np.array([1, 8, 8])}),
        "conv1": conv_node(network.first, 8),
        "if1": if_node(first, 8, 8),
        "pool1": nir.SumPool2d(kernel_size=np.array([2, 2]), stride=np.array([2, 2]), padding=np.array([0, 0])),
        "conv2": conv_node(network.second, 4),
        "if2": if_node(second, 4, 4),
        "flatten": nir.Flatten(input_type={"input": np.array([second, 4, 4])}, start_dim=0, end_dim=-1),
        "fc": nir.Linear(weight=network.readout.weight.detach().float().numpy()),
        "if3": if_node(10),
        "output": nir.Output(output_type={"output": np.array([10])}),
    }
    names = list(nodes)
    write_network(NETWORKS / "digits_conv_if.nir", nodes, list(pairwise(names)))


def main() -> None:
    """Train, round, report, write."""
    set_seed(SEED)
    train_split, test_split = digits()
    network = DigitNetwork()
    train(network, train_split, network.loss, EPOCHS, batch=64, rate=3e-3, weight_decay=1e-3)
    with torch.no_grad():
        network.double()
        for weight in network.parameters():
            weight.copy_((weight / WEIGHT_STEP).round() * WEIGHT_STEP)
        for name, split in (("train", train_split), ("test", test_split)):
            rasters = network(torch.from_numpy(split.spikes).double())
            rates = ", ".join(f"{float(raster.mean()):.3f}" for raster in rasters)
            share = accuracy(rasters[-1].sum(0), split.labels)
            print(f"{name}: {100 * share:.2f} % of {len(split.labels)}, spikes a step: {rates}")
    export(network)
    test_split.save(NETWORKS / "digits_test.npz", dt=1.0, reset="subtract")


if __name__ == "__main__":
    main()
