"""Train a CubaLIF network of two hidden layers on ItalyPowerDemand (cold or warm half of the year?) and write it with its sets.

Run: ``python demo/train_power.py``. Needs torch, nir, scikit-learn and the data files of the aeon package; takes a minute or
two on one core.
"""

from itertools import pairwise

import torch
from catalogue import POWER
from data import power
from layers import Chain, Linear
from learning import decision_loss, neuron_rate_cost, report, set_seed, train, write
from neurons import CubaLIF, round_taus
from torch import Tensor, nn

EPOCHS = 40
HIDDEN = (48, 32)  # Xylo Audio 2 safely takes 63 targets a neuron
CLASSES = 2
TAU_SYN = 5e-3  # seconds, where learning starts
TAU_MEM = 20e-3
OUTPUT_GAIN = 0.2  # loss logits per output spike
QUIETEST_RATE, BUSIEST_RATE = 0.01, 0.1  # spikes a step, mean over a batch
RATE_COST = 10.0
DROPPED = 0.2  # share of input spikes left out in training


def build(channels: int) -> Chain:
    """Three times linear and CubaLIF: no biases, soft reset."""
    sizes = (channels, *HIDDEN, CLASSES)
    members: dict[str, nn.Module] = {}
    for number, (inputs, outputs) in enumerate(pairwise(sizes), start=1):
        layer = Linear(inputs, outputs, bias=False)
        nn.init.normal_(layer.weight, std=0.5 / inputs**0.5)
        members[f"fc{number}"] = layer
        members[f"lif{number}"] = CubaLIF((outputs,), POWER.reset, POWER.dt, TAU_SYN, TAU_MEM)
    return Chain((channels,), members)


def main() -> None:
    """Train, round, report, write."""
    set_seed()
    train_split, calibration, test_split = power()
    network = build(train_split.spikes.shape[2])

    def loss(spikes: Tensor, labels: Tensor) -> Tensor:
        *hidden, output = network(spikes * (torch.rand_like(spikes) > DROPPED))
        cost = sum(neuron_rate_cost(raster, QUIETEST_RATE, BUSIEST_RATE) for raster in hidden)
        return decision_loss(output, labels, OUTPUT_GAIN) + RATE_COST * cost

    train(network, train_split, loss, EPOCHS, batch=30, rate=4e-3, weight_decay=1e-3)
    round_taus(network)
    report(network, train=train_split, calibration=calibration, test=test_split)
    write(POWER, network, test_split, calibration)


if __name__ == "__main__":
    main()
