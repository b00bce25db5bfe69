"""The emulator as a device: NIR's arrays in, NIR's arrays out, by the configuration and the io map alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirhw.diagnostics import error
from nirhw.emulation.parallel import Job
from nirhw.emulation.result import Run, pack_outputs

from .config import XyloConfiguration
from .emulator import XyloEmulator, XyloState, XyloTrace
from .stretch import stretch_of


class XyloDevice:
    """Runs a configuration on the bit-exact emulator; compiled kernels are kept between runs."""

    def __init__(self, config: XyloConfiguration, io_map: Mapping[str, Any]):
        self._emulator = XyloEmulator(config)
        self._config, self._map = config, io_map
        self._stretch = stretch_of(io_map)

    def prepare(
        self, counts: Mapping[str, NDArray[np.int64]], record: Mapping[str, str] | None = None, state: Any = None
    ) -> Job[Run]:
        """Return the run of ``counts[input][batch, time, channel]``; see :meth:`nirhw.compiled.CompiledModel.emulate`.

        Counts above 15 a step are dropped by the chip.  A row is a chip step, or ``time_stretch`` of them: its counts enter in
        the first, its spikes are those of all, its membranes and currents those at the end of the last.  Nothing is shifted.

        Raises:
            InputError: NIRHW-E053 where ``state`` is not this model's.
        """
        names = tuple(record or ())
        outputs = self._map["outputs"]
        membranes = any(entry["kind"] == "membrane" for entry in outputs.values())
        parts = {"spikes", "v", "i"} if names else {"v"} if membranes else set()
        hidden_out = any(e["layer"] == "hidden" and e["kind"] == "spikes" for e in outputs.values())
        job = self._emulator.prepare(
            self._channels(counts),
            state=self._checked(state, next(iter(counts.values())).shape[0]),
            record=frozenset(parts | ({"spikes"} if hidden_out else set())),
        )
        return job.then(lambda trace: self._read(trace, names))

    def _read(self, trace: XyloTrace, names: tuple[str, ...]) -> Run:
        """Return a trace in NIR's arrays, with the states of some populations."""
        outputs, spikes, analog = self._map["outputs"], {}, {}
        for name, entry in outputs.items():
            if entry["kind"] == "spikes":
                spikes[name] = self._pick(trace, entry, "spikes")
            else:
                analog[name] = self._pick(trace, entry, "v") / np.reshape(entry["scale"], entry["shape"])
        total = len(outputs)
        states = {name: self._states(trace, self._map["populations"][name]) for name in names}
        lags = {name: entry["lag"] for name, entry in self._map["populations"].items()}
        lags |= {name: entry["lag"] for name, entry in outputs.items()}
        return Run(pack_outputs(spikes, total), pack_outputs(analog, total), states, lags, trace.state)

    def _channels(self, counts: Mapping[str, NDArray[np.int64]]) -> NDArray[np.int64]:
        batch, steps = next(iter(counts.values())).shape[:2]
        events = np.zeros((batch, steps * self._stretch, self._config.n_inputs), np.int64)
        for name, entry in self._map["inputs"].items():
            events[:, :: self._stretch, entry["channels"]] = counts[name]
        return events

    def _checked(self, state: Any, batch: int) -> XyloState | None:
        if state is None:
            return None
        config = self._config
        if (
            not isinstance(state, XyloState)
            or state.v.shape != (batch, config.n_hidden)
            or state.v_out.shape != (batch, config.n_outputs)
        ):
            raise error(
                "NIRHW-E053",
                "the state is of another model or batch size",
                fix="pass run.state of a run of this model with the same batch",
            )
        return state

    def _pick(self, trace: XyloTrace, entry: Mapping[str, Any], what: str) -> NDArray[Any]:
        hidden = entry["layer"] == "hidden"
        source = {
            "spikes": trace.hidden_spikes if hidden else trace.out_spikes,
            "v": trace.v if hidden else trace.v_out,
            "i": trace.i if hidden else trace.i_out,
            "i2": trace.i2,
        }[what]
        assert source is not None  # run() asked for it
        picked = source[:, :, entry["ids"]]
        if what == "spikes" and "copies" in entry:
            picked = (picked - np.asarray(entry["copies"])).astype(picked.dtype)
        batch, rows = source.shape[0], source.shape[1] // self._stretch
        by_row = picked.reshape(batch, rows, self._stretch, picked.shape[2])
        summed = what == "spikes" and self._stretch > 1
        found = by_row.sum(axis=2, dtype=picked.dtype) if summed else by_row[:, :, -1]
        return found.reshape(batch, rows, *entry["shape"])

    def _states(self, trace: XyloTrace, entry: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
        parts = ("spikes", "v", "i", "i2") if entry["synapses"] > 1 else ("spikes", "v", "i")
        return {part: self._pick(trace, entry, part) for part in parts}
