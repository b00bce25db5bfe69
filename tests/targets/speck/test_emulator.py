"""The event-driven emulator: against a dense second implementation, against known answers, and against itself."""

from __future__ import annotations

import numpy as np
import pytest

from nirhw.targets.speck.arrays import pack
from nirhw.targets.speck.config import CnnLayerConfig, SpeckConfiguration
from nirhw.targets.speck.emulator import ORDERS, SpeckEmulator, SpeckTrace, Stimulus
from tests.targets.speck.dense_reference import DenseChip
from tests.targets.speck.random_chips import chip_of, core_of, random_chip, shape, to

NO_MARKS = np.zeros((0, 2), np.int64)


def events_for(config: SpeckConfiguration, n: int, seed: int, spill: int = 0) -> np.ndarray:
    """Events for core 0, ``[event, (channel, y, x)]``; some lie outside by up to ``spill``."""
    source = config.cnn_layers[0].dimensions.input_shape
    high = np.array([source.feature_count, source.size.y, source.size.x]) + spill
    return np.random.default_rng(seed).integers(0, high, (n, 3))


def stimulus_of(events: np.ndarray, ticks: list[int] | None = None) -> Stimulus:
    marks = np.array([(t, -1) for t in ticks or []], np.int64).reshape(-1, 2)
    return Stimulus(pack(0, *events.T), marks)


def neuron_of(config: SpeckConfiguration, core: int, feature: int, y: int, x: int) -> int:
    size = config.cnn_layers[core].dimensions.output_shape.size
    return (feature * size.y + y) * size.x + x


def states_of(emulator: SpeckEmulator, trace: SpeckTrace) -> SpeckTrace:
    """A run without events that records all states once."""
    one = Stimulus(np.zeros(0, np.int64), np.array([[0, 0]], np.int64), 1)
    return emulator.prepare([one] * trace.state.v.shape[0], trace.state, record=frozenset(range(9))).run()


@pytest.mark.parametrize("seed", range(120))
def test_a_dense_second_implementation_agrees_in_every_spike_state_and_count(seed: int) -> None:
    config = random_chip(seed)
    order = ("feature", "row", "reversed")[seed % 3]
    events = events_for(config, 60, seed, spill=1)
    ticks = [0, 13, 13, 40, 60]
    dense = DenseChip(config, order)
    for k, (channel, y, x) in enumerate(events.tolist()):
        for _ in range(ticks.count(k)):
            dense.tick()
        dense.feed(0, channel, y, x)
    dense.tick()
    emulator = SpeckEmulator(config, order)
    trace = emulator.prepare([stimulus_of(events, ticks)], log=frozenset(range(9))).run()
    # the emulator emits an event's spikes before what follows from them, like the dense one
    expected = [(n, core, neuron_of(config, core, f, y, x)) for n, core, f, y, x in dense.spikes]
    assert list(map(tuple, trace.spikes[0].tolist())) == expected
    final = states_of(emulator, trace)
    for core in range(9):
        np.testing.assert_array_equal(final.v[core][0, 0], dense.v[core].ravel())
    for name, counted in dense.counts.items():
        np.testing.assert_array_equal(trace.counters[name][0], [counted[core] for core in range(9)], err_msg=name)


def test_the_random_chips_reach_everything_that_is_compared() -> None:
    chips = [random_chip(seed) for seed in range(120)]
    cores = [core for chip in chips for core in chip.cnn_layers if core.used]
    enabled = [[d for d in core.destinations if d.enable] for core in cores]
    assert {core.return_to_zero for core in cores} == {True, False}
    assert {d.pooling for own in enabled for d in own} == {1, 2, 4}
    assert any(d.feature_shift for own in enabled for d in own)
    assert {len(own) for own in enabled} == {0, 1, 2}
    assert {core.dimensions.stride.x for core in cores} == {1, 2, 4, 8}
    assert any(core.dimensions.stride.x != core.dimensions.stride.y for core in cores)
    assert any(core.dimensions.padding.x for core in cores)
    heard = [[d.layer for core in chip.cnn_layers for d in core.destinations if d.enable] for chip in chips]
    assert sum(len(set(layers)) < len(layers) for layers in heard) > 20  # merges
    totals = dict.fromkeys(("bounded", "overflows", "outside"), 0)
    for seed, chip in enumerate(chips):
        trace = SpeckEmulator(chip).prepare([stimulus_of(events_for(chip, 60, seed, spill=1), [0, 13])]).run()
        for name in totals:
            totals[name] += int(trace.counters[name].sum())
    assert all(total > 50 for total in totals.values()), totals


