"""Every limit of the chip: what is refused, with which code, and what the text says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

import nirhw
from tests import builders as b


def refusal(graph: Any, target: str = "loihi2", **given: Any) -> nirhw.NirhwError:
    with pytest.raises(nirhw.NirhwError) as caught:
        nirhw.compile(graph, target, **({"dt": b.DT} | given))
    return caught.value


def chip(folder: Path, base: str = "loihi2", **limits: int) -> Path:
    """A user's own description with other limits."""
    lines = ['name = "small"', f'based_on = "{base}"', 'family = "loihi2"']
    for name, value in limits.items():
        lines += [f"[limits.{name}]", f"value = {value}", 'source = "our plan"', 'certainty = "inferred"']
    path = folder / "small.toml"
    path.write_text("\n".join(lines))
    return path


def layered(hidden: int = 12) -> nir.NIRGraph:
    return b.chain(6, 3, w=b.linear(hidden, 6, 1), n=b.cubalif(hidden), w2=b.linear(3, hidden, 2), o=b.cubalif(3))


def two_filters() -> nir.NIRGraph:
    nodes = {"wa": b.linear(6, 4, 1), "fa": b.li(6, 2), "wb": b.linear(6, 4, 2), "fb": b.li(6, 16), "n": b.lif(6, 8)}
    edges = [("in", "wa"), ("wa", "fa"), ("fa", "n"), ("in", "wb"), ("wb", "fb"), ("fb", "n"), ("n", "out")]
    return b.graph(4, 6, nodes, edges)


def analog_in_the_middle() -> nir.NIRGraph:
    one = np.ones(6)
    second = nir.CubaLI(tau_syn=4e-3 * one, tau_mem=8e-3 * one, r=8 * one, v_leak=0 * one, w_in=4 * one)
    return b.chain(4, 3, w=b.linear(6, 4), f=second, w2=b.linear(3, 6), n=b.cubalif(3))


EXPRESSIONS: dict[str, tuple[Callable[[], Any], str, str]] = {
    "two synaptic time constants": (two_filters, "NIRHW-E031", "one current"),
    "an analog population feeds others": (analog_in_the_middle, "NIRHW-E030", "analog population feeds"),
    "threshold below the reset value": (
        lambda: b.chain(4, 3, w=b.linear(3, 4), n=b.cubalif(3, threshold=0.5, v_reset=0.8)),
        "NIRHW-E030",
        "below the reset value",
    ),
    "a synapse that hardly decays": (lambda: b.chain(4, 3, w=b.linear(3, 4), n=b.cubalif(3, 1e5)), "NIRHW-E032", "8192 steps"),
    "a delay of more than 62 steps": (
        lambda: b.chain(4, 3, w=b.linear(6, 4), n=b.lif(6), d=nir.Delay(np.full(6, 70 * b.DT)), w2=b.linear(3, 6), o=b.lif(3)),
        "NIRHW-E031",
        "longest delay is 62",
    ),
}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_what_cannot_be_expressed_is_refused_with_a_proposal(name: str) -> None:
    make, code, text = EXPRESSIONS[name]
    failure = refusal(make())
    first = failure.diagnostics[0]
    assert first.code == code and text in first.what and first.nodes and first.why and first.fix


def test_filters_of_one_time_constant_are_one_synapse() -> None:
    nodes = {"wa": b.linear(6, 4, 1), "fa": b.li(6, 4), "wb": b.linear(6, 4, 2), "fb": b.li(6, 4), "n": b.lif(6, 8)}
    edges = [("in", "wa"), ("wa", "fa"), ("fa", "n"), ("in", "wb"), ("wb", "fb"), ("fb", "n"), ("n", "out")]
    model = nirhw.compile(b.graph(4, 6, nodes, edges), "loihi2", dt=b.DT)
    (group,) = (g for g in model.config.groups if g.model == "lif")
    assert group.du == 1023
    found = model.fidelity(b.spikes(200, 4, rate=0.3, batch=4))
    assert found.populations["n"].count_error < 0.05


def test_all_findings_come_at_once() -> None:
    net = b.chain(4, 3, w=b.linear(6, 4), n=b.cubalif(6, 1e5), w2=b.linear(3, 6), o=b.cubalif(3, threshold=-1.0))
    found = nirhw.check(net, "loihi2", dt=b.DT)
    assert {d.code for d in found} >= {"NIRHW-E030", "NIRHW-E032"}
    assert nirhw.check(layered(), "loihi2", dt=b.DT) == ()


def test_neurons_beyond_the_board(tmp_path: Path) -> None:
    file = chip(tmp_path, cores_per_chip=2, neurons_per_core=6)
    failure = refusal(layered(), hardware=file)
    assert failure.code == "NIRHW-E031" and "15 neurons are needed" in failure.diagnostics[0].what
    assert "our plan" in failure.diagnostics[0].why


def test_cores_beyond_the_board_name_the_largest_populations(tmp_path: Path) -> None:
    failure = refusal(layered(), hardware=chip(tmp_path, cores_per_chip=2, neurons_per_core=8))
    first = failure.diagnostics[0]
    assert first.code == "NIRHW-E035" and "3 neuro-cores are needed" in first.what and "n" in first.nodes


@pytest.mark.parametrize(
    ("limit", "value", "text"),
    [
        ("in_axons_per_core", 5, "in axons per core"),
        ("synaptic_bytes_per_core", 40, "synaptic bytes per core"),
        ("out_axons_per_core", 0, "out axons per core"),
    ],
)
def test_a_neuron_that_no_core_holds(tmp_path: Path, limit: str, value: int, text: str) -> None:
    failure = refusal(layered(), hardware=chip(tmp_path, **{limit: value}))
    first = failure.diagnostics[0]
    assert first.code == "NIRHW-E035" and text in first.what and "our plan" in first.why and first.nodes


def test_chips_of_a_board() -> None:
    assert refusal(layered(), options={"chips": 2}).code == "NIRHW-E002"
    model = nirhw.compile(layered(), "loihi2-kapoho-point", dt=b.DT, options={"chips": 4})
    row = next(r for r in model.report.data["resources"] if r["resource"] == "chips")
    assert (row["used"], row["available"], row["certainty"]) == (1, 8, "inferred")
    assert nirhw.compile(layered(), "loihi2-hala-point", dt=b.DT).report.fits


def test_a_drive_that_no_format_holds() -> None:
    """200,000 sources of one weight each on a slow synapse: 24 bits do not even hold one unit of each."""
    size = 200_000
    net = b.chain(size, 1, w=nir.Linear(np.ones((1, size))), n=b.cubalif(1, 100, 100))
    failure = refusal(net, "loihi2-hala-point")
    assert failure.code == "NIRHW-E034" and "worst_case" in failure.diagnostics[0].fix


def test_registers_of_the_lava_conversion_end() -> None:
    net = b.chain(2, 1, w=b.linear(1, 2), n=b.lif(1, 8, 600.0))
    failure = refusal(net, options={"conversion": "lava"})
    assert failure.code == "NIRHW-E034" and "threshold" in failure.diagnostics[0].what
    assert nirhw.compile(net, "loihi2", dt=b.DT).report.fits
