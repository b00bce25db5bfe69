"""Random Loihi 2 configurations for differential tests, and the files that the oracle's worker reads and writes."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirhw.targets.loihi2.config import (
    CoreSlice,
    Group,
    Kernel,
    Loihi2Configuration,
    Synapses,
    synapses_from_kernel,
    synapses_from_matrix,
)

Array = NDArray[Any]
ROOT = Path(__file__).resolve().parents[2]
WORKER = Path(__file__).with_name("lava_worker.py")


@dataclass(frozen=True)
class Case:
    """A configuration and what its inputs send, ``counts[input][time, neuron]``."""

    config: Loihi2Configuration
    counts: dict[str, Array]


def oracle_python() -> Path:
    """The interpreter that has lava; it need not exist."""
    return Path(os.environ.get("NIRHW_LAVA_PYTHON", ROOT / ".venv-lava" / "bin" / "python"))


def random_case(seed: int, steps: int | None = None, only_lava: bool = True, most: int = 48) -> Case:
    """Draw a network of an input, one to three groups of at most ``most`` neurons, and recurrent and skipping synapses.

    Quiet, lively and overflowing networks all occur.  With ``only_lava`` the models are those that lava has.
    """
    rng = np.random.default_rng(seed)
    violent = rng.random() < 0.2
    graded_input = bool(rng.random() < 0.4)
    conv = _kernel(rng) if rng.random() < 0.3 else None
    n_in = int(np.prod(conv.in_shape)) if conv else int(rng.integers(2, 15))
    groups = [Group("in", "in", np.arange(n_in), "input")]
    for k in range(int(rng.integers(1, 4))):
        size = int(np.prod(conv.out_shape)) if conv and k == 0 else int(rng.integers(1, most + 1))
        groups.append(_group(rng, f"g{k}", size, only_lava))
    synapses = []
    for k, (source, target) in enumerate(_edges(rng, [g.name for g in groups])):
        sizes = {g.name: g.size for g in groups}
        pre = next(g for g in groups if g.name == source)
        graded = graded_input if source == "in" else pre.model == "graded"
        if conv and (source, target) == ("in", "g0"):
            synapses.append(synapses_from_kernel("conv", source, target, conv, message_bits=8 * graded))
        else:
            synapses.append(_synapses(rng, f"s{k}", source, target, sizes, violent, 8 * graded))
    length = steps or int(rng.integers(30, 80))
    rate = float(rng.choice([0.05, 0.2, 0.6]))
    fired = rng.random((length, n_in)) < rate
    counts = np.where(fired, rng.integers(-127, 128, fired.shape), 0) if graded_input else fired.astype(np.int64)
    cores = tuple(CoreSlice(0, k, g.name, 0, g.size) for k, g in enumerate(groups[1:]))
    return Case(Loihi2Configuration(tuple(groups), tuple(synapses), cores), {"in": counts})


def _edges(rng: np.random.Generator, names: list[str]) -> list[tuple[str, str]]:
    edges = list(pairwise(names))
    edges += [(n, n) for n in names[1:] if rng.random() < 0.5]
    edges += [(a, b) for k, a in enumerate(names) for b in names[max(1, k + 2) :] if rng.random() < 0.3]
    edges += [(names[-1], names[1])] * (len(names) > 2 and rng.random() < 0.3)
    edges += [edges[0]] * (rng.random() < 0.2)  # two processes between the same groups
    return edges


def _group(rng: np.random.Generator, name: str, size: int, only_lava: bool) -> Group:
    models = ["lif", "lif", "lif_reset"] if only_lava else ["lif", "lif_reset", "lif_subtract", "graded"]
    with_bias = rng.random() < 0.5
    return Group(
        name,
        name,
        np.arange(size),
        str(rng.choice(models)),  # type: ignore[arg-type]
        du=int(rng.choice([-1, 0, 4095, int(rng.integers(0, 4096)), int(rng.integers(0, 4096))])),
        dv=int(rng.choice([0, 4096, int(rng.integers(0, 4096)), int(rng.integers(0, 600))])),
        threshold=int(rng.choice([0, 131071, int(rng.integers(1, 300)), int(rng.integers(1, 5000)), int(rng.integers(1, 5000))])),
        bias_mantissa=rng.integers(-4096, 4096, size) if with_bias else np.zeros(size, np.int64),
        bias_exponent=int(rng.integers(0, 8)) if with_bias else 0,
        reset_interval=int(rng.integers(1, 20)),
        reset_offset=int(rng.integers(0, 25)),
        payload_shift=int(rng.integers(6, 16)),
    )


def _synapses(
    rng: np.random.Generator, name: str, source: str, target: str, sizes: dict[str, int], violent: bool, message_bits: int
) -> Synapses:
    shape = (sizes[target], sizes[source])
    mode = str(rng.choice(["mixed", "mixed", "excitatory", "inhibitory"]))
    reach = 300 if rng.random() < 0.3 else 255  # beyond the chip's range lava clips
    low, high = {"mixed": (-reach, reach), "excitatory": (0, reach), "inhibitory": (-reach, 0)}[mode]
    density = float(rng.choice([0.05, 0.3, 1.0]))
    weight = np.where(rng.random(shape) < density, rng.integers(low, high + 1, shape), 0)
    delayed = rng.random()
    delay: Array | int = 0
    if delayed < 0.3:
        delay = rng.integers(0, int(rng.choice([2, 8, 63])), shape)
    elif delayed < 0.4:
        delay = int(rng.integers(1, 63))
    return synapses_from_matrix(
        name,
        source,
        target,
        weight,
        kind=str(rng.choice(["dense", "sparse"])),  # type: ignore[arg-type]
        delay=delay,
        exponent=int(rng.integers(5, 8)) if violent else int(rng.integers(-4, 4)),
        weight_bits=int(rng.integers(1, 9)),
        sign_mode=mode,  # type: ignore[arg-type]
        message_bits=message_bits,
    )


def _kernel(rng: np.random.Generator) -> Kernel:
    groups = int(rng.choice([1, 1, 2]))
    channels, filters = groups * int(rng.integers(1, 3)), groups * int(rng.integers(1, 3))
    plane, size = rng.integers(5, 9, 2), rng.integers(1, 4, 2)
    stride, padding, dilation = rng.integers(1, 3, 2), rng.integers(0, 2, 2), rng.integers(1, 3, 2)
    out = (plane + 2 * padding - dilation * (size - 1) - 1) // stride + 1
    weight = rng.integers(-255, 256, (filters, channels // groups, *size))
    return Kernel(weight, (channels, *plane), (filters, *out), tuple(stride), tuple(padding), tuple(dilation), groups)


def job(case: Case) -> dict[str, Array]:
    """A case as the arrays that the worker reads."""
    config = case.config
    fields: dict[str, Array] = {
        "groups": np.array([g.name for g in config.groups]),
        "models": np.array([g.model for g in config.groups]),
        "edges": np.array([[s.source, s.target] for s in config.synapses]),
        "kinds": np.array([s.kind for s in config.synapses]),
        "modes": np.array([s.sign_mode for s in config.synapses]),
    }
    for g in config.groups:
        fields[f"group/{g.name}"] = np.array(
            [g.size, g.du, g.dv, g.threshold, g.bias_exponent, g.reset_interval, g.reset_offset], np.int64
        )
        fields[f"bias/{g.name}"] = g.bias_mantissa
    for name, counts in case.counts.items():
        fields[f"counts/{name}"] = counts
    sizes = {g.name: g.size for g in config.groups}
    for k, s in enumerate(config.synapses):
        fields[f"synapse/{k}"] = np.array([s.exponent, s.weight_bits, s.message_bits], np.int64)
        if s.kernel is None:
            fields[f"weight/{k}"] = s.matrix(sizes[s.target]).toarray()
            fields[f"delay/{k}"] = s.delay_matrix(sizes[s.target]).toarray()
        else:
            fields[f"kernel/{k}"] = s.kernel.weight
            geometry = (*s.kernel.in_shape, *s.kernel.stride, *s.kernel.padding, *s.kernel.dilation, s.kernel.groups)
            fields[f"geometry/{k}"] = np.array(geometry)
    return fields


def run_worker(mode: str, jobs: list[dict[str, Array]], folder: Path, timeout: float) -> dict[str, Array]:
    """Run jobs in the oracle environment and return what the worker wrote.

    Raises:
        subprocess.TimeoutExpired: after ``timeout`` seconds.
        RuntimeError: where the worker failed or crashed.
    """
    source, target = folder / "jobs.npz", folder / "results.npz"
    arrays = {f"{k}/{name}": values for k, fields in enumerate(jobs) for name, values in fields.items()}
    np.savez(source, **arrays)
    with (folder / "worker.log").open("w+") as log:
        # a session of its own: lava forks a process for each part of a network, and all of them must go when time is up
        process = subprocess.Popen(
            [str(oracle_python()), str(WORKER), mode, str(source), str(target)],
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout)
        except BaseException:
            os.killpg(process.pid, 9)
            process.wait()
            raise
        if code:
            log.seek(0)
            raise RuntimeError(f"the oracle's worker ended with {code}: {log.read()[-2000:]}")
    with np.load(target) as data:
        return {key: data[key] for key in data.files}
