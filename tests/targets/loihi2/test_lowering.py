"""What a user relies on when a network is lowered to Loihi 2: each construct does on the chip what it means in NIR."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np
import pytest

import nirhw
from nirhw.targets.loihi2.netx import outside_netx
from tests import builders as b
from tests.graphs import DT as GRID_DT
from tests.graphs import Dice, make_case


def rules(model: nirhw.CompiledModel) -> set[tuple[str, str]]:
    return {(d.kind, d.rule) for d in model.deviations}


def lower(graph: Any, target: str = "loihi2", **given: Any) -> nirhw.CompiledModel:
    return nirhw.compile(graph, target, **({"dt": b.DT} | given))


def exact(shape: Any, threshold: float = 64.0) -> nir.IF:
    """Neurons whose states stay whole: nothing decays, so nothing is rounded."""
    return b.integrate_fire(shape, threshold)


def whole(post: int, pre: int, seed: int = 0, low: int = -40, high: int = 100) -> nir.Linear:
    """Even whole weights: exact in 8 bits at a scale of one."""
    weight = 2.0 * np.random.default_rng(seed).integers(low // 2, high // 2 + 1, (post, pre))
    return nir.Linear(weight)


def same_spikes(model: nirhw.CompiledModel, x: np.ndarray) -> None:
    """Every spike of the chip is the reference's, ``lag`` steps later."""
    run, ref = model.emulate(x), model.reference(x)
    lag = run.latency["out"]
    time_axis = x.ndim - len(model.io_map["inputs"]["in"]["shape"]) - 1
    want = np.moveaxis(ref.spikes, time_axis, 0)
    got = np.moveaxis(run.spikes, time_axis, 0)
    assert want.sum() > 20
    np.testing.assert_array_equal(got[lag:], want[: want.shape[0] - lag])
    assert not any(int(v.sum()) for v in run.counters.values())


# -- exactness: integers that the chip holds give the float network's spikes, bit by bit


@pytest.mark.parametrize("options", [{}, {"signs": "joint"}, {"signs": "split"}])
def test_whole_numbers_are_exact(options: dict[str, Any]) -> None:
    net = b.chain(6, 4, w1=whole(10, 6, 1), n1=exact(10), w2=whole(4, 10, 2, -60, 100), n2=exact(4))
    model = lower(net, options=options)
    same_spikes(model, b.spikes(300, 6, rate=0.4, batch=3))
    assert {d.kind for d in model.deviations} <= {"rounded"}


def test_a_network_passes_strict_mode() -> None:
    net = b.chain(6, 4, w1=whole(10, 6, 1), n1=exact(10), w2=whole(4, 10, 2), n2=exact(4))
    same_spikes(lower(net, strict=True), b.spikes(300, 6, rate=0.4))
    with pytest.raises(nirhw.NirhwError) as caught:
        lower(net, strict=True, reset="subtract")
    assert {d.code for d in caught.value.diagnostics} == {"NIRHW-E033"}
    assert all("reset-zero" in d.what for d in caught.value.diagnostics)


def test_recurrence_is_exact() -> None:
    nodes = {"w": whole(8, 5, 1), "n": exact(8), "r": whole(8, 8, 3, -40, 40)}
    edges = [("in", "w"), ("w", "n"), ("n", "r"), ("r", "n"), ("n", "out")]
    same_spikes(lower(b.graph(5, 8, nodes, edges)), b.spikes(300, 5, rate=0.4))


def test_synaptic_filters_are_exact_but_for_whole_numbers() -> None:
    """CubaLIF: u and v differ from the float states by less than the rounding of a step, summed over the memory."""
    model = lower(b.chain(5, 6, w=whole(6, 5, 2), n=b.cubalif(6, 2, 4, 1e4)))
    x = b.spikes(200, 5, rate=0.3)
    run, ref = model.emulate(x, record=["n"]), model.reference(x, record=["n"])
    scale = np.asarray(model.io_map["populations"]["n"]["scale"])
    lag = run.latency["n"]
    off = run.states["n"]["v"][lag:] - ref.states["n"]["v"][:-lag] * scale
    assert np.abs(ref.states["n"]["v"] * scale).max() > 1e4
    assert np.abs(off).max() <= 2 * 4 + 4  # u loses up to 1 a step, times the memories of 2 and 4 steps


