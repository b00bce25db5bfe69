"""Which convolutions the application ``lif_conv2d`` can hold as kernels.

A source slice holds whole channels and a target slice whole output channels, so a map larger than a PE is unrolled to synapse
rows instead; so are groups, dilation, and steps that differ along the two axes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from nirhw.network import Network, Population
from nirhw.operators import Array, Chain, Convolution, Operator, Pooling, size_of
from nirhw.pipeline import Context


@dataclass(frozen=True, eq=False)
class Kernel:
    """A convolution behind an optional pooling, as ``snn.Conv2DProjection`` takes it.

    Attributes:
        weight: ``[in_channel, out_channel, row, column]``, the divisor of an average already in it.
        in_shape: (channels, rows, columns) of the source.
        out_plane: neurons of an output channel.
        geometry: the fields of a :class:`nirhw.targets.spinnaker2.synapses.ConvBlock` beside source and kernel.
    """

    weight: Array
    in_shape: tuple[int, ...]
    out_plane: int
    geometry: dict[str, Any]

    @property
    def in_plane(self) -> int:
        """Neurons of an input channel."""
        return size_of(self.in_shape[1:])


def kernel_of(operator: Operator) -> Kernel | None:
    """Return ``operator`` as a kernel, or None where it is none that the chip's application can express."""
    parts = list(operator.parts) if isinstance(operator, Chain) else [operator]
    parts = [p for p in parts if not p.is_identity]
    if not parts or len(parts) > 2 or not isinstance(parts[-1], Convolution):
        return None
    conv, pool, factor = parts[-1], 1, 1.0
    if conv.weight.ndim != 4 or conv.groups != 1 or set(conv.dilation) != {1} or len(set(conv.stride)) != 1:
        return None
    if len(parts) == 2:
        first = parts[0]
        if not isinstance(first, Pooling) or len(first.in_shape) != 3 or np.any(first.pads):
            return None
        if len({*first.kernel, *first.stride}) != 1:
            return None
        pool = first.kernel[0]
        factor = 1.0 / pool**2 if first.average else 1.0
    in_shape = parts[0].in_shape
    (top, bottom), (left, right) = conv.pads
    geometry = {"in_height": in_shape[1], "in_width": in_shape[2], "stride": conv.stride[0], "pool": pool}
    geometry |= {"pad_top": top, "pad_bottom": bottom, "pad_left": left, "pad_right": right}
    return Kernel(conv.weight.swapaxes(0, 1) * factor, in_shape, size_of(conv.out_shape[1:]), geometry)


def convolutional(network: Network, context: Context, delayed: Iterable[str]) -> dict[str, dict[str, int]]:
    """Return the populations that run as ``lif_conv2d``, each with the plane of every population that must be cut by channels.

    Args:
        network: before quantization.
        context: with ``record.factor`` and ``record.decays`` filled.
        delayed: populations whose synapses need delays of their own.
    """
    neurons = min(context.hardware["targets_per_pe"], context.options.neurons_per_pe)
    limit = {n: context.hardware["sources_per_pe"] if p.rule == "input" else neurons for n, p in network.populations.items()}
    chosen: dict[str, dict[str, int]] = {}
    planes: dict[str, int] = {}
    barred = set(delayed)
    for pop in network.populations.values():
        wanted = None if pop.name in barred else _planes(network, pop, context)
        if wanted is None or any(plane > limit[name] or planes.get(name, plane) != plane for name, plane in wanted.items()):
            continue
        chosen[pop.name] = wanted
        planes |= wanted
    return chosen


def _planes(network: Network, pop: Population, context: Context) -> dict[str, int] | None:
    """Return the plane of ``pop`` and of its sources, or None where some synapses are no kernel."""
    ways = network.into(pop.name)
    if not ways or any(port.onsets for port in pop.ports) or any(np.any(d) for d in context.record.decays[pop.name]):
        return None
    planes: dict[str, int] = {}
    for way in ways:
        kernel = kernel_of(way.operator)
        if kernel is None or way.delay_by != "all":
            return None
        for name, plane in ((way.source, kernel.in_plane), (pop.name, kernel.out_plane)):
            if planes.setdefault(name, plane) != plane:
                return None
        factor = context.record.factor[pop.name, way.port].reshape(-1, kernel.out_plane)
        if np.any(factor != factor[:, :1]):
            return None
    return planes
