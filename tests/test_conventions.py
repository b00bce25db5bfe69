"""Warnings about suspicious conventions: each says the node, the reason and a mend that works; good graphs get none."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

from nirhw.diagnostics import Diagnostic, MeaningError
from nirhw.network import Network
from nirhw.nir_reader import Semantics, read_network
from nirhw.reference import run_reference

DT = 1e-3
SIZE = 6
CONVENTIONS = ("NIRHW-W002", "NIRHW-W004", "NIRHW-W005")


def full(value: float, size: Any = SIZE) -> np.ndarray:
    return np.full(size, float(value))


def lif(tau: Any = 8 * DT, r: Any = 8, threshold: float = 1, v_leak: float = 0, size: Any = SIZE) -> nir.LIF:
    """LIF neurons; by default in snnTorch's convention."""
    return nir.LIF(tau=full(1, size) * tau, r=full(1, size) * r, v_leak=full(v_leak, size), v_threshold=full(threshold, size))


def cubalif(r: float = 8, w_in: float = 4, tau_mem: float = 8 * DT, tau_syn: float = 4 * DT) -> nir.CubaLIF:
    return nir.CubaLIF(
        tau_mem=full(tau_mem), tau_syn=full(tau_syn), r=full(r), w_in=full(w_in), v_leak=full(0), v_threshold=full(1)
    )


def dense(scale: float = 0.5, bias: float = 0, seed: int = 0) -> nir.Affine:
    return nir.Affine(np.random.default_rng(seed).random((SIZE, SIZE)) * scale, full(bias))


def chain(*nodes: Any, shape: Any = (SIZE,), out: Any = None) -> nir.NIRGraph:
    named = {
        "in": nir.Input(np.array(shape)),
        **{f"n{k}": n for k, n in enumerate(nodes)},
        "out": nir.Output(np.array(out or shape)),
    }
    return nir.NIRGraph(named, list(pairwise(named)), type_check=False)


def read(graph: Any, dt: float = DT, **options: Any) -> Network:
    return read_network(graph, Semantics(dt, **options)).network


def warned(graph: Any, dt: float = DT, **options: Any) -> list[Diagnostic]:
    return [d for d in read(graph, dt, **options).findings if d.code in CONVENTIONS]


def only(found: list[Diagnostic], code: str, *nodes: str) -> str:
    """Return the text of the one finding, which has this code, these nodes, a reason and a mend."""
    assert [(d.code, d.nodes) for d in found] == [(code, nodes)], "\n".join(map(str, found))
    assert found[0].why
    assert found[0].fix
    return str(found[0])


# -- good graphs


@pytest.mark.parametrize(
    "name",
    [
        "repo_braille_noDelay_bias_zero", "repo_braille_noDelay_noBias_subtract", "repo_cnn_sinabs", "sinabs_iaf_ff",
        "snntorch_conv_stride", "snntorch_ff_leaky", "snntorch_rleaky", "snntorch_synaptic", "norse_conv_iaf", "sj_conv_avgpool",
    ],
)  # fmt: skip
def test_good_graphs_get_no_such_warning(name: str, zoo: Callable[[str], Path]) -> None:
    for reset in ("value", "subtract"):
        network = read_network(zoo(name), Semantics(reset=reset)).network
        assert [str(d) for d in network.findings if d.code in CONVENTIONS] == []


def test_a_network_in_snntorchs_convention_gets_none() -> None:
    assert warned(chain(dense(), lif(), dense(seed=1), cubalif())) == []


def test_they_are_warnings_and_reach_the_compiled_model() -> None:
    import nirhw

    graph = chain(dense(), lif(threshold=1e3))
    model = nirhw.compile(graph, "xylo", dt=DT)
    assert "NIRHW-W002" in {d.code for d in model.findings}
    assert "NIRHW-W002" in {d.code for d in nirhw.check(graph, "xylo", dt=DT)}


# -- tau


