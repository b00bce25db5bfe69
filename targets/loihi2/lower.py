"""From the placed network to the configuration and the map between the host's arrays and the chip's neurons."""

from __future__ import annotations

from typing import Any

from nirhw.network import Network, Population
from nirhw.pipeline import Context

from .config import Loihi2Configuration
from .connect import group_names
from .formats import UNIT


def lower(network: Network, context: Context) -> tuple[Loihi2Configuration, dict[str, Any]]:
    """Return the configuration and the io map of a placed and quantized network.

    The io map: see :mod:`nirhw.targets.loihi2.device`.
    """
    record = context.record
    config = Loihi2Configuration(tuple(record.groups), tuple(record.synapses), tuple(record.cores))
    populations = {}
    for pop in network.populations.values():
        if pop.role == "network" and pop.rule != "input":
            entry = _where(pop, context) | {"shape": list(pop.shape)}
            populations.update(dict.fromkeys((*pop.nodes, pop.name), entry))
    outputs = {}
    for name, source in network.outputs.items():
        pop = network.populations[source]
        kind = "spikes" if pop.rule == "spiking" else "membrane"
        outputs[name] = _where(pop, context) | {"shape": list(network.output_shapes[name]), "kind": kind}
    inputs = {name: {"shape": list(network.populations[pop].shape), "group": pop} for name, pop in network.inputs.items()}
    return config, {
        "dt": network.dt,
        "input_peak": context.options.input_peak,
        "inputs": inputs,
        "outputs": outputs,
        "populations": populations,
    }


def _where(pop: Population, context: Context) -> dict[str, Any]:
    record = context.record
    scale = UNIT * record.mantissa[pop.name] / record.unit[pop.name]
    return {"groups": group_names(pop, record.members[pop.name]), "scale": scale, "lag": record.lag[pop.name]}
