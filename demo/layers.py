"""Layers without state on ``signal[step, sample, ...]``, with their NIR nodes, and chains of layers and populations."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import nir
import numpy as np
import torch
from learning import write_network
from neurons import Population
from torch import Tensor, nn
from torch.nn import functional


class Linear(nn.Linear):
    """All to all."""

    def node(self) -> nir.NIRNode:
        """Linear, or Affine where there is a bias."""
        if self.bias is None:
            return nir.Linear(weight=as_float32(self.weight))
        return nir.Affine(weight=as_float32(self.weight), bias=as_float32(self.bias))


class Convolution(nn.Conv2d):
    """3x3 without bias on square images of ``side``, which it keeps."""

    def __init__(self, inputs: int, outputs: int, side: int) -> None:
        super().__init__(inputs, outputs, 3, padding=1, bias=False)
        self.side = side

    def forward(self, signal: Tensor) -> Tensor:
        return over_steps(super().forward, signal)

    def node(self) -> nir.Conv2d:
        """The convolution with a bias of zero, which NIR requires."""
        return nir.Conv2d(
            input_shape=(self.side, self.side),
            weight=as_float32(self.weight),
            stride=1,
            padding=1,
            dilation=1,
            groups=1,
            bias=np.zeros(self.out_channels, dtype=np.float32),
        )


class SumPool(nn.Module):
    """2x2 sums without overlap."""

    def forward(self, signal: Tensor) -> Tensor:
        return over_steps(lambda image: 4 * functional.avg_pool2d(image, 2), signal)

    def node(self) -> nir.SumPool2d:
        """The pooling in NIR."""
        return nir.SumPool2d(kernel_size=np.array([2, 2]), stride=np.array([2, 2]), padding=np.array([0, 0]))


class Flatten(nn.Module):
    """From images of ``shape`` to a vector."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, signal: Tensor) -> Tensor:
        return signal.flatten(2)

    def node(self) -> nir.Flatten:
        """The reshaping in NIR."""
        return nir.Flatten(input_type={"input": np.array(self.shape)}, start_dim=0, end_dim=-1)


class Chain(nn.Module):
    """Layers and populations one behind another, by NIR node name; the last is a population.

    A chain answers in the same step, so each member runs over all steps at once.
    """

    def __init__(self, shape: tuple[int, ...], members: dict[str, nn.Module]) -> None:
        super().__init__()
        self.shape = shape
        self.members = nn.ModuleDict(members)

    def forward(self, spikes: Tensor) -> list[Tensor]:
        """Rasters ``[step, sample, *shape]`` of all populations for ``spikes[sample, step, *shape]``."""
        signal = spikes.transpose(0, 1)
        rasters = []
        for member in self.members.values():
            signal = member(signal)
            if isinstance(member, Population):
                rasters.append(signal)
        return rasters

    def export(self, path: Path) -> None:
        """Write the chain between an Input and an Output."""
        *_, last = self.members.values()
        nodes = {
            "input": nir.Input(input_type={"input": np.array(self.shape)}),
            **{name: member.node() for name, member in self.members.items()},
            "output": nir.Output(output_type={"output": np.array(last.shape)}),
        }
        write_network(path, nodes, list(pairwise(nodes)))


def over_steps(layer: Callable[[Tensor], Tensor], signal: Tensor) -> Tensor:
    """Apply an image layer to every step of ``signal[step, sample, ...]`` in one call."""
    return layer(signal.flatten(0, 1)).unflatten(0, signal.shape[:2])


def as_float32(parameter: torch.Tensor) -> np.ndarray:
    """The values as they stand in the file."""
    return parameter.detach().float().numpy()
