"""rockpool's own route from NIR to Xylo Audio 2, run by its simulator; started by the Python that has rockpool, which lacks nirhw.

    python rockpool_worker.py jobs.npz results.npz

A job has ``graph`` (path of a NIR file), ``dt`` (seconds), ``quantizer`` ("channel" or "global"), ``move_biases`` (bool) and
``spikes [sample, time, channel]``.  The route: ``from_nir``, ``as_graph``, ``mapper``, ``channel_quantize`` or ``global_quantize``,
``config_from_specification``, ``XyloSim.from_config``, one ``evolve`` a sample from cleared states.

What differs from the documented route, because it does not run otherwise:

* samna is the stand-in of ``stand_ins/samna.py``; its validation knows the documented limits only.
* ``dt`` is set by hand on all neurons: ``from_nir`` guesses another for each layer and the mapper refuses that.
* Where ``from_nir`` refuses a graph, or would drop factors r and w_in, the same network is built here in
  rockpool's modules, the factors taken into the weights; ``graph`` of the result says so.
* The mapper drops biases of linear nodes, with a warning.  ``move_biases`` does by hand what a user might: the current that such a
  bias settles at becomes the neuron's bias, and hidden biases get the name that ``config_from_specification`` reads.

Results: ``counts [sample, output]``, ``valid`` and ``message`` of the validation, ``graph``, ``moved`` (whether there were biases
to move), ``warnings`` (one a line) and the configuration as the arrays that ``xylosim_worker.py`` reads; or ``refused``.
"""

import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).with_name("stand_ins")))

import nir
import numpy as np
import torch
from rockpool.devices.xylo.syns61201 import XyloSim, config_from_specification, mapper
from rockpool.nn.combinators import Sequential
from rockpool.nn.modules import LIFTorch, LinearTorch
from rockpool.nn.modules.torch.nir import from_nir
from rockpool.transform.quantize_methods import channel_quantize, global_quantize
from worker_files import serve

QUANTIZERS = {"channel": channel_quantize, "global": global_quantize}
LINEAR = (nir.Linear, nir.Affine)


def run(job):
    dt, path = float(job["dt"]), str(job["graph"])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        network, built = load(path, dt)
        moved = bool(job["move_biases"]) and move_biases(network, path, dt)
        specification = mapper(network.as_graph(), weight_dtype="float", threshold_dtype="float", dash_dtype="float")
        specification.update(QUANTIZERS[str(job["quantizer"])](**specification))
        if moved:
            specification["bias_hidden"] = specification.pop("bias")
        config, valid, message = config_from_specification(**specification)
        simulator = XyloSim.from_config(config, dt=dt)
    counts = []
    for raster in job["spikes"].astype(np.int64):
        simulator.reset_state()
        counts.append(simulator.evolve(raster)[0].sum(axis=0))
    told = dict.fromkeys(str(w.message).splitlines()[0] for w in caught if not issubclass(w.category, DeprecationWarning))
    return {
        "counts": np.array(counts, np.int64),
        "valid": np.array(valid),
        "message": np.array(message),
        "graph": np.array(built),
        "moved": np.array(moved),
        "warnings": np.array("\n".join(told)),
        **arrays(config),
    }


def load(path, dt):
    """Return the network in rockpool's modules with the step set, and who built it."""
    nodes = nir.read(path, type_check=False)
    try:
        if not unit_gains(nodes, dt):
            raise ValueError("r and w_in would be dropped")
        network, built = from_nir(Path(path)), "from_nir"
    except Exception as refusal:
        network, built = rebuilt(nodes, dt), f"built by hand, from_nir: {type(refusal).__name__}: {refusal}"
    for module in network.modules():
        if isinstance(module, LIFTorch):
            module.dt = dt
    return network, built


def move_biases(network, path, dt):
    """Set the neurons' biases of a network of ``from_nir`` from the graph's linear nodes; return whether there were any."""
    graph, found = nir.read(path, type_check=False), False
    for name, node in graph.nodes.items():
        biases = [graph.nodes[pre].bias for pre, post in graph.edges if post == name and isinstance(graph.nodes[pre], nir.Affine)]
        if isinstance(node, nir.CubaLIF) and np.any(biases):
            settled = np.sum(biases, axis=0) * node.tau_syn / dt
            network.get_submodule(name.replace(".", "_")).bias = torch.nn.Parameter(torch.tensor(settled.astype(np.float32)))
            found = True
    return found


