"""What a run returns, of an emulator or of the float reference alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirhw.operators import Shape

AnyArray = NDArray[Any]
States = Mapping[str, Mapping[str, AnyArray]]


@dataclass(frozen=True, eq=False)
class Run:
    """Result of a run over T steps; a leading batch axis where the input had one.

    Attributes:
        spikes: counts of the spiking output, ``(.., T, *out)``; a dict by output name where the graph has several
            outputs; None where no output spikes.
        outputs: analog outputs in the network's units, float64, likewise; None where no output is analog.
        states: recorded populations by NIR node name: "spikes", "v", "i" (and "i2" for a second synapse), each
            ``(.., T, *shape)``.  Chip integers on an emulator, floats on the reference.
        latency: steps by which a population lags the reference, by NIR node name.
        state: opaque; pass it to the next run as ``state=`` to continue the stream.
        counters: what the emulator counted (events, saturations, ...), by name: one number a sample, or ``[sample, core]``.
    """

    spikes: Any
    outputs: Any
    states: States
    latency: Mapping[str, int]
    state: Any
    counters: Mapping[str, AnyArray] = field(default_factory=dict)


def pack_outputs(values: Mapping[str, AnyArray], total: int) -> Any:
    """Return the outputs of one kind: bare where the network has one output in all, a dict where it has several."""
    if total == 1:
        return next(iter(values.values()), None)
    return dict(values)


def unpack(value: Any, names: tuple[str, ...]) -> dict[str, AnyArray]:
    """Return outputs by name, the inverse of :func:`pack_outputs`."""
    if value is None:
        return {}
    return dict(value) if isinstance(value, Mapping) else {names[0]: value}


def shaped(values: AnyArray, shape: Shape, batched: bool) -> AnyArray:
    """Return ``values[batch, time, size]`` in the population's shape, without the batch axis where there was none."""
    full = np.asarray(values).reshape(*values.shape[:2], *shape)
    return full if batched else full[0]
