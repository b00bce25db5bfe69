"""Train a convolutional IF network on scikit-learn's digits and write it with its test and calibration sets.

Run: ``python demo/train_digits.py``. Needs torch, nir and scikit-learn; takes a minute or two on one core.
"""

import torch
from data import DIGIT_CALIBRATION, SPLIT_SEED, digits
from layers import Chain, Convolution, Flatten, Linear, SumPool
from learning import NETWORKS, busy_layer_cost, decision_loss, report, set_seed, train
from neurons import IF
from torch import Tensor

EPOCHS = 60
STEPS = 16  # one for each level of a pixel
CHANNELS = (8, 16)
WEIGHT_STEP = 2.0**-10  # membranes are sums of few weights: exact in float32, in any order
OUTPUT_GAIN = 0.5  # loss logits per output spike
WANTED_RATE = 0.15
RATE_COST = 1.0


def build() -> Chain:
    """Conv 3x3, IF, sum pool 2x2, conv 3x3, IF, linear, IF: no biases, soft reset."""
    first, second = CHANNELS
    members = {
        "conv1": Convolution(1, first, side=8),
        "if1": IF((first, 8, 8), "subtract"),
        "pool1": SumPool(),
        "conv2": Convolution(first, second, side=4),
        "if2": IF((second, 4, 4), "subtract"),
        "flatten": Flatten((second, 4, 4)),
        "fc": Linear(second * 4 * 4, 10, bias=False),
        "if3": IF((10,), "subtract"),
    }
    with torch.no_grad():
        members["conv2"].weight.mul_(0.5)
    return Chain((1, 8, 8), members)


def main() -> None:
    """Train, round, report, write."""
    set_seed()
    train_split, test_split = digits(STEPS)
    network = build()

    def loss(spikes: Tensor, labels: Tensor) -> Tensor:
        *hidden, output = network(spikes)
        cost = sum(busy_layer_cost(raster, WANTED_RATE) for raster in hidden)
        return decision_loss(output, labels, OUTPUT_GAIN) + RATE_COST * cost

    train(network, train_split, loss, EPOCHS, batch=64, rate=3e-3, weight_decay=1e-3)
    network.double()
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_((weight / WEIGHT_STEP).round() * WEIGHT_STEP)
    report(network, train=train_split, test=test_split)
    network.export(NETWORKS / "digits_conv_if.nir")
    test_split.save(NETWORKS / "digits_test.npz", dt=1.0, reset="subtract")
    _, calibration = train_split.split_off(DIGIT_CALIBRATION, SPLIT_SEED)
    calibration.save(NETWORKS / "digits_calibration.npz", dt=1.0, reset="subtract")


if __name__ == "__main__":
    main()