@pytest.mark.parametrize("integrator", ["euler", "exact", "exponential"])
def test_integrators_become_decays(integrator: str) -> None:
    model = lower(b.chain(4, 3, w=b.linear(3, 4), n=b.cubalif(3, 5, 20)), integrator=integrator)
    (group,) = (g for g in model.config.groups if g.model == "lif")
    keep_u, keep_v = {"euler": (1 - 1 / 5, 1 - 1 / 20)}.get(integrator, (np.exp(-1 / 5), np.exp(-1 / 20)))
    assert abs((4096 - (group.du + 1)) / 4096 - keep_u) <= 0.5 / 4096
    assert abs((4096 - group.dv) / 4096 - keep_v) <= 0.5 / 4096


def test_integrate_and_fire_never_leaks() -> None:
    model = lower(b.chain(3, 2, w=nir.Linear(np.array([[2.0, 0, 0], [0, 4.0, 0]])), n=b.integrate_fire(2, 100.0)))
    assert all(g.dv == 0 for g in model.config.groups if g.model == "lif")
    pulse = np.zeros((1000, 3), np.uint8)
    pulse[[0, 999 - 5], :2] = 1
    v = model.emulate(pulse, record=["n"]).states["n"]["v"]
    np.testing.assert_array_equal(v[1], v[900])
    assert v[1].min() > 0


# -- resets, leaks and biases


def test_a_reset_value_is_a_shift_of_variables() -> None:
    """Threshold 64 and reset 32: after the first spike both agree for ever."""
    neuron = nir.IF(r=np.full(4, 1 / b.DT), v_threshold=np.full(4, 64.0), v_reset=np.full(4, 32.0))
    net = b.chain(5, 4, w=whole(4, 5, 4, 20, 100), n=neuron)
    model = lower(net)
    assert ("semantic", "starts-at-reset") in rules(model)
    x = b.spikes(300, 5, rate=0.4)
    x[:6] = 1  # all have fired
    run, ref = model.emulate(x), model.reference(x)
    lag = run.latency["out"]
    assert ref.spikes[:6].any(axis=0).all() and ref.spikes.sum() > 100
    np.testing.assert_array_equal(run.spikes[lag + 6 :], ref.spikes[6:-lag])


def test_a_leak_potential_is_a_constant_drive() -> None:
    one = np.ones(3)
    neuron = nir.LIF(tau=4 * b.DT * one, r=4 * one, v_leak=32 * one, v_threshold=64 * one, v_reset=0 * one)
    model = lower(b.chain(5, 3, w=whole(3, 5, 4), n=neuron))
    assert ("retimed", "bias-early") in rules(model)
    run, ref = model.emulate(b.spikes(300, 5), record=["n"]), model.reference(b.spikes(300, 5), record=["n"])
    assert abs(int(run.spikes.sum()) - int(ref.spikes.sum())) <= 0.03 * ref.spikes.sum() > 0


def test_a_bias_from_a_neuron_that_always_fires_is_exact_from_the_first_step() -> None:
    bias = np.array([6.0, -4.0, 20.0])
    net = b.chain(4, 3, w=nir.Affine(whole(3, 4, 6).weight, bias), n=exact(3))
    model = lower(net, strict=True, options={"bias": "source"})
    assert model.report.data["added_neurons"] == 1
    same_spikes(model, b.spikes(300, 4, rate=0.4))
    registers = lower(net)
    assert registers.report.data["added_neurons"] == 0 and ("retimed", "bias-early") in rules(registers)


