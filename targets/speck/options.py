"""What a user can choose for Speck, and the record in which its passes write what they found."""

from __future__ import annotations

from dataclasses import dataclass, field

from nirhw.fits import TensorFit

from .geometry import Plane
from .layers import Integers, Layer, Plan


@dataclass(frozen=True)
class SpeckOptions:
    """Options of the target ``speck``; the metadata is what ``nirhw targets`` prints."""

    scaling: str = field(
        default="error",
        metadata={
            "choices": ("max", "percentile", "error"),
            "help": "weight scale per layer: by its largest weight, by a percentile, or by the least error of the drive",
        },
    )
    percentile: float = field(
        default=99.9, metadata={"range": (50.0, 100.0), "help": "share of a layer's weights that is not clipped"}
    )
    rounding: str = field(default="nearest", metadata={"choices": ("nearest", "truncate"), "help": "how weights become integers"})
    bias: str = field(
        default="refuse",
        metadata={
            "choices": ("refuse", "leak"),
            "help": "what becomes of a bias: refused, or added as leak on every tick of the slow clock",
        },
    )
    tick_steps: int = field(
        default=1, metadata={"range": (1, 1 << 20), "help": "steps of the network between two ticks of the slow clock"}
    )
    input: str = field(
        default="host",
        metadata={"choices": ("host", "dvs"), "help": "where input events come from: the host, or the chip's sensor"},
    )
    dvs_pooling: int = field(default=1, metadata={"choices": (1, 2, 4), "help": "sum pooling of sensor events"})
    dvs_left: int = field(default=0, metadata={"range": (0, 127), "help": "first sensor column that is kept, after dvs_pooling"})
    dvs_top: int = field(default=0, metadata={"range": (0, 127), "help": "first sensor row that is kept, after dvs_pooling"})
    dvs_mirror: str = field(
        default="none", metadata={"choices": ("none", "x", "y", "xy"), "help": "flips of the sensor's picture"}
    )
    dvs_swap: bool = field(default=False, metadata={"help": "exchange rows and columns of the sensor's picture, after the flips"})
    readout: bool = field(
        default=False, metadata={"help": "let the chip's readout layer find the most active class (15 classes at most)"}
    )
    monitor: str = field(
        default="outputs", metadata={"choices": ("outputs", "all"), "help": "which layers send their spikes to the host"}
    )
    input_peak: int = field(
        default=0,
        metadata={"range": (0, 1 << 20), "help": "largest count per input address and step that will be sent; 0: any"},
    )
    order: str = field(
        default="feature",
        metadata={
            "choices": ("feature", "row", "reversed", "shuffled"),
            "help": "order in which the emulator passes on the spikes of one event; the chip's is not documented",
        },
    )
    input_order: str = field(
        default="ascending",
        metadata={
            "choices": ("ascending", "shuffled"),
            "help": "order of the events of one row of input, by address or drawn anew for each row",
        },
    )
    seed: int = field(default=0, metadata={"range": (0, (1 << 31) - 1), "help": "for both orders 'shuffled'"})


@dataclass
class SpeckRecord:
    """What the passes of the target found.

    Attributes:
        planes: map (C, H, W) by population.
        layers: by population, in the order of the network.
        integers: whole numbers by population.
        tensors: fits, for the report.
        plan: cores and destinations.
    """

    planes: dict[str, Plane] = field(default_factory=dict)
    layers: dict[str, Layer] = field(default_factory=dict)
    integers: dict[str, Integers] = field(default_factory=dict)
    tensors: list[TensorFit] = field(default_factory=list)
    plan: Plan | None = None
