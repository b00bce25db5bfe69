"""SpikingJelly 2.0: IF, LIF with and without decaying input, CUBALIF, convolution with average pooling, a skip connection."""

from __future__ import annotations

import numpy as np
import torch
from recording import Recorder, spikes, weights
from spikingjelly.activation_based import functional, layer, neuron
from spikingjelly.activation_based.nir_exchange.to_nir import export_to_nir
from torch import nn


def linear(post: int, pre: int, seed: int = 0, gain: float = 1.0) -> layer.Linear:
    made = layer.Linear(pre, post)
    made.weight.data = torch.tensor(weights(post, pre, seed=seed, gain=gain))
    made.bias.data = torch.tensor(np.random.default_rng(seed).normal(0, 0.02, post).astype(np.float32))
    return made


class Skip(nn.Module):
    """Two layers, the second of which also sees the spikes of the first directly."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = linear(20, 12, gain=2.0), linear(20, 20, 1)
        self.l1, self.l2 = neuron.LIFNode(tau=2.0, v_reset=0.0), neuron.LIFNode(tau=2.0, v_reset=0.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = self.l1(self.a(x))
        return self.l2(self.b(first) + first)


def record(to: Recorder, case: str, net: nn.Module, given: np.ndarray) -> None:
    try:
        functional.set_step_mode(net, "s")
        functional.reset_net(net)
        with torch.no_grad():
            output = np.stack([net(torch.tensor(row)[None])[0].numpy() for row in given])
        functional.reset_net(net)
        graph = export_to_nir(net, torch.tensor(given[0])[None])
    except Exception as reason:
        to.refused(case, reason)
        return
    to.save(case, graph, given, output)


def main() -> None:
    to = Recorder("spikingjelly", "nirtorch")
    given = spikes(12)
    record(
        to, "if", nn.Sequential(linear(20, 12), neuron.IFNode(v_reset=0.0), linear(5, 20, 1), neuron.IFNode(v_reset=0.0)), given
    )
    record(
        to,
        "lif",
        nn.Sequential(
            linear(20, 12, gain=3.0), neuron.LIFNode(tau=4.0, v_reset=0.0),
            linear(5, 20, 1), neuron.LIFNode(tau=2.0, decay_input=False, v_reset=-0.1, v_threshold=0.8),
        ),
        given,
    )  # fmt: skip
    record(to, "lif_soft", nn.Sequential(linear(20, 12), neuron.LIFNode(tau=4.0, v_reset=None)), given)
    cuba = nn.Sequential(linear(20, 12, gain=0.4), neuron.CUBALIFNode(c_decay=0.7, v_decay=0.9, v_reset=0.0))
    record(to, "cuba", cuba, given)
    conv = layer.Conv2d(2, 4, 3, padding=1, bias=False)
    conv.weight.data = torch.tensor(weights(4, 2, 3, 3))
    record(
        to,
        "conv_avgpool",
        nn.Sequential(
            conv,
            neuron.IFNode(v_reset=0.0),
            layer.AvgPool2d(2),
            layer.Flatten(),
            linear(5, 64, 1, 3.0),
            neuron.IFNode(v_reset=0.0),
        ),
        spikes(2, 8, 8),
    )
    record(to, "skip", Skip(), given)


main()
