"""What calibration may turn on Xylo, and how the passes read it.

All knobs are global: one number for all synapses of a kind, for all neurons of a layer ("hidden" or "output"), or for a weight
matrix.  What the chip cannot tell apart is one knob: a threshold scale is a gain of everything that arrives.
"""

from __future__ import annotations

import numpy as np

from nirhw.calibration.gains import gain_knobs, kinds_between
from nirhw.calibration.knobs import Knob
from nirhw.network import Ints, Network, Population, Projection
from nirhw.operators import Array
from nirhw.pipeline import Context

from .drivers import driven, driver_knob
from .matrices import MATRICES, matrix_of
from .stretch import reached, stretch_knob

#: layers whose neurons have registers
LAYERS = ("hidden", "output")
#: what decays
STATES = ("membrane", "synapse")
#: share of the threshold a step by which the constant drive of a layer may move
OFFSET = 0.1
#: largest reset depth, in thresholds, and where a search for it begins
DEEPEST = 3.0
DEEP = {"hidden": 1.4, "output": 1.2}
#: what a reset to a value takes off, in thresholds, where that was not recorded: a membrane is beyond its threshold when it
#: fires.  Of 1.0, 1.25, 1.5, 1.75 and 2.0 this gave the smallest errors of counts, and the best decisions but for half a point,
#: on four networks (two recurrent ones trained by others, two of demo/) with all resets set to zero.
HARD_RESET = 1.25
#: share of positive weights in loops that is kept where neurons burst: a neuron emits several spikes in a step where the network
#: has one, and each of them excites the loop again.  Measured, without calibration: a share of 0.8 instead of 1 raises both
#: Braille networks (6 and 4 points of accuracy); a recurrent network whose neurons do not burst loses 3 points by it.
LOOP_SHARE = 0.8
#: a neuron bursts where so many coincident spikes lift it by its threshold within a step of the network
BURST_SOURCES = 2


def knobs(network: Network, context: Context) -> tuple[Knob, ...]:
    """Return the knobs that a legalized network has a use for."""
    layer = context.record.layer
    kinds = {kind for p in network.projections for kind in _kinds(p, layer, network)}
    found = gain_knobs(kinds, 0.4, 2.5)
    for name in LAYERS:
        members = [p for p in network.populations.values() if layer[p.name] == name and p.membrane is not None]
        spiking = [p for p in members if p.rule == "spiking"]
        if spiking:
            found.append(
                Knob(
                    f"depth.{name}",
                    1.0,
                    1.0,
                    DEEPEST,
                    "log",
                    f"what a spike takes off {name} membranes, in thresholds",
                    DEEP[name],
                )
            )
            found.append(
                Knob(f"offset.{name}", 0.0, -OFFSET, OFFSET, "linear", f"constant drive of {name} neurons, in thresholds")
            )
        if any(np.any(port.bias) for p in members for port in p.ports):
            found.append(Knob(f"bias.{name}", 1.0, 0.5, 2.0, "log", f"factor on biases of {name} neurons"))
        if members:
            found += [_step(f"code.{state}.{name}", f"decay code of {name} {state}s") for state in STATES]
    matrices = {matrix_of(p, layer) for p in network.projections}
    found += [_step(f"shift.{name}", f"bit shift of the {name} weights") for name in MATRICES if name in matrices]
    return (*found, *driver_knob(network, context), *stretch_knob(network, context))


def _step(name: str, what: str) -> Knob:
    return Knob(name, 0.0, -1.0, 1.0, "step", f"{what}, from that which fits best")


def moved(best: Ints, knob: str, lowest: int, highest: int, context: Context) -> Ints:
    """Return whole numbers moved as far as a knob of steps says, within their range."""
    return np.clip(best + int(context.tuned(knob, 0.0)), lowest, highest)


def gains(proj: Projection, weights: Array, network: Network, context: Context) -> Array:
    """Return the factor on each of ``weights[post, pre]`` of a projection."""
    layer = context.record.layer
    names = _kinds(proj, layer, network)
    factors = [context.tuned(f"gain.{name}", 1.0) for name in names]
    if len(factors) == 1:
        return np.asarray(factors[0])
    up, down = np.asarray(factors[0]), factors[1]
    steps = context.options.time_stretch
    if context.options.gain == "area" and np.any(weights > 0) and _bursts(network, network.populations[proj.target], steps):
        held = driven(network.populations[proj.source], context)
        if proj.source in context.record.reach:
            held = held | (context.record.reach[proj.source] > 0)
        up = up * np.where(held, 1.0, LOOP_SHARE)
        if not np.all(held):
            context.deviate(
                "rounded",
                "loop-share",
                proj.nodes,
                f"positive weights in a loop count {LOOP_SHARE:g} of their size, as neurons emit several spikes a step",
            )
    return np.where(weights > 0, up, down)


def _bursts(network: Network, pop: Population, steps: int) -> bool:
    """Return whether few coincident spikes lift some neuron of a spiking population by its whole threshold in a row."""
    if pop.threshold is None or pop.membrane is None:
        return False
    lift = {p.name: reached(p, pop.membrane, steps) * p.gain * pop.membrane.gain / pop.threshold for p in pop.ports}
    rises = [p.operator.matrix.toarray() * lift[p.port][:, None] for p in network.into(pop.name)]
    largest = np.sort(np.concatenate(rises, axis=1), axis=1)[:, -BURST_SOURCES:]
    return bool(np.any(np.maximum(largest, 0.0).sum(axis=1) >= 1.0))


def depth(pop: Population, context: Context) -> Array | float:
    """Return what a spike takes off a membrane, in thresholds, ``(neurons,)`` or one for all.

    A reset to a value takes off what the membrane holds: where that was recorded, its mean.
    """
    if pop.rule != "spiking":
        return 1.0
    base = np.asarray(1.0 if pop.reset == "subtract" else context.tuning.overshoot.get(pop.name, HARD_RESET))
    turned = context.tuned(f"depth.{context.record.layer[pop.name]}", 1.0)
    return np.asarray(np.minimum(base * context.record.fading[pop.name] * turned, DEEPEST))


def drive(pop: Population, constant: Array, context: Context) -> Array:
    """Return the constant drive a chip step, in the network's units, of a population whose decay codes are set.

    A threshold register of ``depth`` thresholds and a drive that lifts the resting level by the difference fire at the level of
    one threshold and take ``depth`` thresholds off.
    """
    where = context.record.layer[pop.name]
    if pop.threshold is None:
        return constant
    lifted = (depth(pop, context) - 1.0) * pop.threshold * 2.0 ** -pop.codes["v_mem_decay"]
    if pop.name in context.record.reach:
        lifted = np.where(context.record.reach[pop.name] > 0, 0.0, lifted)
    offset = context.tuned(f"offset.{where}", 0.0) / context.options.time_stretch
    return np.asarray(constant + lifted + offset * pop.threshold)


def _kinds(proj: Projection, layer: dict[str, str], network: Network) -> tuple[str, ...]:
    """Return the gain knobs of a projection: one, or that of positive and that of negative weights."""
    analog = network.populations[proj.target].rule != "spiking"
    return kinds_between(layer[proj.source], layer[proj.target], analog, proj.recurrent)
