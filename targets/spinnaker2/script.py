"""A self-contained Python script that runs a configuration on a board through py-spinnaker2's ``snn`` interface.

The folder gets two files: ``run_spinnaker2.py``, which is the same for every network (``board_script.py`` of this package), and
``network.npz``, which holds the configuration as numbers and JSON; nothing of a network is ever written into code.  The
interface is the one that public programs use.  Verified against a strict fake of it, not against py-spinnaker2 itself.
"""

from __future__ import annotations

import io
import json
import os
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nirhw.diagnostics import error, printable
from nirhw.emulation.inputs import as_counts
from nirhw.files import write_folder

from .config import PARAMETERS, SPIKE_LIST, SpiNNaker2Configuration

if TYPE_CHECKING:
    from nirhw.compiled import CompiledModel

SCRIPT, NETWORK = "run_spinnaker2.py", "network.npz"
_AXES = ("in_height", "in_width", "pad_top", "pad_bottom", "pad_left", "pad_right")


def write_script(model: CompiledModel, folder: str | os.PathLike[str], spikes: Any = None) -> Path:
    """Write the script and its data file to ``folder``, which is made where it does not exist.

    Args:
        model: a model compiled for this target; the network is written from ``model.config`` alone.
        folder: where to write.
        spikes: input that the script runs by default, as for :meth:`nirhw.compiled.CompiledModel.emulate`; without it, the
            script needs a file of spikes.

    Returns:
        The path of the script; its docstring says how to start it and what it writes.

    Raises:
        UsageError: NIRHW-E002 for a model of another target, NIRHW-E005 where the folder cannot be written.
        InputError: NIRHW-E050 or E051 for spikes that do not suit the model.
    """
    if not isinstance(model.config, SpiNNaker2Configuration):
        raise error("NIRHW-E002", f"a script for SpiNNaker2 cannot run a model of {printable(model.target)}")
    arrays = network_arrays(model.config)
    if spikes is not None:
        arrays |= _spike_arrays(model, spikes)
    stream = io.BytesIO()
    np.savez_compressed(stream, allow_pickle=False, **arrays)
    program = files(__package__).joinpath("board_script.py").read_bytes()
    return write_folder(folder, {NETWORK: stream.getvalue(), SCRIPT: program}) / SCRIPT


def network_arrays(config: SpiNNaker2Configuration) -> dict[str, Any]:
    """Return the content of the data file: columns of the configuration, and as ``document`` the rest as JSON."""
    data = config.to_dict()
    document = {
        "chips": config.chips,
        "timesteps": config.timesteps,
        "parameters": PARAMETERS,
        "slices": [
            {k: record[k] for k in ("population", "first", "size", "application", "reset", "record")} for record in data["slices"]
        ],
        "kernels": [{"slice": k["slice"], "source": k["source"], "params": _conv_params(k)} for k in data["kernels"]],
    }
    synapses = data["synapses"]
    return {
        "document": np.frombuffer(json.dumps(document, sort_keys=True).encode(), np.uint8),
        **{f"parameter_{name}": column for name, column in data["parameters"].items()},
        "block_slice": synapses["slice"],
        "block_source": synapses["source"],
        **{f"synapse_{name}": synapses[name] for name in ("row", "target", "weight", "delay")},
        **{f"kernel_{n}": kernel["kernel"] for n, kernel in enumerate(data["kernels"])},
    }


def _conv_params(kernel: dict[str, Any]) -> dict[str, int]:
    """Return the parameters of ``snn.Conv2DProjection``; x and y are alike, as which is which is not settled."""
    params = {name: kernel[name] for name in _AXES}
    return params | {f"{name}_{axis}": kernel[name] for name in ("stride", "pool") for axis in "xy"}


def _spike_arrays(model: CompiledModel, spikes: Any) -> dict[str, Any]:
    """Return the input, uint8 ``[sample, time, neuron]``, by the number of its population among the configuration's inputs."""
    inputs = model.io_map["inputs"]
    counts, _ = as_counts(spikes, {name: tuple(entry["shape"]) for name, entry in inputs.items()}, model.io_map["input_peak"])
    populations = list(dict.fromkeys(s.population for s in model.config.slices if s.application == SPIKE_LIST))
    arrays = {}
    for name, entry in inputs.items():
        number = populations.index(model.config.slices[entry["slices"][0]].population)
        arrays[f"spikes_{number}"] = counts[name].astype(np.uint8)
    return arrays
