"""Fixtures of all tests: the folder of sample graphs and measured data, which lies outside the project."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

# helpers that several test modules share (graphs.py, slow_interpreter.py) are imported by their bare names
sys.path.append(str(Path(__file__).parent))

#: graphs (``zoo``) and data (``data``) of other tools; tests skip, visibly, where the folder is missing
SHARED = Path(os.environ.get("NIRHW_SHARED", Path(__file__).parents[2] / "shared"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of sample graphs and measured data."""
    if not (SHARED / "zoo").is_dir():
        pytest.skip(f"no sample graphs and data at {SHARED}; name their folder in NIRHW_SHARED")
    return SHARED


@pytest.fixture(scope="session")
def zoo(shared: Path) -> Callable[[str], Path]:
    """Path of a sample graph by name, with or without ``.nir``."""

    def path_of(name: str) -> Path:
        path = shared / "zoo" / (name if name.endswith(".nir") else f"{name}.nir")
        if not path.is_file():
            pytest.skip(f"no sample graph at {path}")
        return path

    return path_of
