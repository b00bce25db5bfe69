"""The float reference means what the design says: compared with a slow interpreter that shares no code with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
from graphs import DT, STATEFUL, Case, Dice, cases, make_case
from hypothesis import HealthCheck, given, settings
from slow_interpreter import SlowInterpreter

from nirhw.diagnostics import InputError
from nirhw.emulation.result import Run
from nirhw.network import Network
from nirhw.nir_reader import Semantics, read_network
from nirhw.passes.canonicalize import CANONICALIZE
from nirhw.passes.merge_parallel import MergeParallel
from nirhw.pipeline import Context
from nirhw.reference import run_reference

SEEDS, CHUNK = 480, 24
PRIMITIVES = {
    *("Input", "Output", "Linear", "Affine", "Scale", "Conv1d", "Conv2d", "SumPool2d", "AvgPool2d", "Flatten", "Delay"),
    *("Threshold", "I", "LI", "IF", "LIF", "CubaLI", "CubaLIF", "NIRGraph"),
}


def network_of(case: Case) -> Network:
    return read_network(case.graph, Semantics(DT, case.reset, case.integrator)).network


def canonical(network: Network) -> Network:
    context = Context(hardware=None, options=None, record=None)  # type: ignore[arg-type]
    for step in (*CANONICALIZE, MergeParallel()):
        network = step.apply(network, context)
        network.verify()
    assert not context.deviations, "canonicalize rewrites exactly"
    return network


def shaped_inputs(network: Network, spikes: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Give flat counts ``[.., time, size]`` the shapes of the inputs."""
    return {n: s.reshape(*s.shape[:-1], *network.populations[network.inputs[n]].shape) for n, s in spikes.items()}


def by_output(network: Network, run: Run) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for part in (run.spikes, run.outputs):
        if part is not None:
            found |= part if isinstance(part, dict) else {next(iter(network.outputs)): part}
    return found


def slow_run(case: Case, burst: Mapping[str, int] | None = None) -> tuple[dict[str, np.ndarray], SlowInterpreter]:
    slow = SlowInterpreter(case.graph, DT, case.reset, case.integrator, burst)
    outputs = slow.run({n: s.tolist() for n, s in case.spikes.items()})
    return {n: np.array(rows) for n, rows in outputs.items()}, slow


def assert_outputs(network: Network, run: Run, wanted: Mapping[str, np.ndarray], what: str) -> None:
    got = by_output(network, run)
    assert got.keys() == wanted.keys()
    for name, rows in wanted.items():
        np.testing.assert_allclose(got[name].reshape(rows.shape), rows, rtol=1e-9, atol=1e-9, err_msg=f"{what}: {name}")


def assert_same_meaning(case: Case) -> SlowInterpreter:
    """Compare outputs, records and the canonical form with the slow interpreter."""
    wanted, slow = slow_run(case)
    network = network_of(case)
    spikes = shaped_inputs(network, case.spikes)
    run = run_reference(network, spikes, record=tuple(slow.traces))
    assert_outputs(network, run, wanted, "as read")
    for name, trace in slow.traces.items():
        states = run.states[name]
        size = len(trace.v[0])
        np.testing.assert_allclose(states["v"].reshape(-1, size), trace.v, rtol=1e-9, atol=1e-9, err_msg=f"v of {name}")
        if slow.kinds[name] not in ("I", "LI", "CubaLI"):
            assert np.array_equal(states["spikes"].reshape(-1, size), trace.spikes), f"spikes of {name}"
        if slow.kinds[name] in ("CubaLI", "CubaLIF"):
            np.testing.assert_allclose(states["i"].reshape(-1, size), trace.i, rtol=1e-9, atol=1e-9, err_msg=f"i of {name}")
    small = canonical(network)
    assert_outputs(small, run_reference(small, spikes), wanted, "canonical form")
    return slow


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_reference_equals_the_slow_interpreter_on_random_graphs(first: int) -> None:
    for seed in range(first, first + CHUNK):
        case = make_case(Dice(seed))
        try:
            assert_same_meaning(case)
        except Exception as failure:
            failure.add_note(f"seed {seed}\n{case!r}"[:4000])
            raise


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(case=cases())
def test_reference_equals_the_slow_interpreter_on_shrinkable_graphs(case: Case) -> None:
    assert_same_meaning(case)


