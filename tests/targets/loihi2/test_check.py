"""The independent check finds every rule that a configuration can break."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from nirhw.hardware import load_hardware
from nirhw.targets.loihi2.check import check
from nirhw.targets.loihi2.config import (
    CoreSlice,
    Group,
    Kernel,
    Loihi2Configuration,
    Synapses,
    synapses_from_kernel,
    synapses_from_matrix,
)

HARDWARE = load_hardware("loihi2")
ENTRY = {"shape": (2, 3), "groups": ["a", "b"], "scale": 64.0, "lag": 1}
IO_MAP: dict[str, Any] = {
    "input_peak": 1,
    "inputs": {"x": {"shape": (4,), "group": "in"}},
    "outputs": {"y": {**ENTRY, "kind": "spikes"}},
    "populations": {"n": ENTRY},
}


def configuration() -> Loihi2Configuration:
    """Four inputs, a population in two groups, one of them on two cores."""
    groups = (
        Group("in", "in", np.arange(4), "input"),
        Group("a", "n", np.array([0, 2, 4, 5]), "lif", du=100, dv=200, threshold=300),
        Group("b", "n", np.array([3, 1]), "lif", du=100, dv=250, threshold=300, bias_mantissa=np.array([5, -5]), bias_exponent=3),
    )
    synapses = (
        synapses_from_matrix("in-a", "in", "a", np.arange(-16, 16, 2).reshape(4, 4), kind="dense"),
        synapses_from_matrix("a-b", "a", "b", np.full((2, 4), 7), kind="sparse", sign_mode="excitatory", delay=3),
        synapses_from_matrix("b-a", "b", "a", np.full((4, 2), -7), kind="dense", sign_mode="inhibitory", exponent=-1),
    )
    cores = (CoreSlice(0, 0, "a", 0, 3), CoreSlice(0, 1, "a", 3, 1), CoreSlice(0, 1, "b", 0, 2))
    return Loihi2Configuration(groups, synapses, cores)


def with_group(index: int, **changed: Any) -> Callable[[Loihi2Configuration], Loihi2Configuration]:
    return lambda c: replace(c, groups=tuple(replace(g, **changed) if k == index else g for k, g in enumerate(c.groups)))


def with_synapses(index: int, **changed: Any) -> Callable[[Loihi2Configuration], Loihi2Configuration]:
    return lambda c: replace(c, synapses=tuple(replace(s, **changed) if k == index else s for k, s in enumerate(c.synapses)))


def with_cores(*cores: CoreSlice) -> Callable[[Loihi2Configuration], Loihi2Configuration]:
    return lambda c: replace(c, cores=cores)


SWAPPED = np.array([1, 0, 2, 3, *range(4), *range(4), *range(4)])
BROKEN: dict[str, Callable[[Loihi2Configuration], Loihi2Configuration]] = {
    "du above 12 bits": with_group(1, du=4096),
    "dv above 12 bits": with_group(1, dv=4097),
    "threshold above 17 bits": with_group(1, threshold=131072),
    "negative threshold": with_group(1, threshold=-1),
    "bias above 13 bits": with_group(2, bias_mantissa=np.array([4096, 0])),
    "bias below 13 bits": with_group(2, bias_mantissa=np.array([0, -4097])),
    "bias exponent 8": with_group(2, bias_exponent=8),
    "bias exponent below 0": with_group(2, bias_exponent=-1),
    "an input with a bias": with_group(0, bias_mantissa=np.ones(4, np.int64)),
    "no interval": with_group(1, model="lif_reset"),
    "unknown model": with_group(1, model="alif"),
    "two groups of one name": with_group(2, name="a"),
    "graded group without payloads": with_group(1, model="graded"),
    "payloads of a spiking group": with_synapses(1, message_bits=8),
    "payload above 24 bits": with_synapses(0, message_bits=25),
    "odd mixed weights": with_synapses(0, weight=np.arange(-15, 17, 2)),
    "weights above 8 bits": with_synapses(1, weight=np.full(8, 256)),
    "weights of the wrong sign": with_synapses(1, weight=np.full(8, -7)),
    "weights finer than their bits": with_synapses(1, weight_bits=6),
    "9 weight bits": with_synapses(1, weight_bits=9),
    "exponent 8": with_synapses(0, exponent=8),
    "exponent -8": with_synapses(0, exponent=-8),
    "delay 63": with_synapses(1, delay=np.array(63)),
    "negative delay": with_synapses(1, delay=np.array(-1)),
    "a target outside": with_synapses(1, post=np.full(8, 2)),
    "targets out of order": with_synapses(0, post=SWAPPED[: configuration().synapses[0].weight.size]),
    "broken index": with_synapses(1, start=np.array([0, 2, 4, 6, 7])),
    "two connections of one name": with_synapses(1, name="in-a"),
    "into an input": with_synapses(1, target="in"),
    "from nowhere": with_synapses(1, source="z"),
    "a neuron on no core": with_cores(*configuration().cores[:2]),
    "a neuron on two cores": with_cores(*configuration().cores, CoreSlice(0, 2, "b", 1, 1)),
    "a core that does not exist": with_cores(*configuration().cores[:2], CoreSlice(0, 120, "b", 0, 2)),
    "a chip that does not exist": with_cores(*configuration().cores[:2], CoreSlice(1, 0, "b", 0, 2)),
    "an input on a core": with_cores(*configuration().cores, CoreSlice(0, 2, "in", 0, 4)),
    "a slice beyond its group": with_cores(*configuration().cores[:2], CoreSlice(0, 1, "b", 0, 3)),
}


def test_a_legal_configuration_passes() -> None:
    assert check(configuration(), IO_MAP, HARDWARE) == []


@pytest.mark.parametrize("name", BROKEN)
def test_every_broken_rule_is_found(name: str) -> None:
    found = check(BROKEN[name](configuration()), IO_MAP, HARDWARE)
    assert found and all(d.code == "NIRHW-E040" for d in found)


@pytest.mark.parametrize(
    "change",
    [
        {"input_peak": 0},
        {"inputs": {}},
        {"inputs": {"x": {"shape": (5,), "group": "in"}}},
        {"inputs": {"x": {"shape": (4,), "group": "a"}}},
        {"outputs": {"y": {**ENTRY, "kind": "current"}}},
        {"outputs": {"y": {**ENTRY, "kind": "spikes", "groups": ["a"]}}},
        {"populations": {"n": {**ENTRY, "groups": ["a", "in"]}}},
        {"populations": {"n": {**ENTRY, "shape": (7,)}}},
        {"populations": {"n": {**ENTRY, "scale": 0.0}}},
        {"populations": {"n": {**ENTRY, "scale": np.ones(5)}}},
        {"populations": {"n": {**ENTRY, "lag": -1}}},
    ],
)
def test_the_io_map_is_checked_too(change: dict[str, Any]) -> None:
    assert check(configuration(), {**IO_MAP, **change}, HARDWARE)


def limited(**values: int) -> Any:
    limits = {**HARDWARE.limits, **{name: replace(HARDWARE.limits[name], value=value) for name, value in values.items()}}
    return replace(HARDWARE, limits=limits)


def layer(n_pre: int, n_post: int, kind: str) -> Loihi2Configuration:
    groups = (Group("in", "in", np.arange(n_pre), "input"), Group("a", "a", np.arange(n_post), "lif", threshold=1))
    synapses = (synapses_from_matrix("s", "in", "a", np.full((n_post, n_pre), 2), kind=kind),)  # type: ignore[arg-type]
    return Loihi2Configuration(groups, synapses, (CoreSlice(0, 0, "a", 0, n_post),))


@pytest.mark.parametrize(
    ("kind", "bits"),
    [("dense", 9024), ("sparse", 19008)],  # nengo-loihi's bits for a row of 1000 synapses of 8 bits
)
def test_rows_take_the_bits_of_loihi_1(kind: str, bits: int) -> None:
    io_map = {
        "input_peak": 1,
        "inputs": {"x": {"shape": (3,), "group": "in"}},
        "outputs": {},
        "populations": {},
    }
    config = layer(3, 1000, kind)
    need = 3 * bits // 8
    assert check(config, io_map, limited(synaptic_bytes_per_core=need)) == []
    (found,) = check(config, io_map, limited(synaptic_bytes_per_core=need - 1))
    assert f"bytes of synapses on core 0 of chip 0: {need}" in found.what and "inferred" in found.why


@pytest.mark.parametrize(
    ("limit", "fits"),
    # core 0 holds 3 neurons of a; it hears 4 inputs and 2 of b; each of its neurons reaches b alone.  Core 1 holds 1 of a and b:
    # it hears 4 inputs and 2 of b on a, 4 of a on b; its a reaches b, its two of b reach both slices of a
    [("neurons_per_core", 3), ("in_axons_per_core", 4 + 2 + 4), ("out_axons_per_core", 1 + 2 * 2)],
)
def test_capacities_of_cores_are_counted(limit: str, fits: int) -> None:
    # the one weight of zero costs no axon: its source has other targets on that slice
    assert check(configuration(), IO_MAP, limited(**{limit: fits})) == []
    found = check(configuration(), IO_MAP, limited(**{limit: fits - 1}))
    assert found and all(limit in d.why for d in found)


def test_a_shared_kernel_counts_once_a_core_and_by_the_filters_it_needs() -> None:
    kernel = Kernel(np.full((4, 2, 3, 3), 2), (2, 8, 8), (4, 6, 6))
    groups = (Group("in", "in", np.arange(128), "input"), Group("a", "a", np.arange(144), "lif", threshold=1))
    io_map = {"input_peak": 1, "inputs": {"x": {"shape": (2, 8, 8), "group": "in"}}, "outputs": {}, "populations": {}}

    def found(cores: tuple[CoreSlice, ...], limit: int) -> list[Any]:
        config = Loihi2Configuration(groups, (synapses_from_kernel("c", "in", "a", kernel),), cores)
        return check(config, io_map, limited(synaptic_bytes_per_core=limit))

    filter_bytes = -(-(18 * 8 + 10) // 64) * 64 // 8
    whole, halves = (CoreSlice(0, 0, "a", 0, 144),), (CoreSlice(0, 0, "a", 0, 72), CoreSlice(0, 1, "a", 72, 72))
    assert found(whole, 4 * filter_bytes) == [] and found(whole, 4 * filter_bytes - 1)
    assert found(halves, 2 * filter_bytes) == [] and found(halves, 2 * filter_bytes - 1)


def test_kernels_must_fit_their_groups() -> None:
    kernel = Kernel(np.full((4, 2, 3, 3), 2), (2, 8, 8), (4, 6, 6))
    groups = (Group("in", "in", np.arange(128), "input"), Group("a", "a", np.arange(144), "lif", threshold=1))
    io_map = {"input_peak": 1, "inputs": {"x": {"shape": (2, 8, 8), "group": "in"}}, "outputs": {}, "populations": {}}

    def found(synapses: Synapses) -> list[Any]:
        return check(Loihi2Configuration(groups, (synapses,), (CoreSlice(0, 0, "a", 0, 144),)), io_map, HARDWARE)

    shared = synapses_from_kernel("c", "in", "a", kernel)
    assert found(shared) == []
    changes = [
        {"kernel": replace(kernel, weight=np.full((4, 2, 3, 3), 3))},
        {"kernel": replace(kernel, weight=np.full((4, 2, 2, 3), 2))},
        {"kernel": replace(kernel, stride=(0, 1))},
        {"kernel": replace(kernel, groups=2)},
        {"kernel": replace(kernel, out_shape=(4, 9, 4))},
        {"exponent": 1},
        {"kernel": None},
    ]
    for change in changes:
        assert found(replace(shared, **change)), change
