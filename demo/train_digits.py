"""Train a convolutional IF network on scikit-learn's digits and write it with its test and calibration sets.

Run: ``python demo/train_digits.py``. Needs torch, nir and scikit-learn; takes a minute or two on one core.
"""

from functools import partial

import torch
from catalogue import DIGITS
from convolution import build, loss
from data import DIGIT_CALIBRATION, SPLIT_SEED, digits
from learning import report, set_seed, train, write
from neurons import IF

EPOCHS = 60
WEIGHT_STEP = 2.0**-10  # membranes are sums of few weights: exact in float32, in any order


def main() -> None:
    """Train, round, report, write."""
    set_seed()
    train_split, test_split = digits()
    network = build("if", lambda shape: IF(shape, DIGITS.reset))
    train(network, train_split, partial(loss, network), EPOCHS, batch=64, rate=3e-3, weight_decay=1e-3)
    network.double()
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_((weight / WEIGHT_STEP).round() * WEIGHT_STEP)
    report(network, train=train_split, test=test_split)
    _, calibration = train_split.split_off(DIGIT_CALIBRATION, SPLIT_SEED)
    write(DIGITS, network, test_split, calibration)


if __name__ == "__main__":
    main()
