"""The compiled model: what would be written to the chip, and everything that can be asked of it without the chip."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, overload

from nirhw.diagnostics import Deviation, Diagnostic, error, error_of
from nirhw.emulation.events import EventRun, Events, as_events, is_events
from nirhw.emulation.inputs import Counts, as_counts, as_labels, in_chunks, populations_named
from nirhw.emulation.result import Run
from nirhw.fidelity import Fidelity, FidelityMeter
from nirhw.files import read_bytes, write_whole
from nirhw.hardware import Hardware
from nirhw.network import Ints, Network
from nirhw.pipeline import Device
from nirhw.reference import ReferenceState, owners, run_reference
from nirhw.registry import find_target
from nirhw.report.model import Report

#: samples that fidelity runs at once; all populations are recorded, so this bounds memory
CHUNK = 64


@dataclass(frozen=True, eq=False)
class CompiledModel:
    """A configuration for one chip, self-contained.

    Attributes:
        target: target name.
        config: what would be written to the device, as plain data; ``to_dict`` and ``to_json`` export it.
        io_map: how the host's arrays meet the chip's neurons.
        report: resources, fits, ledger; counted from ``config``.
        deviations: the ledger: every departure from the network's meaning.
        findings: warnings met on the way.
        hardware: the chip it was compiled for.
        network: the float network, for :meth:`reference`.
    """

    target: str
    config: Any
    io_map: Mapping[str, Any]
    report: Report
    deviations: tuple[Deviation, ...]
    findings: tuple[Diagnostic, ...]
    hardware: Hardware
    network: Network

    @cached_property
    def _device(self) -> Device:
        return find_target(self.target).device(self.config, self.io_map)

    @overload
    def emulate(
        self, spikes: Events, *, record: Iterable[str] = (), state: Any = None, threads: int | None = None
    ) -> EventRun: ...
    @overload
    def emulate(self, spikes: Any, *, record: Iterable[str] = (), state: Any = None, threads: int | None = None) -> Run: ...
    def emulate(self, spikes: Any, *, record: Iterable[str] = (), state: Any = None, threads: int | None = None) -> Any:
        """Execute ``config`` bit by bit.

        Args:
            spikes: ``(T, *in)`` or ``(B, T, *in)``: bool, integers or whole floats, not negative; a dict by input name
                where the network has several inputs.  T rows in, T rows out, row t is chip step t (with a time stretch of s,
                the chip steps from s * t on, whose spikes are added up).  Or
                :class:`~nirhw.emulation.events.Events` with time stamps, where the chip works event by event.
            record: NIR node names of populations whose "spikes", "v" and "i" are kept, as the chip's integers.
            state: ``run.state`` of an earlier run of this model, to continue its stream.
            threads: at most so many; default: all cores.  The bits do not depend on it.

        Returns:
            A :class:`~nirhw.emulation.result.Run`; for events an :class:`~nirhw.emulation.events.EventRun`.

        Raises:
            InputError: NIRHW-E050 to E053 for spikes, names or states that do not suit the model.
        """
        if is_events(spikes):
            return self._emulate_events(spikes, record, state, threads)
        counts, batched = as_counts(spikes, self._input_shapes, self.io_map["input_peak"])
        wanted = populations_named(record, {n: n for n in self.io_map["populations"]})
        run = self._device.prepare(counts, wanted, state).run(threads)
        return run if batched else _first_sample(run)

    def _emulate_events(self, events: Any, record: Iterable[str], state: Any, threads: int | None) -> EventRun:
        run_events = getattr(self._device, "run_events", None)
        if run_events is None:
            raise error(
                "NIRHW-E050",
                f"target {self.target} takes no events with time stamps",
                why="this chip counts in steps",
                fix="pass counts per step, (T, *in), or a file of events, which is binned",
            )
        wanted = populations_named(record, {n: n for n in self.io_map["populations"]})
        run: EventRun = run_events(as_events(events, self._input_shapes), wanted, state, threads)
        return run

    def reference(self, spikes: Any, *, record: Iterable[str] = (), state: ReferenceState | None = None) -> Run:
        """Run the float network on the same input; same arguments and result type as :meth:`emulate`."""
        return run_reference(self.network, spikes, record, state)

    def fidelity(self, spikes: Any, labels: Any = None, *, progress: Callable[[int, int], None] | None = None) -> Fidelity:
        """Return how well the chip agrees with the float network on ``spikes`` (``(B, T, *in)`` or one sample).

        Raises:
            InputError: NIRHW-E050 to E052 for spikes or labels that do not suit the model.
        """
        counts, checked = self.samples_of(spikes, labels)
        samples = next(iter(counts.values())).shape[0]
        spiking = self.spiking_populations
        meter = FidelityMeter(tuple(self.io_map["outputs"]))
        for number, chunk in enumerate(in_chunks(counts, self._input_shapes, CHUNK), 1):
            meter.add(self.emulate(chunk, record=spiking), self.reference(chunk, record=spiking))
            if progress:
                progress(min(number * CHUNK, samples), samples)
        return meter.result(checked)

    def samples_of(self, spikes: Any, labels: Any = None) -> tuple[dict[str, Counts], Ints | None]:
        """Return counts ``[batch, time, size]`` by input name and labels ``[batch]``, checked; a lone sample is a batch of one.

        Raises:
            InputError: NIRHW-E050 to E052 for spikes or labels that do not suit the model.
        """
        counts, batched = as_counts(spikes, self._input_shapes, self.io_map["input_peak"])
        samples = next(iter(counts.values())).shape[0]
        return counts, None if labels is None else as_labels(labels if batched else [labels], samples)

    @property
    def spiking_populations(self) -> tuple[str, ...]:
        """Names of the populations whose spikes both the chip and the float network can show."""
        return tuple(n for n, p in owners(self.network).items() if self._is_spiking(n, p))

    def _is_spiking(self, name: str, population: str) -> bool:
        return (
            name == population and name in self.io_map["populations"] and self.network.populations[population].rule == "spiking"
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to one ``.nirhw`` file, whole or not at all.

        Raises:
            UsageError: NIRHW-E005 where the path cannot be written.
        """
        write_whole(path, self.to_bytes())

    def to_bytes(self) -> bytes:
        """Return the content of a ``.nirhw`` file; timings are left out, so equal models give equal bytes."""
        from nirhw.artifact import to_bytes

        return to_bytes(
            {
                "target": self.target,
                "config": self.config.to_dict(),
                "io_map": self.io_map,
                "report": self.report.data,
                "deviations": self.deviations,
                "findings": self.findings,
                "hardware": self.hardware,
                "network": self.network,
            }
        )

    @property
    def _input_shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: tuple(entry["shape"]) for name, entry in self.io_map["inputs"].items()}


