"""Maps, stencils and frames: which population becomes which convolution."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from nirhw.diagnostics import Diagnostic
from nirhw.hardware import Hardware
from nirhw.limits import over_limit
from nirhw.network import Network, Population, Projection
from nirhw.operators import Operator, frozen, size_of
from nirhw.pipeline import Context

from .geometry import POOLINGS, Frame, Misfit, Plane, Stencil, as_plane, frame_of, shifted, stencil_of, unrolled
from .layers import Layer, Region, Way
from .legalize import room_of, step_bias


@dataclass(frozen=True)
class LayOut:
    """Give every population a map and every projection a stencil.

    A population keeps NIR's shape where all that arrives is a convolution and all neurons of a channel are alike; otherwise its
    neurons become channels of a 1 x 1 map, and what arrives is unrolled.
    """

    name: str = "lay-out"

    def apply(self, network: Network, context: Context) -> Network:
        """Fill ``record.planes`` and ``record.layers``; the network stays as it is.

        Raises:
            LegalizeError: NIRHW-E030 and E031 with every finding.
        """
        record = context.record
        for name, pop in network.populations.items():
            if pop.rule == "input":
                record.planes[name] = _input_plane(network, pop, context)
                continue
            layer, finding = _layer(network, pop, context)
            if finding is not None:
                context.findings.append(finding)
            record.planes[name] = layer.plane if layer else (pop.size, 1, 1)
            if layer is not None:
                record.layers[name] = layer
                if not all(f.exact for f in layer.frames):
                    context.warn(
                        "NIRHW-W012",
                        "a core declares a smaller map than its kernel, stride and padding give",
                        pop.nodes,
                        "so a kernel that is not square, or a region of a map, fits; no document forbids or allows it",
                        f"use square kernels and maps up to {context.hardware['map_size']}x{context.hardware['map_size']}",
                    )
                context.findings.extend(_size_findings(layer, pop, bool(network.out_of(name)), context.hardware))
        if context.options.readout and len(network.outputs) > 1:
            context.findings.append(
                Diagnostic("NIRHW-E030", "the chip has one readout layer, the network several outputs", tuple(network.outputs))
            )
        if context.options.input == "dvs":
            context.findings.extend(_sensor_findings(network, context))
        context.stop_on_errors()
        _list_host_work(network, context)
        return network


def _list_host_work(network: Network, context: Context) -> None:
    """List pools right behind an input: a core pools what it sends, so whoever sends to the first core has to."""
    for name, source in network.inputs.items():
        pools = {w.stencil.pooling for layer in context.record.layers.values() for w in layer.ways if w.source == source}
        if context.options.input == "host" and max(pools, default=1) > 1:
            sides = " and ".join(f"{p}x{p}" for p in sorted(pools) if p > 1)
            context.deviate("host", "input-pooling", (name,), f"the host pools input events by {sides} before it sends them")


def _first_shape(operator: Operator) -> tuple[int, ...]:
    return tuple(operator.parts[0].in_shape) if hasattr(operator, "parts") else tuple(operator.in_shape)


def _input_plane(network: Network, pop: Population, context: Context) -> Plane:
    """Return the map of an input: NIR's shape, or that of its consumers where NIR's is flat.

    A flat input of more addresses than channels becomes the smallest square map that holds it; the last ones stay unused.
    """
    if len(pop.shape) in (2, 3):
        return as_plane(pop.shape)
    wanted = {_first_shape(p.operator) for p in network.out_of(pop.name)}
    if len(wanted) == 1 and len(shape := wanted.pop()) in (2, 3):
        return as_plane(shape)
    most = context.hardware["channels"]
    for side in (1, 2, 4, 8, 16):
        channels = -(-pop.size // side**2)
        if channels <= most and side <= context.hardware["kernel_size"]:
            return (channels, side, side)
    return (pop.size, 1, 1)


def _layer(network: Network, pop: Population, context: Context) -> tuple[Layer | None, Diagnostic | None]:
    """Return the layer of a population, or the reason why there is none."""
    reasons = []
    shapes: list[Plane] = []
    try:
        shapes.append(as_plane(pop.shape))
    except Misfit as reason:
        reasons.append(str(reason))
    if (pop.size, 1, 1) not in shapes and pop.size <= context.hardware["channels"]:
        shapes.append((pop.size, 1, 1))
    for plane in shapes:
        try:
            return _layer_on(network, pop, plane, context), None
        except Misfit as reason:
            reasons.append(str(reason))
    return None, Diagnostic(
        "NIRHW-E030",
        f"it is no convolution that a core can hold: {reasons[0]}",
        pop.nodes or (pop.name,),
        "a core has one square kernel, one stride and one padding, and one threshold"
        + (f"; unrolled: {reasons[-1]}" if len(reasons) > 1 else ""),
        "use kernels up to 16, strides 1, 2, 4 or 8, padding up to 7, pools of 2 or 4",
    )


def _layer_on(network: Network, pop: Population, plane: Plane, context: Context) -> Layer:
    factor = _factor_by_channel(pop, plane)
    arriving = network.into(pop.name)
    if not arriving:
        raise Misfit("nothing arrives at it")
    stencils = [_stencil(p, pop, plane, factor[p.port], context) for p in arriving]
    regions = _regions(plane, context.hardware, is_last=not network.out_of(pop.name))
    frames = tuple(_frame(stencils, region, plane, context.hardware) for region in regions)
    ways, channels = _ways(arriving, stencils)
    step = 1
    if context.options.readout and pop.name in network.outputs.values():
        step = context.hardware["readout_channel_step"]
    return Layer(pop.name, plane, ways, channels, stencils[0].source[1:], regions, frames, step)


def _factor_by_channel(pop: Population, plane: Plane) -> dict[str, np.ndarray]:
    """Return by port what a weight is worth in thresholds, ``[channel]``.

    Raises:
        Misfit: where neurons of one channel differ in threshold, gain, reset potential or bias.
    """
    assert pop.membrane is not None and pop.v_reset is not None  # spiking
    room = room_of(pop)
    columns = {port.name: port.gain * pop.membrane.gain / room for port in pop.ports}
    start = pop.v_reset / room if pop.reset == "value" else np.zeros(pop.size)
    for values in (*columns.values(), start, step_bias(pop) / room):
        by_channel = values.reshape(plane[0], -1)
        if np.any(by_channel != by_channel[:, :1]):
            raise Misfit("neurons of one channel differ in threshold, gain or bias, and share their kernel")
    if np.any(start != start[0]):
        raise Misfit("reset potentials differ in units of the threshold; a core starts and resets all neurons alike")
    return {name: values.reshape(plane[0], -1)[:, 0] for name, values in columns.items()}


def _stencil(proj: Projection, pop: Population, plane: Plane, factor: np.ndarray, context: Context) -> Stencil:
    """Return a projection as stencil whose weights count in thresholds of their target."""
    source = context.record.planes[proj.source]
    try:
        found = stencil_of(proj.operator, source, plane)
    except Misfit:
        if plane[1:] != (1, 1):
            raise
        found = unrolled(proj.operator, source, plane)
    return replace(found, weight=frozen(found.weight * factor[:, None, None, None]))


def _regions(plane: Plane, hardware: Hardware, is_last: bool) -> tuple[Region, ...]:
    """Return the rectangles of a map: one, or several where the map is larger than a core's.

    Regions of a map send their spikes with addresses of their own; only a layer that feeds no other can be cut.
    """
    most = hardware["map_size"]
    spans = []
    for size in plane[1:]:
        if size > most and (not is_last or size > 2 * most):
            raise Misfit(f"its map of {plane[1]}x{plane[2]} neurons is larger than {most}x{most}")
        spans.append(((0, size),) if size <= most else ((0, size - most), (size - most, most)))
    return tuple(Region(top, left, height, width) for top, height in spans[0] for left, width in spans[1])


def _frame(stencils: list[Stencil], region: Region, plane: Plane, hardware: Hardware) -> Frame:
    moved = [shifted(s, region.top, region.left) for s in stencils]
    try:
        return frame_of(moved, (region.height, region.width), hardware)
    except Misfit:
        if not region.top and not region.left:
            raise
        most = hardware["map_size"]
        raise Misfit(
            f"its map of {plane[1]}x{plane[2]} neurons is larger than {most}x{most}, and its regions begin too far from the edge "
            "for kernel and padding to reach"
        ) from None


def _ways(arriving: Iterable[Projection], stencils: list[Stencil]) -> tuple[tuple[Way, ...], int]:
    """Return the ways with their input channels; those with equal kernels use the same ones, which adds up their spikes."""
    ways: list[Way] = []
    channels = 0
    for proj, stencil in zip(arriving, stencils, strict=True):
        twin = next((w for w in ways if _same(w.stencil, stencil)), None)
        first = twin.first if twin else channels
        ways.append(Way(proj.name, proj.source, stencil, first, twin is None))
        channels += 0 if twin else stencil.source[0]
    return tuple(ways), channels


def _same(one: Stencil, other: Stencil) -> bool:
    return (
        (one.stride, one.lead, one.source) == (other.stride, other.lead, other.source)
        and one.weight.shape == other.weight.shape
        and bool(np.array_equal(one.weight, other.weight))
    )


def _size_findings(layer: Layer, pop: Population, feeds: bool, hardware: Hardware) -> Iterable[Diagnostic]:
    sizes = {
        "channels": (("input channels", layer.in_channels), ("channels", layer.core_channels)),
        "input_size": (("input rows", layer.in_size[0]), ("input columns", layer.in_size[1])),
    }
    for limit, values in sizes.items():
        for what, used in values:
            if used > hardware[limit]:
                yield over_limit(hardware, limit, used, what, pop.nodes or (pop.name,))
    if layer.channel_step > 1:
        if feeds:
            yield Diagnostic("NIRHW-E030", "the readout layer takes spikes of a layer that feeds no other", pop.nodes)
        if layer.plane[1:] != (1, 1):
            yield Diagnostic(
                "NIRHW-E030",
                "the readout layer takes single neurons as classes",
                pop.nodes,
                f"this output is a map of {layer.plane[1]}x{layer.plane[2]}",
                "end the network with a Linear layer and IF neurons, or compile without readout",
            )
        elif layer.plane[0] > hardware["readout_classes"]:
            yield over_limit(hardware, "readout_classes", layer.plane[0], "readout classes", pop.nodes)


def _sensor_findings(network: Network, context: Context) -> Iterable[Diagnostic]:
    """Say why the sensor cannot stand in for the network's input."""
    hardware, options, record = context.hardware, context.options, context.record
    nodes = tuple(network.inputs)
    if len(nodes) > 1:
        yield Diagnostic("NIRHW-E030", "the network has several inputs, the chip one sensor", nodes)
        return
    (name,) = network.inputs.values()
    plane = record.planes[name]
    if plane[0] > 2 or network.populations[name].size != size_of(plane):
        yield Diagnostic(
            "NIRHW-E030",
            f"the input has {plane[0]} channels, the sensor two polarities",
            nodes,
            fix="use an input of shape (1, H, W) or (2, H, W), or feed events from the host",
        )
    pools = {w.stencil.pooling for layer in record.layers.values() for w in layer.ways if w.source == name}
    total = [options.dvs_pooling * p for p in pools]
    if len(pools) > 1 or any(p not in POOLINGS for p in total) or any(options.dvs_left % p + options.dvs_top % p for p in pools):
        yield Diagnostic(
            "NIRHW-E030",
            f"sensor events would have to be pooled by {sorted(total)} from column {options.dvs_left}, row {options.dvs_top}",
            nodes,
            "the sensor's layer pools once, by 1, 2 or 4, before it cuts out the region",
            "choose another dvs_pooling, or dvs_left and dvs_top as multiples of the network's own pooling",
        )
    height, width = (plane[2], plane[1]) if options.dvs_swap else plane[1:]
    sensor = hardware["dvs_size"] // options.dvs_pooling
    for what, first, used in (("rows", options.dvs_top, height), ("columns", options.dvs_left, width)):
        if first + used > sensor:
            yield Diagnostic(
                "NIRHW-E031",
                f"{what} {first} to {first + used - 1} of the sensor are asked for, {sensor} exist after pooling",
                nodes,
                f"limit dvs_size = {hardware['dvs_size']} (documented: {hardware.limits['dvs_size'].source})",
                "choose dvs_pooling, dvs_top and dvs_left so that the region lies on the sensor",
            )
