"""A Lava script and its data, generated from the configuration alone.

The script is always the same file, :mod:`run_lava`; whatever depends on the network is data in ``network.npz``.  Each slice of a
core becomes one neuron process, and each connection one process for every pair of slices it joins, so that what was placed is
what runs.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirhw.diagnostics import error
from nirhw.files import write_folder

from .config import LAVA_MODELS, CoreSlice, Loihi2Configuration, Synapses
from .weights import acting, stored

Array = NDArray[Any]

SCRIPT, DATA = "run_lava.py", "network.npz"
#: lava's numbers of the sign modes
MODES = {"mixed": 1, "excitatory": 2, "inhibitory": 3}


def outside_lava(config: Loihi2Configuration) -> tuple[str, ...]:
    """Return why lava cannot run ``config`` as it is placed, one reason each; empty where it can."""
    reasons = [f"{g.name}: lava has no neurons of model {g.model}" for g in config.groups if g.model not in LAVA_MODELS]
    parts = {g.name: sum(c.group == g.name for c in config.cores) for g in config.groups}
    if not config.cores:
        reasons.append("nothing is placed on a core")
    for syn in config.synapses:
        if parts[syn.source] > 1 and syn.exponent < 0 and np.any(acting(syn) % (1 << -syn.exponent)):
            reasons.append(f"{syn.name}: a negative exponent rounds the sum over a group that stands on several cores")
        if syn.kernel is not None and _is_split(syn, parts):
            if not np.array_equal(syn.kernel.weight, stored(syn.kernel.weight, syn.weight_bits, syn.sign_mode)):
                reasons.append(f"{syn.name}: a convolution over several cores whose weights hold more than synapses keep")
            reach = int(np.abs(syn.kernel.weight).reshape(syn.kernel.weight.shape[0], -1).sum(axis=1).max())
            if reach << syn.message_bits >= 1 << 23:
                reasons.append(f"{syn.name}: a convolution over several cores whose sum may wrap at 24 bits")
    return tuple(reasons)


def script_files(config: Loihi2Configuration) -> dict[str, bytes]:
    """Return the script and its data by file name; equal configurations give equal bytes.

    Raises:
        LegalizeError: NIRHW-E030 with every reason of :func:`outside_lava`.
    """
    reasons = outside_lava(config)
    if reasons:
        raise error("NIRHW-E030", "lava cannot run the configuration", why="; ".join(reasons))
    stream = io.BytesIO()
    np.savez_compressed(stream, **_network(config))  # type: ignore[arg-type]
    return {SCRIPT: files(__package__).joinpath(SCRIPT).read_bytes(), DATA: stream.getvalue()}


def write_script(config: Loihi2Configuration, folder: str | os.PathLike[str]) -> Path:
    """Write :func:`script_files` to a folder, which is made where it does not exist, and return the script's path.

    Raises:
        LegalizeError: as :func:`script_files`.
        UsageError: NIRHW-E005 where the folder cannot be written to.
    """
    return write_folder(folder, script_files(config)) / SCRIPT


def _is_split(syn: Synapses, parts: dict[str, int]) -> bool:
    return parts[syn.source] > 1 or parts[syn.target] > 1


def _network(config: Loihi2Configuration) -> dict[str, Array]:
    groups = {g.name: g for g in config.groups}
    inputs = [g for g in config.groups if g.model == "input"]
    order = {g.name: k for k, g in enumerate(config.groups)}
    slices = sorted(config.cores, key=lambda c: (order[c.group], c.first))
    bits = {s.source: s.message_bits for s in config.synapses}
    data: dict[str, Array] = {
        "inputs": np.array([g.name for g in inputs], dtype=str),
        "input_bits": np.array([bits.get(g.name, 0) for g in inputs], np.int64),
        "slice_groups": np.array([c.group for c in slices], dtype=str),
        "slice_places": np.array([(c.chip, c.core, c.first) for c in slices], np.int64),
        "slices": np.array([_registers(config, c) for c in slices], np.int64),
    }
    for number, part in enumerate(slices):
        data[f"bias{number}"] = groups[part.group].bias_mantissa[part.first : part.first + part.size]
    links: list[tuple[int, ...]] = []
    # nodes are the inputs, then the slices
    nodes: dict[str, list[tuple[int, int, int]]] = {g.name: [(k, 0, g.size)] for k, g in enumerate(inputs)}
    for number, part in enumerate(slices):
        nodes.setdefault(part.group, []).append((len(inputs) + number, part.first, part.size))
    for syn in config.synapses:
        for row, arrays in _links(syn, nodes, groups[syn.target].size, len(inputs)):
            data |= {f"{name}{len(links)}": values for name, values in arrays.items()}
            links.append(row)
    data["links"] = np.array(links, np.int64).reshape(len(links), 7)
    return data


def _registers(config: Loihi2Configuration, part: CoreSlice) -> tuple[int, ...]:
    group = config.group(part.group)
    interval = group.reset_interval if group.model == "lif_reset" else 0
    return part.size, group.du, group.dv, group.threshold, group.bias_exponent, interval, group.reset_offset


def _links(
    syn: Synapses, nodes: dict[str, list[tuple[int, int, int]]], n_target: int, n_inputs: int
) -> Iterator[tuple[tuple[int, ...], dict[str, Array]]]:
    """Yield the connection processes of one connection: a row of numbers and the arrays that belong to it."""
    sources, targets = nodes[syn.source], nodes[syn.target]
    common = (syn.exponent, syn.weight_bits, syn.message_bits, MODES[syn.sign_mode])
    kernel = syn.kernel
    if kernel is not None and len(sources) == len(targets) == 1:
        geometry = (*kernel.in_shape, *kernel.stride, *kernel.padding, *kernel.dilation, kernel.groups)
        row = (sources[0][0], targets[0][0] - n_inputs, 0, *common)
        yield row, {"kernel": kernel.weight, "geometry": np.array(geometry, np.int64)}
        return
    weights = syn.matrix(n_target)
    delays = syn.delay_matrix(n_target) if kernel is None else None
    for target, first_post, n_post in targets:
        rows = slice(first_post, first_post + n_post)
        band = weights[rows].tocsc()
        delay_band = None if delays is None else delays[rows].tocsc()
        for source, first_pre, n_pre in sources:
            columns = slice(first_pre, first_pre + n_pre)
            part = band[:, columns]
            if not part.nnz:
                continue
            delay = np.zeros(part.nnz, np.int64) if delay_band is None else delay_band[:, columns].data
            row = (source, target - n_inputs, int(syn.kind != "dense"), *common)
            yield row, {"start": part.indptr, "post": part.indices, "weight": part.data, "delay": delay}