def one_neuron(weight: int, threshold: int, **more: object) -> SpeckConfiguration:
    return chip_of(core_of(np.full((1, 1, 1, 1), weight), shape(1, 1, 1), threshold=threshold, **more))  # type: ignore[arg-type]


def run_pixel(config: SpeckConfiguration, n: int, ticks: list[int] | None = None) -> tuple[int, int, SpeckTrace]:
    emulator = SpeckEmulator(config)
    trace = emulator.prepare([stimulus_of(np.zeros((n, 3), np.int64), ticks)]).run()
    return int(trace.counters["spikes"].sum()), int(states_of(emulator, trace).v[0][0, 0, 0]), trace


@pytest.mark.parametrize(("n", "spikes", "rest"), [(4, 0, 80), (5, 1, 0), (6, 1, 20)])
def test_a_neuron_fires_at_the_threshold(n: int, spikes: int, rest: int) -> None:
    # the known answers of upstream's simulator tests: 5 x 0.2 at threshold 1 is one spike, the sixth stays
    assert run_pixel(one_neuron(20, 100), n)[:2] == (spikes, rest)


def test_weight_equal_to_the_threshold_fires_once() -> None:
    assert run_pixel(one_neuron(127, 127), 1)[:2] == (1, 0)


def test_one_event_fires_a_neuron_at_most_once_and_the_rest_waits() -> None:
    spikes, rest, _ = run_pixel(one_neuron(127, 50), 1)
    assert (spikes, rest) == (1, 77)
    assert run_pixel(one_neuron(127, 50, return_to_zero=True), 1)[:2] == (1, 0)


def test_the_lower_bound_holds() -> None:
    spikes, rest, trace = run_pixel(one_neuron(-30, 50, low=-70), 4)
    assert (spikes, rest) == (0, -70)
    assert trace.counters["bounded"][0, 0] == 2


def test_a_tick_adds_the_bias_and_fires_nothing() -> None:
    config = one_neuron(0, 50, leak_enable=True, biases=np.array([30], np.int8))
    assert run_pixel(config, 0, ticks=[0, 0])[:2] == (0, 60)
    # the next update of the neuron, even by a zero weight, lets it fire
    assert run_pixel(config, 1, ticks=[0, 0])[:2] == (1, 10)


def test_sums_beyond_16_bits_saturate_and_are_counted() -> None:
    start = np.full((1, 1, 1), 32767, np.int16)
    _, rest, trace = run_pixel(one_neuron(127, 1, neurons_initial_value=start), 3)
    assert rest == 32766
    assert trace.counters["overflows"][0, 0] == 3
    start = np.full((1, 1, 1), -32700, np.int16)
    _, rest, trace = run_pixel(one_neuron(-100, 1, low=-32768, neurons_initial_value=start), 2)
    assert rest == -32768
    assert trace.counters["overflows"][0, 0] == 2


def test_states_that_grow_to_the_end_of_16_bits_are_noticed_on_the_way() -> None:
    # weight 127, threshold 1: 126 more with each event, so the fast loop has to hand over
    _, rest, trace = run_pixel(one_neuron(127, 1), 270)
    assert rest == 32766
    assert trace.counters["overflows"][0, 0] == 270 - 260


def split_and_merge() -> SpeckConfiguration:
    """Core 0 sends to core 1 and to core 2; core 1 to core 2 as well, one channel higher."""
    fan = core_of(np.full((2, 1, 1, 1), 1), shape(1, 1, 1), threshold=1, to=(to(1), to(2)))
    relay = core_of(np.full((1, 2, 1, 1), 1), shape(2, 1, 1), threshold=1, to=(to(2, 1, 2),))
    merge = core_of(np.full((3, 3, 1, 1), 1), shape(3, 1, 1), threshold=1)
    return chip_of(fan, relay, merge)


def test_each_spike_is_worked_off_to_the_end_before_the_next() -> None:
    trace = SpeckEmulator(split_and_merge()).prepare([stimulus_of(np.zeros((1, 3), np.int64))], log=frozenset({1, 2})).run()
    # spike 0 of core 0: core 1, what core 1 makes of it in core 2, then core 2 directly; then spike 1 the same way
    assert trace.spikes[0][:, 1].tolist() == [1, 2, 2, 2, 2, 2, 2, 1, 2, 2, 2, 2, 2, 2]
    assert trace.counters["events"][0, :3].tolist() == [1, 2, 4]
    # while the spikes of core 0 wait, so do two events for each of its destinations
    assert trace.counters["queue"][0, :3].tolist() == [1, 2, 3]


