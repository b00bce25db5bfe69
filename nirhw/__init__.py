"""nirhw: a hardware compiler for spiking networks in NIR.

``compile`` lowers a graph to a chip's configuration, which is then emulated bit by bit, reported, saved and loaded::

    import nirhw
    model = nirhw.compile("net.nir", target="xylo", dt=1e-4)
    run = model.emulate(spikes)          # (time, channels) or (batch, time, channels)
    print(model.report.to_text())
"""

from __future__ import annotations

from pathlib import Path

from nirhw.diagnostics import NirhwError

_ROOT = Path(__file__).resolve().parent.parent
if (_ROOT / "targets").is_dir() and (_ROOT / "passes").is_dir() and (_ROOT / "pyproject.toml").is_file():
    # an editable install or a checkout: nirhw.passes, nirhw.targets and nirhw.hw_configs lie beside this folder
    __path__.append(str(_ROOT))

__version__ = "0.1.0"
__all__ = ["NirhwError", "__version__"]
