"""Random SpiNNaker2 configurations of all applications, and the slow model of a configuration."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nirhw.targets.spinnaker2.board import PES_PER_QUAD, QUADS
from nirhw.targets.spinnaker2.config import (
    DELAYED,
    PARAMETERS,
    RESET_SUBTRACT,
    RESET_VALUE,
    SPIKE_LIST,
    RouterEntry,
    Slice,
    SpiNNaker2Configuration,
)
from nirhw.targets.spinnaker2.synapses import ConvBlock, SynapseBlock
from tests.targets.spinnaker2 import slow_model

DENSE = ("lif", "lif_no_delay", "lif_curr_exp", "lif_curr_exp_no_delay")


def random_configuration(seed: int) -> SpiNNaker2Configuration:
    """Return 1 or 2 inputs and 1 to 5 populations, cut into slices, connected forwards, backwards and to themselves."""
    rng = np.random.default_rng(seed)
    maps: list[tuple[str, tuple[int, int, int]]] = []  # populations that hold channels of 2-D maps
    cuts: list[tuple[str, str, list[int]]] = []  # name, application, sizes of the slices
    for k in range(rng.integers(1, 3)):
        shape = tuple(int(x) for x in (rng.integers(1, 4), rng.integers(2, 8), rng.integers(2, 8)))
        maps.append((f"in{k}", shape))
        cuts.append((f"in{k}", SPIKE_LIST, _channels(rng, shape)))
    kernels: dict[str, list] = {}
    for k in range(rng.integers(1, 6)):
        if rng.random() < 0.35:
            source, shape = maps[rng.integers(len(maps))]
            geometry, out_shape = _geometry(rng, shape)
            maps.append((f"p{k}", out_shape))
            cuts.append((f"p{k}", "lif_conv2d", _channels(rng, out_shape)))
            weights = rng.integers(-127, 128, (shape[0], out_shape[0], *geometry.pop("kernel")))
            kernels[f"p{k}"] = [source, weights, {"in_height": shape[1], "in_width": shape[2], **geometry}]
        else:
            size = int(rng.integers(1, 40))
            cuts.append((f"p{k}", DENSE[rng.integers(4)], _pieces(rng, size)))
    first_slice = dict(zip([c[0] for c in cuts], np.cumsum([0, *(len(c[2]) for c in cuts)]), strict=False))
    slices = []
    for name, application, sizes in cuts:
        subtract = bool(rng.random() < 0.5)
        sources = [c for c in cuts if rng.random() < 0.6] or cuts[:1]
        for at, size in zip(np.cumsum([0, *sizes]), sizes, strict=False):
            if application == SPIKE_LIST:
                blocks = ()
            elif application == "lif_conv2d":
                blocks = _conv_blocks(kernels[name], first_slice, cuts, int(at), size)
            else:
                blocks = tuple(
                    _synapses(rng, first_slice[s[0]] + j, n, application, size) for s in sources for j, n in enumerate(s[2])
                )
            parameters = _parameters(rng, application, size)
            reset = "" if application == SPIKE_LIST else RESET_SUBTRACT if subtract else RESET_VALUE
            slices.append(Slice(name, int(at), size, application, parameters, reset, record=("spikes",), blocks=blocks))
    return placed(slices)


def placed(slices: list[Slice], timesteps: int = 100) -> SpiNNaker2Configuration:
    """Return the slices on the PEs of one chip, with keys and router entries."""
    bits = max((s.size - 1).bit_length() for s in slices)
    located = [
        replace(s, quad=QUADS[k // PES_PER_QUAD], pe=k % PES_PER_QUAD, key=k << bits, mask=0xFFFFFFFF ^ ((1 << bits) - 1))
        for k, s in enumerate(slices)
    ]
    routing = []
    for k, source in enumerate(located):
        masks: dict[tuple[int, int], int] = {}
        for s in located:
            if any(block.source == k for block in s.blocks):
                masks[s.quad] = masks.get(s.quad, 0) | 1 << s.pe
        if masks:
            routing.append(RouterEntry(0, source.key, source.mask, tuple((x, y, m) for (x, y), m in sorted(masks.items()))))
    return SpiNNaker2Configuration(tuple(located), 1, timesteps, "new", tuple(routing))


def _pieces(rng, size: int) -> list[int]:
    cuts = sorted({0, size, *rng.integers(1, size + 1, rng.integers(0, 4)).tolist()})
    return np.diff(cuts).tolist()


def _channels(rng, shape) -> list[int]:
    return [n * shape[1] * shape[2] for n in _pieces(rng, shape[0])]


def _geometry(rng, shape):
    pool = int(rng.integers(1, 3))
    top, bottom, left, right = (int(x) for x in rng.integers(0, 3, 4))
    padded = (shape[1] // pool + top + bottom, shape[2] // pool + left + right)
    kernel = tuple(int(rng.integers(1, min(4, n) + 1)) for n in padded)
    stride = int(rng.integers(1, 4))
    out = tuple((n - k) // stride + 1 for n, k in zip(padded, kernel, strict=True))
    channels = int(rng.integers(1, max(2, min(4, 256 // (out[0] * out[1])))))
    geometry = {"stride": stride, "pool": pool, "pad_top": top, "pad_bottom": bottom, "pad_left": left, "pad_right": right}
    return {"kernel": kernel, **geometry}, (channels, *out)


def _conv_blocks(entry, first_slice, cuts, at: int, size: int):
    source, weights, geometry = entry
    sizes = next(c[2] for c in cuts if c[0] == source)
    plane = geometry["in_height"] * geometry["in_width"]
    whole = ConvBlock(0, weights, **geometry)
    out_plane = whole.out_height * whole.out_width
    channels = slice(at // out_plane, (at + size) // out_plane)
    blocks, channel = [], 0
    for j, n in enumerate(sizes):
        part = weights[channel : channel + n // plane, channels]
        blocks.append(ConvBlock(int(first_slice[source] + j), part, **geometry))
        channel += n // plane
    return tuple(blocks)


def _synapses(rng, source: int, n_source: int, application: str, size: int) -> SynapseBlock:
    largest, latest = (15, 7) if application in DELAYED else (127, 0)
    pre, target = np.nonzero(rng.random((n_source, size)) < rng.choice([0.0, 0.1, 0.5, 1.0]))
    if rng.random() < 0.3:  # the same pair twice, as parallel projections give
        pre, target = np.repeat(pre, 2), np.repeat(target, 2)
    weight = rng.integers(-largest, largest + 1, pre.size)
    return SynapseBlock.from_synapses(int(source), n_source, pre, target, weight, rng.integers(0, latest + 1, pre.size))


def _parameters(rng, application: str, size: int):
    def column(low, high):
        return rng.uniform(low, high, size if rng.random() < 0.7 else None)

    largest = 15 if application in DELAYED else 127
    drawn = {
        "threshold": column(0.5, 3) * largest,
        "alpha_decay": rng.choice([0.0, 1.0, 0.5]) if rng.random() < 0.3 else column(0, 1),
        "i_offset": column(-0.2, 0.4) * largest if rng.random() < 0.5 else 0,
        "v_init": column(-1, 1) * largest if application in ("lif", "lif_curr_exp") and rng.random() < 0.3 else 0,
        "v_reset": column(-2, 0.5) * largest if rng.random() < 0.7 else 0,
        "exc_decay": column(0, 0.9),
        "inh_decay": column(0, 0.9),
        "t_refrac": 0,
    }
    return {name: drawn[name] for name in PARAMETERS[application]}


def slow_elements(config: SpiNNaker2Configuration, spikes, fused: bool = False) -> list[slow_model.Element]:
    """Return the slow model of a configuration, fed with ``spikes[time, channel]``."""
    elements, channel = [], 0
    for part in config.slices:
        times = None
        if part.application == SPIKE_LIST:
            times = {n: set(np.flatnonzero(spikes[:, channel + n]).tolist()) for n in range(part.size)}
            channel += part.size
        parameters = {k: v.tolist() for k, v in part.parameters.items()}
        subtract = part.reset == RESET_SUBTRACT
        element = slow_model.Element(part.application, part.size, part.key, parameters, subtract, times, fused)
        for block in part.blocks:
            source = config.slices[block.source]
            if isinstance(block, ConvBlock):
                element.add_convolution(source.key, source.mask, block.kernel, conv_params(block))
                continue
            rows: dict[int, list[int]] = {}
            for pre in range(source.size):
                span = range(int(block.start[pre]), int(block.start[pre + 1]))
                rows[pre] = [
                    slow_model.pack(part.application, int(block.target[k]), int(block.weight[k]), int(block.delay[k]))
                    for k in span
                ]
            element.add_rows(source.key, source.mask, rows)
        elements.append(element)
    return elements


def conv_params(block: ConvBlock) -> dict[str, int]:
    """Return the geometry by py-spinnaker2's names."""
    shared = ("in_height", "in_width", "pad_top", "pad_bottom", "pad_left", "pad_right")
    axes = {"stride_x": block.stride, "stride_y": block.stride, "pool_x": block.pool, "pool_y": block.pool}
    return {**{k: getattr(block, k) for k in shared}, **axes}
