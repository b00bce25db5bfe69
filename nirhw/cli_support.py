"""What all commands share: exit codes, output that cannot harm a terminal, JSON, errors.

Everything that a command prints passes through here, so that names from files never reach a terminal raw and a closed pipe or
a full disk ends quietly.  Imports nothing heavy: the command line starts with this module.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

import typer

from nirhw.diagnostics import Diagnostic, NirhwError, error, printable

DONE, REFUSED, USAGE = 0, 1, 2
#: a bug of nirhw (sysexits' EX_SOFTWARE), never a judgement about a file
INTERNAL = 70
#: as a shell reports a program that ended by SIGINT or SIGPIPE
INTERRUPTED, BROKEN_PIPE = 130, 141
#: columns of tables that go to a file or a pipe
PLAIN_WIDTH = 110
#: set to see the traceback of an internal error
TRACEBACK = "NIRHW_TRACEBACK"


def exit_code(failure: NirhwError) -> int:
    """Return 2 where nirhw was called wrongly, 1 where a file or a chip is the reason."""
    return USAGE if failure.diagnostics[0].stage == "usage" else REFUSED


def guarded(command: Callable[[], Any], as_json: bool) -> int:
    """Run a command and return its exit code; whatever goes wrong becomes text, and JSON where asked for."""
    try:
        return int(command() or DONE)
    except NirhwError as failure:
        return report_failure(failure, as_json)
    except KeyboardInterrupt:
        warn("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        _mute()
        return BROKEN_PIPE
    except (typer.Exit, typer.Abort):
        raise
    except Exception as bug:
        if hasattr(bug, "format_message"):  # wrong usage as typer sees it
            raise
        return _report_bug(bug, as_json)


def report_failure(failure: NirhwError, as_json: bool, **more: Any) -> int:
    """Print an error as text on stderr, and as JSON on stdout where asked for; return its exit code."""
    for found in failure.diagnostics:
        warn(str(found))
    if as_json:
        emit_json({"ok": False, **more, "diagnostics": [d.to_dict() for d in failure.diagnostics]})
    return exit_code(failure)


def report_misuse(failure: Any, as_json: bool) -> int:
    """Print what typer found wrong with the command line; return its exit code."""
    failure.show()
    if as_json:
        found = Diagnostic("NIRHW-E002", failure.format_message(), fix="see nirhw --help")
        emit_json({"ok": False, "diagnostics": [found.to_dict()]})
    return int(failure.exit_code)


def _report_bug(bug: Exception, as_json: bool) -> int:
    if os.environ.get(TRACEBACK):
        import traceback

        warn(traceback.format_exc())
    what = f"{type(bug).__name__}: {printable(bug, 500)}"
    warn(f"nirhw failed, and this is a bug: {what}\n  fix: set {TRACEBACK}=1, run again, and report what is printed")
    if as_json:
        emit_json({"ok": False, "diagnostics": [], "internal_error": what})
    return INTERNAL


def plain(text: str) -> str:
    """Return ``text`` with everything but line ends made safe for a terminal."""
    return "\n".join(printable(line, max(1, len(line))) for line in text.split("\n"))


def emit(text: str) -> None:
    """Write text to stdout."""
    _write(plain(text))


def emit_json(payload: Mapping[str, Any]) -> None:
    """Write one JSON document to stdout; infinite and undefined numbers as text."""
    from nirhw.report.model import finite

    _write(json.dumps(finite(payload), indent=2, allow_nan=False))


def emit_blocks(*blocks: Any) -> None:
    """Write rich renderables to stdout; in colours on a terminal only, and not where NO_COLOR is set."""
    from io import StringIO

    from rich.console import Console
    from rich.text import Text

    class Page(StringIO):
        encoding = getattr(sys.stdout, "encoding", None) or "utf-8"  # rich draws lines of ASCII where nothing else is possible

    page = Page()
    terminal = sys.stdout is not None and sys.stdout.isatty()
    width = None if terminal else PLAIN_WIDTH
    console = Console(file=page, force_terminal=terminal, width=width, legacy_windows=False)
    for block in blocks:
        console.print(block, markup=False, highlight=False, soft_wrap=isinstance(block, Text))
    _write("\n".join(line.rstrip() for line in page.getvalue().split("\n")))


def warn(text: str) -> None:
    """Write text to stderr; silent where there is none."""
    with suppress(OSError, AttributeError):
        print(plain(text), file=sys.stderr, flush=True)


def _write(text: str) -> None:
    stream = sys.stdout
    if stream is None:
        raise error("NIRHW-E005", "there is no standard output")
    try:
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
        stream.write(text if text.endswith("\n") else text + "\n")
        stream.flush()
    except BrokenPipeError:
        raise
    except OSError as reason:
        _mute()
        raise error("NIRHW-E005", f"standard output cannot be written: {reason.strerror}") from None


def _mute() -> None:
    """Point stdout nowhere, lest the interpreter fail once more when it flushes at its end."""
    with suppress(OSError, AttributeError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def text_of(value: object, style: str = "") -> Any:
    """Return a cell of a table: markup and escapes in ``value`` stay text."""
    from rich.text import Text

    lines = [printable(line, 400) for line in str(value).split("\n")]
    return Text("\n".join(lines), style=style)


def table(title: str, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> Any:
    """Return a rich table of plain cells; columns whose name starts with ``>`` are aligned to the right."""
    from rich import box
    from rich.table import Table

    made = Table(title=text_of(title), box=box.SIMPLE, title_justify="left", title_style="bold", pad_edge=False)
    for name in columns:
        made.add_column(name.removeprefix(">"), justify="right" if name.startswith(">") else "left", overflow="fold")
    for row in rows:
        made.add_row(*(text_of(cell) for cell in row))
    return made


def findings_blocks(found: Iterable[Diagnostic]) -> list[Any]:
    """Return diagnostics for stdout, errors in red and warnings in yellow."""
    from rich.text import Text

    blocks = []
    for diagnostic in found:
        kind, style = ("error", "bold red") if diagnostic.is_error else ("warning", "bold yellow")
        blocks.append(Text.assemble("\n", (kind, style), f" {diagnostic}"))
    return blocks


def counted(number: int, noun: str) -> str:
    """Return ``"1 error"`` or ``"2 errors"``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
