"""Graphs of the real exporters: our reader and reference against the exporter's own simulation, and compiled or refused for Xylo.

``make test-exporters`` writes the graphs and simulations (export_*.py, each in an environment of its own) and runs this module;
environment variable NIRHW_EXPORTS names their folder.  Without it these tests skip.

Where a file cannot say what its exporter simulates (soft resets, gains that miss a factor), the mend that our warning names is
applied here, so what the warnings promise is tested too.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nirhw
from nirhw.nir_reader import Semantics, read_network, read_raw
from nirhw.raw import RawGraph, RawNode
from nirhw.reference import run_reference

EXPORTS = Path(os.environ.get("NIRHW_EXPORTS", "exports-are-missing"))
pytestmark = pytest.mark.skipif(
    not EXPORTS.is_dir(), reason="no exporters' outputs: run `make test-exporters`, or name their folder in NIRHW_EXPORTS"
)

Mend = Callable[[RawGraph, float], RawGraph]


def _each_node(raw: RawGraph, change: Callable[[RawNode], RawNode]) -> RawGraph:
    nodes = {n: _each_node(x, change) if isinstance(x, RawGraph) else change(x) for n, x in raw.nodes.items()}
    return replace(raw, nodes=nodes)


def _with(node: RawNode, **fields: Any) -> RawNode:
    return replace(node, fields={**node.fields, **fields})


def whole_drive(raw: RawGraph, dt: float) -> RawGraph:
    """A step adds the drive itself: r = tau / dt, w_in = tau_syn / dt."""

    def change(node: RawNode) -> RawNode:
        if node.kind in ("LI", "LIF"):
            return _with(node, r=node.fields["tau"] / dt)
        if node.kind == "CubaLIF":
            return _with(node, r=node.fields["tau_mem"] / dt, w_in=node.fields["tau_syn"] / dt)
        return node

    return _each_node(raw, change)


def whole_synapse(raw: RawGraph, dt: float) -> RawGraph:
    """A spike adds its whole weight to the current: w_in = tau_syn / dt."""
    return _each_node(raw, lambda n: _with(n, w_in=n.fields["tau_syn"] / dt) if n.kind == "CubaLIF" else n)


def rockpools(raw: RawGraph, dt: float) -> RawGraph:
    """Rockpool's own step: the arriving weight is decayed once, the membrane takes the whole current."""

    def change(node: RawNode) -> RawNode:
        if node.kind == "LIF":
            return _with(node, r=node.fields["tau"] / dt)
        if node.kind == "CubaLIF":
            syn = node.fields["tau_syn"].astype(np.float64)
            return _with(node, r=node.fields["tau_mem"] / dt, w_in=syn / dt * np.exp(-dt / syn))
        return node

    return _each_node(raw, change)


def seconds(raw: RawGraph, dt: float) -> RawGraph:
    """Take Norse's factor, its own dt of 1 ms by default, off the time constants."""
    return _each_node(raw, lambda n: _with(n, tau=n.fields["tau"] / dt) if n.kind == "LIF" else n)


def direct_input(raw: RawGraph, dt: float) -> RawGraph:
    """Spyx's recurrent layers: let the input reach the neuron, not the recurrent weights; and add the whole drive."""
    nodes: dict[str, Any] = {}
    for name, node in raw.nodes.items():
        if isinstance(node, RawGraph):
            edges = tuple((a, b.replace("w_rec", "lif")) if a.endswith("input") else (a, b) for a, b in node.edges)
            node = replace(node, edges=edges)
        nodes[name] = node
    return whole_drive(replace(raw, nodes=nodes), dt)


@dataclass(frozen=True)
class Expected:
    """How a case is read, and how well it then agrees.

    Attributes:
        dt, reset, integrator: reading options; dt None: told by the file.
        mend: applied to the graph first.
        lag: steps by which the exporter's simulation is late.
        counts_within: where rasters cannot agree: the total number of spikes agrees within this share.
        reason: why.
        warns: codes of warnings that reading the file as it is must give.
    """

    dt: float | None = None
    reset: str = "value"
    integrator: Any = "euler"
    mend: Mend | None = None
    lag: int = 0
    counts_within: float | None = None
    reason: str = ""
    warns: tuple[str, ...] = ()


LATE_RESET = "snnTorch resets one step late, after the membrane has decayed"
DROPS_DRIVE = "snnTorch's late zero reset of Synaptic and RLeaky also drops the drive of the step after a spike"
SPYX_RESET = "Spyx takes the threshold off one step late, after the membrane has decayed"
SPYX = {"dt": 1e-4, "reset": "subtract", "lag": 1}

