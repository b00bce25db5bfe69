"""Emulation of a Xylo configuration, bit by bit, many samples at once.

The arithmetic stands in :mod:`nirhw.targets.xylo.kernel`; here a configuration is compiled to the flat arrays that the
kernel reads, and batches are split over threads.  Samples are independent, so the same bits come out for any batch size
and any number of threads; a stream may be cut anywhere and continued from :attr:`XyloTrace.state`.

Witness: equal to xylosim 0.1.3 (``xylosim.v2``) in all states and spikes on the random configurations of
``tests/oracles/test_xylosim.py``, and on compiled ones with drivers, bias neurons, relays and two synapses
(``tests/oracles/test_xylosim_compiled.py``).
"""

from __future__ import annotations

import ctypes
from collections.abc import Set
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nirhw.diagnostics import error
from nirhw.emulation import native
from nirhw.emulation.parallel import Job

from .config import NO_ALIAS, XyloConfiguration
from .flat import FlatNetwork, alias_lanes, flatten

Array = NDArray[Any]
Int16 = NDArray[np.int16]
Int64 = NDArray[np.int64]
UInt8 = NDArray[np.uint8]

#: what :meth:`XyloEmulator.prepare` can record
RECORDABLE = frozenset({"spikes", "v", "i"})


class LaneState(NamedTuple):
    """State in the kernel's layout, ``[sample, lane]``.

    ``values`` has the lanes of the currents of synapse 1, those of synapse 2, those of the membranes.
    """

    values: Int16
    spikes: UInt8


class Recording(NamedTuple):
    """What the kernel writes: ``[sample, time, neuron]`` for spikes, ``[sample, time, lane]`` for ``values``.

    A last axis of length 0 switches a recording off.
    """

    out_spikes: UInt8
    spikes: UInt8
    values: Int16


@dataclass(frozen=True)
class XyloState:
    """State of a batch between two calls, ``[sample, neuron]``.

    Attributes:
        i, i2, v: synaptic currents and membranes of the hidden neurons, int16.
        i_out, v_out: those of the output neurons, int16.
        spikes: hidden spikes of the last step, uint8; they reach their targets in the next one.
    """

    i: Int16
    i2: Int16
    v: Int16
    i_out: Int16
    v_out: Int16
    spikes: UInt8


@dataclass(frozen=True)
class XyloTrace:
    """Result of a run, ``[sample, time, neuron]``; what was not asked for is ``None``.

    Attributes:
        out_spikes: 0 or 1 per output neuron and step, uint8.
        hidden_spikes: spikes a step, 0 to 31, uint8 (``record`` has ``"spikes"``).
        v, v_out: membranes at the end of each step, int16 (``"v"``).
        i, i2, i_out: synaptic currents at the end of each step, int16 (``"i"``).
        state: where a next run continues.
        events: synaptic events (one spike on one synapse) of each sample, int64 (``count``), as the next three.
        saturations_i, saturations_v: 16-bit clamps that clipped, on currents and on membranes.
        capped: hidden neurons times steps that ended at the cap of 31 spikes.
    """

    out_spikes: UInt8
    hidden_spikes: UInt8 | None
    v: Int16 | None
    i: Int16 | None
    i2: Int16 | None
    v_out: Int16 | None
    i_out: Int16 | None
    state: XyloState
    events: Int64 | None
    saturations_i: Int64 | None
    saturations_v: Int64 | None
    capped: Int64 | None