@pytest.mark.parametrize("first", range(0, 120, CHUNK))
def test_several_spikes_a_step_equal_the_slow_interpreter_on_random_graphs(first: int) -> None:
    most = 0.0
    for seed in range(first, first + CHUNK):
        case, dice = make_case(Dice(seed)), np.random.default_rng(seed)
        network = network_of(case)
        spiking = [p for p in network.populations.values() if p.rule == "spiking"]
        burst = {p.name: int(dice.choice((1, 2, 3, 31))) for p in spiking}
        network = network.with_populations(replace(p, burst=burst[p.name]) for p in spiking)
        network.verify()
        wanted, slow = slow_run(case, burst)
        run = run_reference(network, shaped_inputs(network, case.spikes), record=tuple(burst))
        assert_outputs(network, run, wanted, f"seed {seed}")
        for name, cap in burst.items():
            sent = np.array(slow.traces[name].spikes)
            assert np.array_equal(run.states[name]["spikes"].reshape(sent.shape), sent), f"seed {seed}: {name}"
            assert sent.max(initial=0) <= cap
            most = max(most, sent.max(initial=0))
    assert most > 1, "some neuron sends several spikes in a step"


def test_random_graphs_use_every_primitive_and_fire() -> None:
    kinds: Counter[str] = Counter()
    firing = looped = 0
    for seed in range(0, SEEDS, 4):
        case = make_case(Dice(seed))
        kinds.update(case.kinds)
        _, slow = slow_run(case)
        firing += any(1.0 in row for n, t in slow.traces.items() if slow.kinds[n] != "LI" for row in t.spikes)
        looped += len(set(slow.component.values())) < len(slow.component)
    graphs = SEEDS // 4
    assert kinds.keys() == PRIMITIVES
    assert min(kinds.values()) >= graphs // 20
    assert firing > graphs // 2
    assert looped > graphs // 4


@pytest.mark.parametrize("first", range(0, 60, 20))
def test_a_batch_runs_like_its_samples_and_a_stream_like_its_parts(first: int) -> None:
    for seed in range(first, first + 20):
        case = make_case(Dice(seed))
        network = network_of(case)
        dice = np.random.default_rng(seed)
        batch = {n: dice.integers(0, 3, (3, *s.shape)) for n, s in case.spikes.items()}
        together = run_reference(network, shaped_inputs(network, batch))
        whole = by_output(network, together)
        for k in range(3):
            one = run_reference(network, shaped_inputs(network, {n: s[k] for n, s in batch.items()}))
            for name, rows in by_output(network, one).items():
                # a matrix product over more rows may add up in another order
                np.testing.assert_allclose(whole[name][k], rows, rtol=1e-9, atol=1e-9, err_msg=f"seed {seed}: {name}")
        cut = int(dice.integers(1, 11))
        head = run_reference(network, shaped_inputs(network, {n: s[:, :cut] for n, s in batch.items()}))
        rest = shaped_inputs(network, {n: s[:, cut:] for n, s in batch.items()})
        for _ in range(2):  # continuing does not use up the state
            tail = by_output(network, run_reference(network, rest, state=head.state))
            for name, rows in by_output(network, head).items():
                np.testing.assert_array_equal(np.concatenate([rows, tail[name]], axis=1), whole[name], f"seed {seed}: {name}")


def test_a_state_of_another_network_or_batch_is_refused() -> None:
    run = run_reference(chain(), np.ones((4, 1)))
    with pytest.raises(InputError) as caught:
        run_reference(chain(), np.ones((2, 4, 1)), state=run.state)
    assert caught.value.code == "NIRHW-E053"
    for state in ("rubbish", run_reference(chain(size=2), np.ones((4, 2))).state):
        with pytest.raises(InputError, match="NIRHW-E053"):
            run_reference(chain(), np.ones((4, 1)), state=state)


# -- the rules one by one


def lif(size: int = 1, k: float = 1.0, threshold: float = 0.5, leak: float = 0.0, v_reset: float = 0.0) -> nir.LIF:
    ones = np.ones(size)
    return nir.LIF(tau=k * DT * ones, r=ones, v_leak=leak * ones, v_threshold=threshold * ones, v_reset=v_reset * ones)


def relay(size: int = 1) -> nir.LIF:
    """A neuron that fires at once and only while it is driven."""
    return lif(size)


