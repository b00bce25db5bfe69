"""The event pre-processing layer of Speck: what becomes of an event of the sensor before it reaches a core.

Order (sinabs 3.1.3, dvs_layer.py): polarity and merging, pooling, cropping, flips, exchange of x and y.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nirhw.diagnostics import error
from nirhw.emulation.events import Events

from .arrays import pack
from .config import DvsLayerConfig

Int64 = NDArray[np.int64]

#: channel of a brightening pixel, and of a darkening one (inferred: sinabs takes the polarity bit for the channel)
ON, OFF = 1, 0


def through_sensor_layer(events: Events, layer: DvsLayerConfig, name: str) -> tuple[Int64, Int64]:
    """Return packed events for the layer's destinations, and which event of the sensor each comes from.

    Raises:
        InputError: NIRHW-E050 where the plane of the events is not (2, height, width).
    """
    if len(events.shape) != 3 or events.shape[0] != 2:
        raise error("NIRHW-E050", f"sensor events lie on a plane {events.shape}", [name], "a sensor has (2, height, width)")
    height, width = events.shape[1:]
    polarity, pixel = np.divmod(events.address, height * width)
    y, x = np.divmod(pixel, width)
    y, x = y // layer.pooling.y - layer.origin.y, x // layer.pooling.x - layer.origin.x
    last_y, last_x = layer.cut.y - layer.origin.y, layer.cut.x - layer.origin.x
    passes = ((polarity == ON) & layer.on_channel) | ((polarity == OFF) & layer.off_channel)
    origin = np.flatnonzero(passes & (y >= 0) & (y <= last_y) & (x >= 0) & (x <= last_x))
    channel, y, x = polarity[origin] * (not layer.merge), y[origin], x[origin]
    y, x = last_y - y if layer.mirror.y else y, last_x - x if layer.mirror.x else x
    if layer.mirror_diagonal:
        y, x = x, y
    targets = [d for d in layer.destinations if d.enable]
    packed = np.stack([pack(d.layer, channel + d.feature_shift, y, x) for d in targets], axis=1)
    return packed.ravel(), np.repeat(origin, len(targets))
