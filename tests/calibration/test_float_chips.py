"""Knobs of SpiNNaker2 and Loihi 2: which there are, what each turns, and what calibration makes of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

import nirhw
from nirhw.calibration.knobs import Knob, defaults
from nirhw.compiler import BACK_STAGES, _branch, _run
from nirhw.emulation.result import Run
from nirhw.hardware import load_hardware
from nirhw.nir_reader import Semantics, read_network
from nirhw.pipeline import Context, Tuning
from nirhw.registry import find_target
from tests import builders as b

CHIPS = ("spinnaker2", "loihi2")


class Bench:
    """A network that was legalized for a chip, to be lowered with knobs as one likes."""

    def __init__(self, graph: nir.NIRGraph, chip: str, reset: str = "subtract", **options: Any):
        self.family = find_target(chip)
        hardware = load_hardware(self.family.variants[chip], self.family.name)
        self.context = Context(hardware, self.family.make_options(options), self.family.new_record())
        network = read_network(graph, Semantics(b.DT, reset, "euler")).network
        self.network = _run(("canonicalize", "legalize"), network, self.context, self.family, None, None)

    @property
    def knobs(self) -> tuple[Knob, ...]:
        assert self.family.knobs is not None
        return self.family.knobs(self.network, self.context)

    def lowered(self, tuning: Mapping[str, float]) -> tuple[Any, dict[str, Any]]:
        trial = _branch(self.context, Tuning(tuning))
        config, io_map = self.family.lower(_run(BACK_STAGES, self.network, trial, self.family, None, None), trial)
        assert not self.family.check(config, io_map, self.context.hardware)
        return config, io_map

    def run(self, tuning: Mapping[str, float], x: np.ndarray, *record: str) -> Run:
        config, io_map = self.lowered(tuning)
        found = self.family.device(config, io_map).prepare({"in": x.astype(np.int64)}, {n: n for n in record}, None).run(1)
        assert isinstance(found, Run)
        return found


def recurrent() -> nir.NIRGraph:
    """A loop of both signs, a layer behind it, biases in the loop and an output layer."""
    nodes = {
        "w": nir.Affine(b.weights(10, 5, 1), np.linspace(0.02, 0.1, 10)),
        "n": b.cubalif(10),
        "r": b.linear(10, 10, 2),
        "f": b.linear(8, 10, 3),
        "m": b.cubalif(8),
        "e": b.linear(4, 8, 4),
        "o": b.cubalif(4),
    }
    edges = [("in", "w"), ("w", "n"), ("n", "r"), ("r", "n"), ("n", "f"), ("f", "m"), ("m", "e"), ("e", "o"), ("o", "out")]
    return b.graph(5, 4, nodes, edges)


COMMON = ["gain.input", "gain.forward", "gain.excitatory", "gain.inhibitory", "gain.output"]
COMMON += ["offset.hidden", "bias.hidden", "offset.output"]


@pytest.mark.parametrize(
    ("chip", "own"),
    [
        ("spinnaker2", ["scale.hidden", "scale.output"]),
        ("loihi2", ["register.hidden", "carry.hidden", "register.output", "carry.output"]),
    ],
)
def test_every_knob_turns_something_and_the_default_turns_nothing(chip: str, own: list[str]) -> None:
    bench = Bench(recurrent(), chip)
    assert [k.name for k in bench.knobs] == COMMON + own
    plain = bench.lowered({})[0].to_json()
    assert bench.lowered(defaults(bench.knobs))[0].to_json() == plain
    for knob in bench.knobs:
        turned = {**defaults(bench.knobs), knob.name: knob.low if knob.default == knob.high else knob.high}
        assert bench.lowered(turned)[0].to_json() != plain, knob.name


def test_what_a_network_does_not_have_has_no_knob() -> None:
    plain = b.chain(4, 3, w=b.linear(6, 4), n=b.cubalif(6), e=b.linear(3, 6), o=b.li(3))
    names = [k.name for k in Bench(plain, "loihi2", reset="zero").knobs]
    assert names == ["gain.input", "offset.hidden", "register.hidden", "register.output"]
    assert not Bench(recurrent(), "loihi2", conversion="lava").knobs
    assert not Bench(recurrent(), "spinnaker2", reset="zero", conversion="vendor").knobs


@pytest.mark.parametrize("chip", CHIPS)
def test_a_gain_is_a_factor_on_what_its_weights_bring(chip: str) -> None:
    """One spike through one weight far below threshold; the scale of the weight is a power of two either way."""
    bench = Bench(b.chain(1, 1, w=nir.Linear(np.array([[1.0]])), n=b.lif(1, threshold=64.0)), chip)
    x = np.zeros((1, 3, 1))
    x[:, 0] = 1
    lifts = []
    for gain in (1.0, 1.1):
        (scale,) = (np.ravel(e["scale"])[0] for e in bench.lowered({"gain.output": gain})[1]["outputs"].values())
        lifts.append(float(bench.run({"gain.output": gain}, x, "n").states["n"]["v"][0, 1, 0] / scale))
    assert lifts[0] == pytest.approx(1.0, rel=0.01) and lifts[1] == pytest.approx(1.1, rel=0.01)


@pytest.mark.parametrize("chip", CHIPS)
def test_an_offset_lifts_the_resting_level(chip: str) -> None:
    bench = Bench(b.chain(1, 1, w=nir.Linear(np.array([[1.0]])), n=b.lif(1, tau=8, threshold=2.0)), chip)
    (scale,) = (np.ravel(e["scale"])[0] for e in bench.lowered({"offset.output": 0.01})[1]["outputs"].values())
    level = bench.run({"offset.output": 0.01}, np.zeros((1, 100, 1)), "n").states["n"]["v"][0, -1, 0] / scale
    assert level == pytest.approx(0.01 * 2.0 * 8, rel=0.02)  # in thresholds a step, over the steps that the membrane keeps


@pytest.mark.parametrize("filtered", [False, True])
def test_a_carry_gives_back_what_it_says(filtered: bool) -> None:
    """After its one spike a membrane, which does not leak here, ends higher by the share of a threshold."""
    one = np.ones(1)
    neuron = b.integrate_fire(1, 3.0)
    if filtered:  # a spike of weight 1 brings 4, of which 3.05 have arrived when the neuron fires
        neuron = nir.CubaLIF(4e-3 * one, 1e6 * one, r=1e9 * one, v_leak=0 * one, v_threshold=3.0 * one, w_in=4.0 * one)
    graph = b.chain(1, 1, w=nir.Linear(np.array([[1.0 if filtered else 4.0]])), n=neuron)
    bench = Bench(graph, "loihi2")
    x = np.zeros((1, 80, 1))
    x[:, 0] = 1
    ends = []
    for share in (0.0, 0.25):
        state = bench.run({"carry.output": share}, x, "n").states["n"]
        assert state["spikes"].sum() == 1
        scale = np.ravel(bench.lowered({"carry.output": share})[1]["populations"]["n"]["scale"])[0]
        ends.append(state["v"][0, -1, 0] / scale)
    assert ends[1] - ends[0] == pytest.approx(0.25 * 3.0, rel=0.03)


@pytest.mark.parametrize("chip", CHIPS)
def test_a_relay_s_weights_and_a_constant_drive_s_have_no_gain(chip: str) -> None:
    nodes = {"a": b.linear(6, 6, 1), "l": b.lif(6), "c": b.linear(4, 6, 2), "s": b.linear(4, 6, 3), "o": b.lif(4)}
    edges = [("in", "a"), ("a", "l"), ("l", "c"), ("c", "o"), ("in", "s"), ("s", "o"), ("o", "out")]
    bench = Bench(b.graph(6, 4, nodes, edges), chip)
    x = (np.random.default_rng(0).random((2, 60, 6)) < 0.3).astype(np.int64)
    turned = {"gain.input": 0.9, "gain.output": 1.1}
    assert bench.run(turned, x).spikes.sum() > 0
    assert {k.name for k in bench.knobs} >= set(turned)


@pytest.mark.parametrize("chip", CHIPS)
def test_level_0_scales_by_the_largest_weight(chip: str) -> None:
    def lowered(**more: Any) -> Any:
        return nirhw.compile(recurrent(), chip, dt=b.DT, **more).config.to_json()

    assert lowered(level=0) == lowered(options={"scaling": "max"}) != lowered()


def samples(number: int = 48) -> np.ndarray:
    random = np.random.default_rng(0)
    return (random.random((number, 50, 5)) < random.uniform(0.02, 0.5, (number, 1, 5))).astype(np.uint8)


@pytest.mark.parametrize(
    ("chip", "options"),
    [
        ("spinnaker2", {"application": "delay", "scaling": "percentile", "percentile": 60.0}),
        ("loihi2", {"weight_bits": 3, "scaling": "percentile", "percentile": 60.0}),
    ],
)
def test_calibration_compiles_what_it_found_and_says_so(chip: str, options: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {"dt": b.DT, "reset": "subtract", "options": options}
    plain = nirhw.compile(recurrent(), chip, **arguments)
    model = nirhw.compile(recurrent(), chip, calibration=samples(160), budget=120, **arguments)
    found = model.report.data["calibration"]
    assert found["evaluations"] <= 120 and found["search_value"] > found["search_value_before"]
    both = (found["search_hits"] + found["check"]["agreement"]["out"]["value"]) / 2
    agreement = model.fidelity(samples(160)).agreement
    assert agreement is not None and agreement.value == pytest.approx(both)
    assert any(d.rule == "calibration" for d in model.deviations)
    once = nirhw.compile(recurrent(), chip, calibration=samples(160), budget=1, **arguments)
    if not once.report.data["recorded"]["compensated"]:
        assert once.config.to_json() == plain.config.to_json()
    again = nirhw.compile(recurrent(), chip, calibration=samples(160), budget=120, **arguments)
    assert again.to_bytes() == model.to_bytes()


def test_the_carry_brings_rates_back_that_the_hard_reset_takes() -> None:
    folder = Path(__file__).parents[2] / "demo" / "networks"
    seen, unseen = (np.load(folder / f"vowels_{name}.npz")["spikes"][::2] for name in ("calibration", "test"))
    arguments: dict[str, Any] = {"dt": b.DT, "reset": "subtract"}
    plain = nirhw.compile(folder / "vowels_cubalif.nir", "loihi2", **arguments)
    model = nirhw.compile(folder / "vowels_cubalif.nir", "loihi2", calibration=seen, budget=60, **arguments)
    assert ("rounded", "reset-carry") in {(d.kind, d.rule) for d in model.deviations}
    assert model.fidelity(unseen).count_error < 0.8 * plain.fidelity(unseen).count_error


@pytest.mark.slow
@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize(("graph", "reset"), [("noBias_subtract", "subtract"), ("bias_zero", "zero")])
def test_braille_is_kept(shared: Path, zoo: Callable[[str], Path], chip: str, graph: str, reset: str) -> None:
    """Calibrated on the first 289 samples without labels, judged on the other 290: within a point and one standard error."""
    data = np.load(shared / "data" / "braille7_l2mu_half.npz")
    x, y = np.pad(data["x"].astype(np.uint8), ((0, 0), (0, 2), (0, 0))), data["y"].astype(np.int64)
    model = nirhw.compile(zoo(f"repo_braille_noDelay_{graph}"), chip, reset=reset, calibration=x[:289])
    found = model.fidelity(x[289:], y[289:])
    assert found.accuracy is not None and found.reference_accuracy is not None
    assert found.accuracy.value >= found.reference_accuracy.value - 0.01 - found.accuracy.error
