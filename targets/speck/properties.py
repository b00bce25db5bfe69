"""What Speck does otherwise than a network, one property at a time and with nothing that makes up for it."""

from __future__ import annotations

from typing import Any

import numpy as np

from nirhw.network import BURST_MAX, Network, Population
from nirhw.operators import Array
from nirhw.pipeline import Context
from nirhw.properties import Property, bias_at_once, bursts, on_grid, weights

from .legalize import step_bias
from .quantize import weight_grid


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
    grid, found = weight_grid(context), {}
    for proj in lowered.projections:
        pop = lowered.populations[proj.target]
        assert pop.membrane is not None  # every layer is spiking
        unit = _unit(pop, context) * pop.membrane.gain * pop.port(proj.port).gain
        found[proj.name] = on_grid(proj, grid, unit)
    return found


def _leak(pop: Population, context: Context) -> Array:
    """Return what a tick adds to the membrane, by step, ``(size,)``."""
    bias = context.record.integers[pop.name].bias
    return np.asarray(np.repeat(bias, pop.size // bias.size) / _unit(pop, context) / context.options.tick_steps)
