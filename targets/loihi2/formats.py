"""Integer formats: which weights exist, and how far currents and membranes can get.

Weights (lava-nc 0.10.0, utils/weightutils.py): of one sign 0 to 255, of both signs even and from -254 to 254; fewer bits drop low
ones.  -256 exists, but is not used: alone it would be of one sign and out of range.  States have 24 bits: u wraps, v saturates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nirhw.numerics import Grid
from nirhw.operators import Array

from .config import STATE_SHIFT, Int, SignMode
from .fit import DECAY_ONE

UNIT = 1 << STATE_SHIFT
WEIGHT_BITS = 8
#: an analog integrator without leak is given room for so many steps of worst-case drive
INTEGRATOR_STEPS = 256.0


@dataclass(frozen=True)
class WeightFormat:
    """The weights of one matrix.

    Attributes:
        mode: which signs there are.
        grid: the integers, of an inhibitory matrix their sizes.
    """

    mode: SignMode
    grid: Grid

    @property
    def largest(self) -> int:
        """Largest size of a weight, of both signs where there are two."""
        return self.grid.largest

    @property
    def sign(self) -> float:
        """What weights are multiplied by so that they lie on the grid."""
        return -1.0 if self.mode == "inhibitory" else 1.0

    def nearest(self, values: Array) -> Array:
        """Return ``values`` on the grid, clipped to it, as whole floats."""
        return self.sign * self.grid.nearest(self.sign * values) + 0.0


def sign_mode(values: Int) -> SignMode:
    """Return which signs ``values`` have; all zero counts as excitatory, as in lava.

    A weight of -256, which truncation can give, exists in mixed matrices only.
    """
    if np.any(values < 0) and (np.any(values > 0) or np.any(values == -256)):
        return "mixed"
    return "inhibitory" if np.any(values < 0) else "excitatory"


def weight_format(values: Array, bits: int, truncate: bool) -> WeightFormat:
    """Return the format for a matrix of ``values``: the sign's bit is saved where all have one sign."""
    mode = sign_mode(np.sign(values).astype(np.int64))
    if mode == "mixed":
        step = 1 << WEIGHT_BITS - bits + 1
        return WeightFormat(mode, Grid(step - 256, 256 - step, step, truncate))
    step = 1 << WEIGHT_BITS - bits
    return WeightFormat(mode, Grid(0, 256 - step, step, truncate))


@dataclass(frozen=True, eq=False)
class Reach:
    """What can arrive at the neurons of a population in one step, at most, in any unit; ``(neurons,)``.

    Attributes:
        up, down: sums of the positive weights and of the sizes of the negative ones, times the largest payload.
        constant: what registers add to the membrane every step.
        threshold: 0 where there is none.
        keep_u, keep_v: shares that are kept a step.
    """

    up: Array
    down: Array
    constant: Array
    threshold: Array
    keep_u: Array
    keep_v: Array

    @property
    def current(self) -> Array:
        """Largest size of the current: decay rounds towards zero, so the geometric sum bounds it."""
        return np.asarray(np.maximum(self.up, self.down) / (1.0 - self.keep_u))

    def membrane_high(self, model: str) -> Array:
        """Highest membrane before it is compared with the threshold, ``model`` one of the neuron programs or ``"analog"``."""
        rise = np.maximum(self.up / (1.0 - self.keep_u) + self.constant, 0.0)
        if model == "analog":
            return self._settled(rise)
        once = self.keep_v * self.threshold + rise
        if model != "lif_subtract":
            return np.asarray(once)
        with np.errstate(divide="ignore", invalid="ignore"):
            standing = (rise - self.keep_v * self.threshold) / (1.0 - self.keep_v)
        return np.asarray(np.maximum(once, np.where(rise > self.threshold, np.where(self.keep_v < 1, standing, np.inf), once)))

    def membrane_low(self) -> Array:
        """Size of the lowest membrane; infinite for an integrator that can be driven down."""
        return self._settled(np.maximum(self.down / (1.0 - self.keep_u) - self.constant, 0.0))

    def _settled(self, rise: Array) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.where(rise > 0, rise / (1.0 - self.keep_v), 0.0))


def keeps(du: NDArray[np.int64], dv: NDArray[np.int64]) -> tuple[Array, Array]:
    """Return the shares of u and v that are kept a step."""
    return (DECAY_ONE - (du + 1)) / DECAY_ONE, (DECAY_ONE - dv) / DECAY_ONE
