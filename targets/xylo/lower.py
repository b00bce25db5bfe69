"""From the placed network to the configuration and the map between the host's arrays and the chip's neurons."""

from __future__ import annotations

from typing import Any

import numpy as np

from nirhw.network import Network, Population
from nirhw.operators import entries
from nirhw.pipeline import Context

from .config import (
    NO_ALIAS,
    HiddenGroup,
    HiddenNeurons,
    InputGroup,
    Int8,
    OutputNeurons,
    ReadoutGroup,
    XyloConfiguration,
)
from .drivers import driven
from .kernels import kept
from .matrices import matrix_of
from .stretch import rows_of


def lower(network: Network, context: Context) -> tuple[XyloConfiguration, dict[str, Any]]:
    """Return the configuration and the io map of a placed and quantized network."""
    _list_bursts(network, context)
    return _configuration(network, context), _io_map(network, context)


def _configuration(network: Network, context: Context) -> XyloConfiguration:
    record = context.record
    n_in = sum(i.size for i in record.channels.values())
    n_hidden = sum(i.size for i in record.hidden_ids.values())
    n_out = sum(i.size for i in record.output_ids.values())
    shapes = {"input": (n_in, n_hidden), "hidden": (n_hidden, n_hidden), "readout": (n_hidden, n_out)}
    matrices = {(m, s): np.zeros(shape, np.int64) for m, shape in shapes.items() for s in (0, 1)}
    ids = {**record.channels, **record.hidden_ids, **record.output_ids}
    for proj in network.projections:
        assert proj.quantized is not None  # the quantize stage set it
        synapse = [p.name for p in network.populations[proj.target].ports].index(proj.port)
        post, pre, weight = entries(proj.quantized.weight)
        matrices[matrix_of(proj, record.layer), synapse][ids[proj.source][pre], ids[proj.target][post]] += weight
    columns = min(n_hidden, context.hardware["input_reach"])
    rows = min(n_hidden, context.hardware["output_reach"])
    hidden = _hidden_columns(network, context, n_hidden)
    output = _output_columns(network, context, n_out)
    second = bool(np.any(matrices["input", 1]) or np.any(matrices["hidden", 1]))
    return XyloConfiguration(
        samna_module=context.hardware.interface,
        input=InputGroup(
            _int8(matrices["input", 0][:, :columns]),
            _int8(matrices["input", 1][:, :columns]),
            record.shifts["input"],
        ),
        hidden=HiddenGroup(
            _int8(matrices["hidden", 0]),
            _int8(matrices["hidden", 1]),
            record.shifts["hidden"],
            hidden,
            aliasing=bool(record.drives),
        ),
        readout=ReadoutGroup(_int8(matrices["readout", 0][n_hidden - rows :]), record.shifts["readout"], output),
        synapse2_enable=second,
        bias_enable=bool(np.any(hidden.v_mem_bias) or np.any(output.v_mem_bias)),
    )


def _int8(matrix: Any) -> Int8:
    """Return weights as int8; the quantize stage clipped them, and left room where two projections share a pair of neurons."""
    assert matrix.min(initial=0) >= -128 and matrix.max(initial=0) <= 127
    return np.asarray(matrix, dtype=np.int8)


def _hidden_columns(network: Network, context: Context, total: int) -> HiddenNeurons:
    columns = {k: np.zeros(total, np.int64) for k in ("i_syn_decay", "i_syn2_decay", "v_mem_decay", "threshold", "v_mem_bias")}
    for name, ids in context.record.hidden_ids.items():
        pop = network.populations[name]
        for key in ("v_mem_decay", "threshold", "v_mem_bias"):
            columns[key][ids] = pop.codes[key]
        for key, port in zip(("i_syn_decay", "i_syn2_decay"), pop.ports, strict=False):
            columns[key][ids] = pop.codes[f"i_syn_decay:{port.name}"]
    alias = np.full(total, NO_ALIAS, np.int64)
    for name, (pop, chosen) in context.record.drives.items():
        alias[context.record.hidden_ids[name]] = context.record.hidden_ids[pop][chosen]
    return HiddenNeurons(**columns, alias_target=alias)


def _output_columns(network: Network, context: Context, total: int) -> OutputNeurons:
    columns = {k: np.zeros(total, np.int64) for k in ("i_syn_decay", "v_mem_decay", "threshold", "v_mem_bias")}
    for name, ids in context.record.output_ids.items():
        pop = network.populations[name]
        for key in ("v_mem_decay", "threshold", "v_mem_bias"):
            columns[key][ids] = pop.codes[key]
        columns["i_syn_decay"][ids] = pop.codes[f"i_syn_decay:{pop.ports[0].name}"]
    return OutputNeurons(**columns)


