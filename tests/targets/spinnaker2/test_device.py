"""The device: arrays by NIR name and shape in, arrays by NIR name and shape out, through the io map alone."""

from __future__ import annotations

import numpy as np
import pytest

from nirhw.diagnostics import InputError
from nirhw.targets.spinnaker2.config import NEVER_FIRES, RESET_VALUE, SPIKE_LIST, Slice, SpiNNaker2Configuration
from nirhw.targets.spinnaker2.device import SpiNNaker2Device
from nirhw.targets.spinnaker2.emulator import Emulator
from nirhw.targets.spinnaker2.synapses import SynapseBlock

ALL = {"spikes", "v", "i"}
REST = {"alpha_decay": 0.5, "i_offset": 0.0, "v_init": 0.0, "v_reset": 0.0}


def one_to_one(source: int, n: int, first: int, size: int, weight: int) -> SynapseBlock:
    """Neuron ``first + k`` of a source slice of ``n`` to neuron ``k``, for ``k`` below ``size``."""
    k = np.arange(size)
    return SynapseBlock.from_synapses(source, n, first + k, k, np.full(size, weight))


def network() -> SpiNNaker2Configuration:
    """Two inputs; 'a' doubles (2, 3) of the first in two slices, which stand in the wrong order; 'b' reads both, without spikes."""
    a = {**REST, "threshold": 1.0}
    b = {**REST, "threshold": NEVER_FIRES}
    return SpiNNaker2Configuration(
        (
            Slice("second", 0, 2, SPIKE_LIST),
            Slice("a", 4, 2, "lif_no_delay", a, RESET_VALUE, blocks=(one_to_one(3, 6, 4, 2, 2),)),
            Slice("a", 0, 4, "lif_no_delay", a, RESET_VALUE, blocks=(one_to_one(3, 6, 0, 4, 2),)),
            Slice("first", 0, 6, SPIKE_LIST),
            Slice("b", 0, 2, "lif_no_delay", b, RESET_VALUE, blocks=(one_to_one(2, 4, 0, 2, 8), one_to_one(0, 2, 0, 2, -4))),
        )
    )


IO_MAP = {
    "dt": 1e-3,
    "input_peak": 1,
    "fused": False,
    "inputs": {"first": {"shape": [2, 3], "slices": [3]}, "second": {"shape": [2], "slices": [0]}},
    "outputs": {
        "out_a": {"shape": [2, 3], "kind": "spikes", "slices": [1, 2], "lag": 1},
        "out_b": {"shape": [2, 1], "kind": "voltage", "slices": [4], "scale": np.array([4.0, 8.0]), "offset": 8.0, "lag": 2},
    },
    "populations": {"a": {"shape": [2, 3], "slices": [1, 2], "lag": 1}, "b": {"shape": [2], "slices": [4], "lag": 2}},
}


def counts(batch: int = 3, steps: int = 6, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: (rng.random((batch, steps, n)) < 0.4).astype(np.int64) for name, n in (("first", 6), ("second", 2))}


def test_outputs_have_the_networks_names_shapes_and_units():
    given = counts()
    run = SpiNNaker2Device(network(), IO_MAP).prepare(given, {"a": "a", "b": "b"}).run()
    first = given["first"].reshape(3, 6, 2, 3)
    assert run.spikes["out_a"].shape == (3, 6, 2, 3)
    assert np.array_equal(run.spikes["out_a"][:, 1:], first[:, :-1])  # one step a hop, NIR's order over both slices
    assert not run.spikes["out_a"][:, 0].any()
    v = run.states["b"]["v"]
    want = np.zeros((3, 2))
    for t in range(6):
        want = 0.5 * want
        if t >= 1:
            want = want - 4 * given["second"][:, t - 1]
        if t >= 2:
            want = want + 8 * given["first"][:, t - 2, :2]
        assert np.array_equal(v[:, t], want)
    assert v.dtype == np.float32
    assert run.outputs["out_b"].dtype == np.float64
    assert np.array_equal(run.outputs["out_b"], ((v - 8.0) / np.array([4.0, 8.0])).reshape(3, 6, 2, 1))
    assert run.latency == {"a": 1, "b": 2, "out_a": 1, "out_b": 2}
    assert set(run.states) == {"a", "b"}
    assert all(set(parts) == ALL for parts in run.states.values())
    assert run.states["a"]["i"].shape == (3, 6, 2, 3)
    assert np.array_equal(run.states["a"]["i"][:, 1:], 2 * first[:, :-1])


def test_one_output_comes_bare():
    io_map = {**IO_MAP, "outputs": {"out_b": IO_MAP["outputs"]["out_b"]}}
    run = SpiNNaker2Device(network(), io_map).prepare(counts()).run()
    assert run.outputs.shape == (3, 6, 2, 1)
    assert run.spikes is None


def test_a_stream_continues_and_counts_its_events():
    given, device = counts(steps=9), SpiNNaker2Device(network(), IO_MAP)
    whole = device.prepare(given).run()
    start = device.prepare({k: v[:, :4] for k, v in given.items()}).run()
    rest = device.prepare({k: v[:, 4:] for k, v in given.items()}, state=start.state).run()
    for name in ("spikes", "outputs"):
        for key, values in getattr(whole, name).items():
            assert np.array_equal(np.concatenate([getattr(start, name)[key], getattr(rest, name)[key]], axis=1), values)
    for name in ("spikes", "synaptic_events"):
        assert np.array_equal(whole.counters[name], start.counters[name] + rest.counters[name])
    # by hand: every input spike but the last step's meets one synapse of 'a' or 'b', every spike of neurons 0 and 1 of 'a' one of 'b'
    inputs = given["first"][:, :-1].sum((1, 2)) + given["second"][:, :-1].sum((1, 2))
    assert np.array_equal(whole.counters["synaptic_events"], inputs + given["first"][:, :-2, :2].sum((1, 2)))


def test_bits_do_not_depend_on_batch_or_threads():
    given, device = counts(batch=8), SpiNNaker2Device(network(), IO_MAP)
    whole = device.prepare(given, {"b": "b"}).run(1)
    parted = device.prepare(given, {"b": "b"}).run(4)
    for k in range(8):
        alone = device.prepare({n: v[k : k + 1] for n, v in given.items()}, {"b": "b"}).run()
        assert alone.states["b"]["v"].tobytes() == whole.states["b"]["v"][k : k + 1].tobytes()
    assert parted.states["b"]["v"].tobytes() == whole.states["b"]["v"].tobytes()


@pytest.mark.parametrize(
    ("code", "call"),
    [
        ("NIRHW-E053", lambda d: d.prepare(counts(), state="else").run()),
        ("NIRHW-E053", lambda d: d.prepare(counts(batch=2), state=d.prepare(counts()).run().state).run()),
        ("NIRHW-E051", lambda d: d.prepare({k: v * 2 for k, v in counts().items()}).run()),
    ],
)
def test_bad_input_has_a_code(code, call):
    with pytest.raises(InputError) as caught:
        call(SpiNNaker2Device(network(), IO_MAP))
    assert caught.value.code == code


def test_multiply_add_is_an_option_of_the_device():
    config = network()
    given = {k: v[:1] for k, v in counts(steps=40).items()}
    flat = np.concatenate([given["second"], given["first"]], axis=2)
    for fused in (False, True):
        run = SpiNNaker2Device(config, {**IO_MAP, "fused": fused}).prepare(given, {"b": "b"}).run()
        trace = Emulator(config, fused=fused).prepare(flat, record={"v"}, neurons=[14, 15]).run()
        assert run.states["b"]["v"].tobytes() == trace.v.tobytes()