def test_norses_tau_times_dt_is_told() -> None:
    graph = chain(dense(), lif(tau=1e-5, r=1))
    text = only([d for d in warned(graph, integrator="exact") if d.code == "NIRHW-W004"], "NIRHW-W004", "n1")
    assert "dt=1.0" in text
    assert "norse#411" in text
    with pytest.raises(MeaningError) as refused:
        read(graph)
    assert refused.value.code == "NIRHW-E021"
    assert refused.value.diagnostics[0].fix


@pytest.mark.parametrize("dt", [1e-3, 1e-4])
def test_tau_in_steps_is_told(dt: float) -> None:
    found = [d for d in warned(chain(dense(8), lif(tau=20, r=1), dense(8), lif(tau=10, r=1)), dt=dt) if d.nodes == ("n1", "n3")]
    text = only(found, "NIRHW-W004", "n1", "n3")
    assert "dt=1.0" in text
    assert "10 to 20 s" in text


def test_tau_in_steps_is_no_matter_at_a_dt_of_one_step() -> None:
    assert warned(chain(dense(8), lif(tau=20, r=1)), dt=1.0) == []


def test_an_unknown_dt_gets_the_convention_as_its_mend() -> None:
    with pytest.raises(MeaningError) as refused:
        read_network(chain(dense(), lif(tau=20, r=1)))
    assert "dt=1.0" in refused.value.diagnostics[0].fix
    beta = np.linspace(0.5, 0.9, SIZE)
    with pytest.raises(MeaningError) as refused:
        read_network(chain(dense(), lif(tau=DT / (1 - beta), r=beta)))
    assert "dt=0.001" in refused.value.diagnostics[0].fix


# -- r


BETA = np.linspace(0.5, 0.9, SIZE)


@pytest.mark.parametrize("tau", [DT / (1 - BETA), -DT / np.log(BETA)], ids=["1 - dt/tau", "exp(-dt/tau)"])
@pytest.mark.parametrize("dt", [DT, DT / 2])
def test_spyxs_r_is_told_with_its_dt(tau: np.ndarray, dt: float) -> None:
    text = only(warned(chain(dense(4), lif(tau=tau, r=BETA)), dt=dt), "NIRHW-W004", "n1")
    assert "dt=0.001" in text
    assert "r = tau / dt" in text


def test_a_uniform_layer_proves_spyxs_r_only_at_the_dt_that_was_given() -> None:
    graph = chain(dense(8), lif(tau=2 * DT, r=0.5))
    assert "Spyx" in only(warned(graph), "NIRHW-W004", "n1")
    assert warned(graph, dt=DT / 2) == []


def test_r_of_one_is_told_where_the_threshold_is_hardly_ever_reached() -> None:
    text = only(warned(chain(dense(0.4), lif(r=1))), "NIRHW-W004", "n1")
    assert "0.125 of the drive" in text
    assert "r = tau / dt" in text
    assert warned(chain(dense(0.4), lif(r=8))) == []
    assert warned(chain(dense(4), lif(r=1))) == []


def test_r_of_one_of_an_li_is_told_at_its_threshold() -> None:
    membrane = nir.LI(tau=full(8 * DT), r=full(1), v_leak=full(0))
    only(warned(chain(dense(0.4), membrane, nir.Threshold(full(1)))), "NIRHW-W004", "n2")


def rockpool(tau: float, n: int = SIZE) -> nir.LIF:
    return lif(tau=tau, r=tau * np.exp(-DT / tau) / DT, size=n)


def test_rockpools_r_is_told_where_one_tau_hides_it() -> None:
    graph = chain(dense(), rockpool(0.02), dense(seed=1), rockpool(0.02))
    network = read_network(graph).network
    assert network.dt != pytest.approx(DT)
    text = only([d for d in network.findings if d.code in CONVENTIONS], "NIRHW-W004", "n1", "n3")
    assert "give dt=0.001, integrator='exponential'" in text
    assert warned(graph) == []


def test_a_round_dt_is_no_rockpools() -> None:
    assert warned(chain(dense(), lif(tau=0.02, r=20), dense(), lif(tau=0.02, r=20))) == []


