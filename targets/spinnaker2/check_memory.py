"""Bytes of every PE, counted from the configuration with the sizes of the hardware description.

Regions (public chip-side code of NESTML, resources_spinnaker2): what every PE has, population table,
synapse rows or kernels, parameters, recordings, log.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from nirhw.diagnostics import Diagnostic
from nirhw.hardware import Hardware

from .config import PARAMETERS, Slice, SpiNNaker2Configuration
from .findings import broken, over_limit
from .synapses import ConvBlock, SynapseBlock

WORD = 4


def memory_rules(config: SpiNNaker2Configuration, hardware: Hardware) -> Iterator[Diagnostic]:
    """Yield every slice that needs more bytes than the data area of its PE has."""
    area = f"data_bytes_{config.layout}"
    if area not in hardware.limits:
        yield broken(f"layout {config.layout!r} is not described")
        return
    limit = hardware.limits[area]
    room = hardware[area] - hardware[f"log_bytes_{config.layout}"]
    for index, part in enumerate(config.slices):
        longest = max((int(rows.max(initial=0)) for rows in _rows(part).values()), default=0)
        words = (hardware["row_header_bytes"] + longest * hardware["synapse_bytes"] + WORD - 1) // WORD
        yield from over_limit(hardware, "row_words", words, f"words in the longest row of slice {index}", [part.population])
        used = slice_bytes(part, config.timesteps, hardware)
        if used > room:
            why = f"limit {area} less the log ({limit.certainty}: {limit.source})"
            yield broken(f"{used} bytes on the PE of slice {index}, {room} exist", why, [part.population])


def slice_bytes(part: Slice, timesteps: int, hardware: Hardware) -> int:
    """Return the bytes of a slice, the log not among them."""
    parameters = part.size * len(PARAMETERS[part.application]) * hardware["parameter_bytes"]
    return hardware["fixed_bytes"] + parameters + _synapse_bytes(part, hardware) + _record_bytes(part, timesteps, hardware)


def _synapse_bytes(part: Slice, hardware: Hardware) -> int:
    """Return the bytes of rows or kernels and of their table: an entry for each neuron of a source slice, or for each kernel."""
    total = 0
    for block in part.blocks:
        if isinstance(block, ConvBlock):
            total += hardware["table_entry_bytes"] + int(block.kernel.size) * hardware["kernel_weight_bytes"]
    for lengths in _rows(part).values():
        words = -(-lengths * hardware["synapse_bytes"] // WORD)
        total += int(words.sum()) * WORD + lengths.size * (hardware["table_entry_bytes"] + hardware["row_header_bytes"])
    return total


def _rows(part: Slice) -> dict[int, Any]:
    """Return synapse words by source neuron, for each source slice, whose blocks share rows."""
    rows: dict[int, Any] = {}
    for block in part.blocks:
        if isinstance(block, SynapseBlock):
            rows[block.source] = rows.get(block.source, 0) + np.diff(block.start)
    return rows


def _record_bytes(part: Slice, steps: int, hardware: Hardware) -> int:
    spikes = hardware["spike_record_words"] + -(-part.size // 32)
    voltages = hardware["voltage_record_words"] + part.size
    words = {"spikes": spikes * steps, "v": voltages * steps, "v_last": voltages}
    return sum(words[name] for name in part.record) * WORD
