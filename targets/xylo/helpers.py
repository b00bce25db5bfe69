"""Neurons of the compiler's own: their registers do what they are there for; no parameter of the network stands behind them."""

from __future__ import annotations

import numpy as np

from nirhw.network import Membrane, Population, Port, Role
from nirhw.operators import frozen


def helper(name: str, size: int, role: Role, threshold: int, bias: int = 0) -> Population:
    """Return hidden neurons whose membrane keeps nothing and whose synapse keeps half.

    Args:
        name: of the population.
        size: number of neurons.
        role: what they are there for.
        threshold: of all of them, chip units.
        bias: constant drive, chip units: as many spikes a step as the threshold fits into it.
    """
    zero, one, ones = frozen(np.zeros(size)), frozen(np.ones(size)), np.ones(size, np.int64)
    codes = {"v_mem_decay": 0 * ones, "i_syn_decay:in": ones, "threshold": threshold * ones, "v_mem_bias": bias * ones}
    return Population(
        name,
        (size,),
        "spiking",
        "spike" if bias == threshold else "count",
        (Port("in", one, one if bias else zero),),
        Membrane(zero, one, zero, zero),
        threshold=frozen(np.full(size, 0.5)),
        v_reset=zero,
        reset="zero",
        role=role,
        codes=codes,
    )


def always_firing(name: str, size: int) -> Population:
    """Return hidden neurons that fire once in every step."""
    return helper(name, size, "bias", threshold=1, bias=1)