@pytest.mark.parametrize(("r", "who"), [(8, "Rockpool"), (1, "Norse")])
def test_a_missing_w_in_is_told(r: float, who: str) -> None:
    text = only(warned(chain(dense(4), cubalif(r=r, w_in=1))), "NIRHW-W004", "n1")
    assert "0.25 of its weight" in text
    assert who in text
    assert "w_in = tau_syn / dt" in text
    assert warned(chain(dense(4), cubalif(r=r, w_in=1, tau_syn=DT))) == []


# -- wiring


def nested(entry: str) -> nir.NIRGraph:
    inside = nir.NIRGraph(
        {
            "a.input": nir.Input(np.array([SIZE])),
            "a.lif": lif(),
            "a.w_rec": nir.Linear(np.eye(SIZE)),
            "a.output": nir.Output(np.array([SIZE])),
        },
        [("a.input", entry), ("a.w_rec", "a.lif"), ("a.lif", "a.w_rec"), ("a.lif", "a.output")],
        type_check=False,
    )
    return chain(dense(), inside)


def test_an_input_through_the_recurrent_weights_is_told() -> None:
    text = only(warned(nested("a.w_rec")), "NIRHW-W004", "n1.a.input", "n1.a.w_rec", "n1.a.lif")
    assert "Spyx" in text
    assert "replace the edge from 'n1.a.input' to 'n1.a.w_rec' by one to 'n1.a.lif'" in text
    assert warned(nested("a.lif")) == []


# -- never and always


def silent(graph: nir.NIRGraph, dt: float = DT, **options: Any) -> np.ndarray:
    """Return by neuron whether the reference stays silent although every input spikes in every step."""
    network = read(graph, dt, **options)
    shape = network.populations[network.inputs["in"]].shape
    return ~np.asarray(run_reference(network, np.ones((400, *shape))).spikes).reshape(400, -1).any(axis=0)


@pytest.mark.parametrize("reset", ["value", "subtract"])
def test_a_population_that_can_never_fire_is_told_with_its_bound(reset: str) -> None:
    weight = np.full((SIZE, SIZE), 0.02)
    graph = chain(nir.Linear(weight), lif(threshold=1))  # at most 6 * 0.02 * 8 = 0.96
    text = only(warned(graph, reset=reset), "NIRHW-W002", "n1")
    assert "0.96" in text
    assert silent(graph).all()
    even = chain(nir.Linear(weight), nir.Threshold(full(1) * (weight[0] @ full(1))))
    only(warned(even, reset=reset), "NIRHW-W002", "n1")  # the threshold itself is not enough
    assert silent(even).all()
    loud = chain(nir.Linear(weight * 1.1), lif(threshold=1))
    assert warned(loud, reset=reset) == []
    assert not silent(loud).any()


def test_the_bound_counts_the_synapse_and_the_bias() -> None:
    weight = np.full((SIZE, SIZE), 0.02)
    assert warned(chain(nir.Linear(weight), cubalif())) == []  # 0.96 * 4
    assert warned(chain(nir.Affine(weight, full(0.01)), lif())) == []  # (0.12 + 0.01) * 8
    only(warned(chain(nir.Affine(weight, full(-0.01)), lif())), "NIRHW-W002", "n1")


def test_what_a_silent_population_feeds_is_silent_too() -> None:
    found = warned(chain(dense(1e-3), lif(), dense(), lif()))
    assert [(d.code, d.nodes) for d in found] == [("NIRHW-W002", ("n1",)), ("NIRHW-W002", ("n3",))]


def test_a_few_silent_neurons_are_normal_most_of_them_are_not() -> None:
    weight = np.full((SIZE, SIZE), 0.5)
    weight[:2] = -0.5
    assert warned(chain(nir.Linear(weight), lif())) == []
    weight[:4] = -0.5
    text = only(warned(chain(nir.Linear(weight), lif())), "NIRHW-W002", "n1")
    assert "4 of 6 neurons" in text


