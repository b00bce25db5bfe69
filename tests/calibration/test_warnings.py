"""What calibration warns of: a loss on samples that were not searched, and networks that hang on a small turn of a knob."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np
import pytest

import nirhw
from nirhw.calibration.driver import Calibration
from nirhw.calibration.effort import list_calibration
from nirhw.calibration.halves import Check, Outcome
from nirhw.calibration.knobs import Knob
from nirhw.calibration.objective import Score
from nirhw.fidelity import Share
from nirhw.hardware import load_hardware
from nirhw.nir_reader import Semantics, read_network
from nirhw.pipeline import Context, Tuning
from nirhw.registry import find_target
from tests import builders as b

KNOBS = (Knob("gain.input", 1.0, 0.5, 2.0, "log", "factor on weights of inputs"), Knob("calm", 0.0, -1, 1, "linear", "none"))
GRAPH = b.chain(4, 3, w=b.linear(3, 4), o=b.cubalif(3))


def warned(before: float, after: float, error: float, sensitivity: dict[str, float], value: float = 1.5) -> list[Any]:
    """Return the findings of a calibration that turned one knob, with this agreement on the check half."""
    checks = [Check({"out": Share(agreement, 0.01, 100)}, {}) for agreement in (before, after)]
    score = Score(0.9, 0.9, 0.9, np.full(100, 0.9))
    outcome = Outcome(score, score, *checks, {}, error, False, (100, 100), 0)
    tuning = Tuning({"gain.input": value, "calm": 0.0})
    family = find_target("xylo")
    context = Context(load_hardware("xylo-audio2", "xylo"), family.make_options({}), family.new_record())
    network = read_network(GRAPH, Semantics(b.DT, "subtract")).network
    list_calibration(Calibration(tuning, KNOBS, 50, 50, False, outcome, sensitivity), network, context)
    return context.findings


def test_a_loss_beyond_two_standard_errors_is_a_warning() -> None:
    (finding,) = warned(0.95, 0.90, 0.02, {})
    assert (finding.code, finding.is_error, finding.nodes) == ("NIRHW-W013", False, ("o",))
    assert "fell by 5.0%" in finding.what and "100 samples were searched, 100 judge" in finding.why
    assert "more calibration samples" in finding.fix


@pytest.mark.parametrize(("after", "value"), [(0.92, 1.5), (0.99, 1.5), (0.90, 1.0)])
def test_what_chance_explains_and_what_was_not_turned_is_none(after: float, value: float) -> None:
    assert not warned(0.95, after, 0.02, {"gain.input": 0.05, "calm": 0.0}, value)


def test_an_ill_conditioned_network_is_named_with_what_to_change() -> None:
    (finding,) = warned(0.95, 0.95, 0.02, {"gain.input": 0.12, "calm": 0.06})
    assert finding.code == "NIRHW-W014"
    assert "a turn of gain.input (factor on weights of inputs) by 5 % costs 12.0% of the decisions" in finding.what
    assert "calm, gain.input" in finding.why
    assert "train with noise" in finding.fix


def test_a_network_that_compares_its_input_with_a_constant_is_ill_conditioned() -> None:
    """One output follows the input, the other a bias that meets it half way: 5 % of gain move the border through many samples."""
    weights, bias = np.concatenate([np.full((1, 8), 0.05), np.zeros((1, 8))]), np.array([0.0, 0.2])
    graph = b.chain(8, 2, w=nir.Affine(weights, bias), o=b.cubalif(2))
    random = np.random.default_rng(0)
    x = (random.random((200, 120, 8)) < random.uniform(0.45, 0.55, (200, 1, 1))).astype(np.uint8)
    model = nirhw.compile(graph, "xylo", dt=b.DT, reset="subtract", calibration=x, budget=40)
    (finding,) = [f for f in model.findings if f.code == "NIRHW-W014"]
    assert "gain.input" in finding.what + finding.why
    assert max(model.report.data["calibration"]["sensitivity"].values()) > 0.05
