"""What each exporter's graphs mean: the float reference against the exporter's own update rule, written out here by hand.

Graphs are built as the exporter builds them (its formulas for tau, r and w_in, its names and layouts), once as an object and once
as a file.  Sources of the rules: snntorch 1.0.0, norse 1.1.0, sinabs 3.1.3, rockpool 3.1.0, spikingjelly 2.0.0, spyx 1.0.0 as
published, and the converters of Nengo and Lava-DL in neuromorphs/NIR, docs/source/examples.  tests/exporters compares with the
packages themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest

from nirhw.diagnostics import NirhwError
from nirhw.nir_reader import Semantics, read_network
from nirhw.reference import run_reference

N, STEPS, DT = 8, 60, 1e-4
Array = np.ndarray
SPIKES = (np.random.default_rng(0).random((STEPS, N)) < 0.4).astype(np.float64)


def full(value: float, size: Any = N) -> Array:
    return np.full(size, float(value))


def weights(post: int = N, pre: int = N, seed: int = 0, scale: float = 1.0) -> Array:
    return np.random.default_rng(seed).normal(0.3, 1.0, (post, pre)) * scale / np.sqrt(pre)


W, REC = weights(), weights(seed=1, scale=0.7)
BIAS = np.random.default_rng(2).normal(0, 0.05, N)
BETA, ALPHA = np.linspace(0.5, 0.95, N), np.linspace(0.3, 0.8, N)


def graph(nodes: dict[str, Any], edges: Iterable[tuple[str, str]] = (), shape: Any = (N,), out: Any = (N,)) -> nir.NIRGraph:
    """Return a graph between "input" and "output"; without edges its nodes form a row."""
    ends = {"input": nir.Input(np.array(shape)), "output": nir.Output(np.array(out))}
    row = ["input", *nodes, "output"]
    return nir.NIRGraph({**ends, **nodes}, list(edges) or list(pairwise(row)), type_check=False)


@pytest.fixture(params=["object", "file"])
def given(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[nir.NIRGraph], Any]:
    """Hand a graph to the reader as it is, or by way of a file."""

    def pass_on(made: nir.NIRGraph) -> Any:
        if request.param == "object":
            return made
        nir.write(str(tmp_path / "graph.nir"), made)
        return tmp_path / "graph.nir"

    return pass_on


def output(source: Any, dt: float | None = None, spikes: Array = SPIKES, **options: Any) -> Array:
    """Return what leaves the network, spikes or analog values, ``(STEPS, ...)``."""
    run = run_reference(read_network(source, Semantics(dt, **options)).network, spikes)
    return np.asarray(run.outputs if run.spikes is None or np.size(run.spikes) == 0 else run.spikes, np.float64)


# -- exporters' update rules, one step; state in, (output, state) out

Step = Callable[[Array, Any], tuple[Array, Any]]


def simulate(step: Step, drive: Array) -> Array:
    rows, state = [], None
    for row in drive:
        out, state = step(row, state)
        rows.append(out)
    return np.stack(rows)


def snntorch_leaky(beta: Any, recurrent: Callable[[Array], Array] | None = None) -> Step:
    """Leaky and RLeaky, reset_mechanism="zero", the reset in the step of the spike."""

    def step(x: Array, state: Any) -> tuple[Array, Any]:
        mem, spk = state or (0.0, np.zeros(N))
        mem = beta * mem + x + (recurrent(spk) if recurrent else 0.0)
        spk = (mem - 1.0 > 0).astype(float)
        return spk, (mem - spk * mem, spk)

    return step


def snntorch_synaptic(alpha: Any, beta: Any) -> Step:
    def step(x: Array, state: Any) -> tuple[Array, Any]:
        syn, mem = state or (0.0, 0.0)
        syn = alpha * syn + x
        mem = beta * mem + syn
        spk = (mem - 1.0 > 0).astype(float)
        return spk, (syn, mem - spk * mem)

    return step


def norse_lif_box(tau_mem_inv: float, dt: float = 1e-3) -> Step:
    def step(x: Array, v: Any) -> tuple[Array, Any]:
        v = 0.0 if v is None else v
        v = v + dt * tau_mem_inv * (x + 0.0 - v)
        z = (v - 1.0 > 0).astype(float)
        return z, (1 - z) * v

    return step


def norse_iaf(x: Array, v: Any) -> tuple[Array, Any]:
    v = (0.0 if v is None else v) + x
    z = (v - 1.0 > 0).astype(float)
    return z, (1 - z) * v


def norse_lif(tau_syn_inv: float, tau_mem_inv: float, dt: float = 1e-3) -> Step:
    def step(x: Array, state: Any) -> tuple[Array, Any]:
        v, i = state or (0.0, 0.0)
        i = i + x
        v = v + dt * tau_mem_inv * ((0.0 - v) + i)
        z = (v - 1.0 > 0).astype(float)
        return z, ((1 - z) * v, i - dt * tau_syn_inv * i)

    return step


def sinabs_iaf(x: Array, v: Any) -> tuple[Array, Any]:
    """IAF with SingleSpike and membrane subtraction."""
    v = (0.0 if v is None else v) + x
    spikes = (v - 1.0 >= 0).astype(float)
    return spikes, v - spikes


def sinabs_lif(tau: float) -> Step:
    """LIF with norm_input, its default."""
    alpha = np.exp(-1.0 / tau)

    def step(x: Array, v: Any) -> tuple[Array, Any]:
        v = alpha * (0.0 if v is None else v) + (1 - alpha) * x
        spikes = (v - 1.0 >= 0).astype(float)
        return spikes, v - spikes

    return step


def rockpool_lif_neuron(tau: Any, dt: float, arrives: float | Array = 1.0) -> Step:
    """LIFNeuronTorch; ``arrives`` is the share of the drive that a step adds (all of it in Rockpool)."""

    def step(x: Array, v: Any) -> tuple[Array, Any]:
        v = np.exp(-dt / tau) * (0.0 if v is None else v) + arrives * x
        spikes = (v >= 1.0).astype(float)
        return spikes, v - spikes

    return step


def rockpool_lif(tau_syn: float, tau_mem: float, dt: float) -> Step:
    def step(x: Array, state: Any) -> tuple[Array, Any]:
        isyn, v = state or (0.0, 0.0)
        isyn = (isyn + x) * np.exp(-dt / tau_syn)
        v = v * np.exp(-dt / tau_mem) + isyn
        spikes = (v >= 1.0).astype(float)
        return spikes, (isyn, v - spikes)

    return step


def spikingjelly_lif(tau: float, decay_input: bool, v_reset: float, threshold: float) -> Step:
    def step(x: Array, v: Any) -> tuple[Array, Any]:
        v = 0.0 if v is None else v
        v = v + (x - (v - v_reset)) / tau if decay_input else v - (v - v_reset) / tau + x
        spike = (v >= threshold).astype(float)
        return spike, (1 - spike) * v + spike * v_reset

    return step


def spyx_if(x: Array, v: Any) -> tuple[Array, Any]:
    """The spike of a step is that of the membrane before it: one step late."""
    v = np.zeros(N) if v is None else v
    spikes = (v - 1.0 > 0).astype(float)
    return spikes, v + x - spikes


def spyx_cubalif(alpha: Any, beta: Any) -> Step:
    def step(x: Array, state: Any) -> tuple[Array, Any]:
        v, i = state or (np.zeros(N), 0.0)
        spikes = (v - 1.0 > 0).astype(float)
        v = v - spikes
        i = alpha * i + x
        return spikes, (beta * v + i, i)

    return step


def spyx_psu(beta: Any) -> Step:
    def step(x: Array, v: Any) -> tuple[Array, Any]:
        v = beta * (0.0 if v is None else v) + x
        return (v - 1.0 > 0).astype(float), v

    return step


# -- the exporters' nodes


def snntorch_node(beta: Any, alpha: Any = None) -> Any:
    tau = DT / (1 - beta) * np.ones(N)
    common = {"r": tau / DT, "v_leak": full(0), "v_threshold": full(1), "v_reset": full(0)}
    if alpha is None:
        return nir.LIF(tau=tau, **common)
    tau_syn = DT / (1 - alpha) * np.ones(N)
    return nir.CubaLIF(tau_syn=tau_syn, tau_mem=tau, w_in=tau_syn / DT, **common)


def plain_lif(tau: Any, r: Any = 1.0, **fields: Any) -> nir.LIF:
    given = {"tau": full(1) * tau, "r": full(1) * r, "v_leak": full(0), "v_threshold": full(1)}
    return nir.LIF(**(given | fields))


@dataclass(frozen=True)
class Rule:
    """A graph, how it is read, the exporter's own rule for its neurons, and by how many steps that is late."""

    graph: Callable[[], nir.NIRGraph]
    step: Step
    options: dict[str, Any]
    gain: float = 1.0
    lag: int = 0


