"""The one door for errors: every exception becomes an exit code and one line on stderr."""

from __future__ import annotations

import datetime
import errno
import json
import os
import platform
import re
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

import typer

from kdlnet import __version__
from kdlnet.errors import KdlnetError, ProofFailed
from kdlnet.utils.packages import version_of
from kdlnet.utils.paths import typed

DONE, USER, USAGE, DEFECT, PROOF, INTERRUPTED, PIPE = 0, 1, 2, 3, 4, 130, 141
LOST = 75
"""Between processes of one command alone: another one has failed, which has the reason."""

TEAM = "KDLNET_TEAM"
"""In the environment of processes that do one command together, see :mod:`.team`."""

_MENDABLE = {
    errno.ENOSPC: "no space left on the device",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "operation not permitted",
    errno.EISDIR: "it is a directory, a file belongs here",
    errno.ENOTDIR: "a file is in the place of a directory",
    errno.ENAMETOOLONG: "the name is too long",
    errno.EIO: "the device reports an input/output error",
}
_WANTED = {"int_parsing": "write an integer", "float_parsing": "write a number"}
_QUOTED = re.compile(r"""(?<!\w)(['"])(?:(?!\1)[^\\]|\\.)*\1""")  # no apostrophe
_PACKAGES = ("torch", "torchvision", "opencv-python", "numpy", "pydantic", "typer", "rich")


class UsageProblem(Exception):
    """Flags that do not go together or are missing. Ends in exit code 2."""


def report(error: BaseException, argv: Sequence[str]) -> int:
    """Say what went wrong and return the exit code.

    One line ``error: ...`` on stderr; with ``--json`` among ``argv`` also one JSON document
    ``{"error": {"code", "message"}}`` on stdout.
    """
    if isinstance(error, typer.Exit):
        return error.exit_code
    if isinstance(error, BrokenPipeError):
        _drop_stdout()
        return PIPE
    if type(error).__name__ == "NoArgsIsHelpError":  # its message is the whole help
        _say(str(error))
        return USAGE
    if type(error).__name__ == "PeerLost" and TEAM in os.environ:
        return LOST
    code, message = _explain(error, argv)
    if code != INTERRUPTED:
        message = one_line(message)
    _say(message if code == INTERRUPTED else f"error: {message}")
    context = getattr(error, "ctx", None)
    if code == USAGE and context is not None:
        _say(f"Try '{context.command_path} --help' for help.")
    if "--json" in argv:
        print(json.dumps({"error": {"code": code, "message": message}}), flush=True)
    return code


def one_line(text: str) -> str:
    """``text`` on one line, with control characters written as escapes."""
    return printable(" ".join(text.split()))


def printable(text: str) -> str:
    """``text`` with line breaks and control characters written as escapes: one can paste it.

    A path in quotes has each backslash of Windows once, where Python writes it twice.
    """
    if sys.platform == "win32":
        text = _QUOTED.sub(lambda found: found[0].replace("\\\\", "\\"), text)
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def _explain(error: BaseException, argv: Sequence[str]) -> tuple[int, str]:
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        return INTERRUPTED, "\n".join(["interrupted", *getattr(error, "__notes__", [])])
    if isinstance(error, ProofFailed):
        return PROOF, str(error)
    if isinstance(error, KdlnetError):
        return USER, str(error)
    if isinstance(error, UsageProblem):
        return USAGE, str(error)
    # Typer bundles click or depends on it, by version: its usage errors are told by what they do.
    format_message = getattr(error, "format_message", None)
    if callable(format_message):
        return int(getattr(error, "exit_code", USAGE)), _with_value(error, str(format_message()))
    mendable = _mendable(error)
    if mendable is not None:
        return USER, mendable
    return DEFECT, _defect(error, argv)


def _with_value(error: BaseException, message: str) -> str:
    """``message``, with what was given: Typer leaves it out where it asks pydantic."""
    faults = getattr(error.__cause__, "errors", None)
    if not callable(faults):
        return message
    fault, said = faults()[0], getattr(error, "message", "")
    wanted = _WANTED.get(fault["type"], fault["msg"])
    return f"{message.removesuffix(said)}{fault['input']!r}: {wanted}"


def _mendable(error: BaseException) -> str | None:
    """The line for what the machine refuses: space, permission, memory, a system library."""
    text = str(error)
    if isinstance(error, OSError) and error.errno in _MENDABLE:
        names = [str(name) for name in (error.filename, error.filename2) if name is not None]
        return f"{' -> '.join(names) or 'writing'}: {_MENDABLE[error.errno]}"
    if isinstance(error, ImportError) and ("libGL" in text or "libgthread" in text):
        return (
            f"OpenCV lacks a system library ({text}); install libgl1 and libglib2.0-0, "
            "or replace opencv-python by opencv-python-headless"
        )
    if isinstance(error, ModuleNotFoundError) and error.name and "kdlnet" not in error.name:
        return (
            f"this needs the package {error.name.split('.')[0]!r}, which is not installed here: "
            "install all of kdlnet (pip install kdlnet)"
        )
    # Told by name, since torch may not be loaded: its error for a full GPU, and for a full RAM.
    full = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    if full or "DefaultCPUAllocator" in text:
        return (
            "out of memory; lower --batch or --image-size, "
            "or keep the images on disk with --set data.cache=disk"
        )
    return None


def _defect(error: BaseException, argv: Sequence[str]) -> str:
    """Write the log file of a defect and return the line that names it."""
    cause = one_line(f"{type(error).__name__}: {error}")[:200]
    lines = [
        f"kdlnet {__version__}, python {platform.python_version()}, {platform.platform()}",
        *(f"{name} {version_of(name) or 'not installed'}" for name in _PACKAGES),
        f"command: kdlnet {typed(*argv)}",
        "",
        *traceback.format_exception(error),
    ]
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    for folder in (".", tempfile.gettempdir()):
        log = Path(folder, f"kdlnet-error-{stamp}-{os.getpid()}.log")
        try:
            log.write_text("\n".join(lines), encoding="utf-8", errors="backslashreplace")
        except OSError:
            continue
        return f"a defect in kdlnet ({cause}); please report it with {log.absolute()}"
    return f"a defect in kdlnet ({cause}); no log file could be written"


def _say(line: str) -> None:
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:  # stderr is gone: the exit code still speaks
        pass


def _drop_stdout() -> None:
    """Send what is left in the buffer nowhere, so that the interpreter's last flush is quiet."""
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
    except (OSError, ValueError):
        pass
