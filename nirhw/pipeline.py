"""The contract between the compiler, its passes and its targets.

A pass is a frozen dataclass whose fields are its options.  It takes a network and a context and returns a new network; what it
found goes to the context's typed record, what it changed in meaning to the ledger.  A target is data: options, passes by stage,
and the functions that make, check and run a configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

from nirhw.calibration.knobs import Knob
from nirhw.diagnostics import Deviation, DeviationClass, Diagnostic, error, error_of
from nirhw.fits import DriveFit
from nirhw.hardware import Hardware
from nirhw.network import Network, Population
from nirhw.numerics import RANGE_FACTORS
from nirhw.operators import Array, frozen

if TYPE_CHECKING:
    from nirhw.calibration.activity import Activity
    from nirhw.emulation.parallel import Job
    from nirhw.emulation.result import Run
    from nirhw.properties import Property

#: in this order, for all targets
STAGES = ("read", "canonicalize", "legalize", "fit", "structure", "quantize", "partition", "place", "lower", "verify")
PASS_STAGES = ("canonicalize", "legalize", "fit", "structure", "quantize", "partition", "place")


TrimWay = Literal["drive", "factor"]


@dataclass(frozen=True, eq=False)
class Trim:
    """Small changes of a population's neurons, by which their firing rates are brought to those of the float network.

    Attributes:
        drive: constant drive of the membrane a step, in thresholds, ``(neurons,)``.
        factor: on the threshold, ``(neurons,)``.
    """

    drive: Array
    factor: Array

    def applied(self, pop: Population) -> Population:
        """Return a spiking population with the trim."""
        assert pop.membrane is not None and pop.threshold is not None  # it spikes
        leak = frozen(pop.membrane.leak + self.drive * pop.threshold)
        return replace(pop, membrane=replace(pop.membrane, leak=leak), threshold=frozen(pop.threshold * self.factor))


@dataclass(frozen=True, eq=False)
class Tuning:
    """What calibration turned, and what it recorded of the float network to turn it.

    Attributes:
        knobs: value by knob of the target; absent ones have their default.
        trims: by population.
        overshoot: mean membrane of the float network at a spike, in thresholds, by population, ``(neurons,)``.
        bursts: what the chip's neurons emit beyond one spike a step, mean over steps, by population, ``(neurons,)``.
    """

    knobs: Mapping[str, float] = field(default_factory=dict)
    trims: Mapping[str, Trim] = field(default_factory=dict)
    overshoot: Mapping[str, Array] = field(default_factory=dict)
    bursts: Mapping[str, Array] = field(default_factory=dict)


@dataclass
class Context:
    """What passes share.

    Attributes:
        hardware: the chip.
        options: the target's options, an instance of its options dataclass.
        record: the target's typed record of findings: fits, tensors, placement.
        deviations: the ledger so far.
        findings: warnings so far.
        tuning: what calibration turned; read its knobs by :meth:`tuned`.
        activity: what arrives at the neurons on recorded input, where there is some: weights are then rounded for it.
        shares: ranges that a search for a scale tries, see :data:`nirhw.numerics.RANGE_FACTORS`.
        drive_shares: of these ranges, those around the best one at which rounding for the recorded activity is worked out.
        patience: time that searches for a placement may take, as a multiple of what they usually take.
        drives: what rounding for the recorded activity changed.
    """

    hardware: Hardware
    options: Any
    record: Any
    deviations: list[Deviation] = field(default_factory=list)
    findings: list[Diagnostic] = field(default_factory=list)
    tuning: Tuning = field(default_factory=Tuning)
    activity: Activity | None = None
    shares: Sequence[float] = RANGE_FACTORS
    drive_shares: Sequence[float] = (1.0,)
    patience: int = 1
    drives: list[DriveFit] = field(default_factory=list)

    def tuned(self, knob: str, default: float) -> float:
        """Return the value of a knob: ``default`` unless calibration turned it."""
        return self.tuning.knobs.get(knob, default)

    def deviate(self, kind: DeviationClass, rule: str, nodes: Iterable[str], reason: str) -> None:
        """Add an entry to the ledger, unless it is there."""
        entry = Deviation(kind, rule, tuple(nodes), reason)
        if entry not in self.deviations:
            self.deviations.append(entry)

    def warn(self, code: str, what: str, nodes: Iterable[str] = (), why: str = "", fix: str = "") -> None:
        """Add a warning."""
        self.findings.append(Diagnostic(code, what, tuple(nodes), why, fix))

    def stop_on_errors(self) -> None:
        """Raise all findings if one of them is an error."""
        if any(d.is_error for d in self.findings):
            raise error_of(self.findings)


class Pass(Protocol):
    """One rewrite or analysis of the network."""

    @property
    def name(self) -> str:
        """Stable name, shown by ``nirhw inspect``."""

    def apply(self, network: Network, context: Context) -> Network:
        """Return the new network."""


class Device(Protocol):
    """Something that executes a configuration: an emulator, later a board."""

    def prepare(self, counts: Mapping[str, Any], record: Mapping[str, str], state: Any) -> Job[Run]:
        """Return the run of ``counts[name][batch, time, channel]``, with a batch axis, to be executed alone or with others."""


@dataclass(frozen=True)
class Target:
    """A chip family.

    Attributes:
        name: such as ``"xylo"``.
        variants: hardware name by target name; the first is what ``name`` stands for.
        options: frozen dataclass of the target's own options; each field has ``metadata["help"]``.
        new_record: returns an empty typed record.
        passes: passes by stage, made for a set of options.
        lower: ``(network, context) -> (config, io_map)``.
        check: independent rules: ``(config, io_map, hardware) -> findings``; reads nothing else.
        device: returns the emulator of a configuration.
        report: the target's sections of the report, counted from the configuration.
        config_type: class of the configuration, with ``to_dict`` and ``from_dict``.
        knobs: ``(network, context) -> knobs`` that calibration may turn, for a legalized network; None where the target
            cannot be calibrated.
        trims: what of its neurons calibration may trim, one after the other, so that they fire as in the float network.
        placement: fields of the record that the stages from ``partition`` on fill, which calibration keeps instead of running
            them again; empty where they are quick and depend on the weights.
        properties: ``(canonical network, network after all passes, context) -> properties`` of the chip that
            :func:`nirhw.diagnose` shows one by one; None where the target declares none.
        level_options: options that a level other than the default one implies, by level; the user's own win.
    """

    name: str
    variants: Mapping[str, str]
    options: type
    new_record: Callable[[], Any]
    passes: Callable[[Any], Mapping[str, tuple[Pass, ...]]]
    lower: Callable[[Network, Context], tuple[Any, dict[str, Any]]]
    check: Callable[[Any, Mapping[str, Any], Hardware], list[Diagnostic]]
    device: Callable[[Any, Mapping[str, Any]], Device]
    report: Callable[[Any, Mapping[str, Any], Hardware, Any], dict[str, Any]]
    config_type: Any
    knobs: Callable[[Network, Context], tuple[Knob, ...]] | None = None
    trims: tuple[TrimWay, ...] = ()
    placement: tuple[str, ...] = ()
    level_options: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    properties: Callable[[Network, Network, Context], tuple[Property, ...]] | None = None

    def make_options(self, given: Mapping[str, Any]) -> Any:
        """Return the options dataclass filled with ``given``.

        Raises:
            UsageError: NIRHW-E002 for an unknown name or a value of the wrong type or range.
        """
        known = {f.name: f for f in fields(self.options)}
        for name in given:
            if name not in known:
                raise error("NIRHW-E002", f"target {self.name} has no option '{name}'", fix=f"one of {', '.join(known)}")
        for name, value in given.items():
            default = known[name].default
            numeric = isinstance(default, int | float) and not isinstance(default, bool)
            fits = isinstance(value, int | float) and not isinstance(value, bool) if numeric else isinstance(value, type(default))
            if not fits or (isinstance(default, int) and not isinstance(default, bool) and not isinstance(value, int)):
                raise error("NIRHW-E002", f"option '{name}' takes {type(default).__name__}, got {value!r}")
            allowed = known[name].metadata.get("choices")
            if allowed and value not in allowed:
                raise error("NIRHW-E002", f"option '{name}' is {value!r}", fix=f"one of {', '.join(map(str, allowed))}")
            low, high = known[name].metadata.get("range", (None, None))
            if low is not None and not low <= value <= high:
                raise error("NIRHW-E002", f"option '{name}' is {value!r}", why=f"it lies between {low} and {high}")
        return self.options(**given)
