"""nirhw: a hardware compiler for spiking networks in NIR.

``compile`` lowers a graph to a chip's configuration, which is then emulated bit by bit, reported, saved and loaded::

    import nirhw
    model = nirhw.compile("net.nir", target="xylo", dt=1e-4)
    run = model.emulate(spikes)          # (time, channels) or (batch, time, channels)
    print(model.report.to_text())
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from nirhw.diagnostics import NirhwError

if TYPE_CHECKING:
    from nirhw.compiled import CompiledModel as CompiledModel
    from nirhw.compiled import load as load
    from nirhw.compiler import check as check
    from nirhw.compiler import compile as compile
    from nirhw.diagnosis import diagnose as diagnose
    from nirhw.registry import list_targets as list_targets

_ROOT = Path(__file__).resolve().parent.parent
if (_ROOT / "targets").is_dir() and (_ROOT / "passes").is_dir() and (_ROOT / "pyproject.toml").is_file():
    # an editable install or a checkout: nirhw.passes, nirhw.targets and nirhw.hw_configs lie beside this folder
    __path__.append(str(_ROOT))

__version__ = "0.1.0"
__all__ = ["CompiledModel", "NirhwError", "__version__", "check", "compile", "diagnose", "list_targets", "load"]

#: public name -> module; imported at first use, so that ``import nirhw`` stays quick
_LATE = {
    "CompiledModel": "nirhw.compiled",
    "check": "nirhw.compiler",
    "compile": "nirhw.compiler",
    "diagnose": "nirhw.diagnosis",
    "list_targets": "nirhw.registry",
    "load": "nirhw.compiled",
}


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module 'nirhw' has no attribute '{name}'")
    import importlib

    value = getattr(importlib.import_module(_LATE[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
