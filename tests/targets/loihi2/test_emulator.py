"""The emulator against a second implementation in plain Python, and facts that users rely on."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nirhw.diagnostics import InputError, VerifyError
from nirhw.targets.loihi2.config import Group, Kernel, Loihi2Configuration, synapses_from_kernel, synapses_from_matrix
from nirhw.targets.loihi2.device import Loihi2Device
from nirhw.targets.loihi2.emulator import Loihi2Emulator


def _load(name: str, folder: Path):
    """Import a module by its file; pytest's importlib mode leaves the test folders out of sys.path."""
    spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


HERE = Path(__file__).parent
slow_model = _load("slow_model", HERE)
random_loihi2 = _load("random_loihi2", HERE.parents[1] / "oracles")


def lif(name: str, size: int = 1, **registers) -> Group:
    return Group(name, name, np.arange(size), "lif", **registers)


def network(weight, *, group: Group | None = None, extra=(), **options) -> Loihi2Configuration:
    """An input, one group, and synapses ``weight[post][pre]`` between them."""
    weight = np.array(weight)
    group = group or lif("a", weight.shape[0], du=4095, dv=0, threshold=131071)
    source = Group("in", "in", np.arange(weight.shape[1]), "input")
    return Loihi2Configuration(
        (source, group), (synapses_from_matrix("s", "in", "a", weight, kind="dense", **options), *extra), ()
    )


def run(config: Loihi2Configuration, counts, **options):
    names = [g.name for g in config.groups if g.model != "input"]
    return Loihi2Emulator(config).prepare({"in": np.array(counts)[None]}, states=names, **options).run()


def v_of(config: Loihi2Configuration, counts) -> list:
    return run(config, counts).v["a"][0, :, 0].tolist()


def test_equal_to_a_second_implementation_on_thousands_of_networks():
    seen = {"wrapped u": 0, "clipped v": 0, "spikes": 0, "payloads": 0, "delays": 0, "convolutions": 0, "dense rows": 0}
    for seed in range(2000):
        case = random_loihi2.random_case(50_000 + seed, steps=12, only_lava=False, most=7)
        expected = slow_model.run(case.config, {name: rows.tolist() for name, rows in case.counts.items()})
        names = [g.name for g in case.config.groups if g.model != "input"]
        emulator = Loihi2Emulator(case.config)
        trace = emulator.prepare({name: rows[None] for name, rows in case.counts.items()}, states=names).run(1)
        for name in names:
            for part in ("sent", "u", "v"):
                np.testing.assert_array_equal(
                    getattr(trace, part)[name][0], expected[name][part], err_msg=f"{seed} {name} {part}"
                )
        assert (trace.wrapped_u[0], trace.clipped_v[0]) == (expected["wrapped_u"], expected["clipped_v"]), seed
        seen["wrapped u"] += expected["wrapped_u"] > 0
        seen["clipped v"] += expected["clipped_v"] > 0
        seen["spikes"] += any(trace.sent[n].any() for n in names)
        seen["payloads"] += any(s.message_bits for s in case.config.synapses)
        seen["delays"] += any(s.max_delay for s in case.config.synapses)
        seen["convolutions"] += any(s.kernel is not None for s in case.config.synapses)
        seen["dense rows"] += emulator._net.dense.size > 0
    assert min(seen.values()) > 50, seen


def test_large_layers_take_the_same_path_as_small_ones():
    """Hundreds of active rows overflow the 16-bit partial sums unless they are emptied in time."""
    rng = np.random.default_rng(0)
    for mode, low, high in (("mixed", -256, 255), ("excitatory", 0, 256), ("inhibitory", -255, 1)):
        for fill in (254, None):
            weight = rng.integers(low, high, (70, 900)) if fill is None else np.full((70, 900), fill if low >= 0 else low)
            config = network(weight, group=lif("a", 70, du=4095, dv=4096, threshold=131071), sign_mode=mode)
            counts = rng.random((5, 900)) < 0.9
            acting = weight // 2 * 2 if mode == "mixed" else weight
            expected = np.zeros((5, 70), np.int64)
            expected[1:] = counts[:-1].astype(np.int64) @ acting.T * 64
            got = run(config, counts).u["a"][0]
            expected = np.where(expected <= -(1 << 23), expected + (1 << 24), expected)
            expected = np.where(expected > 1 << 23, expected - (1 << 24), expected)
            np.testing.assert_array_equal(got, expected)


