"""Constant drives: as i_offset of the membrane, or through a synapse from neurons that always fire.

A bias of the network passes the synapse's filter and begins when the population's first step begins, which on the chip is as many
steps late as the population lags.  i_offset does neither: it acts from the first step on, at full strength.  An always-firing
neuron does both, in whole weights; the rest of less than a weight stays in i_offset.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nirhw.diagnostics import error
from nirhw.network import Membrane, Network, Population, Port, Projection, Quantized
from nirhw.operators import Array, Sparse, frozen
from nirhw.pipeline import Context

from .config import CONVOLUTION
from .fit import decay_of
from .quantize import weight_limit

SOURCE = "bias~"
#: at most so many always-firing neurons share one bias; beyond, the rest stays in i_offset
MOST_SOURCES = 32


@dataclass(frozen=True, eq=False)
class _Wire:
    """Weights of a constant drive that begins at ``step`` of the chip, onto a port: one row a source neuron."""

    pop: Population
    port: Port
    step: int
    weight: NDArray[np.int64]


@dataclass(frozen=True)
class AddBiasSources:
    """Split constant drives between synapses of always-firing neurons and i_offset."""

    name: str = "add-bias-sources"

    def apply(self, network: Network, context: Context) -> Network:
        """Return the network with always-firing neurons where they serve; the rest of a drive goes to ``record.offset``.

        Raises:
            QuantizeError: NIRHW-E034 for a bias behind a delay where neurons that always fire are not allowed.
        """
        wires: list[_Wire] = []
        for pop in network.populations.values():
            if any(np.any(port.bias) or port.onsets for port in pop.ports):
                wires += _split(pop, context)
            _list_early(pop, context)
        return _with_sources(network, wires, context) if wires else network


def _split(pop: Population, context: Context) -> list[_Wire]:
    record, options = context.record, context.options
    lag = record.lag[pop.name]
    offset = record.offset[pop.name].copy()
    unable = options.vendor or options.bias == "offset" or record.application[pop.name] in CONVOLUTION
    wires: list[_Wire] = []
    rest, ramped = np.zeros(pop.size), False
    for port in pop.ports:
        factor, kept = record.factor[pop.name, port.name], decay_of(port)
        for step, drive in _drives(port, lag):
            if unable and step > lag:
                raise error(
                    "NIRHW-E034",
                    "a bias stands behind a delay and cannot be an offset",
                    pop.nodes,
                    "i_offset acts from the first step on",
                    "move the bias behind the Delay node, or compile without bias='offset'",
                )
            units = record.bias_gain[pop.name] * factor * drive * record.scale[pop.name]
            weight = np.zeros(pop.size, np.int64)
            if not unable and step > 0:  # the first spikes of a source arrive in step 1
                weight = _whole(units, weight_limit(record.application[pop.name], context))
            left = (units - weight) / record.scale[pop.name]
            offset += left / (1.0 - kept)
            rest += np.abs(units - weight)
            ramped |= bool(np.any(kept[np.abs(units - weight) > 0.5]))
            if np.any(weight):
                wires.append(_Wire(pop, port, step, weight))
    record.offset[pop.name] = frozen(offset)
    _list_rest(pop, rest, ramped, lag, context)
    return wires


def _drives(port: Port, lag: int) -> Iterator[tuple[int, Array]]:
    """Yield the first chip step and the strength of every constant drive of a port; 0 for neurons without."""
    if np.any(port.bias):
        yield lag, port.bias
    for onset in port.onsets:
        for step in np.unique(onset.step):
            yield lag + int(step), np.where(onset.step == step, onset.drive, 0.0)


def _whole(units: Array, limit: int) -> NDArray[np.int64]:
    most = limit * MOST_SOURCES
    return np.clip(np.rint(units), -most, most).astype(np.int64)


def _list_rest(pop: Population, rest: Array, ramped: bool, lag: int, context: Context) -> None:
    """List what i_offset carries: less than a weight is rounding, more is another rule."""
    if not np.any(rest > 0):
        return
    if np.all(rest <= 0.5 * (1 + 1e-9) * len(pop.ports)) and not (context.options.vendor or context.options.bias == "offset"):
        context.deviate(
            "rounded", "bias-rest", pop.nodes, "less than one weight of a bias acts without the synapse's ramp, as i_offset"
        )
        return
    if ramped:
        reason = "a bias enters the membrane at once instead of through its synapse; equal after the synapse has settled"
        context.deviate("semantic", "bias-skips-ramp", pop.nodes, reason)
    if lag:
        reason = f"i_offset acts from the first step on, {lag} step(s) before the first spikes of the input can arrive"
        context.deviate("retimed", "bias-early", pop.nodes, reason)


def _list_early(pop: Population, context: Context) -> None:
    """List what moves a membrane before the population's own first step: v_leak, and a threshold below rest."""
    lag = context.record.lag[pop.name]
    if not lag or pop.membrane is None or pop.role != "network":
        return
    if np.any(pop.membrane.leak) or (pop.threshold is not None and np.any(pop.threshold < 0)):
        reason = f"v_leak, or a threshold below rest, acts from the first step on, {lag} step(s) before the network's first step"
        context.deviate("retimed", "leak-early", pop.nodes, reason)


