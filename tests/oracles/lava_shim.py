"""Makes lava-nc 0.10.0 importable on Python 3.11 and later, and lava-dl's netx reader without torch; changes none of their files.

Used only inside the oracle environment.
"""

import dataclasses
import functools
import importlib
import sys
import types
from pathlib import Path


def import_lava():
    """Import the module whose dataclasses have defaults that Python 3.11 calls mutable, as if they were hashable."""
    original = dataclasses.dataclass

    def hashable(cls=None, **options):
        options.setdefault("unsafe_hash", True)
        return original(cls, **options)

    dataclasses.dataclass = hashable
    try:
        import lava.magma.compiler.var_model  # noqa: F401
    finally:
        dataclasses.dataclass = original


@functools.cache
def import_netx():
    """Return lava-dl's module of the ``.net`` reader; its packages pull torch, so empty ones are registered first."""
    import lava

    root = next(Path(p) for p in lava.__path__ if (Path(p) / "lib" / "dl").is_dir())
    for name in ("netx", "slayer", "slayer.neuron", "slayer.neuron.rf", "netx.sequential_modules"):
        module = types.ModuleType(f"lava.lib.dl.{name}")
        folder = root / "lib" / "dl" / name.replace(".", "/")
        module.__file__ = str(folder / "__init__.py")  # lava's compiler asks for it
        module.__path__ = [str(folder)]
        sys.modules[module.__name__] = module
    # what the reader asks for resonate-and-fire neurons, which no file of ours has
    sys.modules["lava.lib.dl.slayer.neuron.rf"].neuron_params = None
    return importlib.import_module("lava.lib.dl.netx.hdf5")
