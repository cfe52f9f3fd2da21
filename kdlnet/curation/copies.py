"""Images with equal pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np

from kdlnet.errors import DataError
from kdlnet.events import Listener, Progress, ignore
from kdlnet.images.read import ImageArray, is_grey, read_image

_WORKERS = 4

T = TypeVar("T")


def read_each(
    paths: Sequence[Path], take: Callable[[ImageArray], T], on_event: Listener = ignore
) -> list[T | None]:
    """What ``take`` makes of each image, None of one that cannot be read.

    ``on_event`` is told how many were read.
    """

    def attempt(path: Path) -> T | None:
        try:
            return take(read_image(path))
        except DataError:
            return None

    found: list[T | None] = []
    with ThreadPoolExecutor(_WORKERS) as pool:
        for taken in pool.map(attempt, paths):
            found.append(taken)
            on_event(Progress("compare images", len(found), len(paths)))
    return found


def digest_of(image: ImageArray) -> bytes:
    """Of shape, depth and pixels; a grey image stored as three equal channels is a grey one."""
    pixels = image[:, :, :1] if is_grey(image) else image
    digest = hashlib.blake2b(f"{pixels.shape} {pixels.dtype}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.digest()


def equal_pairs(digests: Sequence[bytes | None]) -> list[tuple[int, int]]:
    """Positions of equal digests, each with the first of its kind, ``first < second``."""
    first_of: dict[bytes, int] = {}
    pairs = []
    for position, digest in enumerate(digests):
        if digest is not None:
            first = first_of.setdefault(digest, position)
            if first != position:
                pairs.append((first, position))
    return pairs
