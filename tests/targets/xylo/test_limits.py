"""Every limit of the chip: what is refused, with which code, and what the text says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nir
import numpy as np
import pytest

import nirhw
from tests import builders as b

SUBTRACT = {"dt": b.DT, "reset": "subtract"}


def layered(n_in: int = 4, sizes: tuple[int, ...] = (6, 3), fan: Callable[[int, int], np.ndarray] | None = None) -> nir.NIRGraph:
    nodes: dict[str, object] = {}
    for k, (pre, post) in enumerate(zip((n_in, *sizes), sizes, strict=False)):
        nodes[f"w{k}"] = nir.Linear(fan(post, pre)) if fan else b.linear(post, pre, k, 0.1)
        nodes[f"n{k}"] = b.cubalif(post)
    return b.chain(n_in, sizes[-1], **nodes)


def banded(post: int, pre: int) -> np.ndarray:
    """Return a matrix in which every source has at most three targets."""
    matrix = np.zeros((post, pre))
    for k in range(3):
        matrix[(np.arange(pre) * post // pre + k) % post, np.arange(pre)] = 0.3 + 0.1 * k
    return matrix


def refusal(net: nir.NIRGraph, target: str = "xylo", **options: object) -> nirhw.NirhwError:
    with pytest.raises(nirhw.NirhwError) as caught:
        nirhw.compile(net, target, **{**SUBTRACT, **options})
    return caught.value


@pytest.mark.parametrize(
    ("net", "target", "code", "text"),
    [
        (layered(17), "xylo", "NIRHW-E031", "17 input channels are needed, .* has 16 .1 too many"),
        (layered(4, (6, 9)), "xylo", "NIRHW-E031", "9 output neurons are needed, .* has 8"),
        (layered(4, (6, 17)), "xylo-imu", "NIRHW-E031", "17 output neurons are needed, .* has 16"),
        (layered(4, (6, 33)), "xylo-audio3", "NIRHW-E031", "33 output neurons are needed, .* has 32"),
        (layered(4, (1001, 3)), "xylo", "NIRHW-E031", "1001 hidden neurons are needed, .* has 1000"),
        (layered(4, (993, 3)), "xylo-audio3", "NIRHW-E031", "993 hidden neurons are needed, .* has 992"),
        (layered(4, (497, 3)), "xylo-imu", "NIRHW-E031", "497 hidden neurons are needed, .* has 496"),
        (layered(4, (6, 64, 3)), "xylo", "NIRHW-E035", "64 recurrent targets of one neuron are needed, .* has 63"),
        (
            layered(4, (129, 20, 3)),
            "xylo-imu",
            "NIRHW-E035",
            "129 hidden neurons that take input are needed, .* has 128",
        ),
        (
            layered(4, (20, 129, 3)),
            "xylo-audio3",
            "NIRHW-E035",
            "129 hidden neurons that feed outputs are needed, .* has 128",
        ),
    ],
)
def test_limits_name_the_resource_and_the_excess(net: nir.NIRGraph, target: str, code: str, text: str) -> None:
    failure = refusal(net, target)
    assert failure.code == code
    import re

    first = failure.diagnostics[0]
    assert re.search(text, first.what), first.what
    assert "limit " in first.why and first.fix


def test_what_fits_exactly_is_taken() -> None:
    nirhw.compile(layered(16, (6, 63, 8)), "xylo", **SUBTRACT)
    nirhw.compile(layered(4, (128, 128, 3)), "xylo-imu", **SUBTRACT)


def test_recurrent_connections_are_counted_in_all() -> None:
    def filled(post: int, pre: int) -> np.ndarray:
        return np.full((post, pre), 0.1)

    nirhw.compile(layered(4, (128, 124, 124, 3), filled), "xylo-imu", **SUBTRACT)  # 128 * 124 + 124 * 124 = 31248
    failure = refusal(layered(4, (128, 126, 126, 3), filled), "xylo-imu")
    assert failure.code == "NIRHW-E035"
    assert "32004 recurrent connections are needed" in failure.diagnostics[0].what and "31744" in failure.diagnostics[0].what


def test_fan_out_is_the_union_over_both_synapses() -> None:
    """40 targets on one synapse and 40 others on the second are 80 targets; the same 40 on both are 40."""
    pre, post = 5, 80

    def two_synapses(first: slice, second: slice) -> nir.NIRGraph:
        wa, wb = np.zeros((post, pre)), np.zeros((post, pre))
        wa[first], wb[second] = 0.3, 0.2
        nodes = {"w": b.linear(pre, 4, 1), "a": b.cubalif(pre), "wa": nir.Linear(wa), "fa": b.li(post, 2), "wb": nir.Linear(wb), "fb": b.li(post, 8),
                 "n": b.lif(post), "wo": nir.Linear(np.full((2, post), 0.1)), "o": b.cubalif(2)}  # fmt: skip
        edges = [
            ("in", "w"),
            ("w", "a"),
            ("a", "wa"),
            ("wa", "fa"),
            ("fa", "n"),
            ("a", "wb"),
            ("wb", "fb"),
            ("fb", "n"),
            ("n", "wo"),
            ("wo", "o"),
            ("o", "out"),
        ]
        return b.graph(4, 2, nodes, edges)

    failure = refusal(two_synapses(slice(0, 40), slice(40, 80)))
    assert "80 recurrent targets" in failure.diagnostics[0].what
    model = nirhw.compile(two_synapses(slice(0, 40), slice(0, 40)), "xylo", **SUBTRACT)
    usage = {r["resource"]: r["used"] for r in model.report.data["resources"]}
    assert usage["fan_out"] == 40


def test_neurons_that_take_input_and_feed_outputs_need_the_overlap() -> None:
    """One hidden layer of 120 between input and output, plus bystanders, on a chip whose ranges are 128 wide."""
    n = 100
    nodes = {"w": b.linear(n, 4, 1), "n": b.cubalif(n), "side": nir.Linear(banded(n, n)), "m": b.cubalif(n), "back": nir.Linear(banded(n, n)),
             "wo": b.linear(3, n, 2, 0.1), "o": b.cubalif(3)}  # fmt: skip
    edges = [
        ("in", "w"),
        ("w", "n"),
        ("n", "side"),
        ("side", "m"),
        ("m", "back"),
        ("back", "n"),
        ("n", "wo"),
        ("wo", "o"),
        ("o", "out"),
    ]
    failure = refusal(b.graph(4, 3, nodes, edges), "xylo-imu")
    assert "100 hidden neurons take input and feed outputs, 56 of 200 can do both" in failure.diagnostics[0].what
    nirhw.compile(b.graph(4, 3, nodes, edges), "xylo", **SUBTRACT)


def expressions() -> dict[str, tuple[nir.NIRGraph, str]]:
    one = np.ones(3)
    trailing = b.chain(4, 2, w=b.linear(3, 4), n=b.cubalif(3), w2=b.linear(2, 3))
    analog = b.chain(
        4,
        3,
        w=b.linear(3, 4),
        f=nir.CubaLI(tau_syn=4e-3 * one, tau_mem=8e-3 * one, r=8 * one, v_leak=0 * one, w_in=4 * one),
        n=b.lif(3),
    )
    negative = b.chain(4, 3, w=b.linear(3, 4), n=b.cubalif(3, threshold=-1.0))
    idle = b.chain(4, 3, w=b.linear(3, 4), n=nir.LIF(tau=8e-3 * one, r=0 * one, v_leak=0 * one, v_threshold=one, v_reset=0 * one))
    slow = b.chain(4, 3, w=b.linear(3, 4), n=b.cubalif(3, tau_syn=1e5))
    late = b.chain(4, 3, w=nir.Affine(b.weights(3, 4), one), d=nir.Delay(2e-3 * one), n=b.cubalif(3))
    return {
        "trailing linear": (trailing, "NIRHW-E030"),
        "analog population feeds a neuron": (analog, "NIRHW-E030"),
        "negative threshold": (negative, "NIRHW-E030"),
        "membrane without gain": (idle, "NIRHW-E030"),
        "synapse slower than the slowest code": (slow, "NIRHW-E032"),
        "bias behind a delay": (late, "NIRHW-E030"),
    }


@pytest.mark.parametrize("name", expressions())
def test_what_cannot_be_expressed_is_refused_with_a_proposal(name: str) -> None:
    net, code = expressions()[name]
    failure = refusal(net)
    assert failure.code == code and failure.diagnostics[0].nodes and failure.diagnostics[0].fix


def test_check_returns_all_findings_at_once() -> None:
    net = b.chain(20, 30, w=b.linear(1100, 20), n=b.cubalif(1100), w2=b.linear(30, 1100), o=b.cubalif(30, threshold=-1.0))
    found = nirhw.check(net, "xylo", **SUBTRACT)
    assert len([d for d in found if d.code == "NIRHW-E031"]) == 3 and any(d.code == "NIRHW-E030" for d in found)
    assert nirhw.check(layered(), "xylo", **SUBTRACT) == ()


def test_a_user_chip_sets_the_limits(tmp_path: Path) -> None:
    file = tmp_path / "small.toml"
    file.write_text(
        'name = "small"\nbased_on = "xylo-audio2"\nfamily = "xylo"\n[limits.hidden_neurons]\nvalue = 5\nsource = "our plan"\ncertainty = "inferred"\n'
    )
    failure = refusal(layered(), hardware=file)
    assert "6 hidden neurons are needed" in failure.diagnostics[0].what and "our plan" in failure.diagnostics[0].why
    fits = nirhw.compile(layered(4, (5, 3)), "xylo", hardware=file, **SUBTRACT)
    assert "hidden_neurons" in fits.report.data["inferred_limits"]


def test_delays_that_need_too_many_relays_say_so() -> None:
    nodes = {
        "w": b.linear(50, 4, 1),
        "n": b.cubalif(50),
        "d": nir.Delay(np.full(50, 30 * b.DT)),
        "w2": b.linear(3, 50, 2),
        "o": b.cubalif(3),
    }
    failure = refusal(b.chain(4, 3, **nodes))
    assert failure.code == "NIRHW-E035" and "1500 hidden neurons with relays" in failure.diagnostics[0].what
