"""Run a network that nirhw compiled for SpiNNaker2, through py-spinnaker2.

    S2_IP=<address> python run_spinnaker2.py [--spikes spikes.npz] [--results results.npz] [--tick seconds] [--mapping-only]

The network is in ``network.npz`` beside this script, slice by slice: one population a slice, so that what nirhw placed on one PE
stays on one PE.  Which PE that is, the keys and the routes are chosen by py-spinnaker2.

``--spikes`` names an .npz with one array of 0 and 1 by input population, ``[time, neuron]`` or ``[sample, time, neuron]``, or an
.npy where there is one input; without it the spikes that were written with the network are used.  Row t is sent in step t and
acts in step t + 1.  The results hold ``names`` (of the recorded populations) and, by their number, ``spikes_<n>`` (uint8),
``v_<n>`` and ``v_last_<n>`` (float32), each ``[sample, time, neuron]``, with one row for v_last.

A single chip is reached at S2_IP (its Ethernet address), a 48-chip board at STM_IP (its controller's address).  Each sample
takes a hardware object of its own.  Needs py-spinnaker2 (https://spinnaker2.gitlab.io/py-spinnaker2) and numpy.
"""

from __future__ import annotations

import argparse
import json
import os
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

Data = dict[str, Any]
#: arrays ``[time, neuron]`` by kind and population
Results = dict[tuple[str, str], Any]


