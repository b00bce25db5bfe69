"""What the passes of the target pass on: layers with their geometry, their integers, and the cores that hold them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nirhw.operators import Array

from .geometry import Frame, Plane, Stencil


@dataclass(frozen=True, eq=False)
class Way:
    """A projection into a layer.

    Attributes:
        projection, source: names.
        stencil: the linear map; its pooling happens at the source.
        first: first of the layer's input channels that it uses; ways with equal kernels share theirs.
        owner: whether it is the first way on these channels.
    """

    projection: str
    source: str
    stencil: Stencil
    first: int
    owner: bool


@dataclass(frozen=True)
class Region:
    """A rectangle of a map: rows and columns from ``top`` and ``left``."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True, eq=False)
class Layer:
    """A population as convolution and neurons.

    Attributes:
        population: name.
        plane: its map, (C, H, W).
        ways: what arrives.
        in_channels: channels that arrive.
        in_size: rows and columns of what arrives, after pooling.
        regions, frames: rectangles that become units of their own, and the frame of each.
        channel_step: a channel of the population is so many channels of the core apart (readout erratum), else 1.
    """

    population: str
    plane: Plane
    ways: tuple[Way, ...]
    in_channels: int
    in_size: tuple[int, int]
    regions: tuple[Region, ...]
    frames: tuple[Frame, ...]
    channel_step: int = 1

    @property
    def core_channels(self) -> int:
        """Channels that the layer takes on a core."""
        return (self.plane[0] - 1) * self.channel_step + 1


@dataclass(frozen=True, eq=False)
class Integers:
    """The whole numbers of a layer.

    Attributes:
        kernels: float64 holding whole weights, by projection, ``[out, in, ky, kx]``.
        threshold: of every neuron.
        start: initial state of every neuron.
        bias: leak a tick, by channel.
        scale: chip units per unit of membrane in the network, by channel.
    """

    kernels: dict[str, Array]
    threshold: int
    start: int
    bias: NDArray[np.int64]
    scale: Array


@dataclass(frozen=True)
class Part:
    """A range of channels of a region of a layer, on one core.

    Attributes:
        core: its number.
        population, region, replica: which part; replicas of a layer serve different targets.
        first, channels: channels of the layer.
    """

    core: int
    population: str
    region: int
    replica: int
    first: int
    channels: int


@dataclass(frozen=True)
class Link:
    """A destination: from a core (or from an input, by name) to a core or the readout."""

    source: int | str
    target: int
    projection: str
    pooling: int
    shift: int


@dataclass(frozen=True)
class Plan:
    """Which core does what, and how well that was proved.

    Attributes:
        parts: by core.
        links: destinations.
        status: "optimal" where no plan needs fewer cores, else "feasible".
        bound: least number of cores that any plan needs.
    """

    parts: tuple[Part, ...]
    links: tuple[Link, ...]
    status: str
    bound: int
