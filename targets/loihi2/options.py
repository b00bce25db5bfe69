"""What a user can choose for Loihi 2, and the record in which its passes write what they found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from nirhw.fits import TensorFit, TimeConstantFit
from nirhw.network import Ints
from nirhw.operators import Array
from nirhw.options import option

from .config import CoreSlice, Group, Synapses


@dataclass(frozen=True)
class Loihi2Options:
    """Options of the target ``loihi2``; the metadata is what ``nirhw targets`` prints."""

    conversion: str = option(
        "nirhw",
        "formats fitted to the network, or literally those of the NIR paper's Lava script (1.0 is 256 weight units)",
        choices=("nirhw", "lava"),
    )
    weight_bits: int = option(8, "bits of a weight, its sign among them where a matrix has both signs", between=(1, 8))
    scaling: str = option(
        "error",
        "weight scale per population: by its largest weight, by a percentile, or by the least error",
        choices=("max", "percentile", "error"),
    )
    percentile: float = option(99.9, "share of a matrix's weights that is not clipped", between=(50.0, 100.0))
    rounding: str = option("nearest", "how weights become integers", choices=("nearest", "truncate"))
    signs: str = option(
        "auto",
        "a matrix with both signs as one of even weights (joint), or as two with a bit more each (split); auto: two "
        "where a population's synapses then fit one core",
        choices=("auto", "joint", "split"),
    )
    ranges: int = option(
        4,
        "most matrices that one becomes by the size of its weights, each with an exponent of its own, where outliers make "
        "it coarse and a population's synapses then fit one core; few weights stand in several, which add up; 1: none",
        between=(1, 8),
    )
    bias: str = option(
        "auto",
        "constant drives in registers or from a neuron that always fires; auto: the neuron where a synapse filters",
        choices=("auto", "register", "source"),
    )
    soft_reset: bool = option(
        False, "populations that subtract run a neuron program of their own, which lava lacks and no chip verified"
    )
    netx: bool = option(
        False, "keep to what .net files of lava-dl hold: no weight exponents, whole matrices, biases at exponent 6"
    )
    share_kernels: bool = option(True, "keep convolutions shared where lava's Conv can, or unroll all of them")
    align: str = option("always", "delay the shorter of two branches so that they meet in step", choices=("always", "never"))
    worst_case: float = option(
        1.0,
        "share of the worst-case drive that cannot overflow; below 1 formats are finer and overflows only counted",
        between=(0.001, 1.0),
    )
    input_peak: int = option(
        1, "largest count per input channel and step; above 1 inputs carry it as payload", between=(1, 65535)
    )
    groups: int = option(32, "most register sets a population is split into before time constants are merged", between=(1, 4096))
    chips: int = option(0, "use at most so many chips; 0: as many as the board has", between=(0, 1152))


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
