"""What a user relies on when a network is lowered to SpiNNaker2: each construct does on the chip what it means in NIR."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np
import pytest

import nirhw
from nirhw.diagnostics import NirhwError
from tests import builders as b
from tests.graphs import DT, Dice, make_case

TARGET = "spinnaker2"


def rules(model: nirhw.CompiledModel) -> set[tuple[str, str]]:
    return {(d.kind, d.rule) for d in model.deviations}


def applications(model: nirhw.CompiledModel) -> dict[str, str]:
    return {s.population: s.application for s in model.config.slices}


def whole(post: int, pre: int, seed: int = 0, low: int = -6, high: int = 9) -> np.ndarray:
    """Return a matrix of eighths, which every form of synapse word holds without loss."""
    return np.random.default_rng(seed).integers(low, high, (post, pre)) / 8


def aligned(model: nirhw.CompiledModel, x: Any) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Return by output what the chip gives and what the network means, at the same step of the network."""
    run, meant = model.emulate(x), model.reference(x)
    found = []
    for part in ("spikes", "outputs"):
        ours, theirs = getattr(run, part), getattr(meant, part)
        if theirs is None:
            assert ours is None
            continue
        names = [n for n, e in model.io_map["outputs"].items() if (e["kind"] == "spikes") == (part == "spikes")]
        for name in names:
            mine, wanted = (v[name] if isinstance(v, dict) else v for v in (ours, theirs))
            axis = mine.ndim - len(model.io_map["outputs"][name]["shape"]) - 1
            lag, steps = model.io_map["outputs"][name]["lag"], mine.shape[axis]
            found.append(
                (name, np.take(mine, range(lag, steps), axis), np.take(wanted, range(steps - lag), axis).astype(mine.dtype))
            )
    return found


