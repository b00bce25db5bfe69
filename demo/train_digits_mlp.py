"""Train a multilayer perceptron of LIF neurons with hard reset on scikit-learn's digits and write it with its sets.

Run: ``python demo/train_digits_mlp.py``. Needs torch, nir and scikit-learn; takes a minute on one core.
"""

from itertools import pairwise

import torch
from catalogue import DIGITS_MLP
from data import lif_digits
from layers import Chain, Flatten, Linear
from learning import decision_loss, neuron_rate_cost, report, set_seed, train, write
from neurons import LIF, round_taus
from torch import Tensor, nn

EPOCHS = 60
SIZES = (64, 64, 48, 10)
TAU_MEM = 10e-3  # seconds, where learning starts
OUTPUT_GAIN = 0.5  # loss logits per output spike
QUIETEST_RATE, BUSIEST_RATE = 0.01, 0.15  # spikes a step, mean over a batch
RATE_COST = 10.0
DROPPED = 0.2  # share of input spikes left out in training


def build() -> Chain:
    """Flatten, then three times affine and LIF: biases, hard reset."""
    members: dict[str, nn.Module] = {"flatten": Flatten((1, 8, 8))}
    for number, (inputs, outputs) in enumerate(pairwise(SIZES), start=1):
        members[f"fc{number}"] = Linear(inputs, outputs)
        members[f"lif{number}"] = LIF((outputs,), DIGITS_MLP.reset, DIGITS_MLP.dt, TAU_MEM)
    return Chain((1, 8, 8), members)


def main() -> None:
    """Train, round, report, write."""
    set_seed()
    train_split, calibration, test_split = lif_digits()
    network = build()

    def loss(spikes: Tensor, labels: Tensor) -> Tensor:
        *hidden, output = network(spikes * (torch.rand_like(spikes) > DROPPED))
        cost = sum(neuron_rate_cost(raster, QUIETEST_RATE, BUSIEST_RATE) for raster in hidden)
        return decision_loss(output, labels, OUTPUT_GAIN) + RATE_COST * cost

    train(network, train_split, loss, EPOCHS, batch=64, rate=3e-3, weight_decay=1e-3)
    round_taus(network)
    report(network, train=train_split, calibration=calibration, test=test_split)
    write(DIGITS_MLP, network, test_split, calibration)


if __name__ == "__main__":
    main()
