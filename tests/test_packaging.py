"""What users install is what the tree holds, however they install it; importing nirhw stays light; no vendor's SDK is needed."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
#: folder of the tree -> folder of the installed package
FOLDERS = {"nirhw": "nirhw", "passes": "nirhw/passes", "targets": "nirhw/targets", "hw_configs": "nirhw/hw_configs"}
#: what no import of LIGHT may cost
HEAVY = (
    "numba",
    "scipy",
    "networkx",
    "pyfive",
    "h5py",
    "nir",
    "torch",
    "samna",
    "ortools",
    "matplotlib",
    "jsonschema",
    "rich",
    "typer",
)
VENDOR_SDKS = {"samna", "sinabs", "rockpool", "lava", "torch", "spinnaker2"}
#: programs that are written out for another environment, never imported here
SCRIPTS = {"run_lava.py"}
JUNK = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")

#: imports every module named in argv and prints where each came from, and what was imported under a second name
PROBE = """
import importlib, json, sys, os
names = sys.argv[1:]
files = {name: os.path.realpath(importlib.import_module(name).__file__) for name in names}
from nirhw.hardware import load_hardware
hardware = load_hardware("xylo-audio3").name
by_file = {}
for name, module in list(sys.modules.items()):
    if getattr(module, "__file__", None) and name != "__main__":
        by_file.setdefault(os.path.realpath(module.__file__), []).append(name)
twice = [names for file, names in by_file.items() if file in files.values() and len(names) > 1]
bare = sorted({"passes", "targets", "hw_configs"} & sys.modules.keys())
print(json.dumps({"files": files, "hardware": hardware, "twice": twice, "bare": bare}))
"""
LIGHT = ("nirhw", "nirhw.passes", "nirhw.targets.xylo.config", "nirhw.targets.loihi2.config", "nirhw.hw_configs")


def _package_files(root: Path) -> Iterator[tuple[Path, str]]:
    """Each file that users need, and its path in the installed package. Markdown is for readers of the tree."""
    for folder, target in FOLDERS.items():
        for path in sorted((root / folder).rglob("*")):
            parts = path.relative_to(root / folder).parts
            hidden = any(part == "__pycache__" or part.startswith(".") for part in parts)
            if path.is_file() and not hidden and path.suffix not in (".pyc", ".md"):
                yield path, "/".join((target, *parts))


def _copy_of_tree(target: Path) -> Path:
    """Copy what a build reads; builds leave files behind, and one tree must not see those of another."""
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, target / folder, ignore=JUNK)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, target / name)
    return target


def _run(*command: str | Path, cwd: Path, **env: str) -> str:
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "PYTHONSAFEPATH")} | env
    done = subprocess.run([str(c) for c in command], cwd=cwd, env=clean, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, f"{command} failed:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def _build_wheel(tree: Path, *arguments: str) -> Path:
    """Build in this environment, which has setuptools, so that nothing is fetched."""
    _run(sys.executable, "-m", "build", "--no-isolation", *arguments, tree, cwd=tree)
    (wheel,) = (tree / "dist").glob("*.whl")
    return wheel


def _environment(folder: Path) -> Path:
    """Make a virtual environment without packages and return its interpreter."""
    _run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    return folder / ("Scripts" if os.name == "nt" else "bin") / "python"


def _install(python: Path, *arguments: str | Path, cwd: Path) -> None:
    """Install nirhw alone, with the pip and setuptools of this environment, and lend it this environment's dependencies."""
    here = sysconfig.get_path("purelib")
    flags = ("--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--ignore-installed")
    _run(sys.executable, "-m", "pip", "--python", python, "install", *flags, *arguments, cwd=cwd, PYTHONPATH=here)
    site = _run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=cwd).strip()
    # a path added by a .pth file does not run that path's own .pth files: nirhw of this environment stays invisible
    (Path(site) / "dependencies.pth").write_text("\n".join({here, sysconfig.get_path("platlib")}))


def _modules(root: Path) -> list[str]:
    """Every module of the package, but the command's entry."""
    paths = [Path(name) for _, name in _package_files(root) if name.endswith(".py") and Path(name).name not in SCRIPTS]
    dotted = [".".join(p.parent.parts if p.name == "__init__.py" else p.with_suffix("").parts) for p in paths]
    return sorted(name for name in dotted if not name.endswith("__main__"))