CASES: dict[str, Expected] = {
    "snntorch/leaky_zero": Expected(),
    "snntorch/leaky_subtract": Expected(reset="subtract", counts_within=0.35, reason=LATE_RESET),
    "snntorch/leaky_subtract_now": Expected(reset="subtract"),
    "snntorch/synaptic": Expected(counts_within=1.5, reason=DROPS_DRIVE),
    "snntorch/synaptic_now": Expected(),
    "snntorch/rleaky": Expected(counts_within=0.6, reason=DROPS_DRIVE),
    "snntorch/rleaky_now": Expected(),
    "snntorch/rleaky_one_to_one": Expected(counts_within=0.6, reason=DROPS_DRIVE),
    "snntorch/rleaky_one_to_one_now": Expected(),
    "snntorch/conv_avgpool": Expected(),
    "spikingjelly/if": Expected(),
    "spikingjelly/lif": Expected(),
    "spikingjelly/cuba": Expected(),
    "spikingjelly/conv_avgpool": Expected(),
    "spikingjelly/skip": Expected(dt=1e-4),
    "sinabs/iaf_single": Expected(reset="subtract"),
    "sinabs/iaf_multi": Expected(reset="subtract", counts_within=0.3, reason="several spikes a step"),
    "sinabs/lif": Expected(dt=1.0, reset="subtract", integrator="exact"),
    "sinabs/conv_sumpool": Expected(reset="subtract"),
    "norse/lifbox_dt1": Expected(dt=1e-3),
    "norse/lifbox_default": Expected(dt=1e-3, mend=seconds, warns=("NIRHW-W004",)),
    "norse/lif_dt1": Expected(dt=1e-3, mend=whole_synapse, warns=("NIRHW-W004",)),
    "norse/iaf": Expected(),
    "norse/conv_iaf": Expected(),
    "rockpool/lif": Expected(dt=1e-3, reset="subtract", integrator="exponential", mend=rockpools, warns=("NIRHW-W004",)),
    "rockpool/lif_two_taus": Expected(reset="subtract", integrator="exponential", mend=rockpools, warns=("NIRHW-W004",)),
    "rockpool/neuron": Expected(dt=1e-3, reset="subtract", integrator="exponential", mend=rockpools),
    "spyx/if": Expected(reset="subtract", lag=1),
    "spyx/lif": Expected(**SPYX, mend=whole_drive, counts_within=0.3, reason=SPYX_RESET, warns=("NIRHW-W004",)),
    "spyx/cuba": Expected(**SPYX, mend=whole_drive, warns=("NIRHW-W004",)),
    "spyx/rlif": Expected(**SPYX, mend=direct_input, counts_within=0.5, reason=SPYX_RESET, warns=("NIRHW-W004",)),
    "spyx/conv_same": Expected(reset="subtract", lag=1),
    "spyx/conv_valid": Expected(reset="subtract", lag=1),
    "spyx/psu": Expected(dt=1e-4, mend=whole_drive, warns=("NIRHW-W004",)),
}


@pytest.fixture(params=sorted(CASES))
def case(request: pytest.FixtureRequest) -> tuple[Path, Expected]:
    """Path of a graph and what is expected of it."""
    path = EXPORTS / f"{request.param}.nir"
    if not path.is_file():
        pytest.skip(f"{request.param} was not exported")
    return path, CASES[request.param]


def test_reference_agrees_with_the_exporters_own_simulation(case: tuple[Path, Expected]) -> None:
    path, expected = case
    recorded = np.load(path.with_suffix(".npz"))
    raw, dt = read_raw(path), expected.dt
    if expected.mend is not None:
        dt = dt or read_network(raw).network.dt  # what is mended may be what told dt
        raw = expected.mend(raw, dt)
    network = read_network(raw, Semantics(dt, expected.reset, expected.integrator)).network
    run = run_reference(network, recorded["spikes"])
    got = np.asarray(run.spikes, np.float64).reshape(len(recorded["spikes"]), -1)
    wanted = recorded["output"].reshape(got.shape)
    assert wanted.any(), "a silent simulation shows nothing"
    if expected.counts_within is not None:
        assert expected.reason
        assert abs(got.sum() - wanted.sum()) <= expected.counts_within * wanted.sum(), expected.reason
        return
    rows = len(got) - expected.lag
    assert not wanted[: expected.lag].any()
    np.testing.assert_array_equal(got[:rows], wanted[expected.lag :])


def test_conventions_are_warned_of(case: tuple[Path, Expected]) -> None:
    path, expected = case
    # under the Euler rule time constants below dt are an error already
    integrator = "exact" if expected.mend is seconds else expected.integrator
    findings = read_network(path, Semantics(expected.dt, expected.reset, integrator)).network.findings
    codes = {d.code for d in findings}
    assert codes >= set(expected.warns)
    if expected.mend is None:
        assert not codes & {"NIRHW-W002", "NIRHW-W005"}, "\n".join(map(str, findings))


def test_xylo_compiles_it_or_says_why_not(case: tuple[Path, Expected], record_property: Callable[[str, object], None]) -> None:
    path, expected = case
    try:
        options = {"dt": expected.dt, "reset": expected.reset, "integrator": expected.integrator}
        model = nirhw.compile(path, "xylo", **options)
    except nirhw.NirhwError as refused:
        record_property("outcome", refused.code)
        assert refused.diagnostics[0].nodes, f"names no node: {refused}"
        return
    record_property("outcome", "fits")
    assert model.emulate(np.zeros((3, *np.load(path.with_suffix(".npz"))["spikes"].shape[1:]), np.uint8)) is not None
