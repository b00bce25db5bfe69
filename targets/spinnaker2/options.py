"""What a user can choose for SpiNNaker2, and the record in which its passes write what they found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from nirhw.fits import TensorFit, TimeConstantFit
from nirhw.network import Ints
from nirhw.operators import Array
from nirhw.options import option


@dataclass(frozen=True)
class SpiNNaker2Options:
    """Options of the target ``spinnaker2``; the metadata is what ``nirhw targets`` prints."""

    conversion: str = option(
        "nirhw",
        "parameters by nirhw's meaning of the network, or literally as py-spinnaker2's NIR converter sets them",
        choices=("nirhw", "vendor"),
    )
    application: str = option(
        "auto",
        "synapse words: 7-bit weights, or 4-bit weights with delays up to 7; auto: delays only where Delay nodes ask",
        choices=("auto", "no_delay", "delay"),
    )
    convolution: str = option("auto", "convolutions as int8 kernels where legal, or as synapse rows", choices=("auto", "unroll"))
    scaling: str = option(
        "auto",
        "weight scale: by the largest weight, a percentile, the least error, or 1; auto: error, or max if vendor",
        choices=("auto", "max", "percentile", "error", "none"),
    )
    percentile: float = option(99.0, "share of the weights that is not clipped, with scaling=percentile", between=(50.0, 100.0))
    rounding: str = option(
        "auto", "how weights become integers; auto: nearest, or truncate if vendor", choices=("auto", "nearest", "truncate")
    )
    words: int = option(
        4,
        "most words of 4 bits that add up to one weight, which lets few large weights leave the others a finer scale; a neuron "
        "gets about 1.25 words a weight at most; 1: none",
        between=(1, 8),
    )
    bias: str = option(
        "source",
        "biases through synapses of an always-firing neuron (convolutions: as i_offset), or all as i_offset",
        choices=("source", "offset"),
    )
    align: str = option(
        "always", "relay neurons and delays so that branches meet in step, or only Delay nodes", choices=("always", "never")
    )
    layout: str = option("new", "memory layout of a PE: of the newer or the older software", choices=("new", "old"))
    neurons_per_pe: int = option(256, "at most so many neurons a PE, such as for a short time step", between=(1, 256))
    record: str = option(
        "outputs",
        "what the board keeps: outputs only, also the spikes of all populations, or also all membranes",
        choices=("outputs", "spikes", "all"),
    )
    fused: bool = option(False, "emulate a multiply-add that rounds once; whether the board's compiler makes them is not known")
    steps: int = option(256, "time steps for which memory is set aside for recordings", between=(1, 10_000_000))
    step_seconds: float = option(
        0.0, "time that a step takes on your board, if you measured it; 0: unknown", between=(0.0, 1000.0)
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
        bias_gain: factor on biases, by population: 1 unless calibration turned it.
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
    bias_gain: dict[str, float] = field(default_factory=dict)
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
