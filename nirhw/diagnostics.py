"""Codes, findings, errors and the ledger: everything nirhw says when something is off.

A finding (:class:`Diagnostic`) has a stable code, says *what* is wrong and *where* (node names), *why* (limit, value and
the source of the limit) and how to mend it.  Errors are raised as :class:`NirhwError`, one subclass a stage, and carry
all findings of that stage.  A change of the network's meaning is a :class:`Deviation` in the ledger.

Names and texts that come from files are hostile: they pass :func:`printable` before they enter a message.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

Stage = Literal["usage", "read", "meaning", "legalize", "quantize", "place", "verify", "input", "artifact"]


@dataclass(frozen=True)
class Code:
    """One row of the table of codes: its stage and a title that never changes its meaning."""

    stage: Stage
    title: str


CODES: Mapping[str, Code] = MappingProxyType(
    {
        # how nirhw was called
        "NIRHW-E001": Code("usage", "unknown target"),
        "NIRHW-E002": Code("usage", "unknown or unusable option"),
        "NIRHW-E003": Code("usage", "hardware description is not valid"),
        "NIRHW-E004": Code("usage", "an optional package is missing"),
        "NIRHW-E005": Code("usage", "file cannot be opened or written"),
        # reading a file or an object
        "NIRHW-E010": Code("read", "not an HDF5 file, or a damaged one"),
        "NIRHW-E011": Code("read", "not a NIR graph"),
        "NIRHW-E012": Code("read", "file refused for safety"),
        "NIRHW-E013": Code("read", "file exceeds the reading budget"),
        "NIRHW-E014": Code("read", "unknown node type"),
        "NIRHW-E015": Code("read", "field missing, unexpected or of the wrong type"),
        "NIRHW-E016": Code("read", "value out of its domain"),
        "NIRHW-E017": Code("read", "edges do not match the nodes"),
        "NIRHW-E018": Code("read", "shapes do not fit together"),
        # what the graph means
        "NIRHW-E020": Code("meaning", "time step unknown"),
        "NIRHW-E021": Code("meaning", "time step does not suit the time constants"),
        "NIRHW-E022": Code("meaning", "cycle without a spiking population or a delay"),
        "NIRHW-E023": Code("meaning", "network has no input or no output"),
        "NIRHW-E024": Code("meaning", "IR is not legal"),
        # what the chip can do
        "NIRHW-E030": Code("legalize", "not expressible on this chip"),
        "NIRHW-E031": Code("legalize", "a limit of the chip is exceeded"),
        "NIRHW-E032": Code("legalize", "time constant out of range"),
        "NIRHW-E033": Code("legalize", "deviation refused by strict mode"),
        "NIRHW-E034": Code("quantize", "value cannot be represented"),
        "NIRHW-E035": Code("place", "network does not fit"),
        "NIRHW-E040": Code("verify", "configuration violates the hardware description"),
        # what is fed in
        "NIRHW-E050": Code("input", "spikes have the wrong shape"),
        "NIRHW-E051": Code("input", "spikes have the wrong type or value"),
        "NIRHW-E052": Code("input", "unknown population, state or label"),
        "NIRHW-E053": Code("input", "state does not belong to this model"),
        # artifacts
        "NIRHW-E060": Code("artifact", "not a nirhw artifact, or a damaged one"),
        "NIRHW-E061": Code("artifact", "artifact of another version"),
        # warnings
        "NIRHW-W001": Code("meaning", "time step inferred from little evidence"),
        "NIRHW-W002": Code("meaning", "population can never fire"),
        "NIRHW-W003": Code("meaning", "node leads nowhere"),
        "NIRHW-W004": Code("meaning", "suspicious parameter convention"),
        "NIRHW-W005": Code("meaning", "population fires without input"),
        "NIRHW-W006": Code("read", "batch or time axis dropped from a shape"),
        "NIRHW-W010": Code("quantize", "weights or biases clipped"),
        "NIRHW-W011": Code("quantize", "weights exceed the threshold"),
        "NIRHW-W012": Code("place", "placement rests on an undocumented rule"),
    }
)


def printable(text: object, limit: int = 120) -> str:
    """Return ``text`` safe for a terminal: control and format characters escaped, at most ``limit`` characters."""
    raw = str(text)
    clipped = raw if len(raw) <= limit else raw[: limit - 1] + "…"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in clipped)


@dataclass(frozen=True)
class Diagnostic:
    """One finding.

    Attributes:
        code: a key of :data:`CODES`.
        what: what is wrong, in one sentence.
        nodes: NIR node names it concerns (nested: ``"outer.inner"``); empty where it concerns the whole network.
        why: the limit, the value and where the limit comes from.
        fix: how to mend it.
    """

    code: str
    what: str
    nodes: tuple[str, ...] = ()
    why: str = ""
    fix: str = ""

    def __post_init__(self) -> None:
        if self.code not in CODES:
            raise KeyError(f"diagnostic code {self.code} is not in the table")
        object.__setattr__(self, "nodes", tuple(printable(n) for n in self.nodes))
        for name in ("what", "why", "fix"):
            object.__setattr__(self, name, printable(getattr(self, name), 2000))

    @property
    def is_error(self) -> bool:
        """Whether this finding stops a compilation."""
        return self.code.startswith("NIRHW-E")

    @property
    def stage(self) -> Stage:
        """The stage that found it."""
        return CODES[self.code].stage

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as JSON-ready data."""
        return {
            "code": self.code,
            "title": CODES[self.code].title,
            "stage": self.stage,
            "what": self.what,
            "nodes": list(self.nodes),
            "why": self.why,
            "fix": self.fix,
        }

    def __str__(self) -> str:
        where = f" [{', '.join(self.nodes[:6])}{', …' if len(self.nodes) > 6 else ''}]" if self.nodes else ""
        parts = [f"{self.code}{where}: {self.what}"]
        parts += [f"  why: {self.why}"] if self.why else []
        parts += [f"  fix: {self.fix}"] if self.fix else []
        return "\n".join(parts)