@pytest.mark.parametrize("groups", [1, 2])
def test_a_convolutions_bound_holds_for_each_channel(groups: int) -> None:
    weight = np.full((2, 2 // groups, 3, 3), 0.1)
    weight[1] *= 0.1
    conv = nir.Conv2d(None, weight, 1, 1, 1, groups, np.zeros(2))
    reach = 9 * 0.1 * 2 / groups
    graph = chain(conv, nir.IF(full(1 / DT, (2, 4, 4)), full(0.1, (2, 4, 4))), shape=(2, 4, 4))
    assert warned(graph) == []  # an integrator collects any excitation
    threshold = nir.Threshold(np.stack([full(reach * 1.01, (4, 4)), full(reach * 0.09, (4, 4))]))
    graph = chain(conv, threshold, shape=(2, 4, 4))
    only(warned(graph), "NIRHW-W002", "n1")
    assert silent(graph)[:16].all()


@pytest.mark.parametrize("kind", [nir.SumPool2d, nir.AvgPool2d])
def test_pools_are_bounded(kind: Any) -> None:
    reach = 4 if kind is nir.SumPool2d else 1
    for threshold, fires in ((reach - 0.01, True), (reach, False)):
        nodes = kind(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])), nir.Threshold(full(threshold, (2, 2, 2)))
        graph = chain(*nodes, shape=(2, 4, 4), out=(2, 2, 2))
        assert bool(warned(graph)) != fires
        assert silent(graph).any() != fires


@pytest.mark.parametrize("seed", range(20))
def test_never_means_never(seed: int) -> None:
    """No neuron below its bound fires on random input; recurrence, inhibition, LI and several resets included."""
    rng = np.random.default_rng(seed)
    nodes = {
        "in": nir.Input(np.array([SIZE])),
        "w": nir.Linear(rng.normal(0, 0.05, (SIZE, SIZE))),
        "a": lif(threshold=float(rng.choice([0.05, 0.3, 1.0]))),
        "back": nir.Linear(rng.normal(0, 0.05, (SIZE, SIZE))),
        "li": nir.LI(tau=full(4 * DT), r=full(-4), v_leak=full(0.01)),
        "w2": nir.Affine(rng.normal(0, 0.1, (SIZE, SIZE)), rng.normal(0, 0.01, SIZE)),
        "b": cubalif(w_in=float(rng.choice([4, -4]))),
        "out": nir.Output(np.array([SIZE])),
    }
    edges = [("in", "w"), ("w", "a"), ("a", "back"), ("back", "a"), ("a", "li"), ("li", "w2"), ("w2", "b"), ("b", "out")]
    graph = nir.NIRGraph(nodes, edges, type_check=False)
    for reset in ("value", "subtract"):
        network = read(graph, reset=reset)
        dead = {n for d in network.findings if d.code == "NIRHW-W002" and "the population" in d.what for n in d.nodes}
        run = run_reference(network, rng.random((8, 200, SIZE)) < 0.7, record=("a", "b"))
        for name in dead:
            assert not run.states[name]["spikes"].any()


def test_v_leak_above_threshold_is_told(zoo: Callable[[str], Path]) -> None:
    text = only(warned(chain(dense(2), lif(v_leak=1.2))), "NIRHW-W005", "n1")
    assert "v_leak" in text
    found = warned(zoo("repo_two_lif_neurons"))
    assert ("NIRHW-W005", ("lif1",)) in [(d.code, d.nodes) for d in found]


def test_a_bias_that_fires_at_every_step_is_told() -> None:
    text = only(warned(chain(dense(0.5, bias=1.1), lif())), "NIRHW-W005", "n1")
    assert "bias" in text
    quiet = run_reference(read(chain(dense(0.5, bias=1.1), lif())), np.zeros((5, SIZE)))
    assert np.all(quiet.spikes == 1)
    assert warned(chain(dense(0.5, bias=0.3), lif())) == []  # fires now and then: many trained networks do


def test_a_negative_threshold_fires_at_rest() -> None:
    assert "threshold is negative" in only(warned(chain(dense(), lif(threshold=-0.1))), "NIRHW-W005", "n1")


def test_absurd_parameters_warn_or_not_but_nothing_breaks() -> None:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for r, v_leak, threshold in ((1e308, 0, 1), (-1e308, 1e308, -1e308), (1e-308, -1e308, 0)):
            node = nir.LIF(tau=full(1e300), r=full(r), v_leak=full(v_leak), v_threshold=full(threshold))
            read(chain(nir.Linear(np.full((SIZE, SIZE), 1e308)), node))
