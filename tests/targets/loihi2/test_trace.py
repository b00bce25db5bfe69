"""The public trace of the NIR paper: its own conversion, lava's bit-accurate model, and the marker that the chip's probe shows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import nirhw

STEP_OF_SPIKE = 128


@pytest.fixture(scope="module")
def model(zoo: Callable[[str], Path]) -> nirhw.CompiledModel:
    return nirhw.compile(zoo("repo_lif_norse"), "loihi2", dt=1e-4, options={"conversion": "lava"})


def test_the_registers_are_those_of_the_paper(model: nirhw.CompiledModel) -> None:
    (group,) = (g for g in model.config.groups if g.model == "lif")
    (synapses,) = model.config.synapses
    assert (group.du, group.dv, group.threshold) == (4095, 163, 25)
    assert synapses.weight.tolist() == [10] and synapses.exponent == 0 and not np.any(group.bias_mantissa)


def test_it_reproduces_lavas_trace_in_every_row(model: nirhw.CompiledModel, shared: Path) -> None:
    stimulus = np.loadtxt(shared / "data" / "lif_exact.csv", delimiter=",")[:, 0]
    trace = np.loadtxt(shared / "data" / "lif_lava_cpu_fixed.csv", delimiter=",")
    assert stimulus.shape == (1000,) and stimulus.sum() == 34
    run = model.emulate(stimulus[:, None], record=["1"])
    state = {key: values.ravel() for key, values in run.states["1"].items()}
    assert np.count_nonzero(state["v"] != trace[:, 1]) == 0
    assert np.count_nonzero(state["spikes"] != trace[:, 2]) == 0
    assert np.flatnonzero(run.spikes.ravel()).tolist() == [461, 511, 711, 761]
    probe = np.where(trace[:, 2] > 0, STEP_OF_SPIKE, trace[:, 1])
    np.testing.assert_array_equal(state["v_probe"], probe)


def test_other_registers_give_another_trace(zoo: Callable[[str], Path], shared: Path) -> None:
    """The trace tells conversions apart: the rounded decay of the default one does not reproduce it."""
    model = nirhw.compile(zoo("repo_lif_norse"), "loihi2", dt=1e-4)
    stimulus = np.loadtxt(shared / "data" / "lif_exact.csv", delimiter=",")[:, 0]
    trace = np.loadtxt(shared / "data" / "lif_lava_cpu_fixed.csv", delimiter=",")
    assert next(g for g in model.config.groups if g.model == "lif").dv == 164
    run = model.emulate(stimulus[:, None], record=["1"])
    scale = float(np.asarray(model.io_map["populations"]["1"]["scale"]).ravel()[0])
    unit_of_paper = 25 * 64 / 0.1
    ours = np.rint(run.states["1"]["v"].ravel() / scale * unit_of_paper)
    assert np.count_nonzero(ours != trace[:, 1]) > 100
