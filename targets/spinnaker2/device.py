"""The emulator as a device: NIR's arrays in, NIR's arrays out, by the configuration and the io map alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirhw.diagnostics import error
from nirhw.emulation.parallel import Job
from nirhw.emulation.result import Run, pack_outputs

from .config import SpiNNaker2Configuration
from .emulator import Emulator, State, Trace

Array = NDArray[Any]


class SpiNNaker2Device:
    """Runs a configuration on the emulator; what was compiled from it is kept between runs.

    The io map names slices by their index in the configuration: ``inputs[name]`` has ``shape`` and ``slices``;
    ``outputs[name]`` has ``shape``, ``slices``, ``kind`` ("spikes" or "voltage"), ``lag`` and, for voltages, ``scale`` (chip
    units of v per unit of the network) and ``offset`` (chip units of v where the network's value is 0), numbers or flat arrays;
    ``populations[name]`` has ``shape``, ``slices`` and ``lag``; ``fused`` says whether a multiply-add rounds once.
    """

    def __init__(self, config: SpiNNaker2Configuration, io_map: Mapping[str, Any]):
        self._emulator = Emulator(config, fused=io_map["fused"])
        self._config, self._map = config, io_map
        self._starts = config.starts

    def prepare(
        self, counts: Mapping[str, NDArray[np.int64]], record: Mapping[str, str] | None = None, state: Any = None
    ) -> Job[Run]:
        """Return the run of ``counts[input][batch, time, channel]``; see :meth:`nirhw.compiled.CompiledModel.emulate`.

        A channel sends at most one spike a step.  Times are chip steps; nothing is shifted.  Recorded "v" and "i" are
        float32 in chip units: v after the reset, i without the offset.

        Raises:
            InputError: NIRHW-E051 where a count is above 1, NIRHW-E053 where ``state`` is not this model's.
        """
        if state is not None and not isinstance(state, State):
            raise error("NIRHW-E053", "the state is of another model", fix="pass run.state of a run of this model")
        names = tuple(record or ())
        outputs, populations = self._map["outputs"], self._map["populations"]
        entries = [*outputs.values(), *(populations[name] for name in names)]
        neurons = np.unique(np.concatenate([np.zeros(0, np.int64), *(self._neurons(entry) for entry in entries)]))
        analog = any(entry["kind"] == "voltage" for entry in outputs.values())
        wanted = {"spikes", "v", "i"} if names else {"spikes", "v"} if analog else {"spikes"}
        job = self._emulator.prepare(self._channels(counts), state, frozenset(wanted), neurons)
        return job.then(lambda trace: self._read(trace, neurons, names))

    def _read(self, trace: Trace, neurons: NDArray[np.int64], names: tuple[str, ...]) -> Run:
        """Return a trace of some neurons in NIR's arrays, with the states of some populations."""
        outputs, populations = self._map["outputs"], self._map["populations"]
        spikes, voltages = {}, {}
        for name, entry in outputs.items():
            if entry["kind"] == "spikes":
                spikes[name] = self._pick(trace, neurons, entry, "spikes")
            else:
                v = self._pick(trace, neurons, entry, "v").astype(np.float64)
                voltages[name] = (v - _shaped(entry.get("offset", 0.0), entry)) / _shaped(entry["scale"], entry)
        states = {
            name: {part: self._pick(trace, neurons, populations[name], part) for part in ("spikes", "v", "i")} for name in names
        }
        lags = {name: entry["lag"] for part in (populations, outputs) for name, entry in part.items()}
        counters = {"spikes": trace.n_spikes, "synaptic_events": trace.n_events}
        return Run(pack_outputs(spikes, len(outputs)), pack_outputs(voltages, len(outputs)), states, lags, trace.state, counters)

    def _neurons(self, entry: Mapping[str, Any]) -> NDArray[np.int64]:
        """Return where the neurons of a population stand among those of all slices, in NIR's flat order."""
        slices = sorted((int(k) for k in entry["slices"]), key=lambda k: self._config.slices[k].first)
        return np.concatenate([np.arange(self._starts[k], self._starts[k + 1]) for k in slices])

    def _channels(self, counts: Mapping[str, NDArray[np.int64]]) -> NDArray[np.int64]:
        batch, steps = next(iter(counts.values())).shape[:2]
        inputs = self._emulator.net.inputs
        events = np.zeros((batch, steps, inputs.size), np.int64)
        for name, entry in self._map["inputs"].items():
            events[:, :, np.searchsorted(inputs, self._neurons(entry))] = counts[name]
        return events

    def _pick(self, trace: Trace, kept: NDArray[np.int64], entry: Mapping[str, Any], part: str) -> Array:
        values: Array = getattr(trace, part)
        return values[:, :, np.searchsorted(kept, self._neurons(entry))].reshape(*values.shape[:2], *entry["shape"])


def _shaped(value: Any, entry: Mapping[str, Any]) -> Array:
    flat = np.asarray(value, np.float64)
    return flat.reshape(entry["shape"]) if flat.ndim else flat