def load(path: str | os.PathLike[str]) -> CompiledModel:
    """Return the model of a ``.nirhw`` file; nothing in the file is executed.

    Raises:
        UsageError: NIRHW-E005 where the file cannot be read.
        ArtifactError: NIRHW-E060 for a file that is damaged or no artifact, NIRHW-E061 for one of another version.
    """
    from nirhw.artifact import MAX_BYTES, from_bytes

    return from_bytes(read_bytes(path, MAX_BYTES), _rebuilt)


def _rebuilt(parts: dict[str, Any]) -> CompiledModel:
    """Return the model of an artifact's parts, checked like a fresh one."""
    target = find_target(parts["target"])
    config = target.config_type.from_dict(parts.pop("config"))
    model = CompiledModel(config=config, report=Report(parts.pop("report"), {}), **parts)
    model.network.verify()
    broken = target.check(model.config, model.io_map, model.hardware)
    if broken:
        raise error_of(broken)
    return model


def _first_sample(run: Run) -> Run:
    def drop(value: Any) -> Any:
        if value is None:
            return None
        return {k: v[0] for k, v in value.items()} if isinstance(value, Mapping) else value[0]

    states = {name: {k: v[0] for k, v in parts.items()} for name, parts in run.states.items()}
    return Run(drop(run.spikes), drop(run.outputs), states, run.latency, run.state, run.counters)
