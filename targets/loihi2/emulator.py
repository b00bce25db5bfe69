"""Emulation of a Loihi 2 configuration, bit by bit, many samples at once.

The arithmetic stands in :mod:`nirhw.targets.loihi2.kernel`.  Samples are independent, so the same bits come out for any batch
size and any number of threads; a stream may be cut anywhere and continued from :attr:`Loihi2Trace.state`.

Witness: equal to lava-nc 0.10.0's fixed-point processes (``LIF``, ``LIFReset``, ``Dense``, ``Sparse``, ``DelayDense``,
``DelaySparse``, ``Conv`` at exponent 0) in spikes, u and v on the random networks of ``tests/oracles/test_lava.py``.  The models
``lif_subtract`` and ``graded`` are not in lava; for them a second implementation of ours is the only witness.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nirhw.diagnostics import error
from nirhw.emulation.parallel import Job

from .config import Loihi2Configuration
from .flatten import flatten

Array = NDArray[Any]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]

#: what the chip's own probe of v reads in the step of a spike: the refractory delay of 1, in units of 128
PROBE_AT_SPIKE = 128


@dataclass(frozen=True, eq=False)
class Loihi2State:
    """State of a batch between two calls.

    Attributes:
        u, v: ``[sample, neuron]`` int32, over the groups that are no inputs, in the order of the configuration.
        arriving: what will arrive in the next steps, ``[sample, step, neuron]`` int32, next step first.
        step: steps run so far, which decides when ``lif_reset`` resets.
    """

    u: Int32
    v: Int32
    arriving: Int32
    step: int


@dataclass(frozen=True, eq=False)
class Loihi2Trace:
    """Result of a run; arrays ``[sample, time, neuron]`` int32 by group.

    Attributes:
        sent: 0 or 1, the payload of graded groups.
        u, v: states at the end of each step, of groups whose states were asked for.
        wrapped_u: neurons times steps in which u left 24 bits and wrapped, by sample, int64.
        clipped_v: neurons times steps in which v was clipped to 24 bits, by sample, int64.
        state: where a next run continues.
    """

    sent: Mapping[str, Int32]
    u: Mapping[str, Int32]
    v: Mapping[str, Int32]
    wrapped_u: Int64
    clipped_v: Int64
    state: Loihi2State


class Loihi2Emulator:
    """Executes one configuration.

    Args:
        config: what would be written to the chips; it may exceed their sizes.

    Raises:
        VerifyError: NIRHW-E040 where parts do not fit together or a register is beyond the arithmetic.
    """

    def __init__(self, config: Loihi2Configuration):
        self.config = config
        self._net = flatten(config)
        self._inputs = {g.name: g.size for g in config.groups if g.model == "input"}

    def prepare(
        self,
        counts: Mapping[str, ArrayLike],
        state: Loihi2State | None = None,
        spikes: Iterable[str] = (),
        states: Iterable[str] = (),
    ) -> Job[Loihi2Trace]:
        """Return the run of a batch of samples, to be executed alone or with others.

        Args:
            counts: what the input groups send, ``[sample, time, neuron]`` bools or integers by group: any integer other than 0
                is one spike on synapses without payload, and a signed payload on the others.
            state: where to continue, from a trace of the same batch size; default is all zero.
            spikes: groups whose spikes are kept.
            states: groups whose spikes, u and v are kept.

        Raises:
            InputError: NIRHW-E050 to E053 where counts, names or state do not suit the configuration.
        """
        events = self._events(counts)
        n_samples, n_steps, _ = events.shape
        names = {g.name for g in self.config.groups if g.model != "input"}
        detailed = list(dict.fromkeys(states))
        kept = list(dict.fromkeys([*detailed, *spikes]))
        if unknown := [name for name in kept if name not in names]:
            raise error("NIRHW-E052", f"cannot record {unknown}", fix=f"one of {sorted(names)[:40]}")
        values = self._values(n_samples, state)
        step = 0 if state is None else state.step
        places = [self._net.places[name] for name in kept]
        ends = np.cumsum([0, *(p.stop - p.start for p in places)])
        recorded = np.array([(p.start, p.stop - p.start, at) for p, at in zip(places, ends, strict=False)], np.int64).reshape(
            -1, 3
        )
        out = np.empty((3 if detailed else 1, n_samples, n_steps, ends[-1]), np.int32)
        tally = np.zeros((n_samples, 2), np.int64)

        def finish() -> Loihi2Trace:
            pieces = {name: out[..., first:last] for name, (first, last) in zip(kept, pairwise(ends), strict=True)}
            end = step + n_steps
            slots = (end + np.arange(values.shape[1] - 2)) % (values.shape[1] - 2)
            return Loihi2Trace(
                {name: piece[0] for name, piece in pieces.items()},
                {name: pieces[name][1] for name in detailed},
                {name: pieces[name][2] for name in detailed},
                tally[:, 0].copy(),
                tally[:, 1].copy(),
                Loihi2State(values[:, 0].copy(), values[:, 1].copy(), values[:, 2 + slots], end),
            )

        return Job(n_samples, self._work(events, values, recorded, out, tally, step), finish)

    def _events(self, counts: Mapping[str, ArrayLike]) -> Int32:
        if set(counts) != set(self._inputs):
            raise error("NIRHW-E050", f"input is given for {sorted(counts)}, the inputs are {sorted(self._inputs)}")
        arrays = {name: np.asarray(counts[name]) for name in self._inputs}
        lead: set[tuple[int, ...]] = set()
        for name, array in arrays.items():
            if array.ndim != 3 or array.shape[2] != self._inputs[name]:
                raise error("NIRHW-E050", f"input has shape {array.shape}", [name], f"it has {self._inputs[name]} neurons")
            if array.dtype.kind not in "bui":
                raise error("NIRHW-E051", f"input has type {array.dtype}", [name], fix="give integers or bools")
            if array.dtype.itemsize >= 4 and array.size and (array.min() < -(1 << 31) or array.max() >= 1 << 31):
                raise error("NIRHW-E051", "a payload leaves 32 bits", [name])
            lead.add(array.shape[:2])
        if len(lead) != 1:
            raise error("NIRHW-E050", f"inputs differ in samples or steps: {sorted(lead)}")
        events = np.empty((*lead.pop(), self._net.n_inputs), np.int32)
        for name, array in arrays.items():
            events[:, :, self._net.places[name]] = array
        return events

    def _values(self, n_samples: int, state: Loihi2State | None) -> Int32:
        """Return the state in the kernel's layout."""
        slots = self._net.max_delay + 1
        values = np.zeros((n_samples, 2 + slots, self._net.n_neurons), np.int32)
        if state is not None:
            wanted = (n_samples, self._net.n_neurons)
            if state.u.shape != wanted or state.v.shape != wanted or state.arriving.shape != (n_samples, slots, wanted[1]):
                raise error("NIRHW-E053", "the state is of another configuration or batch size")
            values[:, 0], values[:, 1] = state.u, state.v
            values[:, 2 + (state.step + np.arange(slots)) % slots] = state.arriving
        return values

    def _work(
        self, events: Int32, values: Int32, recorded: Int64, out: Int32, tally: Int64, step: int
    ) -> Callable[[int, int], None]:
        """Return what runs some of the samples; the kernel releases the interpreter's lock."""
        from .kernel import run_samples  # numba takes half a second to import

        net = self._net
        fixed = (net.groups, net.bias, net.blocks, net.dense, net.rows, net.entries, events, values, recorded, out, tally)

        def piece(first: int, last: int) -> None:
            run_samples(*fixed, *self._scratch(), step, first, last)

        return piece

    def _scratch(self) -> tuple[Int64, Int32, Int32, NDArray[np.int16]]:
        """Return the kernel's room for active sources, what neurons send, and sums of a block in 32 and 16 bits."""
        n = self._net.n_neurons
        index = np.empty(max(n, self._net.n_inputs) + 1, np.int64)
        return index, np.zeros(n, np.int32), np.empty(n, np.int32), np.empty(n, np.int16)


def probe_view(v: Int32, spikes: Int32) -> Int32:
    """Return v as the chip's probe reads it: 128 in the step of a spike (public trace of the NIR paper)."""
    return np.where(spikes != 0, np.int32(PROBE_AT_SPIKE), v)
