"""What a user relies on when a network is lowered to Xylo: each construct does on the chip what it means in NIR."""

from __future__ import annotations

import nir
import numpy as np
import pytest

import nirhw
from tests import builders as b

SUBTRACT = {"dt": b.DT, "reset": "subtract"}


def rules(model: nirhw.CompiledModel) -> set[tuple[str, str]]:
    return {(d.kind, d.rule) for d in model.deviations}


def feed_forward(n_in: int = 8, n_hidden: int = 30, n_out: int = 5) -> nir.NIRGraph:
    return b.chain(
        n_in,
        n_out,
        fc1=b.linear(n_hidden, n_in, 1),
        lif1=b.cubalif(n_hidden),
        fc2=b.linear(n_out, n_hidden, 2),
        lif2=b.cubalif(n_out),
    )


def test_a_network_passes_strict_mode() -> None:
    quiet = b.chain(
        2,
        1,
        fc1=nir.Linear(np.full((3, 2), 0.125)),
        lif1=b.cubalif(3),
        fc2=nir.Linear(np.full((1, 3), 0.25)),
        lif2=b.cubalif(1),
    )
    model = nirhw.compile(quiet, "xylo", strict=True, options={"input_peak": 1}, **SUBTRACT)
    assert {d.kind for d in model.deviations} <= {"rounded"}
    x = b.spikes(300, 2, rate=0.5, batch=4)
    run, ref = model.emulate(x, record=["lif1"]), model.reference(x, record=["lif1"])
    assert run.states["lif1"]["spikes"].max() == 1  # what strict mode promised
    assert (
        abs(int(run.states["lif1"]["spikes"].sum()) - int(ref.states["lif1"]["spikes"].sum()))
        <= 0.05 * ref.states["lif1"]["spikes"].sum()
    )


def test_strict_mode_names_what_it_refuses() -> None:
    with pytest.raises(nirhw.NirhwError) as caught:
        nirhw.compile(feed_forward(), "xylo", dt=b.DT, strict=True)
    assert {d.code for d in caught.value.diagnostics} == {"NIRHW-E033"}
    assert any("reset-subtract" in d.what and d.nodes == ("lif1",) for d in caught.value.diagnostics)
    nirhw.compile(feed_forward(), "xylo", dt=b.DT, strict=("retimed",))


@pytest.mark.parametrize("target", ["xylo", "xylo-audio3", "xylo-imu"])
def test_a_trained_size_network_agrees_in_rate(target: str) -> None:
    model = nirhw.compile(feed_forward(), target, **SUBTRACT)
    measured = model.fidelity(b.spikes(200, 8, rate=0.1, batch=16))
    assert measured.populations["lif1"].count_error < 0.25
    assert measured.agreement is not None and measured.agreement.value > 0.6


def test_hops_show_in_the_latency_only() -> None:
    model = nirhw.compile(feed_forward(), "xylo", **SUBTRACT)
    run = model.emulate(b.spikes(50, 8), record=["lif1", "lif2"])
    assert (run.latency["lif1"], run.latency["lif2"], run.latency["out"]) == (0, 1, 1)
    assert not any(d.kind == "retimed" for d in model.deviations)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_a_delay_between_layers_is_exact(steps: int) -> None:
    """Relays repeat every spike: the delayed chip gives the undelayed chip's spikes, later by exactly the delay."""
    nodes = {"fc1": b.linear(10, 6, 1), "lif1": b.cubalif(10), "fc2": b.linear(4, 10, 2), "lif2": b.cubalif(4)}
    plain = nirhw.compile(b.chain(6, 4, **nodes), "xylo", **SUBTRACT)
    late = b.chain(
        6,
        4,
        fc1=nodes["fc1"],
        lif1=nodes["lif1"],
        wait=nir.Delay(np.full(10, steps * b.DT)),
        fc2=nodes["fc2"],
        lif2=nodes["lif2"],
    )
    delayed = nirhw.compile(late, "xylo", **SUBTRACT)
    x = b.spikes(300, 6, rate=0.4)
    want, got = plain.emulate(x).spikes, delayed.emulate(x)
    assert want.sum() > 50
    hops = got.latency["out"] - plain.emulate(x).latency["out"]
    shift = steps + hops
    np.testing.assert_array_equal(got.spikes[shift:], want[: 300 - shift])
    assert delayed.report.data["delays"][0]["wanted_steps"] == steps


