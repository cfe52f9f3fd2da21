"""One picture of a source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kdlnet.errors import DataError
from kdlnet.images.read import ImageArray
from kdlnet.images.stamp import Stamp
from kdlnet.types import Letterbox


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
