"""Synapses of several words: they add up to one weight on both emulators, within their budget, and are counted wherever words are."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nirhw
from nirhw.targets.spinnaker2.config import DELAYED
from nirhw.targets.spinnaker2.emulator import Emulator
from nirhw.targets.spinnaker2.words import SHARE, finest_scale, split, words_of
from tests import builders as b
from tests.targets.spinnaker2 import slow_model
from tests.targets.spinnaker2.random_configs import slow_elements
from tests.targets.spinnaker2.test_limits import described

OPTIONS = {"application": "delay"}


def outlying() -> nir.NIRGraph:
    """A recurrent network, one in fifty of whose weights is many times the others."""
    rng = np.random.default_rng(5)

    def weight(post: int, pre: int, size: float) -> nir.Linear:
        return nir.Linear(rng.normal(0.05, size, (post, pre)) * np.where(rng.random((post, pre)) < 0.02, 12.0, 1.0))

    nodes = {
        "w": weight(30, 10, 0.4),
        "n": b.cubalif(30),
        "r": weight(30, 30, 0.15),
        "w2": weight(5, 30, 0.2),
        "o": b.cubalif(5),
    }
    edges = [("in", "w"), ("w", "n"), ("n", "r"), ("r", "n"), ("n", "w2"), ("w2", "o"), ("o", "out")]
    return b.graph(10, 5, nodes, edges)


def compiled(words: int, **more: Any) -> nirhw.CompiledModel:
    return nirhw.compile(outlying(), "spinnaker2", dt=b.DT, reset="subtract", options={**OPTIONS, "words": words}, **more)


def words_in(model: nirhw.CompiledModel) -> list[tuple[int, ...]]:
    """Return slice, source slice, source neuron, target and delay of every word."""
    return [
        (index, block.source, int(pre), int(target), int(delay))
        for index, part in enumerate(model.config.slices)
        for block in part.blocks
        for pre, target, delay in zip(block.pre, block.target, block.delay, strict=True)
    ]


@settings(max_examples=200)
@given(st.lists(st.integers(-120, 120), min_size=1, max_size=40), st.integers(1, 15))
def test_words_add_up_and_are_the_fewest(weights: list[int], limit: int) -> None:
    weight = np.array(weights)
    words, synapse = split(weight, limit)
    assert np.array_equal(np.bincount(synapse, words, minlength=weight.size), weight)
    assert np.all((np.abs(words) <= limit) & (words != 0))
    assert np.array_equal(np.bincount(synapse, minlength=weight.size), words_of(weight, limit))
    assert np.array_equal(words_of(weight, limit), np.ceil(np.abs(weight) / limit))


@settings(max_examples=100)
@given(st.integers(0, 10**6), st.integers(1, 60), st.sampled_from([1.0, 10.0, 200.0]), st.integers(2, 8))
def test_the_finest_scale_keeps_to_its_words(seed: int, size: int, outlier: float, most: int) -> None:
    rng = np.random.default_rng(seed)
    weight, row = rng.standard_t(3, size) * (rng.random(size) < 0.9), rng.integers(0, 3, size)
    weight[0] *= outlier
    largest = np.array([np.abs(weight[row == k]).max(initial=0.0) for k in range(3)])
    start = np.where(largest > 0, 15 / np.where(largest > 0, largest, 1.0), np.inf)
    found = finest_scale(weight, row, start, 15, most)
    for k in np.flatnonzero(largest):
        units = np.abs(weight[row == k]) * found[k]
        assert start[k] <= found[k] <= most * start[k] * (1 + 1e-9)
        assert np.maximum(np.ceil((units - 0.5) / 15), 0).sum() <= max(SHARE * (units > 0).sum(), (units > 0).sum())
    assert np.all(np.isinf(found[largest == 0]))


def test_few_large_weights_leave_the_others_a_finer_scale() -> None:
    one, four = (compiled(words) for words in (1, 4))
    errors = [sum(10 ** (-t["sqnr_db"] / 10) for t in m.report.data["tensors"]) for m in (one, four)]
    assert errors[1] < 0.15 * errors[0]
    weights = sum(p.operator.matrix.nnz for p in four.network.projections)
    assert len(words_in(four)) > len(set(words_in(four)))
    assert len(words_in(four)) < 1.05 * SHARE * weights  # words are counted before errors of a row are made to cancel
    assert len(words_in(one)) == len(set(words_in(one)))
    reasons = [" ".join(d.reason for d in m.deviations if d.rule == "weights") for m in (one, four)]
    assert "several words that add up" in reasons[1] and "several words" not in reasons[0]


def test_words_are_no_larger_than_their_field_and_counted_in_memory() -> None:
    one, four = (compiled(words) for words in (1, 4))
    for part in four.config.slices:
        if part.application in DELAYED:
            assert all(np.abs(block.weight).max() <= 15 for block in part.blocks)
    used = [sum(row["synapses"] for row in m.report.data["memory"]) for m in (one, four)]
    assert used[1] - used[0] == pytest.approx(2 * (len(words_in(four)) - len(words_in(one))), rel=0.1)


def test_the_emulator_equals_the_slow_model() -> None:
    model = compiled(4)
    spikes = b.spikes(60, 10, rate=0.3)
    trace = Emulator(model.config).prepare(spikes[None], record={"spikes", "v"}).run()
    elements = slow_elements(model.config, spikes)
    slow_model.run(elements, 60)
    assert trace.spikes is not None and trace.v is not None and trace.spikes.any()
    fired = np.concatenate([np.array(e.history["spikes"]) for e in elements], axis=1)
    assert np.array_equal(trace.spikes[0], fired)
    starts = model.config.starts
    for k, element in enumerate(elements):
        if element.application != "spike_list":
            assert np.array_equal(trace.v[0][:, starts[k] : starts[k + 1]], np.array(element.history["v"]))


def test_rows_keep_to_the_length_that_the_population_table_holds(tmp_path: Any) -> None:
    """64 synapses and a header take 35 words: a table that holds 20 asks for two slices."""
    graph = b.chain(4, 64, w=b.linear(64, 4), n=b.lif(64))
    for words, slices in ((35, 1), (20, 2)):
        hardware = described(tmp_path, row_words=words)
        model = nirhw.compile(graph, "spinnaker2", dt=b.DT, hardware=hardware, options={**OPTIONS, "words": 1})
        assert sum(s.population == "n" for s in model.config.slices) == slices


def test_a_network_that_words_make_too_large_is_told_the_mend(tmp_path: Any) -> None:
    with pytest.raises(nirhw.NirhwError) as caught:
        compiled(4, hardware=described(tmp_path, pes=1))
    assert any("options={'words': 1}" in d.fix for d in caught.value.diagnostics)
