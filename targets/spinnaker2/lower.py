"""From the placed network to the configuration and the map between the host's arrays and the chip's neurons."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from nirhw.diagnostics import error
from nirhw.network import Network, Population, Projection
from nirhw.operators import entries
from nirhw.pipeline import Context

from .config import (
    CONVOLUTION,
    CURRENT,
    NEVER_FIRES,
    RESET_SUBTRACT,
    RESET_VALUE,
    SPIKE_LIST,
    Slice,
    SpiNNaker2Configuration,
)
from .convolve import kernel_of
from .quantize import weight_limit
from .routes import keys_of, routes
from .synapses import Block, ConvBlock, SynapseBlock, narrowed
from .traffic import first_slices, traffic
from .words import split


def lower(network: Network, context: Context) -> tuple[SpiNNaker2Configuration, dict[str, Any]]:
    """Return the configuration and the io map of a placed and quantized network.

    Raises:
        PlaceError: NIRHW-E035 where the routers have too few entries.
    """
    record, options = context.record, context.options
    graph = traffic(network, context)
    keys, mask = keys_of(graph)
    routing = routes(graph, record.places, keys, mask)
    _check_routers(routing, context)
    blocks = _blocks(network, context)
    slices = []
    for number, name in enumerate(graph.population):
        pop, first, size = network.populations[name], int(graph.first[number]), int(graph.size[number])
        chip, quad, pe = record.places[number]
        slices.append(
            Slice(
                name,
                first,
                size,
                record.application[name],
                {k: v[first : first + size] for k, v in _parameters(pop, context).items()},
                _reset(pop),
                chip,
                quad,
                pe,
                keys[number],
                mask,
                record.record[name],
                tuple(blocks[number]),
            )
        )
    config = SpiNNaker2Configuration(tuple(slices), context.hardware["chips"], options.steps, options.layout, routing)
    record.step_seconds = options.step_seconds
    return config, _io_map(network, context)


def _check_routers(routing: tuple[Any, ...], context: Context) -> None:
    used, limit = Counter(entry.chip for entry in routing), context.hardware.limits["router_entries"]
    chip, most = max(used.items(), key=lambda item: item[1], default=(0, 0))
    if most > limit.value:
        raise error(
            "NIRHW-E035",
            f"{most} router entries are needed on chip {chip}, {int(limit.value)} exist",
            (),
            f"limit router_entries ({limit.certainty}: {limit.source})",
            "use fewer slices that send to other chips",
        )


def _parameters(pop: Population, context: Context) -> dict[str, Any]:
    """Return the parameters of an application's neurons, ``(size,)`` each."""
    record = context.record
    application = record.application[pop.name]
    if application == SPIKE_LIST:
        return {}
    zero, scale = np.zeros(pop.size), record.scale[pop.name]
    values = {
        "threshold": np.full(pop.size, NEVER_FIRES) if pop.threshold is None else pop.threshold * scale,
        "alpha_decay": zero if pop.membrane is None else pop.membrane.decay,
        "i_offset": record.offset[pop.name] * scale,
        "v_init": zero,
        "v_reset": pop.v_reset * scale
        if pop.reset == "value" and pop.v_reset is not None and not context.options.vendor
        else zero,
    }
    if application in CURRENT:
        exc, inh = record.decays[pop.name]
        values |= {"exc_decay": exc, "inh_decay": inh, "t_refrac": zero}
    return values


def _reset(pop: Population) -> str:
    """Return the reset rule; a neuron without memory resets anyway, one that never resets is in the ledger."""
    if pop.rule == "input":
        return ""
    lasting = pop.membrane is not None and np.any(pop.membrane.decay)
    return (
        RESET_SUBTRACT if pop.reset == "subtract" or (pop.reset == "none" and pop.rule == "spiking" and lasting) else RESET_VALUE
    )


def _blocks(network: Network, context: Context) -> list[list[Block]]:
    """Return what arrives at every slice, by source slice: one block each."""
    cuts, start = context.record.cuts, first_slices(context)
    blocks: list[list[Block]] = [[] for _ in range(sum(len(c) - 1 for c in cuts.values()))]
    for name in cuts:
        ways = network.into(name)
        if context.record.application[name] in CONVOLUTION:
            for way in ways:
                _add_kernels(blocks, way, cuts, start, context)
            continue
        for source in dict.fromkeys(w.source for w in ways):
            limit = weight_limit(context.record.application[name], context)
            _add_rows(blocks, source, name, [w for w in ways if w.source == source], cuts, start, limit)
    return blocks


