"""What a user can choose for SpiNNaker2, and the record in which its passes write what they found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from nirhw.fits import TensorFit, TimeConstantFit
from nirhw.network import Ints
from nirhw.operators import Array


@dataclass(frozen=True)
class SpiNNaker2Options:
    """Options of the target ``spinnaker2``; the metadata is what ``nirhw targets`` prints."""

    conversion: str = field(
        default="nirhw",
        metadata={
            "choices": ("nirhw", "vendor"),
            "help": "parameters by nirhw's meaning of the network, or literally as py-spinnaker2's NIR converter sets them",
        },
    )
    application: str = field(
        default="auto",
        metadata={
            "choices": ("auto", "no_delay", "delay"),
            "help": "synapse words: 7-bit weights, or 4-bit weights with delays up to 7; auto: delays only where Delay nodes ask",
        },
    )
    convolution: str = field(
        default="auto",
        metadata={"choices": ("auto", "unroll"), "help": "convolutions as int8 kernels where legal, or as synapse rows"},
    )
    scaling: str = field(
        default="auto",
        metadata={
            "choices": ("auto", "max", "percentile", "error", "none"),
            "help": "weight scale: by the largest weight, a percentile, the least error, or 1; auto: error, or max if vendor",
        },
    )
    percentile: float = field(
        default=99.0,
        metadata={"range": (50.0, 100.0), "help": "share of the weights that is not clipped, with scaling=percentile"},
    )
    rounding: str = field(
        default="auto",
        metadata={
            "choices": ("auto", "nearest", "truncate"),
            "help": "how weights become integers; auto: nearest, or truncate if vendor",
        },
    )
    bias: str = field(
        default="source",
        metadata={
            "choices": ("source", "offset"),
            "help": "biases through synapses of an always-firing neuron (convolutions: as i_offset), or all as i_offset",
        },
    )
    align: str = field(
        default="always",
        metadata={
            "choices": ("always", "never"),
            "help": "relay neurons and delays so that branches meet in step, or only Delay nodes",
        },
    )
    layout: str = field(
        default="new", metadata={"choices": ("new", "old"), "help": "memory layout of a PE: of the newer or the older software"}
    )
    neurons_per_pe: int = field(
        default=256, metadata={"range": (1, 256), "help": "at most so many neurons a PE, such as for a short time step"}
    )
    record: str = field(
        default="outputs",
        metadata={
            "choices": ("outputs", "spikes", "all"),
            "help": "what the board keeps: outputs only, also the spikes of all populations, or also all membranes",
        },
    )
    fused: bool = field(
        default=False,
        metadata={"help": "emulate a multiply-add that rounds once; whether the board's compiler makes them is not known"},
    )
    steps: int = field(
        default=256, metadata={"range": (1, 10_000_000), "help": "time steps for which memory is set aside for recordings"}
    )
    step_seconds: float = field(
        default=0.0,
        metadata={"range": (0.0, 1000.0), "help": "time that a step takes on your board, if you measured it; 0: unknown"},
    )

    @property
    def vendor(self) -> bool:
        """Whether parameters are those of py-spinnaker2's converter."""
        return self.conversion == "vendor"

    @property
    def scale_rule(self) -> str:
        """The scaling that is in force."""
        if self.scaling != "auto":
            return self.scaling
        return "max" if self.vendor else "error"

    @property
    def truncates(self) -> bool:
        """Whether weights are cut towards zero."""
        return self.rounding == "truncate" or (self.rounding == "auto" and self.vendor)


@dataclass
class SpiNNaker2Record:
    """What the passes of the target found.

    Attributes:
        application: neuron application by population.
        lag: steps behind the reference by population.
        factor: change of v per unit of drive, by population and port, ``(size,)``.
        decays: share of the excitatory and of the inhibitory current kept a step, by population, ``(size,)`` each.
        scale: chip units of v per unit of the network's v, by population, ``(size,)``.
        kernels: integers of the projections that stay kernels, ``[in_channel, out_channel, row, column]``.
        offset: constant drive of v a step in the network's units (i_offset before scaling), by population, ``(size,)``.
        record: what the board keeps of every population.
        grain: neurons that stay together, by population: a channel where a convolution reads or writes it.
        cuts: first neurons of the slices and the population's size, by population.
        optimal: populations whose number of slices is proven to be the smallest.
        step_seconds: measured time of a step, 0 where unknown.
        places: chip, quad (x, y) and PE by slice, in the order of the configuration.
        placement: cost of the placement, a lower bound, and how it was found.
        times, tensors: fits, for the report.
        delays: wanted delays and how they are made, for the report.
    """

    application: dict[str, str] = field(default_factory=dict)
    lag: dict[str, int] = field(default_factory=dict)
    factor: dict[tuple[str, str], Array] = field(default_factory=dict)
    decays: dict[str, tuple[Array, Array]] = field(default_factory=dict)
    scale: dict[str, Array] = field(default_factory=dict)
    kernels: dict[str, Ints] = field(default_factory=dict)
    offset: dict[str, Array] = field(default_factory=dict)
    record: dict[str, tuple[str, ...]] = field(default_factory=dict)
    grain: dict[str, int] = field(default_factory=dict)
    cuts: dict[str, list[int]] = field(default_factory=dict)
    optimal: set[str] = field(default_factory=set)
    step_seconds: float = 0.0
    places: list[tuple[int, tuple[int, int], int]] = field(default_factory=list)
    placement: dict[str, Any] = field(default_factory=dict)
    times: list[TimeConstantFit] = field(default_factory=list)
    tensors: list[TensorFit] = field(default_factory=list)
    delays: list[dict[str, Any]] = field(default_factory=list)
