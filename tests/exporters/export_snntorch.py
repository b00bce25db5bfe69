"""snnTorch 1.0: Leaky, Synaptic, RLeaky (all-to-all and one-to-one), convolution with average pooling.

Per-neuron vectors are used for beta and threshold: with scalars the exporter's type inference fails.
"""

from __future__ import annotations

import numpy as np
import snntorch as snn
import torch
from recording import Recorder, spikes, weights
from snntorch.export_nir import export_to_nir
from torch import nn


def linear(post: int, pre: int, seed: int = 0, gain: float = 1.0) -> nn.Linear:
    layer = nn.Linear(pre, post)
    layer.weight.data = torch.tensor(weights(post, pre, seed=seed, gain=gain))
    layer.bias.data = torch.tensor(np.random.default_rng(seed).normal(0, 0.02, post).astype(np.float32))
    return layer


def leaky(n: tuple[int, ...], beta: float, reset: str, **options) -> snn.Leaky:
    return snn.Leaky(beta=torch.full(n, beta), threshold=torch.ones(n), init_hidden=True, reset_mechanism=reset, **options)


def simulate(net: nn.Module, given: np.ndarray) -> np.ndarray:
    rows = []
    with torch.no_grad():
        for row in given:
            out = net(torch.tensor(row)[None])
            rows.append((out[0] if isinstance(out, tuple) else out)[0].numpy())
    return np.stack(rows)


def record(to: Recorder, case: str, net: nn.Module, given: np.ndarray) -> None:
    try:
        output = simulate(net, given)
        graph = export_to_nir(net, torch.tensor(given[0])[None], ignore_dims=[0])
    except Exception as reason:
        to.refused(case, reason)
        return
    to.save(case, graph, given, output)


def main() -> None:
    to = Recorder("snntorch", "nirtorch")
    given = spikes(12)
    # "now": the reset acts in the step of the spike, as NIR has it; snnTorch's default is one step late
    for reset, now, gain in (("zero", False, 1.0), ("subtract", False, 1.0), ("subtract", True, 0.3)):
        options = {"reset_delay": False} if now else {}
        net = nn.Sequential(
            linear(20, 12, gain=gain), leaky((20,), 0.9, reset, **options),
            linear(5, 20, 1), leaky((5,), 0.8, reset, **options),
        )  # fmt: skip
        record(to, f"leaky_{reset}" + ("_now" if now else ""), net, given)

    def synaptic(n: int, alpha: float, beta: float, delay: bool) -> snn.Synaptic:
        return snn.Synaptic(
            alpha=torch.full((n,), alpha), beta=torch.full((n,), beta), threshold=torch.ones(n), init_hidden=True,
            reset_mechanism="zero", reset_delay=delay,
        )  # fmt: skip

    def recurrent(beta: float, delay: bool, **options) -> snn.RLeaky:
        return snn.RLeaky(
            beta=torch.full((20,), beta), threshold=torch.ones(20), init_hidden=True, reset_mechanism="zero",
            reset_delay=delay, **options,
        )  # fmt: skip

    for suffix, delay in (("", True), ("_now", False)):
        torch.manual_seed(0)
        two = nn.Sequential(
            linear(20, 12, gain=0.4), synaptic(20, 0.8, 0.9, delay), linear(5, 20, 1), synaptic(5, 0.7, 0.8, delay)
        )
        record(to, f"synaptic{suffix}", two, given)
        all_to_all = recurrent(0.9, delay, linear_features=20)
        record(
            to, f"rleaky{suffix}", nn.Sequential(linear(20, 12), all_to_all, linear(5, 20, 1), leaky((5,), 0.8, "zero")), given
        )
        one_to_one = recurrent(0.9, delay, all_to_all=False, V=torch.linspace(-0.8, 0.8, 20))
        net = nn.Sequential(linear(20, 12), one_to_one, linear(5, 20, 1), leaky((5,), 0.8, "zero"))
        record(to, f"rleaky_one_to_one{suffix}", net, given)
    conv = nn.Conv2d(2, 4, 3, stride=1, padding=1, bias=False)
    conv.weight.data = torch.tensor(weights(4, 2, 3, 3))
    net = nn.Sequential(
        conv, leaky((4, 8, 8), 0.9, "zero"), nn.AvgPool2d(2), nn.Flatten(), linear(5, 64, 1, 3.0), leaky((5,), 0.8, "zero")
    )
    record(to, "conv_avgpool", net, spikes(2, 8, 8))


main()
