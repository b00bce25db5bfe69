"""What Speck does otherwise than a network, one property at a time and with nothing that makes up for it."""

from __future__ import annotations

from typing import Any

import numpy as np

from nirhw.network import BURST_MAX, Network, Population
from nirhw.operators import Array, Convolution, Pooling
from nirhw.pipeline import Context
from nirhw.properties import Property, bias_at_once, bursts, per_unit, weights

from .geometry import Plane, Stencil
from .legalize import step_bias


def properties(network: Network, lowered: Network, context: Context) -> tuple[Property, ...]:
    """Return the chip's properties for a network; see :class:`nirhw.pipeline.Target`."""
    layers = [network.populations[name] for name in context.record.layers]
    eager = {d.nodes for d in context.deviations if d.rule == "event-driven"}
    leaks = {p.name: _leak(p, context) for p in layers if np.any(step_bias(p))}
    rounded = any(not np.allclose(leaks[p.name], step_bias(p), rtol=1e-9, atol=0.0) for p in layers if p.name in leaks)
    return (
        Property(
            "8-bit-weights",
            "weights are 8-bit integers beside one integer threshold a layer",
            weights(network, lowered, _weights(lowered, context)),
        ),
        Property(
            "several-spikes",
            "a neuron fires as often in a step as events lift it over its threshold (in which order is not shown)",
            bursts([p for p in layers if p.nodes in eager], BURST_MAX),
        ),
        Property("bias-rounding", "biases are whole numbers beside the threshold", bias_at_once(leaks) if rounded else None),
    )


def _unit(pop: Population, context: Context) -> Array:
    """Return chip units per unit of membrane in the network, ``(size,)``."""
    scale: Array = context.record.integers[pop.name].scale
    return np.repeat(scale, pop.size // scale.size)


def _weights(lowered: Network, context: Context) -> dict[str, Any]:
    found = {}
    for name, layer in context.record.layers.items():
        pop = lowered.populations[name]
        assert pop.membrane is not None  # every layer is spiking
        for way in layer.ways:
            (proj,) = (p for p in lowered.into(name) if p.name == way.projection)
            unit = _unit(pop, context) * pop.membrane.gain * pop.port(proj.port).gain
            kernel = context.record.integers[name].kernels[way.projection]
            matrix = _matrix(kernel, way.stencil, context.record.planes[way.source])
            # a flat input may have fewer addresses than the map that it is laid out on
            found[proj.name] = per_unit(matrix[:, : lowered.populations[way.source].size], unit)
    return found


def _matrix(kernel: Array, stencil: Stencil, source: Plane) -> Any:
    """Return integers as matrix ``[post, pre]``: a sum pool of the source's map, then a convolution."""
    pads = tuple((lead, 0) for lead in stencil.lead)
    convolution = Convolution(
        stencil.source, stencil.target, weight=kernel, stride=stencil.stride, pads=pads, dilation=(1, 1), groups=1
    )
    if stencil.pooling == 1:
        return convolution.matrix
    side = (stencil.pooling, stencil.pooling)
    pool = Pooling(source, stencil.source, kernel=side, stride=side, pads=((0, 0), (0, 0)), average=False)
    return convolution.matrix @ pool.matrix


def _leak(pop: Population, context: Context) -> Array:
    """Return what a tick adds to the membrane, by step, ``(size,)``."""
    bias = context.record.integers[pop.name].bias
    return np.asarray(np.repeat(bias, pop.size // bias.size) / _unit(pop, context) / context.options.tick_steps)
