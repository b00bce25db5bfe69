"""Lowering with a given tuning, as calibration does it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nirhw.compiler import BACK_STAGES, _branch, _run
from nirhw.hardware import load_hardware
from nirhw.network import Network
from nirhw.nir_reader import Semantics, read_network
from nirhw.pipeline import Context, Target, Tuning
from nirhw.registry import find_target
from nirhw.targets.xylo.config import XyloConfiguration


def legalized(graph: Any, dt: float, reset: str, **options: Any) -> tuple[Network, Context, Target]:
    """Return a network that Xylo Audio 2 takes, its context and the target."""
    family = find_target("xylo")
    context = Context(load_hardware("xylo-audio2", "xylo"), family.make_options(options), family.new_record())
    network = read_network(graph, Semantics(dt, reset, "euler")).network
    return _run(("canonicalize", "legalize"), network, context, family, None, None), context, family


def lowered(
    graph: Any, dt: float, reset: str, tuning: Tuning, **options: Any
) -> tuple[XyloConfiguration, Mapping[str, Any], Any, Context]:
    """Return configuration, io map, emulator and context of a tuned network, after the target's own check."""
    network, context, family = legalized(graph, dt, reset, **options)
    trial = _branch(context, tuning)
    config, io_map = family.lower(_run(BACK_STAGES, network, trial, family, None, None), trial)
    assert not family.check(config, io_map, context.hardware)
    return config, io_map, family.device(config, io_map), trial
