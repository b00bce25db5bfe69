"""Every sample graph is read, runs in the reference, and is compiled for a target or refused for a reason that names the node.

The table of graph x target goes to the test report (``pytest --junit-xml``) and, with ``pytest -s -k table``, to the terminal.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nirhw
from nirhw.diagnostics import NirhwError
from nirhw.nir_reader import Semantics, read_network, read_raw
from nirhw.raw import RawGraph
from nirhw.reference import run_reference

XYLO = ("xylo-audio2", "xylo-audio3", "xylo-imu")
TARGETS = (*XYLO, "speck2f", "spinnaker2", "loihi2")
#: the folder itself is looked for by the fixtures; here its names are needed before any test runs
ZOO = Path(os.environ.get("NIRHW_SHARED", Path(__file__).parents[2] / "shared")) / "zoo"


@dataclass(frozen=True)
class Known:
    """What a sample graph needs and is known for.

    Attributes:
        options: reading options, where the file does not say dt.
        unreadable: code of the error where the file is broken.
        warns: codes of the warnings that reading gives.
        xylo: by variant of Xylo, "fits" or the code of the refusal; one word for all.
        reason: a part of Xylo's refusal.
        speck: "fits", or a part of Speck's refusal.
    """

    options: dict[str, Any] = field(default_factory=dict)
    unreadable: str = ""
    warns: tuple[str, ...] = ()
    xylo: str | tuple[str, str, str] = "fits"
    reason: str = ""
    speck: str = "the membrane leaks"

    def on(self, target: str) -> tuple[str, str]:
        """Return the outcome on a target, and a part of the refusal's text."""
        if self.unreadable:
            return self.unreadable, self.reason
        if target == "speck2f":
            return ("fits", "") if self.speck == "fits" else ("NIRHW-E030", self.speck)
        if target not in XYLO:
            return "fits", ""  # SpiNNaker2 and Loihi 2 take every sample that can be read
        return self.xylo if isinstance(self.xylo, str) else self.xylo[XYLO.index(target)], self.reason


BROKEN = Known(unreadable="NIRHW-E017", reason="an edge cannot be followed")
OUTPUTS_20 = ("NIRHW-E031", "fits", "NIRHW-E031")  # 8, 48 and 16 output neurons
SUM = "a weighted sum ends outside a neuron"
PLANES = "input channels are needed"
BIAS = "a bias is not zero"

KNOWN: dict[str, Known] = {
    "norse_conv_iaf": Known(xylo="NIRHW-E031", reason=PLANES, speck=BIAS),
    # random weights: most neurons of the first layer lie below their threshold for ever
    "norse_lifbox_dt1": Known({"dt": 1e-3}, warns=("NIRHW-W002",), xylo="NIRHW-E030", reason=SUM),
    "repo_braille_noDelay_bias_zero": Known(),
    "repo_braille_noDelay_bias_zero_subgraph": BROKEN,
    "repo_braille_noDelay_noBias_subtract": Known({"reset": "subtract"}),
    "repo_braille_noDelay_noBias_subtract_subgraph": BROKEN,
    "repo_cnn_sinabs": Known({"reset": "subtract"}, xylo="NIRHW-E031", reason=PLANES, speck="fits"),
    "repo_lif_norse": Known({"dt": 1e-4}),
    "repo_lif_rockpool": Known({"dt": 1e-4, "integrator": "exponential"}),
    "repo_two_lif_neurons": Known({"dt": 1e-4}, warns=("NIRHW-W002", "NIRHW-W005")),
    "rockpool_lif_ff": Known({"dt": 1e-3, "integrator": "exponential", "reset": "subtract"}, warns=("NIRHW-W004",)),
    "sinabs_iaf_ff": Known({"reset": "subtract"}, speck=BIAS),
    "sinabs_lif_scalar": Known({"dt": 1.0, "integrator": "exact", "reset": "subtract"}, warns=("NIRHW-W002", "NIRHW-W006")),
    "sj_conv_avgpool": Known(warns=("NIRHW-W001",), xylo="NIRHW-E031", reason=PLANES),
    "sj_lif_ff": Known(warns=("NIRHW-W001", "NIRHW-W002")),
    "sj_skip": Known({"dt": 1e-4}, warns=("NIRHW-W002",), xylo=OUTPUTS_20, reason="20 output neurons"),
    "snntorch_conv_stride": Known(xylo="NIRHW-E031", reason=PLANES),
    "snntorch_ff_leaky": Known(),
    "snntorch_rleaky": Known(),
    "snntorch_synaptic": Known(),
    "spyx_psu_lif": Known({"dt": 1e-3}, warns=("NIRHW-W004",), xylo="NIRHW-E030", reason=SUM),
    "spyx_rlif": Known({"dt": 1e-4, "reset": "subtract"}, warns=("NIRHW-W002", "NIRHW-W004")),
}


