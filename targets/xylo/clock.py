"""Cycles of a step by rockpool 3.1.0's worst-case model (``syns61201/power_cycles_model.py``); a second synapse adds none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nirhw.hardware import Hardware
from nirhw.network import Network
from nirhw.operators import Array
from nirhw.pipeline import Context


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


@dataclass(frozen=True, eq=False)
class Load:
    """What a chip step of a network takes, before it has relays and helpers.

    Attributes:
        step: its neurons.
        fan_out: hidden targets of every hidden neuron, ``(hidden,)``.
        cycles: of a step in which every channel and every neuron is active once.
        most: cycles that there are for a step of the network in real time.
    """

    step: Step
    fan_out: Array
    cycles: float
    most: float

    @classmethod
    def of(cls, network: Network, context: Context) -> Load:
        """Return the load of a legalized network."""
        layer, hardware = context.record.layer, context.hardware
        sizes = dict.fromkeys(("input", "hidden", "output"), 0)
        fan_out = []
        for pop in network.populations.values():
            sizes[layer[pop.name]] += pop.size
            if layer[pop.name] == "hidden":
                reached = {w.target for w in network.out_of(pop.name) if layer[w.target] == "hidden"}
                fan_out += [sum(network.populations[name].size for name in reached)] * pop.size
        step, targets = Step(sizes["input"], sizes["hidden"], sizes["output"]), np.array(fan_out, dtype=np.float64)
        cycles = step.cycles(np.ones(targets.size), targets, hardware)
        return cls(step, targets, cycles, hardware["clock_max_hz"] * network.dt / hardware.cycles["margin"])