class NirhwError(Exception):
    """Base of all errors that nirhw raises on bad input.

    Attributes:
        diagnostics: all findings of the stage that failed, errors first.
    """

    def __init__(self, diagnostics: Diagnostic | Iterable[Diagnostic]):
        found = (diagnostics,) if isinstance(diagnostics, Diagnostic) else tuple(diagnostics)
        self.diagnostics: tuple[Diagnostic, ...] = tuple(sorted(found, key=lambda d: not d.is_error))
        super().__init__("\n".join(str(d) for d in self.diagnostics))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.diagnostics,)

    @property
    def code(self) -> str:
        """Code of the first finding."""
        return self.diagnostics[0].code


class UsageError(NirhwError):
    """nirhw was called with an unknown target, option, hardware file or path."""


class ReadError(NirhwError):
    """A file or object is not a NIR graph that nirhw accepts."""


class MeaningError(NirhwError):
    """The graph is well formed, but what it means cannot be settled (time step, cycles, ports)."""


class LegalizeError(NirhwError):
    """The chip cannot express the network."""


class QuantizeError(NirhwError):
    """A value has no representation in the chip's number formats."""


class PlaceError(NirhwError):
    """The network does not fit the chip's cores."""


class VerifyError(NirhwError):
    """A configuration breaks a rule of its hardware description."""


class InputError(NirhwError):
    """Spikes, labels, states or record names do not suit the model."""


class ArtifactError(NirhwError):
    """An artifact cannot be read."""


ERROR_OF_STAGE: Mapping[Stage, type[NirhwError]] = MappingProxyType(
    {
        "usage": UsageError,
        "read": ReadError,
        "meaning": MeaningError,
        "legalize": LegalizeError,
        "quantize": QuantizeError,
        "place": PlaceError,
        "verify": VerifyError,
        "input": InputError,
        "artifact": ArtifactError,
    }
)


def error(code: str, what: str, nodes: Iterable[str] = (), why: str = "", fix: str = "") -> NirhwError:
    """Return an exception of the code's stage that holds one finding; callers raise it."""
    return error_of([Diagnostic(code, what, tuple(nodes), why, fix)])


def error_of(diagnostics: Iterable[Diagnostic]) -> NirhwError:
    """Return the exception for several findings; its type is the stage of the first error among them."""
    found = sorted(diagnostics, key=lambda d: not d.is_error)
    return ERROR_OF_STAGE[found[0].stage](found)


DeviationClass = Literal["rounded", "retimed", "semantic", "host"]
DEVIATION_CLASSES: tuple[DeviationClass, ...] = ("rounded", "retimed", "semantic", "host")


@dataclass(frozen=True)
class Deviation:
    """One entry of the ledger: a departure of the chip from the network's meaning.

    Attributes:
        kind: ``"rounded"`` (numbers), ``"retimed"`` (relative timing of spikes), ``"semantic"`` (another rule) or
            ``"host"`` (computed off the chip).
        rule: short stable name of the departure, such as ``"reset-subtract"``.
        nodes: affected NIR node names.
        reason: why, and by how much where that is known without data.
        effect: measured effect, by measure, where spikes were given.
    """

    kind: DeviationClass
    rule: str
    nodes: tuple[str, ...]
    reason: str
    effect: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "nodes", tuple(printable(n) for n in self.nodes))

    def to_dict(self) -> dict[str, Any]:
        """Return the entry as JSON-ready data."""
        return {
            "class": self.kind,
            "rule": self.rule,
            "nodes": list(self.nodes),
            "reason": self.reason,
            "effect": dict(self.effect),
        }
