"""Facts about the chip's arithmetic that users rely on, each on a network whose right answer is obvious."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nirhw.diagnostics import InputError, VerifyError
from nirhw.targets.xylo.config import (
    NO_ALIAS,
    HiddenGroup,
    HiddenNeurons,
    InputGroup,
    OutputNeurons,
    ReadoutGroup,
    XyloConfiguration,
)
from nirhw.targets.xylo.emulator import XyloEmulator, XyloState

ALL = frozenset({"spikes", "v", "i"})
STATES = tuple(f.name for f in fields(XyloState))
TRACES = ("out_spikes", "hidden_spikes", "v", "i", "i2", "v_out", "i_out")


def network(
    w_in, w_rec=None, w_out=None, *, w_in2=None, threshold=1000, dash_syn=2, dash_mem=3, bias=0, alias=None, shift=0
) -> XyloConfiguration:
    """A small network; weights as nested lists ``[pre][post]``, one threshold and dash for all neurons."""
    w_in = np.array(w_in, np.int8)
    n_hid = w_in.shape[1] if w_rec is None else len(w_rec)
    w_rec = np.zeros((n_hid, n_hid), np.int8) if w_rec is None else np.array(w_rec, np.int8)
    w_out = np.zeros((n_hid, 1), np.int8) if w_out is None else np.array(w_out, np.int8)

    def column(value, n):
        return np.full(n, value, np.int64)

    hidden = HiddenNeurons(
        i_syn_decay=column(dash_syn, n_hid),
        i_syn2_decay=column(dash_syn, n_hid),
        v_mem_decay=column(dash_mem, n_hid),
        threshold=column(threshold, n_hid),
        v_mem_bias=column(bias, n_hid),
        alias_target=column(NO_ALIAS, n_hid) if alias is None else np.array(alias),
    )
    n_out = w_out.shape[1]
    return XyloConfiguration(
        samna_module="xyloCore2",
        input=InputGroup(w_in, np.zeros_like(w_in) if w_in2 is None else np.array(w_in2, np.int8), shift),
        hidden=HiddenGroup(w_rec, np.zeros_like(w_rec), shift, hidden, alias is not None),
        readout=ReadoutGroup(w_out, shift, OutputNeurons(*(column(x, n_out) for x in (dash_syn, dash_mem, 50, 0)))),
        synapse2_enable=w_in2 is not None,
        bias_enable=bias != 0,
    )


def run(config, counts, **options):
    """Run one sample given as ``[time][channel]`` and record everything."""
    return XyloEmulator(config).prepare(np.array([counts]), record=ALL, **options).run()


def busy_network(n_hidden=70, seed=3) -> XyloConfiguration:
    rng = np.random.default_rng(seed)

    def weights(*shape):
        return rng.integers(-60, 80, shape) * (rng.random(shape) < 0.3)

    return network(
        weights(4, n_hidden),
        weights(n_hidden, n_hidden),
        weights(n_hidden, 5),
        w_in2=weights(4, n_hidden),
        threshold=90,
    )


def same(a, b, names=TRACES) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in names)


def test_an_event_decays_before_it_reaches_the_membrane():
    trace = run(network([[10]]), [[1], [0]])
    assert trace.i[0, :, 0].tolist() == [8, 6]  # 10 - 10 >> 2, then 8 - 8 >> 2
    assert trace.v[0, :, 0].tolist() == [8, 13]  # 8, then 8 - 8 >> 3 + 6


def test_a_lone_event_of_weight_one_has_no_effect():
    assert not run(network([[1]]), [[1], [0]]).v.any()


def test_dash_zero_kills_a_synapse():
    assert not run(network([[100]], dash_syn=0), [[15], [15]]).v.any()


def test_small_values_decay_linearly_and_negative_ones_towards_zero():
    up = run(network([[4]], dash_syn=10, dash_mem=0), [[1]] + [[0]] * 4)
    assert up.i[0, :, 0].tolist() == [3, 2, 1, 0, 0]
    down = run(network([[-4]], dash_syn=10), [[1]] + [[0]] * 4)
    assert down.i[0, :, 0].tolist() == [-3, -2, -1, 0, 0]


def test_latency_is_zero_from_input_and_one_step_a_hop():
    config = network([[100, 0]], [[0, 100], [0, 0]], [[100], [0]], threshold=50)
    trace = run(config, [[1], [0], [0]])
    assert trace.hidden_spikes[0, :2].tolist() == [[1, 0], [1, 1]]
    assert trace.out_spikes[0, :2, 0].tolist() == [0, 1]


def test_input_columns_are_the_first_neurons_and_readout_rows_the_last():
    config = network([[100]], np.zeros((3, 3)), [[100]], threshold=50, alias=[2, NO_ALIAS, NO_ALIAS])
    trace = run(config, [[1], [0]])
    assert trace.hidden_spikes[0, 0].tolist() == [1, 0, 1]
    assert trace.v[0, 0].tolist() == [25, 0, 0]
    assert trace.out_spikes[0, :, 0].tolist() == [0, 1]


def test_several_spikes_a_step_up_to_31():
    trace = run(network([[100]], threshold=1, dash_mem=1), [[1]], count=True)
    assert trace.hidden_spikes[0, 0, 0] == 31
    assert trace.v[0, 0, 0] == 75 - 31
    assert trace.capped.tolist() == [1]


def test_a_neuron_fires_at_its_threshold():
    assert run(network([[100]], threshold=75), [[1]]).hidden_spikes[0, 0, 0] == 1
    assert run(network([[100]], threshold=76), [[1]]).hidden_spikes[0, 0, 0] == 0


def test_an_output_fires_once_a_step():
    trace = run(network([[100]], w_out=[[127]], threshold=1), [[1], [0], [0]])
    assert trace.out_spikes[0, :, 0].tolist() == [0, 1, 1]
    assert trace.v_out[0, 1, 0] > 50


def test_input_counts_above_15_are_dropped():
    fifteen, many = run(network([[10]]), [[15]]), run(network([[10]]), [[1000]])
    assert same(fifteen, many)


@pytest.mark.parametrize(("weight", "limit"), [(127, 32767), (-128, -32768)])
def test_currents_and_membranes_saturate(weight, limit):
    trace = run(network([[weight]], threshold=32767, dash_syn=15, dash_mem=15, shift=7), [[15]] * 8, count=True)
    assert trace.i[0, -1, 0] in (limit - 1, limit + 1)  # clamped, then decayed by 1
    assert abs(int(trace.v[0, -1, 0]) - limit) <= 32767 and trace.saturations_v[0] > 0
    # 32767 // 16256 is 2: of the first 15 events 13 clip; -32768 is reached exactly by the second
    assert trace.saturations_i[0] >= 13


def test_clamps_follow_the_order_of_the_ids():
    late = run(network([[127], [-100]], shift=7, dash_syn=15), [[15, 1]])
    early = run(network([[-100], [127]], shift=7, dash_syn=15), [[1, 15]])
    assert late.i[0, 0, 0] == 32767 - 12800 - 1
    assert early.i[0, 0, 0] == 32767 - 1


def test_both_synapses_add_to_the_membrane():
    trace = run(network([[10]], w_in2=[[20]]), [[1]])
    assert (trace.i[0, 0, 0], trace.i2[0, 0, 0], trace.v[0, 0, 0]) == (8, 15, 23)


def test_bias_and_its_switch():
    config = network([[0]], bias=5)
    assert run(config, [[0], [0]]).v[0, :, 0].tolist() == [5, 9]
    assert not run(replace(config, bias_enable=False), [[0], [0]]).v.any()


def test_alias_copies_spikes_upwards_in_a_chain_and_downwards():
    chain = run(network([[100, 0, 0]], threshold=50, alias=[1, 2, NO_ALIAS]), [[1]])
    assert chain.hidden_spikes[0, 0].tolist() == [1, 1, 1]
    down = run(network([[0, 0, 100]], threshold=50, alias=[NO_ALIAS, 0, 1]), [[1]])
    assert down.hidden_spikes[0, 0].tolist() == [0, 1, 1]  # neuron 1 was settled before its copy came


def test_alias_spikes_count_towards_the_cap_of_a_later_target():
    trace = run(network([[100, 100]], threshold=2, alias=[1, NO_ALIAS]), [[1]])
    assert trace.hidden_spikes[0, 0].tolist() == [31, 31]
    assert trace.v[0, 0].tolist() == [75 - 62, 75]


def test_events_are_counted_for_every_synapse():
    config = network([[100, 0]], [[0, 1], [0, 0]], [[1], [0]], threshold=1000)
    assert run(config, [[3], [0]], count=True).events.tolist() == [3]
    firing = replace(
        config, hidden=replace(config.hidden, neurons=replace(config.hidden.neurons, threshold=np.array([75, 1000])))
    )
    assert run(firing, [[1], [0]], count=True).events.tolist() == [1 + 2]


def test_bits_do_not_depend_on_batch_threads_or_counting():
    emulator = XyloEmulator(busy_network())
    counts = np.random.default_rng(0).integers(0, 4, (7, 30, 4))
    batch = emulator.prepare(counts, record=ALL).run()
    assert batch.hidden_spikes.any()
    assert batch.out_spikes.any()
    assert same(batch, emulator.prepare(counts, record=ALL).run(1))
    assert same(batch, emulator.prepare(counts, record=ALL, count=True).run(5))
    for k in range(len(counts)):
        alone = emulator.prepare(counts[k : k + 1], record=ALL).run()
        assert all(np.array_equal(getattr(batch, name)[k], getattr(alone, name)[0]) for name in TRACES)


def test_storing_rows_densely_or_singly_gives_the_same_bits(monkeypatch):
    config, counts = busy_network(), np.random.default_rng(0).integers(0, 4, (1, 30, 4))
    traces = []
    for cost in (0.0, 1.0, 1e6):
        monkeypatch.setattr("nirhw.targets.xylo.flat._BLOCK_COST", cost)
        traces.append(XyloEmulator(config).prepare(counts, record=ALL, count=True).run())
    assert same(traces[0], traces[1])
    assert same(traces[0], traces[2])
    assert traces[0].events == traces[1].events == traces[2].events
    assert traces[0].saturations_i == traces[1].saturations_i == traces[2].saturations_i


EMULATOR = XyloEmulator(busy_network())


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), cuts=st.lists(st.integers(0, 40), max_size=3))
def test_a_stream_may_be_cut_anywhere(seed, cuts):
    counts = np.random.default_rng(seed).integers(0, 3, (2, 40, 4))
    whole = EMULATOR.prepare(counts, record=ALL).run()
    state, pieces = None, []
    for first, last in zip([0, *sorted(cuts)], [*sorted(cuts), 40], strict=True):
        piece = EMULATOR.prepare(counts[:, first:last], state=state, record=ALL).run()
        state = piece.state
        pieces.append(piece)
    for name in TRACES:
        assert np.array_equal(np.concatenate([getattr(p, name) for p in pieces], axis=1), getattr(whole, name))
    assert same(state, whole.state, STATES)


def test_counting_changes_no_bits_where_neurons_fire_in_order():
    config = network([[100, 0, 0]], threshold=50, alias=[1, 2, NO_ALIAS])
    counted = run(config, [[1], [2]], count=True)
    assert same(counted, run(config, [[1], [2]]))
    assert counted.events.tolist() == [3]


@pytest.mark.parametrize("record", [{"spikes"}, {"v"}, {"i"}, {"v", "i"}, {"spikes", "i"}])
def test_a_recording_does_not_depend_on_what_else_is_recorded(record):
    counts = np.random.default_rng(1).integers(0, 4, (2, 20, 4))
    everything, part = EMULATOR.prepare(counts, record=ALL).run(), EMULATOR.prepare(counts, record=record).run()
    names = [name for name in TRACES if name == "out_spikes" or (name.split("_")[-1] if "hidden" in name else name[0]) in record]
    assert same(part, everything, names)
    assert same(part.state, everything.state, STATES)


def test_what_is_not_recorded_is_none():
    trace = XyloEmulator(network([[10]])).prepare(np.ones((1, 3, 1), bool)).run()
    assert trace.out_spikes.shape == (1, 3, 1)
    assert all(getattr(trace, name) is None for name in TRACES[1:])
    assert trace.events is None


@pytest.mark.parametrize("shape", [(0, 3, 1), (2, 0, 1)])
def test_empty_batches_and_runs(shape):
    assert XyloEmulator(network([[10]])).prepare(np.zeros(shape, int), record=ALL).run().v.shape == shape


@pytest.mark.parametrize(
    ("counts", "code"),
    [
        (np.zeros((3, 1), int), "NIRHW-E050"),
        (np.zeros((1, 3, 2), int), "NIRHW-E050"),
        (np.zeros((1, 3, 1)), "NIRHW-E051"),
        (np.full((1, 3, 1), -1), "NIRHW-E051"),
    ],
)
def test_unsuitable_counts_are_refused(counts, code):
    with pytest.raises(InputError) as caught:
        XyloEmulator(network([[10]])).prepare(counts).run()
    assert caught.value.code == code


def test_unsuitable_state_and_record_are_refused():
    emulator = XyloEmulator(network([[10]]))
    state = emulator.prepare(np.zeros((2, 1, 1), int)).run().state
    with pytest.raises(InputError, match="NIRHW-E053"):
        emulator.prepare(np.zeros((1, 1, 1), int), state=state).run()
    with pytest.raises(InputError, match="NIRHW-E052"):
        emulator.prepare(np.zeros((1, 1, 1), int), record={"voltage"}).run()


def test_values_beyond_their_registers_are_refused():
    with pytest.raises(VerifyError, match="v_mem_decay"):
        XyloEmulator(network([[10]], dash_mem=16))
    with pytest.raises(VerifyError, match="alias_target"):
        XyloEmulator(network([[10]], alias=[1]))


def test_numba_is_imported_late():
    code = "import sys, nirhw.targets.xylo.emulator; assert 'numba' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
