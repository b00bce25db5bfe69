"""The emulator as a device: NIR's arrays in, NIR's arrays out, by the configuration and the io map alone.

The io map: ``inputs[name]`` has "shape" and "group"; ``outputs[name]`` has "shape", "kind" ("spikes" or "membrane"), "groups",
"scale" and "lag"; ``populations[name]`` has "shape", "groups", "scale" and "lag".  A group's :attr:`~.config.Group.neurons` say
which flat indices of the shape it holds.  "scale" is chip units per unit of the network, a number or by neuron; an analog output
is ``v / scale + offset``, where "offset" may be left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirhw.diagnostics import error
from nirhw.emulation.parallel import Job
from nirhw.emulation.result import Run, pack_outputs

from .config import Loihi2Configuration
from .emulator import Loihi2Emulator, Loihi2State, Loihi2Trace, probe_view


class Loihi2Device:
    """Runs a configuration on the bit-exact emulator; compiled kernels are kept between runs."""

    def __init__(self, config: Loihi2Configuration, io_map: Mapping[str, Any]):
        self._emulator = Loihi2Emulator(config)
        self._groups, self._map = {g.name: g for g in config.groups}, io_map

    def prepare(
        self, counts: Mapping[str, NDArray[np.int64]], record: Mapping[str, str] | None = None, state: Any = None
    ) -> Job[Run]:
        """Return the run of ``counts[input][batch, time, channel]``; see :meth:`nirhw.compiled.CompiledModel.emulate`.

        A count above 1 is one spike on synapses without payload, and a payload on graded ones.  Recorded populations have
        "spikes", "v", "i" (the register u) and "v_probe", v as the chip's own probe reads it.  Counters: "wrapped_u" and
        "clipped_v", overflows of the 24-bit states.

        Raises:
            InputError: NIRHW-E053 where ``state`` is not this model's.
        """
        outputs, populations = self._map["outputs"], self._map["populations"]
        names = tuple(record or ())
        if state is not None and not isinstance(state, Loihi2State):
            raise error("NIRHW-E053", "the state is of another target", fix="pass run.state of a run of this model")
        analog_groups = [g for entry in outputs.values() if entry["kind"] == "membrane" for g in entry["groups"]]
        job = self._emulator.prepare(
            {entry["group"]: counts[name] for name, entry in self._map["inputs"].items()},
            state=state,
            spikes=[g for entry in outputs.values() if entry["kind"] == "spikes" for g in entry["groups"]],
            states=[g for name in names for g in populations[name]["groups"]] + analog_groups,
        )
        return job.then(lambda trace: self._read(trace, names))

    def _read(self, trace: Loihi2Trace, names: tuple[str, ...]) -> Run:
        """Return a trace in NIR's arrays, with the states of some populations."""
        outputs, populations = self._map["outputs"], self._map["populations"]
        spikes, analog = {}, {}
        for name, entry in outputs.items():
            if entry["kind"] == "spikes":
                spikes[name] = self._gather(trace.sent, entry)
            else:
                scale, offset = (np.asarray(entry.get(key, default), float) for key, default in (("scale", 1.0), ("offset", 0.0)))
                flat = self._flat(trace.v, entry) / scale.ravel() + offset.ravel()
                analog[name] = flat.reshape(*flat.shape[:2], *entry["shape"])
        lags = {name: entry["lag"] for name, entry in populations.items()}
        lags |= {name: entry["lag"] for name, entry in outputs.items()}
        return Run(
            pack_outputs(spikes, len(outputs)),
            pack_outputs(analog, len(outputs)),
            {name: self._states(trace, populations[name]) for name in names},
            lags,
            trace.state,
            {"wrapped_u": trace.wrapped_u, "clipped_v": trace.clipped_v},
        )

    def _states(self, trace: Loihi2Trace, entry: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
        fires = [name for name in entry["groups"] if self._groups[name].model != "graded"]
        probe = {**trace.v, **{name: probe_view(trace.v[name], trace.sent[name]) for name in fires}}
        parts = {"spikes": trace.sent, "v": trace.v, "i": trace.u, "v_probe": probe}
        return {part: self._gather(values, entry) for part, values in parts.items()}

    def _gather(self, values: Mapping[str, NDArray[Any]], entry: Mapping[str, Any]) -> NDArray[Any]:
        flat = self._flat(values, entry)
        return flat.reshape(*flat.shape[:2], *entry["shape"])

    def _flat(self, values: Mapping[str, NDArray[Any]], entry: Mapping[str, Any]) -> NDArray[Any]:
        """Return ``[batch, time, flat index]``: the groups' columns put where their neurons stand in the population."""
        first = values[entry["groups"][0]]
        full = np.empty((*first.shape[:2], int(np.prod(entry["shape"]))), first.dtype)
        for name in entry["groups"]:
            full[:, :, self._groups[name].neurons] = values[name]
        return full