def _io_map(network: Network, context: Context) -> dict[str, Any]:
    """Return where the host's arrays meet the chip; plain data, arrays as int64.

    ``inputs`` and ``outputs`` by NIR name, ``populations`` by the NIR name of every recordable population; ``copies`` are the
    spikes a chip step that a driver sends a neuron, which are none of its own.  A row of the host's arrays is ``dt`` long and
    takes ``time_stretch`` chip steps: counts enter in the first of them, spikes of all are added up, states are those of the
    last.  ``lag`` is in rows, the fewest after which all has shown that the network does in a row: chip steps are rounded up.
    """
    record, steps = context.record, context.options.time_stretch
    inputs = {
        name: {"shape": list(network.populations[pop].shape), "channels": record.channels[pop]}
        for name, pop in network.inputs.items()
    }
    outputs = {}
    for name, source in network.outputs.items():
        pop = network.populations[source]
        relay = f"{source}~out"
        served = network.populations.get(relay, pop)
        outputs[name] = {
            **_where(served, context),
            "shape": list(network.output_shapes[name]),
            "kind": "spikes" if pop.rule == "spiking" else "membrane",
            "lag": rows_of(record.lag[served.name], steps),
        }
    populations = {}
    for pop in network.populations.values():
        if pop.role == "network" and pop.rule != "input":
            entry = {
                **_where(pop, context),
                "shape": list(pop.shape),
                "lag": rows_of(record.lag[pop.name], steps),
                "synapses": len(pop.ports),
            }
            held = [chosen for served, chosen in record.drives.values() if served == pop.name]
            if held:  # copies that their drivers send them
                copies = np.zeros(pop.size, np.int64)
                copies[held[0]] = context.hardware["hidden_spikes"] - 1
                entry["copies"] = copies
            for name in (*pop.nodes, pop.name):
                populations[name] = entry
    return {
        "dt": record.dt,
        "time_stretch": steps,
        "input_peak": context.options.input_peak,
        "inputs": inputs,
        "outputs": outputs,
        "populations": populations,
    }


def _where(pop: Population, context: Context) -> dict[str, Any]:
    record = context.record
    layer = record.layer[pop.name]
    ids = record.hidden_ids[pop.name] if layer == "hidden" else record.output_ids[pop.name]
    return {"layer": layer, "ids": ids, "scale": record.scale[pop.name]}


def _list_bursts(network: Network, context: Context) -> None:
    """List populations that may emit several spikes in a step of the network, unless that is excluded.

    By induction over time: if no hidden neuron emitted two spikes within a step so far, a neuron whose largest possible current
    cannot lift its membrane from just below its threshold to twice the threshold, nor back to it in the rest of a stretched step,
    does not either.
    """
    record, steps = context.record, context.options.time_stretch
    # an output neuron emits one spike a chip step
    ids = record.hidden_ids if steps == 1 else [*record.hidden_ids, *record.output_ids]
    spiking = [p for p in (network.populations[n] for n in ids) if p.rule == "spiking" and p.role == "network"]
    bursting = [p for p in spiking if np.any(_may_repeat(network, p, context))]
    if bursting:
        nodes = [n for p in bursting for n in p.nodes]
        most = context.hardware["hidden_spikes"]
        per_step = f"a hidden neuron emits up to {most} spikes a step, one for each threshold in its membrane; the network one"
        per_row = (
            f"a hidden neuron emits up to {most} spikes a chip step, one for each threshold in its membrane, an output neuron "
            f"one, and a step of the network, which has one spike, takes {steps} of them"
        )
        context.deviate("semantic", "several-spikes", nodes, per_step if steps == 1 else per_row)


def _may_repeat(network: Network, pop: Population, context: Context) -> Any:
    """Return which neurons may emit two spikes within a step of the network."""
    steps, peak = context.options.time_stretch, min(context.options.input_peak, context.hardware["input_events"])
    threshold = pop.codes["threshold"].astype(np.float64)
    left = np.floor((threshold - 1) * kept(pop.codes["v_mem_decay"])) + 1
    rise = _largest_rise(network, pop, context, peak)
    at_once = rise >= 2 * threshold - left
    if context.record.layer[pop.name] == "output":  # one spike a chip step, and the rest of the membrane stays
        at_once = np.zeros(pop.size, bool)
    later = np.maximum(left + rise - threshold, 0.0) + (steps - 1) * rise >= threshold
    return (at_once & ~driven(pop, context)) | ((steps > 1) & later)


def _largest_rise(network: Network, pop: Population, context: Context, peak: int) -> Any:
    """Return how far a chip step can lift a membrane, if no source fires twice in a step of the network."""
    steps = context.options.time_stretch
    rise = np.maximum(pop.codes["v_mem_bias"], 0).astype(np.float64)
    for port in pop.ports:
        share = kept(pop.codes[f"i_syn_decay:{port.name}"])
        # an event that comes once in a step of the network, a bias neuron's in each chip step, and a unit of truncation
        rise += share / (1.0 - share)
        for proj in network.into(pop.name):
            if proj.port == port.name and proj.quantized is not None:
                post, _, values = entries(proj.quantized.weight)
                weight = np.bincount(post, np.maximum(values, 0), pop.size) * 2.0**proj.quantized.shift
                weight = weight * (peak if context.record.layer[proj.source] == "input" else 1)
                often = network.populations[proj.source].role == "bias"
                rise += weight * share / (1.0 - share ** (1 if often else steps))
    return rise
