"""sinabs' own route from NIR to Speck, simulated by its layers; started by the Python that has sinabs, which lacks nirhw.

    python sinabs_route_worker.py jobs.npz results.npz

A job has ``graph`` (path of a NIR file), ``bound`` (lower bound of the membranes in thresholds, 0: none, sinabs' default) and
``spikes [sample, time, channel, y, x]``, ``reset`` ("subtract" or "zero").  The route: ``sinabs.nir.from_nir``, its modules in a ``Sequential``,
``DynapcnnNetwork(discretize=True)``, then the forward pass of the discretized layers, frame by frame.

What differs from the documented route, because it does not run otherwise:

* samna and samnagui are the stand-ins of ``stand_ins``; no configuration is written and nothing validated by samna.
* v_reset is taken out of the file: nir 1.0.4, which sinabs pins, does not know it.  Other values than 0 are refused.
* Linear becomes Affine without bias (``from_nir`` drops Linear without a word).
* Thresholds become one number a layer, as sinabs' documentation does by hand.
* ``from_nir`` sets the lower bound of every neuron to minus its threshold; ``bound`` replaces that.

A reset to zero is given to the layers by hand: NIR does not say, and sinabs takes subtraction.

Results: ``counts [sample, output]``, and by layer ``n``: ``weights<n> [out, in, y, x]``, ``threshold<n>``, ``low<n>`` (whole
numbers); or ``refused``.
"""

import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).with_name("stand_ins")))

import h5py
import nir
import numpy as np
import sinabs.layers as sl
import torch
from sinabs.activation import MembraneReset, MembraneSubtract
from sinabs.backend.dynapcnn import DynapcnnNetwork
from sinabs.nir import from_nir
from torch import nn
from worker_files import serve


def run(job):
    spikes = torch.tensor(job["spikes"].astype(np.float32))
    samples, steps = spikes.shape[:2]
    network = sequential(str(job["graph"]), float(job["bound"]), str(job["reset"]), samples)
    with torch.no_grad():
        chip = DynapcnnNetwork(network, input_shape=tuple(spikes.shape[2:]), batch_size=samples, discretize=True)
        out = chip(spikes.flatten(0, 1))
    found = {"counts": out.reshape(samples, steps, -1).sum(1).numpy().astype(np.int64)}
    for core, layer in chip.dynapcnn_layers.items():
        found[f"weights{core}"] = layer.conv_layer.weight.detach().numpy()
        found[f"threshold{core}"] = np.array(float(layer.spk_layer.spike_threshold))
        found[f"low{core}"] = np.array(float(layer.spk_layer.min_v_mem))
    return found


def read(path):
    """Return the graph of a file that a newer nir wrote."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copy(path, folder))
        with h5py.File(copy, "r+") as file:
            for name, node in file["node/nodes"].items():
                if "v_reset" in node:
                    if np.any(node["v_reset"][()]):
                        raise ValueError(f"{name} resets to another value than 0")
                    del node["v_reset"]
        return nir.read(copy)


def sequential(path, bound, reset, samples):
    """Return the graph as sinabs imports it, as the chain of modules that DynapcnnNetwork takes."""
    graph = read(path)
    for name, node in graph.nodes.items():
        for field, value in vars(node).items():
            if isinstance(value, np.ndarray) and value.dtype == np.float64:
                setattr(node, field, value.astype(np.float32))  # as torch counts; sinabs' layers refuse to be mixed
        if isinstance(node, nir.Linear):
            graph.nodes[name] = nir.Affine(weight=node.weight, bias=np.zeros(node.weight.shape[0], node.weight.dtype))
    imported = from_nir(graph, batch_size=samples)
    modules = [node.elem for node in imported.execution_order if not isinstance(node.elem, nn.Identity)]
    return nn.Sequential(*(prepared(module, bound, reset, samples) for module in modules))


def prepared(module, bound, reset, samples):
    """Return a module with one threshold, the bound and the reset; a convolution or matrix without a bias of zeros."""
    if isinstance(module, sl.IAFSqueeze):
        threshold = np.unique(module.spike_threshold.detach().numpy())
        if threshold.size > 1:
            raise ValueError("a layer has several thresholds")
        return sl.IAFSqueeze(
            batch_size=samples,
            spike_threshold=torch.tensor(threshold[0]),
            min_v_mem=torch.tensor(-bound * threshold[0]) if bound else None,
            reset_fn=MembraneReset() if reset == "zero" else MembraneSubtract(),
        )
    if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None and not module.bias.any():
        module.bias = None
    return module


if __name__ == "__main__":
    torch.set_num_threads(1)
    serve(run)