def names() -> list[str]:
    """Return the sample graphs by name; none where the folder is missing."""
    return sorted(p.stem for p in ZOO.glob("*.nir"))


@pytest.fixture(params=names() or ["no sample graphs"])
def name(request: pytest.FixtureRequest, shared: Path) -> str:
    """A sample graph; ``shared`` skips where the folder is missing."""
    return str(request.param)


def known(name: str) -> Known:
    """Return what is known of a graph; one that has no entry yet is expected to read and fit as it is."""
    return KNOWN.get(name, Known())


@functools.cache
def outcome(path: Path, target: str) -> tuple[str, str, str]:
    """Return "fits" or the code of the first error, its nodes and its text."""
    try:
        nirhw.compile(path, target, **known(path.stem).options)
    except NirhwError as refused:
        first = refused.diagnostics[0]
        return first.code, ", ".join(first.nodes[:3]), first.what
    return "fits", "", ""


def node_names(raw: RawGraph, prefix: str = "") -> set[str]:
    """Return the dotted names of all nodes of a graph."""
    found: set[str] = set()
    for name, node in raw.nodes.items():
        found |= node_names(node, f"{prefix}{name}.") if isinstance(node, RawGraph) else {prefix + name}
    return found


def test_every_sample_is_known(shared: Path) -> None:
    assert set(names()) == set(KNOWN)


def test_it_is_read_and_runs(name: str, zoo: Callable[[str], Path]) -> None:
    entry = known(name)
    if entry.unreadable:
        with pytest.raises(NirhwError) as refused:
            read_network(zoo(name))
        assert refused.value.code == entry.unreadable
        assert all(d.nodes and d.fix for d in refused.value.diagnostics)
        return
    network = read_network(zoo(name), Semantics(**entry.options)).network
    assert {d.code for d in network.findings} == set(entry.warns), "\n".join(map(str, network.findings))
    ((_, population),) = network.inputs.items()
    shape = network.populations[population].shape
    spikes = np.random.default_rng(0).random((2, 20, *shape)) < 0.5
    run = run_reference(network, spikes)
    (served,) = network.outputs.values()
    got = run.spikes if network.populations[served].rule == "spiking" else run.outputs
    assert got.shape == (2, 20, *network.populations[served].shape)
    assert np.isfinite(got).all()


@pytest.mark.parametrize("name", [n for n, k in KNOWN.items() if "dt" in k.options])
def test_without_dt_it_is_asked_for_or_doubted(name: str, zoo: Callable[[str], Path]) -> None:
    try:
        found = read_network(zoo(name)).network.findings
    except NirhwError as refused:
        assert refused.code == "NIRHW-E020"
        assert "dt=" in refused.diagnostics[0].fix
        return
    assert any(f"dt={known(name).options['dt']:g}" in d.fix for d in found), "\n".join(map(str, found))


@pytest.mark.parametrize("target", TARGETS)
def test_it_is_compiled_or_refused_by_name(
    name: str, target: str, zoo: Callable[[str], Path], record_property: Callable[[str, object], None]
) -> None:
    entry, path = known(name), zoo(name)
    code, nodes, what = outcome(path, target)
    record_property("outcome", " ".join((code, nodes, what)).strip())
    wanted, reason = entry.on(target)
    assert code == wanted, what
    if code != "fits":
        assert nodes, f"names no node: {what}"
        assert set(nodes.split(", ")) & node_names(read_raw(path)), nodes
        assert reason in what


def test_table(shared: Path, record_property: Callable[[str, object], None]) -> None:
    """Record the whole table."""
    rows = []
    for name in names():
        entry = known(name)
        options = " ".join(f"{k}={v}" for k, v in entry.options.items())
        cells = []
        for target in TARGETS:
            code, nodes, what = outcome(ZOO / f"{name}.nir", target)
            cells.append("fits" if code == "fits" else f"{code} [{nodes}] {what}")
        same = len({c.split(",")[0] for c in cells}) == 1
        verdicts = [f"all: {cells[0]}"] if same else [f"{t}: {c}" for t, c in zip(TARGETS, cells, strict=True)]
        rows += [f"{name:46} {options:34} {verdicts[0]}", *(f"{'':81} {v}" for v in verdicts[1:])]
    table = "\n".join(rows)
    record_property("table", table)
    print("\n" + table)
    assert rows
