"""Spyx 1.0: LIF, IF, CuBaLIF, RLIF, PSU_LIF and convolutions with string padding; exported with dt = 1e-4."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import spyx.nn as snn
from flax import nnx
from recording import Recorder, spikes, weights
from spyx.nir import to_nir

DT = 1e-4


def linear(post: int, pre: int, seed: int = 0, gain: float = 1.0) -> nnx.Linear:
    made = nnx.Linear(pre, post, rngs=nnx.Rngs(0))
    made.kernel[...] = jnp.array(weights(post, pre, seed=seed, gain=gain).T)
    return made


def record(
    to: Recorder, case: str, layers: list[nnx.Module], given: np.ndarray, shapes: tuple[tuple[int, ...], tuple[int, ...]]
) -> None:
    try:
        model = snn.Sequential(*layers)
        x = jnp.array(given)[:, None]
        if x.ndim == 5:  # channels last
            x = jnp.moveaxis(x, 2, -1)
        output, _ = snn.run(model, x)
        graph = to_nir(model, {"input": np.array(shapes[0])}, {"output": np.array(shapes[1])}, dt=DT)
    except Exception as reason:
        to.refused(case, reason)
        return
    output = np.asarray(output)[:, 0]
    to.save(case, graph, given, np.moveaxis(output, -1, 1) if output.ndim == 4 else output)


def main() -> None:
    to = Recorder("spyx", "jax", "flax")
    given, shapes, key = spikes(12), ((12,), (20,)), nnx.Rngs(0)
    beta = jnp.linspace(0.5, 0.9, 20)

    def with_beta(made: nnx.Module) -> nnx.Module:
        made.beta[...] = beta
        return made

    record(to, "lif", [linear(20, 12), with_beta(snn.LIF((20,), rngs=key))], given, shapes)
    record(to, "if", [linear(20, 12), snn.IF((20,))], given, shapes)
    cuba = with_beta(snn.CuBaLIF((20,), rngs=key))
    cuba.alpha[...] = jnp.linspace(0.3, 0.7, 20)
    record(to, "cuba", [linear(20, 12, gain=0.5), cuba], given, shapes)
    rlif = with_beta(snn.RLIF((20,), rngs=key))
    rlif.recurrent_w[...] = jnp.array(weights(20, 20, seed=2, gain=0.7))
    record(to, "rlif", [linear(20, 12), rlif], given, shapes)
    record(to, "psu", [linear(20, 12), with_beta(snn.PSU_LIF((20,), rngs=key))], given, shapes)
    for padding in ("SAME", "VALID"):
        conv = nnx.Conv(2, 4, (3, 3), padding=padding, rngs=key)
        conv.kernel[...] = jnp.array(weights(4, 2, 3, 3).transpose(2, 3, 1, 0))
        size = 8 if padding == "SAME" else 6
        layers = [conv, snn.IF((size, size, 4))]
        record(to, f"conv_{padding.lower()}", layers, spikes(2, 8, 8), ((2, 8, 8), (4, size, size)))


main()
