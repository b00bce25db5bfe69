"""Cycles of a step by rockpool 3.1.0's worst-case model (``syns61201/power_cycles_model.py``); a second synapse adds none."""

from __future__ import annotations

from dataclasses import dataclass

from nirhw.hardware import Hardware
from nirhw.operators import Array


@dataclass(frozen=True)
class Step:
    """What is there in every step: numbers of input channels, hidden neurons and output neurons."""

    inputs: int
    hidden: int
    outputs: int

    def cycles(self, events: Array, fan_out: Array, hardware: Hardware) -> float:
        """Return the cycles of a step in which every channel is active once.

        Args:
            events: spikes of every hidden neuron in the step, ``(hidden,)``.
            fan_out: hidden targets of every hidden neuron, ``(hidden,)``.
            hardware: description with the model's constants.
        """
        c = hardware.cycles
        return float(
            self.inputs * (c["per_input_target"] * self.hidden + c["per_input"])
            + (events * event_cycles(fan_out, self.outputs, hardware)).sum()
            + c["per_hidden_update"] * self.hidden
            + c["per_output_update"] * self.outputs
        )


def event_cycles(fan_out: Array | float, outputs: int, hardware: Hardware) -> Array | float:
    """Return the cycles of one spike of a hidden neuron with ``fan_out`` hidden targets that also reaches ``outputs`` outputs."""
    c = hardware.cycles
    hidden = c["per_hidden_target"] * fan_out + c["per_hidden"]
    return hidden + c["per_output_source"] + c["per_output_source_target"] * outputs
