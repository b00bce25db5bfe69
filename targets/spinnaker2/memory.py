"""Bytes that a slice takes on its PE, by region: what the partition plans with and the report shows.

Regions and word sizes are limits of the hardware description, where each says how sure it is.  Synapse rows take a table entry
for each neuron of a source slice.  A kernel takes one for a source slice: with one for each neuron the NIR paper's CNN, which ran
on a board, would not have fitted the old layout (4,096 sources, 49,152 of 44,928 bytes).  Not counted, because not public: the
spikes that a spike_list holds, and the ring buffer of the delay forms, which lies outside the data area.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nirhw.hardware import Hardware

from .config import PARAMETERS, Slice
from .synapses import ConvBlock

WORD = 4


@dataclass(frozen=True)
class Load:
    """Bytes of one slice.

    Attributes:
        area: bytes of the data area, without the log.
        fixed: routing table, timer, global parameters, table info.
        parameters: of the neurons.
        table: population table.
        synapses: rows or kernels.
        record_once: recordings of the last step.
        record_step: recordings for every step.
        steps: time steps for which memory is set aside.
    """

    area: int
    fixed: int
    parameters: int
    table: int
    synapses: int
    record_once: int
    record_step: int
    steps: int

    @property
    def total(self) -> int:
        """Bytes in all, with recordings for all steps."""
        return self.without_steps + self.record_step * self.steps

    @property
    def without_steps(self) -> int:
        """Bytes that do not grow with the run."""
        return self.fixed + self.parameters + self.table + self.synapses + self.record_once

    @property
    def steps_that_fit(self) -> int | None:
        """Most time steps whose recordings fit; None where nothing is recorded step by step."""
        return max(0, self.area - self.without_steps) // self.record_step if self.record_step else None


@dataclass(frozen=True)
class MemoryModel:
    """The regions of a PE under one layout.

    Attributes:
        hardware: the chip.
        layout: "new" or "old".
        steps: time steps for which recordings are kept.
    """

    hardware: Hardware
    layout: str
    steps: int

    @property
    def area(self) -> int:
        """Bytes of the data area, without the log."""
        return self.hardware[f"data_bytes_{self.layout}"] - self.hardware[f"log_bytes_{self.layout}"]

    def load(self, application: str, size: int, record: tuple[str, ...], entries: int, synapses: int) -> Load:
        """Return the load of ``size`` neurons with ``entries`` table entries and ``synapses`` bytes of rows or kernels."""
        hardware = self.hardware
        spikes = -(-size // 32) + hardware["spike_record_words"]
        voltages = hardware["voltage_record_words"] + size
        return Load(
            self.area,
            hardware["fixed_bytes"],
            hardware["parameter_bytes"] * len(PARAMETERS[application]) * size,
            hardware["table_entry_bytes"] * entries,
            synapses,
            WORD * voltages * ("v_last" in record),
            WORD * (spikes * ("spikes" in record) + voltages * ("v" in record)),
            self.steps,
        )

    def row_words(self, synapses: int) -> int:
        """Return the 4-byte words of a row of so many synapse words, header included."""
        return self.row_bytes(np.array([synapses])) // WORD

    def row_bytes(self, lengths: NDArray[np.int64]) -> int:
        """Return the bytes of synapse rows of ``lengths`` synapses, headers included."""
        padded = -(-lengths * self.hardware["synapse_bytes"] // WORD) * WORD
        return int(padded.sum()) + lengths.size * self.hardware["row_header_bytes"]

    def of(self, part: Slice) -> Load:
        """Return the load of a slice as it stands in a configuration."""
        entries = synapses = 0
        rows: dict[int, NDArray[np.int64]] = {}
        for block in part.blocks:
            if isinstance(block, ConvBlock):
                entries += 1
                synapses += self.hardware["kernel_weight_bytes"] * int(block.kernel.size)
            else:
                rows[block.source] = rows.get(block.source, 0) + np.diff(block.start)
        for lengths in rows.values():
            entries += lengths.size
            synapses += self.row_bytes(lengths)
        return self.load(part.application, part.size, part.record, entries, synapses)
