"""How a target declares what a user can choose: fields of a frozen dataclass, with what ``nirhw targets`` prints beside them."""

from __future__ import annotations

from dataclasses import field
from typing import Any


def option(default: Any, help: str, *, choices: tuple[Any, ...] = (), between: tuple[Any, Any] | None = None) -> Any:
    """Return a field of a target's options dataclass.

    Args:
        default: its value where the user says nothing; its type is the option's type.
        help: what it means, one phrase.
        choices: the values that it may take; any, where empty.
        between: smallest and largest value, both included.
    """
    metadata = {"help": help} | ({"choices": choices} if choices else {}) | ({"range": between} if between else {})
    return field(default=default, metadata=metadata)
