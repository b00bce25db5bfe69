"""The response of a neuron to one event, and the codes and gains that imitate a wanted one best.

A synapse that keeps ``a`` of its current a step and a membrane that keeps ``b`` answer an event with ``(b ** (n + 1) - a ** (n +
1)) / (b - a)`` after ``n`` steps: the complete homogeneous polynomial ``h_n(a, b)``.  Sums of products of two such responses have
a closed form, Cauchy's identity, so no response is ever written out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirhw.network import Ints
from nirhw.operators import Array

#: ends the names of ports and projections of a second synapse
SECOND = "~2"
#: weight of the error of rounded weights, as a share of the response: keeps gains from cancelling each other
NOISE = 1e-4
#: a response that never fades counts as one that keeps this share
FADES = 1.0 - 2.0**-15
#: a second synapse is worth its weights where it takes the error below this share of that of one synapse, and one is off by more
#: than so much
WORTH, TOLERATED = 0.6, 0.02


@dataclass(frozen=True, eq=False)
class Split:
    """Two synapses that stand for one, by neuron.

    Attributes:
        codes: decay codes, ``[synapse, neuron]``, the faster one first.
        gains: factors on the response of each, ``[synapse, neuron]``.
        error: root mean square error of the response, as a share of the wanted one, ``(neurons,)``.
    """

    codes: Ints
    gains: Array
    error: Array

    @property
    def areas(self) -> Array:
        """Area under the response that comes through each synapse, by that of a membrane, ``[synapse, neuron]``."""
        return np.asarray(self.gains * 2.0**self.codes)

    @property
    def shares(self) -> Array:
        """Part of the area under the response that comes through each synapse, ``[synapse, neuron]``."""
        return np.asarray(self.areas / self.areas.sum(axis=0))

    def scaled(self, factor: Array) -> Split:
        """Return the split with gains by a factor ``(neurons,)``."""
        return replace(self, gains=self.gains * factor)

    def where(self, worth: NDArray[np.bool_], code: Ints, gain: Array, error: Array) -> Split:
        """Return this split for some neurons and, for the others, one synapse with a code, a gain and an error of its own."""
        codes = np.where(worth, self.codes, np.stack([code, self.codes[1]]))
        gains = np.where(worth, self.gains, np.stack([gain, np.zeros(gain.size)]))
        return Split(codes, gains, np.where(worth, self.error, error))

    @property
    def carried(self) -> Array:
        """Change of the faster synapse's gain that makes up for one of the slower synapse's, ``(neurons,)``: equal areas."""
        return np.asarray(2.0 ** (self.codes[1] - self.codes[0]))


def inner(a: Array, b: Array, c: Array, d: Array) -> Array:
    """Return the sum over all steps of the responses of (a, b) times those of (c, d); all below 1."""
    return np.asarray((1.0 - a * b * c * d) / ((1.0 - a * c) * (1.0 - a * d) * (1.0 - b * c) * (1.0 - b * d)))


def kept(code: Ints) -> Array:
    """Return the share of a state that a decay code keeps a step."""
    return np.asarray(1.0 - 2.0 ** -code.astype(np.float64))


def rate_neutral(wanted: Array, code: Ints) -> tuple[Array, Array]:
    """Return the gain of a membrane's responses and the depth of its resets, ``(neurons,)``, that keep rates with a decay code.

    A neuron under a steady drive fires as often as the area under a response goes into the area that a reset takes away, so
    where a code changes how long both last, gain and depth have to change in one proportion.  Of these pairs it is the one with
    the least error of both together, as shares of what is wanted.

    Args:
        wanted: share of the membrane kept a step.
        code: decay code in its place.
    """
    a, b = np.minimum(wanted, FADES), kept(code)
    ratio = 2.0**-code / (1.0 - a)
    one, cross, other = 1.0 / (1.0 - a * a), 1.0 / (1.0 - a * b), 1.0 / (1.0 - b * b)
    gain = (one + ratio * cross) / (one + ratio**2 * other)
    return gain, gain * ratio


def one_synapse_error(synapse: Array, membrane: Array, code: Ints, membrane_code: Ints) -> Array:
    """Return the relative error of the best multiple of the response of one synapse, ``(neurons,)``."""
    wanted, got = (np.minimum(synapse, FADES), np.minimum(membrane, FADES)), (kept(code), kept(membrane_code))
    cosine = inner(*wanted, *got) ** 2 / (inner(*wanted, *wanted) * inner(*got, *got))
    return np.sqrt(np.maximum(1.0 - cosine, 0.0))


def best_synapse(synapse: Array, membrane: Array, membrane_code: Ints, lowest: int, highest: int) -> Ints:
    """Return the code of the one synapse that answers most like the wanted one on the membrane of a code, ``(neurons,)``.

    Not always the code next to the synapse's own time constant: it also makes up for what rounding does to the membrane.
    """
    codes = np.arange(lowest, highest + 1)[:, None]
    return np.asarray(lowest + one_synapse_error(synapse, membrane, codes, membrane_code).argmin(axis=0), dtype=np.int64)


def two_synapses(synapse: Array, membrane: Array, membrane_code: Ints, lowest: int, highest: int) -> Split:
    """Return the two synapses whose sum answers most like the wanted synapse, both on the membrane of ``membrane_code``.

    Args:
        synapse: wanted share of the current kept a step, ``(neurons,)``.
        membrane: wanted share of the membrane kept a step, ``(neurons,)``.
        membrane_code: decay code of the membrane, ``(neurons,)``.
        lowest: smallest code of a synapse.
        highest: largest one.
    """
    pairs = np.array(list(combinations(range(lowest, highest + 1), 2)))
    gains, loss, error = _least_squares(synapse, membrane, membrane_code, pairs[:, 0][:, None], pairs[:, 1][:, None])
    best = loss.argmin(axis=0), np.arange(synapse.size)
    return Split(pairs[best[0]].T.astype(np.int64), gains[:, *best], error[best])


def fitted_gains(synapse: Array, membrane: Array, membrane_code: Ints, codes: Ints) -> Split:
    """Return two synapses with given codes ``[synapse, neuron]``, with the gains that answer most like the wanted synapse."""
    gains, _, error = _least_squares(synapse, membrane, membrane_code, codes[:1], codes[1:])
    return Split(codes, gains[:, 0], error[0])


def _least_squares(synapse: Array, membrane: Array, membrane_code: Ints, first: Ints, second: Ints) -> tuple[Array, Array, Array]:
    """Return gains ``[synapse, pair, neuron]``, and loss and relative error ``[pair, neuron]``, of codes ``[pair, neuron]``."""
    wanted = np.minimum(synapse, FADES), np.minimum(membrane, FADES)
    total, b = inner(*wanted, *wanted), kept(membrane_code)
    fast, slow = kept(first), kept(second)
    # normal equations of the two gains, with noise on the diagonal
    ff, ss, fs = (inner(x, b, y, b) for x, y in ((fast, fast), (slow, slow), (fast, slow)))
    wf, ws = (inner(*wanted, x, b) for x in (fast, slow))
    fd, sd = ff * (1.0 + NOISE), ss * (1.0 + NOISE)
    det = fd * sd - fs**2
    g, h = (wf * sd - ws * fs) / det, (ws * fd - wf * fs) / det
    loss = total - g * wf - h * ws
    off = total - 2 * (g * wf + h * ws) + g**2 * ff + h**2 * ss + 2 * g * h * fs
    return np.stack([g, h]), loss, np.sqrt(np.maximum(off / total, 0.0))


def response_fits(
    population: str, port: str, codes: list[Ints], membrane_code: Ints, one: Array, found: Array
) -> list[dict[str, Any]]:
    """Return rows of the report: how the response to an event fits, one for each distinct set of codes and errors.

    Args:
        population: its name.
        port: its name.
        codes: of the synapses, one or two, ``(neurons,)`` each.
        membrane_code: ``(neurons,)``.
        one: relative error of the response with one synapse, root mean square, ``(neurons,)``.
        found: the same as it is.
    """
    rows = np.stack([*codes, membrane_code, np.round(one, 6), np.round(found, 6)])
    distinct, counts = np.unique(rows, axis=1, return_counts=True)
    return [
        {
            "population": population,
            "port": port,
            "neurons": int(number),
            "synapse_codes": [int(c) for c in row[: len(codes)]],
            "membrane_code": int(row[-3]),
            "one_synapse_error": float(row[-2]),
            "error": float(row[-1]),
        }
        for row, number in zip(distinct.T, counts, strict=True)
    ]
