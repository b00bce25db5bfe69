"""Norse 1.1: LIFBox with and without its dt factor on tau, LIF (current-based), IAF, a convolution.

Parameters are given per neuron: scalars cannot be written.
"""

from __future__ import annotations

import norse.torch as norse
import numpy as np
import torch
from norse.torch.functional.iaf import IAFParameters
from norse.torch.functional.lif import LIFParameters
from norse.torch.functional.lif_box import LIFBoxParameters
from norse.torch.utils.export_nir import to_nir
from recording import Recorder, spikes, weights
from torch import nn


def linear(post: int, pre: int, seed: int = 0, gain: float = 1.0) -> nn.Linear:
    made = nn.Linear(pre, post)
    made.weight.data = torch.tensor(weights(post, pre, seed=seed, gain=gain))
    made.bias.data = torch.tensor(np.random.default_rng(seed).normal(0, 0.02, post).astype(np.float32))
    return made


def box(n: int, per_second: float) -> norse.LIFBoxCell:
    one = torch.ones(n)
    return norse.LIFBoxCell(LIFBoxParameters(tau_mem_inv=per_second * one, v_leak=0 * one, v_th=one, v_reset=0 * one))


def lif(n: int) -> norse.LIFCell:
    one = torch.ones(n)
    return norse.LIFCell(LIFParameters(tau_syn_inv=200 * one, tau_mem_inv=100 * one, v_leak=0 * one, v_th=one, v_reset=0 * one))


def iaf(*shape: int) -> norse.IAFCell:
    one = torch.ones(shape)
    return norse.IAFCell(IAFParameters(v_th=one, v_reset=0 * one))


def record(to: Recorder, case: str, layers: list[nn.Module], given: np.ndarray, dt: float | None) -> None:
    try:
        net = norse.SequentialState(*layers)
        rows, state = [], None
        with torch.no_grad():
            for row in given:
                out, state = net(torch.tensor(row)[None], state)
                rows.append(out[0].numpy())
        options = {} if dt is None else {"dt": dt}
        graph = to_nir(net, torch.tensor(given[0]), **options)
        graph.infer_types()
    except Exception as reason:
        to.refused(case, reason)
        return
    to.save(case, graph, given, np.stack(rows))


def main() -> None:
    to = Recorder("norse", "nirtorch")
    given = spikes(12)

    def boxes() -> list[nn.Module]:
        return [linear(20, 12, gain=6.0), box(20, 100.0), linear(5, 20, 1, 6.0), box(5, 200.0)]

    record(to, "lifbox_dt1", boxes(), given, 1.0)
    record(to, "lifbox_default", boxes(), given, None)
    record(to, "lif_dt1", [linear(20, 12, gain=2.0), lif(20), linear(5, 20, 1, 4.0), lif(5)], given, 1.0)
    record(to, "iaf", [linear(20, 12), iaf(20), linear(5, 20, 1), iaf(5)], given, None)
    conv = nn.Conv2d(2, 4, 3, padding=1)
    conv.weight.data = torch.tensor(weights(4, 2, 3, 3))
    conv.bias.data = torch.zeros(4)
    record(to, "conv_iaf", [conv, iaf(4, 8, 8)], spikes(2, 8, 8), None)


main()
