"""The independent check passes legal configurations and finds every rule that one can break."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from nirhw.hardware import Hardware, Limit, load_hardware
from nirhw.targets.spinnaker2.board import CHIPS, QUADS, neighbours
from nirhw.targets.spinnaker2.check import check
from nirhw.targets.spinnaker2.check_memory import slice_bytes
from nirhw.targets.spinnaker2.config import (
    PARAMETERS,
    RESET_VALUE,
    SPIKE_LIST,
    RouterEntry,
    Slice,
    SpiNNaker2Configuration,
)
from nirhw.targets.spinnaker2.memory import MemoryModel
from nirhw.targets.spinnaker2.synapses import ConvBlock, SynapseBlock
from tests.targets.spinnaker2.random_configs import random_configuration


def machine(name: str = "spinnaker2", **changes: int) -> Hardware:
    hardware = load_hardware(name)
    return replace(hardware, limits={**hardware.limits, **{k: Limit(v, "a test", "documented") for k, v in changes.items()}})


def io_map_of(config: SpiNNaker2Configuration) -> dict[str, Any]:
    """Inputs and outputs called like the populations."""
    found: dict[str, dict[str, Any]] = {"inputs": {}, "outputs": {}, "populations": {}}
    for index, part in enumerate(config.slices):
        for group in ["inputs"] if part.application == SPIKE_LIST else ["outputs", "populations"]:
            entry = found[group].setdefault(
                part.population, {"shape": [0], "slices": [], "kind": "spikes", "lag": 0, "scale": 1.0}
            )
            entry["shape"] = [entry["shape"][0] + part.size]
            entry["slices"].append(index)
    return {"dt": 1e-3, "input_peak": 1, **found}


def test_random_configurations_pass():
    for seed in range(60):
        config = random_configuration(seed)
        assert [str(d) for d in check(config, io_map_of(config), machine())] == [], seed


def neuron(application: str, **given: Any) -> dict[str, Any]:
    return {k: 0.5 if k.endswith("decay") else 0.0 for k in PARAMETERS[application]} | given


def small() -> SpiNNaker2Configuration:
    """Two inputs on one PE, four neurons on two PEs, a convolution of two neurons."""
    block = SynapseBlock.from_synapses(0, 2, [0, 0, 1], [0, 1, 0], [127, -127, 3])
    late = SynapseBlock.from_synapses(1, 2, [0, 1], [0, 1], [15, -15], [7, 0])
    conv = ConvBlock(0, np.full((1, 1, 1, 1), -127), 2, 1)
    keys = [{"quad": QUADS[k // 4], "pe": k % 4, "key": 8 * k, "mask": 0xFFFFFFF8, "record": ("spikes",)} for k in range(5)]
    slices = (
        Slice("in", 0, 2, SPIKE_LIST, **{**keys[0], "record": ()}),
        Slice("a", 0, 2, "lif_no_delay", neuron("lif_no_delay"), RESET_VALUE, blocks=(block,), **keys[1]),
        Slice("a", 2, 2, "lif_no_delay", neuron("lif_no_delay"), RESET_VALUE, blocks=(block,), **keys[2]),
        Slice("b", 0, 2, "lif_curr_exp", neuron("lif_curr_exp", v_init=1.0), RESET_VALUE, blocks=(late,), **keys[3]),
        Slice("c", 0, 2, "lif_conv2d", neuron("lif_conv2d"), RESET_VALUE, blocks=(conv,), **keys[4]),
    )
    routing = (
        RouterEntry(0, 0, 0xFFFFFFF8, ((*QUADS[0], 0b0110), (*QUADS[1], 0b0001))),
        RouterEntry(0, 8, 0xFFFFFFF8, ((*QUADS[0], 0b1000),)),
    )
    return SpiNNaker2Configuration(slices, 1, 100, "new", routing)


def test_the_small_configuration_passes():
    config = small()
    assert check(config, io_map_of(config), machine()) == []


def edit(index: int, **changes: Any) -> Callable[[SpiNNaker2Configuration], SpiNNaker2Configuration]:
    """Return a function that changes one slice of a configuration."""

    def changed(config: SpiNNaker2Configuration) -> SpiNNaker2Configuration:
        slices = list(config.slices)
        slices[index] = replace(slices[index], **changes)
        return replace(config, slices=tuple(slices))

    return changed


def entry(index: int, **changes: Any) -> Callable[[SpiNNaker2Configuration], SpiNNaker2Configuration]:
    def changed(config: SpiNNaker2Configuration) -> SpiNNaker2Configuration:
        routing = list(config.routing)
        routing[index] = replace(routing[index], **changes)
        return replace(config, routing=tuple(routing))

    return changed


def synapses(weight: int, delay: int = 0, source: int = 0) -> tuple[SynapseBlock]:
    return (SynapseBlock.from_synapses(source, 2, [0], [0], [weight], delay),)


BROKEN: dict[str, tuple[Callable[[SpiNNaker2Configuration], SpiNNaker2Configuration], str]] = {
    "no slices": (lambda c: replace(c, slices=()), "no slices"),
    "unknown reset": (edit(1, reset="zero"), "reset 'zero' is unknown"),
    "reset of an input": (edit(0, reset=RESET_VALUE), "has no reset"),
    "refractory time": (edit(3, parameters=neuron("lif_curr_exp", t_refrac=2.0)), "refractory"),
    "missing source": (edit(1, blocks=synapses(1, source=9)), "source slice 9 does not exist"),
    "target outside": (edit(1, blocks=(SynapseBlock.from_synapses(0, 2, [0], [2], [1]),)), "ends in neuron 2 of 2"),
    "rows of another source": (edit(1, blocks=(SynapseBlock.from_synapses(0, 3, [0], [0], [1]),)), "row pointers"),
    "arrays of two lengths": (
        edit(1, blocks=(SynapseBlock(0, np.array([0, 1, 1]), np.zeros(1, int), np.zeros(2, int), np.zeros(1, int)),)),
        "differ in number",
    ),
    "delay without field": (edit(1, blocks=synapses(1, 1)), "has no delays"),
    "kernel to synapses": (edit(1, blocks=(ConvBlock(0, np.ones((1, 1, 1, 1), int), 2, 1),)), "takes synapses only"),
    "synapses to a convolution": (edit(4, blocks=synapses(1)), "takes kernels only"),
    "kernel of another shape": (edit(4, blocks=(ConvBlock(0, np.ones((1, 1, 1, 1), int), 3, 1),)), "a kernel joins 3 to 3"),
    "too many chips": (lambda c: replace(c, chips=48), "48 chips, 1 exist"),
    "odd number of chips": (lambda c: replace(c, chips=2), "a machine of 2 chips"),
    "chip outside": (edit(1, chip=1), "does not exist"),
    "quad outside": (edit(1, quad=(4, 3)), "does not exist"),
    "PE outside": (edit(1, pe=4), "does not exist"),
    "shared PE": (edit(1, pe=0), "slices 0 and 1 share"),
    "gap": (edit(2, first=3), "leave a gap"),
    "overlap": (edit(2, first=1), "overlap"),
    "slices of two applications": (edit(2, application="lif", blocks=()), "differ in application"),
    "unknown record": (edit(3, record=("spikes", "w")), "recording spikes, w"),
    "two voltages": (edit(3, record=("v", "v_last")), "recording v, v_last"),
    "voltage of an input": (edit(0, record=("v",)), "no membrane"),
    "no steps": (lambda c: replace(c, timesteps=0), "0 steps"),
    "delayed weight too large": (edit(3, blocks=synapses(16, 0, 1)), "16 as largest weight"),
    "weight too large": (edit(1, blocks=synapses(-128)), "128 as largest weight"),
    "kernel too large": (edit(4, blocks=(ConvBlock(0, np.full((1, 1, 1, 1), -128), 2, 1),)), "128 as largest weight"),
    "delay too large": (edit(3, blocks=synapses(1, 8, 1)), "8 steps of delay"),
    "decay above 1": (edit(1, parameters=neuron("lif_no_delay", alpha_decay=1.5)), "alpha_decay of slice 1"),
    "negative decay": (edit(3, parameters=neuron("lif_curr_exp", inh_decay=-0.5)), "inh_decay of slice 3"),
    "v_init where it is not known": (edit(1, parameters=neuron("lif_no_delay", v_init=1.0)), "v_init of slice 1"),
    "key under its mask": (edit(1, key=9), "do not fit"),
    "mask with holes": (edit(1, mask=0xFFFFFFFA), "do not fit"),
    "key of 33 bits": (edit(1, key=1 << 32), "do not fit"),
    "too few keys": (edit(1, mask=0xFFFFFFFF), "too few keys"),
    "same keys": (edit(2, key=8), "overlap"),
    "route missing": (lambda c: replace(c, routing=c.routing[:1]), "slice 1: no router entry on chip 0"),
    "route to too few": (entry(0, quads=((*QUADS[0], 0b0110),)), "1 PEs that need them are not reached"),
    "route to too many": (entry(1, quads=((*QUADS[0], 0b1001),)), "1 PEs are reached that do not"),
    "route of one neuron": (entry(1, mask=0xFFFFFFFF), "fits some of them only"),
    "route hidden by another": (
        lambda c: replace(c, routing=(RouterEntry(0, 0, 0xFFFFFFF0, ((*QUADS[5], 1),)), *c.routing)),
        "slice 0: 3 PEs",
    ),
    "route to nowhere": (entry(1, quads=()), "leads nowhere"),
    "route to a missing quad": (entry(1, quads=((4, 4, 1),)), "quad or PE does not exist"),
    "route to no PE": (entry(1, quads=((*QUADS[0], 0),)), "quad or PE does not exist"),
    "route without packets": (entry(1, key=9), "no packet fits"),
    "route of another chip": (entry(1, chip=5), "the chip does not exist"),
    "route along no link": (entry(1, chips=(1,)), "no link leads"),
    "unknown layout": (lambda c: replace(c, layout="odd"), "layout 'odd'"),
}


@pytest.mark.parametrize("rule", BROKEN)
def test_finds_what_is_broken(rule):
    change, words = BROKEN[rule]
    config = change(small())
    found = check(config, io_map_of(config), machine())
    assert any(words in d.what for d in found), [d.what for d in found]
    assert {d.code for d in found} == {"NIRHW-E040"}


LIMITS = {
    "pes": (4, "5 PEs used"),
    "targets_per_pe": (1, "2 neurons of slice 1, 1 exist"),
    "sources_per_pe": (1, "2 neurons of slice 0, 1 exist"),
    "router_entries": (1, "2 router entries"),
    "kernel_max": (126, "127 as largest weight of slice 4"),
    "weight_max_no_delay": (126, "127 as largest weight of slice 1"),
    "weight_max_delay": (14, "15 as largest weight of slice 3"),
    "row_words": (3, "4 words in the longest row of slice 1"),
    "delay_max": (6, "7 steps of delay of slice 3"),
    "dead_pe_0_7_6_3": (1, "slice 3 stands on chip 0, quad (7, 6), PE 3, which does not work"),
}


@pytest.mark.parametrize("name", LIMITS)
def test_limits_come_from_the_description(name):
    value, words = LIMITS[name]
    config = small()
    found = check(config, io_map_of(config), machine(**{name: value}))
    assert any(words in d.what and "a test" in d.why for d in found), [str(d) for d in found]


def test_a_pe_that_works_again_may_be_used():
    assert check(small(), io_map_of(small()), machine(dead_pe_0_7_6_3=0)) == []


def test_an_area_that_is_one_byte_too_small_is_found():
    for layout in ("old", "new"):
        config = replace(small(), layout=layout)
        log = machine()[f"log_bytes_{layout}"]
        largest = max(slice_bytes(s, 100, machine()) for s in config.slices)
        assert check(config, io_map_of(config), machine(**{f"data_bytes_{layout}": log + largest})) == []
        found = check(config, io_map_of(config), machine(**{f"data_bytes_{layout}": log + largest - 1}))
        assert [d.what for d in found] == [f"{largest} bytes on the PE of slice 3, {largest - 1} exist"]


MAPS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "peak": (lambda m: m.update(input_peak=2), "input peak"),
    "missing slice": (lambda m: m["outputs"]["a"].update(slices=[1, 7]), "do not exist"),
    "negative slice": (lambda m: m["outputs"]["a"].update(slices=[1, -1]), "do not exist"),
    "same slice twice": (lambda m: m["populations"]["a"].update(slices=[1, 1]), "twice"),
    "no slices": (lambda m: m["populations"]["a"].update(slices=[]), "do not exist"),
    "two populations": (lambda m: m["outputs"]["a"].update(slices=[1, 3]), "does not cover"),
    "half a population": (lambda m: m["outputs"]["a"].update(slices=[1]), "does not cover"),
    "output from an input": (lambda m: m["outputs"]["a"].update(slices=[0], shape=[2]), "is served by spike_list"),
    "input to a neuron": (lambda m: m["inputs"]["in"].update(slices=[3]), "is served by lif_curr_exp"),
    "forgotten input": (lambda m: m["inputs"].clear(), "every spike_list"),
    "unknown kind": (lambda m: m["outputs"]["a"].update(kind="rate"), "of kind 'rate'"),
    "voltage not recorded": (lambda m: m["outputs"]["a"].update(kind="voltage"), "is not recorded"),
    "scale of zero": (lambda m: m["outputs"]["a"].update(kind="voltage", scale=0.0), "the scale"),
    "scale of another size": (lambda m: m["outputs"]["a"].update(kind="voltage", scale=np.ones(3)), "the scale"),
}


@pytest.mark.parametrize("rule", MAPS)
def test_finds_maps_that_do_not_fit(rule):
    change, words = MAPS[rule]
    config = small()
    io_map = io_map_of(config)
    change(io_map)
    found = check(config, io_map, machine())
    assert any(words in d.what for d in found), [d.what for d in found]


def test_spikes_that_are_not_recorded_are_found():
    config = edit(3, record=())(small())
    assert any("'b' is not recorded" in d.what for d in check(config, io_map_of(config), machine()))


def board_config(*routing: RouterEntry) -> SpiNNaker2Configuration:
    """An input on chip 0 and a neuron two links away."""
    far = next(c for c in neighbours(neighbours(0)[0]) if c not in (0, *neighbours(0)))
    slices = (
        Slice("in", 0, 2, SPIKE_LIST, key=0, mask=0xFFFFFFFE),
        Slice(
            "a", 0, 2, "lif", neuron("lif"), RESET_VALUE, far, key=2, mask=0xFFFFFFFE, record=("spikes",), blocks=synapses(3, 2)
        ),
    )
    return SpiNNaker2Configuration(slices, 48, 10, "new", routing)


def test_routes_are_followed_from_chip_to_chip():
    near = neighbours(0)[0]
    far = board_config().slices[1].chip
    first = RouterEntry(0, 0, 0xFFFFFFFE, (), (near,))
    second = RouterEntry(near, 0, 0xFFFFFFFE, (), (far,))
    last = RouterEntry(far, 0, 0xFFFFFFFE, ((*QUADS[0], 1),))

    def found(*routing: RouterEntry) -> list[str]:
        config = board_config(*routing)
        return [d.what for d in check(config, io_map_of(config), machine("spinnaker2-48"))]

    assert found(first, second, last) == []
    assert found(first, last) == [f"spikes of slice 0: no router entry on chip {near}"]
    assert found(first, replace(second, chips=(0,)), last) == ["spikes of slice 0: chip 0 is reached twice"]
    assert "no link leads" in found(replace(first, chips=(far,)), second, last)[0]


def test_the_board_has_48_chips_and_its_links_lead_back():
    assert len(set(CHIPS)) == 48
    assert all(chip in neighbours(other) for chip in range(48) for other in neighbours(chip))
    assert sorted({len(neighbours(chip)) for chip in range(48)}) == [3, 4, 6]
    assert len(set(QUADS)) == 38
    assert not set(QUADS) & {(4, 3), (4, 4), (7, 3), (7, 4)}


def bytes_of(part: Slice, timesteps: int = 10) -> int:
    return slice_bytes(part, timesteps, machine())


@pytest.mark.parametrize(("n_pre", "n_post", "size"), [(512, 32, 45_056), (512, 24, 36_864), (250, 250, 131_000)])
def test_bytes_of_a_dense_block_are_those_worked_out_by_hand(n_pre, n_post, size):
    pre, post = np.indices((n_pre, n_post)).reshape(2, -1)
    block = SynapseBlock.from_synapses(0, n_pre, pre, post, np.ones(pre.size, int))
    bare = Slice("a", 0, n_post, "lif", neuron("lif"), RESET_VALUE)
    assert bytes_of(replace(bare, blocks=(block,))) - bytes_of(bare) == size


def test_bytes_of_recordings_are_those_worked_out_by_hand():
    bare = Slice("a", 0, 33, "lif", neuron("lif"), RESET_VALUE)
    for record, words in {"spikes": 4 * 50, "v": 34 * 50, "v_last": 34}.items():
        assert bytes_of(replace(bare, record=(record,)), 50) - bytes_of(bare, 50) == 4 * words


def test_two_blocks_of_one_source_share_its_rows():
    blocks = [SynapseBlock.from_synapses(0, 4, [0, 1], [0, 0], [1, 1]), SynapseBlock.from_synapses(0, 4, [0, 2], [1, 0], [1, 1])]
    bare = Slice("a", 0, 2, "lif", neuron("lif"), RESET_VALUE)
    # rows of 2, 1, 1 and no synapses, each in whole words
    assert bytes_of(replace(bare, blocks=tuple(blocks))) - bytes_of(bare) == 4 * 24 + 3 * 4


def test_bytes_are_those_of_the_planning_model():
    """Two counts, written apart: the check's and the partition's."""
    rng = np.random.default_rng(0)
    for seed in range(40):
        records = [(), ("spikes",), ("v",), ("v_last",), ("spikes", "v"), ("spikes", "v_last")]
        for part in random_configuration(seed).slices:
            timesteps = int(rng.integers(1, 500))
            recorded = replace(part, record=records[rng.integers(len(records))])
            for layout in ("new", "old"):
                load = MemoryModel(machine(), layout, timesteps).of(recorded)
                assert bytes_of(recorded, timesteps) == load.total, (seed, part.population)
                assert load.area == machine()[f"data_bytes_{layout}"] - machine()[f"log_bytes_{layout}"]


def test_a_kernel_takes_a_byte_a_weight_and_a_table_entry_a_source():
    bare = Slice("c", 0, 2, "lif_conv2d", neuron("lif_conv2d"), RESET_VALUE)
    conv = ConvBlock(0, np.ones((1, 2, 3, 3), int), 3, 3)
    assert bytes_of(replace(bare, blocks=(conv,))) - bytes_of(bare) == 12 + 18
