"""What is installed here: nirhw's packages, vendor SDKs, cores, the kernel cache.

No vendor package is imported: some are stubs that download and install themselves at their first import.  They are judged by
their metadata and by the files they put on disk.
"""

from __future__ import annotations

import importlib.machinery
import os
import platform
import re
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Literal

State = Literal["real", "stub", "absent", "broken"]

#: what nirhw cannot do without
REQUIRED = ("numpy", "scipy", "numba", "llvmlite", "networkx", "ortools", "pyfive", "jsonschema", "typer", "rich")
#: optional package -> what it is for
OPTIONAL: Mapping[str, str] = {
    "nir": "graphs in memory",
    "h5py": "used by nir to write files, and for .net files of Loihi 2",
    "jinja2": "HTML reports",
    "aedat": "AEDAT4 recordings",
}
_COMPILED = (".so", ".pyd", ".dylib", ".dll")
_ABI = re.compile(r"\.(?:cpython-|cp)(\d+)")


@dataclass(frozen=True)
class Vendor:
    """A vendor's package.

    Attributes:
        label: name in tables.
        distributions: names under which it is distributed, by preference.
        modules: top-level folders or modules that a whole installation has.
        purpose: what nirhw would need it for.
        compiled: whether a whole installation holds a compiled extension.
        stub: what it means where that extension is missing; "" where that is damage.
    """

    label: str
    distributions: tuple[str, ...]
    modules: tuple[str, ...]
    purpose: str
    compiled: bool = False
    stub: str = ""


VENDORS = (
    Vendor(
        "samna",
        ("samna",),
        ("samna",),
        "deployment to Xylo and Speck",
        compiled=True,
        stub="a downloader without the library: its first import runs pip against the vendor's package index",
    ),
    Vendor("sinabs", ("sinabs",), ("sinabs",), "Speck's own tool chain; nirhw does not need it"),
    Vendor("rockpool", ("rockpool",), ("rockpool",), "Xylo's own tool chain; nirhw does not need it"),
    Vendor("xylosim", ("xylosim",), ("xylosim",), "oracle of the Xylo emulator's tests", compiled=True),
    Vendor("lava-nc", ("lava-nc",), ("lava",), "deployment to Loihi 2"),
    Vendor("py-spinnaker2", ("py-spinnaker2", "spinnaker2"), ("spinnaker2",), "deployment to SpiNNaker2"),
)


@dataclass(frozen=True)
class PackageState:
    """An open-source package; ``version`` is "" where it is not installed."""

    name: str
    version: str
    required: bool
    purpose: str


@dataclass(frozen=True)
class VendorState:
    """A vendor's package: "real", a "stub", "absent", or "broken" (metadata without its files)."""

    name: str
    state: State
    version: str
    detail: str
    purpose: str


@dataclass(frozen=True)
class Machine:
    """Where nirhw runs; ``cores`` are those it may use."""

    nirhw: str
    python: str
    system: str
    cores: int
    kernel_cache: str
    kernel_cache_writable: bool


@dataclass(frozen=True)
class Examination:
    """All that ``nirhw doctor`` found."""

    machine: Machine
    packages: tuple[PackageState, ...]
    vendors: tuple[VendorState, ...]

    @property
    def healthy(self) -> bool:
        """Whether every required package is there."""
        return all(p.version for p in self.packages if p.required)

    def to_dict(self) -> dict[str, Any]:
        """Return the findings as JSON-ready data."""
        return asdict(self)


def examine() -> Examination:
    """Look at this installation; imports none of the packages it looks at."""
    packages = [_package(name, True, "nirhw itself") for name in REQUIRED]
    packages += [_package(name, False, purpose) for name, purpose in OPTIONAL.items()]
    return Examination(_machine(), tuple(packages), tuple(vendor_state(v) for v in VENDORS))


def _found(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def _version(dist: Distribution) -> str:
    try:
        return str(dist.metadata["Version"] or "unknown")
    except Exception:  # metadata without a file, or one that cannot be decoded
        return "unknown"


def _package(name: str, required: bool, purpose: str) -> PackageState:
    dist = _found(name)
    return PackageState(name, _version(dist) if dist else "", required, purpose)


def vendor_state(vendor: Vendor) -> VendorState:
    """Return whether a vendor's package is real, a stub, absent or broken, from its metadata and files alone."""
    dist = next((d for d in map(_found, vendor.distributions) if d is not None), None)
    if dist is None:
        return VendorState(vendor.label, "absent", "", "not installed", vendor.purpose)
    state, detail = _judged(vendor, dist)
    return VendorState(vendor.label, state, _version(dist), detail, vendor.purpose)


def _judged(vendor: Vendor, dist: Distribution) -> tuple[State, str]:
    files = _files(vendor, dist)
    editable = _is_editable(dist)
    if not files and not editable:
        return "broken", "its metadata is there, its files are not: install it again"
    if not vendor.compiled:
        return "real", "editable installation" if editable else ""
    binaries = [f for f in files if f.name.endswith(_COMPILED)]
    if binaries and not any(_loadable(f.name) for f in binaries):
        return "broken", f"its library was built for another Python: {binaries[0].name}"
    if binaries:
        return "real", binaries[0].name
    return ("stub", vendor.stub) if vendor.stub else ("broken", "its compiled extension is missing: install it again")


def _files(vendor: Vendor, dist: Distribution) -> list[Path]:
    """Return the package's own files that exist: those listed, or those in its folder where it lists none."""
    listed = [Path(str(dist.locate_file(f))) for f in dist.files or () if not _is_metadata(str(f))]
    if not listed:
        root = Path(str(dist.locate_file("")))
        for module in vendor.modules:
            listed += [p for p in root.glob(f"{module}*") if p.is_file() and p.name.split(".")[0] == module]
            listed += (root / module).rglob("*")
    return [p for p in listed if p.is_file()]


def _is_metadata(file: str) -> bool:
    top = file.replace("\\", "/").split("/")[0]
    return top.endswith((".dist-info", ".egg-info", ".pth")) or top in ("..", "__pycache__")


def _is_editable(dist: Distribution) -> bool:
    try:
        return '"editable"' in (dist.read_text("direct_url.json") or "")
    except (OSError, ValueError):
        return False


def _loadable(name: str) -> bool:
    tag = _ABI.search(name)
    own = f"{sys.version_info.major}{sys.version_info.minor}"
    return tag is None or tag[1] == own or name.endswith(tuple(importlib.machinery.EXTENSION_SUFFIXES[:-1]))


def _machine() -> Machine:
    import nirhw

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    cache, writable = kernel_cache()
    return Machine(
        nirhw.__version__,
        f"{platform.python_implementation()} {platform.python_version()}",
        f"{platform.system()} {platform.machine()}",
        cores,
        str(cache),
        writable,
    )


def kernel_cache() -> tuple[Path, bool]:
    """Return where compiled kernels are kept, and whether they can be written there; else every process compiles anew."""
    import nirhw.targets
    from nirhw.emulation.native import cache_folders

    folders = cache_folders(Path(next(iter(nirhw.targets.__path__))) / "xylo")
    folder = next((folder for folder in folders if _writable(folder)), None)
    return (folder, True) if folder else (folders[-1], False)


def _writable(folder: Path) -> bool:
    """Whether ``folder`` can be written to, or made; nothing is left behind."""
    import tempfile

    nearest = next((p for p in (folder, *folder.parents) if p.exists()), Path("."))
    try:
        with tempfile.TemporaryFile(dir=nearest):
            return True
    except OSError:
        return False
