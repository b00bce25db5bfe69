"""Train a recurrent CubaLIF network on JapaneseVowels (who speaks?) and write it with its test and calibration sets.

Run: ``python demo/train_vowels.py``. Needs torch, nir and the data files of the aeon package; takes a minute or two
on one core.
"""

from dataclasses import dataclass
from pathlib import Path

import nir
import numpy as np
import torch
from data import VOWEL_SPEAKERS, Split, vowels
from learning import NETWORKS, accuracy, set_seed, spike, train, write_network
from torch import Tensor, nn
from torch.nn import functional

SEED = 0
EPOCHS = 60
HIDDEN = 56  # all to all: Xylo Audio 2 safely takes 63 targets a neuron
CALIBRATION_PER_CLASS = 20
DT = 1e-3  # seconds
THRESHOLD = 1.0
TAU_SYN = 5e-3  # seconds, where learning starts
TAU_MEM = 20e-3
TAU_STEP = 1e-5  # learnt time constants are rounded to this
OUTPUT_GAIN = 0.2  # loss logits per output spike
QUIETEST_RATE, BUSIEST_RATE = 0.01, 0.1  # spikes a step, mean over a batch
RATE_COST = 10.0


@dataclass
class State:
    """Synaptic current and membrane of one population, ``[sample, neuron]``."""

    current: Tensor
    membrane: Tensor


class CubaLIF(nn.Module):
    """One population with two learnt time constants, shared by its neurons."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.log_tau_syn = nn.Parameter(torch.tensor(TAU_SYN / DT).log())
        self.log_tau_mem = nn.Parameter(torch.tensor(TAU_MEM / DT).log())

    def taus(self) -> tuple[Tensor, Tensor]:
        """Synaptic and membrane time constant in steps, at least 1.25."""
        return self.log_tau_syn.exp().clamp(min=1.25), self.log_tau_mem.exp().clamp(min=1.25)

    def round_taus(self) -> None:
        """Round both time constants to the grid of the file."""
        with torch.no_grad():
            for parameter, tau in zip((self.log_tau_syn, self.log_tau_mem), self.taus(), strict=True):
                parameter.copy_(((tau * DT / TAU_STEP).round() * TAU_STEP / DT).log())

    def rest(self, like: Tensor) -> State:
        """Zero state for a batch as large as ``like[sample, ...]``."""
        zeros = like.new_zeros(len(like), self.size)
        return State(zeros, zeros)

    def forward(self, drive: Tensor, state: State) -> Tensor:
        """One step with subtracting reset: updates ``state``, returns the spikes ``[sample, neuron]``.

        With w_in = tau_syn / dt and r = tau_mem / dt an Euler step is current = alpha current + drive,
        membrane = beta membrane + current (the new one), with alpha, beta = 1 - dt / tau.
        """
        tau_syn, tau_mem = self.taus()
        state.current = (1 - 1 / tau_syn) * state.current + drive
        membrane = (1 - 1 / tau_mem) * state.membrane + state.current
        fired = spike(membrane - THRESHOLD)
        state.membrane = membrane - THRESHOLD * fired
        return fired

    def node(self) -> nir.CubaLIF:
        """The population in NIR, in seconds, one entry a neuron."""
        tau_syn, tau_mem = (round(tau.item() * DT, 5) for tau in self.taus())
        ones = np.ones(self.size)
        return nir.CubaLIF(
            tau_syn=tau_syn * ones,
            tau_mem=tau_mem * ones,
            r=tau_mem / DT * ones,
            v_leak=0 * ones,
            v_threshold=THRESHOLD * ones,
            v_reset=0 * ones,
            w_in=tau_syn / DT * ones,
        )


class RecurrentNetwork(nn.Module):
    """Linear, recurrent CubaLIF, linear, CubaLIF: no biases. Recurrent spikes act one step later."""

    def __init__(self, inputs: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(inputs, hidden, bias=False)
        self.lif1 = CubaLIF(hidden)
        self.w_rec = nn.Linear(hidden, hidden, bias=False)
        self.fc2 = nn.Linear(hidden, classes, bias=False)
        self.lif2 = CubaLIF(classes)
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
            fired = self.lif1(step + self.w_rec(fired), hidden_state)
            hidden.append(fired)
            output.append(self.lif2(self.fc2(fired), output_state))
        return torch.stack(hidden), torch.stack(output)

    def loss(self, spikes: Tensor, labels: Tensor) -> Tensor:
        """Cross entropy of the output counts, plus a cost on hidden neurons outside the wanted range of rates."""
        hidden, output = self(spikes)
        rates = hidden.mean((0, 1))
        cost = functional.relu(rates - BUSIEST_RATE) + functional.relu(QUIETEST_RATE - rates)
        return functional.cross_entropy(OUTPUT_GAIN * output.sum(0), labels) + RATE_COST * cost.mean()

    def export(self, path: Path) -> None:
        """Write the network in snnTorch's flat form of recurrence."""

        def linear(layer: nn.Linear) -> nir.Linear:
            return nir.Linear(weight=layer.weight.detach().float().numpy())

        nodes = {
            "input": nir.Input(input_type={"input": np.array([self.fc1.in_features])}),
            "fc1": linear(self.fc1),
            "lif1.lif": self.lif1.node(),
            "lif1.w_rec": linear(self.w_rec),
            "fc2": linear(self.fc2),
            "lif2": self.lif2.node(),
            "output": nir.Output(output_type={"output": np.array([self.lif2.size])}),
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


def report(network: RecurrentNetwork, name: str, split: Split) -> None:
    """Print accuracy and mean rates on a split."""
    with torch.no_grad():
        hidden, output = network(torch.from_numpy(split.spikes).double())
    share = accuracy(output.sum(0), split.labels)
    print(
        f"{name}: {100 * share:.2f} % of {len(split.labels)}, "
        f"spikes a step: {float(hidden.mean()):.3f} hidden, {float(output.mean()):.3f} output"
    )


def main() -> None:
    """Train, round, report, write."""
    set_seed(SEED)
    train_split, test_split = vowels()
    network = RecurrentNetwork(train_split.spikes.shape[2], HIDDEN, VOWEL_SPEAKERS)
    train(network, train_split, network.loss, EPOCHS, batch=24, rate=4e-3, weight_decay=1e-3)
    network.double()
    network.lif1.round_taus()
    network.lif2.round_taus()
    report(network, "train", train_split)
    report(network, "test", test_split)
    network.export(NETWORKS / "vowels_cubalif.nir")
    test_split.save(NETWORKS / "vowels_test.npz", dt=DT, reset="subtract")
    train_split.first_of_each_class(CALIBRATION_PER_CLASS).save(NETWORKS / "vowels_calibration.npz", dt=DT, reset="subtract")


if __name__ == "__main__":
    main()
