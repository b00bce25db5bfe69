"""Kernels kept as machine code: compiled once, loaded without numba, compiled anew where the kept code does not fit."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nirhw.emulation import native

#: adds ``values[k] * factor`` of all k to ``total``
PROTOTYPE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)


@pytest.fixture(scope="module")
def kernel() -> Any:
    from numba import cfunc, types

    pointer = types.CPointer(types.int64)

    @cfunc(types.void(pointer, types.int64, types.int64, pointer), error_model="numpy")
    def weighted_sum(values: Any, size: int, factor: int, total: Any) -> None:
        for k in range(size):
            total[0] += factor * values[k]

    return weighted_sum


class Compiler:
    """Hands out a kernel and counts how often it is asked."""

    def __init__(self, kernel: Any):
        self.kernel, self.calls = kernel, 0

    def __call__(self) -> Any:
        self.calls += 1
        return self.kernel


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A file that stands for the kernel's source."""
    file = tmp_path / "package" / "sums.py"
    file.parent.mkdir()
    file.write_text("first version")
    return file


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "not" / "yet"))
    return tmp_path / "not" / "yet"


def use(source: Path, compile_kernel: Callable[[], Any]) -> int:
    """Load the kernel and return ``3 * (1 + 2 + 3 + 4)`` as it computes it."""
    values, total = np.arange(1, 5), np.zeros(1, np.int64)
    function = native.load("weighted", source, PROTOTYPE, compile_kernel)
    function(values.ctypes.data, values.size, 3, total.ctypes.data)
    return int(total[0])


def test_a_kernel_is_compiled_once_and_kept(kernel: Any, source: Path, folder: Path) -> None:
    compiler = Compiler(kernel)
    assert [use(source, compiler) for _ in range(3)] == [30, 30, 30]
    assert compiler.calls == 1
    (kept,) = folder.iterdir()
    assert kept.name.startswith("sums.weighted.")


@pytest.mark.parametrize(
    "damage", [lambda c: b"", lambda c: c[:-1], lambda c: c[:100] + bytes([c[100] ^ 1]) + c[101:], lambda c: b"x" * len(c)]
)
def test_damaged_code_is_compiled_anew(kernel: Any, source: Path, folder: Path, damage: Callable[[bytes], bytes]) -> None:
    use(source, Compiler(kernel))
    (kept,) = folder.iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(damage(whole))
    compiler = Compiler(kernel)
    assert use(source, compiler) == 30
    assert compiler.calls == 1
    assert kept.read_bytes() == whole


def test_another_version_of_the_source_or_of_llvm_replaces_the_code(
    kernel: Any, source: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler = Compiler(kernel)
    use(source, compiler)
    source.write_text("second version")
    assert use(source, compiler) == 30
    assert compiler.calls == 2
    monkeypatch.setattr("llvmlite.__version__", "another")
    assert use(source, compiler) == 30
    assert compiler.calls == 3
    assert len(list(folder.iterdir())) == 1


def test_another_processor_has_its_own_file(kernel: Any, source: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = Compiler(kernel)
    use(source, compiler)
    monkeypatch.setattr(native, "_machine", lambda: "other")
    use(source, compiler)
    assert compiler.calls == 2
    assert len(list(folder.iterdir())) == 2


def test_where_nothing_can_be_kept_the_kernel_still_runs(
    kernel: Any, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file" / "below"))
    compiler = Compiler(kernel)
    assert [use(source, compiler) for _ in range(2)] == [30, 30]
    assert compiler.calls == 2


def test_code_lies_beside_the_source_or_with_the_user(
    kernel: Any, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    compiler = Compiler(kernel)
    use(source, compiler)
    (beside,) = (source.parent / "__pycache__").iterdir()
    beside.unlink()
    beside.parent.rmdir()
    beside.parent.touch()  # a file in the way, which root cannot pass either
    assert [use(source, compiler) for _ in range(2)] == [30, 30]
    assert compiler.calls == 2
    assert len(list((tmp_path / "home" / "numba").iterdir())) == 1


def test_kernels_that_need_python_are_refused() -> None:
    from numba import cfunc, types

    pointer = types.CPointer(types.int64)

    @cfunc(types.void(pointer), error_model="numpy")
    def raises(values: Any) -> None:
        if values[0] < 0:
            raise ValueError

    @cfunc(types.void(pointer), error_model="numpy")
    def makes_an_array(values: Any) -> None:
        room = np.empty(values[0], np.int64)
        for k in range(room.size):
            room[k] = values[k]
        values[0] = room[values[1]]

    for kernel in (raises, makes_an_array):
        with pytest.raises(ValueError, match="may not raise, nor make arrays"):
            native.object_code(kernel)


def test_a_second_process_emulates_without_numba(tmp_path: Path) -> None:
    code = (
        "import sys, numpy as np\n"
        "from tests.targets.xylo.test_emulator import busy_network\n"
        "from nirhw.targets.xylo.emulator import XyloEmulator\n"
        "counts = np.random.default_rng(0).integers(0, 4, (1, 30, 4))\n"
        "trace = XyloEmulator(busy_network()).prepare(counts, record={'v'}).run()\n"
        "print('numba' in sys.modules, trace.v.astype(np.int64).sum(), trace.out_spikes.sum())\n"
    )
    root = Path(__file__).resolve().parent.parent
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(root)}
    first, second = (
        subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True).stdout.split()
        for _ in range(2)
    )
    assert (first[0], second[0]) == ("True", "False")
    assert first[1:] == second[1:]
