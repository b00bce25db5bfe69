"""Biases that are too large for the 8-bit registers: an always-firing neuron carries the coarse part.

Its threshold and bias are 1, so it fires once in every step; through a synapse with code ``d`` a weight ``w`` adds up to
``w * (2 ** d - 1)`` of current a step once the synapse has settled.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from nirhw.network import Ints, Network, Population, Projection, Quantized
from nirhw.operators import Sparse, frozen
from nirhw.pipeline import Context

from .helpers import always_firing

SOURCE = "bias~"


@dataclass(frozen=True)
class AddBiasNeurons:
    """Split constant drives that exceed the register between a bias neuron's synapse and the register."""

    name: str = "add-bias-neurons"

    def apply(self, network: Network, context: Context) -> Network:
        """Return the network with bias neurons where they are needed; the rest of a drive stays in ``v_mem_bias``."""
        low, high = context.hardware["bias_min"], context.hardware["bias_max"]
        large = [
            p
            for p in network.populations.values()
            if "v_mem_bias" in p.codes and np.any((p.codes["v_mem_bias"] < low) | (p.codes["v_mem_bias"] > high))
        ]
        hidden = [p for p in large if context.record.layer[p.name] == "hidden"]
        output = [p for p in large if context.record.layer[p.name] == "output"]
        if not large:
            return network
        changed, wires = [], []
        for pop in (*hidden, *output):
            weights, rest = _split(pop, context)
            wires.append((pop, weights))
            changed.append(replace(pop, codes={**pop.codes, "v_mem_bias": rest}))
        return _with_sources(network.with_populations(changed), wires, context)


def _split(pop: Population, context: Context) -> tuple[Ints, Ints]:
    """Return weights of the bias neuron and what the register keeps, clipped with a warning where both are too small."""
    hardware, record = context.hardware, context.record
    low, high = hardware["bias_min"], hardware["bias_max"]
    shift = record.shifts["hidden" if record.layer[pop.name] == "hidden" else "readout"]
    port = pop.ports[0].name
    unit = 2**shift * (2 ** pop.codes[f"i_syn_decay:{port}"] - 1)
    wanted = pop.codes["v_mem_bias"]
    outside = (wanted < low) | (wanted > high)
    weights = np.where(outside, np.clip(np.rint(wanted / unit), hardware["weight_min"], hardware["weight_max"]), 0)
    weights = weights.astype(np.int64)
    rest = wanted - weights * unit
    kept = np.clip(rest, low, high)
    if np.any(kept != rest):
        off = float(np.max(np.abs(rest - kept) / np.maximum(np.abs(wanted), 1)))
        context.warn(
            "NIRHW-W010",
            f"biases are clipped, by up to {off:.1%}",
            pop.nodes,
            f"register {low} to {high}, bias neuron in units of {int(unit.max())}",
            "scale the layer's weights up",
        )
    settle = int(2 ** pop.codes[f"i_syn_decay:{port}"].max() * 3)
    context.deviate(
        "rounded",
        "bias-neuron",
        pop.nodes,
        f"the coarse part of a bias comes through a synapse that settles in about {settle} steps",
    )
    return weights, kept


def _with_sources(network: Network, wires: list[tuple[Population, Ints]], context: Context) -> Network:
    """Return the network with as many bias neurons as the fan-out asks for, each serving a part of the targets."""
    from scipy.sparse import csr_array

    record, fan_out = context.record, context.hardware["fan_out"]
    hidden_rows = [(pop, int(k)) for pop, w in wires if record.layer[pop.name] == "hidden" for k in np.flatnonzero(w)]
    size = max(1, -(-len(hidden_rows) // fan_out))
    server = {(pop.name, k): n // fan_out for n, (pop, k) in enumerate(hidden_rows)}
    projections = []
    for pop, weights in wires:
        matrix = np.zeros((pop.size, size), np.int64)
        for k in np.flatnonzero(weights):
            matrix[k, server.get((pop.name, int(k)), 0)] = weights[k]
        layer = "hidden" if record.layer[pop.name] == "hidden" else "readout"
        scale = record.scale[pop.name]
        quantized = Quantized(csr_array(matrix), record.shifts[layer], scale)
        drive = Sparse((size,), pop.shape, weight=csr_array(matrix / scale[:, None]))
        projections.append(
            Projection(
                f"{SOURCE}->{pop.name}",
                SOURCE,
                pop.name,
                pop.ports[0].name,
                drive,
                frozen(1, np.int64),
                nodes=pop.nodes,
                quantized=quantized,
            )
        )
    record.layer[SOURCE], record.lag[SOURCE] = "hidden", 0
    return replace(
        network,
        populations={**network.populations, SOURCE: always_firing(SOURCE, size)},
        projections=(*network.projections, *projections),
    )
