"""Sets up one environment for each exporter and lets it write graphs and simulations; run by ``make test-exporters``.

    python tests/exporters/run.py --venvs .venv-exporters --out .venv-exporters/out [name ...]

An environment is set up once, and again when its packages change.  torch comes first and stays pinned, and what would pull a GPU
build (gigabytes) is refused before it is downloaded: where pip finds no CPU build of itself, name an index that has one, such as
``--torch-index https://download.pytorch.org/whl/cpu``.  An exporter that cannot be set up or fails is told and left out; its
tests skip then.  Exit code 1 where none worked.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
#: the version all torch exporters were run with; a CPU build serves
TORCH = "torch==2.13.0"
#: parts of a GPU build
GPU = ("nvidia-", "cuda-", "triton")
INSTALL_SECONDS, EXPORT_SECONDS = 1800, 600


@dataclass(frozen=True)
class Exporter:
    """What an exporter's environment holds.

    Attributes:
        torch: whether it needs torch.
        bare: packages that are installed without what they declare, each for the reason given beside it.
        packages: packages with what they declare.
    """

    torch: bool
    bare: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()


EXPORTERS = {
    "snntorch": Exporter(True, packages=("snntorch==1.0.0", "nir==1.0.8", "nirtorch==2.6")),
    # declares torchvision and torchaudio, which would replace torch
    "spikingjelly": Exporter(True, ("spikingjelly==2.0.0",), ("nir==1.0.8", "nirtorch==2.6", "scipy", "tqdm", "loguru")),
    # declares samna, a downloader of its own; nir<=1.0.4
    "sinabs": Exporter(True, ("sinabs==3.1.3", "nirtorch==2.0.2"), ("nir==1.0.4", "matplotlib", "pbr")),
    # declares torchvision
    "norse": Exporter(True, ("norse==1.1.0",), ("nir==1.0.8", "nirtorch==2.6")),
    # its extra declares nir<=1.0.4
    "rockpool": Exporter(True, packages=("rockpool==3.1.0", "nir==1.0.8", "nirtorch==2.6")),
    "spyx": Exporter(False, packages=("spyx==1.0.0", "nir==1.0.8")),
}


def set_up(name: str, folder: Path, torch_index: str | None) -> Path:
    """Return the Python of an exporter's environment, made where it is missing or of other packages."""
    wanted = EXPORTERS[name]
    python, stamp = folder / "bin" / "python", folder / ".installed"
    recipe = repr(wanted) + TORCH
    if python.exists() and stamp.exists() and stamp.read_text() == recipe:
        return python
    if folder.exists():
        shutil.rmtree(folder)
    venv.create(folder, with_pip=True)
    if wanted.torch:
        _pip(python, *(["--index-url", torch_index] if torch_index else []), TORCH)
    if wanted.packages:
        pin = [TORCH] if wanted.torch else []
        _pip(python, *pin, *wanted.packages)
    if wanted.bare:
        _pip(python, "--no-deps", *wanted.bare)
    stamp.write_text(recipe)
    return python


def _pip(python: Path, *arguments: str) -> None:
    """Install packages, unless a GPU build is among what would be installed."""
    command = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *arguments]
    with tempfile.TemporaryDirectory() as folder:
        plan = Path(folder) / "plan.json"
        subprocess.run([*command, "-q", "--dry-run", "--report", str(plan)], check=True, timeout=INSTALL_SECONDS)
        names = [item["metadata"]["name"] for item in json.loads(plan.read_text())["install"]]
    gpu = [name for name in names if name.startswith(GPU)]
    if gpu:
        raise OSError(f"a GPU build of torch would be installed ({', '.join(gpu[:3])}, ...); give --torch-index")
    subprocess.run([*command, "-q"], check=True, timeout=INSTALL_SECONDS)


def export(name: str, python: Path, out: Path) -> None:
    """Run one export script; its graphs go to ``out / name``."""
    print(f"== {name}", flush=True)
    subprocess.run([str(python), str(HERE / f"export_{name}.py"), str(out / name)], check=True, timeout=EXPORT_SECONDS, cwd=HERE)
    print(f"  {(out / name / 'versions.txt').read_text().strip()}", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Set up and run the exporters; return the exit code."""
    parser = argparse.ArgumentParser(description="export graphs from the real exporters")
    parser.add_argument("--venvs", type=Path, default=Path(".venv-exporters"))
    parser.add_argument("--out", type=Path, default=Path(".venv-exporters/out"))
    parser.add_argument("--torch-index", help="package index with CPU builds of torch")
    parser.add_argument("names", nargs="*", default=[], metavar="name", help=f"of {', '.join(EXPORTERS)}; all by default")
    options = parser.parse_args(arguments)
    names = options.names or list(EXPORTERS)
    failed = []
    for name in names:
        if name not in EXPORTERS:
            parser.error(f"no exporter is called '{name}'")
        try:
            export(name, set_up(name, options.venvs.resolve() / name, options.torch_index), options.out.resolve())
        except (OSError, subprocess.SubprocessError) as reason:
            failed.append(name)
            print(f"  {name} left out: {reason}", file=sys.stderr)
    print(f"{len(names) - len(failed)} of {len(names)} exporters ran" + (f", not {', '.join(failed)}" if failed else ""))
    return 1 if len(failed) == len(names) else 0


if __name__ == "__main__":
    sys.exit(main())