def graph(nodes: Mapping[str, Any], *edges: tuple[str, str], size: int = 1) -> nir.NIRGraph:
    ends = {"in": nir.Input(np.array([size])), "out": nir.Output(np.array([size]))}
    return nir.NIRGraph({**ends, **nodes}, list(edges), type_check=False)


def chain(length: int = 3, size: int = 1) -> Network:
    names = ["in", *(f"n{k}" for k in range(length)), "out"]
    nodes = {n: relay(size) for n in names[1:-1]}
    return read_network(graph(nodes, *pairwise(names), size=size), Semantics(DT)).network


def fires_at(net: Network, steps: int = 8, **options: Any) -> list[int]:
    """Return the steps in which the output fires after one spike at step 0."""
    spikes = np.zeros((steps, 1))
    spikes[0] = 1
    return np.flatnonzero(run_reference(net, spikes, **options).spikes[:, 0]).tolist()


def read(g: nir.NIRGraph, **options: Any) -> Network:
    return read_network(g, Semantics(**{"dt": DT, **options})).network


def test_a_chain_answers_in_the_same_step() -> None:
    assert fires_at(chain(length=5)) == [0]


@pytest.mark.parametrize(
    ("burst", "reset", "sent", "left"),
    [
        (1, "subtract", [1, 1, 1, 0], [1.5, 1.0, 0.5, 0.5]),
        (2, "subtract", [2, 1, 0, 0], [1.0, 0.5, 0.5, 0.5]),
        (31, "subtract", [3, 0, 0, 0], [0.5, 0.5, 0.5, 0.5]),
        (31, "zero", [3, 0, 0, 0], [0.0, 0.0, 0.0, 0.0]),
    ],
)
def test_a_burst_takes_off_as_many_thresholds_as_it_sends_spikes(burst: int, reset: Any, sent: Any, left: Any) -> None:
    # v rises to 2, four thresholds: strictly above lie three of them; left is v at the end of each step
    neuron = nir.IF(r=np.array([2.0 / DT]), v_threshold=np.array([0.5]), v_reset=np.zeros(1))
    net = read(graph({"n": neuron}, ("in", "n"), ("n", "out")), reset=reset)
    net = net.with_populations([replace(net.populations["n"], burst=burst)])
    spikes = np.array([[1.0], [0.0], [0.0], [0.0]])
    run = run_reference(net, spikes, record=["n"])
    v = run.states["n"]["v"][:, 0]
    assert run.spikes[:, 0].tolist() == sent
    assert v.tolist() == left


def test_state_starts_at_zero_and_the_comparison_is_strict() -> None:
    at_threshold = graph({"n": lif(threshold=1.0)}, ("in", "n"), ("n", "out"))
    assert fires_at(read(at_threshold)) == []


def test_edges_from_spiking_populations_within_their_cycle_are_one_step_late() -> None:
    net = read(graph({"n": relay(), "w": nir.Linear(np.ones((1, 1)))}, ("in", "n"), ("n", "w"), ("w", "n"), ("n", "out")))
    assert fires_at(net, 5) == [0, 1, 2, 3, 4]
    two = graph({"a": relay(), "b": relay()}, ("in", "a"), ("a", "b"), ("b", "a"), ("b", "out"))
    # both edges of the cycle are late, the edge out of it is not
    assert fires_at(read(two), 6) == [1, 3, 5]


@pytest.mark.parametrize(("delay", "period"), [(0.0, 1), (0.49, 1), (0.5, 1), (1.0, 1), (1.5, 2), (3.0, 3)])
def test_a_recurrent_edge_through_a_delay_lasts_max_of_the_delay_and_one(delay: float, period: int) -> None:
    net = read(graph({"n": relay(), "d": nir.Delay(np.array([delay * DT]))}, ("in", "n"), ("n", "d"), ("d", "n"), ("n", "out")))
    assert fires_at(net, 7) == list(range(0, 7, period))


