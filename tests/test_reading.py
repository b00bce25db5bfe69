"""What reading makes of a graph: the time step, shapes, checks, and one code for everything that can be wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

from nirhw.diagnostics import CODES, ERROR_OF_STAGE, MeaningError, NirhwError, ReadError, UsageError
from nirhw.network import Network
from nirhw.nir_reader import ReadResult, Semantics, read_network
from nirhw.raw import RawGraph, RawNode
from nirhw.reference import run_reference

DT = 1e-3


def full(value: float, size: int = 3, kind: str = "f8") -> np.ndarray:
    return np.full(size, value, kind)


def lif(size: int = 3, **fields: Any) -> nir.LIF:
    given = {"tau": full(0.01, size), "r": full(1, size), "v_leak": full(0, size), "v_threshold": full(1, size)}
    return nir.LIF(**(given | fields))


def graph(nodes: Mapping[str, Any], *edges: tuple[str, str], shape: tuple[int, ...] = (3,)) -> nir.NIRGraph:
    """Return a graph with an Input ``in`` and an Output ``out``; without edges its nodes form a row."""
    ends = {"in": nir.Input(np.array(shape)), "out": nir.Output(np.array(shape))}
    row = ["in", *nodes, "out"]
    return nir.NIRGraph({**ends, **nodes}, list(edges) or list(pairwise(row)), type_check=False)


def read(g: Any, dt: float | None = DT, **options: Any) -> Network:
    return read_network(g, Semantics(dt, **options)).network


def raw(nodes: Mapping[str, tuple[str, dict[str, Any]]], *edges: tuple[str, str], shape: tuple[int, ...] = (3,)) -> RawGraph:
    """Return a raw graph, whose fields no constructor has checked."""
    ends = {"in": ("Input", {"shape": np.array(shape)}), "out": ("Output", {"shape": np.array(shape)})}
    row = ["in", *nodes, "out"]
    return RawGraph({n: RawNode(*x) for n, x in {**ends, **nodes}.items()}, edges or tuple(pairwise(row)))


def warnings(network: Network) -> list[tuple[str, tuple[str, ...]]]:
    """Return code and nodes of what reading noticed, but for guesses about conventions, which have tests of their own."""
    guesses = ("NIRHW-W002", "NIRHW-W004", "NIRHW-W005")
    return [(d.code, d.nodes) for d in network.findings if d.code not in guesses]


def refusal(g: Any, code: str, dt: float | None = DT, **options: Any) -> NirhwError:
    """Read what must be refused; return the error after checking its first code and its type."""
    with pytest.raises(NirhwError) as caught:
        read(g, dt, **options)
    found = caught.value
    assert found.code == code, str(found)
    assert type(found) is ERROR_OF_STAGE[CODES[code].stage]
    return found


# -- dt: what each dialect tells


def cuba(tau_mem: float, tau_syn: float, r: float, w_in: float) -> nir.CubaLIF:
    return nir.CubaLIF(
        tau_mem=full(tau_mem), tau_syn=full(tau_syn), r=full(r), w_in=full(w_in), v_leak=full(0), v_threshold=full(1)
    )


def rockpool(tau: float, dt: float) -> nir.LIF:
    return lif(tau=full(tau), r=full(tau * np.exp(-dt / tau) / dt))


DIALECTS = {
    "snnTorch Leaky: r = tau/dt": ({"a": lif(tau=full(0.01), r=full(100)), "b": lif(tau=full(0.02), r=full(200))}, 1e-4),
    "snnTorch Synaptic: r = tau_mem/dt, w_in = tau_syn/dt": ({"a": cuba(2e-3, 1e-3, 20, 10), "b": cuba(1e-3, 5e-4, 10, 5)}, 1e-4),
    "w_in alone, r = 1 is silent": ({"a": cuba(2e-3, 1e-3, 1, 10), "b": cuba(1e-3, 5e-4, 1, 5)}, 1e-4),
    "r alone, w_in = 1 is silent": ({"a": cuba(2e-3, 1e-3, 20, 1), "b": cuba(1e-3, 5e-4, 10, 1)}, 1e-4),
    "SpikingJelly IF: r = 1/dt": ({"a": nir.IF(full(1e4), full(1)), "b": nir.IF(full(1e4), full(1))}, 1e-4),
    "IF and LIF agree": ({"a": nir.IF(full(1e4), full(1)), "b": lif(tau=full(0.01), r=full(100))}, 1e-4),
    "LI counts as LIF does": ({"a": nir.LI(full(0.01), full(10), full(0)), "b": lif(tau=full(0.02), r=full(20))}, 1e-3),
    "Rockpool, nodes of different tau": ({"a": rockpool(0.02, 1e-3), "b": rockpool(0.01, 1e-3)}, 1e-3),
    "float32 leaves noise": (
        {
            "a": lif(tau=full(0.013, kind="f4"), r=full(130, kind="f4")),
            "b": lif(tau=full(0.007, kind="f4"), r=full(70, kind="f4")),
        },
        1e-4,
    ),
    "a dt of many digits is kept": ({"a": nir.IF(full(3e4), full(1)), "b": nir.IF(full(3e4), full(1))}, 1 / 3e4),
    "IF with r = 1 counts in steps": ({"a": nir.IF(full(1), full(1))}, 1.0),
    "nothing depends on time": ({"t": nir.Threshold(full(0.5))}, 1.0),
}


@pytest.mark.parametrize("name", DIALECTS)
def test_dt_is_told_by_the_dialect(name: str) -> None:
    nodes, dt = DIALECTS[name]
    network = read(graph(nodes), dt=None)
    assert network.dt == pytest.approx(dt, rel=1e-9)
    assert not warnings(network)


UNKNOWN = {
    "r = 1 and w_in = 1 say nothing": {"a": cuba(2e-3, 1e-3, 1, 1)},
    "r below 1 says nothing": {"a": lif(r=full(0.5))},
    "IF with r = 1 beside a LIF does not count in steps": {"a": nir.IF(full(1), full(1)), "b": lif()},
    "two LIFs of one tau contradict": {"a": lif(r=full(10)), "b": lif(r=full(20))},
    "one node contradicts itself": {"a": lif(r=np.array([10.0, 10.0, 20.0]))},
    "r and w_in contradict": {"a": cuba(2e-3, 1e-3, 20, 5)},
    "an IF contradicts two LIFs that agree": {"a": nir.IF(full(50), full(1)), "b": lif(r=full(10)), "c": lif(r=full(10))},
    "three taus, no rule agrees": {"a": rockpool(0.02, 1e-3), "b": rockpool(0.01, 1e-3), "c": rockpool(0.03, 2e-3)},
    "Rockpool nodes agree, an IF does not": {
        "a": rockpool(0.02, 1e-3),
        "b": rockpool(0.01, 1e-3),
        "c": nir.IF(full(50), full(1)),
    },
    "only a delay depends on time": {"d": nir.Delay(full(1e-3))},
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_dt_is_asked_for_where_the_file_is_silent_or_contradicts_itself(name: str) -> None:
    found = refusal(graph(UNKNOWN[name]), "NIRHW-E020", dt=None)
    assert "dt" in found.diagnostics[0].fix
    assert read(graph(UNKNOWN[name]), dt=1e-4).dt == 1e-4


def test_a_contradiction_lists_what_each_node_says() -> None:
    found = refusal(graph({"a": lif(r=full(10)), "b": lif(r=full(20))}), "NIRHW-E020", dt=None).diagnostics[0]
    assert found.nodes == ("a", "b")
    assert "a: 0.001 s" in found.why
    assert "b: 0.0005 s" in found.why


def test_a_lone_node_is_a_warning() -> None:
    network = read(graph({"a": lif(r=full(100))}), dt=None)
    assert network.dt == 1e-4
    assert warnings(network) == [("NIRHW-W001", ("a",))]


def test_a_given_dt_wins() -> None:
    network = read(graph({"a": lif(r=full(100)), "b": lif(r=full(100))}), dt=5e-5)
    assert network.dt == 5e-5
    assert not warnings(network)


@pytest.mark.parametrize("dt", [0, -1e-3, float("nan"), float("inf"), "1e-3", True, np.array([1e-3])])
def test_dt_must_be_a_positive_number(dt: Any) -> None:
    with pytest.raises(UsageError, match="NIRHW-E002"):
        Semantics(dt)


def test_numpy_numbers_are_numbers() -> None:
    assert Semantics(np.float32(0.25)).dt == 0.25


@pytest.mark.parametrize("reset", [None, 3, "soft", ["value"], {"n": None}, {"n": "hard"}])
def test_unknown_reset_kinds_are_wrong_usage(reset: Any) -> None:
    with pytest.raises(UsageError, match="NIRHW-E002"):
        Semantics(DT, reset)


@pytest.mark.parametrize("name", ["nobody", "in", "t", 3])
def test_reset_by_node_takes_nodes_that_are_reset(name: Any) -> None:
    found = refusal(graph({"n": lif(), "t": nir.Threshold(full(1))}), "NIRHW-E002", reset={name: "zero"})
    assert "nodes with a reset: n" in str(found)


@pytest.mark.parametrize("integrator", ["rk4", None, []])
def test_unknown_integrators_are_wrong_usage(integrator: Any) -> None:
    with pytest.raises(UsageError, match="NIRHW-E002"):
        Semantics(DT, integrator=integrator)


# -- E021 .. E023: what the graph means


def test_euler_needs_dt_up_to_tau() -> None:
    short = lif(tau=np.array([0.01, 0.0005, 0.01]))
    found = refusal(graph({"n": short}), "NIRHW-E021").diagnostics[0]
    assert found.nodes == ("n",)
    assert "0.0005" in found.fix
    for integrator in ("exact", "exponential"):
        assert read(graph({"n": short}), integrator=integrator).populations["n"].membrane is not None


def test_dt_equal_to_tau_is_a_memoryless_filter() -> None:
    network = read(graph({"n": lif(tau=full(DT))}))
    assert network.populations["n"].membrane is not None
    assert network.populations["n"].membrane.decay.tolist() == [0.0, 0.0, 0.0]


def test_the_dialect_s_mend_is_named() -> None:
    """Norse before its fix multiplied tau by its own dt."""
    found = refusal(graph({"n": lif(tau=full(1e-5))}), "NIRHW-E021").diagnostics[0]
    assert "Norse" in found.fix


@pytest.mark.parametrize("delay", [1e30, 1e7])
def test_delays_in_the_wrong_unit_are_refused(delay: float) -> None:
    refusal(graph({"d": nir.Delay(full(delay)), "n": lif()}), "NIRHW-E021")


CYCLES = {
    "linear nodes": {"w": nir.Linear(np.eye(3)), "x": nir.Linear(np.eye(3))},
    "LI": {"w": nir.LI(full(0.01), full(1), full(0)), "x": nir.Linear(np.eye(3))},
    "CubaLI": {"w": nir.CubaLI(full(0.01), full(0.01), full(1), full(0)), "x": nir.Scale(full(1))},
    "a delay that rounds to 0": {"w": nir.Linear(np.eye(3)), "x": nir.Delay(full(0.4 * DT))},
    "a delay that is 0 for one neuron": {"w": nir.Linear(np.eye(3)), "x": nir.Delay(np.array([0, 1, 1]) * DT)},
    "LI and a delay that rounds to 0": {"w": nir.LI(full(0.01), full(1), full(0)), "x": nir.Delay(full(0.4 * DT))},
}
LOOP = (("in", "w"), ("w", "x"), ("x", "w"), ("w", "out"))


@pytest.mark.parametrize("name", CYCLES)
def test_a_cycle_needs_a_spiking_population_or_a_delay(name: str) -> None:
    refusal(graph(CYCLES[name], *LOOP), "NIRHW-E022")


@pytest.mark.parametrize(
    "nodes",
    [
        {"w": nir.Linear(0.5 * np.eye(3)), "x": nir.Delay(full(DT))},
        {"w": nir.LI(full(0.01), full(1), full(0)), "x": nir.Delay(full(0.5 * DT))},
        {"w": nir.LI(full(0.01), full(1), full(0)), "x": nir.Threshold(full(1))},
        {"w": lif(), "x": nir.Delay(full(0))},
    ],
    ids=["filter of linear nodes", "LI and half a step", "LI and Threshold", "LIF and no delay"],
)
def test_cycles_with_one_are_read(nodes: dict[str, Any]) -> None:
    read(graph(nodes, *LOOP)).verify()


def test_a_self_loop_of_a_linear_node_is_refused() -> None:
    refusal(graph({"w": nir.Linear(np.eye(3))}, ("in", "w"), ("w", "w"), ("w", "out")), "NIRHW-E022")


@pytest.mark.parametrize("kind", ["Input", "Output"])
def test_a_graph_needs_inputs_and_outputs(kind: str) -> None:
    whole = graph({"n": lif()})
    nodes = {n: x for n, x in whole.nodes.items() if type(x).__name__ != kind}
    edges = [e for e in whole.edges if set(e) <= nodes.keys()]
    refusal(nir.NIRGraph(nodes, edges, type_check=False), "NIRHW-E023")


def test_an_output_needs_something_that_arrives() -> None:
    ends = {"in": nir.Input(np.array([3])), "out": nir.Output(np.array([3])), "idle": nir.Output(np.array([3]))}
    refused = nir.NIRGraph({**ends, "n": lif()}, [("in", "n"), ("n", "out")], type_check=False)
    with pytest.raises(NirhwError) as caught:
        read(refused)
    assert caught.value.code in ("NIRHW-E018", "NIRHW-E023")
    assert "idle" in str(caught.value)


# -- E011, E013 .. E018: what stands in nodes and edges

FIELDS = {"tau": full(0.01), "r": full(1), "v_leak": full(0), "v_threshold": full(1)}
CONV = {"weight": np.ones((2, 3, 3)), "stride": 1, "padding": 0, "dilation": 1, "groups": 1, "bias": np.zeros(2)}
POOL = {"kernel_size": np.array([2, 2]), "stride": np.array([2, 2]), "padding": np.array([0, 0])}


@pytest.mark.parametrize("thing", [None, 3, {"nodes": {}}, lif(), [lif()]])
def test_what_is_no_graph_is_refused(thing: Any) -> None:
    refusal(thing, "NIRHW-E011")


def test_two_nodes_of_one_dotted_name_are_refused() -> None:
    inner = nir.NIRGraph({"i": nir.Input(np.array([3])), "b": lif(), "o": nir.Output(np.array([3]))}, [("i", "b"), ("b", "o")])
    found = refusal(graph({"a": inner, "a.b": lif()}), "NIRHW-E011")
    assert "a.b" in str(found)


def test_graphs_that_hold_themselves_are_refused() -> None:
    endless = graph({"n": lif()})
    endless.nodes["self"] = endless
    refusal(endless, "NIRHW-E013")


def test_unknown_types_are_refused() -> None:
    refusal(raw({"n": ("Foo", {})}), "NIRHW-E014")
    refusal(graph({"n": object()}), "NIRHW-E014")


@pytest.mark.parametrize("field", FIELDS)
def test_missing_fields_are_refused(field: str) -> None:
    found = refusal(raw({"n": ("LIF", {k: v for k, v in FIELDS.items() if k != field})}), "NIRHW-E015")
    assert f"'{field}'" in str(found)


@pytest.mark.parametrize(
    "kind", ["Linear", "Affine", "Conv1d", "Conv2d", "AvgPool2d", "Delay", "Scale", "CubaLI", "Threshold", "Input"]
)
def test_nodes_without_fields_are_refused(kind: str) -> None:
    refusal(raw({"n": (kind, {})}), "NIRHW-E015")


def test_names_that_need_escaping_do_not_hide_missing_fields() -> None:
    for name in ("a\x1b[1m", "a" * 500):
        found = refusal(raw({name: ("Affine", {"weight": np.eye(3)})}), "NIRHW-E015")
        assert "\x1b" not in str(found)


def test_extra_fields_are_refused() -> None:
    found = refusal(raw({"n": ("LIF", {**FIELDS, "refractory": full(1), "alpha": full(1)})}), "NIRHW-E015")
    assert [d.what for d in found.diagnostics] == ["LIF has no field 'alpha'", "LIF has no field 'refractory'"]


@pytest.mark.parametrize(
    "value",
    [full(1j, kind="c16"), np.array(["a", "b", "c"]), np.array([None] * 3), "0.01", [[1], [1, 2]], object()],
    ids=["complex", "text", "objects", "a text", "ragged", "an object"],
)
def test_data_that_is_not_real_numbers_is_refused(value: Any) -> None:
    refusal(raw({"n": ("LIF", {**FIELDS, "tau": value})}), "NIRHW-E015")


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused(field: str, value: float) -> None:
    refusal(raw({"n": ("LIF", {**FIELDS, field: np.array([1.0, value, 1.0])})}), "NIRHW-E016")


@pytest.mark.parametrize("tau", [0.0, -0.01])
def test_time_constants_are_positive(tau: float) -> None:
    refusal(graph({"n": lif(tau=np.array([0.01, tau, 0.01]))}), "NIRHW-E016")
    refusal(graph({"n": cuba(0.01, tau, 1, 1)}), "NIRHW-E016")


def test_delays_are_not_negative() -> None:
    refusal(graph({"d": nir.Delay(np.array([0.0, -DT, 0.0])), "n": lif()}), "NIRHW-E016")


@pytest.mark.parametrize(
    "change",
    [
        {"stride": 0}, {"stride": 1.5}, {"padding": -1}, {"padding": "mirror"}, {"dilation": 0}, {"groups": 0}, {"groups": np.array([])},
        {"groups": np.array([1, 1])}, {"stride": 1 << 40},
    ],
    ids=str,
)  # fmt: skip
def test_layout_fields_have_a_domain(change: dict[str, Any]) -> None:
    refusal(raw({"n": ("Conv1d", {**CONV, **change})}, shape=(3, 8)), "NIRHW-E016")


SHAPES: dict[str, tuple[RawGraph, str]] = {
    "weight of one axis": (raw({"n": ("Linear", {"weight": np.ones(3)})}), "axes"),
    "Conv2d with the weight of a Conv1d": (raw({"n": ("Conv2d", CONV)}, shape=(3, 8)), "axes"),
    "bias of another size": (raw({"n": ("Affine", {"weight": np.eye(3), "bias": np.ones(2)})}), "bias"),
    "conv bias of another size": (raw({"n": ("Conv1d", {**CONV, "bias": np.ones(3)})}, shape=(3, 8)), "bias"),
    "groups that do not divide": (raw({"n": ("Conv1d", {**CONV, "groups": 3})}, shape=(9, 8)), "groups"),
    "three strides": (raw({"n": ("Conv1d", {**CONV, "stride": np.ones(3)})}, shape=(3, 8)), "stride"),
    "no stride": (raw({"n": ("Conv1d", {**CONV, "stride": np.array([])})}, shape=(3, 8)), "stride"),
    "channels that do not arrive": (raw({"n": ("Conv1d", CONV)}, shape=(2, 8)), "channels"),
    "input_shape of another plane": (raw({"n": ("Conv1d", {**CONV, "input_shape": 9})}, shape=(3, 8)), "input_shape"),
    "a plane below the kernel": (raw({"n": ("Conv1d", CONV)}, shape=(3, 2)), "kernel"),
    "a plane below the pool": (raw({"n": ("SumPool2d", POOL)}, shape=(1, 1, 4)), "kernel"),
    "a pool of vectors": (raw({"n": ("SumPool2d", POOL)}), "pooling"),
    "flattened axes that are not there": (raw({"n": ("Flatten", {"start_dim": 2, "end_dim": 3})}), "flatten"),
    "parameters of different shapes": (raw({"n": ("LIF", {**FIELDS, "r": full(1, 2)})}), "different shapes"),
    "v_reset of another shape": (raw({"n": ("LIF", {**FIELDS, "v_reset": full(1, 2)})}), "different shapes"),
    "empty parameters": (raw({"n": ("LIF", {k: v[:0] for k, v in FIELDS.items()})}), "empty"),
    "empty delays": (raw({"n": ("Delay", {"delay": full(0, 0)})}), "empty"),
    "empty weight": (raw({"n": ("Linear", {"weight": np.ones((0, 3))})}), "empty"),
    "a layer of another size": (raw({"n": ("Linear", {"weight": np.ones((4, 3))}), "m": ("LIF", FIELDS)}), "(4,) leaves 'n'"),
    "an output of another size": (raw({"n": ("Linear", {"weight": np.ones((4, 3))})}), "Output says"),
    "nothing that tells a shape": (
        raw({"n": ("LIF", FIELDS), "f": ("Flatten", {})}, ("in", "n"), ("n", "out")),
        "shape cannot be told",
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_that_do_not_fit_are_refused(name: str) -> None:
    refused, text = SHAPES[name]
    assert text in str(refusal(refused, "NIRHW-E018"))


EDGES: dict[str, tuple[tuple[tuple[str, str], ...], str]] = {
    "dangling source": ((("in", "n"), ("n", "out"), ("ghost", "n")), "ghost"),
    "dangling target": ((("in", "n"), ("n", "out"), ("n", "ghost")), "ghost"),
    "written twice": ((("in", "n"), ("n", "out"), ("in", "n")), "twice"),
    "out of an Output": ((("in", "n"), ("n", "out"), ("out", "n")), "'out' is an Output"),
    "into an Input": ((("in", "n"), ("n", "out"), ("n", "in")), "'in' is an Input"),
}


@pytest.mark.parametrize("name", EDGES)
def test_edges_that_cannot_be_followed_are_refused(name: str) -> None:
    edges, text = EDGES[name]
    assert text in str(refusal(graph({"n": lif()}, *edges), "NIRHW-E017"))


def test_sub_graphs_have_one_port_on_the_side_of_an_edge() -> None:
    two = nir.NIRGraph(
        {"a": nir.Input(np.array([3])), "b": nir.Input(np.array([3])), "n": lif(), "o": nir.Output(np.array([3]))},
        [("a", "n"), ("b", "n"), ("n", "o")],
        type_check=False,
    )
    assert "port" in str(refusal(graph({"cell": two}), "NIRHW-E017"))


def test_every_finding_of_a_stage_is_told_at_once() -> None:
    found = refusal(raw({"a": ("Foo", {}), "b": ("LIF", {**FIELDS, "tau": full(-1)}), "c": ("Linear", {})}), "NIRHW-E014")
    assert {d.code for d in found.diagnostics} == {"NIRHW-E014", "NIRHW-E016", "NIRHW-E015"}
    assert {d.nodes[0] for d in found.diagnostics} == {"a", "b", "c"}


def test_errors_are_of_the_stage_that_failed() -> None:
    assert issubclass(ReadError, NirhwError)
    assert issubclass(MeaningError, NirhwError)
    assert not issubclass(MeaningError, ReadError)


# -- what is understood


def shapes(network: Network) -> dict[str, tuple[int, ...]]:
    return {n: p.shape for n, p in network.populations.items()}


@pytest.mark.parametrize("shape", [(3,), (1, 3), (1, 1, 3)])
def test_leading_axes_of_one_are_dropped(shape: tuple[int, ...]) -> None:
    network = read(graph({"w": nir.Linear(np.eye(3)), "n": lif()}, shape=shape))
    assert shapes(network) == {"in": (3,), "n": (3,)}
    assert run_reference(network, np.ones((2, 3))).spikes.shape == (2, 3)
    assert not warnings(network)


def test_other_leaked_axes_are_dropped_with_a_warning() -> None:
    network = read(graph({"w": nir.Linear(np.eye(3)), "n": lif()}, shape=(4, 3)))
    assert shapes(network) == {"in": (3,), "n": (3,)}
    assert warnings(network) == [("NIRHW-W006", ("in",)), ("NIRHW-W006", ("out",))]


def test_no_axis_that_a_neighbour_needs_is_dropped() -> None:
    conv = nir.Conv2d(None, np.ones((1, 1, 3, 3)), 1, 1, 1, 1, np.zeros(1))
    network = read(graph({"c": conv, "n": lif(size=(1, 8, 8))}, shape=(1, 1, 8, 8)))
    assert shapes(network) == {"in": (1, 8, 8), "n": (1, 8, 8)}


@pytest.mark.parametrize("shape", [(), (1,), (1, 1), (1, 1, 1)])
def test_a_single_neuron_keeps_one_axis(shape: tuple[int, ...]) -> None:
    network = read(graph({"w": nir.Linear(np.ones((1, 1))), "n": lif(1)}, shape=shape))
    assert shapes(network) == {"in": (1,), "n": (1,)}
    plain = read(graph({"n": lif(1)}, shape=shape))
    assert plain.populations["n"].size == plain.populations["in"].size == 1


@pytest.mark.parametrize("form", [(), (1,), (1, 1, 1)])
def test_one_parameter_serves_the_whole_layer(form: tuple[int, ...]) -> None:
    node = lif(**{k: np.full(form, x) for k, x in {"tau": 0.01, "r": 1.0, "v_leak": 0.0, "v_threshold": 0.25}.items()})
    network = read(
        graph({"w": nir.Linear(np.eye(3)), "n": node, "d": nir.Delay(np.full(form, DT)), "s": nir.Scale(np.full(form, 2.0))})
    )
    assert shapes(network)["n"] == (3,)
    assert network.populations["n"].threshold is not None
    assert network.populations["n"].threshold.tolist() == [0.25] * 3


def test_absent_v_reset_and_w_in_are_0_and_1() -> None:
    fields = {"tau_syn": full(0.01), "tau_mem": full(0.01), "r": full(1), "v_leak": full(0), "v_threshold": full(1)}
    pop = read(raw({"n": ("CubaLIF", fields)})).populations["n"]
    assert pop.v_reset is not None
    assert pop.v_reset.tolist() == [0.0] * 3
    assert pop.ports[0].gain.tolist() == pytest.approx([0.1] * 3)


def test_whole_numbers_and_float32_become_float64() -> None:
    network = read(raw({"n": ("LIF", {**FIELDS, "v_threshold": np.ones(3, np.int64), "tau": full(0.01, kind="f4")})}))
    assert network.populations["n"].threshold is not None
    assert network.populations["n"].threshold.dtype == np.float64


def test_reading_leaves_the_caller_s_arrays_alone() -> None:
    node = nir.Linear(np.eye(3))
    network = read(graph({"w": node, "n": lif()}))
    node.weight[...] = 7  # still writable, and no longer what the network holds
    assert run_reference(network, np.eye(3)[None]).spikes.shape == (1, 3, 3)
    assert network.projections[0].operator.matrix.toarray().tolist() == np.eye(3).tolist()


@pytest.mark.parametrize(
    ("kernel", "padding", "stride", "dilation", "wanted"),
    [
        ((3, 5), (1, 2), 1, 1, (4, 12, 12)),
        ((3, 5), "same", 1, 1, (4, 12, 12)),
        ((3, 3), "same", 2, 1, (4, 6, 6)),
        ((2, 3), "valid", 1, 1, (4, 11, 10)),
        ((2, 3), 0, (2, 3), (3, 1), (4, 5, 4)),
        ((4, 4), "same", 1, 1, (4, 12, 12)),
    ],
)
def test_planes_are_computed_by_axis(kernel: Any, padding: Any, stride: Any, dilation: Any, wanted: tuple[int, ...]) -> None:
    """nir's own type inference is wrong for non-square kernels, and for "same" padding with a stride."""
    for groups in (1, 2):
        conv = nir.Conv2d(None, np.ones((4, 2 // groups, *kernel)), stride, padding, dilation, groups, np.zeros(4))
        ends = {"in": nir.Input(np.array([2, 12, 12])), "out": nir.Output(np.array(wanted))}
        network = read(nir.NIRGraph({**ends, "c": conv}, [("in", "c"), ("c", "out")], type_check=False))
        assert shapes(network)["out"] == wanted


@pytest.mark.parametrize(
    ("start", "end", "wanted"), [(0, -1, (24,)), (1, -1, (2, 12)), (0, 1, (6, 4)), (1, 2, (2, 12)), (-2, -1, (2, 12))]
)
def test_flatten_counts_axes_without_the_batch(start: int, end: int, wanted: tuple[int, ...]) -> None:
    flat = raw(
        {
            "f": ("Flatten", {"input_type": np.array([2, 3, 4]), "start_dim": start, "end_dim": end}),
            "s": ("Scale", {"scale": 1.0}),
        }
    )
    nodes = {**flat.nodes, "in": RawNode("Input", {"shape": [2, 3, 4]}), "out": RawNode("Output", {"shape": wanted})}
    assert shapes(read(RawGraph(nodes, flat.edges)))["out"] == wanted


def test_flatten_over_a_leaked_batch_axis() -> None:
    flat = ("Flatten", {"input_type": np.array([1, 2, 3, 4]), "start_dim": 1, "end_dim": -1})
    conv = {**CONV, "weight": np.ones((2, 1, 1, 1))}
    net = raw({"c": ("Conv2d", conv), "f": flat, "w": ("Linear", {"weight": np.ones((3, 24))})})
    nodes = {**net.nodes, "in": RawNode("Input", {"shape": [1, 1, 3, 4]})}
    assert shapes(read(RawGraph(nodes, net.edges))) == {"in": (1, 3, 4), "out": (3,)}


def test_leading_axes_of_a_weight_are_blocks() -> None:
    weight = np.arange(12.0).reshape(2, 2, 3)
    for bias in (np.array([1.0, 2.0]), np.array([[1.0, 2.0], [1.0, 2.0]])):
        ends = {"in": nir.Input(np.array([2, 3])), "out": nir.Output(np.array([2, 2]))}
        g = nir.NIRGraph({**ends, "w": nir.Affine(weight, bias)}, [("in", "w"), ("w", "out")], type_check=False)
        got = run_reference(read(g), np.array([[[1, 0, 0], [0, 0, 1]]])).outputs
        assert got.tolist() == [[[1.0, 5.0], [9.0, 13.0]]]


def recurrent_cell(entry: str) -> nir.NIRGraph:
    nodes = {"input": nir.Input(np.array([3])), "lif": lif(), "w_rec": nir.Linear(np.eye(3)), "output": nir.Output(np.array([3]))}
    edges = [("input", entry), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output")]
    return nir.NIRGraph(nodes, edges, type_check=False)


@pytest.mark.parametrize("entry", ["lif", "w_rec"])
def test_nested_recurrence_is_inlined_in_both_layouts(entry: str) -> None:
    network = read(graph({"a": nir.Linear(np.eye(3)), "cell": recurrent_cell(entry)}))
    assert list(network.populations) == ["in", "cell.lif"]
    assert {(p.source, p.recurrent, p.max_delay) for p in network.into("cell.lif")} == {("in", False, 0), ("cell.lif", True, 1)}
    assert network.outputs == {"out": "cell.lif"}


def test_sub_graphs_nest() -> None:
    middle = nir.NIRGraph(
        {"i": nir.Input(np.array([3])), "inner": recurrent_cell("lif"), "o": nir.Output(np.array([3]))},
        [("i", "inner"), ("inner", "o")],
        type_check=False,
    )
    assert list(read(graph({"outer": middle})).populations) == ["in", "outer.inner.lif"]


def test_nodes_without_a_way_out_are_a_warning() -> None:
    network = read(graph({"n": lif(), "lost": lif()}, ("in", "n"), ("n", "out"), ("n", "lost")))
    assert warnings(network) == [("NIRHW-W003", ("lost",))]


@pytest.mark.parametrize(
    ("delay", "steps", "off"),
    [(0.49, 0, True), (0.5, 1, True), (1.0, 1, False), (1.5, 2, True), (2.4999, 2, True), (3.0, 3, False)],
)
def test_delays_round_half_up_and_the_error_is_in_the_ledger(delay: float, steps: int, off: bool) -> None:
    result: ReadResult = read_network(graph({"d": nir.Delay(full(delay * DT)), "n": lif()}), Semantics(DT))
    (proj,) = result.network.into("n")
    assert proj.max_delay == proj.min_delay == steps
    assert [(d.kind, d.rule, d.nodes) for d in result.deviations] == ([("rounded", "delay-steps", ("d",))] if off else [])


def test_delays_that_differ_by_neuron_stay_by_neuron() -> None:
    by_source = read(graph({"d": nir.Delay(np.array([0, 1, 2]) * DT), "w": nir.Linear(np.ones((3, 3))), "n": lif()}))
    (proj,) = by_source.into("n")
    assert (proj.delay_by, proj.delay.tolist()) == ("source", [0, 1, 2])


def test_deep_rows_of_linear_nodes_are_read() -> None:
    """More nodes in a row than Python has stack frames."""
    read(graph({f"s{k}": nir.Scale(full(1)) for k in range(1500)})).verify()


def test_many_parallel_paths_do_not_multiply() -> None:
    nodes: dict[str, Any] = {}
    edges = [("in", "s0")]
    for k in range(20):  # 2 ** 20 paths
        nodes |= {f"{x}{k}": nir.Scale(full(0.5)) for x in "sab"}
        edges += [(f"s{k}", f"a{k}"), (f"s{k}", f"b{k}"), (f"a{k}", f"s{k + 1}"), (f"b{k}", f"s{k + 1}")]
    nodes["s20"] = nir.Scale(full(1.0))
    network = read(graph(nodes, *edges, ("s20", "out")))
    assert len(network.projections) < 2000
    assert run_reference(network, np.ones((1, 3))).outputs.tolist() == [[0.25**20 * 2**20] * 3]
    nodes |= {"n": lif(), "back": nir.Scale(full(1))}
    looped = graph(nodes, *edges, ("s20", "n"), ("n", "back"), ("back", "s0"), ("n", "out"))
    refusal(looped, "NIRHW-E013")


def test_findings_come_in_the_same_order_every_time() -> None:
    bad = raw({"n": ("LIF", {**FIELDS, **{f"x{k}": 1 for k in range(9)}})})
    assert [d.what[-3:-1] for d in refusal(bad, "NIRHW-E015").diagnostics] == [f"x{k}" for k in range(9)]


# -- graphs of exporters

#: what each sample graph says, or has to be told: dt told, dt given, shape of input and output
ZOO: dict[str, tuple[float | None, float | None, tuple[int, ...], tuple[int, ...]]] = {
    "norse_conv_iaf": (1.0, None, (2, 12, 12), (2, 5, 5)),
    "norse_lifbox_dt1": (None, 1e-3, (12,), (5,)),
    "repo_braille_noDelay_bias_zero": (1e-4, None, (12,), (7,)),
    "repo_braille_noDelay_noBias_subtract": (1e-4, None, (12,), (7,)),
    "repo_cnn_sinabs": (1.0, None, (2, 34, 34), (10,)),
    "repo_lif_norse": (None, 1e-4, (1,), (1,)),
    "repo_lif_rockpool": (1.04081e-4, None, (1,), (1,)),
    "repo_two_lif_neurons": (None, 1e-4, (1,), (1,)),
    "rockpool_lif_ff": (1.05127e-3, None, (12,), (5,)),
    "sinabs_iaf_ff": (1.0, None, (12,), (5,)),
    "sinabs_lif_scalar": (None, 1.0, (12,), (5,)),
    "sj_conv_avgpool": (1e-4, None, (2, 12, 12), (5,)),
    "sj_lif_ff": (1e-4, None, (12,), (5,)),
    "sj_skip": (None, 1e-4, (12,), (20,)),
    "snntorch_conv_stride": (1e-4, None, (2, 12, 12), (5,)),
    "snntorch_ff_leaky": (1e-4, None, (12,), (5,)),
    "snntorch_rleaky": (1e-4, None, (12,), (5,)),
    "snntorch_synaptic": (1e-4, None, (12,), (5,)),
    "spyx_psu_lif": (None, 1e-4, (12,), (5,)),
    "spyx_rlif": (None, 1e-4, (12,), (5,)),
}


@pytest.mark.parametrize("name", ZOO)
def test_graphs_of_exporters_are_read(name: str, zoo: Callable[[str], Path]) -> None:
    told, given, wanted_in, wanted_out = ZOO[name]
    if told is None:
        refusal(zoo(name), "NIRHW-E020", dt=None)
    network = read(zoo(name), dt=given)
    network.verify()
    assert network.dt == pytest.approx(told if given is None else given, rel=1e-4)
    ((_, source),), ((_, target),) = network.inputs.items(), network.outputs.items()
    assert network.populations[source].shape == wanted_in
    assert network.populations[target].shape == wanted_out
    spikes = np.random.default_rng(0).integers(0, 2, (20, *wanted_in))
    run = run_reference(network, spikes)
    got = run.outputs if run.spikes is None else run.spikes
    assert got.shape == (20, *wanted_out)
    assert np.isfinite(got).all()


def test_the_list_of_sample_graphs_is_complete(shared: Path) -> None:
    there = {p.stem for p in (shared / "zoo").glob("*.nir")}
    assert there - {f"repo_braille_{x}_subgraph" for x in ("noDelay_bias_zero", "noDelay_noBias_subtract")} == ZOO.keys()


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("malformed/cyclic_soft_link", "NIRHW-E012"),
        ("malformed/dup_edges", "NIRHW-E017"),
        ("malformed/edge_to_nonexistent", "NIRHW-E017"),
        ("malformed/no_node", "NIRHW-E011"),
        ("malformed/tau_NaN", "NIRHW-E016"),
        ("malformed/text", "NIRHW-E010"),
        ("malformed/trunc", "NIRHW-E010"),
        ("malformed/unknown_type", "NIRHW-E014"),
        ("repo_braille_noDelay_bias_zero_subgraph", "NIRHW-E017"),
        ("repo_braille_noDelay_noBias_subtract_subgraph", "NIRHW-E017"),
    ],
)
def test_damaged_sample_graphs_are_refused(name: str, code: str, zoo: Callable[[str], Path]) -> None:
    refusal(zoo(name), code)


def test_a_file_that_is_not_there_is_wrong_usage(tmp_path: Path) -> None:
    refusal(tmp_path / "none.nir", "NIRHW-E005")
