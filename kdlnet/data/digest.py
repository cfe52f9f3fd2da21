"""Whether two lists of image files show the same images, wherever these lie."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from kdlnet.images.read import image_bytes
from kdlnet.utils.files import sha256_of

_READ = 8  # files whose bytes count, spread over the list
_PART = 4096  # bytes in the middle of a file: few other images of its size have them


def images_digest(paths: Sequence[Path]) -> str:
    """A short text for the names below the folder that all ``paths`` share, and a few contents.

    It stays when that folder is moved or renamed. Raises DataError for a file that cannot be read.
    """
    if not paths:
        return ""
    digest = hashlib.sha256()
    common = os.path.commonpath([path.parent for path in paths])
    for path in paths:
        digest.update(os.fsencode(path.relative_to(common).as_posix()) + b"\0")
    for position in np.linspace(0, len(paths) - 1, min(_READ, len(paths))).round().astype(int):
        digest.update(hashlib.sha256(image_bytes(paths[position])).digest())
    return digest.hexdigest()[:32]


def copies(paths: Iterable[Path], others: Iterable[Path]) -> list[tuple[Path, Path]]:
    """Each of ``paths`` that has the bytes of one of ``others``, with that one.

    Only files that agree in size and then in a part are read as a whole; those that cannot be read
    are copies of none.
    """
    ours, theirs = dict.fromkeys(paths, b""), dict.fromkeys(others, b"")
    for look in (_size, _part, _whole):
        ours, theirs = _seen(ours, look), _seen(theirs, look)
        shared = set(ours.values()).intersection(theirs.values())
        ours, theirs = (
            {path: key for path, key in side.items() if key in shared} for side in (ours, theirs)
        )
    places = {key: path for path, key in theirs.items()}
    return [(path, places[key]) for path, key in ours.items()]


def _seen(side: dict[Path, bytes], look: Callable[[Path], bytes]) -> dict[Path, bytes]:
    """What is known of each file and what a look at it adds, without those that cannot be read."""
    found: dict[Path, bytes] = {}
    for path, known in side.items():
        with suppress(OSError):
            found[path] = known + look(path)
    return found


def _size(path: Path) -> bytes:
    return path.stat().st_size.to_bytes(8, "big")


def _part(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(path.stat().st_size // 2)
        return hashlib.sha256(file.read(_PART)).digest()[:8]


def _whole(path: Path) -> bytes:
    return bytes.fromhex(sha256_of(path))
