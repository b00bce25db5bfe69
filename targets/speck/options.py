"""What a user can choose for Speck, and the record in which its passes write what they found."""

from __future__ import annotations

from dataclasses import dataclass, field

from nirhw.fits import TensorFit
from nirhw.options import option

from .geometry import Plane
from .layers import Integers, Layer, Plan


@dataclass(frozen=True)
class SpeckOptions:
    """Options of the target ``speck``; the metadata is what ``nirhw targets`` prints."""

    scaling: str = option(
        "error",
        "weight scale per layer: by its largest weight, by a percentile, or by the least error of the drive",
        choices=("max", "percentile", "error"),
    )
    percentile: float = option(99.9, "share of a layer's weights that is not clipped", between=(50.0, 100.0))
    rounding: str = option("nearest", "how weights become integers", choices=("nearest", "truncate"))
    bias: str = option(
        "refuse", "what becomes of a bias: refused, or added as leak on every tick of the slow clock", choices=("refuse", "leak")
    )
    tick_steps: int = option(1, "steps of the network between two ticks of the slow clock", between=(1, 1 << 20))
    input: str = option("host", "where input events come from: the host, or the chip's sensor", choices=("host", "dvs"))
    dvs_pooling: int = option(1, "sum pooling of sensor events", choices=(1, 2, 4))
    dvs_left: int = option(0, "first sensor column that is kept, after dvs_pooling", between=(0, 127))
    dvs_top: int = option(0, "first sensor row that is kept, after dvs_pooling", between=(0, 127))
    dvs_mirror: str = option("none", "flips of the sensor's picture", choices=("none", "x", "y", "xy"))
    dvs_swap: bool = option(False, "exchange rows and columns of the sensor's picture, after the flips")
    readout: bool = option(False, "let the chip's readout layer find the most active class (15 classes at most)")
    monitor: str = option("outputs", "which layers send their spikes to the host", choices=("outputs", "all"))
    input_peak: int = option(0, "largest count per input address and step that will be sent; 0: any", between=(0, 1 << 20))
    order: str = option(
        "feature",
        "order in which the emulator passes on the spikes of one event; the chip's is not documented",
        choices=("feature", "row", "reversed", "shuffled"),
    )
    input_order: str = option(
        "ascending",
        "order of the events of one row of input, by address or drawn anew for each row",
        choices=("ascending", "shuffled"),
    )
    seed: int = option(0, "for both orders 'shuffled'", between=(0, (1 << 31) - 1))


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
