"""Train a recurrent CubaLIF network on JapaneseVowels (who speaks?) and write it with its test and calibration sets.

Run: ``python demo/train_vowels.py``. Needs torch, nir and the data files of the aeon package; takes a minute or two
on one core.
"""

from pathlib import Path

import nir
import numpy as np
import torch
from catalogue import VOWELS
from data import VOWEL_SPEAKERS, vowels
from layers import Linear
from learning import decision_loss, neuron_rate_cost, report, set_seed, train, write, write_network
from neurons import CubaLIF, round_taus
from torch import Tensor, nn

EPOCHS = 60
HIDDEN = 56  # all to all: Xylo Audio 2 safely takes 63 targets a neuron
CALIBRATION_PER_CLASS = 20
TAU_SYN = 5e-3  # seconds, where learning starts
TAU_MEM = 20e-3
OUTPUT_GAIN = 0.2  # loss logits per output spike
QUIETEST_RATE, BUSIEST_RATE = 0.01, 0.1  # spikes a step, mean over a batch
RATE_COST = 10.0


class RecurrentNetwork(nn.Module):
    """Linear, recurrent CubaLIF, linear, CubaLIF: no biases. Recurrent spikes act one step later."""

    def __init__(self, inputs: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.fc1 = Linear(inputs, hidden, bias=False)
        self.lif1 = CubaLIF((hidden,), VOWELS.reset, VOWELS.dt, TAU_SYN, TAU_MEM)
        self.w_rec = Linear(hidden, hidden, bias=False)
        self.fc2 = Linear(hidden, classes, bias=False)
        self.lif2 = CubaLIF((classes,), VOWELS.reset, VOWELS.dt, TAU_SYN, TAU_MEM)
        nn.init.normal_(self.fc1.weight, std=0.3 / inputs**0.5)
        nn.init.normal_(self.w_rec.weight, std=0.2 / hidden**0.5)
        nn.init.normal_(self.fc2.weight, std=0.5 / hidden**0.5)

    def forward(self, spikes: Tensor) -> tuple[Tensor, Tensor]:
        """Rasters ``[step, sample, neuron]`` of hidden and output neurons for ``spikes[sample, step, channel]``."""
        drive = self.fc1(spikes.transpose(0, 1))
        hidden_state, output_state = self.lif1.rest(spikes), self.lif2.rest(spikes)
        fired = torch.zeros_like(hidden_state.membrane)
        hidden, output = [], []
        for step in drive:
            fired = self.lif1.step(step + self.w_rec(fired), hidden_state)
            hidden.append(fired)
            output.append(self.lif2.step(self.fc2(fired), output_state))
        return torch.stack(hidden), torch.stack(output)

    def loss(self, spikes: Tensor, labels: Tensor) -> Tensor:
        """Cross entropy of the output counts, plus a cost on hidden neurons outside the wanted range of rates."""
        hidden, output = self(spikes)
        cost = neuron_rate_cost(hidden, QUIETEST_RATE, BUSIEST_RATE)
        return decision_loss(output, labels, OUTPUT_GAIN) + RATE_COST * cost

    def export(self, path: Path) -> None:
        """Write the network in snnTorch's flat form of recurrence."""
        nodes = {
            "input": nir.Input(input_type={"input": np.array([self.fc1.in_features])}),
            "fc1": self.fc1.node(),
            "lif1.lif": self.lif1.node(),
            "lif1.w_rec": self.w_rec.node(),
            "fc2": self.fc2.node(),
            "lif2": self.lif2.node(),
            "output": nir.Output(output_type={"output": np.array(self.lif2.shape)}),
        }
        edges = [
            ("input", "fc1"),
            ("fc1", "lif1.lif"),
            ("lif1.lif", "lif1.w_rec"),
            ("lif1.w_rec", "lif1.lif"),
            ("lif1.lif", "fc2"),
            ("fc2", "lif2"),
            ("lif2", "output"),
        ]
        write_network(path, nodes, edges)


def main() -> None:
    """Train, round, report, write."""
    set_seed()
    train_split, test_split = vowels()
    network = RecurrentNetwork(train_split.spikes.shape[2], HIDDEN, VOWEL_SPEAKERS)
    train(network, train_split, network.loss, EPOCHS, batch=24, rate=4e-3, weight_decay=1e-3)
    round_taus(network)
    report(network, train=train_split, test=test_split)
    write(VOWELS, network, test_split, train_split.first_of_each_class(CALIBRATION_PER_CLASS))


if __name__ == "__main__":
    main()
