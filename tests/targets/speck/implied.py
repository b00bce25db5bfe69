"""What a Speck configuration computes, read from the configuration alone: matrices between populations, in weight units.

Written from the documented rule of a core (for each event every (o, ky, kx) with (y + p - ky) and (x + p - kx) not negative, divisible by
the stride and in range), without any code of the lowering.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def effect_of(core: Any, channel: int, y: int, x: int) -> np.ndarray:
    """Return what one event adds to the neurons of a core, ``[feature, y, x]``; outside the input map: nothing."""
    dim = core.dimensions
    out = np.zeros((dim.output_shape.feature_count, dim.output_shape.size.y, dim.output_shape.size.x), np.int64)
    if not (channel < dim.input_shape.feature_count and y < dim.input_shape.size.y and x < dim.input_shape.size.x):
        return out
    for ky in range(dim.kernel_size):
        for kx in range(dim.kernel_size):
            oy, ox = y + dim.padding.y - ky, x + dim.padding.x - kx
            if oy < 0 or ox < 0 or oy % dim.stride.y or ox % dim.stride.x:
                continue
            oy, ox = oy // dim.stride.y, ox // dim.stride.x
            if oy < out.shape[1] and ox < out.shape[2]:
                out[:, oy, ox] += core.weights[:, channel, kx, ky]
    return out


def matrix_between(model: Any, source: str, target: str) -> np.ndarray:
    """Return the integer matrix ``[post, pre]`` from an input or population to a population, by NIR names.

    A source with replicas is taken at its listed cores for those targets that they serve, and by equality of maps for others.
    """
    cores, io_map = model.config.cnn_layers, model.io_map
    wanted = io_map["populations"][target]
    into = {s["core"]: s["index"] for s in wanted["slices"]}
    post = int(np.prod(wanted["shape"]))
    if source in io_map["inputs"]:
        entry = io_map["inputs"][source]
        plane = entry["plane"]
        pre = int(np.prod(entry["shape"]))
        sends = [(i, *np.unravel_index(i, plane), entry["cores"]) for i in range(pre)]
    else:
        entry = io_map["populations"][source]
        pre = int(np.prod(entry["shape"]))
        sends = []
        for part in entry["slices"]:
            for number in same_cores(model, part["core"]):
                size = cores[number].dimensions.output_shape
                for n, i in enumerate(part["index"]):
                    if i >= 0:
                        address = np.unravel_index(n, (size.feature_count, size.size.y, size.size.x))
                        links = [(d.layer, d.feature_shift, d.pooling) for d in cores[number].destinations if d.enable]
                        sends.append((i, *address, links))
    matrix = np.zeros((post, pre), np.int64)
    for i, c, y, x, links in sends:
        for layer, shift, pooling in links:
            if layer in into:
                effect = effect_of(cores[layer], c + shift, y // pooling, x // pooling).ravel()
                index = into[layer]
                np.add.at(matrix[:, i], index[index >= 0], effect[index >= 0])
    return matrix


def same_cores(model: Any, core: int) -> list[int]:
    """Return the cores that compute what ``core`` does: itself, and its replicas if they hold the same channels."""
    own = model.config.cnn_layers[core]
    return [
        n
        for n, c in enumerate(model.config.cnn_layers)
        if n == core or (c.used and c.dimensions == own.dimensions and np.array_equal(c.weights, own.weights))
    ]