@pytest.mark.parametrize(("second", "period"), [(0.0, 1), (1.0, 1), (2.0, 2)])
def test_uneven_delays_in_a_row_count_as_one_delay(second: float, period: int) -> None:
    """The element whose first delay is 0 comes round after max(0 + d, 1) steps, not 1 + d."""
    ones = np.ones(2)
    nodes = {
        "n": relay(2),
        "w": nir.Linear(np.eye(2)),
        "d": nir.Delay(np.array([0.0, 2.0]) * DT),
        "e": nir.Delay(second * DT * ones),
    }
    net = read(graph(nodes, ("in", "n"), ("n", "w"), ("w", "d"), ("d", "e"), ("e", "n"), ("n", "out"), size=2))
    spikes = np.zeros((7, 2))
    spikes[0] = 1
    run = run_reference(net, spikes)
    assert np.flatnonzero(run.spikes[:, 0]).tolist() == list(range(0, 7, period))
    assert np.flatnonzero(run.spikes[:, 1]).tolist() == list(range(0, 7, int(2 + second)))


def test_a_delay_out_of_a_cycle_is_not_lengthened() -> None:
    """Of one uneven delay, the way back is a step late, the way out is not."""
    nodes = {
        "n": relay(2),
        "w": nir.Linear(np.eye(2)),
        "d": nir.Delay(np.array([0.0, 1.0]) * DT),
        "back": nir.Linear(0.0 * np.eye(2)),
        "last": relay(2),
    }
    edges = [("in", "n"), ("n", "w"), ("w", "d"), ("d", "back"), ("back", "n"), ("d", "last"), ("last", "out")]
    spikes = np.zeros((4, 2))
    spikes[0] = 1
    run = run_reference(read(graph(nodes, *edges, size=2)), spikes)
    assert [np.flatnonzero(run.spikes[:, k]).tolist() for k in (0, 1)] == [[0], [1]]


@pytest.mark.parametrize(
    ("reset", "v_reset", "wanted"), [("value", 0.25, 0.25), ("value", -1.0, -1.0), ("zero", 0.25, 0.0), ("subtract", 0.25, 1.5)]
)
def test_reset_kinds(reset: str, v_reset: float, wanted: float) -> None:
    net = read(graph({"n": lif(threshold=0.5, v_reset=v_reset)}, ("in", "n"), ("n", "out")), reset=reset)
    run = run_reference(net, np.array([[2]]), record="n")
    assert run.states["n"]["v"].item() == wanted
    assert run.spikes.item() == 1


def test_reset_by_node_with_a_default() -> None:
    g = graph({"a": lif(), "b": lif()}, ("in", "a"), ("in", "b"), ("a", "out"), ("b", "out"))
    run = run_reference(read(g, reset={"": "zero", "b": "subtract"}), np.array([[2]]), record=("a", "b"))
    assert [run.states[n]["v"].item() for n in "ab"] == [0.0, 1.5]


@pytest.mark.parametrize(
    ("integrator", "kept", "gain"),
    [("euler", 0.75, 0.25), ("exact", np.exp(-0.25), 1 - np.exp(-0.25)), ("exponential", np.exp(-0.25), 0.25)],
)
def test_integrators(integrator: str, kept: float, gain: float) -> None:
    ones = np.ones(1)
    net = read(
        graph({"n": nir.LI(tau=4 * DT * ones, r=2 * ones, v_leak=0 * ones)}, ("in", "n"), ("n", "out")), integrator=integrator
    )
    run = run_reference(net, np.array([[1], [0]]))
    np.testing.assert_allclose(run.outputs[:, 0], [2 * gain, 2 * gain * kept], rtol=1e-12)


def test_the_membrane_takes_the_new_synaptic_current() -> None:
    ones = np.ones(1)
    cell = nir.CubaLI(tau_syn=2 * DT * ones, tau_mem=2 * DT * ones, r=ones, v_leak=0 * ones, w_in=4 * ones)
    run = run_reference(read(graph({"n": cell}, ("in", "n"), ("n", "out"))), np.array([[1], [0]]), record="n")
    assert run.states["n"]["i"][:, 0].tolist() == [2.0, 1.0]
    assert run.outputs[:, 0].tolist() == [1.0, 1.0]


def test_a_bias_behind_delays_starts_late() -> None:
    nodes = {
        "b": nir.Affine(weight=np.zeros((2, 2)), bias=np.ones(2)),
        "d": nir.Delay(np.full(2, 2 * DT)),
        "w": nir.Linear(np.eye(2)),
        "e": nir.Delay(np.array([0.0, 1.0]) * DT),
        "n": relay(2),
    }
    run = run_reference(
        read(graph(nodes, ("in", "b"), ("b", "d"), ("d", "w"), ("w", "e"), ("e", "n"), ("n", "out"), size=2)), np.zeros((5, 2))
    )
    assert run.spikes.T.tolist() == [[0, 0, 1, 1, 1], [0, 0, 0, 1, 1]]