def test_a_bias_behind_a_synapse_keeps_its_ramp() -> None:
    """The current of a filtered bias rises as the float network's; 8 bits and a correction of 8 hold it to a whole unit."""
    bias = np.array([0.5, -0.31, 0.9])
    net = b.chain(4, 3, w=nir.Affine(b.weights(3, 4, 2), bias), n=b.cubalif(3, 8, 16, 1e3))
    x = np.zeros((100, 4), np.uint8)
    model = lower(net)
    run, ref = model.emulate(x, record=["n"]), model.reference(x, record=["n"])
    lag, scale = run.latency["n"], np.asarray(model.io_map["populations"]["n"]["scale"])
    np.testing.assert_allclose(run.states["n"]["v"][lag:] / scale, ref.states["n"]["v"][:-lag], rtol=4e-3, atol=1e-2)
    rough = lower(net, options={"bias": "register"})
    assert ("semantic", "bias-skips-ramp") in rules(rough)


def test_a_bias_behind_a_delay_starts_late() -> None:
    bias = np.array([30.0, 40.0])
    nodes = {"w": nir.Affine(whole(2, 3, 1).weight, bias), "d": nir.Delay(np.array([0, 7]) * b.DT), "n": exact(2)}
    same_spikes(lower(b.chain(3, 2, **nodes)), b.spikes(200, 3, rate=0.5))


def test_a_soft_reset_is_offered_and_marked_as_unverified() -> None:
    net = b.chain(4, 3, w=whole(3, 4, 6, -20, 30), n=exact(3, 128.0))
    model = lower(net, reset="subtract", options={"soft_reset": True})
    assert not any(d.rule == "reset-zero" for d in model.deviations)
    assert any("lava lacks" in text for text in model.report.data["assumptions"])
    same_spikes(model, b.spikes(300, 4, rate=0.4))


# -- heterogeneous populations


def test_thresholds_are_folded_into_weights() -> None:
    threshold = np.array([16.0, 32.0, 64.0, 64.0])
    neuron = nir.IF(r=np.full(4, 1 / b.DT), v_threshold=threshold, v_reset=np.zeros(4))
    weight = np.sign(whole(4, 6, 3).weight) * threshold[:, None] / 4
    model = lower(b.chain(6, 4, w=nir.Linear(weight), n=neuron))
    assert len([g for g in model.config.groups if g.model == "lif"]) == 1
    same_spikes(model, b.spikes(300, 6, rate=0.5))


def test_time_constants_split_a_population() -> None:
    tau = np.array([2.0, 4.0, 2.0, 8.0, 4.0])
    neuron = nir.LIF(tau=tau * b.DT, r=tau, v_leak=np.zeros(5), v_threshold=np.full(5, 64.0), v_reset=np.zeros(5))
    nodes = {"w": whole(5, 4, 1), "n": neuron, "r": whole(5, 5, 3, -20, 20)}
    edges = [("in", "w"), ("w", "n"), ("n", "r"), ("r", "n"), ("n", "out")]
    model = lower(b.graph(4, 5, nodes, edges))
    groups = {g.name: g for g in model.config.groups if g.population == "n"}
    assert sorted(len(g.neurons) for g in groups.values()) == [1, 2, 2]
    assert model.report.data["register_sets"] == [{"population": "n", "wanted": 3, "groups": 3}]
    found = model.fidelity(b.spikes(400, 4, rate=0.4, batch=4))
    assert found.populations["n"].count_error < 0.02  # tau of 4 and 8 steps round v towards zero


def test_too_many_time_constants_are_merged_and_listed() -> None:
    tau = np.geomspace(2, 60, 100)
    neuron = nir.LIF(tau=tau * b.DT, r=tau, v_leak=np.zeros(100), v_threshold=np.ones(100), v_reset=np.zeros(100))
    model = lower(b.chain(4, 100, w=b.linear(100, 4), n=neuron), options={"groups": 10})
    (row,) = model.report.data["register_sets"]
    assert row["wanted"] > 90 and row["groups"] <= 10
    errors = [abs(r["error"]) for r in model.report.data["time_constants"]]
    assert 0.01 < max(errors) < 0.5
    assert len([g for g in model.config.groups if g.population == "n"]) == row["groups"]


# -- delays


