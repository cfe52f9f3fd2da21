"""Folders that cannot be listed, whoever runs the tests: root may list all."""

from __future__ import annotations

import errno
import glob
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def _breaking_off(folder: Path, scandir: Callable[[Path], Any]) -> Iterator[Any]:
    with scandir(folder) as listed:
        first = next(listed)

    def entries() -> Iterator[os.DirEntry[str]]:
        yield first
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(folder))

    yield entries()


@contextmanager
def closed(folder: Path, *, midway: bool = False) -> Iterator[None]:
    """``folder`` refuses to be listed, or breaks off ``midway`` as a network drive does."""
    real = os.scandir

    def scandir(path: Any = ".") -> Any:
        if isinstance(path, int) or Path(path).absolute() != folder.absolute():
            return real(path)
        if midway:
            return _breaking_off(folder, real)
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "scandir", scandir)
        globber = getattr(glob, "_StringGlobber", None)
        if globber:  # of Python 3.13, whose Path.glob keeps a scandir of its own
            patch.setattr(globber, "scandir", staticmethod(scandir))
        yield
