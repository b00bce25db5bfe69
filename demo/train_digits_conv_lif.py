"""Train a convolutional network of LIF neurons with hard reset on scikit-learn's digits and write it with its sets.

Run: ``python demo/train_digits_conv_lif.py``. Needs torch, nir and scikit-learn; takes a few minutes on one core.
"""

from functools import partial

from convolution import build, loss
from data import LIF_DIGIT_DT, lif_digits
from learning import NETWORKS, report, set_seed, train
from neurons import LIF, round_taus

EPOCHS = 40
RESET = "zero"
TAU_MEM = 10e-3  # seconds, where learning starts


def main() -> None:
    """Train, round, report, write."""
    set_seed()
    train_split, calibration, test_split = lif_digits()
    network = build("lif", lambda shape: LIF(shape, RESET, LIF_DIGIT_DT, TAU_MEM))
    train(network, train_split, partial(loss, network), EPOCHS, batch=64, rate=3e-3, weight_decay=1e-3)
    round_taus(network)
    report(network, train=train_split, calibration=calibration, test=test_split)
    network.export(NETWORKS / "digits_conv_lif.nir")
    test_split.save(NETWORKS / "digits_lif_test.npz", dt=LIF_DIGIT_DT, reset=RESET)
    calibration.save(NETWORKS / "digits_lif_calibration.npz", dt=LIF_DIGIT_DT, reset=RESET)


if __name__ == "__main__":
    main()