def row(*nodes: Any, gain: float = 1.0) -> Callable[[], nir.NIRGraph]:
    return lambda: graph({"0": nir.Affine(W * gain, BIAS * gain)} | {str(k + 1): node for k, node in enumerate(nodes)})


SOFT: dict[str, Any] = {"reset": "subtract"}
SJ = {"v_threshold": full(0.8), "v_reset": full(-0.1), "v_leak": full(-0.1)}
TAUS = np.linspace(0.01, 0.04, N)
SYN = DT / (1 - ALPHA)

RULES: dict[str, Rule] = {
    "snntorch Leaky": Rule(row(snntorch_node(BETA)), snntorch_leaky(BETA), {}),
    "snntorch Synaptic": Rule(row(snntorch_node(BETA, ALPHA)), snntorch_synaptic(ALPHA, BETA), {}),
    "norse LIFBox": Rule(row(plain_lif(1 / 100.0), gain=6), norse_lif_box(100.0), {"dt": 1e-3}, 6),
    "norse LIF, w_in mended": Rule(
        row(
            nir.CubaLIF(
                tau_syn=full(1 / 200), tau_mem=full(1 / 100), r=full(1), v_leak=full(0), v_threshold=full(1), w_in=full(5)
            )
        ),
        norse_lif(200.0, 100.0),
        {"dt": 1e-3},
    ),
    "norse IAF": Rule(row(nir.IF(full(1), full(1))), norse_iaf, {}),
    "sinabs IAF": Rule(row(nir.IF(full(1), full(1))), sinabs_iaf, SOFT),
    "sinabs LIF": Rule(row(plain_lif(20.0), gain=8), sinabs_lif(20.0), SOFT | {"dt": 1.0, "integrator": "exact"}, 8),
    "rockpool LIFNeuronTorch as written": Rule(
        row(plain_lif(TAUS, TAUS * np.exp(-1e-3 / TAUS) / 1e-3)),
        rockpool_lif_neuron(TAUS, 1e-3, np.exp(-1e-3 / TAUS)),
        SOFT | {"dt": 1e-3, "integrator": "exponential"},
    ),
    "rockpool LIFNeuronTorch, r mended": Rule(
        row(plain_lif(TAUS, TAUS / 1e-3)), rockpool_lif_neuron(TAUS, 1e-3), SOFT | {"dt": 1e-3, "integrator": "exponential"}
    ),
    "rockpool LIFTorch, r and w_in mended": Rule(
        row(
            nir.CubaLIF(
                tau_syn=full(0.01), tau_mem=full(0.02), r=full(20), v_leak=full(0), v_threshold=full(1),
                w_in=full(0.01 / 1e-3 * np.exp(-0.1)),
            ),
            gain=0.3,
        ),
        rockpool_lif(0.01, 0.02, 1e-3),
        SOFT | {"dt": 1e-3, "integrator": "exponential"},
        0.3,
    ),
    "spikingjelly IFNode": Rule(row(nir.IF(full(1 / DT), full(1), full(0))), norse_iaf, {}),
    "spikingjelly LIFNode": Rule(row(plain_lif(4 * DT, **SJ), gain=3), spikingjelly_lif(4.0, True, -0.1, 0.8), {"dt": DT}, 3),
    "spikingjelly LIFNode, decay_input=False": Rule(
        # r = tau_steps scales the drive alone: v_leak = v_reset is reached as in the node itself
        row(plain_lif(4 * DT, 4.0, **SJ)), spikingjelly_lif(4.0, False, -0.1, 0.8), {}
    ),
    "spikingjelly CUBALIFNode": Rule(row(snntorch_node(BETA, ALPHA)), snntorch_synaptic(ALPHA, BETA), {}),
    "spyx IF": Rule(row(nir.IF(full(1), full(1))), spyx_if, SOFT, lag=1),
    "spyx CuBaLIF, r and w_in mended": Rule(row(snntorch_node(BETA, ALPHA)), spyx_cubalif(ALPHA, BETA), SOFT, lag=1),
    "spyx PSU_LIF, r mended": Rule(
        row(nir.LI(tau=DT / (1 - BETA), r=1 / (1 - BETA), v_leak=full(0)), nir.Threshold(full(1))), spyx_psu(BETA), {}
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RULES)
def test_reference_is_the_exporters_update_rule(name: str, given: Callable[[nir.NIRGraph], Any]) -> None:
    rule = RULES[name]
    wanted = simulate(rule.step, SPIKES @ (W * rule.gain).T + BIAS * rule.gain)
    assert 0 < wanted.mean() < 1
    got = output(given(rule.graph()), **rule.options)
    assert not wanted[: rule.lag].any()
    np.testing.assert_array_equal(got[: STEPS - rule.lag], wanted[rule.lag :])


def test_cubalif_without_w_in_adds_a_part_of_the_weight(given: Callable[[nir.NIRGraph], Any]) -> None:
    """Norse's CubaLIF read as written: NIR's equation, not Norse's rule; a warning says so (tests/test_conventions.py)."""
    node = nir.CubaLIF(tau_syn=full(5e-3), tau_mem=full(1e-2), r=full(1), v_leak=full(0), v_threshold=full(1))
    i, v, rows = np.zeros(N), np.zeros(N), []
    for x in SPIKES @ (20 * W).T:
        i = i + 0.2 * (x - i)
        v = v + 0.1 * (i - v)
        rows.append(v > 1)
        v = np.where(v > 1, 0.0, v)
    assert np.any(rows)
    np.testing.assert_array_equal(output(given(graph({"0": nir.Linear(20 * W), "1": node})), 1e-3), rows)


# -- recurrence


def recurrent_drive(weight: Array, bias: Array | float = 0.0) -> Array:
    return simulate(snntorch_leaky(BETA, lambda s: weight @ s + bias), SPIKES @ W.T)


def flattened(back: Any) -> nir.NIRGraph:
    """As snnTorch's exporter leaves it: names with dots, four edges."""
    nodes = {"0": nir.Linear(W), "1.lif": snntorch_node(BETA), "1.w_rec": back}
    edges = [("input", "0"), ("0", "1.lif"), ("1.lif", "1.w_rec"), ("1.w_rec", "1.lif"), ("1.lif", "output")]
    return graph(nodes, edges)


def nested(back: Any, entry: str = "lif", prefix: str = "", neuron: Any = None) -> nir.NIRGraph:
    """As snnTorch (input to the neuron, plain names) or Spyx (input to the weights, prefixed names) nest it."""
    names = {k: prefix + k for k in ("input", "lif", "w_rec", "output")}
    inside = nir.NIRGraph(
        {
            names["input"]: nir.Input(np.array([N])),
            names["lif"]: neuron or snntorch_node(BETA),
            names["w_rec"]: back,
            names["output"]: nir.Output(np.array([N])),
        },
        [
            (names["input"], names[entry]), (names["lif"], names["w_rec"]),
            (names["w_rec"], names["lif"]), (names["lif"], names["output"]),
        ],
        type_check=False,
    )  # fmt: skip
    return graph({"0": nir.Linear(W), "layer_1": inside})


def test_flattened_recurrence_with_a_bias_on_its_weights(given: Callable[[nir.NIRGraph], Any]) -> None:
    """A bias of the recurrent weights drives from the first step on, as in snnTorch, where w_rec sees zeros then."""
    got = output(given(flattened(nir.Affine(REC, BIAS))))
    np.testing.assert_array_equal(got, recurrent_drive(REC, BIAS))


def test_one_to_one_recurrence_is_a_diagonal_matrix(given: Callable[[nir.NIRGraph], Any]) -> None:
    strength = np.linspace(-0.8, 0.8, N)
    np.testing.assert_array_equal(output(given(flattened(nir.Linear(np.diag(strength))))), recurrent_drive(np.diag(strength)))


def test_nested_recurrence_whose_input_meets_the_neuron(given: Callable[[nir.NIRGraph], Any]) -> None:
    np.testing.assert_array_equal(output(given(nested(nir.Linear(REC)))), recurrent_drive(REC))


def test_nested_recurrence_whose_input_meets_the_weights_is_read_literally(given: Callable[[nir.NIRGraph], Any]) -> None:
    """Spyx's layout.  NIR has no other meaning for these edges than the sum of input and spikes through w_rec."""
    source = given(nested(nir.Linear(REC), "w_rec", "layer_1."))
    wanted = simulate(snntorch_leaky(BETA, lambda s: REC @ s), SPIKES @ W.T @ REC.T)
    np.testing.assert_array_equal(output(source), wanted)
    found = [d for d in read_network(source).network.findings if d.code == "NIRHW-W004"]
    assert [d.nodes[-1] for d in found] == ["layer_1.layer_1.lif"]


def test_the_mend_of_that_layout_is_spyxs_own_rule(given: Callable[[nir.NIRGraph], Any]) -> None:
    """With the edge and r mended, RLIF's rule; its threshold is taken off after the decay, so a beta of 1 is compared."""

    def spyx_rlif(x: Array, v: Any) -> tuple[Array, Any]:
        v = np.zeros(N) if v is None else v
        spikes = (v - 1.0 > 0).astype(float)
        return spikes, v + x + REC @ spikes - spikes

    wanted = simulate(spyx_rlif, SPIKES @ W.T)
    got = output(given(nested(nir.Linear(REC), "lif", "layer_1.", nir.IF(full(1), full(1)))), reset="subtract")
    np.testing.assert_array_equal(got[:-1], wanted[1:])


def test_edges_in_any_order_mean_the_same(given: Callable[[nir.NIRGraph], Any]) -> None:
    made = flattened(nir.Linear(REC))
    made.edges = made.edges[::-1]
    np.testing.assert_array_equal(output(given(made)), recurrent_drive(REC))


# -- parameters and shapes


def edited(path: Path, node: str, **fields: Any) -> Path:
    """Replace fields of a node in a file; None takes a field away."""
    with h5py.File(path, "r+") as file:
        group = file["node/nodes"][node]
        for name, value in fields.items():
            del group[name]
            if value is not None:
                group[name] = value
    return path


@pytest.mark.parametrize("value", [np.float64(1.0), np.ones(1), np.ones((1, 1)), np.float32(1), np.int64(1)])
def test_scalar_parameters_serve_all_neurons(value: Any, tmp_path: Path) -> None:
    path = tmp_path / "graph.nir"
    nir.write(str(path), graph({"0": nir.Linear(W), "1": snntorch_node(0.9)}))
    wanted = output(path)
    assert wanted.any()
    np.testing.assert_array_equal(output(edited(path, "1", v_threshold=value)), wanted)
    np.testing.assert_array_equal(output(edited(path, "1", tau=DT * 10 * value, r=10 * value), 1e-4), wanted)


def test_all_parameters_may_be_scalars(tmp_path: Path) -> None:
    """Sinabs writes its LIF so."""
    path = tmp_path / "graph.nir"
    nir.write(str(path), graph({"0": nir.Linear(W), "1": snntorch_node(0.9)}))
    wanted = output(path)
    fields = {"tau": DT * 10, "r": 10.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0}
    np.testing.assert_array_equal(output(edited(path, "1", **fields), 1e-4), wanted)


def test_a_missing_v_reset_is_zero(tmp_path: Path) -> None:
    """Files of nir before 1.0.6 have none."""
    path = tmp_path / "graph.nir"
    nir.write(str(path), graph({"0": nir.Linear(W), "1": snntorch_node(BETA)}))
    np.testing.assert_array_equal(output(edited(path, "1", v_reset=None)), simulate(snntorch_leaky(BETA), SPIKES @ W.T))


def test_number_types_may_be_mixed(given: Callable[[nir.NIRGraph], Any]) -> None:
    """Spyx writes int64 thresholds beside float32 and float64."""
    weight = W.astype(np.float32)
    node = nir.LIF(
        tau=full(4 * DT).astype(np.float32), r=np.full(N, 4, np.int64), v_leak=np.zeros(N, np.int32),
        v_threshold=np.full(N, 1, np.int64), v_reset=np.zeros(N, np.float16),
    )  # fmt: skip
    got = output(given(graph({"0": nir.Affine(weight, np.zeros(N, bool)), "1": node})), DT)
    np.testing.assert_array_equal(got, simulate(snntorch_leaky(0.75), SPIKES @ weight.T.astype(float)))


@pytest.mark.parametrize(("before", "behind"), [((1,), (1, 1)), ((1, 1), (1,)), ((4,), (4,))], ids=["rockpool", "1", "sinabs"])
def test_leaked_batch_and_time_axes_are_dropped(before: Any, behind: Any, given: Callable[[nir.NIRGraph], Any]) -> None:
    made = graph({"0": nir.Linear(W), "1": snntorch_node(BETA)}, shape=(*before, N), out=(*behind, N))
    np.testing.assert_array_equal(output(given(made)), simulate(snntorch_leaky(BETA), SPIKES @ W.T))


@pytest.mark.parametrize("name", ["0", "10", "a.b", "a/b", "a->b", "lif 1", "été", "__x__", "input_1", "C:\\x", "#0"])
def test_any_name_will_do(name: str, given: Callable[[nir.NIRGraph], Any]) -> None:
    made = graph({"2": nir.Linear(W), name: snntorch_node(BETA)})
    source = given(made)
    np.testing.assert_array_equal(output(source), simulate(snntorch_leaky(BETA), SPIKES @ W.T))
    assert name in read_network(source).network.populations


def test_numbered_names_are_no_order() -> None:
    """In a file "10" stands before "2"; the edges alone decide."""
    names = [str(k) for k in range(12)]
    nodes: dict[str, Any] = {n: nir.Linear(np.eye(N)) for n in names}
    nodes |= {"0": nir.Linear(W), "11": snntorch_node(BETA)}
    made = graph(nodes)
    made.nodes = dict(sorted(made.nodes.items()))
    np.testing.assert_array_equal(output(made), simulate(snntorch_leaky(BETA), SPIKES @ W.T))


# -- planes

PLANES = (np.random.default_rng(5).random((STEPS, 2, 5, 7)) < 0.4).astype(np.float64)


POOLS = [(2, 2, 0, "scalar"), (3, 2, 1, "scalar"), (5, 1, 0, "scalar"), (3, 2, 1, "vector"), ((2, 3), (1, 2), (0, 1), "vector")]


@pytest.mark.parametrize("average", [True, False])
@pytest.mark.parametrize(("kernel", "stride", "padding", "form"), POOLS)
def test_odd_pools(average: bool, kernel: Any, stride: Any, padding: Any, form: str, tmp_path: Path) -> None:
    """What does not fill a window is left out; padding counts in an average; a trailing pool is an analog output."""
    (kh, kw), (sh, sw), (ph, pw) = (np.broadcast_to(v, 2) for v in (kernel, stride, padding))
    padded = np.pad(PLANES, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    high, wide = (5 + 2 * ph - kh) // sh + 1, (7 + 2 * pw - kw) // sw + 1
    wanted = np.zeros((STEPS, 2, high, wide))
    for y in range(high):
        for x in range(wide):
            window = padded[:, :, y * sh : y * sh + kh, x * sw : x * sw + kw]
            wanted[:, :, y, x] = window.sum(axis=(2, 3)) / (kh * kw if average else 1)
    values = [np.array(v) if form == "scalar" else np.broadcast_to(v, 2).copy() for v in (kernel, stride, padding)]
    kind = nir.AvgPool2d if average else nir.SumPool2d
    made = graph({"p": kind(*values)}, shape=(2, 5, 7), out=wanted.shape[1:])
    np.testing.assert_allclose(output(made, 1.0, PLANES), wanted, atol=1e-12)
    if form == "vector":
        nir.write(str(tmp_path / "graph.nir"), made)
        np.testing.assert_allclose(output(tmp_path / "graph.nir", 1.0, PLANES), wanted, atol=1e-12)


def test_a_convolution_without_bias_or_input_shape() -> None:
    """Spyx and the Lava-DL converter leave bias=None, Norse and Sinabs input_shape=None; neither can be written to a file."""
    kernel = np.random.default_rng(6).normal(0, 1, (3, 2, 3, 3))
    nodes = {"0": nir.Conv2d(None, kernel, 1, 0, 1, 1, None), "1": nir.IF(full(1, (3, 3, 5)), full(1, (3, 3, 5)))}
    got = output(graph(nodes, shape=(2, 5, 7), out=(3, 3, 5)), spikes=PLANES)
    patches = np.lib.stride_tricks.sliding_window_view(PLANES, (3, 3), axis=(2, 3))
    drive = np.einsum("tcyxij,ocij->toyx", patches, kernel)
    np.testing.assert_array_equal(got, simulate(norse_iaf, drive))


def test_a_flatten_with_the_batch_axis_in_front(given: Callable[[nir.NIRGraph], Any]) -> None:
    wanted = PLANES.reshape(STEPS, -1) @ weights(N, 70).T
    for shape, start in (((2, 5, 7), 0), ((1, 2, 5, 7), 1)):
        made = graph({"f": nir.Flatten(np.array(shape), start, -1), "w": nir.Linear(weights(N, 70))}, shape=(2, 5, 7))
        np.testing.assert_allclose(output(given(made), spikes=PLANES), wanted, atol=1e-12)


# -- ends


def test_a_trailing_affine_is_an_analog_output(given: Callable[[nir.NIRGraph], Any]) -> None:
    nodes = {"0": nir.Linear(W), "1": snntorch_node(BETA), "2": nir.Affine(REC[:3], BIAS[:3])}
    spikes = simulate(snntorch_leaky(BETA), SPIKES @ W.T)
    np.testing.assert_allclose(output(given(graph(nodes, out=(3,)))), spikes @ REC[:3].T + BIAS[:3], atol=1e-12)


def test_a_trailing_li_gives_its_membrane(given: Callable[[nir.NIRGraph], Any]) -> None:
    nodes = {"0": nir.Linear(W), "1": nir.LI(tau=full(4 * DT), r=full(4), v_leak=full(0))}
    v, rows = np.zeros(N), []
    for x in SPIKES @ W.T:
        v = 0.75 * v + x
        rows.append(v)
    np.testing.assert_allclose(output(given(graph(nodes)), DT), rows, atol=1e-12)


def test_skip_connections_add_up(given: Callable[[nir.NIRGraph], Any]) -> None:
    """SpikingJelly's tracer writes them as two edges into one node."""
    nodes = {"a": nir.Linear(W), "l1": snntorch_node(BETA), "b": nir.Linear(REC), "l2": snntorch_node(0.5)}
    edges = [("input", "a"), ("a", "l1"), ("l1", "b"), ("b", "l2"), ("l1", "l2"), ("l2", "output")]
    first = simulate(snntorch_leaky(BETA), SPIKES @ W.T)
    np.testing.assert_array_equal(output(given(graph(nodes, edges))), simulate(snntorch_leaky(0.5), first @ REC.T + first))


# -- Nengo: ensembles as LIF populations, encoders and decoders as weights

DIMS, CELLS, STEP = 2, 20, 1e-3


def ensemble(seed: int) -> dict[str, Any]:
    """Encoder, neurons and decoder as the converter writes them; integers where it tiles integers."""
    rng = np.random.default_rng(seed)
    return {
        "encode": nir.Affine(weight=rng.normal(0, 2.0, (CELLS, DIMS)), bias=rng.uniform(0.5, 2.0, CELLS)),
        "cells": nir.LIF(tau=np.tile(0.02, CELLS), r=np.tile(1, CELLS), v_leak=np.tile(0, CELLS), v_threshold=np.tile(1, CELLS)),
        "decode": nir.Affine(weight=rng.normal(0, 0.5, (DIMS, CELLS)), bias=np.tile(0, DIMS)),
        "synapse": nir.LI(tau=np.tile(0.1, DIMS), r=np.tile(1, DIMS), v_leak=np.tile(0, DIMS)),
    }


def nengo_recurrent() -> nir.NIRGraph:
    """A recurrent ensemble with a probe: numbered nodes, the loop closes through decoder, synapse and encoder."""
    cell, probe = ensemble(7), ensemble(8)
    nodes = {"1": nir.Affine(np.eye(DIMS), np.tile(0, DIMS)), "2": cell["encode"], "3": cell["cells"], "4": cell["decode"],
             "5": cell["synapse"], "6": probe["decode"], "7": probe["synapse"]}  # fmt: skip
    edges = [("input", "1"), ("1", "2"), ("2", "3"), ("3", "4"), ("4", "5"), ("5", "2"), ("3", "6"), ("6", "7"), ("7", "output")]
    return graph(nodes, edges, shape=(DIMS,), out=(DIMS,))


def test_a_nengo_ensemble(given: Callable[[nir.NIRGraph], Any]) -> None:
    """Edges that leave the cells towards their own loop are one step late, the probe's is not; a spike is 1 for one step."""
    made = nengo_recurrent()
    spikes = SPIKES[:, :DIMS]
    encode, decode, probe = made.nodes["2"], made.nodes["4"].weight, made.nodes["6"].weight
    v, fed, seen, fired, rows = np.zeros(CELLS), np.zeros(DIMS), np.zeros(DIMS), np.zeros(CELLS), []
    for x in spikes:
        fed = fed + STEP / 0.1 * (decode @ fired - fed)
        v = v + STEP / 0.02 * (encode.weight @ (x + fed) + encode.bias - v)
        fired = (v > 1).astype(float)
        v = np.where(v > 1, 0.0, v)
        seen = seen + STEP / 0.1 * (probe @ fired - seen)
        rows.append(seen)
    assert np.any(rows)
    np.testing.assert_allclose(output(given(made), STEP, spikes), rows, atol=1e-12)


def test_nengo_ensembles_in_a_row(given: Callable[[nir.NIRGraph], Any]) -> None:
    first, second = ensemble(9), ensemble(10)
    nodes = {f"{k}{name}": node for k, part in (("a.", first), ("b.", second)) for name, node in part.items()}
    spikes = SPIKES[:, :DIMS]
    value, parts = None, []
    for part in (first, second):
        v, sent, rows = np.zeros(CELLS), np.zeros(DIMS), []
        for x in spikes if value is None else value:
            v = v + STEP / 0.02 * (part["encode"].weight @ x + part["encode"].bias - v)
            sent = sent + STEP / 0.1 * (part["decode"].weight @ (v > 1) - sent)
            v = np.where(v > 1, 0.0, v)
            rows.append(sent)
        value = np.array(rows)
        parts.append(value)
    np.testing.assert_allclose(output(given(graph(nodes, shape=(DIMS,), out=(DIMS,))), STEP, spikes), parts[-1], atol=1e-12)


# -- Lava-DL: registers as floats, at dt = 1e-4


def lava_cubalif(v_decay: int, i_decay: int, threshold: int) -> nir.CubaLIF:
    tau_mem = 1e-4 / (v_decay / 4096) if v_decay else np.inf
    tau_syn = 1e-4 / (i_decay / 4096) if i_decay else np.inf
    return nir.CubaLIF(
        tau_syn=full(tau_syn), tau_mem=full(tau_mem), r=full(tau_mem / 1e-4), v_leak=full(0.0),
        v_threshold=full(threshold / 64), w_in=full(tau_syn / 1e-4), v_reset=full(0.0),
    )  # fmt: skip


def lava(node: nir.CubaLIF, **ends: Any) -> nir.NIRGraph:
    """Nodes are numbered by integers, edges hold bytes beside them, as the converter leaves them."""
    weight = np.round(W * 64).astype(np.int32) / 64
    made = graph({"a": nir.Linear(weight), "b": node, **ends})
    numbers = {"a": 0, "b": 1, "c": 2}
    made.nodes = {numbers.get(k, k): v for k, v in made.nodes.items()}
    made.edges = [tuple(numbers.get(n, n.encode()) for n in edge) for edge in made.edges]
    return made


def test_a_lava_dl_network(given: Callable[[nir.NIRGraph], Any]) -> None:
    made = lava(lava_cubalif(1024, 2048, 80))
    i, v, rows = np.zeros(N), np.zeros(N), []
    for x in SPIKES @ made.nodes[0].weight.T:
        i = 0.5 * i + x
        v = 0.75 * v + i
        rows.append(v > 80 / 64)
        v = np.where(v > 80 / 64, 0.0, v)
    assert np.any(rows)
    source = given(made)
    assert read_network(source).network.dt == 1e-4
    np.testing.assert_array_equal(output(source), rows)


def test_lava_dls_infinite_time_constant_is_refused_by_name(given: Callable[[nir.NIRGraph], Any]) -> None:
    """A decay register of 0; the converter warns of it and goes on."""
    with pytest.raises(NirhwError) as refused:
        read_network(given(lava(lava_cubalif(0, 2048, 80))))
    assert refused.value.code == "NIRHW-E016"
    assert refused.value.diagnostics[0].nodes == ("1",)
