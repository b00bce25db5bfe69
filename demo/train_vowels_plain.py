"""Train a recurrent CubaLIF network on JapaneseVowels with nothing that makes it easy for a chip: a hard case.

Run: ``python demo/train_vowels_plain.py``. Needs torch, nir and the data files of the aeon package; takes a minute or two
on one core. Beside ``train_vowels.py``: cross entropy of the output counts alone, no cost on firing rates, weights that start
as torch draws them and no weight decay, and shorter synapses. The sets of spikes are the same, and are written by that script.
"""

from catalogue import VOWELS_PLAIN
from data import VOWEL_SPEAKERS, vowels
from learning import decision_loss, report, set_seed, train
from neurons import round_taus
from recurrent import RecurrentNetwork
from torch import Tensor

EPOCHS = 60
HIDDEN = 56  # all to all: Xylo Audio 2 safely takes 63 targets a neuron
TAU_SYN = 2e-3  # seconds, where learning starts
TAU_MEM = 10e-3
OUTPUT_GAIN = 1.0  # loss logits per output spike


def main() -> None:
    """Train, round, report, write."""
    set_seed()
    train_split, test_split = vowels()
    network = RecurrentNetwork(VOWELS_PLAIN, train_split.spikes.shape[2], HIDDEN, VOWEL_SPEAKERS, TAU_SYN, TAU_MEM)

    def loss(spikes: Tensor, labels: Tensor) -> Tensor:
        """Cross entropy of the output counts."""
        return decision_loss(network(spikes)[1], labels, OUTPUT_GAIN)

    train(network, train_split, loss, EPOCHS, batch=24, rate=2e-3)
    round_taus(network)
    report(network, train=train_split, test=test_split)
    network.export(VOWELS_PLAIN.graph)


if __name__ == "__main__":
    main()