def _with_sources(network: Network, wires: list[_Wire], context: Context) -> Network:
    """Return the network with always-firing neurons: for each first step as many as the largest bias there takes."""
    from scipy.sparse import csr_array

    record = context.record
    copies: dict[int, int] = {}
    for wire in wires:
        limit = weight_limit(record.application[wire.pop.name], context)
        copies[wire.step] = max(copies.get(wire.step, 0), int(-(-np.abs(wire.weight).max() // limit)))
    steps = np.repeat(list(copies), list(copies.values()))
    first = dict(zip(copies, np.cumsum([0, *copies.values()]), strict=False))
    projections = []
    for number, wire in enumerate(wires):
        limit = weight_limit(record.application[wire.pop.name], context)
        left, post, pre, data = wire.weight, [], [], []
        for column in range(first[wire.step], first[wire.step] + copies[wire.step]):
            part = np.clip(left, -limit, limit)
            left = left - part
            chosen = np.flatnonzero(part)
            post.append(chosen)
            pre.append(np.full(chosen.size, column))
            data.append(part[chosen])
        where = (np.concatenate(post), np.concatenate(pre))
        shape = (wire.pop.size, steps.size)
        whole = csr_array((np.concatenate(data), where), shape=shape)
        unit = record.scale[wire.pop.name] * record.factor[wire.pop.name, wire.port.name]
        drive = csr_array((np.concatenate(data) / unit[where[0]], where), shape=shape)
        projections.append(
            Projection(
                f"{SOURCE}{number}->{wire.pop.name}",
                SOURCE,
                wire.pop.name,
                wire.port.name,
                Sparse((steps.size,), wire.pop.shape, weight=drive),
                frozen(1, np.int64),
                nodes=wire.pop.nodes,
                quantized=Quantized(whole, 0, record.scale[wire.pop.name]),
            )
        )
    source = _always_firing(steps, context)
    return replace(
        network,
        populations={source.name: source, **network.populations},
        projections=(*network.projections, *projections),
    )


def _always_firing(steps: NDArray[np.int64], context: Context) -> Population:
    """Return integrators that fire in step ``steps - 1`` for the first time and in every step from then on."""
    size, record = steps.size, context.record
    zero, one = frozen(np.zeros(size)), frozen(np.ones(size))
    record.application[SOURCE], record.lag[SOURCE] = "lif_no_delay", 0
    record.factor[SOURCE, "in"], record.scale[SOURCE], record.offset[SOURCE] = one, one, one
    record.decays[SOURCE] = (zero, zero)
    return Population(
        SOURCE,
        (size,),
        "spiking",
        "spike",
        (Port("in", one, one),),
        Membrane(one, one, zero, frozen(np.full(size, np.inf))),
        threshold=frozen(steps - 0.5),
        v_reset=frozen(steps - 1.0),
        reset="value",
        role="bias",
    )