def unit_gains(graph, dt):
    """Return whether r dt / tau_mem and w_in dt / tau_syn are 1 in all neurons, which from_nir takes for granted."""
    return all(np.allclose(gains(node, dt), 1, atol=1e-4) for node in graph.nodes.values() if isinstance(node, nir.CubaLIF))


def gains(node, dt):
    return (np.asarray(node.w_in) * dt / node.tau_syn) * (np.asarray(node.r) * dt / node.tau_mem)


def rebuilt(graph, dt):
    """Return a chain of linear maps and CubaLIF layers, each with or without a linear loop, as a rockpool network."""
    nodes, edges, layers, seen = graph.nodes, set(graph.edges), [], set()
    here = next(name for name, node in nodes.items() if isinstance(node, nir.Input))
    while not isinstance(nodes[here], nir.Output):
        following = [post for pre, post in edges if pre == here]
        loops = [n for n in following if isinstance(nodes[n], LINEAR) and (n, here) in edges]
        ahead = [n for n in following if n not in loops and n not in seen]
        if len(ahead) != 1:
            raise ValueError("rockpool's mapper needs a chain of layers")
        here = ahead[0]
        seen.add(here)
        node = nodes[here]
        if isinstance(node, nir.CubaLIF):
            layers.append(cuba_lif(node, [nodes[n] for n in nodes if (n, here) in edges and (here, n) in edges], dt))
        elif isinstance(node, LINEAR):
            target = next(nodes[post] for pre, post in edges if pre == here)
            factor = gains(target, dt) if isinstance(target, nir.CubaLIF) else 1.0
            weight = torch.tensor((node.weight.T * factor).astype(np.float32))
            layers.append(LinearTorch(tuple(weight.shape), weight=weight, has_bias=False))
        elif not isinstance(node, nir.Output):
            raise ValueError(f"rockpool's Xylo modules hold no {type(node).__name__}")
    return Sequential(*layers)


def cuba_lif(node, loops, dt):
    size = node.v_threshold.size

    def vector(values):
        return torch.tensor(np.broadcast_to(np.ravel(values), size).astype(np.float32))

    loop = {"has_rec": True, "w_rec": torch.tensor((loops[0].weight.T * gains(node, dt)).astype(np.float32))} if loops else {}
    taus = {"tau_mem": vector(node.tau_mem), "tau_syn": vector(node.tau_syn)[:, None]}
    return LIFTorch((size, size), **taus, threshold=vector(node.v_threshold), bias=vector(node.v_leak), dt=dt, **loop)


def arrays(config):
    """Return the configuration in the fields of ``random_xylo.job``."""
    hidden, outputs = config.reservoir.neurons, config.readout.neurons

    def column(neurons, name):
        return np.array([getattr(n, name) for n in neurons], np.int64)

    w_in, w_rec = config.input.weights, config.reservoir.weights
    return {
        "w_in": w_in,
        "w_in2": np.zeros_like(w_in),
        "w_rec": w_rec,
        "w_rec2": np.zeros_like(w_rec),
        "w_out": config.readout.weights,
        "shifts": np.array([g.weight_bit_shift for g in (config.input, config.reservoir, config.readout)]),
        "synapse2": np.array(config.synapse2_enable),
        "has_bias": np.array(config.bias_enable),
        "alias": np.array([-1 if n.alias_target is None else n.alias_target for n in hidden], np.int64),
        "dash_syn": column(hidden, "i_syn_decay"),
        "dash_syn2": column(hidden, "i_syn2_decay"),
        "dash_mem": column(hidden, "v_mem_decay"),
        "threshold": column(hidden, "threshold"),
        "bias": column(hidden, "v_mem_bias"),
        "dash_syn_out": column(outputs, "i_syn_decay"),
        "dash_mem_out": column(outputs, "v_mem_decay"),
        "threshold_out": column(outputs, "threshold"),
        "bias_out": column(outputs, "v_mem_bias"),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    serve(run)
