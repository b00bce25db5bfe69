"""The emulator: equal to the slow model in every bit, whole or cut, in any batch; facts of the arithmetic on tiny networks."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from nirhw.diagnostics import InputError, VerifyError
from nirhw.targets.spinnaker2.config import (
    NEVER_FIRES,
    PARAMETERS,
    RESET_SUBTRACT,
    RESET_VALUE,
    SPIKE_LIST,
    Slice,
    SpiNNaker2Configuration,
)
from nirhw.targets.spinnaker2.emulator import Emulator
from nirhw.targets.spinnaker2.synapses import ConvBlock, SynapseBlock
from tests.targets.spinnaker2 import slow_model
from tests.targets.spinnaker2.random_configs import random_configuration, slow_elements

ALL = frozenset({"spikes", "v", "i"})
SEEDS, CHUNK, STEPS = 160, 40, 30
APPLICATIONS = tuple(PARAMETERS)


def raster(config: SpiNNaker2Configuration, seed: int, samples: int = 1, steps: int = STEPS):
    rng = np.random.default_rng(10_000 + seed)
    channels = sum(s.size for s in config.slices if s.application == SPIKE_LIST)
    return (rng.random((samples, steps, channels)) < rng.choice([0.02, 0.1, 0.4])).astype(np.int64)


def mismatches(config: SpiNNaker2Configuration, spikes, fused: bool) -> list[str]:
    """Compare every spike, membrane and current of one sample with the slow model."""
    trace = Emulator(config, fused=fused).prepare(spikes[None], record=ALL).run()
    elements = slow_elements(config, spikes, fused)
    slow_model.run(elements, len(spikes))
    wrong, first = [], 0
    for part, element in zip(config.slices, elements, strict=True):
        columns = slice(first, first + part.size)
        for name in ("spikes",) if part.application == SPIKE_LIST else ("spikes", "v", "i"):
            got = getattr(trace, name)[0][:, columns]
            want = np.array(element.history[name], got.dtype)
            # as bits, but for the sign of zero, which no comparison can see on the chip
            if not np.array_equal((got + got.dtype.type(0)).tobytes(), (want + want.dtype.type(0)).tobytes()):
                wrong.append(f"{part.application} of {part.population}: {name}")
        first += part.size
    return wrong


@pytest.mark.parametrize("chunk", range(SEEDS // CHUNK))
def test_equals_the_slow_model_in_every_bit(chunk):
    covered: Counter[str] = Counter()
    for seed in range(chunk * CHUNK, (chunk + 1) * CHUNK):
        config = random_configuration(seed)
        spikes = raster(config, seed)[0]
        assert mismatches(config, spikes, fused=bool(seed % 2)) == [], f"seed {seed}"
        trace = Emulator(config).prepare(spikes[None], record={"spikes"}).run()
        for part, first in zip(config.slices, config.starts, strict=False):
            fires = bool(trace.spikes[0, :, first : first + part.size].any())
            covered[part.application] += fires
            covered[part.reset] += fires
            covered["late"] += any(isinstance(b, SynapseBlock) and bool(b.delay.any()) for b in part.blocks)
            covered["recurrent"] += any(config.slices[b.source].population == part.population for b in part.blocks)
    # every kind was met, and fired
    assert all(covered[kind] >= 3 for kind in (*APPLICATIONS, RESET_SUBTRACT, RESET_VALUE, "late", "recurrent")), covered


@pytest.mark.parametrize("fused", [False, True])
def test_a_stream_may_be_cut_anywhere_and_batched_in_any_way(fused):
    for seed in (3, 11, 17, 40):
        config = random_configuration(seed)
        spikes = raster(config, seed, samples=7, steps=33)
        emulator = Emulator(config, fused=fused)
        whole = emulator.prepare(spikes, record=ALL).run(1)
        parted = emulator.prepare(spikes, record=ALL).run(3)
        alone = [emulator.prepare(spikes[k : k + 1], record=ALL).run() for k in range(7)]
        state, pieces = None, []
        for first, last in ((0, 1), (1, 10), (10, 10), (10, 33)):
            pieces.append(emulator.prepare(spikes[:, first:last], state, ALL).run())
            state = pieces[-1].state
        for name in ALL:
            want = getattr(whole, name).tobytes()
            assert getattr(parted, name).tobytes() == want
            assert np.concatenate([getattr(t, name) for t in alone]).tobytes() == want
            assert np.concatenate([getattr(t, name) for t in pieces], axis=1).tobytes() == want
        assert np.array_equal(whole.n_events, sum(t.n_events for t in pieces))
        assert np.array_equal(whole.n_spikes, sum(t.n_spikes for t in pieces))


def test_recording_some_neurons_gives_their_columns():
    config = random_configuration(5)
    spikes = raster(config, 5)
    everything = Emulator(config).prepare(spikes, record=ALL).run()
    wanted = np.array([everything.v.shape[2] - 1, 0, 2])
    some = Emulator(config).prepare(spikes, record=ALL, neurons=wanted).run()
    for name in ALL:
        assert np.array_equal(getattr(some, name), getattr(everything, name)[:, :, wanted])


def neuron(application="lif_no_delay", blocks=(), reset=RESET_VALUE, size=1, **given) -> Slice:
    values = {k: {"threshold": 10.0, "alpha_decay": 1.0}.get(k, 0.0) for k in PARAMETERS[application]} | given
    return Slice("n", 0, size, application, values, reset, blocks=tuple(blocks))


def one_to_one(weight: int, delay: int = 0) -> SynapseBlock:
    return SynapseBlock.from_synapses(0, 1, [0], [0], [weight], delay)


def run_one(target: Slice, steps: list[int], length: int = 12, **options):
    """Feed one input with spikes in ``steps``; return the trace of the neuron after it."""
    config = SpiNNaker2Configuration((Slice("in", 0, 1, SPIKE_LIST), target))
    spikes = np.zeros((1, length, 1), np.int64)
    spikes[0, steps] = 1
    return Emulator(config, **options).prepare(spikes, record=ALL, neurons=[1]).run()


@pytest.mark.parametrize("delay", range(8))
def test_a_spike_of_delay_d_acts_d_plus_one_steps_later(delay):
    trace = run_one(neuron("lif", [one_to_one(11, delay)]), [2])
    assert np.flatnonzero(trace.spikes[0, :, 0]).tolist() == [3 + delay]


def test_the_threshold_is_strict_and_the_reset_is_in_the_same_step():
    assert not run_one(neuron(blocks=[one_to_one(10)]), [0]).spikes.any()
    value = run_one(neuron(blocks=[one_to_one(11)], v_reset=-2.0), [0])
    assert value.spikes[0, :, 0].tolist() == [0, 1] + [0] * 10
    assert value.v[0, 1, 0] == -2
    subtract = run_one(neuron(blocks=[one_to_one(25)], reset=RESET_SUBTRACT, v_reset=-2.0), [0])
    assert subtract.spikes[0, :4, 0].tolist() == [0, 1, 1, 0]  # 25 - 10 fires again, 5 does not
    assert subtract.v[0, :4, 0].tolist() == [0, 15, 5, 5]


def test_currents_decay_apart_by_sign():
    config = SpiNNaker2Configuration(
        (
            Slice("in", 0, 2, SPIKE_LIST),
            neuron(
                "lif_curr_exp_no_delay",
                [SynapseBlock.from_synapses(0, 2, [0, 1], [0, 0], [64, -64])],
                alpha_decay=0.0,
                exc_decay=0.5,
                inh_decay=0.25,
                threshold=NEVER_FIRES,
            ),
        )
    )
    spikes = np.zeros((1, 4, 2), np.int64)
    spikes[0, 0] = 1
    trace = Emulator(config).prepare(spikes, record=ALL, neurons=[2]).run()
    assert trace.i[0, :, 0].tolist() == [0, 0, 32 - 16, 16 - 4]
    assert trace.v[0, :, 0].tolist() == trace.i[0, :, 0].tolist()
    assert not trace.spikes.any()


def test_a_fused_multiply_add_rounds_once():
    # alpha * v is 1 + 2**-11 + 2**-24 here: rounded alone it loses the last term, which the subtraction of 1 brings out
    alpha = np.float32(1 + 2.0**-12)
    target = neuron(alpha_decay=alpha, v_init=0.0, blocks=[one_to_one(-1)])
    config = SpiNNaker2Configuration((Slice("in", 0, 1, SPIKE_LIST), target))
    for fused, want in ((False, 2.0**-11), (True, 2.0**-11 + 2.0**-24)):
        emulator = Emulator(config, fused=fused)
        start = emulator.prepare(np.ones((1, 1, 1), np.int64)).run().state
        start.v[0, 1] = alpha
        trace = emulator.prepare(np.zeros((1, 1, 1), np.int64), start, {"v"}).run()
        assert trace.v[0, 0, 1] == want


def test_a_convolution_pools_pads_and_strides():
    kernel = np.arange(1, 5, dtype=np.int8).reshape(1, 1, 2, 2)
    block = ConvBlock(0, kernel, 5, 4, stride=1, pool=2, pad_top=1, pad_left=1)
    target = neuron("lif_conv2d", [block], size=4, threshold=NEVER_FIRES, alpha_decay=0.0)
    config = SpiNNaker2Configuration((Slice("in", 0, 20, SPIKE_LIST), target))
    for place in range(20):
        spikes = np.zeros((1, 2, 20), np.int64)
        spikes[0, 0, place] = 1
        pooled = np.zeros((3, 3))
        if place // 4 < 4:  # the fifth row fills no window
            pooled[1 + place // 8, 1 + place % 4 // 2] = 1
        want = [(pooled[y : y + 2, x : x + 2] * kernel[0, 0]).sum() for y in range(2) for x in range(2)]
        assert Emulator(config).prepare(spikes, record={"v"}).run().v[0, 1, 20:].tolist() == want


def config_of(*slices: Slice) -> SpiNNaker2Configuration:
    return SpiNNaker2Configuration((Slice("in", 0, 2, SPIKE_LIST), *slices))


REFUSED = {
    "weights fit their word": lambda: one_to_one(128),
    "delays are not negative": lambda: SynapseBlock.from_synapses(0, 1, [0], [0], [1], -1),
    "a source neuron exists": lambda: SynapseBlock.from_synapses(0, 1, [1], [0], [1]),
    "parameters are finite": lambda: neuron(threshold=1e39),
    "parameters are known": lambda: neuron(tau=1.0),
    "parameters fit the slice": lambda: neuron(threshold=np.ones(2)),
    "applications are known": lambda: Slice("n", 0, 1, "izhikevich"),
    "kernels fit their map": lambda: ConvBlock(0, np.ones((1, 1, 3, 3)).astype(int), 2, 2),
    "geometry is positive": lambda: ConvBlock(0, np.ones((1, 1, 1, 1)).astype(int), 2, 2, stride=0),
    "resets are known": lambda: Emulator(config_of(neuron(reset="none"))),
    "no refractory time": lambda: Emulator(config_of(neuron("lif_curr_exp", t_refrac=1.0))),
    "sources exist": lambda: Emulator(config_of(neuron(blocks=[SynapseBlock.from_synapses(7, 2, [0], [0], [1])]))),
    "rows fit the source": lambda: Emulator(config_of(neuron(blocks=[one_to_one(1)]))),
    "targets exist": lambda: Emulator(config_of(neuron(blocks=[SynapseBlock.from_synapses(0, 2, [0], [1], [1])]))),
    "no delay without a field": lambda: Emulator(config_of(neuron(blocks=[SynapseBlock.from_synapses(0, 2, [0], [0], [1], 1)]))),
    "kernels need lif_conv2d": lambda: Emulator(
        config_of(neuron(blocks=[ConvBlock(0, np.ones((1, 1, 1, 1), int), 2, 1)], size=2))
    ),
    "lif_conv2d takes kernels": lambda: Emulator(
        config_of(neuron("lif_conv2d", [SynapseBlock.from_synapses(0, 2, [0], [0], [1])]))
    ),
    "kernels fit the slices": lambda: Emulator(config_of(neuron("lif_conv2d", [ConvBlock(0, np.ones((1, 1, 1, 1), int), 1, 1)]))),
}


@pytest.mark.parametrize("rule", REFUSED)
def test_refuses_what_the_chip_cannot_hold(rule):
    with pytest.raises(VerifyError) as caught:
        REFUSED[rule]()
    assert caught.value.code == "NIRHW-E040"


def test_refuses_sums_that_float32_cannot_count():
    sources = 200_000
    block = SynapseBlock(0, np.arange(sources + 1), np.zeros(sources, int), np.full(sources, 127), np.zeros(sources, int))
    config = SpiNNaker2Configuration((Slice("in", 0, sources, SPIKE_LIST), neuron(blocks=[block])))
    with pytest.raises(VerifyError, match="25400000"):
        Emulator(config)


@pytest.mark.parametrize(
    ("code", "call"),
    [
        ("NIRHW-E050", lambda e: e.prepare(np.zeros((1, 3, 5), int))),
        ("NIRHW-E050", lambda e: e.prepare(np.zeros((3, 2), int))),
        ("NIRHW-E051", lambda e: e.prepare(np.full((1, 3, 2), 2))),
        ("NIRHW-E051", lambda e: e.prepare(np.full((1, 3, 2), -1))),
        ("NIRHW-E051", lambda e: e.prepare(np.zeros((1, 3, 2)))),
        ("NIRHW-E052", lambda e: e.prepare(np.zeros((1, 3, 2), int), record={"w"})),
        ("NIRHW-E052", lambda e: e.prepare(np.zeros((1, 3, 2), int), neurons=[3])),
        ("NIRHW-E053", lambda e: e.prepare(np.zeros((1, 3, 2), int), e.prepare(np.zeros((2, 3, 2), int)).run().state)),
    ],
)
def test_bad_input_has_a_code(code, call):
    with pytest.raises(InputError) as caught:
        call(Emulator(config_of(neuron())))
    assert caught.value.code == code


def test_a_configuration_survives_dict_and_json():
    for seed in range(20):
        config = random_configuration(seed)
        spikes = raster(config, seed)
        text = config.to_json()
        for again in (SpiNNaker2Configuration.from_dict(config.to_dict()), SpiNNaker2Configuration.from_json(text)):
            assert again.to_json() == text
            assert again.routing == config.routing
            want, got = (Emulator(c).prepare(spikes, record=ALL).run() for c in (config, again))
            assert got.v.tobytes() == want.v.tobytes()
