"""One process at a time in a folder. The lock goes with its process, however that ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from kdlnet.errors import KdlnetError
from kdlnet.utils.leftovers import hold
from kdlnet.utils.manifest import MARK


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Holds ``folder`` while the block runs. Raises KdlnetError where another process holds it.

    Where the file system knows no locks (some network drives) nothing is held and nobody refused.
    """
    try:
        file = (folder / MARK).open("ab")
    except OSError:  # read-only: whoever writes will say so
        yield
        return
    with file:
        if not _held(file):
            raise KdlnetError(
                f"another kdlnet is at work in {str(folder)!r}: wait for it, or stop it first"
            )
        yield


def _held(file: IO[bytes]) -> bool:
    """Whether the lock is ours now, or there is none to be had."""
    try:
        hold(file)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        pass
    return True
