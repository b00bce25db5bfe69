"""The vendors' own tools, in Pythons of their own; nothing here imports them."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .cases import ROOT, Array, Case
from .score import Refusal

ORACLES = ROOT / "tests" / "oracles"
TIMEOUT = 1200.0
#: code of a way that would be another one again
NOTHING_TO_DO = "same"


@dataclass(frozen=True)
class Tool:
    """A vendor's tool: the Python that has it, and the worker that drives it."""

    name: str
    variable: str
    folder: str
    worker: str

    @property
    def python(self) -> Path:
        """The interpreter; it need not exist."""
        return Path(os.environ.get(self.variable, ROOT / self.folder / "bin" / "python"))

    def run(self, jobs: Sequence[Mapping[str, Any]]) -> list[dict[str, Array]]:
        """Run jobs and return their results.

        Raises:
            FileNotFoundError: where the tool's Python is missing.
            RuntimeError: where the worker failed; jobs that were refused have the result ``refused`` instead.
        """
        if not self.python.is_file():
            raise FileNotFoundError(f"no {self.name}: {self.python} is missing (set {self.variable}, or run make accuracy)")
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder) / "jobs.npz", Path(folder) / "results.npz"
            fields = {f"{k}/{name}": value for k, job in enumerate(jobs) for name, value in job.items()}
            np.savez(source, **fields)
            command = [str(self.python), "-W", "ignore::DeprecationWarning", str(ORACLES / self.worker), str(source), str(target)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
            if done.returncode:
                raise RuntimeError(f"{self.worker} ended with {done.returncode}: {done.stderr[-2000:]}")
            results: list[dict[str, Array]] = [{} for _ in jobs]
            with np.load(target) as data:
                for key in data.files:
                    job, name = key.split("/")
                    results[int(job)][name] = data[key]
        return results


ROCKPOOL = Tool("rockpool", "NIRHW_ROCKPOOL_PYTHON", ".venv-rockpool", "rockpool_worker.py")
SINABS = Tool("sinabs", "NIRHW_SINABS_PYTHON", ".venv-sinabs", "sinabs_route_worker.py")


def rockpool_job(case: Case, quantizer: str, move_biases: bool = False) -> dict[str, Any]:
    """Return a job of ``rockpool_worker.py``."""
    return {"graph": str(case.graph), "dt": case.dt, "quantizer": quantizer, "move_biases": move_biases, "spikes": case.spikes}


def rockpool(case: Case, quantizer: str, move_biases: bool = False) -> dict[str, Array] | Refusal:
    """Return what rockpool's route gives (``counts [sample, output]`` and more), with "channel" or "global" quantization."""
    if case.spikes.ndim != 3:
        return Refusal("no route", "Xylo takes channels, not images")
    result = _only(ROCKPOOL, rockpool_job(case, quantizer, move_biases))
    if move_biases and isinstance(result, dict) and not result["moved"]:
        return Refusal(NOTHING_TO_DO, "linear nodes have no biases")
    return result


def sinabs_job(case: Case, bound: float) -> dict[str, Any]:
    """Return a job of ``sinabs_route_worker.py``."""
    return {"graph": str(case.graph), "bound": bound, "reset": case.reset, "spikes": case.spikes}


def sinabs(case: Case, bound: float) -> dict[str, Array] | Refusal:
    """Return what sinabs' route gives, with a lower bound of so many thresholds (0: none, its default)."""
    if case.spikes.ndim != 5:
        return Refusal("no route", "sinabs' route to Speck begins with images")
    return _only(SINABS, sinabs_job(case, bound))


def _only(tool: Tool, job: Mapping[str, Any]) -> dict[str, Array] | Refusal:
    try:
        (result,) = tool.run([job])
    except FileNotFoundError as missing:
        return Refusal("missing", str(missing))
    if "refused" in result:
        return Refusal("refused", str(result["refused"]))
    if "valid" in result and not result["valid"]:
        return Refusal("does not fit", str(result["message"]))
    return result
