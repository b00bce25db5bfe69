"""Routes of a configuration, followed packet by packet through the routers of all chips.

A router looks its entries up in order and takes the first that fits; a packet that fits none is lost.  All keys of a slice must
take the same way, so a slice is followed by its key and mask.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from nirhw.diagnostics import Diagnostic
from nirhw.hardware import Hardware

from .board import PES_PER_QUAD, QUADS, neighbours
from .config import RouterEntry, SpiNNaker2Configuration
from .findings import broken, over_limit

Place = tuple[int, int, int, int]


def route_rules(config: SpiNNaker2Configuration, hardware: Hardware) -> Iterator[Diagnostic]:
    """Yield every way in which the routers do not bring spikes to those PEs, and to no others, that have synapses for them."""
    for chip, used in sorted(Counter(entry.chip for entry in config.routing).items()):
        yield from over_limit(hardware, "router_entries", used, f"router entries on chip {chip}")
    faults = [what for entry in config.routing for what in _entry_faults(entry, config)]
    if faults:
        yield from (broken(what) for what in faults)
        return
    tables = {chip: _Table([e for e in config.routing if e.chip == chip]) for chip in range(config.chips)}
    wanted: list[set[Place]] = [set() for _ in config.slices]
    for part in config.slices:
        for block in part.blocks:
            wanted[block.source].add((part.chip, *part.quad, part.pe))
    for index, part in enumerate(config.slices):
        reached, what = _follow(tables, part.chip, part.key, part.mask, bool(wanted[index]))
        if what is None and reached != wanted[index]:
            missing, extra = len(wanted[index] - reached), len(reached - wanted[index])
            what = f"{missing} PEs that need them are not reached, {extra} PEs are reached that do not"
        if what:
            yield broken(f"spikes of slice {index}: {what}", nodes=[part.population])


def _entry_faults(entry: RouterEntry, config: SpiNNaker2Configuration) -> Iterator[str]:
    named = f"router entry {entry.key:#x}/{entry.mask:#x} of chip {entry.chip}"
    if not 0 <= entry.chip < config.chips:
        yield f"{named}: the chip does not exist"
    elif any(chip not in neighbours(entry.chip) or chip >= config.chips for chip in entry.chips):
        yield f"{named}: no link leads to chips {entry.chips}"
    if not (0 <= entry.key <= 0xFFFFFFFF and 0 <= entry.mask <= 0xFFFFFFFF) or entry.key & ~entry.mask:
        yield f"{named}: no packet fits"
    if any((x, y) not in QUADS or not 0 < pes < 1 << PES_PER_QUAD for x, y, pes in entry.quads):
        yield f"{named}: a quad or PE does not exist"
    if not entry.quads and not entry.chips:
        yield f"{named}: it leads nowhere"


class _Table:
    """The entries of one router, found by key: one dict for every mask in use."""

    def __init__(self, entries: list[RouterEntry]):
        self.entries = entries
        self._by_mask: dict[int, dict[int, int]] = {}
        for number, entry in enumerate(entries):
            self._by_mask.setdefault(entry.mask, {}).setdefault(entry.key, number)

    def first(self, key: int, mask: int) -> tuple[RouterEntry | None, bool]:
        """Return the first entry for the keys of a slice, and whether it fits all of them."""
        found = []
        for entry_mask, by_key in self._by_mask.items():
            if entry_mask & ~mask:  # looks at bits that tell the slice's neurons apart
                shared = entry_mask & mask
                found += [n for k, n in by_key.items() if k & shared == key & shared]
            elif key & entry_mask in by_key:
                found.append(by_key[key & entry_mask])
        if not found:
            return None, True
        entry = self.entries[min(found)]
        return entry, not entry.mask & ~mask


def _follow(tables: dict[int, _Table], chip: int, key: int, mask: int, sends: bool) -> tuple[set[Place], str | None]:
    """Return the PEs that packets from ``chip`` reach, and what goes wrong on the way."""
    reached: set[Place] = set()
    waiting, seen = [chip], {chip}
    while waiting:
        here = waiting.pop()
        entry, whole = tables[here].first(key, mask)
        if entry is None:
            if sends or here != chip:
                return reached, f"no router entry on chip {here}"
            continue
        if not whole:
            return reached, f"a router entry on chip {here} fits some of them only"
        reached |= {(here, x, y, pe) for x, y, pes in entry.quads for pe in range(PES_PER_QUAD) if pes >> pe & 1}
        for after in entry.chips:
            if after in seen:
                return reached, f"chip {after} is reached twice"
            seen.add(after)
            waiting.append(after)
    return reached, None