def load(path: Path) -> tuple[Data, Data]:
    """Return the document of a network file and its arrays by name."""
    with np.load(path, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    return json.loads(arrays.pop("document").tobytes()), arrays


def input_slices(document: Data) -> dict[str, list[int]]:
    """Return the slices of every input population, in the order of its neurons."""
    found: dict[str, list[int]] = {}
    for index, part in enumerate(document["slices"]):
        if part["application"] == "spike_list":
            found.setdefault(part["population"], []).append(index)
    return {name: sorted(members, key=lambda k: document["slices"][k]["first"]) for name, members in found.items()}


def checked_spikes(document: Data, given: Data) -> dict[str, Any]:
    """Return the input of every population as ``[sample, time, neuron]``."""
    inputs = input_slices(document)
    if set(given) != set(inputs):
        raise SystemExit(f"spikes are given for {sorted(given)}, the inputs are {sorted(inputs)}")
    spikes = {}
    for name, members in inputs.items():
        size = sum(document["slices"][k]["size"] for k in members)
        array = np.asarray(given[name])
        if array.ndim not in (2, 3) or array.shape[-1] != size:
            raise SystemExit(f"spikes of {name!r} have shape {array.shape}; expected [time, {size}] or [sample, time, {size}]")
        if not np.isin(array, (0, 1)).all():
            raise SystemExit(f"spikes of {name!r} hold other values than 0 and 1; a neuron sends at most one spike a step")
        spikes[name] = array.reshape(-1, *array.shape[-2:]) != 0
    if len({array.shape[:2] for array in spikes.values()}) > 1:
        raise SystemExit("the inputs differ in samples or steps")
    return spikes


def vendor(part: str) -> Any:
    """Return module ``part`` of py-spinnaker2."""
    try:
        return import_module(f"spinnaker2.{part}")
    except ImportError as reason:
        raise SystemExit(f"py-spinnaker2 is missing ({reason}): see https://spinnaker2.gitlab.io/py-spinnaker2") from None


def build(document: Data, arrays: Data, spikes: Data) -> tuple[Any, list[Any]]:
    """Return py-spinnaker2's network for the spikes of one sample, ``[time, neuron]`` by input, and its populations by slice."""
    snn = vendor("snn")
    times: dict[int, dict[int, list[int]]] = {}
    for name, members in input_slices(document).items():
        first = 0
        for index in members:
            size = document["slices"][index]["size"]
            columns = spikes[name][:, first : first + size].T
            times[index] = {neuron: np.flatnonzero(column).tolist() for neuron, column in enumerate(columns)}
            first += size
    network = snn.Network("nirhw")
    populations = []
    position = dict.fromkeys(document["parameters"]["lif_curr_exp"], 0)
    for index, part in enumerate(document["slices"]):
        params: dict[Any, Any] = times.get(index, {})
        for name in document["parameters"][part["application"]]:
            values = arrays[f"parameter_{name}"][position[name] : position[name] + part["size"]]
            params[name] = parameter(name, values)
            position[name] += part["size"]
        if part["reset"]:
            params["reset"] = part["reset"]
        population = snn.Population(
            size=part["size"],
            neuron_model=part["application"],
            params=params,
            name=f"slice_{index}",
            record=list(part["record"]),
        )
        population.set_max_atoms_per_core(part["size"])
        populations.append(population)
    network.add(*populations)
    network.add(*projections(snn, document, arrays, populations))
    return network, populations


def parameter(name: str, values: Any) -> Any:
    """Return a parameter as one number where all neurons share it, else as a list."""
    kind = int if name == "t_refrac" else float
    return kind(values[0]) if np.all(values == values[0]) else [kind(value) for value in values]


def projections(snn: Any, document: Data, arrays: Data, populations: list[Any]) -> list[Any]:
    """Return a projection for every block of synapses or kernel; py-spinnaker2 takes none without connections."""
    found, row, synapse = [], 0, 0
    for target, source in zip(arrays["block_slice"].tolist(), arrays["block_source"].tolist(), strict=True):
        lengths = arrays["synapse_row"][row : row + document["slices"][source]["size"]]
        count = int(lengths.sum())
        part = slice(synapse, synapse + count)
        pre = np.repeat(np.arange(lengths.size), lengths)
        columns = [pre, *(arrays[f"synapse_{name}"][part].astype(np.int64) for name in ("target", "weight", "delay"))]
        if count:
            found.append(
                snn.Projection(pre=populations[source], post=populations[target], connections=np.stack(columns, 1).tolist())
            )
        row, synapse = row + lengths.size, part.stop
    for number, kernel in enumerate(document["kernels"]):
        pre, post = populations[kernel["source"]], populations[kernel["slice"]]
        found.append(snn.Conv2DProjection(pre, post, arrays[f"kernel_{number}"], dict(kernel["params"])))
    return found


def collect(document: Data, populations: list[Any], steps: int) -> Results:
    """Return what one run recorded."""
    results: Results = {}
    for part, population in zip(document["slices"], populations, strict=True):
        for kind in part["record"]:
            total = sum(s["size"] for s in document["slices"] if s["population"] == part["population"])
            rows = 1 if kind == "v_last" else steps
            whole = results.setdefault(
                (kind, part["population"]), np.zeros((rows, total), np.uint8 if kind == "spikes" else np.float32)
            )
            if kind == "spikes":
                for neuron, when in population.get_spikes().items():
                    whole[np.asarray(when, int), part["first"] + int(neuron)] = 1
            else:
                for neuron, voltage in population.get_voltages().items():
                    whole[:, part["first"] + int(neuron)] = np.atleast_1d(voltage)[-rows:]
    return results


def board(chips: int) -> Any:
    """Return a hardware object at the address that the environment names."""
    hardware = vendor("hardware")
    variable = "S2_IP" if chips == 1 else "STM_IP"
    address = os.environ.get(variable)
    if not address:
        raise SystemExit(f"{variable} is not set; it is the address of the {'chip' if chips == 1 else 'board controller'}")
    return hardware.SpiNNaker2Chip(eth_ip=address) if chips == 1 else hardware.SpiNNcloud48NodeBoard(stm_ip=address)


def run(document: Data, arrays: Data, spikes: Data, tick: float, mapping_only: bool) -> list[Results]:
    """Run every sample; return what each recorded."""
    samples, steps = next(iter(spikes.values())).shape[:2] if spikes else (1, document["timesteps"])
    if steps > document["timesteps"]:
        raise SystemExit(f"{steps} steps; memory for recordings was set aside for {document['timesteps']}: compile for more")
    results = []
    for sample in range(samples):
        network, populations = build(document, arrays, {name: array[sample] for name, array in spikes.items()})
        options = {"mapping_only": True} if mapping_only else {}
        machine = board(document["chips"])  # serves one run
        machine.run(network, steps, sys_tick_in_s=tick, **options)
        results.append({} if mapping_only else collect(document, populations, steps))
    return results


def save(path: Path, results: list[Results]) -> None:
    """Write the results, whole or not at all."""
    names = sorted({population for result in results for _, population in result})
    content: Data = {"names": np.array(names, dtype=np.str_)}
    for kind, population in results[0]:
        content[f"{kind}_{names.index(population)}"] = np.stack([result[kind, population] for result in results])
    partial = path.with_name(path.name + ".part")
    with open(partial, "wb") as stream:
        np.savez_compressed(stream, **content)
    os.replace(partial, path)


def main() -> None:
    """Read the arguments, run, write the results."""
    here = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description="Run a network that nirhw compiled for SpiNNaker2, through py-spinnaker2.")
    parser.add_argument("--spikes", type=Path, help="input spikes; default: those written with the network")
    parser.add_argument("--results", type=Path, default=here / "results.npz")
    parser.add_argument(
        "--tick", type=float, default=1e-3, help="seconds a step takes on the board; raise it where steps overrun"
    )
    parser.add_argument("--mapping-only", action="store_true", help="map the network, run nothing")
    arguments = parser.parse_args()
    document, arrays = load(here / "network.npz")
    inputs = list(input_slices(document))
    if arguments.spikes is None:
        given = {name: arrays[f"spikes_{k}"] for k, name in enumerate(inputs) if f"spikes_{k}" in arrays}
    else:
        loaded = np.load(arguments.spikes, allow_pickle=False)
        given = dict(loaded) if isinstance(loaded, np.lib.npyio.NpzFile) else dict.fromkeys(inputs[:1], loaded)
    results = run(document, arrays, checked_spikes(document, given), arguments.tick, arguments.mapping_only)
    if not arguments.mapping_only:
        save(arguments.results, results)


if __name__ == "__main__":
    main()