def _add_rows(
    blocks: list[list[Block]],
    source: str,
    target: str,
    ways: list[Projection],
    cuts: dict[str, list[int]],
    start: dict[str, int],
    limit: int,
) -> None:
    parts = []
    for way in ways:
        assert way.quantized is not None  # the quantize stage set it
        post, pre, weight = entries(way.quantized.weight)
        by = {"all": np.zeros(weight.size, np.int64), "source": pre, "target": post}[way.delay_by]
        words, synapse = split(weight, limit)
        parts.append((pre[synapse], post[synapse], words, (np.atleast_1d(way.delay)[by] - 1)[synapse]))
    pre, post, data, delay = (np.concatenate([p[k] for p in parts]).astype(np.int64) for k in range(4))
    if not pre.size:  # all weights are zero
        return
    at_pre = np.searchsorted(cuts[source], pre, side="right") - 1
    at_post = np.searchsorted(cuts[target], post, side="right") - 1
    pair = at_post * len(cuts[source]) + at_pre
    # ordered once: by block, and within it as a block wants its rows
    order = np.lexsort((delay, post, pre, pair))
    local = post[order] - np.asarray(cuts[target])[at_post[order]]
    columns = [
        narrowed(values, dtype, f"synapse {name}")
        for name, values, dtype in (
            ("target", local, np.uint8),
            ("weight", data[order], np.int8),
            ("delay", delay[order], np.uint8),
        )
    ]
    row = pre[order] - np.asarray(cuts[source])[at_pre[order]]
    found, firsts = np.unique(pair[order], return_index=True)
    for key, low, high in zip(found.tolist(), firsts, [*firsts[1:], pair.size], strict=True):
        there, here = divmod(key, len(cuts[source]))
        start_of_row = np.zeros(cuts[source][here + 1] - cuts[source][here] + 1, np.int64)
        np.cumsum(np.bincount(row[low:high], minlength=start_of_row.size - 1), out=start_of_row[1:])
        block = SynapseBlock(start[source] + here, start_of_row, *(c[low:high] for c in columns))
        blocks[start[target] + there].append(block)


def _add_kernels(
    blocks: list[list[Block]], way: Projection, cuts: dict[str, list[int]], start: dict[str, int], context: Context
) -> None:
    kernel = kernel_of(way.operator)
    assert kernel is not None  # the application was chosen for it
    grain, whole = context.record.grain, context.record.kernels[way.name]
    sources, targets = ([k // grain[name] for k in cuts[name]] for name in (way.source, way.target))
    for there in range(len(targets) - 1):
        for here in range(len(sources) - 1):
            part = whole[sources[here] : sources[here + 1], targets[there] : targets[there + 1]]
            blocks[start[way.target] + there].append(ConvBlock(start[way.source] + here, part, **kernel.geometry))


def _io_map(network: Network, context: Context) -> dict[str, Any]:
    """Return where the host's arrays meet the chip; plain data, arrays as float64.

    ``inputs`` and ``outputs`` by NIR name, ``populations`` by the NIR name of every recordable population.  ``scale`` is chip
    units of v per unit of the network's v.  A spike_list sends at most one spike a neuron and step, so ``input_peak`` is 1.
    """
    record = context.record
    start, cuts = first_slices(context), record.cuts

    def where(name: str) -> list[int]:
        return list(range(start[name], start[name] + len(cuts[name]) - 1))

    outputs = {}
    for name, source in network.outputs.items():
        pop = network.populations[source]
        outputs[name] = {
            "shape": list(network.output_shapes[name]),
            "kind": "spikes" if pop.rule == "spiking" else "voltage",
            "slices": where(source),
            "scale": record.scale[source],
            "offset": 0.0,
            "lag": record.lag[source],
        }
    populations = {}
    for pop in network.populations.values():
        if pop.role == "network" and pop.rule != "input":
            entry = {
                "shape": list(pop.shape),
                "slices": where(pop.name),
                "scale": record.scale[pop.name],
                "lag": record.lag[pop.name],
            }
            for name in (*pop.nodes, pop.name):
                populations[name] = entry
    return {
        "dt": network.dt,
        "input_peak": 1,
        "fused": context.options.fused,
        "inputs": {n: {"shape": list(network.populations[p].shape), "slices": where(p)} for n, p in network.inputs.items()},
        "outputs": outputs,
        "populations": populations,
    }
