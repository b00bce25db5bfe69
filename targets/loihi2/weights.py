"""What the chip keeps of a weight: the rule of lava-nc 0.10.0 (``lava.utils.weightutils``)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .config import SignMode, Synapses

Int = NDArray[np.int64]


def stored(weight: Int, weight_bits: int, sign_mode: SignMode) -> Int:
    """Return the weights that act: clipped to 8 bits and sign, low bits dropped.

    Mixed weights keep ``weight_bits - 1`` bits besides the sign, so at 8 bits they are even and reach from -256 to 254; others
    are 0 to 255 or their negatives.  Dropping rounds towards minus infinity, for inhibitory weights towards zero.

    Args:
        weight: any shape, int64.
        weight_bits: 1 to 8.
        sign_mode: ``"mixed"``, ``"excitatory"`` or ``"inhibitory"``.
    """
    sign = -1 if sign_mode == "inhibitory" else 1
    mixed = sign_mode == "mixed"
    dropped = 8 - weight_bits + mixed
    clipped = np.clip(sign * weight, -256 if mixed else 0, 255)
    return np.asarray(sign * (clipped >> dropped << dropped), dtype=np.int64)


def acting(synapses: Synapses) -> Int:
    """Return the weights of ``synapses`` that act, ``(weights,)``; those of a kernel are taken as they are."""
    return stored(synapses.weight, synapses.weight_bits, synapses.sign_mode)
