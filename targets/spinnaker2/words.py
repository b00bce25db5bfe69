"""Synapses of several words: weights beyond the 4 bits of a word with a delay.

A PE adds up all words of a row (public chip-side code of NESTML, ``synapses.c``: it counts words and never asks which targets
came before), so words with the same target and delay make a larger weight.  A neuron's largest weights no longer set how coarse
the others are: a finer scale makes those few into several words.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nirhw.operators import Array

Ints = NDArray[np.int64]

#: words that a neuron may have, as a share of its weights: what a finer scale may take of memory and of a step's time
SHARE = 1.25
#: halvings of the bracket in which a scale is looked for
HALVINGS = 30


def finest_scale(weights: Array, row: Ints, start: Array, limit: int, most: int) -> Array:
    """Return the largest scale by row, ``(rows,)``, at which its words are no more than ``SHARE`` of its weights.

    Args:
        weights: flat, float64.
        row: row of each weight: what shares a scale.
        start: scale by row at which the largest weight fits one word; infinite where all weights are 0, and left so.
        limit: largest weight of a word.
        most: words of a synapse.
    """
    some = np.isfinite(start)
    low, size = np.where(some, start, 1.0), np.abs(weights)
    room = SHARE * np.bincount(row[size > 0], minlength=start.size)

    def fits(scale: Array) -> NDArray[np.bool_]:
        # what rounds to 0 takes no word
        words = np.maximum(np.ceil((size * scale[row] - 0.5) / limit), 0.0)
        return np.asarray(np.bincount(row, words, minlength=start.size) <= room)

    high = most * low
    whole = fits(high)
    for _ in range(HALVINGS):
        middle = np.sqrt(low * high)
        enough = fits(middle)
        low, high = np.where(enough, middle, low), np.where(enough, high, middle)
    return np.where(some, np.where(whole, most * start, low), start)


def words_of(weight: Ints, limit: int) -> Ints:
    """Return how many words each weight takes."""
    return np.asarray(-(-np.abs(weight) // limit), np.int64)


def split(weight: Ints, limit: int) -> tuple[Ints, Ints]:
    """Return the weights of all words and the synapse of each: full words of a synapse first, then what is left."""
    count = words_of(weight, limit)
    synapse = np.repeat(np.arange(weight.size), count)
    nth = np.arange(synapse.size) - np.repeat(np.cumsum(count) - count, count)
    left = np.abs(weight)[synapse] - nth * limit
    return np.sign(weight)[synapse] * np.minimum(left, limit), synapse
