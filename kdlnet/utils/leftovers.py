"""What a killed process left behind: told from what a living one is writing by its lock."""

from __future__ import annotations

import re
import shutil
import sys
import time
from pathlib import Path
from typing import IO

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_STARTED = time.time()
_FAR = 1 << 40
TEMPORARY = re.compile(r"\.kdlnet-[0-9a-f]{32}\.tmp")
"""Names of files that are being written, see :func:`~kdlnet.utils.files.write_atomic`."""


def hold(file: IO[bytes]) -> None:
    """Locks ``file`` until it is closed.

    Raises BlockingIOError or PermissionError where another process holds it, OSError where the
    file system knows no locks.
    """
    if sys.platform == "win32":
        place = file.tell()
        file.seek(_FAR)  # what is locked cannot be written, by no other handle either
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        file.seek(place)
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def lock(file: IO[bytes]) -> bool:
    """As :func:`hold`; says whether it is held now. Without locks nothing is ever cleaned."""
    try:
        hold(file)
    except OSError:
        return False
    return True


def abandoned(file: Path) -> bool:
    """Whether ``file``, which its writer holds, is older than this process and held by none."""
    try:
        if file.is_symlink() or file.stat().st_mtime >= _STARTED:
            return False
        with file.open("r+b") as held:
            return lock(held)
    except OSError:
        return False


def remove_temporary(folder: Path) -> None:
    """Removes temporary files of killed processes in ``folder``; a failure hides nothing else."""
    try:
        for path in folder.iterdir():
            if TEMPORARY.fullmatch(path.name) and abandoned(path):
                path.unlink(missing_ok=True)
    except OSError:
        pass


def remove_folders(place: Path, prefix: str, held: str) -> None:
    """Removes folders of killed processes in ``place``, each with the file ``held`` of its maker.

    Their names begin with ``prefix``. A failure hides nothing else.
    """
    try:
        for folder in place.glob(f"{prefix}*"):
            if not folder.is_symlink() and abandoned(folder / held):
                shutil.rmtree(folder, ignore_errors=True)
    except OSError:
        pass