def test_a_delay_of_the_input_is_exact_for_counts() -> None:
    nodes = {"fc": b.linear(6, 3, 1), "lif1": b.cubalif(6), "fc2": b.linear(4, 6, 2), "lif2": b.cubalif(4)}
    plain = nirhw.compile(b.chain(3, 4, **nodes), "xylo", **SUBTRACT)
    delayed = nirhw.compile(b.chain(3, 4, wait=nir.Delay(np.full(3, 2 * b.DT)), **nodes), "xylo", **SUBTRACT)
    x = np.random.default_rng(3).integers(0, 6, (200, 3))
    want, got = plain.emulate(x), delayed.emulate(x)
    shift = 2 + got.latency["out"] - want.latency["out"]
    np.testing.assert_array_equal(got.spikes[shift:], want.spikes[: 200 - shift])


def test_delays_by_neuron_use_one_shared_chain() -> None:
    wait = nir.Delay(np.array([0, 1, 1, 3]) * b.DT)
    net = b.chain(4, 2, fc=nir.Linear(0.2 * np.eye(4)), lif1=b.cubalif(4), wait=wait, fc2=b.linear(2, 4, 2), lif2=b.cubalif(2))
    model = nirhw.compile(net, "xylo", **SUBTRACT)
    assert model.report.data["added_neurons"] == 3 + 1 + 1  # stage 1 carries three neurons, stages 2 and 3 one each
    x = b.spikes(200, 4, rate=0.3, batch=8)
    assert model.fidelity(x).populations["lif1"].count_error < 0.3


def test_hidden_outputs_leave_through_exact_relays() -> None:
    """A layer that takes input directly cannot be an output layer: each of its spikes leaves one step later."""
    model = nirhw.compile(b.chain(5, 4, fc=b.linear(4, 5, 1), lif=b.cubalif(4)), "xylo", **SUBTRACT)
    run = model.emulate(b.spikes(400, 5, rate=0.5, batch=3), record=["lif"])
    raster = np.minimum(run.states["lif"]["spikes"], 1)
    assert raster.sum() > 300
    np.testing.assert_array_equal(run.spikes[:, 1:], raster[:, :-1])
    assert run.latency["out"] == run.latency["lif"] + 1


def skip_connection() -> nir.NIRGraph:
    nodes = {
        "fc1": b.linear(8, 4, 1),
        "lif1": b.cubalif(8),
        "fc2": b.linear(3, 8, 2),
        "skip": b.linear(3, 4, 3),
        "lif2": b.cubalif(3),
    }
    edges = [
        ("in", "fc1"),
        ("fc1", "lif1"),
        ("lif1", "fc2"),
        ("fc2", "lif2"),
        ("in", "skip"),
        ("skip", "lif2"),
        ("lif2", "out"),
    ]
    return b.graph(4, 3, nodes, edges)


def test_a_skip_connection_does_not_arrive_early() -> None:
    aligned = nirhw.compile(skip_connection(), "xylo", options={"bursts": "allow"}, **SUBTRACT)
    loose = nirhw.compile(skip_connection(), "xylo", options={"align": "never", "bursts": "allow"}, **SUBTRACT)
    assert ("retimed", "branch-early") not in rules(aligned)
    assert ("retimed", "branch-early") in rules(loose)
    assert aligned.report.data["added_neurons"] > loose.report.data["added_neurons"]
    pulse = np.zeros((20, 4), np.uint8)
    pulse[5] = 1
    currents = aligned.emulate(pulse, record=["lif2"]).states["lif2"]["i"]
    assert not currents[:6].any() and currents[6].any()
    early = loose.emulate(pulse, record=["lif2"]).states["lif2"]["i"]
    assert early[5].any()


def test_two_filters_into_one_neuron_are_two_synapses() -> None:
    nodes = {"wa": b.linear(6, 4, 1), "fa": b.li(6, 2), "wb": b.linear(6, 4, 2), "fb": b.li(6, 16), "n": b.lif(6, 8, 4.0),
             "fc": b.linear(3, 6, 3), "o": b.cubalif(3)}  # fmt: skip
    edges = [
        ("in", "wa"),
        ("wa", "fa"),
        ("fa", "n"),
        ("in", "wb"),
        ("wb", "fb"),
        ("fb", "n"),
        ("n", "fc"),
        ("fc", "o"),
        ("o", "out"),
    ]
    model = nirhw.compile(b.graph(4, 3, nodes, edges), "xylo", options={"bursts": "allow"}, **SUBTRACT)
    assert model.config.synapse2_enable and np.any(model.config.input.syn2_weights)
    assert set(model.config.hidden.neurons.i_syn_decay) == {1} and set(model.config.hidden.neurons.i_syn2_decay) == {4}
    run = model.emulate(b.spikes(50, 4), record=["n"])
    assert set(run.states["n"]) == {"spikes", "v", "i", "i2"}
    with pytest.raises(nirhw.NirhwError, match="2 synapses"):
        nirhw.compile(b.graph(4, 3, nodes, edges), "xylo-imu", **SUBTRACT)


