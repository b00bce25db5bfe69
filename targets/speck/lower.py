"""From planned layers to the configuration and the map between the host's arrays and the cores' neurons."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirhw.network import Network
from nirhw.pipeline import Context

from .config import (
    N_CORES,
    CnnLayerConfig,
    CnnLayerDestination,
    CnnLayerDimensions,
    CnnLayerShape,
    DvsLayerConfig,
    ReadoutConfig,
    SpeckConfiguration,
    Vec2,
    Vec2Flag,
)
from .geometry import embedded, shifted
from .layers import Layer, Link, Part, Plan
from .quantize import lower_bound


def lower(network: Network, context: Context) -> tuple[SpeckConfiguration, dict[str, Any]]:
    """Return the configuration and the io map of a planned network."""
    plan = context.record.plan
    cores = [CnnLayerConfig.unused() for _ in range(N_CORES)]
    for part in plan.parts:
        cores[part.core] = _core(part, network, context)
    config = SpeckConfiguration(context.hardware.interface, tuple(cores), _dvs(plan, network, context), _readout(context))
    return config, _io_map(plan, network, context)


def _core(part: Part, network: Network, context: Context) -> CnnLayerConfig:
    record, hardware = context.record, context.hardware
    layer, pop = record.layers[part.population], network.populations[part.population]
    integers, region, frame = record.integers[pop.name], layer.regions[part.region], layer.frames[part.region]
    size = frame.kernel_size
    kernel = np.zeros((layer.core_channels, layer.in_channels, size, size))
    for way in layer.ways:
        if way.owner:
            stencil = shifted(way.stencil, region.top, region.left)
            moved = embedded(stencil, integers.kernels[way.projection], frame)
            kernel[:: layer.channel_step, way.first : way.first + moved.shape[1]] = moved
    own = slice(part.first, part.first + part.channels)
    bias = np.zeros(layer.core_channels, np.int8)
    bias[:: layer.channel_step] = integers.bias
    links = [k for k in record.plan.links if k.source == part.core]
    outputs = network.outputs.values()
    return CnnLayerConfig(
        dimensions=CnnLayerDimensions(
            CnnLayerShape(Vec2(layer.in_size[1], layer.in_size[0]), layer.in_channels),
            CnnLayerShape(Vec2(region.width, region.height), part.channels),
            Vec2(frame.padding[1], frame.padding[0]),
            Vec2(frame.stride[1], frame.stride[0]),
            size,
        ),
        weights=np.ascontiguousarray(kernel[own].transpose(0, 1, 3, 2), np.int8),
        biases=bias[own],
        neurons_initial_value=np.full((part.channels, region.width, region.height), integers.start, np.int16),
        threshold_high=integers.threshold,
        # as low as it can be while no single weight can leave the 16 bits
        threshold_low=lower_bound(hardware),
        destinations=_destinations(links),
        return_to_zero=pop.reset != "subtract",
        leak_enable=bool(np.any(bias[own])),
        monitor_enable=(context.options.monitor == "all" or pop.name in outputs) and part.replica == 0,
    )


def _destinations(links: list[Link]) -> tuple[CnnLayerDestination, CnnLayerDestination]:
    used = [CnnLayerDestination(True, int(k.target), k.pooling, k.shift) for k in links]
    first, second = (*used, CnnLayerDestination(), CnnLayerDestination())[:2]
    return first, second


def _dvs(plan: Plan, network: Network, context: Context) -> DvsLayerConfig:
    options, record = context.options, context.record
    if options.input != "dvs":
        return DvsLayerConfig.unused()
    (name,) = network.inputs.values()
    links = [k for k in plan.links if k.source == name]
    pooling = links[0].pooling  # the layout made sure that all are alike
    channels, height, width = record.planes[name]
    if options.dvs_swap:
        height, width = width, height
    left, top = options.dvs_left // pooling, options.dvs_top // pooling
    return DvsLayerConfig(
        merge=channels == 1,
        pooling=Vec2(options.dvs_pooling * pooling, options.dvs_pooling * pooling),
        origin=Vec2(left, top),
        cut=Vec2(left + width // pooling - 1, top + height // pooling - 1),
        mirror=Vec2Flag("x" in options.dvs_mirror, "y" in options.dvs_mirror),
        mirror_diagonal=options.dvs_swap,
        pass_sensor_events=True,
        destinations=_destinations([replace(k, pooling=1) for k in links]),
    )


def _readout(context: Context) -> ReadoutConfig:
    """Return a readout that shows the class with the most spikes of every tick of the slow clock on the chip's pins.

    Its own monitor stays off: the host reads either that or the spikes of cores.
    """
    if not context.options.readout:
        return ReadoutConfig.unused()
    return ReadoutConfig(enable=True, output_mode_sel=3, override_threshold_max=True)


def _io_map(plan: Plan, network: Network, context: Context) -> dict[str, Any]:
    """Return where the host's arrays meet the chip; plain data, arrays as int64."""
    record, options = context.record, context.options
    inputs = {}
    for name, source in network.inputs.items():
        inputs[name] = {
            "shape": list(network.populations[source].shape),
            "plane": list(record.planes[source]),
            "cores": [[k.target, k.shift, k.pooling] for k in plan.links if k.source == source],
            "dvs": options.input == "dvs",
        }
    outputs = {}
    for name, source in network.outputs.items():
        shape, slices = list(network.output_shapes[name]), _slices(plan, source, record.layers)
        outputs[name] = {"shape": shape, "kind": "spikes", "lag": 0, "slices": slices}
    populations = {}
    for name, layer in record.layers.items():
        entry = {
            "shape": list(network.populations[name].shape),
            "lag": 0,
            "scale": np.repeat(record.integers[name].scale, layer.plane[1] * layer.plane[2]),
            "slices": _slices(plan, name, record.layers),
        }
        for alias in dict.fromkeys((*network.populations[name].nodes, name)):
            populations[alias] = entry
    return {
        "dt": network.dt,
        "input_peak": options.input_peak or None,
        "order": options.order,
        "input_order": options.input_order,
        "seed": options.seed,
        "tick_rows": options.tick_steps if any(np.any(i.bias) for i in record.integers.values()) else 0,
        "inputs": inputs,
        "outputs": outputs,
        "populations": populations,
    }


def _slices(plan: Plan, name: str, layers: dict[str, Layer]) -> list[dict[str, Any]]:
    """Return which neurons of a population a core holds; the first replica speaks for all."""
    layer = layers[name]
    parts = [p for p in plan.parts if p.population == name and p.replica == 0]
    return [{"core": p.core, "index": _neurons(layer, p)} for p in parts]


def _neurons(layer: Layer, part: Part) -> NDArray[np.int64]:
    """Return the flat index in the population of every neuron of a core, in (feature, y, x) order, or -1."""
    region = layer.regions[part.region]
    ids = np.arange(np.prod(layer.plane)).reshape(layer.plane)
    ids = ids[:, region.top : region.top + region.height, region.left : region.left + region.width]
    spread = np.full((layer.core_channels, region.height, region.width), -1, np.int64)
    spread[:: layer.channel_step] = ids
    return spread[part.first : part.first + part.channels].ravel()