@pytest.mark.parametrize("steps", [1, 5, 40])
def test_a_delay_is_in_the_synapses(steps: int) -> None:
    nodes = {"w": whole(6, 4, 1), "n1": exact(6), "d": nir.Delay(np.full(6, steps * b.DT)), "w2": whole(3, 6, 2), "n2": exact(3)}
    model = lower(b.chain(4, 3, **nodes))
    # of the delay, two hops are none of the synapse's: row t in is chip step t, and nothing lags
    assert max(s.max_delay for s in model.config.synapses) == max(steps - 2, 0)
    assert model.report.data["added_neurons"] == 0
    same_spikes(model, b.spikes(300, 4, rate=0.4))


def test_delays_by_neuron() -> None:
    wait = nir.Delay(np.array([0, 3, 61, 5]) * b.DT)
    nodes = {"w": whole(4, 3, 1), "n1": exact(4), "d": wait, "w2": whole(3, 4, 2, 20, 100), "n2": exact(3)}
    same_spikes(lower(b.chain(3, 3, **nodes)), b.spikes(300, 3, rate=0.4))


def skip() -> nir.NIRGraph:
    nodes = {"w1": whole(6, 4, 1), "n1": exact(6), "w2": whole(3, 6, 2), "s": whole(3, 4, 3), "n2": exact(3)}
    edges = [("in", "w1"), ("w1", "n1"), ("n1", "w2"), ("w2", "n2"), ("in", "s"), ("s", "n2"), ("n2", "out")]
    return b.graph(4, 3, nodes, edges)


def test_branches_that_meet_are_aligned() -> None:
    model = lower(skip(), strict=True)
    same_spikes(model, b.spikes(300, 4, rate=0.4))
    loose = lower(skip(), options={"align": "never"})
    assert ("retimed", "branch-early") in rules(loose)
    assert max(s.max_delay for s in loose.config.synapses) == 0 < max(s.max_delay for s in model.config.synapses)


# -- convolutions and pooling


