"""Sinabs 3.1: IAF with one and with several spikes a step, LIF, convolution with sum pooling."""

from __future__ import annotations

import numpy as np
import sinabs.activation as sina
import sinabs.layers as sl
import torch
from recording import STEPS, Recorder, spikes, weights
from sinabs.nir import to_nir
from torch import nn


def linear(post: int, pre: int, seed: int = 0, gain: float = 1.0) -> nn.Linear:
    made = nn.Linear(pre, post)
    made.weight.data = torch.tensor(weights(post, pre, seed=seed, gain=gain))
    made.bias.data = torch.tensor(np.random.default_rng(seed).normal(0, 0.02, post).astype(np.float32))
    return made


def iaf(kind: object) -> sl.IAFSqueeze:
    return sl.IAFSqueeze(batch_size=1, spike_fn=kind, min_v_mem=None)


def record(to: Recorder, case: str, net: nn.Module, given: np.ndarray, sample: torch.Tensor) -> None:
    try:
        with torch.no_grad():
            output = net(torch.tensor(given if sample.shape[0] == STEPS else given[None]))
        output = output.numpy().reshape(STEPS, *output.shape[1 if sample.shape[0] == STEPS else 2 :])
        graph = to_nir(net, sample)
        graph.infer_types()  # convolutions are exported without their input_shape, which cannot be written
    except Exception as reason:
        to.refused(case, reason)
        return
    to.save(case, graph, given, output)


def main() -> None:
    to = Recorder("sinabs", "nirtorch")
    given = spikes(12)
    squeezed = torch.tensor(given)
    for name, kind in (("single", sina.SingleSpike), ("multi", sina.MultiSpike)):
        net = nn.Sequential(linear(20, 12), iaf(kind), linear(5, 20, 1), iaf(kind))
        record(to, f"iaf_{name}", net, given, squeezed)

    def lif(tau: float) -> sl.LIF:
        return sl.LIF(tau_mem=tau, spike_fn=sina.SingleSpike, min_v_mem=None)

    net = nn.Sequential(linear(20, 12, gain=8.0), lif(20.0), linear(5, 20, 1, 20.0), lif(10.0))
    record(to, "lif", net, given, torch.tensor(given)[None])
    conv = nn.Conv2d(2, 4, 3, padding=1, bias=False)
    conv.weight.data = torch.tensor(weights(4, 2, 3, 3))
    net = nn.Sequential(conv, iaf(sina.SingleSpike), sl.SumPool2d(2), nn.Flatten(), linear(5, 64, 1), iaf(sina.SingleSpike))
    planes = spikes(2, 8, 8)
    record(to, "conv_sumpool", net, planes, torch.tensor(planes))


main()
