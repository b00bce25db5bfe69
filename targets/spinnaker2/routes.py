"""Keys of the slices, and router entries that bring their spikes to every PE that has synapses for them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from .board import CHIPS, neighbours
from .config import RouterEntry
from .dead import Place
from .traffic import Traffic

WHOLE = 0xFFFFFFFF


def keys_of(graph: Traffic) -> tuple[list[int], int]:
    """Return the key of neuron 0 of every slice, and the mask that they share: all slices take key blocks of one size."""
    bits = int(graph.size.max() - 1).bit_length()
    return [k << bits for k in range(graph.n_slices)], WHOLE ^ ((1 << bits) - 1)


def routes(graph: Traffic, places: list[Place], keys: list[int], mask: int) -> tuple[RouterEntry, ...]:
    """Return the entries of all routers, one for each slice on each chip that its spikes start from, pass or end on."""
    return tuple(entry for source in range(graph.n_slices) for entry in _entries(graph, places, keys, mask, source))


def _entries(graph: Traffic, places: list[Place], keys: list[int], mask: int, source: int) -> Iterator[RouterEntry]:
    masks: dict[int, dict[tuple[int, int], int]] = {}
    for target in graph.targets[source]:
        chip, quad, pe = places[target]
        local = masks.setdefault(chip, {})
        local[quad] = local.get(quad, 0) | 1 << pe
    onward: dict[int, set[int]] = {}
    root = places[source][0]
    before = _tree(root) if set(masks) - {root} else {}
    for chip in masks:
        while chip != root:
            onward.setdefault(before[chip], set()).add(chip)
            chip = before[chip]
    for chip in sorted({*masks, *onward}):
        quads = tuple((x, y, pes) for (x, y), pes in sorted(masks.get(chip, {}).items()))
        yield RouterEntry(chip, keys[source], mask, quads, tuple(sorted(onward.get(chip, ()))))


@lru_cache(maxsize=len(CHIPS))
def _tree(root: int) -> dict[int, int]:
    """Return the chip before every other chip on a shortest way from ``root``."""
    before: dict[int, int] = {}
    waiting = [root]
    for chip in waiting:
        for after in neighbours(chip):
            if after != root and after not in before:
                before[after] = chip
                waiting.append(after)
    return before
