"""Rockpool 3.1: LIFTorch (current-based) and LIFNeuronTorch, with one spike a step at most; two time constants."""

from __future__ import annotations

import numpy as np
import torch
from recording import Recorder, spikes, weights
from rockpool.nn.combinators import Sequential
from rockpool.nn.modules.torch import LIFNeuronTorch, LIFTorch, LinearTorch
from rockpool.nn.modules.torch.nir import to_nir
from rockpool.parameters import Constant

DT = 1e-3


def linear(post: int, pre: int, seed: int = 0, gain: float = 1.0) -> LinearTorch:
    weight = torch.tensor(weights(post, pre, seed=seed, gain=gain).T.copy())
    return LinearTorch((pre, post), weight=weight, has_bias=False)


def lif(n: int, tau_mem: float) -> LIFTorch:
    return LIFTorch(
        (n, n), tau_mem=Constant(tau_mem), tau_syn=Constant(0.01), bias=Constant(0.0), threshold=Constant(1.0),
        dt=DT, max_spikes_per_dt=1,
    )  # fmt: skip


def record(to: Recorder, case: str, net: object, given: np.ndarray) -> None:
    try:
        with torch.no_grad():
            output, _, _ = net(torch.tensor(given)[None])
        graph = to_nir(net, torch.zeros((1, 12)))
    except Exception as reason:
        to.refused(case, reason)
        return
    to.save(case, graph, given, output[0].numpy())


def main() -> None:
    to = Recorder("rockpool", "nirtorch")
    given = spikes(12)
    record(to, "lif", Sequential(linear(20, 12, gain=0.1), lif(20, 0.02), linear(5, 20, 1, 0.3), lif(5, 0.02)), given)
    record(to, "lif_two_taus", Sequential(linear(20, 12, gain=0.1), lif(20, 0.02), linear(5, 20, 1, 0.3), lif(5, 0.04)), given)
    neuron = LIFNeuronTorch(20, tau_mem=Constant(0.02), bias=Constant(0.0), threshold=Constant(1.0), dt=DT, max_spikes_per_dt=1)
    record(to, "neuron", Sequential(linear(20, 12), neuron), given)


main()
