"""``nirhw doctor`` judges vendor software by what lies on disk, and imports none of it."""

from __future__ import annotations

import importlib.machinery
import json
import subprocess
import sys
from pathlib import Path

import pytest

from nirhw.doctor import VENDORS, VendorState, examine, kernel_cache, vendor_state

EXTENSION = f"_core{importlib.machinery.EXTENSION_SUFFIXES[0]}"
BY_NAME = {v.label: v for v in VENDORS}
#: what a module of a fake package does when somebody imports it
TRAP = "import pathlib; pathlib.Path(__file__).with_name('IMPORTED').touch(); raise SystemExit('imported')\n"


def install(site: Path, name: str, version: str, files: list[str], record: bool = True) -> None:
    """Put a fake distribution on disk: its metadata, and files of which each module is a trap."""
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    for file in files:
        path = site / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(TRAP if path.suffix == ".py" else "")
    if record:
        lines = [*files, f"{info.name}/METADATA", f"{info.name}/RECORD"]
        (info / "RECORD").write_text("".join(f"{line},,\n" for line in lines))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return folder


def state(name: str) -> VendorState:
    return vendor_state(BY_NAME[name])


@pytest.mark.parametrize("record", [True, False])
def test_samna_from_the_package_index_is_a_stub(site: Path, record: bool) -> None:
    install(site, "samna", "0.48.6", ["samna/__init__.py", "samna/installer.py"], record)
    found = state("samna")
    assert (found.state, found.version) == ("stub", "0.48.6")
    assert "first import runs pip" in found.detail
    assert not list(site.rglob("IMPORTED")) and "samna" not in sys.modules


@pytest.mark.parametrize("record", [True, False])
def test_samna_with_its_library_is_real(site: Path, record: bool) -> None:
    install(site, "samna", "0.46.0", ["samna/__init__.py", f"samna/{EXTENSION}"], record)
    assert state("samna").state == "real"
    assert not list(site.rglob("IMPORTED"))


def test_a_library_that_is_listed_but_not_there_does_not_count(site: Path) -> None:
    install(site, "samna", "0.46.0", ["samna/__init__.py", f"samna/{EXTENSION}"])
    (site / "samna" / EXTENSION).unlink()
    assert state("samna").state == "stub"


def test_a_library_for_another_python_is_broken(site: Path) -> None:
    install(site, "samna", "0.46.0", ["samna/__init__.py", "samna/_core.cpython-27-x86_64-linux-gnu.so"])
    assert state("samna").state == "broken" and "another Python" in state("samna").detail


def test_metadata_without_files_is_broken(site: Path) -> None:
    install(site, "sinabs", "3.1.3", ["sinabs/__init__.py"])
    (site / "sinabs" / "__init__.py").unlink()
    assert state("sinabs").state == "broken"
    install(site, "xylosim", "0.1.3", ["xylosim/__init__.py"])
    assert state("xylosim").state == "broken" and "compiled extension is missing" in state("xylosim").detail


def test_pure_python_packages_are_real_under_any_of_their_names(site: Path) -> None:
    install(site, "sinabs", "3.1.3", ["sinabs/__init__.py"])
    install(site, "rockpool", "3.1.0", ["rockpool/__init__.py"])
    install(site, "lava-nc", "0.10.0", ["lava/__init__.py"])
    install(site, "spinnaker2", "0.8.0", ["spinnaker2/__init__.py"])
    assert [state(n).state for n in ("sinabs", "rockpool", "lava-nc", "py-spinnaker2")] == ["real"] * 4
    assert not list(site.rglob("IMPORTED"))


def test_metadata_that_says_nothing_is_survived(site: Path) -> None:
    (site / "samna-1.dist-info").mkdir()
    assert state("samna").state == "broken" and state("samna").version == "unknown"


def test_the_command_imports_no_vendor_package(site: Path) -> None:
    for vendor in VENDORS:
        files = [f"{vendor.modules[0]}/__init__.py", f"{vendor.modules[0]}/{EXTENSION}"]
        install(site, vendor.distributions[0], "1.0", files)
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); from nirhw.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, str(site), "doctor", "--json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert [v["state"] for v in json.loads(done.stdout)["vendors"]] == ["real"] * len(VENDORS)
    assert not list(site.rglob("IMPORTED"))


def test_the_examination_names_versions_and_cores() -> None:
    found = examine()
    assert found.healthy and found.machine.cores >= 1
    assert {p.name for p in found.packages if p.version} >= {"numpy", "numba", "nir"}
    json.dumps(found.to_dict())


def test_the_kernel_cache_is_where_numba_is_told_to_put_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "not" / "yet"))
    assert kernel_cache() == (tmp_path / "not" / "yet", True)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file" / "below"))
    assert kernel_cache()[1] is False