def test_an_event_acts_one_step_later_and_shifted_by_six_bits():
    assert v_of(network([[10]]), [[1], [0], [0]]) == [0, 640, 640]


@pytest.mark.parametrize("delay", [1, 5, 62])
def test_a_delay_adds_to_the_step(delay):
    v = v_of(network([[10]], delay=delay), [[1]] + [[0]] * 70)
    assert v == [0] * (1 + delay) + [640] * (70 - delay)


def test_mixed_weights_lose_their_low_bit_downwards_and_others_keep_it():
    assert v_of(network([[7]]), [[1], [0]])[1] == 6 * 64
    assert v_of(network([[-7]]), [[1], [0]])[1] == -8 * 64
    assert v_of(network([[7]], sign_mode="excitatory"), [[1], [0]])[1] == 7 * 64
    assert v_of(network([[-7]], sign_mode="inhibitory"), [[1], [0]])[1] == -7 * 64


def test_a_negative_exponent_rounds_the_sum_downwards_not_each_weight():
    config = network([[3, 3]], exponent=-1, sign_mode="excitatory")
    assert v_of(config, [[1, 0], [0, 0]])[1] == 1 * 64
    assert v_of(config, [[1, 1], [0, 0]])[1] == 3 * 64


def test_the_threshold_is_strict_and_the_reset_is_to_zero():
    for vth, fires in ((9, 1), (10, 0)):
        trace = run(network([[10]], group=lif("a", du=4095, dv=0, threshold=vth)), [[1], [0]])
        assert trace.sent["a"][0, 1, 0] == fires and trace.v["a"][0, 1, 0] == (0 if fires else 640)


def test_subtraction_keeps_what_is_above_the_threshold():
    group = Group("a", "a", np.arange(1), "lif_subtract", du=4095, dv=0, threshold=9)
    trace = run(network([[10]], group=group), [[1], [0]])
    assert trace.sent["a"][0, 1, 0] == 1 and trace.v["a"][0, 1, 0] == 64


def test_a_graded_group_sends_its_state():
    graded = Group("a", "a", np.arange(1), "graded", du=4095, dv=4096, payload_shift=6)
    onward = synapses_from_matrix("t", "a", "b", np.array([[2]]), kind="dense", message_bits=24)
    config = network([[-10]], group=graded, message_bits=8, extra=(onward,))
    config = Loihi2Configuration((*config.groups, lif("b", du=4095, dv=0, threshold=131071)), config.synapses, ())
    trace = run(config, [[3], [0], [0]])
    assert trace.sent["a"][0, :, 0].tolist() == [0, -30, 0]
    assert trace.v["b"][0, :, 0].tolist() == [0, 0, -60 * 64]


def test_counts_are_spikes_without_payload_and_payloads_with():
    assert v_of(network([[10]]), [[5], [0]])[1] == 640
    assert v_of(network([[10]], message_bits=8), [[5], [0]])[1] == 3200
    assert v_of(network([[10]], message_bits=8), [[-5], [0]])[1] == -3200


def test_decay_rounds_towards_zero():
    config = network([[2]], group=lif("a", du=-1, dv=0, threshold=131071))
    shrinking = network([[2]], group=lif("a", du=4094, dv=0, threshold=131071))
    assert run(config, [[1], [0], [0]]).u["a"][0, :, 0].tolist() == [0, 128, 128]
    assert run(shrinking, [[1], [0], [0]]).u["a"][0, :, 0].tolist() == [0, 128, 0]
    negative = network([[-2]], group=lif("a", du=2047, dv=0, threshold=131071))
    assert run(negative, [[1], *[[0]] * 8]).u["a"][0, :, 0].tolist() == [0, -128, -64, -32, -16, -8, -4, -2, -1]


def test_overflows_are_counted_by_sample():
    config = network([[254]], exponent=7, group=lif("a", du=-1, dv=0, threshold=131071))
    counts = np.stack([np.ones((8, 1), int), np.zeros((8, 1), int)])
    trace = Loihi2Emulator(config).prepare({"in": counts}, states=["a"]).run()
    u = trace.u["a"][:, :, 0]
    assert trace.wrapped_u.tolist() == [1, 0] and u[0].min() < 0 and not u[1].any()