def test_cubali_pairs_and_a_threshold_are_one_neuron() -> None:
    one = np.ones(5)

    def filt(tau_syn: float) -> nir.CubaLI:
        return nir.CubaLI(tau_syn=tau_syn * b.DT * one, tau_mem=8 * b.DT * one, r=8 * one, v_leak=0 * one, w_in=tau_syn * one)

    nodes = {"wa": b.linear(5, 4, 1), "fa": filt(2), "wb": b.linear(5, 4, 2), "fb": filt(8), "n": nir.Threshold(3 * one),
             "fc": b.linear(2, 5, 3), "o": b.cubalif(2)}  # fmt: skip
    edges = [
        ("in", "wa"),
        ("wa", "fa"),
        ("fa", "n"),
        ("in", "wb"),
        ("wb", "fb"),
        ("fb", "n"),
        ("n", "fc"),
        ("fc", "o"),
        ("o", "out"),
    ]
    model = nirhw.compile(b.graph(4, 2, nodes, edges), "xylo", **SUBTRACT)
    assert model.report.data["neurons"] == 7 and model.config.synapse2_enable
    assert ("semantic", "reset-subtract") in rules(model)


@pytest.mark.parametrize("source", ["hidden", "input"])
def test_an_analog_readout_follows_the_reference(source: str) -> None:
    if source == "hidden":
        net = b.chain(6, 3, fc1=b.linear(20, 6, 1, 0.1, 0.02), lif1=b.cubalif(20), fc2=b.linear(3, 20, 2), o=b.li(3, 16))
    else:
        net = b.chain(6, 3, fc=b.linear(3, 6, 1), o=b.li(3, 16))
    model = nirhw.compile(net, "xylo", **SUBTRACT)
    x = b.spikes(400, 6, rate=0.2)
    run, ref = model.emulate(x), model.reference(x)
    assert run.spikes is None and run.outputs.shape == (400, 3)
    lag = run.latency["out"]
    got, want = run.outputs[lag:], ref.outputs[: 400 - lag]
    # on the chip's own spikes the filter is what differs; through a layer of other spikes the correlation remains
    scale = np.abs(want).max()
    bound = 0.12 if source == "input" else 0.45
    assert np.abs(got - want).max() < bound * scale


def test_an_integrator_leaks_as_the_ledger_says() -> None:
    net = b.chain(4, 2, fc=b.linear(6, 4, 1), n=b.integrate_fire(6), fc2=b.linear(2, 6, 2), o=b.integrate_fire(2))
    model = nirhw.compile(net, "xylo", **SUBTRACT)
    assert ("semantic", "integrator-leaks") in rules(model)
    once = np.zeros((40, 4), np.uint8)
    once[0] = 1
    v = model.emulate(once, record=["n"]).states["n"]["v"]
    resting = v[20:, :]
    steps = np.diff(resting, axis=0)
    assert np.all(steps[(resting[:-1] > 0)] == -1) and np.all(steps[resting[:-1] < 0] == 1)
    with pytest.raises(nirhw.NirhwError) as caught:
        nirhw.compile(net, "xylo", options={"leak_bound": 1e-6}, **SUBTRACT)
    assert caught.value.code == "NIRHW-E034"


@pytest.mark.parametrize("bias", [0.02, 0.15, -0.3])
def test_biases_drive_as_much_as_they_should(bias: float) -> None:
    affine = nir.Affine(b.weights(6, 4, 1), np.full(6, bias))
    net = b.chain(4, 2, fc=affine, n=b.cubalif(6), fc2=b.linear(2, 6, 2), o=b.cubalif(2))
    model = nirhw.compile(net, "xylo", **SUBTRACT)
    silent = np.zeros((600, 4), np.uint8)
    run, ref = model.emulate(silent, record=["n"]), model.reference(silent, record=["n"])
    want = ref.states["n"]["spikes"][100:].sum(dtype=float)
    got = run.states["n"]["spikes"][100:].sum(dtype=float)
    assert got == pytest.approx(want, rel=0.05, abs=6)
    assert ("semantic", "bias-skips-ramp") in rules(model)


