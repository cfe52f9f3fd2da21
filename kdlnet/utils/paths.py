"""Paths as people read them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


def shown(path: Path) -> str:
    """``path`` as short as it can be: relative where it lies below the working directory."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


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