def test_a_recurrent_bias_acts_from_the_first_step() -> None:
    loop = nir.Affine(weight=np.zeros((1, 1)), bias=np.ones(1))
    net = read(graph({"n": relay(), "w": loop}, ("in", "n"), ("n", "w"), ("w", "n"), ("n", "out")))
    assert run_reference(net, np.zeros((3, 1))).spikes[:, 0].tolist() == [1, 1, 1]


def test_neurons_that_nothing_feeds_run() -> None:
    net = read(graph({"n": lif(leak=1.0), "m": relay()}, ("in", "m"), ("m", "out"), ("n", "out")))
    assert run_reference(net, np.zeros((2, 1))).outputs[:, 0].tolist() == [1.0, 1.0]


def test_nodes_may_stand_in_any_order() -> None:
    """A file lists its nodes alphabetically: a population with a recurrent input may come before the Input."""
    nodes = {"a": relay(), "b": relay(), "c": nir.Delay(np.array([DT]))}
    ends = {"x": nir.Input(np.array([1])), "y": nir.Output(np.array([1]))}
    edges = [("x", "b"), ("b", "c"), ("c", "a"), ("a", "b"), ("a", "y")]
    net = read(nir.NIRGraph({**nodes, **ends}, edges, type_check=False))
    assert fires_at(net, 6) == [1, 3, 5]


def test_names_with_arrows_do_not_mix_up_their_delays() -> None:
    late = {n: nir.Delay(np.full(1, 2 * DT)) for n in ("d", "e")}
    weak = nir.Linear(np.array([[0.25]]))
    nodes = {**late, "w": weak, "a": relay(), "a->b": relay(), "c": nir.I(np.ones(1) / DT), "b->c": nir.I(np.ones(1) / DT)}
    ends = {"in": nir.Input(np.array([1])), "o": nir.Output(np.array([1])), "p": nir.Output(np.array([1]))}
    edges = [
        ("in", "a"),
        ("in", "a->b"),
        ("a->b", "d"),
        ("d", "c"),
        ("a", "e"),
        ("e", "w"),
        ("w", "b->c"),
        ("c", "o"),
        ("b->c", "p"),
    ]
    net = read(nir.NIRGraph({**ends, **nodes}, edges, type_check=False))
    run = run_reference(net, np.array([[1], [0], [0]]))
    assert (run.outputs["o"][-1, 0], run.outputs["p"][-1, 0]) == (1.0, 0.25)
    assert len({p.name for p in net.projections}) == len(net.projections)


# -- canonical form


def leaky(k: float, leak: float = 0.0, r: float = 1.0) -> nir.LI:
    ones = np.ones(2)
    return nir.LI(tau=k * DT * ones, r=r * ones, v_leak=leak * ones)


def cuba(k: float, leak: float = 0.0, r: float = 1.0) -> nir.CubaLI:
    ones = np.ones(2)
    return nir.CubaLI(tau_syn=4 * DT * ones, tau_mem=k * DT * ones, r=r * ones, v_leak=leak * ones)


MIX = nir.Linear(np.array([[1, 0.5], [0.5, 1]])), nir.Linear(np.array([[0.25, 0.5], [0.5, 0.25]]))
THRESHOLD = nir.Threshold(np.full(2, 0.25))
CANONICAL: dict[str, tuple[dict[str, Any], list[tuple[str, str]]]] = {
    "a leaking LI with two ways into one neuron": (
        {"li": leaky(4, leak=1.0), "a": MIX[0], "b": MIX[1], "n": lif(2, threshold=0.6, k=4)},
        [("in", "li"), ("li", "a"), ("li", "b"), ("a", "n"), ("b", "n"), ("n", "out")],
    ),
    "an LI of gain 1 between CubaLI and Threshold": (
        {"c": cuba(4), "li": leaky(4, r=4.0), "t": THRESHOLD},
        [("in", "c"), ("c", "li"), ("li", "t"), ("t", "out")],
    ),
    "an LI that leaks without input, and a CubaLI, into a Threshold": (
        {"c": cuba(4), "li": leaky(2, leak=1.0), "t": THRESHOLD},
        [("in", "c"), ("c", "t"), ("li", "t"), ("t", "out")],
    ),
    "two LIs of different time constants": (
        {"a": leaky(2), "b": leaky(4), "n": lif(2, k=2, threshold=0.25)},
        [("in", "a"), ("in", "b"), ("a", "n"), ("b", "n"), ("n", "out")],
    ),
    "an LI called like the port of its target": (
        {"in_": relay(2), "x": leaky(4), "n": lif(2, k=2, threshold=0.25)},
        [("in", "in_"), ("in_", "x"), ("in_", "n"), ("x", "n"), ("n", "out")],
    ),
    "two CubaLIs of one membrane into a Threshold": (
        {"a": cuba(4, leak=0.125), "b": cuba(4, r=2.0), "t": THRESHOLD},
        [("in", "a"), ("in", "b"), ("a", "t"), ("b", "t"), ("t", "out")],
    ),
}


