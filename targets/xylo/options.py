"""What a user can choose for Xylo, and the record in which its passes write what they found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirhw.fits import TensorFit, TimeConstantFit
from nirhw.network import Ints
from nirhw.operators import Array
from nirhw.options import option

from .kernels import Split

#: most chip steps of a row: 8 times the 31 spikes of a hidden neuron are a number below 256
STRETCH_MOST = 8


@dataclass(frozen=True)
class XyloOptions:
    """Options of the target ``xylo``; the metadata is what ``nirhw targets`` prints."""

    scaling: str = option(
        "error",
        "weight scale per neuron: by its largest weight, by a percentile, or by the least error of the drive",
        choices=("max", "percentile", "error"),
    )
    percentile: float = option(99.0, "share of a neuron's weights that is not clipped", between=(50.0, 100.0))
    rounding: str = option("nearest", "how weights become integers", choices=("nearest", "truncate"))
    gain: str = option(
        "area",
        "make up for decay before use, rounded time constants and several spikes a step, or leave weights alone",
        choices=("area", "none"),
    )
    synapses: str = option(
        "auto",
        "a second synapse of hidden neurons, where both answer an event more like the network's neuron than one, or only one",
        choices=("auto", "one"),
    )
    bursts: str = option(
        "hold",
        "keep neurons to one spike a step by a deep reset that gives back, where relays fit; or allow several",
        choices=("hold", "allow"),
    )
    align: str = option(
        "auto",
        "relay neurons so that branches meet in step, and stretched loops: where they fit, always, only for branches, never",
        choices=("auto", "always", "branches", "never"),
    )
    drivers: str = option(
        "auto",
        "with calibration: neurons that keep others to one spike a step, where that pays and the clock allows, or none",
        choices=("auto", "never"),
    )
    leak_bound: float = option(0.01, "largest leak of an IF neuron a step, as a share of its threshold", between=(0.0, 1.0))
    input_peak: int = option(15, "largest count per input channel and step that will be sent", between=(1, 15))
    time_stretch: int = option(1, "chip steps that each step of the network takes", between=(1, STRETCH_MOST))


@dataclass
class XyloRecord:
    """What the passes of the target found.

    Attributes:
        layer: "input", "hidden" or "output" by population.
        dt: step of the network in seconds, before it was stretched.
        lag: chip steps behind the reference by population.
        factor: chip drive per unit of network drive and scale, by population and port, ``(size,)``.
        constant: constant drive of the membrane a step in the network's units, by population, ``(size,)``.
        scale: chip units of membrane per unit of v, by population, ``(size,)``.
        shifts: weight shift by matrix: "input", "hidden", "readout".
        times, tensors: fits, for the report.
        responses: how responses to an event fit, for the report.
        fading: factor on what a spike takes off, since that fades as the decay code says, by population, ``(size,)``.
        splits: how two synapses stand for one, by population and port.
        reach: threshold register of held neurons beyond their threshold, in thresholds, by population, ``(size,)``.
        drives: population and its neurons that a population of drivers serves, by the drivers' name.
        delays: wanted delays and the relays they took, for the report.
        hidden_ids, output_ids, channels: chip neuron or channel by population, ``(size,)``.
    """

    layer: dict[str, str] = field(default_factory=dict)
    dt: float = 0.0
    lag: dict[str, int] = field(default_factory=dict)
    factor: dict[tuple[str, str], Array] = field(default_factory=dict)
    constant: dict[str, Array] = field(default_factory=dict)
    scale: dict[str, Array] = field(default_factory=dict)
    shifts: dict[str, int] = field(default_factory=dict)
    times: list[TimeConstantFit] = field(default_factory=list)
    tensors: list[TensorFit] = field(default_factory=list)
    responses: list[dict[str, Any]] = field(default_factory=list)
    fading: dict[str, Array] = field(default_factory=dict)
    splits: dict[tuple[str, str], Split] = field(default_factory=dict)
    reach: dict[str, Array] = field(default_factory=dict)
    drives: dict[str, tuple[str, Ints]] = field(default_factory=dict)
    delays: list[dict[str, Any]] = field(default_factory=list)
    hidden_ids: dict[str, Ints] = field(default_factory=dict)
    output_ids: dict[str, Ints] = field(default_factory=dict)
    channels: dict[str, NDArray[np.int64]] = field(default_factory=dict)
