"""Random Xylo configurations for differential tests, and the files that the oracle's worker reads and writes."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirhw.targets.xylo.config import (
    NO_ALIAS,
    HiddenGroup,
    HiddenNeurons,
    InputGroup,
    OutputNeurons,
    ReadoutGroup,
    XyloConfiguration,
)

Array = NDArray[Any]
ROOT = Path(__file__).resolve().parents[2]
WORKER = Path(__file__).with_name("xylosim_worker.py")


@dataclass(frozen=True)
class Case:
    """A configuration and the input of two consecutive calls, each ``[time, channel]``."""

    config: XyloConfiguration
    counts: tuple[Array, Array]


def oracle_python() -> Path:
    """The interpreter that has xylosim; it need not exist."""
    return Path(os.environ.get("NIRHW_XYLOSIM_PYTHON", ROOT / ".venv-xylosim" / "bin" / "python"))


def random_case(seed: int, n_hidden: int | None = None, steps: int | None = None) -> Case:
    """Draw a case; ``n_hidden`` is random below 90 if not given.

    Weights, thresholds and rates are drawn so that quiet, lively and saturated networks all occur.
    """
    rng = np.random.default_rng(seed)
    hid = n_hidden or int(rng.integers(1, 90))
    n_in, n_out = int(rng.integers(1, 17)), int(rng.integers(1, 33))
    columns = int(rng.integers(1, hid + 1)) if rng.random() < 0.5 else hid
    rows = int(rng.integers(1, hid + 1)) if rng.random() < 0.5 else hid
    two, bias, aliasing = rng.random(3) < (0.5, 0.5, 0.6)
    tame = rng.random() < 0.4
    strength, drive = (20, 0.0) if tame else (int(rng.choice([20, 128])), rng.choice([0.0, 0.3]))

    def weights(pre: int, post: int, density: float) -> Array:
        values = np.clip(rng.integers(-strength, strength, (pre, post)) + int(drive * strength), -128, 127)
        values[rng.random((pre, post)) < (0 if tame else 0.01)] = -128
        return np.where(rng.random((pre, post)) < density, values, 0).astype(np.int8)

    def dashes(n: int) -> Array:
        return rng.integers(1, 5, n) if tame or rng.random() < 0.3 else rng.integers(0, 16, n)

    def thresholds(n: int) -> Array:
        if tame:
            return rng.integers(50, 500, n)
        # a few small ones, so that neurons run into their cap
        return np.where(rng.random(n) < 0.2, rng.integers(1, 20, n), rng.integers(1, 10 ** int(rng.integers(2, 5)), n))

    def biases(n: int) -> Array:
        return rng.integers(-128, 128, n) if bias else np.zeros(n, np.int64)

    def shift() -> int:
        return int(rng.integers(0, 2)) if tame else int(rng.integers(0, 8))

    density = float(rng.choice([0.02, 0.1, 0.5, 1.0])) if hid < 200 else float(rng.choice([0.01, 0.04, 0.1]))
    config = XyloConfiguration(
        samna_module="xyloCore2",
        input=InputGroup(weights(n_in, columns, 0.7), weights(n_in, columns, 0.4), shift()),
        hidden=HiddenGroup(
            weights(hid, hid, density),
            weights(hid, hid, density),
            shift(),
            HiddenNeurons(dashes(hid), dashes(hid), dashes(hid), thresholds(hid), biases(hid), _aliases(rng, hid)),
            bool(aliasing),
        ),
        readout=ReadoutGroup(
            weights(rows, n_out, 0.7),
            shift(),
            OutputNeurons(dashes(n_out), dashes(n_out), thresholds(n_out), biases(n_out)),
        ),
        synapse2_enable=bool(two),
        bias_enable=bool(bias),
    )
    length = steps or int(rng.integers(20, 60))
    rate, most = float(rng.choice([0.02, 0.1, 0.5])), int(rng.choice([1, 4, 40]))

    def counts() -> Array:
        return np.where(rng.random((length, n_in)) < rate, rng.integers(1, most + 1, (length, n_in)), 0)

    return Case(config, (counts(), counts()))


def _aliases(rng: np.random.Generator, hid: int) -> Array:
    """Random targets upwards and downwards, never oneself, and now and then a chain."""
    alias = rng.integers(0, hid, hid)
    alias[(alias == np.arange(hid)) | (rng.random(hid) < rng.choice([0.3, 0.9]))] = NO_ALIAS
    if hid > 3 and rng.random() < 0.5:
        start = int(rng.integers(0, hid - 3))
        alias[start : start + 3] = np.arange(start + 1, start + 4)
    return alias


def job(config: XyloConfiguration) -> dict[str, Array]:
    """A configuration as the arrays that the worker reads."""
    hidden, outputs = config.hidden.neurons, config.readout.neurons
    return {
        "w_in": config.input.weights,
        "w_in2": config.input.syn2_weights,
        "w_rec": config.hidden.weights,
        "w_rec2": config.hidden.syn2_weights,
        "w_out": config.readout.weights,
        "shifts": np.array([g.weight_bit_shift for g in (config.input, config.hidden, config.readout)]),
        "synapse2": np.array(config.synapse2_enable),
        "has_bias": np.array(config.bias_enable),
        "alias": hidden.alias_target if config.hidden.aliasing else np.full(config.n_hidden, NO_ALIAS),
        "dash_syn": hidden.i_syn_decay,
        "dash_syn2": hidden.i_syn2_decay,
        "dash_mem": hidden.v_mem_decay,
        "threshold": hidden.threshold,
        "bias": hidden.v_mem_bias,
        "dash_syn_out": outputs.i_syn_decay,
        "dash_mem_out": outputs.v_mem_decay,
        "threshold_out": outputs.threshold,
        "bias_out": outputs.v_mem_bias,
    }


def run_worker(mode: str, jobs: list[dict[str, Array]], folder: Path, timeout: float) -> dict[str, Array]:
    """Run jobs in the oracle environment and return what the worker wrote.

    Raises:
        subprocess.TimeoutExpired: after ``timeout`` seconds.
        RuntimeError: where the worker failed or crashed.
    """
    source, target = folder / "jobs.npz", folder / "results.npz"
    arrays = {f"{k}/{name}": values for k, fields in enumerate(jobs) for name, values in fields.items()}
    np.savez(source, **arrays)
    done = subprocess.run(
        [str(oracle_python()), str(WORKER), mode, str(source), str(target)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the oracle's worker ended with {done.returncode}: {done.stderr[-2000:]}")
    with np.load(target) as data:
        return {key: data[key] for key in data.files}