def test_feature_shift_and_pooling_address_the_next_core() -> None:
    source = core_of(np.full((1, 1, 1, 1), 9), shape(1, 4, 4), threshold=9, to=(to(1, 2, 1),))
    weights = np.array([1, 10, 100]).reshape(1, 3, 1, 1)
    target = core_of(weights, shape(3, 2, 2), threshold=1000)
    emulator = SpeckEmulator(chip_of(source, target))
    trace = emulator.prepare([stimulus_of(np.array([(0, 3, 1), (0, 2, 0), (0, 0, 3)]))]).run()
    assert states_of(emulator, trace).v[1][0, 0].reshape(2, 2).tolist() == [[0, 10], [20, 0]]


def busy_chip() -> SpeckConfiguration:
    return next(
        chip
        for chip in map(random_chip, range(120))
        if SpeckEmulator(chip).prepare([stimulus_of(events_for(chip, 60, 0))]).run().counters["spikes"][0].astype(bool).sum() >= 3
    )


@pytest.mark.parametrize("order", ORDERS)
def test_batch_threads_and_cuts_change_no_bit(order: str) -> None:
    config = busy_chip()
    emulator = SpeckEmulator(config, order, seed=3)
    samples = [events_for(config, n, n) for n in (40, 7, 25, 0, 33)]
    together = emulator.prepare([stimulus_of(s) for s in samples], log=frozenset(range(9))).run(3)
    for k, sample in enumerate(samples):
        alone = emulator.prepare([stimulus_of(sample)], log=frozenset(range(9))).run(1)
        np.testing.assert_array_equal(alone.spikes[0], together.spikes[k])
        np.testing.assert_array_equal(alone.state.v[0], together.state.v[k])
        first = emulator.prepare([stimulus_of(sample[:11])], log=frozenset(range(9))).run()
        rest = emulator.prepare([stimulus_of(sample[11:])], first.state, log=frozenset(range(9))).run()
        np.testing.assert_array_equal(rest.state.v[0], together.state.v[k])
        joined = np.concatenate([first.spikes[0][:, 1:], rest.spikes[0][:, 1:]])
        np.testing.assert_array_equal(joined, together.spikes[k][:, 1:])


def test_the_order_inside_an_event_changes_no_single_core() -> None:
    for seed in range(20):
        chip = random_chip(seed)
        alone = chip_of(
            CnnLayerConfig(
                **{**vars(chip.cnn_layers[0]), "destinations": core_of(np.zeros((1, 1, 1, 1)), shape(1, 1, 1)).destinations}
            )
        )
        events = events_for(alone, 50, seed)
        runs = [SpeckEmulator(alone, order, seed=1).prepare([stimulus_of(events)], log=frozenset({0})).run() for order in ORDERS]
        for other in runs[1:]:
            np.testing.assert_array_equal(other.state.v, runs[0].state.v)
            assert sorted(map(tuple, other.spikes[0].tolist())) == sorted(map(tuple, runs[0].spikes[0].tolist()))


def test_a_shuffled_order_follows_its_seed() -> None:
    weights = np.full((30, 1, 1, 1), 5)
    config = chip_of(core_of(weights, shape(1, 1, 1), threshold=5))
    stimulus = stimulus_of(np.zeros((2, 3), np.int64))

    def features(seed: int) -> list[int]:
        return SpeckEmulator(config, "shuffled", seed).prepare([stimulus], log=frozenset({0})).run().spikes[0][:, 2].tolist()

    assert features(1) == features(1)
    assert features(1) != features(2)
    assert features(1)[:30] != features(1)[30:]
    assert sorted(features(1)[:30]) == list(range(30))


def test_a_core_without_neurons_in_reach_takes_the_event() -> None:
    # stride 8 with a kernel of 3: most pixels fall between two neurons
    config = chip_of(core_of(np.full((1, 1, 3, 3), 100), shape(1, 20, 20), stride=(8, 8), threshold=100))
    trace = SpeckEmulator(config).prepare([stimulus_of(np.array([(0, 5, 5), (0, 2, 2), (0, 8, 7)]))]).run()
    assert trace.counters["updates"][0, 0] == 1
    assert trace.counters["events"][0, 0] == 3
