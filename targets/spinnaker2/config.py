"""The configuration of SpiNNaker2 as plain data: slices of populations on PEs, their synapses, keys and routes.

The memory format of the board is not public in full, so this configuration is ours.  It holds all that py-spinnaker2's ``snn``
interface takes (applications, parameters, connection lists) and all that decides whether a network fits (slices, PEs, keys,
router entries).  Names of applications and parameters are those of py-spinnaker2.

Time: step t of a PE takes the spikes that were sent in step t - 1; a spike of delay d acts d + 1 steps after it was sent.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirhw.diagnostics import error
from nirhw.operators import frozen

from .board import QUADS
from .synapses import Block, ConvBlock, Int64, SynapseBlock

Float32 = NDArray[np.float32]

SPIKE_LIST = "spike_list"
_MEMBRANE = ("threshold", "alpha_decay", "i_offset", "v_init", "v_reset")
_SYNAPSE = ("exc_decay", "inh_decay", "t_refrac")
#: parameters of a neuron by application, in the order in which they are written; all per neuron
PARAMETERS: Mapping[str, tuple[str, ...]] = {
    SPIKE_LIST: (),
    "lif": _MEMBRANE,
    "lif_no_delay": _MEMBRANE,
    "lif_curr_exp": _MEMBRANE + _SYNAPSE,
    "lif_curr_exp_no_delay": _MEMBRANE + _SYNAPSE,
    "lif_conv2d": _MEMBRANE,
}
#: applications whose synapse words have a delay field
DELAYED = frozenset({"lif", "lif_curr_exp"})
#: applications with exponential synaptic currents
CURRENT = frozenset({"lif_curr_exp", "lif_curr_exp_no_delay"})
#: applications whose synapses are convolution kernels
CONVOLUTION = frozenset({"lif_conv2d"})
RESET_SUBTRACT = "reset_by_subtraction"
RESET_VALUE = "reset_to_v_reset"
RECORDS = ("spikes", "v", "v_last")
#: threshold of a neuron that never fires: v > threshold is false for every finite v
NEVER_FIRES = float(np.finfo(np.float32).max)


@dataclass(frozen=True, eq=False)
class Slice:
    """Neighbouring neurons of one population on one PE.

    Attributes:
        population: name of the population; slices of one population follow each other without gap.
        first, size: neurons ``first`` to ``first + size - 1`` of the population, in NIR's flat order.
        application: a key of :data:`PARAMETERS`.
        parameters: float32 ``(size,)`` by name, exactly those of the application; a number stands for all neurons.
        reset: ``RESET_SUBTRACT`` (the threshold is taken off), ``RESET_VALUE`` (to ``v_reset``), or empty for spike_list.
        chip, quad, pe: where it runs: chip number, quad (x, y), PE in the quad.
        key, mask: multicast key of neuron 0 (neuron k sends ``key + k``), and the bits that are the same for all neurons.
        record: what the board keeps, of :data:`RECORDS`.
        blocks: what arrives: :class:`ConvBlock` for ``lif_conv2d``, :class:`SynapseBlock` otherwise, none for spike_list.
    """

    population: str
    first: int
    size: int
    application: str
    parameters: Mapping[str, Float32] = field(default_factory=dict)
    reset: str = ""
    chip: int = 0
    quad: tuple[int, int] = QUADS[0]
    pe: int = 0
    key: int = 0
    mask: int = 0xFFFFFFFF
    record: tuple[str, ...] = ()
    blocks: tuple[Block, ...] = ()

    def __post_init__(self) -> None:
        wanted = PARAMETERS.get(self.application)
        if wanted is None or self.size < 1 or self.first < 0:
            raise error("NIRHW-E040", f"a slice of {self.size} neurons with application {self.application!r} cannot exist")
        if set(self.parameters) != set(wanted):
            raise error("NIRHW-E040", f"{self.application} takes {', '.join(wanted) or 'no parameters'}", [self.population])
        object.__setattr__(self, "parameters", {k: self._column(k) for k in wanted})
        object.__setattr__(self, "quad", (int(self.quad[0]), int(self.quad[1])))
        object.__setattr__(self, "record", tuple(self.record))
        object.__setattr__(self, "blocks", tuple(self.blocks))

    def _column(self, name: str) -> Float32:
        with np.errstate(over="ignore"):
            values = np.asarray(self.parameters[name], np.float64).astype(np.float32)
        if values.shape not in ((), (self.size,)):
            raise error("NIRHW-E040", f"{name} has shape {values.shape}, expected ({self.size},)", [self.population])
        if not np.isfinite(values).all():
            raise error("NIRHW-E040", f"{name} leaves float32", [self.population])
        return frozen(np.broadcast_to(values, (self.size,)).copy(), np.float32)


@dataclass(frozen=True)
class RouterEntry:
    """One multicast entry of a chip's router: packets whose key agrees with ``key`` under ``mask``.

    Attributes:
        chip: whose router.
        key, mask: 32 bits; a packet fits where ``packet & mask == key``.
        quads: local targets as (x, y, PEs of the quad as 4 bits).
        chips: neighbouring chips to which the packet goes on.
    """

    chip: int
    key: int
    mask: int
    quads: tuple[tuple[int, int, int], ...] = ()
    chips: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class SpiNNaker2Configuration:
    """What runs on the chips.

    Attributes:
        slices: one a PE.
        chips: chips of the machine: 1, or 48 for a board.
        timesteps: steps for which memory is set aside for recordings.
        layout: name of the PE's memory layout, as in the hardware description.
        routing: router entries of all chips.
    """

    slices: tuple[Slice, ...]
    chips: int = 1
    timesteps: int = 1000
    layout: str = ""
    routing: tuple[RouterEntry, ...] = ()

    @property
    def n_slices(self) -> int:
        """Number of slices, one a PE."""
        return len(self.slices)

    @property
    def starts(self) -> Int64:
        """First neuron of every slice where all neurons are counted in order, and their total, ``(n_slices + 1,)``."""
        return np.concatenate([[0], np.cumsum([s.size for s in self.slices])]).astype(np.int64)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data: one record a slice and a router entry; long arrays are columns over all slices."""
        return {
            "chips": self.chips,
            "timesteps": self.timesteps,
            "layout": self.layout,
            "slices": [{k: _plain(getattr(s, k)) for k in _SCALARS} for s in self.slices],
            "parameters": {name: self._column(name) for name in _MEMBRANE + _SYNAPSE},
            "synapses": self._synapse_columns(),
            "kernels": [
                {"slice": i, "kernel": block.kernel, **{k: getattr(block, k) for k in _GEOMETRY}}
                for i, block in self._blocks(ConvBlock)
            ],
            "routing": [
                {"chip": e.chip, "key": e.key, "mask": e.mask, "quads": [list(q) for q in e.quads], "chips": list(e.chips)}
                for e in self.routing
            ],
        }

    def _column(self, name: str) -> Float32:
        parts = [s.parameters[name] for s in self.slices if name in s.parameters]
        return np.concatenate([np.zeros(0, np.float32), *parts], dtype=np.float32)

    def _blocks(self, kind: type) -> Iterator[tuple[int, Any]]:
        return ((i, block) for i, s in enumerate(self.slices) for block in s.blocks if isinstance(block, kind))

    def _synapse_columns(self) -> dict[str, Any]:
        found = list(self._blocks(SynapseBlock))
        columns = {"row": np.int64, "target": np.uint8, "weight": np.int8, "delay": np.uint8}
        parts = [{"row": np.diff(b.start), "target": b.target, "weight": b.weight, "delay": b.delay} for _, b in found]
        return {
            "slice": np.array([i for i, _ in found], np.int64),
            "source": np.array([b.source for _, b in found], np.int64),
            **{k: np.concatenate([np.zeros(0, t), *(p[k] for p in parts)], dtype=t) for k, t in columns.items()},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> SpiNNaker2Configuration:
        """Rebuild a configuration from :meth:`to_dict`; the two are inverse to each other.

        Raises:
            VerifyError: NIRHW-E040 for values that their fields cannot hold.
        """
        records = data["slices"]
        blocks: list[list[Block]] = [[] for _ in records]
        for index, block in _synapse_blocks(data["synapses"], [r["size"] for r in records]):
            blocks[index].append(block)
        for record in data["kernels"]:
            geometry = {k: record[k] for k in _GEOMETRY}
            blocks[_index(record["slice"], len(records))].append(ConvBlock(kernel=record["kernel"], **geometry))
        columns = {name: np.asarray(values, np.float32) for name, values in data["parameters"].items()}
        slices = []
        for record, arriving in zip(records, blocks, strict=True):
            size, values = record["size"], {}
            for name in PARAMETERS.get(record["application"], ()):
                values[name], columns[name] = np.split(columns[name], [size])
            plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in record.items()}
            slices.append(Slice(**plain, parameters=values, blocks=tuple(arriving)))
        routing = tuple(
            RouterEntry(e["chip"], e["key"], e["mask"], tuple((q[0], q[1], q[2]) for q in e["quads"]), tuple(e["chips"]))
            for e in data["routing"]
        )
        return cls(tuple(slices), data["chips"], data["timesteps"], data["layout"], routing)

    def to_json(self) -> str:
        """Return :meth:`to_dict` as JSON text, arrays as lists."""
        return json.dumps(self.to_dict(), sort_keys=True, default=lambda array: array.tolist())

    @classmethod
    def from_json(cls, text: str) -> SpiNNaker2Configuration:
        """Rebuild a configuration from :meth:`to_json`."""
        return cls.from_dict(json.loads(text))


_SCALARS = ("population", "first", "size", "application", "reset", "chip", "quad", "pe", "key", "mask", "record")
_GEOMETRY = ("source", "in_height", "in_width", "stride", "pool", "pad_top", "pad_bottom", "pad_left", "pad_right")


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _index(value: int, n_slices: int) -> int:
    if not 0 <= value < n_slices:
        raise error("NIRHW-E040", f"slice {value} does not exist")
    return int(value)


def _synapse_blocks(columns: Mapping[str, Any], sizes: list[int]) -> Iterator[tuple[int, SynapseBlock]]:
    rows = np.asarray(columns["row"], np.int64)
    row = synapse = 0
    for index, source in zip(columns["slice"], columns["source"], strict=True):
        lengths = rows[row : row + sizes[_index(source, len(sizes))]]
        start = np.concatenate([[0], np.cumsum(lengths)])
        part = slice(synapse, synapse + int(start[-1]))
        arrays = (np.asarray(columns[k][part]) for k in ("target", "weight", "delay"))
        yield _index(index, len(sizes)), SynapseBlock(int(source), start, *arrays)
        row, synapse = row + lengths.size, part.stop
