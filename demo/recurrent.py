"""A recurrent network of two CubaLIF populations, with its NIR graph in snnTorch's flat form of recurrence."""

from pathlib import Path

import nir
import numpy as np
import torch
from catalogue import DemoNetwork
from layers import Linear
from learning import write_network
from neurons import CubaLIF
from torch import Tensor, nn


class RecurrentNetwork(nn.Module):
    """Linear, recurrent CubaLIF, linear, CubaLIF: no biases. Recurrent spikes act one step later.

    ``tau_syn`` and ``tau_mem``: seconds, where learning starts; weights start as torch draws them.
    """

    def __init__(self, entry: DemoNetwork, inputs: int, hidden: int, classes: int, tau_syn: float, tau_mem: float) -> None:
        super().__init__()
        self.fc1 = Linear(inputs, hidden, bias=False)
        self.lif1 = CubaLIF((hidden,), entry.reset, entry.dt, tau_syn, tau_mem)
        self.w_rec = Linear(hidden, hidden, bias=False)
        self.fc2 = Linear(hidden, classes, bias=False)
        self.lif2 = CubaLIF((classes,), entry.reset, entry.dt, tau_syn, tau_mem)

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