class XyloEmulator:
    """Executes one configuration.

    Configurations beyond the sizes of a chip are accepted, as are thresholds that the compiler never writes.

    Args:
        config: what would be written to the chip.

    Raises:
        VerifyError: where shapes do not fit together or a value does not fit its register.
    """

    def __init__(self, config: XyloConfiguration):
        _check(config)
        self.config = config
        self._net = flatten(config)
        self._alias = alias_lanes(config)
        self._arguments = _network_arguments(self._net, self._alias, config)
        self._lanes = self._net.neurons.shape[1]
        n_hid, first_output, second, membranes = config.n_hidden, self._net.hidden_lanes, self._lanes, 2 * self._lanes
        n_out = config.n_outputs
        #: where each state stands among the values of :class:`LaneState`
        self._parts = {
            "i": slice(0, n_hid),
            "i_out": slice(first_output, first_output + n_out),
            "i2": slice(second, second + n_hid),
            "v": slice(membranes, membranes + n_hid),
            "v_out": slice(membranes + first_output, membranes + first_output + n_out),
        }

    def prepare(
        self, counts: ArrayLike, state: XyloState | None = None, record: Set[str] = frozenset(), count: bool = False
    ) -> Job[XyloTrace]:
        """Return the run of a batch of samples, to be executed alone or with others.

        Args:
            counts: input events ``[sample, time, channel]``, non-negative integers or bools; above 15 a step the chip
                drops them, and so does this.
            state: where to continue, from an earlier trace of the same batch size; default is all zero.
            record: any of ``"spikes"``, ``"v"``, ``"i"``.
            count: also count events, saturations and caps; 3 to 16 times slower.

        Raises:
            InputError: where counts, state or record names do not suit the configuration.
        """
        events = self._events(counts)
        record = frozenset(record)
        unknown = record - RECORDABLE
        if unknown:
            raise error("NIRHW-E052", f"cannot record {sorted(unknown)}", fix=f"choose among {sorted(RECORDABLE)}")
        n_samples, n_steps, _ = events.shape
        lanes = self._lane_state(n_samples, state)
        recording = self._recording(n_samples, n_steps, record)
        tally = np.zeros((n_samples, 4), np.int64) if count else None
        kernel = _kernel(self._alias is not None, count)
        sizes = (recording.spikes.shape[2], recording.values.shape[2], n_steps)

        def run_samples(first: int, last: int) -> None:
            row, times = np.empty((2, self._net.rows.shape[0]), np.int64)
            arrays = _addresses(row, times, events, *lanes, lanes.spikes, *recording, tally)
            kernel(*self._arguments, *arrays, *sizes, first, last)

        return Job(n_samples, run_samples, lambda: self._trace(lanes, recording, record, tally))

    def _events(self, counts: ArrayLike) -> UInt8:
        """Return counts as a fresh, contiguous uint8 array, so that the kernel sees one type only."""
        values = np.asarray(counts)
        if values.ndim != 3 or values.shape[2] != self.config.n_inputs:
            raise error(
                "NIRHW-E050",
                f"input has shape {values.shape}",
                why=f"the configuration has {self.config.n_inputs} input channels",
                fix="give (samples, steps, channels)",
            )
        if values.dtype.kind not in "bui":
            raise error("NIRHW-E051", f"input has type {values.dtype}", fix="give event counts as integers or bools")
        if values.dtype.kind == "i" and values.size and values.min() < 0:
            raise error("NIRHW-E051", "input has negative counts", fix="give event counts of 0 or more")
        # 255 is above the cap of 15, which the kernel applies
        return np.asarray(np.minimum(values, 255), dtype=np.uint8, order="C")

    def _lane_state(self, n_samples: int, state: XyloState | None) -> LaneState:
        values = np.zeros((n_samples, 3 * self._lanes), np.int16)
        spikes = np.zeros((n_samples, self._lanes), np.uint8)
        if state is not None:
            for f in fields(XyloState):
                given = np.asarray(getattr(state, f.name))
                target = spikes[:, : self.config.n_hidden] if f.name == "spikes" else values[:, self._parts[f.name]]
                if given.shape != target.shape or given.dtype != target.dtype:
                    raise error(
                        "NIRHW-E053",
                        f"state {f.name} has shape {given.shape} and type {given.dtype}",
                        why=f"expected {target.shape} and {target.dtype}",
                        fix="pass the state of a trace of the same configuration and batch size",
                    )
                target[...] = given
        return LaneState(values, spikes)

    def _recording(self, n_samples: int, n_steps: int, record: Set[str]) -> Recording:
        def space(wanted: bool, width: int, dtype: type[np.integer[Any]]) -> Array:
            return np.empty((n_samples, n_steps, width if wanted else 0), dtype)

        return Recording(
            out_spikes=space(True, self.config.n_outputs, np.uint8),
            spikes=space("spikes" in record, self.config.n_hidden, np.uint8),
            values=space(bool(record & {"v", "i"}), 3 * self._lanes, np.int16),
        )

    def _trace(self, state: LaneState, recording: Recording, record: Set[str], tally: Int64 | None) -> XyloTrace:
        # copies, so that a trace does not keep the padded lanes alive
        recorded: dict[str, Any] = {
            name: recording.values[..., part].copy() if name[0] in record else None for name, part in self._parts.items()
        }
        final = {name: state.values[:, part].copy() for name, part in self._parts.items()}
        counters = [None] * 4 if tally is None else list(tally.T.copy())
        return XyloTrace(
            out_spikes=recording.out_spikes,
            hidden_spikes=recording.spikes if "spikes" in record else None,
            **recorded,
            state=XyloState(**final, spikes=state.spikes[:, : self.config.n_hidden].copy()),
            **dict(zip(("events", "saturations_i", "saturations_v", "capped"), counters, strict=True)),
        )


