"""Geometry of a chip and of the 48-chip board: quads, PEs, links.

Source: SpiNNMachine 7.4.1, ``version_spin2`` (quads) and ``version_248`` (chips); that package gives the chips the six links of
SpiNNaker 1.
"""

from __future__ import annotations

from functools import cache

#: quads of a chip as (x, y), in the order of SpiNNMachine's core numbers; 4 PEs each
QUADS: tuple[tuple[int, int], ...] = (
    *((7, 6), (7, 5), (6, 6), (6, 5), (6, 4), (5, 4), (5, 6), (3, 6), (4, 6), (5, 5), (3, 5), (4, 5), (1, 6), (2, 6), (1, 5)),
    *((2, 5), (1, 4), (2, 4), (3, 4), (1, 1), (2, 1), (1, 2), (2, 2), (1, 3), (2, 3), (3, 3), (5, 1), (3, 1), (4, 1), (5, 2)),
    *((3, 2), (4, 2), (7, 1), (6, 1), (7, 2), (6, 2), (6, 3), (5, 3)),
)
PES_PER_QUAD = 4
#: first and last y of the chips of a board, by x
_BOARD_COLUMNS = ((0, 3), (0, 4), (0, 5), (0, 6), (0, 7), (1, 7), (2, 7), (3, 7))
#: chips of a 48-chip board as (x, y), by chip number (ours: by x, then y); a single chip is number 0
CHIPS: tuple[tuple[int, int], ...] = tuple((x, y) for x, (low, high) in enumerate(_BOARD_COLUMNS) for y in range(low, high + 1))
#: directions of the six links of a chip; a board alone does not wrap around
LINKS: tuple[tuple[int, int], ...] = ((1, 0), (1, 1), (0, 1), (-1, 0), (-1, -1), (0, -1))


@cache
def neighbours(chip: int) -> tuple[int, ...]:
    """Return the chips that a link joins to ``chip`` on a 48-chip board."""
    x, y = CHIPS[chip]
    near = ((x + dx, y + dy) for dx, dy in LINKS)
    return tuple(CHIPS.index(place) for place in near if place in CHIPS)