def _check_imports(python: Path, tree: Path, cwd: Path, expected: Path) -> None:
    """Import all modules from ``cwd`` and check that each is the file below ``expected`` that the tree has too."""
    modules = _modules(tree)
    found = json.loads(_run(python, "-c", PROBE, *modules, cwd=cwd))
    assert found["hardware"] == "xylo-audio3"
    assert found["twice"] == []
    assert found["bare"] == []
    in_tree = {str(path.resolve()): target for path, target in _package_files(tree)}
    for name, file in found["files"].items():
        assert Path(file).is_relative_to(expected.resolve()), f"{name} came from {file}, not from {expected}"
        where = in_tree.get(file) or Path(file).relative_to(expected.resolve()).as_posix()
        assert where in (name.replace(".", "/") + ".py", name.replace(".", "/") + "/__init__.py"), f"{name} came from {file}"


def _site_packages(python: Path) -> Path:
    return Path(_run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=python.parent).strip())


@pytest.mark.slow
def test_wheel_by_way_of_sdist_holds_the_tree(tmp_path):
    tree = _copy_of_tree(tmp_path)
    with zipfile.ZipFile(_build_wheel(tree)) as wheel:
        shipped = {name for name in wheel.namelist() if not name.endswith("/") and ".dist-info/" not in name}
        entry_points = next(wheel.read(n).decode() for n in wheel.namelist() if n.endswith("entry_points.txt"))
    wanted = {name for _, name in _package_files(ROOT)}
    missing, extra = sorted(wanted - shipped), sorted(shipped - wanted)
    assert not missing, f"in the tree, not in the wheel; a new folder must be listed in pyproject.toml: {missing}"
    assert not extra, f"in the wheel, not in the tree: {extra}"
    assert "nirhw = nirhw.cli:main" in entry_points


@pytest.mark.slow
def test_imports_of_a_wheel(tmp_path):
    tree, elsewhere = _copy_of_tree(tmp_path / "tree"), tmp_path / "elsewhere"
    elsewhere.mkdir()
    python = _environment(tmp_path / "env")
    _install(python, _build_wheel(tree, "--wheel"), cwd=elsewhere)
    shutil.rmtree(tree / "build")
    _check_imports(python, tree, elsewhere, _site_packages(python))
    # Python looks into the working directory first: in a checkout all of nirhw is the checkout's
    _check_imports(python, tree, tree, tree)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["default", "strict", "compat"])
def test_imports_of_an_editable_install(mode, tmp_path):
    tree, elsewhere = _copy_of_tree(tmp_path / "tree"), tmp_path / "elsewhere"
    elsewhere.mkdir()
    python = _environment(tmp_path / "env")
    settings = [] if mode == "default" else ["--config-settings", f"editable_mode={mode}"]
    _install(python, *settings, "--editable", tree, cwd=elsewhere)
    _check_imports(python, tree, elsewhere, tree)
    _check_imports(python, tree, tree, tree)


@pytest.mark.parametrize("name", LIGHT)
def test_import_is_light(name, tmp_path):
    program = f"import sys, {name}; print([m for m in {HEAVY} if m in sys.modules])"
    assert _run(sys.executable, "-c", program, cwd=tmp_path).strip() == "[]"


def _imports(body: list[ast.stmt]) -> Iterator[str]:
    """Top-level names of the packages that are imported when a module is; imports for type checkers are not."""
    for statement in body:
        if isinstance(statement, ast.Import):
            yield from (alias.name.split(".")[0] for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom) and not statement.level:
            yield (statement.module or "").split(".")[0]
        elif isinstance(statement, ast.If) and ast.unparse(statement.test).endswith("TYPE_CHECKING"):
            yield from _imports(statement.orelse)
        elif not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            for field in ("body", "orelse", "finalbody"):
                yield from _imports(getattr(statement, field, []))
            for handler in getattr(statement, "handlers", []):
                yield from _imports(handler.body)


def test_vendor_sdks_are_imported_by_deployment_alone_and_late():
    early, misplaced = [], []
    for path, name in _package_files(ROOT):
        if path.suffix != ".py" or path.name in SCRIPTS:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"), name)
        early += [f"{name}: {sdk}" for sdk in sorted(VENDOR_SDKS & set(_imports(tree.body)))]
        anywhere = [n for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)]
        if path.name != "deploy.py":
            misplaced += [f"{name}: {sdk}" for sdk in sorted(VENDOR_SDKS & set(_imports(anywhere)))]
    assert early == []
    assert misplaced == []