def test_a_reset_group_is_cleared_at_its_interval():
    group = Group("a", "a", np.arange(1), "lif_reset", du=4095, dv=0, threshold=131071, reset_interval=4, reset_offset=5)
    assert v_of(network([[1]], group=group, sign_mode="excitatory"), [[1]] * 9) == [0, 64, 128, 192, 64, 128, 192, 256, 64]


def test_the_probe_reads_128_at_a_spike():
    config = network([[10]], group=lif("a", du=4095, dv=0, threshold=9))
    entry = {"shape": (1,), "groups": ["a"], "scale": 1.0, "lag": 1}
    io_map = {
        "inputs": {"in": {"shape": (1,), "group": "in"}},
        "outputs": {"out": {**entry, "kind": "spikes"}},
        "populations": {"n": entry},
    }
    result = Loihi2Device(config, io_map).prepare({"in": np.array([[[1], [0], [0]]])}, {"n": "n"}).run()
    state = result.states["n"]
    assert state["v"][0, :, 0].tolist() == [0, 0, 0] and state["v_probe"][0, :, 0].tolist() == [0, 128, 0]
    assert result.spikes[0, :, 0].tolist() == [0, 1, 0] and result.latency == {"n": 1, "out": 1}
    assert result.counters["wrapped_u"].tolist() == [0]


def test_the_probe_of_a_graded_group_is_its_state():
    group = Group("a", "a", np.arange(1), "graded", du=4095, dv=4096, payload_shift=6)
    entry = {"shape": (1,), "groups": ["a"], "scale": 64.0, "lag": 1}
    io_map = {
        "inputs": {"in": {"shape": (1,), "group": "in"}},
        "outputs": {"out": {**entry, "kind": "membrane"}},
        "populations": {"n": entry},
    }
    result = Loihi2Device(network([[10]], group=group), io_map).prepare({"in": np.array([[[1], [0], [0]]])}, {"n": "n"}).run()
    assert result.states["n"]["spikes"][0, :, 0].tolist() == [0, 10, 0]
    assert result.states["n"]["v_probe"][0, :, 0].tolist() == [0, 640, 0] and result.outputs[0, :, 0].tolist() == [0, 10, 0]


def test_the_device_puts_groups_where_their_neurons_stand():
    groups = (
        Group("in", "in", np.arange(2), "input"),
        Group("a", "n", np.array([3, 0]), "lif", du=4095, dv=0, threshold=131071),
        Group("b", "n", np.array([1, 2]), "lif", du=4095, dv=0, threshold=131071),
    )
    synapses = (
        synapses_from_matrix("s", "in", "a", np.array([[8, 0], [0, 2]]), kind="dense"),
        synapses_from_matrix("t", "in", "b", np.array([[4, 0], [6, 0]]), kind="sparse"),
    )
    entry = {"shape": (2, 2), "groups": ["a", "b"], "scale": np.full(4, 64.0), "offset": 1.0, "lag": 1}
    io_map = {
        "inputs": {"x": {"shape": (2,), "group": "in"}},
        "outputs": {"y": {**entry, "kind": "membrane"}},
        "populations": {"n": entry},
    }
    result = Loihi2Device(Loihi2Configuration(groups, synapses, ()), io_map).prepare({"x": np.array([[[1, 1], [0, 0]]])}).run()
    assert result.spikes is None
    assert result.outputs[0, 1].tolist() == [[3.0, 5.0], [7.0, 9.0]]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 400), st.lists(st.integers(0, 30), max_size=3))
def test_a_stream_may_be_cut_anywhere(seed, cuts):
    case = random_loihi2.random_case(seed, steps=30, only_lava=False, most=8)
    emulator, names = Loihi2Emulator(case.config), [g.name for g in case.config.groups if g.model != "input"]
    counts = case.counts["in"][None]
    whole = emulator.prepare({"in": counts}, states=names).run()
    state, pieces = None, []
    for first, last in zip([0, *sorted(cuts)], [*sorted(cuts), 30], strict=True):
        pieces.append(emulator.prepare({"in": counts[:, first:last]}, state=state, states=names).run())
        state = pieces[-1].state
    for part in ("sent", "u", "v"):
        for name in names:
            got = np.concatenate([getattr(p, part)[name] for p in pieces], axis=1)
            np.testing.assert_array_equal(got, getattr(whole, part)[name])
    np.testing.assert_array_equal(state.arriving, whole.state.arriving)
    assert state.step == whole.state.step == 30