def assert_exact(model: nirhw.CompiledModel, x: Any) -> None:
    for name, ours, meant in aligned(model, x):
        np.testing.assert_allclose(ours, meant, rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("form", ["auto", "delay"])
def test_random_graphs_without_losses_do_what_they_mean(form: str) -> None:
    """Graphs of all primitives whose ledger is empty: every output equals the reference's, each at its own lag."""
    exact = 0
    for seed in range(120):
        case = make_case(Dice(seed))
        try:
            model = nirhw.compile(
                case.graph, TARGET, dt=DT, reset=case.reset, integrator=case.integrator, options={"application": form}
            )
        except NirhwError as refused:
            assert {d.code for d in refused.diagnostics if d.is_error} <= {"NIRHW-E030", "NIRHW-E034"}
            continue
        if rules(model) - {("rounded", "delay-steps")}:
            continue
        shapes = {n: e["shape"] for n, e in model.io_map["inputs"].items()}
        x: Any = {n: np.minimum(v.reshape(len(v), *shapes[n]), 1) for n, v in case.spikes.items()}
        assert_exact(model, x if len(x) > 1 else next(iter(x.values())))
        exact += 1
    assert exact >= 15


def test_a_network_passes_strict_mode() -> None:
    network = b.chain(
        6,
        4,
        fc1=nir.Affine(b.weights(20, 6, 1), np.linspace(0, 0.2, 20)),
        lif1=b.cubalif(20),
        fc2=nir.Affine(b.weights(4, 20, 2), np.full(4, 0.05)),
        lif2=b.lif(4),
    )
    model = nirhw.compile(network, TARGET, dt=b.DT, strict=True)
    assert {d.kind for d in model.deviations} == {"rounded"}
    assert model.fidelity(b.spikes(200, 6, batch=8)).count_error < 0.05


@pytest.mark.parametrize("reset", ["zero", "value", "subtract"])
def test_resets_are_the_network_s(reset: str) -> None:
    network = b.chain(5, 8, fc=nir.Linear(whole(8, 5)), lif=b.cubalif(8, v_reset=-0.5))
    model = nirhw.compile(network, TARGET, dt=b.DT, reset=reset)
    assert not model.deviations
    assert_exact(model, b.spikes(200, 5, rate=0.4))
    part = model.config.slices[1]
    assert part.reset == ("reset_by_subtraction" if reset == "subtract" else "reset_to_v_reset")
    assert np.all((part.parameters["v_reset"] < 0) == (reset == "value"))


@pytest.mark.parametrize("steps", [1, 5, 7, 8, 9, 16, 40])
@pytest.mark.parametrize("form", ["auto", "no_delay", "delay"])
def test_a_delay_between_layers_is_exact(steps: int, form: str) -> None:
    """A synapse word holds up to 7 steps; relays make up what it does not hold."""
    nodes = {"a": nir.Linear(whole(10, 6)), "l": b.lif(10), "d": nir.Delay(np.full(10, steps * b.DT))}
    nodes |= {"c": nir.Linear(whole(4, 10, 1)), "o": b.lif(4)}
    model = nirhw.compile(b.chain(6, 4, **nodes), TARGET, dt=b.DT, options={"application": form})
    assert not model.deviations
    assert_exact(model, b.spikes(120, 6, rate=0.4))
    assert model.io_map["outputs"]["out"]["lag"] == max(0, 2 - steps)  # the delay pays for the hops


def test_delays_by_neuron_are_words_and_relays() -> None:
    steps = np.array([0, 3, 7, 8, 15, 30])
    nodes = {"d": nir.Delay(steps * b.DT), "c": nir.Linear(whole(9, 6)), "o": b.cubalif(9)}
    model = nirhw.compile(b.chain(6, 9, **nodes), TARGET, dt=b.DT)
    assert not model.deviations and applications(model)["o"] == "lif_curr_exp"
    assert_exact(model, b.spikes(150, 6, rate=0.3))
    used = {int(d) for s in model.config.slices for block in s.blocks for d in np.unique(block.delay)}
    assert max(used) == 7 and {0, 3} <= used


def skip_network() -> nir.NIRGraph:
    nodes = {
        "a": nir.Linear(whole(6, 6)),
        "l": b.lif(6),
        "c": nir.Linear(whole(4, 6, 1)),
        "s": nir.Linear(whole(4, 6, 2)),
        "o": b.lif(4),
    }
    edges = [("in", "a"), ("a", "l"), ("l", "c"), ("c", "o"), ("in", "s"), ("s", "o"), ("o", "out")]
    return b.graph(6, 4, nodes, edges)


def test_branches_that_meet_again_stay_in_step() -> None:
    model = nirhw.compile(skip_network(), TARGET, dt=b.DT)
    assert not model.deviations and set(applications(model).values()) == {"spike_list", "lif_no_delay"}
    assert_exact(model, b.spikes(200, 6, rate=0.4))
    assert model.report.data["added_neurons"] == 6  # one relay for each input
    delayed = nirhw.compile(skip_network(), TARGET, dt=b.DT, options={"application": "delay"})
    assert delayed.report.data["added_neurons"] == 0
    assert_exact(delayed, b.spikes(200, 6, rate=0.4))
    early = nirhw.compile(skip_network(), TARGET, dt=b.DT, options={"align": "never"})
    assert rules(early) == {("retimed", "branch-early")}


def test_the_delay_form_says_what_it_costs() -> None:
    network = b.chain(12, 8, fc=b.linear(8, 12), lif=b.cubalif(8))
    (entry,) = nirhw.compile(network, TARGET, dt=b.DT, options={"application": "delay"}).deviations
    (other,) = nirhw.compile(network, TARGET, dt=b.DT, options={"scaling": "max"}).deviations
    wide = float(other.reason.split(": ")[1].split(" dB")[0])
    assert f"words without delays would give {wide:.1f} dB" in entry.reason
    assert float(entry.reason.split(": ")[1].split(" dB")[0]) < wide - 12


def test_a_bias_passes_the_synapse_and_starts_in_its_own_step() -> None:
    nodes = {"a": nir.Affine(whole(5, 4), np.arange(-1, 4) / 8), "l": b.cubalif(5)}
    nodes |= {"c": nir.Affine(whole(3, 5, 1), np.array([1.0, 0.25, 30.0])), "o": b.lif(3, threshold=3.0)}
    network = b.chain(4, 3, **nodes)
    model = nirhw.compile(network, TARGET, dt=b.DT, strict=True)
    assert not model.deviations
    assert_exact(model, b.spikes(200, 4))
    offset = nirhw.compile(network, TARGET, dt=b.DT, options={"bias": "offset"})
    assert rules(offset) == {("semantic", "bias-skips-ramp"), ("retimed", "bias-early")}
    assert offset.report.data["added_neurons"] == 0


@pytest.mark.parametrize("node", ["li", "cubali", "affine"])
def test_analog_outputs_are_membranes_that_never_fire(node: str) -> None:
    one = np.ones(3)
    readout = {
        "li": {"c": nir.Linear(whole(3, 6, 1)), "o": b.li(3)},
        "cubali": {"c": nir.Linear(whole(3, 6, 1)), "o": nir.CubaLI(4e-3 * one, 8e-3 * one, r=one, v_leak=0 * one, w_in=one)},
        "affine": {"c": nir.Linear(whole(3, 6, 1))},
    }[node]
    model = nirhw.compile(b.chain(5, 3, a=nir.Linear(whole(6, 5)), l=b.lif(6), **readout), TARGET, dt=b.DT)
    x = b.spikes(100, 5, rate=0.5)
    assert not model.deviations and model.emulate(x).outputs.shape == (100, 3)
    assert np.abs(model.reference(x).outputs).max() > 0
    assert_exact(model, x)
    assert model.config.slices[-1].record == ("v",)


def two_filters(second_sign: float) -> nir.NIRGraph:
    nodes = {"a": nir.Linear(np.abs(whole(6, 4))), "slow": b.li(6, 16), "c": nir.Linear(second_sign * np.abs(whole(6, 4, 1)))}
    nodes |= {"fast": b.li(6, 2), "n": b.lif(6, threshold=4.0)}
    edges = [("in", "a"), ("a", "slow"), ("slow", "n"), ("in", "c"), ("c", "fast"), ("fast", "n"), ("n", "out")]
    return b.graph(4, 6, nodes, edges)


def test_two_filters_of_opposite_sign_are_the_two_currents_of_a_neuron() -> None:
    model = nirhw.compile(two_filters(-1.0), TARGET, dt=b.DT)
    parameters = model.config.slices[1].parameters
    assert applications(model)["n"] == "lif_curr_exp_no_delay"
    assert np.allclose(parameters["exc_decay"], 1 - 1 / 16) and np.allclose(parameters["inh_decay"], 0.5)
    x = b.spikes(300, 4, rate=0.4)
    assert model.reference(x).spikes.sum() > 20
    assert model.fidelity(x).count_error < 0.05
    with pytest.raises(NirhwError) as refused:
        nirhw.compile(two_filters(1.0), TARGET, dt=b.DT)
    assert refused.value.code == "NIRHW-E030" and refused.value.diagnostics[0].nodes


def conv_network(average: bool = False) -> nir.NIRGraph:
    rng = np.random.default_rng(0)
    kernels = [rng.integers(-3, 6, shape) / 8 for shape in ((3, 2, 3, 3), (4, 3, 2, 2))]
    conv1 = nir.Conv2d((7, 6), kernels[0], stride=1, padding=(1, 1), dilation=1, groups=1, bias=np.zeros(3))
    pool = (nir.AvgPool2d if average else nir.SumPool2d)(np.array([2, 2]), np.array([2, 2]), np.array([0, 0]))
    conv2 = nir.Conv2d((3, 3), kernels[1], stride=1, padding=(0, 0), dilation=1, groups=1, bias=np.zeros(4))
    flat = nir.Flatten({"input": np.array([4, 2, 2])}, 0)
    nodes = {"c1": conv1, "n1": b.integrate_fire((3, 7, 6)), "p": pool, "c2": conv2, "n2": b.integrate_fire((4, 2, 2), 2.0)}
    nodes |= {"f": flat, "fc": nir.Linear(whole(5, 16)), "n3": b.integrate_fire(5)}
    return b.chain((2, 7, 6), 5, **nodes)


@pytest.mark.parametrize("average", [False, True])
def test_kernels_and_unrolled_rows_give_the_same_spikes(average: bool) -> None:
    x = b.spikes(60, 2, 7, 6, rate=0.3)
    kernels = nirhw.compile(conv_network(average), TARGET, dt=b.DT)
    rows = nirhw.compile(conv_network(average), TARGET, dt=b.DT, options={"convolution": "unroll"})
    assert [applications(kernels)[n] for n in ("n1", "n2", "n3")] == ["lif_conv2d", "lif_conv2d", "lif_no_delay"]
    assert set(applications(rows).values()) == {"spike_list", "lif_no_delay"}
    assert kernels.reference(x).spikes.sum() > 10 and not kernels.deviations and not rows.deviations
    assert_exact(kernels, x)
    assert_exact(rows, x)


def test_branches_of_convolutions_meet_in_step() -> None:
    """A kernel has no delay, so relays in whole channels carry the shorter branch."""
    rng = np.random.default_rng(3)

    def conv(channels: int) -> nir.Conv2d:
        kernel = rng.integers(-2, 5, (2, channels, 3, 3)) / 8
        return nir.Conv2d((5, 5), kernel, stride=1, padding=(1, 1), dilation=1, groups=1, bias=np.zeros(2))

    nodes = {"a": conv(1), "n": b.integrate_fire((2, 5, 5)), "b": conv(2), "s": conv(1), "m": b.integrate_fire((2, 5, 5), 2.0)}
    edges = [("in", "a"), ("a", "n"), ("n", "b"), ("b", "m"), ("in", "s"), ("s", "m"), ("m", "out")]
    model = nirhw.compile(b.graph((1, 5, 5), (2, 5, 5), nodes, edges), TARGET, dt=b.DT)
    assert not model.deviations and applications(model)["m"] == "lif_conv2d" and applications(model)["in~1"] == "lif_no_delay"
    x = b.spikes(80, 1, 5, 5, rate=0.3)
    assert model.reference(x).spikes.sum() > 20
    assert_exact(model, x)


@pytest.mark.parametrize("changed", ["dilation", "stride", "groups", "plane"])
def test_a_convolution_that_is_no_kernel_of_the_chip_is_unrolled(changed: str) -> None:
    shape = (2, 20, 20) if changed == "plane" else (2, 8, 8)
    weight = np.random.default_rng(0).integers(1, 6, (2, 1 if changed == "groups" else 2, 3, 3)) / 8
    geometry: dict[str, Any] = {"stride": 1, "padding": (0, 0), "dilation": 1, "groups": 1, "bias": np.zeros(2)}
    geometry |= {"dilation": {"dilation": 2}, "stride": {"stride": (1, 2)}, "groups": {"groups": 2}, "plane": {}}[changed]
    conv = nir.Conv2d(shape[1:], weight, **geometry)
    out = {"dilation": (2, 4, 4), "stride": (2, 6, 3), "groups": (2, 6, 6), "plane": (2, 18, 18)}[changed]
    model = nirhw.compile(b.chain(shape, out, c=conv, n=b.integrate_fire(out, 2.0)), TARGET, dt=b.DT, options={"steps": 50})
    assert applications(model)["n"] == "lif_no_delay"
    assert_exact(model, b.spikes(40, *shape))


def test_the_paper_s_cnn_fits_one_chip(zoo) -> None:
    model = nirhw.compile(zoo("repo_cnn_sinabs"), TARGET, reset="subtract")
    assert model.config.n_slices <= 148 and "lif_conv2d" in applications(model).values()
    x = b.spikes(20, 2, 34, 34, rate=0.05)
    assert model.fidelity(x).populations["1"].count_error < 0.02


def test_parameters_of_the_vendor_s_converter() -> None:
    """py-spinnaker2's NIR converter, by hand: one scale a population, weights cut towards zero."""
    weight, bias, dt = np.array([[0.5, -0.3], [0.1, 0.2]]), np.array([0.25, -0.5]), 1e-3
    two = np.ones(2)
    scale = 127 / 0.5
    nodes = {
        "lif": nir.LIF(tau=8e-3 * two, r=3 * two, v_leak=0.1 * two, v_threshold=2 * two),
        "cuba": nir.CubaLIF(4e-3 * two, 8e-3 * two, r=3 * two, v_leak=0.1 * two, v_threshold=2 * two, w_in=5 * two),
        "if": nir.IF(r=3 * two, v_threshold=2 * two),
    }
    g_m, g_s = 1 / 8, 1 / 4
    wanted = {
        "lif": {"alpha_decay": 1 - g_m, "threshold": 2 * scale / (g_m * 3), "i_offset": 0.1 * scale / 3 + bias * scale},
        "cuba": {
            "alpha_decay": 1 - g_m,
            "threshold": 2 * scale / (g_m * 3 * g_s * 5),
            "exc_decay": 1 - g_s,
            "inh_decay": 1 - g_s,
            "i_offset": g_m * 0.1 * scale / (g_m * 3 * g_s * 5) + bias * scale / g_s,
            "t_refrac": 0,
        },
        "if": {"alpha_decay": 1, "threshold": 2 * scale / 3, "i_offset": bias * scale},
    }
    for name, node in nodes.items():
        graph = b.chain(2, 2, w=nir.Affine(weight, bias), n=node)
        model = nirhw.compile(graph, TARGET, dt=dt, reset="zero", options={"conversion": "vendor"})
        part = model.config.slices[1]
        for key, value in wanted[name].items():
            np.testing.assert_allclose(part.parameters[key], np.broadcast_to(value, 2), rtol=1e-6, err_msg=f"{name} {key}")
        assert part.blocks[0].weight.tolist() == [127, 25, -76, 50]  # 127, 25.4; -76.2, 50.8 by source
    assert ("semantic", "integrator-without-dt") in rules(model)


def test_an_integrator_counts_dt_by_our_meaning() -> None:
    network = b.chain(2, 2, w=nir.Linear(whole(2, 2)), n=b.integrate_fire(2))
    model = nirhw.compile(network, TARGET, dt=b.DT)
    assert not model.deviations
    assert_exact(model, b.spikes(100, 2, rate=0.5))


def test_weights_on_a_grid_of_their_own_lose_nothing() -> None:
    rng = np.random.default_rng(0)
    weight = rng.integers(-40, 41, (30, 50)) * rng.uniform(0.001, 0.1, (30, 1))
    model = nirhw.compile(b.chain(50, 30, w=nir.Linear(weight), n=b.lif(30)), TARGET, dt=b.DT)
    assert not model.deviations and model.report.data["tensors"][0]["sqnr_db"] > 200


@pytest.mark.parametrize("rounding", ["nearest", "truncate"])
def test_scales_with_less_error_lose_less(rounding: str) -> None:
    heavy = np.random.default_rng(0).standard_t(2.5, (40, 200)) / 10
    network = b.chain(200, 40, w=nir.Linear(heavy), n=b.lif(40))
    sqnr = {}
    for scaling in ("error", "max", "percentile"):
        options = {"scaling": scaling, "rounding": rounding}
        sqnr[scaling] = nirhw.compile(network, TARGET, dt=b.DT, options=options).report.data["tensors"][0]["sqnr_db"]
    # errors that cancel in the drive cost the single weight a little
    assert sqnr["error"] >= sqnr["max"] - 0.5
    assert sqnr["max"] > sqnr["percentile"]


def test_a_saved_model_runs_alike(tmp_path) -> None:
    model = nirhw.compile(conv_network(), TARGET, dt=b.DT, options={"record": "all"})
    model.save(tmp_path / "net.nirhw")
    loaded = nirhw.load(tmp_path / "net.nirhw")
    x = b.spikes(30, 2, 7, 6, rate=0.3)
    one, other = (m.emulate(x, record=["n1"]) for m in (model, loaded))
    assert np.array_equal(one.spikes, other.spikes) and np.array_equal(one.states["n1"]["v"], other.states["n1"]["v"])
    assert (
        model.to_bytes()
        == loaded.to_bytes()
        == nirhw.compile(conv_network(), TARGET, dt=b.DT, options={"record": "all"}).to_bytes()
    )


def test_an_input_sends_at_most_one_spike_a_step() -> None:
    model = nirhw.compile(b.chain(2, 2, w=b.linear(2, 2), n=b.lif(2)), TARGET, dt=b.DT)
    with pytest.raises(NirhwError) as refused:
        model.emulate(np.full((3, 2), 2))
    assert refused.value.code == "NIRHW-E051"


@pytest.mark.parametrize("name", ["digits_conv_if", "vowels_cubalif"])
def test_the_demo_networks_keep_their_accuracy(name: str) -> None:
    from pathlib import Path

    folder = Path(__file__).parents[3] / "demo" / "networks"
    data = np.load(folder / f"{name.partition('_')[0]}_test.npz")
    model = nirhw.compile(folder / f"{name}.nir", TARGET)
    measured = model.fidelity(np.minimum(data["spikes"][:64], 1), data["labels"][:64])
    assert measured.agreement is not None and measured.agreement.value >= 0.9


def test_a_fused_multiply_add_is_an_option_of_the_emulation() -> None:
    net = b.chain(4, 3, w=b.linear(6, 4), n=b.cubalif(6), w2=b.linear(3, 6), o=b.cubalif(3))
    spikes = b.spikes(200, 4, rate=0.3)
    apart, once = (
        nirhw.compile(net, "spinnaker2", dt=b.DT, options={"fused": fused}).emulate(spikes, record=["n"]).states["n"]["v"]
        for fused in (False, True)
    )
    assert np.any(apart != once) and np.allclose(apart[:20], once[:20], rtol=1e-4, atol=1e-2)
