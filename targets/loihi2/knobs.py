"""What calibration may turn on Loihi 2.

Lava's LIF falls to zero at a spike.  Where the network takes the threshold off, what was above it is lost; a synapse of each
neuron onto itself gives a constant part of it back (``carry``).  All neurons of a population share a threshold register, so a
register of its own gives a layer another draw of the rounding.
"""

from __future__ import annotations

from nirhw.calibration.gains import drive_knobs, gain_knobs, kinds_of, layers_of
from nirhw.calibration.knobs import Knob
from nirhw.network import Network, Population
from nirhw.pipeline import Context

#: largest factor on weights, either way, and where neurons lose at a reset what the network keeps
GAIN, GAIN_LOSING = 1.15, 1.3
#: largest constant drive, in thresholds a step
OFFSET = 0.01
#: smallest threshold register, as a share of the one that level 1 chooses
REGISTER = 0.8
#: most that a spike gives back to its neuron, in thresholds, and where a search begins
CARRY = 0.5
CARRIED = 0.1


def knobs(network: Network, context: Context) -> tuple[Knob, ...]:
    """Return the knobs that a legalized network has a use for; none where parameters are those of the Lava script."""
    if context.options.conversion == "lava":
        return ()
    layer = layers_of(network)
    kinds = (kind for found in kinds_of(network).values() for kind in found)
    gain = GAIN_LOSING if any(loses_excess(p, context) for p in network.populations.values()) else GAIN
    found = [*gain_knobs(kinds, 1.0 / gain, gain), *drive_knobs(network, OFFSET)]
    for name in sorted(set(layer.values()) - {"input"}):
        members = [p for p in network.populations.values() if layer[p.name] == name]
        found.append(Knob(f"register.{name}", 1.0, REGISTER, 1.0, "log", f"factor on the threshold register of {name} neurons"))
        if any(loses_excess(p, context) for p in members):
            meaning = f"what a spike of {name} neurons gives back to them, in thresholds"
            found.append(Knob(f"carry.{name}", 0.0, 0.0, CARRY, "linear", meaning, CARRIED))
    return tuple(found)


def loses_excess(pop: Population, context: Context) -> bool:
    """Return whether a population takes its threshold off in the network and falls to zero on the chip."""
    return pop.rule == "spiking" and pop.reset == "subtract" and context.record.models[pop.name] == "lif"


def carried(pop: Population, network: Network, context: Context) -> float:
    """Return what a spike gives back to its neuron, in thresholds."""
    if not context.tuning or not loses_excess(pop, context):
        return 0.0
    return context.tuned(f"carry.{layers_of(network)[pop.name]}", 0.0)


def tuned_register(mantissa: int, pop: Population, network: Network, context: Context) -> int:
    """Return a threshold register, turned by calibration."""
    if not context.tuning or pop.role != "network":
        return mantissa
    return max(1, int(mantissa * context.tuned(f"register.{layers_of(network)[pop.name]}", 1.0)))