def test_large_biases_use_bias_neurons_within_the_fan_out() -> None:
    affine = nir.Affine(b.weights(150, 4, 1), np.full(150, 0.15))
    net = b.chain(4, 2, fc=affine, n=b.cubalif(150), fc2=b.linear(2, 150, 2, 0.05), o=b.cubalif(2))
    model = nirhw.compile(net, "xylo", options={"bursts": "allow"}, **SUBTRACT)
    assert ("rounded", "bias-neuron") in rules(model)
    added = model.report.data["added_neurons"]
    assert added == 3  # 150 targets at 63 each
    silent = np.zeros((400, 4), np.uint8)
    got = model.emulate(silent, record=["n"]).states["n"]["spikes"][100:].sum(dtype=float)
    want = model.reference(silent, record=["n"]).states["n"]["spikes"][100:].sum(dtype=float)
    assert got == pytest.approx(want, rel=0.05)


def test_a_small_convolution_with_pooling_is_unrolled() -> None:
    conv = nir.Conv2d(None, np.random.default_rng(1).normal(0.2, 0.4, (4, 1, 3, 3)), 1, 1, 1, 1, np.zeros(4))
    pool = nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0]))
    net = b.chain((1, 4, 4), 3, conv=conv, n=b.integrate_fire((4, 4, 4)), pool=pool, flat=nir.Flatten({"input": np.array([4, 2, 2])}, 0, -1),
                  fc=b.linear(3, 16, 2), o=b.integrate_fire(3))  # fmt: skip
    model = nirhw.compile(net, "xylo", **SUBTRACT)
    assert model.report.data["neurons"] == 67
    run = model.emulate(b.spikes(100, 1, 4, 4), record=["n"])
    assert run.states["n"]["v"].shape == (100, 4, 4, 4) and run.spikes.shape == (100, 3)
    assert model.fidelity(b.spikes(100, 1, 4, 4, batch=8)).populations["n"].count_error < 0.35


def test_residual_sums_duplicate_the_weights() -> None:
    nodes = {
        "fc1": b.linear(6, 4, 1),
        "a": b.cubalif(6),
        "fc2": b.linear(6, 6, 2),
        "b": b.cubalif(6),
        "fc3": b.linear(3, 6, 3),
        "o": b.cubalif(3),
    }
    edges = [
        ("in", "fc1"),
        ("fc1", "a"),
        ("a", "fc2"),
        ("fc2", "b"),
        ("b", "fc3"),
        ("a", "fc3"),
        ("fc3", "o"),
        ("o", "out"),
    ]
    model = nirhw.compile(b.graph(4, 3, nodes, edges), "xylo", options={"bursts": "allow"}, **SUBTRACT)
    # the shorter branch waits one step in relays, so both meet in step
    assert not any(d.kind == "retimed" for d in model.deviations) and model.report.data["added_neurons"] == 6
    x = b.spikes(200, 4, rate=0.2, batch=8)
    assert model.fidelity(x).populations["o"].count_error < 0.5


def test_several_inputs_and_outputs_keep_their_names() -> None:
    nodes = {
        "left": nir.Input({"input": np.array([3])}), "right": nir.Input({"input": np.array([2])}),
        "wl": b.linear(6, 3, 1), "wr": b.linear(6, 2, 2), "n": b.cubalif(6), "wa": b.linear(2, 6, 3), "a": b.cubalif(2),
        "wb": b.linear(3, 6, 4), "b": b.li(3), "spiking": nir.Output({"output": np.array([2])}), "analog": nir.Output({"output": np.array([3])}),
    }  # fmt: skip
    edges = [
        ("left", "wl"),
        ("right", "wr"),
        ("wl", "n"),
        ("wr", "n"),
        ("n", "wa"),
        ("wa", "a"),
        ("a", "spiking"),
        ("n", "wb"),
        ("wb", "b"),
        ("b", "analog"),
    ]
    model = nirhw.compile(nir.NIRGraph(nodes, edges, type_check=False), "xylo", **SUBTRACT)
    x = {"left": b.spikes(60, 3), "right": b.spikes(60, 2, seed=1)}
    run, ref = model.emulate(x), model.reference(x)
    assert set(run.spikes) == {"spiking"} and set(run.outputs) == {"analog"}
    assert set(ref.spikes) == {"spiking"} and run.outputs["analog"].shape == (60, 3)
    assert set(model.fidelity(x).outputs) == {"spiking", "analog"}