@pytest.mark.parametrize("name", CANONICAL)
def test_the_canonical_form_means_the_same(name: str) -> None:
    nodes, edges = CANONICAL[name]
    spikes = np.random.default_rng(0).integers(0, 2, (16, 2))
    assert_same_meaning(Case(graph(nodes, *edges, size=2), "value", "euler", {"in": spikes}, {"out": (2,)}))


def test_a_filter_called_in_keeps_the_port_in() -> None:
    ends = {"x": nir.Input(np.array([2])), "y": nir.Output(np.array([2]))}
    nodes = {"in": leaky(4), "r": relay(2), "n": lif(2, k=2, threshold=0.25)}
    edges = [("x", "r"), ("r", "in"), ("in", "n"), ("r", "n"), ("n", "y")]
    spikes = np.random.default_rng(0).integers(0, 2, (16, 2))
    assert_same_meaning(
        Case(nir.NIRGraph({**ends, **nodes}, edges, type_check=False), "value", "euler", {"x": spikes}, {"y": (2,)})
    )


def test_folding_leaves_fewer_populations() -> None:
    """Two LIs into one neuron become its two synapses; LI and Threshold become one neuron."""
    nodes, edges = CANONICAL["two LIs of different time constants"]
    small = canonical(read(graph(nodes, *edges, size=2)))
    assert list(small.populations) == ["in", "n"]
    assert len(small.populations["n"].ports) == 2
    nodes, edges = CANONICAL["two CubaLIs of one membrane into a Threshold"]
    small = canonical(read(graph(nodes, *edges, size=2)))
    assert list(small.populations) == ["in", "t"]
    assert set(small.populations["t"].nodes) == {"a", "b", "t"}


# -- what a run holds


def test_record_takes_nir_names_nested_ones_too() -> None:
    inner = nir.NIRGraph(
        {"i": nir.Input(np.array([2])), "lif": relay(2), "o": nir.Output(np.array([2]))},
        [("i", "lif"), ("lif", "o")],
        type_check=False,
    )
    net = read(graph({"cell": inner}, ("in", "cell"), ("cell", "out"), size=2))
    run = run_reference(net, np.ones((2, 3, 2)), record=("cell.lif", "in"))
    assert {k: a.shape for k, a in run.states["cell.lif"].items()} == {"spikes": (2, 3, 2), "v": (2, 3, 2)}
    assert run.states["in"]["spikes"].tolist() == np.ones((2, 3, 2)).tolist()
    assert run.latency["cell.lif"] == 0
    with pytest.raises(InputError) as caught:
        run_reference(net, np.ones((3, 2)), record=("lif",))
    assert caught.value.code == "NIRHW-E052"


def test_outputs_are_bare_when_there_is_one_and_a_dict_otherwise() -> None:
    one = run_reference(chain(), np.ones((4, 1)))
    assert one.spikes.shape == (4, 1) and one.spikes.dtype == np.uint8 and one.outputs is None
    ends = {"in": nir.Input(np.array([2])), "a": nir.Output(np.array([2])), "b": nir.Output(np.array([1]))}
    nodes = {"n": relay(2), "w": nir.Affine(np.ones((1, 2)), np.ones(1))}
    net = read(nir.NIRGraph({**ends, **nodes}, [("in", "n"), ("n", "a"), ("n", "w"), ("w", "b")], type_check=False))
    run = run_reference(net, np.ones((5, 4, 2)))
    assert {n: a.shape for n, a in run.spikes.items()} == {"a": (5, 4, 2)}
    assert {n: a.shape for n, a in run.outputs.items()} == {"b": (5, 4, 1)}
    assert run.outputs["b"].max() == 3.0


