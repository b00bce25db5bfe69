"""The generated script, run on a strict fake of py-spinnaker2, gives the emulator's spikes and voltages."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import nir
import numpy as np
import pytest

import nirhw
import nirhw.targets.spinnaker2
from nirhw.diagnostics import InputError, UsageError
from nirhw.targets.spinnaker2.config import SPIKE_LIST, SpiNNaker2Configuration
from nirhw.targets.spinnaker2.emulator import Emulator
from nirhw.targets.spinnaker2.script import write_script
from tests import builders as b
from tests.targets.spinnaker2 import fake_py_spinnaker2 as fake
from tests.targets.spinnaker2.random_configs import random_configuration

ROOT = Path(__file__).parents[3]
RECORDS = ((), ("spikes",), ("spikes", "v"), ("v",), ("spikes", "v_last"))
STEPS = 20


@pytest.fixture
def board(monkeypatch):
    """Make the fake importable, give it addresses, and return the list of its runs."""
    for name in ("spinnaker2", "spinnaker2.snn", "spinnaker2.hardware"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    fake.install()
    monkeypatch.setenv("S2_IP", "192.0.2.1")
    monkeypatch.setenv("STM_IP", "192.0.2.2")
    fake._Hardware.runs.clear()
    yield fake._Hardware.runs
    for name in ("spinnaker2", "spinnaker2.snn", "spinnaker2.hardware"):
        sys.modules.pop(name)


def recording(config: SpiNNaker2Configuration, seed: int) -> SpiNNaker2Configuration:
    """Return the configuration with something recorded of most populations, the same for all slices of one."""
    slices = []
    for part in config.slices:
        wanted = RECORDS[(seed + int(part.population[-1])) % len(RECORDS)]
        slices.append(replace(part, record=() if part.application == SPIKE_LIST else wanted))
    return replace(config, slices=tuple(slices))


def model_of(config: SpiNNaker2Configuration, **names: str) -> SimpleNamespace:
    """Return what the script needs of a compiled model; inputs are called like their populations unless renamed."""
    inputs: dict[str, dict] = {}
    for index, part in enumerate(config.slices):
        if part.application == SPIKE_LIST:
            entry = inputs.setdefault(names.get(part.population, part.population), {"shape": (0,), "slices": []})
            entry["slices"].append(index)
            entry["shape"] = (entry["shape"][0] + part.size,)
    return SimpleNamespace(config=config, target="spinnaker2", io_map={"inputs": inputs, "input_peak": 1})


def random_spikes(model: SimpleNamespace, seed: int, samples: int = 2) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = {name: entry["shape"] for name, entry in model.io_map["inputs"].items()}
    spikes = {name: (rng.random((samples, STEPS, *shape)) < 0.2).astype(int) for name, shape in shapes.items()}
    return spikes if len(spikes) > 1 else next(iter(spikes.values()))


def start(script: Path, monkeypatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", [str(script), *arguments])
    runpy.run_path(str(script), run_name="__main__")


def read(path: Path) -> dict:
    with np.load(path) as archive:
        return {name: archive[name] for name in archive.files}


@pytest.mark.parametrize("seed", range(24))
def test_script_gives_the_emulators_spikes_and_voltages(seed, tmp_path, board, monkeypatch):
    config = recording(random_configuration(seed), seed)
    if seed % 3 == 0:
        config = replace(config, chips=48)
    model = model_of(config)
    spikes = random_spikes(model, seed)
    start(write_script(model, tmp_path, spikes), monkeypatch)
    results = read(tmp_path / "results.npz")
    flat = np.concatenate(list(spikes.values()) if isinstance(spikes, dict) else [spikes], axis=2)
    trace = Emulator(config).prepare(flat, record={"spikes", "v"}).run()
    names = results.pop("names").tolist()
    assert names == sorted({s.population for s in config.slices if s.record})
    compared = 0
    for number, name in enumerate(names):
        neurons = np.concatenate(
            [np.arange(config.starts[k], config.starts[k + 1]) for k, s in enumerate(config.slices) if s.population == name]
        )
        record = next(s.record for s in config.slices if s.population == name)
        for kind in record:
            want = trace.spikes if kind == "spikes" else trace.v if kind == "v" else trace.v[:, -1:]
            assert np.array_equal(results[f"{kind}_{number}"], want[:, :, neurons]), (name, kind)
            compared += 1
    assert compared == len(results)
    assert len(board) == 2  # one hardware object a sample
    for network in board:
        assert [p.size for p in network.populations] == [s.size for s in config.slices]


def convolutional() -> nir.NIRGraph:
    """A strided convolution into IF neurons, summed windows of which go to a dense layer."""
    rng = np.random.default_rng(3)
    return b.chain(
        np.array([2, 8, 8]),
        5,
        c1=nir.Conv2d((8, 8), rng.normal(0.2, 0.4, (3, 2, 3, 3)), 1, 1, 1, 1, np.zeros(3)),
        n1=b.integrate_fire((3, 8, 8)),
        pool=nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        flat=nir.Flatten({"input": np.array([3, 4, 4])}, 0, -1),
        w2=b.linear(5, 48, seed=2),
        n2=b.integrate_fire(5, 2.0),
    )


COMPILED = {
    "LIF": lambda: b.chain(6, 4, w1=b.linear(300, 6), n1=b.lif(300), w2=b.linear(4, 300, scale=0.1, shift=0.02), n2=b.lif(4)),
    "CubaLIF": lambda: b.chain(6, 3, w1=b.linear(20, 6), n1=b.cubalif(20), w2=b.linear(3, 20), n2=b.cubalif(3)),
    "convolution": convolutional,
    "readout": lambda: b.chain(6, 3, w1=b.linear(20, 6), n1=b.lif(20), w2=b.linear(3, 20), o=b.li(3)),
}


@pytest.mark.parametrize("options", [{}, {"application": "delay"}])
@pytest.mark.parametrize("name", COMPILED)
def test_script_of_a_compiled_model_gives_what_it_emulates(name, options, tmp_path, board, monkeypatch):
    model = nirhw.compile(COMPILED[name](), "spinnaker2", dt=b.DT, options=options)
    if name == "convolution" and not options:
        assert any(s.application == "lif_conv2d" for s in model.config.slices)
    spikes = b.spikes(STEPS, *model.io_map["inputs"]["in"]["shape"], rate=0.3, batch=2)
    start(write_script(model, tmp_path, spikes), monkeypatch)
    results = read(tmp_path / "results.npz")
    run = model.emulate(spikes)
    entry = model.io_map["outputs"]["out"]
    number = results["names"].tolist().index(model.config.slices[entry["slices"][0]].population)
    if entry["kind"] == "spikes":
        assert run.spikes.any()
        assert np.array_equal(results[f"spikes_{number}"].reshape(run.spikes.shape), run.spikes)
    else:
        volts = (results[f"v_{number}"].astype(float) - entry["offset"]) / entry["scale"]
        assert np.any(volts)
        assert np.array_equal(volts.reshape(run.outputs.shape), run.outputs)


def test_every_population_of_the_runs_had_something_to_compare(tmp_path, board, monkeypatch):
    fired = 0
    for seed in range(24):
        config = recording(random_configuration(seed), seed)
        model = model_of(config)
        spikes = random_spikes(model, seed)
        flat = np.concatenate(list(spikes.values()) if isinstance(spikes, dict) else [spikes], axis=2)
        trace = Emulator(config).prepare(flat, record={"spikes"}).run()
        recorded = np.repeat(["spikes" in s.record for s in config.slices], [s.size for s in config.slices])
        fired += bool(trace.spikes[:, :, recorded].any())
    assert fired >= 12


def test_spikes_may_come_from_a_file(tmp_path, board, monkeypatch):
    config = recording(random_configuration(4), 1)
    model = model_of(config)
    spikes = random_spikes(model, 9, samples=1)
    write_script(model, tmp_path / "a", spikes)
    script = write_script(model, tmp_path / "b")
    if isinstance(spikes, dict):
        np.savez(tmp_path / "given.npz", **spikes)
    else:
        np.save(tmp_path / "given.npy", spikes)
    given = next(tmp_path.glob("given.*"))
    start(tmp_path / "a" / script.name, monkeypatch)
    start(script, monkeypatch, "--spikes", str(given), "--results", str(tmp_path / "out.npz"), "--tick", "0.01")
    first, second = read(tmp_path / "a" / "results.npz"), read(tmp_path / "out.npz")
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[k], second[k]) for k in first)


def test_mapping_only_runs_nothing(tmp_path, board, monkeypatch):
    model = model_of(random_configuration(4))
    start(write_script(model, tmp_path, random_spikes(model, 0)), monkeypatch, "--mapping-only")
    assert len(board) == 2
    assert not (tmp_path / "results.npz").exists()


def test_script_is_self_contained_and_holds_no_data(tmp_path):
    """In a process of its own, where ``spinnaker2`` is the fake: nirhw is never imported."""
    config = recording(random_configuration(2), 1)
    hostile = "'; import os #\x1b[31m"
    slices = tuple(replace(s, population=hostile) if s.population == "p0" else s for s in config.slices)
    model = model_of(replace(config, slices=slices))
    script = write_script(model, tmp_path / "net", random_spikes(model, 1, samples=1))
    assert script.read_text() == (Path(nirhw.targets.spinnaker2.__path__[0]) / "board_script.py").read_text()
    package = tmp_path / "path" / "spinnaker2"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(
        "from tests.targets.spinnaker2 import fake_py_spinnaker2\nfake_py_spinnaker2.install()\n"
    )
    code = (
        "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__');"
        " print([m for m in sys.modules if m.startswith('nirhw')])"
    )
    paths = os.pathsep.join((str(ROOT), str(package.parent)))
    done = subprocess.run(
        [sys.executable, "-c", code, str(script)],
        env={**os.environ, "PYTHONPATH": paths, "S2_IP": "192.0.2.1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
    assert hostile in read(script.with_name("results.npz"))["names"].tolist()


def test_same_model_gives_the_same_bytes(tmp_path):
    model = model_of(random_configuration(6))
    spikes = random_spikes(model, 6)
    for name in ("a", "b"):
        write_script(model, tmp_path / name, spikes)
    for name in ("run_spinnaker2.py", "network.npz"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_data_file_needs_no_pickle_and_names_every_parameter(tmp_path):
    config = random_configuration(8)
    write_script(model_of(config), tmp_path)
    content = read(tmp_path / "network.npz")
    document = json.loads(content["document"].tobytes())
    assert [s["size"] for s in document["slices"]] == [s.size for s in config.slices]
    assert content["synapse_weight"].size == sum(
        b.n_synapses for s in config.slices for b in s.blocks if hasattr(b, "n_synapses")
    )


def stopped(script: Path, monkeypatch, *arguments: str) -> str:
    with pytest.raises(SystemExit) as caught:
        start(script, monkeypatch, *arguments)
    return str(caught.value)


def test_script_says_what_is_missing(tmp_path, board, monkeypatch):
    config = replace(random_configuration(4), timesteps=STEPS - 1)
    model = model_of(config)
    spikes = random_spikes(model, 1)
    script = write_script(model, tmp_path, spikes)
    assert "compile for more" in stopped(script, monkeypatch)
    names = list(model.io_map["inputs"])
    bare = write_script(model, tmp_path / "bare")
    assert names[0] in stopped(bare, monkeypatch)
    short = {n: np.zeros((3, e["shape"][0] + 1), int) for n, e in model.io_map["inputs"].items()}
    np.savez(tmp_path / "short.npz", **short)
    assert "expected [time" in stopped(bare, monkeypatch, "--spikes", str(tmp_path / "short.npz"))
    twice = {n: np.full((3, e["shape"][0]), 2) for n, e in model.io_map["inputs"].items()}
    np.savez(tmp_path / "twice.npz", **twice)
    assert "other values than 0 and 1" in stopped(bare, monkeypatch, "--spikes", str(tmp_path / "twice.npz"))
    fine = {n: np.zeros((3, e["shape"][0]), int) for n, e in model.io_map["inputs"].items()}
    np.savez(tmp_path / "fine.npz", **fine)
    monkeypatch.delenv("S2_IP")
    assert "S2_IP is not set" in stopped(bare, monkeypatch, "--spikes", str(tmp_path / "fine.npz"))
    monkeypatch.setitem(sys.modules, "spinnaker2.snn", None)
    assert "py-spinnaker2 is missing" in stopped(bare, monkeypatch, "--spikes", str(tmp_path / "fine.npz"))


def test_write_script_refuses_what_does_not_suit(tmp_path):
    model = model_of(random_configuration(4))
    with pytest.raises(UsageError, match="NIRHW-E002"):
        write_script(SimpleNamespace(config=None, target="xylo"), tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="NIRHW-E005"):
        write_script(model, tmp_path / "file" / "below")
    spikes = random_spikes(model, 0)
    twice = {k: v * 2 for k, v in spikes.items()} if isinstance(spikes, dict) else spikes * 2
    with pytest.raises(InputError, match="NIRHW-E051"):
        write_script(model, tmp_path, twice)


def good(model: str = "lif_no_delay", **changes) -> fake.Population:
    params = {"threshold": 1.0, "alpha_decay": 0.5, "i_offset": 0.0, "v_init": 0.0, "v_reset": 0.0, "reset": "reset_to_v_reset"}
    given = {"size": 2, "neuron_model": model, "params": params, "name": "n", "record": []} | changes
    return fake.Population(**given)


MISUSES = {
    "unknown model": lambda: good("lif_fast"),
    "missing parameter": lambda: good(params={"threshold": 1.0}),
    "unknown parameter": lambda: good(params={**good().params, "tau": 1.0}),
    "integer parameter": lambda: good(params={**good().params, "threshold": 1}),
    "too many values": lambda: good(params={**good().params, "threshold": [1.0] * 3}),
    "unknown reset": lambda: good(params={**good().params, "reset": "zero"}),
    "unknown record": lambda: good(record=["i"]),
    "no connections": lambda: fake.Projection(good(), good(), []),
    "numpy weight": lambda: fake.Projection(good(), good(), [[0, 0, np.int64(1), 0]]),
    "weight too large": lambda: fake.Projection(good(), good(), [[0, 0, 128, 0]]),
    "delayed weight too large": lambda: fake.Projection(good(), good("lif"), [[0, 0, 16, 0]]),
    "delay without field": lambda: fake.Projection(good(), good(), [[0, 0, 1, 1]]),
    "delay too large": lambda: fake.Projection(good(), good("lif"), [[0, 0, 1, 8]]),
    "neuron outside": lambda: fake.Projection(good(), good(), [[2, 0, 1, 0]]),
    "kernel to lif": lambda: fake.Conv2DProjection(good(), good(), np.ones((1, 1, 1, 1), np.int8), {}),
    "second run": lambda: [h := fake.SpiNNaker2Chip(eth_ip="a"), h.run(fake.Network("n"), 1), h.run(fake.Network("n"), 1)],
    "no limit of atoms": lambda: run_of(good()),
    "unknown address": lambda: fake.SpiNNaker2Chip(eth_ip=None),
}


def run_of(*populations: fake.Population) -> None:
    network = fake.Network("n")
    network.add(*populations)
    fake.SpiNNaker2Chip(eth_ip="a").run(network, 1)


@pytest.mark.parametrize("misuse", MISUSES)
def test_the_fake_is_strict(misuse):
    with pytest.raises(fake.MisuseError):
        MISUSES[misuse]()