def test_recorded_neurons_keep_nir_order_whatever_their_id() -> None:
    """On Audio 3 neurons are reordered; recordings are not."""
    n = 90
    takes = b.weights(n, 6, 1)
    takes[::2] = 0.0  # every other neuron takes no input
    rec = np.zeros((n, n))
    rec[np.arange(0, n, 2), np.arange(1, n, 2)] = 1.5
    nodes = {
        "fc": nir.Linear(takes),
        "n": b.cubalif(n),
        "rec": nir.Linear(rec),
        "fc2": b.linear(4, n, 3, 0.1),
        "m": b.cubalif(90, 4, 8),
        "fc3": b.linear(4, 90, 4, 0.1),
        "o": b.cubalif(4),
    }
    nodes["fc2"] = b.linear(90, n, 3, 0.05)
    edges = [
        ("in", "fc"),
        ("fc", "n"),
        ("n", "rec"),
        ("rec", "n"),
        ("n", "fc2"),
        ("fc2", "m"),
        ("m", "fc3"),
        ("fc3", "o"),
        ("o", "out"),
    ]
    net = b.graph(6, 4, nodes, edges)
    with pytest.raises(nirhw.NirhwError, match="recurrent targets of one neuron"):
        nirhw.compile(net, "xylo", **SUBTRACT)
    third = nirhw.compile(net, "xylo-audio3", **SUBTRACT)
    ids = np.asarray(third.io_map["populations"]["n"]["ids"])
    assert np.any(np.diff(ids) < 0) or np.any(np.diff(ids) > 1)
    x = b.spikes(100, 6)
    run = third.emulate(x, record=["n"])
    assert run.states["n"]["spikes"][:, 1::2].sum() > 0
    raw = third.emulate(x, record=["n"]).states["n"]["v"]
    assert raw.shape == (100, n)
    first = np.flatnonzero(run.states["n"]["spikes"].any(axis=1))[0]
    assert not run.states["n"]["spikes"][first, ::2].any()  # without input weights they can only follow


def test_batches_streams_and_threads_give_the_same_bits() -> None:
    model = nirhw.compile(feed_forward(), "xylo", **SUBTRACT)
    x = b.spikes(90, 8, rate=0.3, batch=7)
    whole = model.emulate(x, record=["lif1"])
    single = model.emulate(x, threads=1)
    np.testing.assert_array_equal(whole.spikes, single.spikes)
    for k in range(7):
        np.testing.assert_array_equal(model.emulate(x[k]).spikes, whole.spikes[k])
    first = model.emulate(x[:, :40])
    second = model.emulate(x[:, 40:], state=first.state, record=["lif1"])
    np.testing.assert_array_equal(np.concatenate([first.spikes, second.spikes], axis=1), whole.spikes)
    np.testing.assert_array_equal(second.states["lif1"]["v"], whole.states["lif1"]["v"][:, 40:])


def test_compiling_twice_gives_the_same_bytes() -> None:
    first, second = (nirhw.compile(feed_forward(), "xylo", **SUBTRACT) for _ in range(2))
    assert first.to_bytes() == second.to_bytes()


@pytest.mark.parametrize(
    "options",
    [{"scaling": "max"}, {"scaling": "percentile", "percentile": 80.0}, {"rounding": "truncate"}, {"gain": "none"}],
)
def test_options_change_the_numbers_and_stay_legal(options: dict[str, object]) -> None:
    net = feed_forward()
    default = nirhw.compile(net, "xylo", **SUBTRACT)
    chosen = nirhw.compile(net, "xylo", options=options, **SUBTRACT)
    assert default.config.to_json() != chosen.config.to_json()


def test_error_scaling_is_never_worse_than_max_scaling() -> None:
    """Per neuron: squared error of its weights at its scale, from the configuration alone."""
    for seed in range(6):
        dense = b.weights(20, 8, seed)
        net = b.chain(8, 5, fc1=nir.Linear(dense), lif1=b.cubalif(20), fc2=b.linear(5, 20, seed + 50), lif2=b.cubalif(5))
        losses = []
        for scaling in ("error", "max"):
            model = nirhw.compile(net, "xylo", options={"scaling": scaling, "bursts": "allow"}, **SUBTRACT)
            got = model.config.input.weights.T.astype(float)
            # the scale is what fits the integers to the weights best, up to the common gain of the layer
            fitted = (got * dense).sum(axis=1) / (got * got).sum(axis=1)
            losses.append(((fitted[:, None] * got - dense) ** 2).sum(axis=1))
        assert losses[0].sum() <= losses[1].sum()


def test_lif_layers_say_that_their_synapse_is_not_instant() -> None:
    net = b.chain(4, 2, fc=b.linear(6, 4, 1), n=b.lif(6), fc2=b.linear(2, 6, 2), o=b.lif(2))
    model = nirhw.compile(net, "xylo", **SUBTRACT)
    assert ("rounded", "synapse-not-instant") in rules(model)
    assert model.fidelity(b.spikes(200, 4, rate=0.2, batch=8)).populations["n"].count_error < 0.35
