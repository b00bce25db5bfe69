"""What calibration may turn on SpiNNaker2.

Membranes, thresholds and offsets are floats, so all that is lost is in the rounded weights: gains and offsets mend what that does
to a layer as a whole, and a scale of its own gives each layer another draw of the rounding.
"""

from __future__ import annotations

from nirhw.calibration.gains import drive_knobs, gain_knobs, kinds_of, layers_of
from nirhw.calibration.knobs import Knob
from nirhw.network import Network, Population
from nirhw.pipeline import Context

#: largest factor on weights, either way
GAIN = 1.2
#: largest constant drive, in thresholds a step
OFFSET = 0.01
#: largest factor on the scale of a layer's weights, either way: above 1 more of them are clipped
RANGE = 1.3


def knobs(network: Network, context: Context) -> tuple[Knob, ...]:
    """Return the knobs that a legalized network has a use for; none where parameters are the vendor's."""
    if context.options.vendor:
        return ()
    kinds = (kind for found in kinds_of(network).values() for kind in found)
    layers = set(layers_of(network).values()) - {"input"}
    scales = [
        Knob(f"scale.{name}", 1.0, 1.0 / RANGE, RANGE, "log", f"factor on the weight scale of {name} neurons")
        for name in sorted(layers)
    ]
    return (*gain_knobs(kinds, 1.0 / GAIN, GAIN), *drive_knobs(network, OFFSET), *scales)


def tuned_scale(pop: Population, network: Network, context: Context) -> float:
    """Return the factor on the weight scale of a population."""
    return context.tuned(f"scale.{layers_of(network)[pop.name]}", 1.0) if context.tuning and pop.role == "network" else 1.0
