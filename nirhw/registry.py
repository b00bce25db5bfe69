"""Which targets and extra passes there are: nirhw's own, and those of other distributions by entry points."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from functools import lru_cache
from typing import Any

from nirhw.diagnostics import error, printable
from nirhw.pipeline import PASS_STAGES, Pass, Target

#: target name -> "module:attribute"; a table, so that nothing is imported before it is needed
BUILT_IN: Mapping[str, str] = {
    "xylo": "nirhw.targets.xylo:TARGET",
    "xylo-audio2": "nirhw.targets.xylo:TARGET",
    "xylo-audio3": "nirhw.targets.xylo:TARGET",
    "xylo-imu": "nirhw.targets.xylo:TARGET",
    "speck": "nirhw.targets.speck:TARGET",
    "speck2f": "nirhw.targets.speck:TARGET",
    "speck2e": "nirhw.targets.speck:TARGET",
    "spinnaker2": "nirhw.targets.spinnaker2:TARGET",
    "spinnaker2-48": "nirhw.targets.spinnaker2:TARGET",
    "loihi2": "nirhw.targets.loihi2:TARGET",
    "loihi2-kapoho-point": "nirhw.targets.loihi2:TARGET",
    "loihi2-hala-point": "nirhw.targets.loihi2:TARGET",
}


@dataclass(frozen=True)
class ExtraPass:
    """A pass of another distribution (entry-point group ``nirhw.passes``).

    Attributes:
        stage: one of the pass stages.
        order: below 0 before the target's own passes of the stage, else behind them; ascending.
        step: the pass.
        families: target families that it serves; empty: all.
    """

    stage: str
    order: int
    step: Pass
    families: tuple[str, ...] = ()


@dataclass(frozen=True)
class OptionInfo:
    """One option of a target."""

    name: str
    type: str
    default: Any
    help: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class TargetInfo:
    """A target that can be compiled to."""

    name: str
    family: str
    hardware: str
    title: str
    options: tuple[OptionInfo, ...]


@lru_cache(maxsize=1)
def _plugin_targets() -> Mapping[str, Any]:
    from importlib.metadata import entry_points

    return {e.name: e for e in entry_points(group="nirhw.targets") if e.name not in BUILT_IN}


@lru_cache(maxsize=1)
def extra_passes() -> tuple[ExtraPass, ...]:
    """Return the passes of other distributions, in order.

    Raises:
        UsageError: NIRHW-E002 for an entry point that is no :class:`ExtraPass` or names an unknown stage.
    """
    from importlib.metadata import entry_points

    found = []
    for entry in entry_points(group="nirhw.passes"):
        extra = entry.load()
        if not isinstance(extra, ExtraPass) or extra.stage not in PASS_STAGES:
            raise error(
                "NIRHW-E002",
                f"the pass plug-in '{printable(entry.name)}' is no ExtraPass of a known stage",
                why=f"stages: {', '.join(PASS_STAGES)}",
            )
        found.append(extra)
    return tuple(sorted(found, key=lambda e: e.order))


def find_target(name: str) -> Target:
    """Return the family that compiles for target ``name``.

    Raises:
        UsageError: NIRHW-E001 with the names there are.
    """
    if name in BUILT_IN:
        module, attribute = BUILT_IN[name].split(":")
        return getattr(importlib.import_module(module), attribute)  # type: ignore[no-any-return]
    for entry in _plugin_targets().values():
        target = entry.load()
        if name in target.variants:
            return target  # type: ignore[no-any-return]
    known = ", ".join((*BUILT_IN, *_plugin_targets()))
    raise error("NIRHW-E001", f"there is no target '{printable(name)}'", fix=f"one of {known}")


def list_targets() -> tuple[TargetInfo, ...]:
    """Return every target with its options: name, type, default and meaning."""
    from nirhw.hardware import load_hardware

    infos = []
    names = list(BUILT_IN) + [v for e in _plugin_targets().values() for v in e.load().variants]
    for name in names:
        target = find_target(name)
        hardware = load_hardware(target.variants[name])
        options = tuple(_option_info(f) for f in fields(target.options))
        infos.append(TargetInfo(name, target.name, hardware.name, hardware.title, options))
    return tuple(infos)


def _option_info(field: Any) -> OptionInfo:
    default = None if field.default is MISSING else field.default
    return OptionInfo(
        field.name,
        type(default).__name__,
        default,
        field.metadata.get("help", ""),
        tuple(str(c) for c in field.metadata.get("choices", ())),
    )
