"""Files written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from nirhw.diagnostics import error, printable


def write_whole(path: str | os.PathLike[str], content: bytes) -> None:
    """Write ``content`` to ``path``: a reader sees the old file or the whole new one, whatever happens in between.

    Raises:
        UsageError: NIRHW-E005 where the path cannot be written; an older file stays as it was.
    """
    target = Path(path)
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name[:40]}.", delete=False) as handle:
            temporary = Path(handle.name)
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        if target.is_dir():
            raise IsADirectoryError(0, "it is a folder")
        temporary.replace(target)
        temporary = None
    except OSError as reason:
        raise error(
            "NIRHW-E005", f"'{printable(target)}' cannot be written: {reason.strerror}", fix="choose another path"
        ) from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_folder(folder: str | os.PathLike[str], contents: Mapping[str, bytes]) -> Path:
    """Write files by name to a folder, which is made where it does not exist; each file is written whole or not at all.

    Returns:
        The folder.

    Raises:
        UsageError: NIRHW-E005 where the folder cannot be made or written to.
    """
    place = Path(folder)
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as reason:
        raise error(
            "NIRHW-E005", f"'{printable(place)}' cannot be written: {reason.strerror}", fix="choose another path"
        ) from None
    for name, content in contents.items():
        write_whole(place / name, content)
    return place


def read_bytes(path: str | os.PathLike[str], limit: int) -> bytes:
    """Return the content of a regular file of at most ``limit`` bytes.

    Raises:
        UsageError: NIRHW-E005 where it is missing, no regular file, unreadable or too large.
    """
    source = Path(path)
    try:
        if not source.is_file():
            what = "is no regular file" if source.exists() else "does not exist"
            raise error("NIRHW-E005", f"'{printable(source)}' {what}")
        with source.open("rb") as handle:
            content = handle.read(limit + 1)
    except OSError as reason:
        raise error("NIRHW-E005", f"'{printable(source)}' cannot be read: {reason.strerror}") from None
    if len(content) > limit:
        raise error("NIRHW-E005", f"'{printable(source)}' is larger than {limit >> 20} MiB")
    return content
