"""What a source consists of where it is files or images in memory."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from kdlnet.errors import DataError
from kdlnet.images.frame import Frame
from kdlnet.images.read import ImageArray, read_image
from kdlnet.images.video import video_frames

OnProblem = Callable[[DataError], None]

VIDEO_SUFFIXES = frozenset(
    {".avi", ".flv", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv"}
)
_VIDEO_ENDS = tuple(VIDEO_SUFFIXES)
_READERS = 2
_AHEAD = 4  # images decoded before they are asked for: a board of 100 megapixels is 300 MB


@dataclass(frozen=True, slots=True)
class Item:
    """An image or video file, or an image in memory, with the ``stem`` of its results.

    There may be millions: a ``path`` is made when it is asked for.
    """

    name: str
    stem: str
    image: ImageArray | None = None

    @property
    def path(self) -> Path | None:
        return Path(self.name) if self.image is None else None

    @property
    def video(self) -> bool:
        return self.image is None and self.name.lower().endswith(_VIDEO_ENDS)


def item_frames(
    items: Sequence[Item], indices: Sequence[int], on_problem: OnProblem
) -> Iterator[Frame]:
    """Frames of the ``items`` at ``indices``, in order; images are decoded ahead in threads."""
    coming = ((index, items[index]) for index in indices)
    ahead: deque[tuple[int, Item, Future[tuple[ImageArray, float]] | None]] = deque()
    with ThreadPoolExecutor(_READERS) as pool:
        while True:
            for index, item in islice(coming, _AHEAD - len(ahead)):
                ahead.append((index, item, None if item.video else pool.submit(_load, item)))
            if not ahead:
                return
            index, item, reading = ahead.popleft()
            try:
                if reading is None and item.path is not None:
                    yield from video_frames(item.path, item.stem)
                elif reading is not None:
                    image, seconds = reading.result()
                    yield Frame(item.name, item.stem, image, index, None, seconds, item.path)
            except DataError as error:
                on_problem(error)


def _load(item: Item) -> tuple[ImageArray, float]:
    began = time.perf_counter()
    if item.image is not None:
        return item.image, 0.0
    image = read_image(Path(item.name))
    return image, time.perf_counter() - began


def file_item(path: Path, root: Path | None = None) -> Item:
    """An image or video; ``root`` is the folder below which results repeat the source's folders."""
    root = path.parent if root is None else root
    inside = path.relative_to(root) if path.is_relative_to(root) else path
    # Results stay in their folder, whatever a list names.
    inside = Path(*(part for part in inside.parts if part not in (path.anchor, "..")))
    return Item(str(path), inside.with_suffix("").as_posix())


def array_item(image: ImageArray, index: int) -> Item:
    """An image in memory, (H, W), (H, W, 1) or (H, W, 3). Raises DataError for what is none."""
    pixels = image[:, :, None] if image.ndim == 2 else image
    known = pixels.dtype in (np.uint8, np.uint16)
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or not known or not pixels.size:
        raise DataError(
            f"an array of shape {image.shape} and type {image.dtype} is no image: give (H, W), "
            "(H, W, 1) or (H, W, 3) in RGB order, uint8 or uint16"
        )
    return Item(f"array {index}", f"{index:06d}", np.ascontiguousarray(pixels))
