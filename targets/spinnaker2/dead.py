"""PEs that a hardware description names as dead: ``[limits.dead_pe_<chip>_<quad x>_<quad y>_<pe>]`` with value 1."""

from __future__ import annotations

from nirhw.diagnostics import error
from nirhw.hardware import DEAD, Hardware

from .board import CHIPS, PES_PER_QUAD, QUADS

PREFIX = f"{DEAD}pe_"
Place = tuple[int, tuple[int, int], int]


def dead_pes(hardware: Hardware) -> frozenset[Place]:
    """Return (chip, quad, PE) of every dead PE.

    Raises:
        UsageError: NIRHW-E003 where an entry names no PE of the machine.
    """
    found = set()
    for name, limit in hardware.limits.items():
        if not name.startswith(DEAD):
            continue
        words = name.removeprefix(PREFIX).split("_")
        numbers = tuple(int(w) for w in words if w.isdecimal() and w.isascii())
        exists = len(words) == len(numbers) == 4 and numbers[0] < min(hardware["chips"], len(CHIPS)) and numbers[3] < PES_PER_QUAD
        if not exists or (numbers[1], numbers[2]) not in QUADS:
            raise error(
                "NIRHW-E003", f"limits.{name} names no PE of {hardware.name}", fix="dead_pe_<chip>_<quad x>_<quad y>_<pe>"
            )
        if limit.value:
            found.add((numbers[0], (numbers[1], numbers[2]), numbers[3]))
    return frozenset(found)
