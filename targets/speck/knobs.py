"""What calibration may turn on Speck, and how the quantizer reads it.

All neurons of a layer share one threshold, so a threshold scale is a gain on everything that arrives: the knobs are factors on
the positive weights, the negative weights and the biases of each layer.
"""

from __future__ import annotations

import numpy as np

from nirhw.calibration.knobs import Knob
from nirhw.network import Network, Population
from nirhw.operators import Array
from nirhw.pipeline import Context

from .legalize import step_bias


def knobs(network: Network, context: Context) -> tuple[Knob, ...]:
    """Return the knobs of every layer of a network that was laid out."""
    found = []
    for name, layer in context.record.layers.items():
        signs = [np.sign(way.stencil.weight) for way in layer.ways]
        for kind, sign, phrase in (("excitatory", 1, "positive"), ("inhibitory", -1, "negative")):
            if any(np.any(s == sign) for s in signs):
                found.append(Knob(f"{kind}.{name}", 1.0, 0.5, 2.0, "log", f"factor on {phrase} weights of layer {name}"))
        if np.any(step_bias(network.populations[name])):
            found.append(Knob(f"bias.{name}", 1.0, 0.5, 2.0, "log", f"factor on biases of layer {name}"))
    return tuple(found)


def tuned_weights(weights: Array, pop: Population, context: Context) -> Array:
    """Return weights of a layer with its gains."""
    up, down = (context.tuned(f"{kind}.{pop.name}", 1.0) for kind in ("excitatory", "inhibitory"))
    return weights if up == down == 1.0 else np.where(weights > 0, up, down) * weights
