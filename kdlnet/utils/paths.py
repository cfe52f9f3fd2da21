"""Paths as people read and type them."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import list2cmdline

_PACKED = frozenset(".zip .tar .tgz .gz .txz .xz .tbz2 .bz2 .zst .7z .rar".split())  # noqa: SIM905


def shown(path: Path) -> str:
    """``path`` as short as it can be: relative where it lies below the working directory."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def typed(*arguments: str) -> str:
    """``arguments`` as they are typed into a shell; that of Windows knows no single quotes."""
    return list2cmdline(arguments) if sys.platform == "win32" else shlex.join(arguments)


def absolute(path: Path) -> Path:
    """``path`` without ``..``, in one spelling for every image, links as they are.

    Label files lie beside a link, not beside what it points at.
    """
    return Path(os.path.normpath(path.absolute()))


def asked(question: Callable[[], bool], otherwise: bool = False) -> bool:
    """What a path answers, asked whether it is a file, say; ``otherwise`` where nobody may look."""
    try:
        return question()
    except OSError:  # its folder is closed to us, or the name is too long for any
        return otherwise


def why_missing(path: Path) -> str:
    """Why nothing is found at ``path``."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):  # no path has a NUL in it
        pass
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    return "does not exist"


def unpack_first(path: Path) -> str:
    """What to do where ``path`` is an archive, "" where it is none.

    Tools for labels give their exports as archives.
    """
    packed = path.suffix.lower() in _PACKED and path.is_file()
    return f"{path.name!r} is packed: unpack it, and give its folder" if packed else ""
