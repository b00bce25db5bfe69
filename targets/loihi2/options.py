"""What a user can choose for Loihi 2, and the record in which its passes write what they found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from nirhw.fits import TensorFit, TimeConstantFit
from nirhw.network import Ints
from nirhw.operators import Array

from .config import CoreSlice, Group, Synapses


@dataclass(frozen=True)
class Loihi2Options:
    """Options of the target ``loihi2``; the metadata is what ``nirhw targets`` prints."""

    conversion: str = field(
        default="nirhw",
        metadata={
            "choices": ("nirhw", "lava"),
            "help": "formats fitted to the network, or literally those of the NIR paper's Lava script (1.0 is 256 weight units)",
        },
    )
    weight_bits: int = field(
        default=8, metadata={"range": (1, 8), "help": "bits of a weight, its sign among them where a matrix has both signs"}
    )
    scaling: str = field(
        default="error",
        metadata={
            "choices": ("max", "percentile", "error"),
            "help": "weight scale per population: by its largest weight, by a percentile, or by the least error",
        },
    )
    percentile: float = field(
        default=99.9, metadata={"range": (50.0, 100.0), "help": "share of a matrix's weights that is not clipped"}
    )
    rounding: str = field(default="nearest", metadata={"choices": ("nearest", "truncate"), "help": "how weights become integers"})
    signs: str = field(
        default="auto",
        metadata={
            "choices": ("auto", "joint", "split"),
            "help": "a matrix with both signs as one of even weights (joint), or as two with a bit more each (split); auto: two "
            "where a population's synapses then fit one core",
        },
    )
    bias: str = field(
        default="auto",
        metadata={
            "choices": ("auto", "register", "source"),
            "help": "constant drives in registers or from a neuron that always fires; auto: the neuron where a synapse filters",
        },
    )
    soft_reset: bool = field(
        default=False,
        metadata={"help": "populations that subtract run a neuron program of their own, which lava lacks and no chip verified"},
    )
    netx: bool = field(
        default=False,
        metadata={"help": "keep to what .net files of lava-dl hold: no weight exponents, whole matrices, biases at exponent 6"},
    )
    share_kernels: bool = field(
        default=True, metadata={"help": "keep convolutions shared where lava's Conv can, or unroll all of them"}
    )
    align: str = field(
        default="always",
        metadata={"choices": ("always", "never"), "help": "delay the shorter of two branches so that they meet in step"},
    )
    worst_case: float = field(
        default=1.0,
        metadata={
            "range": (0.001, 1.0),
            "help": "share of the worst-case drive that cannot overflow; below 1 formats are finer and overflows only counted",
        },
    )
    input_peak: int = field(
        default=1,
        metadata={"range": (1, 65535), "help": "largest count per input channel and step; above 1 inputs carry it as payload"},
    )
    groups: int = field(
        default=32,
        metadata={"range": (1, 4096), "help": "most register sets a population is split into before time constants are merged"},
    )
    chips: int = field(default=0, metadata={"range": (0, 1152), "help": "use at most so many chips; 0: as many as the board has"})


@dataclass(frozen=True)
class HeadRoom:
    """How far the states of a population can get, as shares of what 24 bits hold.

    Attributes:
        population: name.
        u: largest current when all sources fire in every step.
        v_high: highest membrane before a threshold is met; of a population without one, ever.
        v_low: lowest membrane; infinite where nothing bounds it and it saturates.
        saturates_at: lowest membrane that 24 bits hold, in thresholds; of a population without one, in its own units.
    """

    population: str
    u: float
    v_high: float
    v_low: float
    saturates_at: float


@dataclass
class Loihi2Record:
    """What the passes of the target found.

    Attributes:
        lag: steps behind the reference by population.
        weight_scale: by population and port, what a weight of the network becomes in units of the membrane, ``(size,)``.
        constant: constant drive of the membrane a step in the network's units, by population, ``(size,)``.
        unit: value of the membrane that becomes one of :attr:`mantissa`, by population, ``(size,)``; thresholds where there are.
        mantissa: units of 64 chip steps per :attr:`unit`, by population: the threshold register where there is one.
        models: neuron program by population.
        times, tensors, head_room: fits and bounds, for the report.
        delays: wanted delays, for the report.
        splits: populations with several register sets: how many they had, how many they have.
        members: neurons of each register set, by population.
        cuts: bounds of the slices, by group.
        groups, synapses, cores: the configuration's parts.
        cut: messages between chips a step when everything fires: used, and a lower bound.
    """

    lag: dict[str, int] = field(default_factory=dict)
    weight_scale: dict[tuple[str, str], Array] = field(default_factory=dict)
    constant: dict[str, Array] = field(default_factory=dict)
    unit: dict[str, Array] = field(default_factory=dict)
    mantissa: dict[str, int] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)
    times: list[TimeConstantFit] = field(default_factory=list)
    tensors: list[TensorFit] = field(default_factory=list)
    head_room: list[HeadRoom] = field(default_factory=list)
    delays: list[dict[str, Any]] = field(default_factory=list)
    splits: dict[str, tuple[int, int]] = field(default_factory=dict)
    members: dict[str, list[Ints]] = field(default_factory=dict)
    cuts: dict[str, list[int]] = field(default_factory=dict)
    groups: list[Group] = field(default_factory=list)
    synapses: list[Synapses] = field(default_factory=list)
    cores: list[CoreSlice] = field(default_factory=list)
    cut: tuple[int, int] = (0, 0)