def conv(stride: int = 1, padding: int = 0, groups: int = 1, channels: int = 4, seed: int = 0) -> nir.Conv2d:
    rng = np.random.default_rng(seed)
    weight = 2.0 * rng.integers(-20, 30, (channels, 2 // groups, 3, 3))
    return nir.Conv2d((8, 8), weight, stride, padding, 1, groups, np.zeros(channels))


@pytest.mark.parametrize(("stride", "padding", "groups", "side"), [(1, 0, 1, 6), (1, 1, 1, 8), (2, 1, 1, 4), (1, 0, 2, 6)])
def test_a_convolution_stays_shared_and_equals_the_unrolled_one(stride: int, padding: int, groups: int, side: int) -> None:
    neuron = exact((4, side, side))
    net = b.chain((2, 8, 8), (4, side, side), c=conv(stride, padding, groups), n=neuron)
    model = lower(net)
    (synapses,) = model.config.synapses
    assert synapses.kernel is not None and synapses.kernel.weight.shape == (4, 2 // groups, 3, 3)
    x = b.spikes(60, 2, 8, 8, rate=0.3)
    same_spikes(model, x)
    unrolled = lower(net, options={"share_kernels": False, "signs": "joint"})
    assert all(s.kernel is None for s in unrolled.config.synapses)
    np.testing.assert_array_equal(unrolled.emulate(x).spikes, model.emulate(x).spikes)


@pytest.mark.parametrize("kind", ["sum", "average"])
@pytest.mark.parametrize("padding", [0, 1])
def test_pooling_is_multiplied_into_the_kernel(kind: str, padding: int) -> None:
    two = np.array([2, 2])
    pool = nir.SumPool2d(two, two, np.zeros(2, int)) if kind == "sum" else nir.AvgPool2d(two, two, np.zeros(2, int))
    weight = 8.0 * np.random.default_rng(1).integers(-3, 6, (3, 2, 3, 3))
    side = 4 - 2 + 2 * padding
    neuron = exact((3, side, side))
    layer = nir.Conv2d((4, 4), weight, 1, padding, 1, 1, np.zeros(3))
    model = lower(b.chain((2, 8, 8), (3, side, side), p=pool, c=layer, n=neuron))
    (synapses,) = model.config.synapses
    assert synapses.kernel is not None and synapses.kernel.weight.shape == (3, 2, 6, 6)
    same_spikes(model, b.spikes(60, 2, 8, 8, rate=0.5))


def test_a_convolution_with_a_delay_is_unrolled() -> None:
    neuron = exact((4, 6, 6))
    wait = nir.Delay(np.full((2, 8, 8), 3 * b.DT))
    model = lower(b.chain((2, 8, 8), (4, 6, 6), d=wait, c=conv(), n=neuron))
    assert all(s.kernel is None and s.max_delay == 2 for s in model.config.synapses)
    same_spikes(model, b.spikes(60, 2, 8, 8, rate=0.3))


# -- analog outputs, payloads


def test_an_analog_readout_is_a_membrane() -> None:
    model = lower(b.chain(5, 3, w=b.linear(3, 5, 1), o=b.li(3, 8)))
    x = b.spikes(200, 5, rate=0.3)
    run, ref = model.emulate(x), model.reference(x)
    lag = run.latency["out"]
    assert np.abs(run.outputs[lag:] - ref.outputs[:-lag]).max() < 0.02 * np.abs(ref.outputs).max()
    assert run.spikes is None


def test_a_trailing_linear_layer_is_a_readout_without_memory() -> None:
    net = b.chain(5, 3, w=whole(6, 5, 1), n=exact(6), r=b.linear(3, 6, 2))
    model = lower(net, strict=True)
    x = b.spikes(200, 5, rate=0.3)
    run, ref = model.emulate(x), model.reference(x)
    lag = run.latency["out"]
    assert np.abs(run.outputs[lag:] - ref.outputs[:-lag]).max() < 0.02 * np.abs(ref.outputs).max()


def test_an_input_that_is_an_output_is_read_back() -> None:
    net = b.graph(4, 4, {"w": b.linear(3, 4), "n": b.lif(3)}, [("in", "w"), ("w", "n"), ("in", "out")])
    x = b.spikes(50, 4, rate=0.5)
    np.testing.assert_array_equal(lower(net).emulate(x).outputs[1:], x[:-1])


def test_counts_are_payloads_where_asked_for() -> None:
    net = b.chain(4, 3, w=whole(3, 4, 2), n=exact(3))
    counts = np.random.default_rng(3).integers(0, 8, (200, 4))
    model = lower(net, options={"input_peak": 7})
    assert all(s.message_bits == 3 for s in model.config.synapses)
    same_spikes(model, counts)
    with pytest.raises(nirhw.NirhwError) as caught:
        lower(net).emulate(counts)
    assert caught.value.code == "NIRHW-E051" and "input_peak" in caught.value.diagnostics[0].fix


# -- formats


def test_no_drive_overflows() -> None:
    """All sources at once in every step, the worst that the bounds admit: nothing wraps and nothing is clipped."""
    net = b.chain(200, 30, w=b.linear(30, 200, 1, shift=0.3), n=b.cubalif(30, 20, 50))
    model = lower(net)
    room = model.report.data["head_room"][0]
    assert 0.2 < max(room["u"], room["v_high"]) <= 1.0
    run = model.emulate(np.ones((300, 200), np.uint8))
    assert not any(int(v.sum()) for v in run.counters.values())
    bold = lower(net, options={"worst_case": 0.01})
    assert ("semantic", "may-overflow") in rules(bold)
    assert bold.emulate(np.ones((300, 200), np.uint8)).counters["wrapped_u"].sum() > 0


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("signs", ["joint", "split"])
def test_weight_bits(bits: int, signs: str) -> None:
    model = lower(b.chain(8, 6, w=b.linear(6, 8, 1), n=b.lif(6)), options={"weight_bits": bits, "signs": signs})
    for synapses in model.config.synapses:
        assert synapses.weight_bits == bits
        values = 2**bits if synapses.sign_mode != "mixed" else 2**bits - 1
        assert len(np.unique(synapses.weight)) <= values
    assert ("mixed" in {s.sign_mode for s in model.config.synapses}) == (signs == "joint" and bits > 1)


def test_more_bits_lose_less() -> None:
    def sqnr(**options: Any) -> float:
        model = lower(b.chain(40, 30, w=b.linear(30, 40, 1), n=b.lif(30)), options={"ranges": 1, **options})
        return float(np.mean([t["sqnr_db"] for t in model.report.data["tensors"]]))

    assert sqnr(weight_bits=4, signs="joint") + 15 < sqnr(signs="joint") < sqnr(signs="split")
    assert sqnr(signs="joint", scaling="percentile", percentile=90.0) < sqnr(signs="joint")


def test_signs_save_their_bit() -> None:
    for factor, mode in ((1.0, "excitatory"), (-1.0, "inhibitory")):
        weight = factor * np.abs(b.weights(4, 6, 1))
        model = lower(b.chain(6, 4, w=nir.Linear(weight), n=b.lif(4)))
        (synapses,) = model.config.synapses
        assert synapses.sign_mode == mode and 200 <= np.abs(synapses.weight).max() <= 255


def test_the_same_network_gives_the_same_bytes(tmp_path: Any) -> None:
    net = b.chain(6, 4, w1=b.linear(10, 6, 1), n1=b.cubalif(10), w2=b.linear(4, 10, 2), n2=b.cubalif(4))
    first, second = lower(net), lower(net)
    assert first.to_bytes() == second.to_bytes()
    first.save(tmp_path / "net.nirhw")
    again, x = nirhw.load(tmp_path / "net.nirhw"), b.spikes(100, 6)
    np.testing.assert_array_equal(again.emulate(x).spikes, first.emulate(x).spikes)


def test_lava_conversion_truncates() -> None:
    net = b.chain(3, 2, w=nir.Linear(np.array([[0.5, -0.3, 0.7], [0.1, 2.0, -0.9]])), n=b.lif(2, 10, 0.5))
    model = lower(net, options={"conversion": "lava"})
    (synapses,) = model.config.synapses
    (group,) = (g for g in model.config.groups if g.model == "lif")
    assert group.threshold == int(0.5 * 131071) >> 9 and group.dv == int(0.1 * 4095)
    np.testing.assert_array_equal(synapses.matrix(2).toarray(), [[128, -76, 178], [24, 254, -230]])
    assert [d.code for d in model.findings] == ["NIRHW-W010"]


@pytest.mark.parametrize("biased", [False, True])
def test_a_network_for_netx_can_be_written(biased: bool) -> None:
    """Chains and self-recurrence, biases among them: the reader's bits and exponents give every weight back."""
    first: Any = b.linear(10, 6, 1)
    if biased:
        first = nir.Affine(first.weight, np.linspace(-0.2, 0.3, 10))
    nodes = {"w": first, "n": b.cubalif(10), "r": b.linear(10, 10, 5, 0.2, 0), "w2": b.linear(4, 10, 2), "o": b.cubalif(4)}
    edges = [("in", "w"), ("w", "n"), ("n", "r"), ("r", "n"), ("n", "w2"), ("w2", "o"), ("o", "out")]
    net = b.graph(6, 4, nodes, edges)
    model = lower(net, options={"netx": True})
    assert outside_netx(model.config) == ()
    assert all(s.exponent == 0 for s in model.config.synapses)
    assert outside_netx(lower(net).config)
    found = model.fidelity(b.spikes(200, 6, rate=0.3, batch=4))
    assert found.populations["n"].count_error < 0.1


def test_the_report_names_what_is_assumed() -> None:
    model = lower(b.chain(6, 4, w1=b.linear(10, 6, 1), n1=b.cubalif(10), w2=b.linear(4, 10, 2), n2=b.cubalif(4)))
    data = model.report.data
    assert data["verdict"] == "feasible under assumptions"
    assert {"cores_per_chip", "synaptic_bytes_per_core"} <= set(data["inferred_limits"])
    for name in data["inferred_limits"]:
        assert any(text.startswith(name) for text in data["assumptions"])
    assert "feasible under assumptions" in model.report.to_text()


# -- random graphs of every primitive


#: entries that do not touch a spike unless a membrane saturates, which the counters would show
HARMLESS = {"membrane-saturates"}


def test_random_graphs_equal_the_reference_or_say_why_not() -> None:
    """A network whose ledger is empty gives the reference's spikes in every population, and nothing ever wraps."""
    exact_ones = refused = 0
    for seed in range(150):
        case = make_case(Dice(seed))
        try:
            model = lower(
                case.graph, dt=GRID_DT, reset="zero", integrator=case.integrator, options={"bias": "source", "input_peak": 15}
            )
        except nirhw.NirhwError as failure:
            assert {d.stage for d in failure.diagnostics if d.is_error} == {"legalize"}
            refused += 1
            continue
        rows = {n: s.reshape(len(s), *model.io_map["inputs"][n]["shape"]) for n, s in case.spikes.items()}
        padded: Any = {n: np.concatenate([s, np.zeros((8, *s.shape[1:]), s.dtype)]) for n, s in rows.items()}
        padded = padded if len(padded) > 1 else next(iter(padded.values()))
        names = [n for n, p in model.network.populations.items() if p.rule == "spiking"]
        run, ref = model.emulate(padded, record=names), model.reference(padded, record=names)
        assert run.counters["wrapped_u"].sum() == 0
        if {d.rule for d in model.deviations} - HARMLESS:
            continue
        exact_ones += 1
        for name in names:
            got, want, lag = run.states[name]["spikes"], ref.states[name]["spikes"], run.latency[name]
            np.testing.assert_array_equal(got[lag:], want[: len(want) - lag], err_msg=f"seed {seed}, {name}")
    assert exact_ones >= 10 and refused < 100


@pytest.mark.parametrize("seed", range(40))
def test_options_in_any_combination_give_a_legal_configuration(seed: int) -> None:
    """The check runs on every compilation and reads nothing of the lowering; a refusal has a code of its own."""
    dice = Dice(seed)
    case = make_case(dice)
    options = {
        "signs": dice.pick(["auto", "joint", "split"]),
        "bias": dice.pick(["auto", "register", "source"]),
        "scaling": dice.pick(["max", "percentile", "error"]),
        "rounding": dice.pick(["nearest", "truncate"]),
        "conversion": dice.pick(["nirhw", "nirhw", "lava"]),
        "align": dice.pick(["always", "never"]),
        "weight_bits": dice.pick([1, 2, 5, 8]),
        "groups": dice.pick([1, 3, 32]),
        "input_peak": dice.pick([1, 9]),
        "worst_case": dice.pick([1.0, 0.1]),
        "soft_reset": dice.chance(30),
        "share_kernels": dice.chance(70),
        "netx": dice.chance(20),
    }
    try:
        model = lower(case.graph, dt=GRID_DT, reset=dice.pick(["value", "zero", "subtract"]), options=options)
    except nirhw.NirhwError as failure:
        assert "NIRHW-E040" not in {d.code for d in failure.diagnostics}
        return
    rows = {n: np.minimum(s, options["input_peak"]) for n, s in case.spikes.items()}
    shaped = {n: s.reshape(len(s), *model.io_map["inputs"][n]["shape"]) for n, s in rows.items()}
    run = model.emulate(shaped if len(shaped) > 1 else next(iter(shaped.values())))
    if not any(d.rule == "may-overflow" for d in model.deviations):
        assert run.counters["wrapped_u"].sum() == 0


def test_the_text_report_shows_the_head_room() -> None:
    model = nirhw.compile(b.chain(4, 3, w=b.linear(3, 4), o=b.cubalif(3)), "loihi2", dt=b.DT)
    (room,) = model.report.data["head_room"]
    assert 0 < room["u"] <= 1 and 0 < room["v_high"] <= 1
    text = model.report.to_text()
    assert "Head-room" in text and f"{room['u']:.1%}" in text
