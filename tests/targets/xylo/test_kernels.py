"""Responses to an event: closed forms against written-out sums, and fits that no other gains beat."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nirhw
from nirhw.targets.xylo import kernels
from tests import builders as b

SHARES = st.floats(0.0, 0.98)
STEPS = 2000


def response(synapse: float, membrane: float) -> np.ndarray:
    """Return the membrane after one event, step by step."""
    current, level, seen = 0.0, 0.0, np.zeros(STEPS)
    for t in range(STEPS):
        current = synapse * current + (t == 0)
        level = membrane * level + current
        seen[t] = level
    return seen


@given(SHARES, SHARES, SHARES, SHARES)
def test_sums_of_products_have_a_closed_form(a: float, m: float, c: float, d: float) -> None:
    assert kernels.inner(*map(np.array, (a, m, c, d))) == pytest.approx(response(a, m) @ response(c, d), rel=1e-6)


@given(st.floats(0.05, 0.97), st.floats(0.3, 0.97), st.integers(1, 6))
def test_two_synapses_are_the_best_pair(synapse: float, membrane: float, code: int) -> None:
    one = np.array([synapse]), np.array([membrane]), np.array([code])
    split = kernels.two_synapses(*one, 1, 7)
    wanted, keeps = response(synapse, membrane), 1 - 2.0**-code
    got = sum(g * response(1 - 2.0**-c, keeps) for g, c in zip(split.gains[:, 0], split.codes[:, 0], strict=True))
    assert split.error[0] == pytest.approx(np.linalg.norm(got - wanted) / np.linalg.norm(wanted), abs=1e-6)
    for first, second in ((1, 2), (2, 4), (1, 7), (3, 6)):
        basis = np.stack([response(1 - 2.0**-c, keeps) for c in (first, second)], axis=1)
        best = np.linalg.lstsq(basis, wanted, rcond=None)[0]
        lost = np.linalg.norm(basis @ best - wanted) ** 2
        # what counts is the error and a little noise on the weights
        noise = kernels.NOISE * (best**2 * (basis**2).sum(axis=0)).sum()
        own = kernels.NOISE * sum(
            g**2 * (response(1 - 2.0**-c, keeps) ** 2).sum() for g, c in zip(split.gains[:, 0], split.codes[:, 0], strict=True)
        )
        assert (split.error[0] * np.linalg.norm(wanted)) ** 2 + own <= lost + noise + 1e-9


@given(st.floats(0.3, 0.97), st.integers(1, 6))
def test_gain_and_depth_keep_the_rate_under_a_steady_drive(membrane: float, code: int) -> None:
    gain, depth = kernels.rate_neutral(np.array([membrane]), np.array([code]))
    drive, reset = gain[0] / (1 - membrane), depth[0] * 2.0**code
    assert drive / reset == pytest.approx(1.0)
    exact = kernels.rate_neutral(np.array([1 - 2.0**-code]), np.array([code]))
    assert exact[0] == pytest.approx(1.0) and exact[1] == pytest.approx(1.0)


@pytest.mark.parametrize(("tau_syn", "tau_mem"), [(2.2, 10.0), (4.0, 6.7), (5.5, 23.0), (3.0, 3.1)])
def test_a_hidden_neuron_answers_an_event_as_the_network_does(tau_syn: float, tau_mem: float) -> None:
    net = b.chain(1, 2, w=b.linear(1, 1, 0, 0.0, 0.15), n=b.cubalif(1, tau_syn, tau_mem), w2=b.linear(2, 1), o=b.cubalif(2))
    pulse = np.zeros((120, 1), np.uint8)
    pulse[0] = 1
    errors = []
    for synapses in ("one", "auto"):
        model = nirhw.compile(net, "xylo", dt=b.DT, reset="subtract", options={"synapses": synapses})
        wanted = model.reference(pulse, record=["n"]).states["n"]["v"].ravel()
        level, rest = (model.emulate(x, record=["n"]).states["n"]["v"].ravel() for x in (pulse, np.zeros_like(pulse)))
        got = (level.astype(float) - rest) / model.io_map["populations"]["n"]["scale"]
        best = (got @ wanted) / (got @ got)  # the gain is chosen so that rates are kept
        errors.append(np.linalg.norm(best * got - wanted) / np.linalg.norm(wanted))
        (row,) = [r for r in model.report.data["responses"] if r["population"] == "n"]
        assert errors[-1] == pytest.approx(row["error"], abs=0.025)  # whole numbers leave a little
    assert errors[1] < 0.06 and errors[1] < 0.6 * errors[0]
    assert "two-synapses" in {d.rule for d in model.deviations}


def test_one_synapse_has_the_code_whose_response_is_most_like_the_wanted_one() -> None:
    """Against all codes, each with the multiple of its response that fits best, written out."""
    random, steps = np.random.default_rng(0), np.arange(4000)
    others = 0
    for _ in range(60):
        tau_syn, tau_mem = 10 ** random.uniform(0.2, 2, 2)
        a, m = 1 - 1 / tau_syn, int(np.rint(np.log2(tau_mem)))

        def response(synapse: float, membrane: float) -> np.ndarray:
            return np.convolve(synapse**steps, membrane**steps)[: steps.size]

        wanted, errors = response(a, 1 - 1 / tau_mem), {}
        for code in range(1, 10):
            got = response(1 - 2.0**-code, 1 - 2.0**-m)
            errors[code] = np.linalg.norm(wanted - (got @ wanted) / (got @ got) * got)
        codes = (np.array([x]) for x in (a, 1 - 1 / tau_mem, m))
        best = int(kernels.best_synapse(*codes, 1, 15)[0])
        assert best == min(errors, key=lambda code: errors[code])
        others += best != max(1, int(np.rint(np.log2(tau_syn))))
    assert others > 10  # not the one next to the time constant


@pytest.mark.parametrize(("tau_syn", "tau_mem"), [(5.0, 11.0), (6.55, 24.16), (3.0, 3.1)])
def test_an_output_neuron_takes_the_synapse_that_fits_its_membrane(tau_syn: float, tau_mem: float) -> None:
    net = b.chain(2, 2, w=b.linear(4, 2), n=b.cubalif(4), w2=b.linear(2, 4), o=b.cubalif(2, tau_syn, tau_mem))
    model = nirhw.compile(net, "xylo", dt=b.DT, reset="subtract")
    outputs = model.config.readout.neurons
    code = kernels.best_synapse(*(np.full(2, 1 - 1 / t) for t in (tau_syn, tau_mem)), outputs.v_mem_decay, 1, 15)
    assert np.array_equal(outputs.i_syn_decay, code)
    (row,) = [r for r in model.report.data["responses"] if r["population"] == "o"]
    nearest = np.full(2, max(1, int(np.rint(np.log2(tau_syn)))))
    assert nearest[0] != code[0]
    by_time_constant = kernels.one_synapse_error(
        *(np.full(2, 1 - 1 / t) for t in (tau_syn, tau_mem)), nearest, outputs.v_mem_decay
    )
    assert row["error"] < 0.6 * by_time_constant[0]


def test_a_chip_with_one_synapse_and_exact_codes_take_one() -> None:
    def compiled(tau_syn: float, tau_mem: float, target: str) -> nirhw.CompiledModel:
        net = b.chain(4, 2, w=b.linear(6, 4), n=b.cubalif(6, tau_syn, tau_mem), w2=b.linear(2, 6), o=b.cubalif(2))
        return nirhw.compile(net, target, dt=b.DT, reset="subtract")

    assert compiled(3.0, 11.0, "xylo").config.synapse2_enable
    assert not compiled(3.0, 11.0, "xylo-imu").config.synapse2_enable
    assert not compiled(4.0, 8.0, "xylo").config.synapse2_enable