def test_several_inputs_are_a_dict() -> None:
    ends = {"a": nir.Input(np.array([1])), "b": nir.Input(np.array([1])), "out": nir.Output(np.array([1]))}
    net = read(nir.NIRGraph({**ends, "n": lif(threshold=1.5)}, [("a", "n"), ("b", "n"), ("n", "out")], type_check=False))
    ones = np.ones((2, 1))
    assert run_reference(net, {"a": ones, "b": ones}).spikes[:, 0].tolist() == [1, 1]
    assert run_reference(net, {"a": ones, "b": 0 * ones}).spikes[:, 0].tolist() == [0, 0]


def test_an_output_behind_a_flatten_has_the_shape_of_the_output() -> None:
    flat = nir.Flatten(np.array([2, 3]), 0, -1)
    ends = {"in": nir.Input(np.array([2, 3])), "out": nir.Output(np.array([6]))}
    cell = nir.LIF(**{k: np.full((2, 3), x) for k, x in {"tau": DT, "r": 1.0, "v_leak": 0.0, "v_threshold": 0.5}.items()})
    net = read(nir.NIRGraph({**ends, "n": cell, "f": flat}, [("in", "n"), ("n", "f"), ("f", "out")], type_check=False))
    assert run_reference(net, np.ones((4, 2, 3))).spikes.shape == (4, 6)


def test_runs_of_no_steps_and_of_no_samples_are_empty() -> None:
    assert run_reference(chain(), np.ones((0, 1))).spikes.shape == (0, 1)
    assert run_reference(chain(), np.ones((0, 4, 1))).spikes.shape == (0, 4, 1)


def test_every_stateful_kind_is_covered_by_the_graphs() -> None:
    assert set(STATEFUL) <= PRIMITIVES


# -- golden data


@pytest.mark.parametrize("reset", ["zero", "value"])
def test_braille_raster_of_snntorch_is_reproduced(reset: str, shared: Path, zoo: Callable[[str], Path]) -> None:
    """Published hidden raster of the NIR paper's network on the first test sample: 0 wrong of 9728 cells."""
    net = read_network(zoo("repo_braille_noDelay_bias_zero"), Semantics(1e-4, reset)).network
    run = run_reference(net, np.load(shared / "data" / "braille_test0_input.npy"), record="lif1.lif")
    wanted = np.load(shared / "data" / "snntorch_braille_noDelay_bias_zero.npy")
    assert int(np.count_nonzero(run.states["lif1.lif"]["spikes"] != wanted.reshape(256, 38))) == 0
    assert int(run.spikes.sum(axis=0).argmax()) == 1


@pytest.mark.parametrize("reset", ["zero", "value", "subtract"])
def test_braille_canonical_form_gives_the_same_bits(reset: str, shared: Path, zoo: Callable[[str], Path]) -> None:
    for name in ("repo_braille_noDelay_bias_zero", "repo_braille_noDelay_noBias_subtract"):
        net = read_network(zoo(name), Semantics(1e-4, reset)).network
        spikes = np.load(shared / "data" / "braille_test0_input.npy")
        first, second = (run_reference(n, spikes, record="lif1.lif") for n in (net, canonical(net)))
        assert np.array_equal(first.states["lif1.lif"]["spikes"], second.states["lif1.lif"]["spikes"])
        assert np.array_equal(first.spikes, second.spikes)


@pytest.mark.parametrize(
    ("integrator", "wanted"),
    [("euler", [460, 510, 710, 760]), ("exact", [460, 510, 710, 760]), ("exponential", [450, 500, 710, 760])],
)
def test_lif_of_the_nir_paper_fires_when_its_simulators_fire(
    integrator: str, wanted: list[int], shared: Path, zoo: Callable[[str], Path]
) -> None:
    """Norse, snnTorch and Nengo fire as "euler" does, Sinabs and Rockpool as "exponential" does."""
    net = read_network(zoo("repo_lif_norse"), Semantics(1e-4, integrator=integrator)).network
    spikes = np.loadtxt(shared / "data" / "lif_exact.csv", delimiter=",", ndmin=2)[:, :1]
    assert np.flatnonzero(run_reference(net, spikes).spikes[:, 0]).tolist() == wanted
