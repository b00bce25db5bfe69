"""Small NIR graphs for tests, and spikes to feed them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import nir
import numpy as np

DT = 1e-3


def cubalif(n: int, tau_syn: float = 4, tau_mem: float = 8, threshold: float = 1.0, v_reset: float = 0.0) -> nir.CubaLIF:
    """Return CubaLIF neurons in snnTorch's convention; time constants in steps."""
    one = np.ones(n)
    return nir.CubaLIF(
        tau_syn=tau_syn * DT * one,
        tau_mem=tau_mem * DT * one,
        r=tau_mem * one,
        v_leak=0 * one,
        v_threshold=threshold * one,
        v_reset=v_reset * one,
        w_in=tau_syn * one,
    )


def lif(n: int, tau: float = 8, threshold: float = 1.0) -> nir.LIF:
    """Return LIF neurons whose step adds the drive itself; the time constant in steps."""
    one = np.ones(n)
    return nir.LIF(tau=tau * DT * one, r=tau * one, v_leak=0 * one, v_threshold=threshold * one, v_reset=0 * one)


def integrate_fire(shape: Any, threshold: float = 1.0) -> nir.IF:
    """Return IF neurons whose step adds the drive itself."""
    return nir.IF(r=np.full(shape, 1 / DT), v_threshold=np.full(shape, threshold), v_reset=np.zeros(shape))


def li(n: int, tau: float = 8) -> nir.LI:
    """Return leaky integrators whose step adds the drive itself; the time constant in steps."""
    one = np.ones(n)
    return nir.LI(tau=tau * DT * one, r=tau * one, v_leak=0 * one)


def graph(n_in: Any, n_out: Any, nodes: dict[str, Any], edges: list[tuple[str, str]]) -> nir.NIRGraph:
    """Return a graph with one input "in" and one output "out"."""
    shape_in, shape_out = np.atleast_1d(n_in), np.atleast_1d(n_out)
    both = {"in": nir.Input({"input": shape_in}), **nodes, "out": nir.Output({"output": shape_out})}
    return nir.NIRGraph(both, edges, type_check=False)


def chain(n_in: Any, n_out: Any, **nodes: Any) -> nir.NIRGraph:
    """Return a graph whose nodes follow each other."""
    names = ["in", *nodes, "out"]
    return graph(n_in, n_out, nodes, list(pairwise(names)))


def weights(post: int, pre: int, seed: int = 0, scale: float = 0.4, shift: float = 0.1) -> np.ndarray:
    """Return a random matrix ``[post, pre]`` with a slightly excitatory mean."""
    return np.random.default_rng(seed).normal(shift, scale, (post, pre))


def linear(post: int, pre: int, seed: int = 0, scale: float = 0.4, shift: float = 0.1) -> nir.Linear:
    """Return a Linear node with :func:`weights`."""
    return nir.Linear(weights(post, pre, seed, scale, shift))


def spikes(steps: int, *shape: int, rate: float = 0.2, seed: int = 0, batch: int | None = None) -> np.ndarray:
    """Return Bernoulli spikes ``(steps, *shape)``, or with a batch axis in front."""
    size = (steps, *shape) if batch is None else (batch, steps, *shape)
    return (np.random.default_rng(seed).random(size) < rate).astype(np.uint8)
