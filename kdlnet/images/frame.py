"""One picture of a source."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kdlnet.errors import DataError
from kdlnet.images.read import ImageArray
from kdlnet.images.stamp import Stamp
from kdlnet.types import Letterbox

BATCH_BYTES = 512 * 2**20
"""Pixels of the originals that are worked on at once: few large boards, many small crops."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A whole image as the network sees it: ``pixels`` (H, W, C) letterboxed, in ``seconds``."""

    pixels: ImageArray
    geometry: Letterbox
    seconds: float


Prepare = Callable[[ImageArray], Ready | None]


@dataclass(frozen=True, slots=True)
class Frame:
    """One image (H, W, C) in its native depth, RGB or grey, and where it is from.

    ``name`` is the file or address, ``stem`` a relative path without suffix for files made from
    it. ``index`` is the position in its source or video, from 0. ``timestamp`` counts seconds
    from the start of a video or from the opening of a stream; None for an image. ``seconds`` is
    what reading and decoding took. ``path`` is the image file that can be read again, if any.
    ``stamp`` is that of the file before it was read.
    ``ready`` is set where the thread that read the image was asked to letterbox it, too.
    ``passed`` counts the frames of a camera or stream just before it that nobody looked at in time.
    """

    name: str
    stem: str
    image: ImageArray
    index: int = 0
    timestamp: float | None = None
    seconds: float = 0.0
    path: Path | None = None
    ready: Ready | None = None
    stamp: Stamp | None = None
    passed: int = 0


OnProblem = Callable[[DataError, str, int, float | None], None]
"""Gets why an image could not be read, and the ``name``, ``index`` and ``timestamp`` that its Frame
would have."""


def batches(frames: Iterable[Frame], size: int, most: int = BATCH_BYTES) -> Iterator[list[Frame]]:
    """Up to ``size`` frames of one pixel type, fewer where their pixels have ``most`` bytes."""
    ready: list[Frame] = []
    for frame in frames:
        if ready and frame.image.dtype != ready[0].image.dtype:
            yield ready
            ready = []
        ready.append(frame)
        if len(ready) == size or weight(ready) >= most:
            yield ready
            ready = []
    if ready:
        yield ready


def weight(frames: Sequence[Frame]) -> int:
    """Bytes of their pixels."""
    return sum(frame.image.nbytes for frame in frames)
