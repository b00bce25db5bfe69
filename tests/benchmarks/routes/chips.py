"""Chips, their options, and the routes that a vendor has to each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

import nirhw
from nirhw.fidelity import decisions
from nirhw.targets.speck.config import CnnLayerConfig

from . import vendors
from .cases import Array, Case
from .score import Refusal

#: the NIR paper's Lava script has weights of so many bits
LAVA_BITS = 8

#: decides the samples of a case: ``[sample]``, or says why not
Route = Callable[[Case], Array | Refusal]


@dataclass(frozen=True)
class Chip:
    """A chip with the options of one comparison.

    Attributes:
        name: what the table says.
        target: target of nirhw.
        options: options of that target.
        reset: reset kind that the float network has here; None: the network's own.
        routes: the vendor's ways, by name.
    """

    name: str
    target: str
    options: Mapping[str, Any] = field(default_factory=dict)
    reset: str | None = None
    routes: Mapping[str, Route] = field(default_factory=dict)


def decided(model: nirhw.CompiledModel, spikes: Array) -> Array:
    """Return what a compiled model decides, ``[sample]``, rows before its latency left out."""
    run = model.emulate(spikes)
    return next(iter(decisions(run, tuple(model.io_map["outputs"]), run.latency).values()))


def _counted(result: dict[str, Array] | Refusal) -> Array | Refusal:
    return result if isinstance(result, Refusal) else result["counts"].argmax(axis=1)


def _rockpool(case: Case, quantizer: str, move_biases: bool = False) -> Array | Refusal:
    return _counted(vendors.rockpool(case, quantizer, move_biases))


def _sinabs(case: Case, bound: float) -> Array | Refusal:
    return _counted(vendors.sinabs(case, bound))


def _sinabs_on_events(case: Case, bound: float) -> Array | Refusal:
    """Return the decisions of sinabs' integers in our event-driven emulator, in place of ours core by core."""
    result = vendors.sinabs(case, bound)
    if isinstance(result, Refusal):
        return result
    model = nirhw.compile(case.graph, "speck", dt=case.dt, reset=case.reset)
    cores = list(model.config.cnn_layers)
    used = [k for k, core in enumerate(cores) if core.weights.size]
    layers = sum(name.startswith("weights") for name in result)
    if len(used) != layers:
        return Refusal("no route", f"sinabs has {layers} layers, nirhw {len(used)} cores")
    for number, core in enumerate(used):
        weights = result[f"weights{number}"].transpose(0, 1, 3, 2).astype(np.int8)
        if weights.shape != cores[core].weights.shape:
            return Refusal("no route", f"core {core} holds another kernel")
        cores[core] = _with_integers(cores[core], weights, int(result[f"threshold{number}"]), int(result[f"low{number}"]))
    return decided(replace(model, config=replace(model.config, cnn_layers=tuple(cores))), case.spikes)


def _with_integers(core: CnnLayerConfig, weights: Array, threshold: int, low: int) -> CnnLayerConfig:
    return replace(core, weights=weights, threshold_high=threshold, threshold_low=low)


def _converted(case: Case, target: str, options: Mapping[str, Any]) -> Array | Refusal:
    """Return the decisions of a vendor's conversion that nirhw follows literally."""
    try:
        model = nirhw.compile(case.graph, target, dt=case.dt, reset=case.reset, options=options)
        return decided(model, case.spikes)
    except nirhw.NirhwError as refusal:
        return refused(refusal)


def refused(error: nirhw.NirhwError) -> Refusal:
    """Return an error of the compiler as a refusal."""
    return Refusal(error.code, str(error))


def _vendor(target: str, **options: Any) -> Route:
    return partial(_converted, target=target, options=options)


def _loihi2(bits: int) -> dict[str, Route]:
    script = {"lava script": _vendor("loihi2", conversion="lava")} if bits == LAVA_BITS else {}
    return {**script, "largest weight": _vendor("loihi2", weight_bits=bits, scaling="max", signs="joint")}


CHIPS = (
    Chip(
        "xylo",
        "xylo",
        {"input_peak": 1},
        routes={
            "channel_quantize": partial(_rockpool, quantizer="channel"),
            "global_quantize": partial(_rockpool, quantizer="global"),
            "channel, biases by hand": partial(_rockpool, quantizer="channel", move_biases=True),
            "global, biases by hand": partial(_rockpool, quantizer="global", move_biases=True),
        },
    ),
    Chip(
        "speck",
        "speck",
        routes={
            "sinabs, frames": partial(_sinabs, bound=1.0),
            "sinabs, events": partial(_sinabs_on_events, bound=1.0),
            "sinabs without bound, frames": partial(_sinabs, bound=0.0),
        },
    ),
    Chip("spinnaker2, 8 bits", "spinnaker2", routes={"py-spinnaker2": _vendor("spinnaker2", conversion="vendor")}),
    Chip(
        "spinnaker2, 4 bits",
        "spinnaker2",
        {"application": "delay"},
        routes={"py-spinnaker2": _vendor("spinnaker2", conversion="vendor", application="delay")},
    ),
    *(
        Chip(f"loihi2, {bits} bits{', reset zero' if reset else ''}", "loihi2", {"weight_bits": bits}, reset, _loihi2(bits))
        for bits in (8, 4)
        for reset in (None, "zero")
    ),
)
