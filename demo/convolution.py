"""The convolutional network for digits that two training scripts share; only its neurons differ."""

from collections.abc import Callable

import torch
from layers import Chain, Convolution, Flatten, Linear, SumPool
from learning import busy_layer_cost, decision_loss
from neurons import Population
from torch import Tensor, nn

CHANNELS = (8, 16)
OUTPUT_GAIN = 0.5  # loss logits per output spike
WANTED_RATE = 0.15
RATE_COST = 1.0


def build(kind: str, population: Callable[[tuple[int, ...]], Population]) -> Chain:
    """Conv 3x3, neurons, sum pool 2x2, conv 3x3, neurons, linear, neurons, no biases; ``kind`` names the neurons' nodes."""
    first, second = CHANNELS
    members: dict[str, nn.Module] = {
        "conv1": Convolution(1, first, side=8),
        f"{kind}1": population((first, 8, 8)),
        "pool1": SumPool(),
        "conv2": Convolution(first, second, side=4),
        f"{kind}2": population((second, 4, 4)),
        "flatten": Flatten((second, 4, 4)),
        "fc": Linear(second * 4 * 4, 10, bias=False),
        f"{kind}3": population((10,)),
    }
    with torch.no_grad():
        members["conv2"].weight.mul_(0.5)
    return Chain((1, 8, 8), members)


def loss(network: Chain, spikes: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of the output counts, plus a cost on mean rates above the wanted one."""
    *hidden, output = network(spikes)
    cost = sum(busy_layer_cost(raster, WANTED_RATE) for raster in hidden)
    return decision_loss(output, labels, OUTPUT_GAIN) + RATE_COST * cost
