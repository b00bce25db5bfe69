"""Hardware descriptions: frozen data read from the TOML files of ``hw_configs`` or from a user's own.

A file may be ``based_on`` another one by name and then holds only what differs: that is how a lab describes its own board, and
a team the chip it plans.
"""

from __future__ import annotations

import json
import math
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from nirhw.diagnostics import Diagnostic, error, error_of

Certainty = Literal["documented", "measured", "inferred"]
FOLDER = "hw_configs"
#: limits of this prefix name parts of a board that do not work
DEAD = "dead_"


@dataclass(frozen=True)
class Limit:
    """One number of a chip, with where it comes from and how sure it is."""

    value: float
    source: str
    certainty: Certainty


@dataclass(frozen=True)
class Hardware:
    """A chip or board variant.

    Attributes:
        name: such as ``"xylo-audio2"``.
        family: target that compiles for it.
        title: for reports.
        interface: name under which the vendor's software knows it.
        limits: by name.
        cycles: coefficients of the cycle model, where one is published; empty otherwise.
        cycles_source: where the model comes from.
    """

    name: str
    family: str
    title: str
    interface: str
    limits: Mapping[str, Limit]
    cycles: Mapping[str, float]
    cycles_source: str = ""

    def __getitem__(self, name: str) -> int:
        """Return a limit's value as an integer."""
        return int(self.limits[name].value)


def load_hardware(wanted: str | os.PathLike[str], family: str | None = None) -> Hardware:
    """Return the description called ``wanted``, or the one in a TOML file.

    Raises:
        UsageError: NIRHW-E003 where the file is missing, no TOML, breaks the schema or is of another family.
    """
    try:
        name = os.fsdecode(wanted)
    except TypeError:
        raise error("NIRHW-E003", f"hardware takes a name or a path, got {type(wanted).__name__}") from None
    hardware = _shipped(name) if name in shipped_names() else _from_data(_parse(Path(name)), name)
    if family is not None and hardware.family != family:
        raise error("NIRHW-E003", f"{name} describes a {hardware.family} chip, the target is {family}")
    return hardware


@lru_cache(maxsize=1)
def shipped_names() -> tuple[str, ...]:
    """Return the names of the descriptions that come with nirhw."""
    return tuple(sorted(p.stem for p in _folder().glob("*.toml")))


@lru_cache(maxsize=1)
def _folder() -> Path:
    import nirhw.hw_configs

    return Path(nirhw.hw_configs.__path__[0])


@lru_cache(maxsize=32)
def _shipped(name: str) -> Hardware:
    # files that nirhw ships are checked against the schema by its tests, not at every start
    return _from_data(_parse(_folder() / f"{name}.toml"), name, trusted=True)


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as reason:
        known = ", ".join(shipped_names())
        raise error(
            "NIRHW-E003",
            f"hardware description {path.name} cannot be read: {reason.strerror}",
            fix=f"a TOML file, or one of {known}",
        ) from None
    except (ValueError, RecursionError) as reason:  # TOMLDecodeError and UnicodeDecodeError among them
        raise error("NIRHW-E003", f"{path.name} is not TOML: {reason}") from None


def schema_findings(data: Mapping[str, Any]) -> list[Diagnostic]:
    """Return every way in which ``data`` breaks the JSON Schema of hardware descriptions."""
    import jsonschema

    schema = json.loads((_folder() / "hardware.schema.json").read_text(encoding="utf-8"))
    problems = sorted(jsonschema.Draft202012Validator(schema).iter_errors(data), key=lambda e: [str(p) for p in e.path])
    found = [
        Diagnostic(
            "NIRHW-E003", f"{'.'.join(map(str, p.path)) or 'the file'}: {p.message}", why="JSON Schema of hardware descriptions"
        )
        for p in problems
    ]
    limits = data.get("limits")
    for name, limit in limits.items() if isinstance(limits, Mapping) else ():
        value = limit.get("value") if isinstance(limit, Mapping) else None
        if isinstance(value, float) and not math.isfinite(value):  # TOML has nan and inf, and JSON Schema lets them pass
            found.append(Diagnostic("NIRHW-E003", f"limits.{name}.value: {value} is not a finite number"))
    return found


def _from_data(data: dict[str, Any], label: str, trusted: bool = False) -> Hardware:
    found = [] if trusted else schema_findings(data)
    if found:
        raise error_of(found)
    limits: dict[str, Limit] = {}
    base: Hardware | None = None
    if "based_on" in data:
        if data["based_on"] not in shipped_names():
            raise error(
                "NIRHW-E003",
                f"{label} is based on '{data['based_on']}', which does not exist",
                fix=f"one of {', '.join(shipped_names())}",
            )
        base = _shipped(data["based_on"])
        if base.family != data["family"]:
            raise error("NIRHW-E003", f"{label} describes a {data['family']} chip but is based on a {base.family} chip")
        limits.update(base.limits)
    given = {k: Limit(v["value"], v["source"], v["certainty"]) for k, v in data.get("limits", {}).items()}
    # what is broken on one board (dead_..., read by the target) has no entry in the description of a whole one
    unknown = {n for n in given.keys() - limits.keys() if not n.startswith(DEAD)} if base else set()
    if unknown:
        raise error(
            "NIRHW-E003",
            f"{label} names limits its base does not have: {', '.join(sorted(unknown))}",
            fix=f"one of {', '.join(sorted(limits))}",
        )
    limits.update(given)
    if base is None and not trusted:
        raise error(
            "NIRHW-E003",
            f"{label} is based on no description",
            why="a chip of its own needs a target of its own",
            fix="add based_on, such as based_on = 'xylo-audio2'",
        )
    cycles = {k: v for k, v in data.get("cycles", {}).items() if k not in ("source", "certainty")}
    return Hardware(
        data["name"],
        data["family"],
        data.get("title", base.title if base else data["name"]),
        data.get("interface", base.interface if base else ""),
        limits,
        cycles or (base.cycles if base else {}),
        data.get("cycles", {}).get("source", base.cycles_source if base else ""),
    )