#: argument types of :func:`nirhw.targets.xylo.kernel.run_samples`
_PROTOTYPE = ctypes.CFUNCTYPE(
    None,
    *[ctypes.c_void_p] * 8,
    *[ctypes.c_int64] * 5,
    *[ctypes.c_void_p] * 10,
    *[ctypes.c_int64] * 5,
)


@cache
def _kernel(in_order: bool, counting: bool) -> Any:
    """Return the compiled kernel; ``in_order`` for aliases and thresholds of any sign, ``counting`` for a tally."""

    def compile_kernel() -> Any:
        from nirhw.targets.xylo import kernel  # takes numba half a second, so only where it is not on disk

        return kernel.compile_kernel(in_order, counting)

    name = "run_samples" + "_in_order" * in_order + "_counting" * counting
    return native.load(name, Path(__file__).with_name("kernel.py"), _PROTOTYPE, compile_kernel)


def _addresses(*arrays: Array | None) -> list[int | None]:
    """Return where arrays begin; they must be contiguous, and outlive the addresses."""
    assert all(array is None or array.flags.c_contiguous for array in arrays)
    return [None if array is None else array.ctypes.data for array in arrays]


def _network_arguments(net: FlatNetwork, alias: Array | None, config: XyloConfiguration) -> tuple[int | None, ...]:
    """Return the kernel's arguments that describe the network; its arrays must outlive them."""
    arrays = _addresses(net.rows, net.runs, net.run_weights, net.entry_lane, net.entry_weight, net.i_dash, net.neurons, alias)
    return (*arrays, net.i_dash.size, net.neurons.shape[1], net.hidden_lanes, config.n_inputs, config.n_outputs)


def _check(config: XyloConfiguration) -> None:
    """Refuse what the kernel cannot execute: wrong shapes, values outside their registers."""
    n_hid, n_out = config.n_hidden, config.n_outputs
    hidden, outputs = config.hidden.neurons, config.readout.neurons
    columns = config.input.weights.shape[1]
    rows = config.readout.weights.shape[0]
    expected = {
        "input.weights": (config.input.weights, (config.n_inputs, min(columns, n_hid))),
        "hidden.weights": (config.hidden.weights, (n_hid, n_hid)),
        "readout.weights": (config.readout.weights, (min(rows, n_hid), n_out)),
        **{f"hidden.neurons.{f.name}": (getattr(hidden, f.name), (n_hid,)) for f in fields(hidden)},
        **{f"readout.neurons.{f.name}": (getattr(outputs, f.name), (n_out,)) for f in fields(outputs)},
    }
    if config.synapse2_enable:
        expected["input.syn2_weights"] = (config.input.syn2_weights, (config.n_inputs, columns))
        expected["hidden.syn2_weights"] = (config.hidden.syn2_weights, (n_hid, n_hid))
    for name, (values, shape) in expected.items():
        if values.shape != shape:
            raise error("NIRHW-E040", f"{name} has shape {values.shape}", why=f"expected {shape}")
        low, high = _register_range(name, n_hid)
        if values.size and (values.min() < low or values.max() > high):
            raise error("NIRHW-E040", f"{name} leaves its register", why=f"expected {low} to {high}")
    for group in ("input", "hidden", "readout"):
        shift = getattr(config, group).weight_bit_shift
        if not 0 <= shift <= 15:
            raise error("NIRHW-E040", f"{group}.weight_bit_shift is {shift}", why="expected 0 to 15")


def _register_range(name: str, n_hidden: int) -> tuple[int, int]:
    if name.endswith("weights"):
        return -128, 127
    if name.endswith("decay"):
        return 0, 15
    if name.endswith("alias_target"):
        return NO_ALIAS, n_hidden - 1
    return -32768, 32767  # state, threshold and bias words have 16 bits in the simulator
