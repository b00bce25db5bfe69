"""Train a recurrent CubaLIF network on JapaneseVowels (who speaks?) and write it with its test and calibration sets.

Run: ``python demo/train_vowels.py``. Needs torch, nir and the data files of the aeon package; takes a minute or two
on one core.
"""

from catalogue import VOWELS
from data import VOWEL_SPEAKERS, vowels
from learning import decision_loss, neuron_rate_cost, report, set_seed, train, write
from neurons import round_taus
from recurrent import RecurrentNetwork
from torch import Tensor, nn

EPOCHS = 60
HIDDEN = 56  # all to all: Xylo Audio 2 safely takes 63 targets a neuron
CALIBRATION_PER_CLASS = 20
TAU_SYN = 5e-3  # seconds, where learning starts
TAU_MEM = 20e-3
OUTPUT_GAIN = 0.2  # loss logits per output spike
QUIETEST_RATE, BUSIEST_RATE = 0.01, 0.1  # spikes a step, mean over a batch
RATE_COST = 10.0


def initial(inputs: int) -> RecurrentNetwork:
    """The network with small random weights."""
    network = RecurrentNetwork(VOWELS, inputs, HIDDEN, VOWEL_SPEAKERS, TAU_SYN, TAU_MEM)
    nn.init.normal_(network.fc1.weight, std=0.3 / inputs**0.5)
    nn.init.normal_(network.w_rec.weight, std=0.2 / HIDDEN**0.5)
    nn.init.normal_(network.fc2.weight, std=0.5 / HIDDEN**0.5)
    return network


def main() -> None:
    """Train, round, report, write."""
    set_seed()
    train_split, test_split = vowels()
    network = initial(train_split.spikes.shape[2])

    def loss(spikes: Tensor, labels: Tensor) -> Tensor:
        """Cross entropy of the output counts, plus a cost on hidden neurons outside the wanted range of rates."""
        hidden, output = network(spikes)
        cost = neuron_rate_cost(hidden, QUIETEST_RATE, BUSIEST_RATE)
        return decision_loss(output, labels, OUTPUT_GAIN) + RATE_COST * cost

    train(network, train_split, loss, EPOCHS, batch=24, rate=4e-3, weight_decay=1e-3)
    round_taus(network)
    report(network, train=train_split, test=test_split)
    write(VOWELS, network, test_split, train_split.first_of_each_class(CALIBRATION_PER_CLASS))


if __name__ == "__main__":
    main()
