"""Kernels as machine code: compiled by numba once, kept on disk, loaded by later processes without numba.

Importing numba and setting up its compiler takes most of a second, whether or not its own cache holds the kernel.  A
kernel that takes pointers and numbers only, makes no arrays and raises nothing needs nothing of numba once it is
compiled.  So its object code is kept, and LLVM alone (llvmlite, which numba brings) links it into the process.

The code belongs to one processor model, one version of the kernel's source and one of llvmlite, which every numba release
pins; anything else, and any damaged file, is compiled anew and written over.  Files lie where numba would put its own, and
are trusted as those are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from nirhw.diagnostics import NirhwError
from nirhw.files import write_whole

_ENTRY = "kernel"
_DIGEST = sha256().digest_size


def load(name: str, source: Path, prototype: Any, compile_kernel: Callable[[], Any]) -> Any:
    """Return a kernel as a ctypes function, which releases the interpreter's lock while it runs.

    Args:
        name: of the kernel and its variant; makes the file name.
        source: the file that defines the kernel.
        prototype: its C type, made by ``ctypes.CFUNCTYPE``.
        compile_kernel: returns the kernel as a ``numba.cfunc``; called only where no code is on disk.

    Raises:
        ValueError: where the kernel may raise or makes arrays; see :func:`object_code`.
    """
    import llvmlite

    versions = (llvmlite.__version__.encode(), Path(__file__).read_bytes(), source.read_bytes())
    identity = b"".join(sha256(part).digest() for part in versions)
    files = [folder / f"{source.stem}.{name}.{_machine()}.o" for folder in cache_folders(source.parent)]
    code = _read(files, identity)
    if code is None:
        code = object_code(compile_kernel())
        _write(files, identity, code)
    return _link(code, prototype)


def cache_folders(beside: Path) -> list[Path]:
    """Return where compiled kernels of the folder ``beside`` may lie, best first: numba's own rule."""
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    if chosen:
        return [Path(chosen)]
    base = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    return [beside / "__pycache__", base / "numba"]


def object_code(kernel: Any) -> bytes:
    """Return relocatable object code of a ``numba.cfunc`` for this processor; its one entry is named ``kernel``.

    Raises:
        ValueError: where it needs functions from outside, as kernels do that raise or make arrays.
    """
    import llvmlite.binding as llvm

    machine = _target_machine()
    module = llvm.parse_assembly(kernel.inspect_llvm())
    for function in module.functions:
        if function.name == kernel.native_name:
            function.name = _ENTRY
        elif not function.is_declaration:
            function.linkage = "internal"
    # now that nothing else can be called from outside, LLVM sees that no function fails, and drops the code that reports
    # errors to Python
    passes = llvm.create_new_module_pass_manager()
    passes.add_ipsccp_pass()
    passes.add_simplify_cfg_pass()
    passes.add_global_dead_code_eliminate_pass()
    passes.run(module, llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options()))
    needed = {f.name for f in module.functions if f.is_declaration and not f.name.startswith("llvm.")}
    if needed:
        raise ValueError(f"the kernel {kernel.__name__} calls {sorted(needed)}; it may not raise, nor make arrays")
    return bytes(machine.emit_object(module))


def _read(files: Iterable[Path], identity: bytes) -> bytes | None:
    for file in files:
        with suppress(OSError):
            content = file.read_bytes()
            digest, code = content[:_DIGEST], content[_DIGEST:]
            if digest == sha256(identity + code).digest():
                return code
    return None


def _write(files: Iterable[Path], identity: bytes, code: bytes) -> None:
    """Keep the code at the first place that can be written; without one every process compiles anew."""
    for file in files:
        with suppress(OSError, NirhwError):
            file.parent.mkdir(parents=True, exist_ok=True)
            write_whole(file, sha256(identity + code).digest() + code)
            return


def _link(code: bytes, prototype: Any) -> Any:
    import llvmlite.binding as llvm

    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _target_machine())
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    function = prototype(engine.get_function_address(_ENTRY))
    function.engine = engine  # it owns the code, so both live equally long
    return function


@cache
def _machine() -> str:
    """Short name of what the code runs on: system, processor and its instructions."""
    import llvmlite.binding as llvm

    parts = (llvm.get_process_triple(), llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten())
    return sha256("\0".join(parts).encode()).hexdigest()[:12]


def _target_machine() -> Any:
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=3,
        reloc="default",
        codemodel="jitdefault",
        jit=True,
    )
