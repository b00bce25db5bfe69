"""Each property of Xylo changes what it says in the float network, and nothing else."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np
import pytest

from nirhw.diagnosis import subject
from nirhw.reference import run_reference
from tests import builders as b
from tests.rewrites import changes, merged, present, rewritten, touched


def recurrent(bias: float = 0.0, hidden: Any = None, scale: float = 0.4) -> nir.NIRGraph:
    """Return an input, a recurrent hidden layer and an output layer of CubaLIF."""
    nodes = {
        "w": nir.Affine(b.weights(6, 4, 0), bias * np.arange(6.0)) if bias else b.linear(6, 4, 0, scale),
        "n": hidden or b.cubalif(6, tau_syn=5, tau_mem=11),
        "r": b.linear(6, 6, 1, scale, shift=0.0),
        "w2": b.linear(3, 6, 2, scale),
        "o": b.cubalif(3, tau_syn=3, tau_mem=9),
    }
    edges = [("in", "w"), ("w", "n"), ("n", "r"), ("r", "n"), ("n", "w2"), ("w2", "o"), ("o", "out")]
    return b.graph(4, 3, nodes, edges)


XYLO = {"target": "xylo", "dt": b.DT}
WEIGHTS = {"w", "r", "w2"}


@pytest.mark.parametrize(
    ("name", "populations"),
    [
        ("decay-rounding", {"n": {"port decay", "membrane decay"}, "o": {"port decay", "membrane decay"}}),
        ("decay-before-use", {"n": {"port gain"}, "o": {"port gain"}}),
        ("several-spikes", {"n": {"burst"}}),
        ("soft-reset", {"n": {"reset"}, "o": {"reset"}}),
        ("bias-registers", {"n": {"port bias", "membrane leak"}}),
    ],
)
def test_a_property_changes_what_it_says(name: str, populations: dict[str, set[str]]) -> None:
    assert changes(recurrent(bias=0.02), name=name, **XYLO) == populations


def test_weights_change_alone_and_by_less_than_a_step() -> None:
    case = subject(recurrent(), **XYLO)
    found = rewritten(case, "8-bit-weights")
    assert all(parts == {"weights"} for parts in touched(case.model.network, found).values())
    base = merged(case.model.network)
    for old, new in zip(base.projections, found.projections, strict=True):
        wanted, got = old.operator.matrix.toarray(), new.operator.matrix.toarray()
        # gains that make up for other properties (area, loop share) are not in it; clipping moves the largest weight by 2 %
        step = np.abs(wanted).max() / 64
        assert 0 < np.abs(got - wanted).max() < step, old.name


def test_decays_are_the_powers_of_two_that_the_codes_stand_for() -> None:
    case = subject(recurrent(), **XYLO)
    pop = rewritten(case, "decay-rounding").populations["n"]
    assert pop.membrane is not None and pop.ports[0].decay is not None
    assert pop.membrane.decay.tolist() == [1 - 1 / 8] * 6  # 11 steps are nearer to 8 than to 16 in ratio
    assert pop.ports[0].decay.tolist() == [1 - 1 / 4] * 6
    first = rewritten(case, "decay-before-use").populations["n"].ports[0]
    assert first.gain == pytest.approx(case.model.network.populations["n"].ports[0].gain * (1 - 1 / 5))
    both = rewritten(case, "decay-rounding", "decay-before-use").populations["n"].ports[0]
    assert both.gain == pytest.approx(case.model.network.populations["n"].ports[0].gain * (1 - 1 / 4))


def test_hidden_neurons_burst_and_outputs_do_not() -> None:
    populations = rewritten(subject(recurrent(), **XYLO), "several-spikes").populations
    assert (populations["n"].burst, populations["o"].burst) == (31, 1)
    # weights that lift no neuron by a threshold within a step exclude it
    calm = b.chain(4, 3, w=nir.Linear(np.full((6, 4), 0.001)), n=b.lif(6), w2=b.linear(3, 6), o=b.cubalif(3))
    assert "several-spikes" not in present(subject(calm, **XYLO))


def test_an_unfiltered_synapse_halves_its_current() -> None:
    case = subject(recurrent(hidden=b.lif(6)), **XYLO)
    assert touched(case.model.network, rewritten(case, "no-instant-synapse")) == {"n": {"port gain", "port decay"}}
    port = rewritten(case, "no-instant-synapse").populations["n"].ports[0]
    assert port.decay is not None and port.decay.tolist() == [0.5] * 6
    assert port.gain == pytest.approx(case.model.network.populations["n"].ports[0].gain / 2)
    # the other layer filters: only there a synapse decays before use
    assert touched(case.model.network, rewritten(case, "decay-before-use")) == {"o": {"port gain"}}


def test_registers_clip_a_bias_that_the_compiler_gives_to_a_neuron() -> None:
    case = subject(recurrent(bias=0.5), **XYLO)
    assert case.model.report.data["added_neurons"] >= 1
    pop = rewritten(case, "bias-registers").populations["n"]
    free = case.model.network.populations["n"]
    assert pop.membrane is not None and free.membrane is not None and not pop.ports[0].bias.any()
    settled = free.membrane.gain * free.ports[0].gain * free.ports[0].bias * 5  # a filter of 5 steps adds up five of them
    assert np.all(pop.membrane.leak <= settled * (1 + 1e-9) + 0.01)
    assert pop.membrane.leak[-1] < 0.9 * settled[-1]


def test_properties_that_make_no_difference_are_left_out() -> None:
    exact = b.chain(4, 3, w=b.linear(6, 4), n=b.cubalif(6, 4, 8), w2=b.linear(3, 6), o=b.cubalif(3, 8, 16))
    case = subject(exact, reset="subtract", **XYLO)
    assert present(case) == ["decay-before-use", "several-spikes", "8-bit-weights"]


def skip() -> nir.NIRGraph:
    nodes = {"a": b.linear(6, 4, 1), "l": b.cubalif(6), "c": b.linear(5, 6, 2), "s": b.linear(5, 4, 3), "o": b.cubalif(5)}
    nodes |= {"w3": b.linear(3, 5, 4), "e": b.cubalif(3)}
    edges = [("in", "a"), ("a", "l"), ("l", "c"), ("c", "o"), ("in", "s"), ("s", "o"), ("o", "w3"), ("w3", "e"), ("e", "out")]
    return b.graph(4, 3, nodes, edges)


def test_branches_out_of_step_are_a_property_where_they_are_not_aligned() -> None:
    assert "hop-latency" not in present(subject(skip(), **XYLO))
    case = subject(skip(), **XYLO, options={"align": "never"})
    delays = {p.name: int(p.delay) for p in rewritten(case, "hop-latency").projections}
    arrows = {(p.source, p.target): delays[p.name] for p in case.model.network.projections}
    assert arrows == {("in", "l"): 0, ("in", "o"): 0, ("l", "o"): 1, ("o", "e"): 1}
    (late,) = [p for p in case.present if p.name == "hop-latency"]
    assert (late.lag["l"], late.lag["o"], late.lag["e"]) == (0, 1, 2)


def waiting() -> nir.NIRGraph:
    wait = nir.Delay(np.array([0, 0, 3, 1, 3, 2]) * b.DT)
    nodes = {"w": b.linear(6, 4), "n": b.cubalif(6), "d": wait, "w2": b.linear(5, 6, 1), "m": b.cubalif(5)}
    return b.chain(4, 3, **nodes, w3=b.linear(3, 5, 2), o=b.cubalif(3))


@pytest.mark.parametrize("make", [skip, waiting])
def test_weights_behind_relays_are_found(make: Any) -> None:
    """What waits in relay neurons keeps its own weights, rounded."""
    case = subject(make(), **XYLO)
    assert any(p["relay_stages"] for p in case.model.report.data["delays"])
    assert set(touched(case.model.network, rewritten(case, "8-bit-weights"))) == {p.name for p in case.model.network.projections}
    for old, new in zip(case.model.network.projections, rewritten(case, "8-bit-weights").projections, strict=True):
        wanted, got = old.operator.matrix.toarray(), new.operator.matrix.toarray()
        assert np.abs(got - wanted).max() < np.abs(wanted).max() / 64


def test_all_properties_at_once_are_the_chip_without_compensation() -> None:
    case = subject(recurrent(scale=0.05), reset="subtract", **XYLO, options={"gain": "none"})
    spikes = b.spikes(200, 4, rate=0.15, batch=8)
    chip, free = case.model.emulate(spikes).spikes, case.model.reference(spikes).spikes
    together = run_reference(rewritten(case, *present(case)), spikes).spikes
    lost, unexplained = (np.count_nonzero(chip[:, 1:] != other[:, :-1]) for other in (free, together))
    assert lost > 0.2 * free.sum()  # without compensation much is lost
    assert unexplained < 0.2 * lost  # states of whole numbers are left
