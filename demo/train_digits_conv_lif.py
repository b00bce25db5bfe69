"""Train a convolutional network of LIF neurons with hard reset on scikit-learn's digits and write it with its sets.

Run: ``python demo/train_digits_conv_lif.py``. Needs torch, nir and scikit-learn; takes a few minutes on one core.
"""

from functools import partial

from catalogue import DIGITS_CONV_LIF
from convolution import build, loss
from data import lif_digits
from learning import report, set_seed, train, write
from neurons import LIF, round_taus

EPOCHS = 40
TAU_MEM = 10e-3  # seconds, where learning starts


def main() -> None:
    """Train, round, report, write."""
    set_seed()
    train_split, calibration, test_split = lif_digits()
    network = build("lif", lambda shape: LIF(shape, DIGITS_CONV_LIF.reset, DIGITS_CONV_LIF.dt, TAU_MEM))
    train(network, train_split, partial(loss, network), EPOCHS, batch=64, rate=3e-3, weight_decay=1e-3)
    round_taus(network)
    report(network, train=train_split, calibration=calibration, test=test_split)
    write(DIGITS_CONV_LIF, network, test_split, calibration)


if __name__ == "__main__":
    main()