def test_batches_and_threads_do_not_change_bits():
    case = random_loihi2.random_case(7, steps=30, most=30)
    names = [g.name for g in case.config.groups if g.model != "input"]
    counts = np.stack([np.roll(case.counts["in"], k, axis=0) for k in range(9)])
    emulator = Loihi2Emulator(case.config)
    one = emulator.prepare({"in": counts}, states=names).run(1)
    many = emulator.prepare({"in": counts}, states=names).run(3)
    for name in names:
        np.testing.assert_array_equal(one.v[name], many.v[name])
        np.testing.assert_array_equal(one.v[name][4:5], emulator.prepare({"in": counts[4:5]}, states=names).run().v[name])


def test_a_convolution_wraps_at_24_bits():
    kernel = Kernel(np.full((1, 1, 1, 1), 200), (1, 1, 1), (1, 1, 1))
    groups = (Group("in", "in", np.arange(1), "input"), lif("a", du=4095, dv=4096, threshold=131071))
    config = Loihi2Configuration(groups, (synapses_from_kernel("c", "in", "a", kernel, message_bits=24),), ())
    x = 200 * 100_000
    wrapped = (x + (1 << 23)) % (1 << 24) - (1 << 23)
    drive = (wrapped * 64 + (1 << 31)) % (1 << 32) - (1 << 31)
    expected = drive - (1 << 24) if drive > 1 << 23 else drive + (1 << 24) if drive <= -(1 << 23) else drive
    assert run(config, [[100_000], [0]]).u["a"][0, 1, 0] == expected


@pytest.mark.parametrize("shape", [(0, 3, 1), (2, 0, 1)])
def test_empty_batches_and_runs(shape):
    assert Loihi2Emulator(network([[10]])).prepare({"in": np.zeros(shape, int)}, states=["a"]).run().v["a"].shape == shape


def test_unsuitable_inputs_are_refused():
    emulator = Loihi2Emulator(network([[10]]))
    good = np.zeros((1, 3, 1), int)
    for counts, code in (
        ({"in": np.zeros((3, 1), int)}, "NIRHW-E050"),
        ({"out": good}, "NIRHW-E050"),
        ({"in": np.zeros((1, 3, 1))}, "NIRHW-E051"),
        ({"in": np.full((1, 3, 1), 1 << 40)}, "NIRHW-E051"),
    ):
        with pytest.raises(InputError, match=code):
            emulator.prepare(counts).run()
    with pytest.raises(InputError, match="NIRHW-E052"):
        emulator.prepare({"in": good}, states=["b"]).run()
    with pytest.raises(InputError, match="NIRHW-E053"):
        emulator.prepare({"in": good}, state=emulator.prepare({"in": np.zeros((2, 1, 1), int)}).run().state).run()


def test_broken_configurations_are_refused_before_anything_runs():
    good = network([[10]])
    broken = [
        network([[10]], group=lif("a", du=4096)),
        network([[10]], group=lif("a", dv=-1)),
        network([[10]], group=Group("a", "a", np.arange(1), "lif_reset")),
        network([[10]], group=Group("a", "a", np.arange(1), "alif")),
        network([[10]], delay=-1),
        network([[10]], weight_bits=9),
        Loihi2Configuration(
            good.groups, (*good.synapses, synapses_from_matrix("x", "a", "in", np.ones((1, 1), int), kind="dense")), ()
        ),
        Loihi2Configuration(good.groups, (synapses_from_matrix("x", "in", "a", np.ones((2, 1), int), kind="dense"),), ()),
        Loihi2Configuration(good.groups, (synapses_from_matrix("x", "in", "z", np.ones((1, 1), int), kind="dense"),), ()),
        Loihi2Configuration((*good.groups, good.groups[1]), good.synapses, ()),
    ]
    for config in broken:
        with pytest.raises(VerifyError, match="NIRHW-E040"):
            Loihi2Emulator(config)


def test_the_configuration_survives_json():
    for seed in range(12):
        config = random_loihi2.random_case(seed).config
        again = Loihi2Configuration.from_json(config.to_json())
        assert again.to_json() == config.to_json()
        assert [s.kernel is None for s in again.synapses] == [s.kernel is None for s in config.synapses]


def test_numba_is_imported_late():
    code = "import sys, nirhw.targets.loihi2.device; assert not {'numba', 'scipy', 'h5py'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
