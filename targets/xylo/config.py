"""The configuration of a Xylo chip as plain data, with the field names of samna's ``XyloConfiguration``.

Field names and structure follow samna's ``xyloCore2`` (Audio 2), ``xyloAudio3`` and ``xyloImu`` modules as rockpool 3.1.0
fills them: ``input``, ``reservoir`` (``hidden`` on Audio 3 and IMU) and ``readout`` groups, neurons as records.  Neurons are
held as columns here and exported as records; weights are ``weight[pre, post]`` as on the chip.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Int = NDArray[np.int64]
Int8 = NDArray[np.int8]

NO_ALIAS = -1
#: name of the group that holds the hidden neurons, by samna module
HIDDEN_GROUP: Mapping[str, str] = {"xyloCore2": "reservoir", "xyloAudio3": "hidden", "xyloImu": "hidden"}


@dataclass(frozen=True)
class HiddenNeurons:
    """Columns over the hidden neurons, shape ``(hidden,)``, int64.

    Attributes:
        i_syn_decay, i_syn2_decay, v_mem_decay: decay codes ("dash"): the state loses ``state >> code`` a step.
        threshold: a neuron fires while its membrane is at or above it.
        v_mem_bias: added to the membrane every step (only where ``bias_enable``).
        alias_target: neuron that receives a copy of every spike, or ``NO_ALIAS``.
    """

    i_syn_decay: Int
    i_syn2_decay: Int
    v_mem_decay: Int
    threshold: Int
    v_mem_bias: Int
    alias_target: Int


@dataclass(frozen=True)
class OutputNeurons:
    """Columns over the output neurons, shape ``(outputs,)``, int64; as :class:`HiddenNeurons`, one synapse, no alias."""

    i_syn_decay: Int
    v_mem_decay: Int
    threshold: Int
    v_mem_bias: Int


@dataclass(frozen=True)
class InputGroup:
    """Input weights, int8, ``weights[channel, column]``; column ``j`` reaches hidden neuron ``j``."""

    weights: Int8
    syn2_weights: Int8
    weight_bit_shift: int


@dataclass(frozen=True)
class HiddenGroup:
    """Recurrent weights, int8, ``weights[pre, post]``, and the hidden neurons."""

    weights: Int8
    syn2_weights: Int8
    weight_bit_shift: int
    neurons: HiddenNeurons
    aliasing: bool


@dataclass(frozen=True)
class ReadoutGroup:
    """Output weights, int8, ``weights[row, output]``; the rows are the *last* hidden neurons, in order."""

    weights: Int8
    weight_bit_shift: int
    neurons: OutputNeurons


@dataclass(frozen=True)
class XyloConfiguration:
    """What is written to the chip.

    Attributes:
        samna_module: ``"xyloCore2"``, ``"xyloAudio3"`` or ``"xyloImu"``; decides the name of the hidden group.
        synapse2_enable, bias_enable: the chip's switches.
        operation_mode: always ``"AcceleratedTime"`` here: the host feeds events.
        time_resolution_wrap: main-clock cycles of a step in real-time mode; 0 in accelerated time, where it is unused.
    """

    samna_module: str
    input: InputGroup
    hidden: HiddenGroup
    readout: ReadoutGroup
    synapse2_enable: bool
    bias_enable: bool
    operation_mode: str = "AcceleratedTime"
    time_resolution_wrap: int = 0

    @property
    def n_inputs(self) -> int:
        """Number of input channels."""
        return int(self.input.weights.shape[0])

    @property
    def n_hidden(self) -> int:
        """Number of hidden neurons."""
        return int(self.hidden.weights.shape[0])

    @property
    def n_outputs(self) -> int:
        """Number of output neurons."""
        return int(self.readout.weights.shape[1])

    def to_dict(self) -> dict[str, Any]:
        """Return samna's structure: nested dicts, neurons as records, weights as lists."""
        hidden = {
            "weights": self.hidden.weights.tolist(),
            "syn2_weights": self.hidden.syn2_weights.tolist(),
            "weight_bit_shift": self.hidden.weight_bit_shift,
            "aliasing": self.hidden.aliasing,
            "neurons": _records(self.hidden.neurons),
        }
        return {
            "samna_module": self.samna_module,
            "operation_mode": self.operation_mode,
            "time_resolution_wrap": self.time_resolution_wrap,
            "synapse2_enable": self.synapse2_enable,
            "bias_enable": self.bias_enable,
            "input": {
                "weights": self.input.weights.tolist(),
                "syn2_weights": self.input.syn2_weights.tolist(),
                "weight_bit_shift": self.input.weight_bit_shift,
            },
            HIDDEN_GROUP[self.samna_module]: hidden,
            "readout": {
                "weights": self.readout.weights.tolist(),
                "weight_bit_shift": self.readout.weight_bit_shift,
                "neurons": _records(self.readout.neurons),
            },
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> XyloConfiguration:
        """Rebuild a configuration from :meth:`to_dict`; the two are inverse to each other."""
        hidden = data[HIDDEN_GROUP[data["samna_module"]]]
        n_hidden, n_out = len(hidden["neurons"]), len(data["readout"]["neurons"])
        return cls(
            samna_module=data["samna_module"],
            input=InputGroup(
                _matrix(data["input"]["weights"], None),
                _matrix(data["input"]["syn2_weights"], None),
                data["input"]["weight_bit_shift"],
            ),
            hidden=HiddenGroup(
                _matrix(hidden["weights"], n_hidden),
                _matrix(hidden["syn2_weights"], n_hidden),
                hidden["weight_bit_shift"],
                HiddenNeurons(**_columns(hidden["neurons"], HiddenNeurons)),
                hidden["aliasing"],
            ),
            readout=ReadoutGroup(
                _matrix(data["readout"]["weights"], n_out),
                data["readout"]["weight_bit_shift"],
                OutputNeurons(**_columns(data["readout"]["neurons"], OutputNeurons)),
            ),
            synapse2_enable=data["synapse2_enable"],
            bias_enable=data["bias_enable"],
            operation_mode=data["operation_mode"],
            time_resolution_wrap=data["time_resolution_wrap"],
        )

    def to_json(self) -> str:
        """Return :meth:`to_dict` as JSON text."""
        return json.dumps(self.to_dict(), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> XyloConfiguration:
        """Rebuild a configuration from :meth:`to_json`."""
        return cls.from_dict(json.loads(text))


def _names(group: type) -> tuple[str, ...]:
    return tuple(group.__dataclass_fields__)  # type: ignore[attr-defined]


def _records(neurons: HiddenNeurons | OutputNeurons) -> list[dict[str, int]]:
    names = _names(type(neurons))
    columns = [getattr(neurons, name).tolist() for name in names]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _columns(records: list[dict[str, int]], group: type) -> dict[str, Int]:
    return {name: np.array([r[name] for r in records], dtype=np.int64) for name in _names(group)}


def _matrix(rows: list[list[int]], width: int | None) -> Int8:
    values = np.array(rows, dtype=np.int64)
    if values.size == 0:
        values = values.reshape(len(rows), width or 0)
    if np.any(np.abs(values + 0.5) > 127.5):
        raise ValueError("weights lie outside int8")
    return values.astype(np.int8)
