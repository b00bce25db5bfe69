"""From the words of a command line to the arguments of :func:`nirhw.compile`, and from a path to a model."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from nirhw.diagnostics import error, printable

if TYPE_CHECKING:
    from nirhw.compiled import CompiledModel
    from nirhw.nir_reader import Semantics

N = TypeVar("N", int, float)

#: what a bare ``--strict`` stands for
STRICT = "semantic,retimed"
_WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


@dataclass(frozen=True)
class Choices:
    """The options of a compilation as they were typed; None or empty where they were not."""

    target: str | None = None
    hardware: str | None = None
    dt: float | None = None
    reset: tuple[str, ...] = ()
    integrator: str | None = None
    strict: str | None = None
    option: tuple[str, ...] = ()
    level: int | None = None
    calibration: Path | None = None
    labels: Path | None = None
    budget: str | None = None
    seed: int | None = None

    @property
    def given(self) -> list[str]:
        """Names of the options that were typed."""
        return [f"--{f.name}" for f in fields(self) if getattr(self, f.name) not in (None, ())]

    def needed_target(self) -> str:
        """Return the target; raises UsageError NIRHW-E002 where none was given."""
        if self.target is None:
            raise error(
                "NIRHW-E002",
                "no target is given",
                why="a NIR file is compiled for one chip",
                fix="add --target, such as --target xylo; 'nirhw targets' lists them",
            )
        return self.target

    def semantics(self) -> Semantics:
        """Return what the file leaves open."""
        from nirhw.nir_reader import Semantics

        return Semantics(self.dt, _reset(self.reset), self.integrator or "euler")  # type: ignore[arg-type]

    def arguments(self) -> dict[str, Any]:
        """Return the keyword arguments of :func:`nirhw.compile`.

        Raises:
            UsageError: NIRHW-E001 or E002 for an unknown target or words that do not parse.
        """
        return {
            "target": self.needed_target(),
            "hardware": self.hardware,
            "dt": self.dt,
            "reset": _reset(self.reset),
            "integrator": self.integrator or "euler",
            "strict": _classes(self.strict),
            "options": _target_options(self.needed_target(), self.option),
        } | self._effort()

    def _effort(self) -> dict[str, Any]:
        """Return level, budget and seed as far as they were typed, so that :func:`nirhw.compile` keeps its defaults."""
        budget = None if self.budget_seconds() is not None else _evaluations(self.budget)
        typed = {"level": self.level, "budget": budget, "seed": self.seed}
        return {name: value for name, value in typed.items() if value is not None}

    def budget_seconds(self) -> float | None:
        """Return a budget that was typed in seconds, such as ``30s``, else None."""
        if self.budget is None or not self.budget.endswith("s"):
            return None
        return _positive(self.budget, float, self.budget[:-1])


def _evaluations(word: str | None) -> int | None:
    return None if word is None else _positive(word, int, word)


def _positive(typed: str, kind: type[N], word: str) -> N:
    """Return a budget as a positive number; raises UsageError NIRHW-E002 for any other word."""
    try:
        value = kind(word)
    except ValueError:
        value = kind(0)
    if not 0 < value < float("inf"):
        raise error(
            "NIRHW-E002", f"--budget is '{printable(typed)}'", fix="a number of evaluations such as 250, or seconds such as 30s"
        )
    return value


def spell_out_strict(arguments: list[str]) -> list[str]:
    """Return a command line in which a bare ``--strict`` has its value."""
    return [f"--strict={STRICT}" if word == "--strict" else word for word in arguments]


def _classes(words: str | None) -> bool | tuple[str, ...]:
    return False if words is None else tuple(word.strip() for word in words.split(","))


def _reset(words: tuple[str, ...]) -> str | dict[str, str]:
    """Return one reset kind for all nodes, or a dict by node name with "" for all others."""
    found: dict[str, str] = {}
    for word in words:
        node, _, kind = word.rpartition("=")
        if node in found:
            whose = f"node '{printable(node)}'" if node else "all nodes"
            raise error(
                "NIRHW-E002", f"--reset is given twice for {whose}", fix="--reset KIND for all nodes, --reset NODE=KIND for one"
            )
        found[node] = kind
    if not found:
        return "value"
    return found[""] if found.keys() == {""} else found


def _target_options(target: str, words: tuple[str, ...]) -> dict[str, Any]:
    from nirhw.registry import find_target

    defaults: Mapping[str, Any] = {f.name: f.default for f in fields(find_target(target).options)}
    parsed: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise error(
                "NIRHW-E002",
                f"--option takes name=value, got '{printable(word)}'",
                fix=f"'nirhw targets' lists the options of {target}",
            )
        if name in parsed:
            raise error("NIRHW-E002", f"--option {printable(name)} is given twice")
        parsed[name] = _value(text, defaults.get(name))
    return parsed


def _value(text: str, default: Any) -> Any:
    """Return ``text`` as the type of ``default``; as it is where that fails, so that the target says what it takes."""
    if isinstance(default, bool):
        return _WORDS.get(text.lower(), text)
    for kind in (int, float):
        if isinstance(default, kind):
            try:
                return kind(text)
            except ValueError:
                return text
    return text


def is_artifact(path: Path) -> bool:
    """Whether ``path`` is a ``.nirhw`` file, by its first bytes; by its name where it cannot be read."""
    try:
        if path.is_file():
            with path.open("rb") as handle:
                return handle.read(2) == b"PK"
    except OSError:
        pass
    return path.suffix.lower() == ".nirhw"


def model_of(path: Path, choices: Choices) -> CompiledModel:
    """Return the model of a ``.nirhw`` file, or compile a NIR file."""
    if not is_artifact(path):
        from nirhw.compiler import compile

        return compile(path, **choices.arguments())
    refuse_choices(path, choices)
    from nirhw.compiled import load

    return load(path)


def refuse_choices(path: Path, choices: Choices) -> None:
    """Raise UsageError NIRHW-E002 where options of a compilation stand beside an artifact."""
    if choices.given:
        raise error(
            "NIRHW-E002",
            f"'{printable(path)}' is compiled already: {', '.join(choices.given)} would change nothing",
            fix="leave them out, or pass the .nir file",
        )


def refuse_artifact(path: Path) -> None:
    """Raise UsageError NIRHW-E002 where a network is wanted and ``path`` is an artifact."""
    if is_artifact(path) and path.exists():
        raise error(
            "NIRHW-E002",
            f"'{printable(path)}' is a compiled model, not a NIR file",
            fix="nirhw report, inspect and emulate take it",
        )


def check_writable(path: Path | None, *sources: Path | None) -> None:
    """Raise UsageError NIRHW-E005 where ``path`` surely cannot be written, or E002 where it is a file that is read.

    It is asked before the work begins; the writing itself is still whole or not at all.
    """
    if path is None:
        return
    if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        why = "it is a folder" if path.is_dir() else "its folder does not exist, or takes no files"
        raise error("NIRHW-E005", f"'{printable(path)}' cannot be written", why=why, fix="choose another path")
    for source in sources:
        if source is not None and source.exists() and path.exists() and path.samefile(source):
            raise error("NIRHW-E002", f"'{printable(path)}' is also read", fix="write to another file")
