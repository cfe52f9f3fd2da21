"""Where a file that holds a network may be written."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from kdlnet.errors import KdlnetError, WeightsError
from kdlnet.inference.exported import METADATA_KEY
from kdlnet.inference.kinds import WEIGHTS_KINDS, FileKind, kind_of
from kdlnet.inference.runtimes import open_runtime
from kdlnet.inference.weights import load_weights
from kdlnet.utils.files import check_writable


def check_target(path: Path, kind: FileKind, overwrite: bool) -> None:
    """Raises KdlnetError where a file of ``kind`` cannot be written to ``path``, or would replace.

    ``overwrite`` allows it to replace weights and files that kdlnet exported, and nothing else: no
    last.pt that a run can go on from.
    """
    there = to_replace(kind.files(path), overwrite)
    if there:
        try:
            resumable = not _marked_as_ours(path, kind) and _open(path)
        except WeightsError:
            raise KdlnetError(
                f"{str(there[0])!r} is no whole file of kdlnet and was left alone: name another "
                "--out or remove it"
            ) from None
        if resumable:
            raise KdlnetError(
                f"{str(path)!r} is what its run goes on from (--resume) and was left alone: name "
                "another --out"
            )
    check_writable(path)


def _marked_as_ours(path: Path, kind: FileKind) -> bool:
    """Whether ``path``, the first of several files, has our header, which is enough: a kill while
    they took their names leaves those of two networks, or one alone, and they do not open."""
    mark = f"<{METADATA_KEY} value=".encode()
    return len(kind.suffixes) > 1 and path.is_file() and mark in path.read_bytes()


def to_replace(files: Iterable[Path], overwrite: bool) -> list[Path]:
    """Those of ``files`` that are there. Raises KdlnetError for one without ``overwrite``."""
    there = [file for file in files if os.path.lexists(file)]
    if there and not overwrite:
        raise KdlnetError(f"{str(there[0])!r} exists: name another --out or add --overwrite")
    return there


def _open(path: Path) -> bool:
    """Whether it holds the state of a training. Raises WeightsError for one without a network."""
    if kind_of(path) in WEIGHTS_KINDS:
        return bool(load_weights(path, start=True).training)
    open_runtime(path, device="cpu")
    return False
