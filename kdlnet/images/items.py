"""What a source consists of where it is files or images in memory."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from kdlnet.errors import DataError
from kdlnet.images.folder import spelled
from kdlnet.images.frame import Frame, OnProblem, Prepare, Ready
from kdlnet.images.read import ImageArray, read_image
from kdlnet.images.stamp import Stamp, stamp_of
from kdlnet.images.video import video_frames
from kdlnet.utils.threads import usable_threads

VIDEO_SUFFIXES = frozenset(
    {".avi", ".flv", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv"}
)
_VIDEO_ENDS = tuple(VIDEO_SUFFIXES)
_READERS = 2, 8  # threads, at least and at most
# Images decoded before they are asked for. A batch or two of small ones; but a board of 100
# megapixels is 300 MB.
_FEWEST, _MOST = 4, 32
_MOST_BYTES = 256 * 2**20
_SWELL = 20.0  # bytes of pixels from one of a file, until more is known


@dataclass(frozen=True, slots=True)
class Item:
    """An image or video file, or an image in memory, with the ``stem`` of its results.

    There may be millions: a ``path`` is made when it is asked for. ``fault`` says why there is
    nothing to read: the item stands for a folder that cannot be listed, and has no path.
    """

    name: str
    stem: str
    image: ImageArray | None = None
    fault: str | None = None

    @property
    def path(self) -> Path | None:
        return Path(self.name) if self.image is None and self.fault is None else None

    @property
    def video(self) -> bool:
        a_file = self.image is None and self.fault is None
        return a_file and self.name.lower().endswith(_VIDEO_ENDS)


@dataclass(frozen=True, slots=True)
class _Coming:
    """An item whose pixels are on their way, but for those of a video."""

    index: int
    item: Item
    file_bytes: int
    reading: Future[tuple[ImageArray, float, Ready | None]] | None
    stamp: Stamp | None = None


def item_frames(
    items: Sequence[Item],
    indices: Sequence[int],
    on_problem: OnProblem,
    prepare: Prepare | None = None,
    every: float = 0.0,
) -> Iterator[Frame]:
    """Frames of the ``items`` at ``indices``, in order; images are decoded ahead in threads.

    The same threads ``prepare`` them, where it is given. Of videos one frame comes of ``every`` so
    many seconds.
    """
    readers = max(_READERS[0], min(_READERS[1], usable_threads()))
    left, swell = iter(indices), _SWELL
    ahead: deque[_Coming] = deque()
    with ThreadPoolExecutor(readers) as pool:
        while True:
            while _room(ahead, swell) and (index := next(left, None)) is not None:
                ahead.append(_submitted(pool, index, items[index], prepare))
            if not ahead:
                return
            now = ahead.popleft()
            name, stem = now.item.name, now.item.stem
            if now.reading is None:
                yield from video_frames(Path(name), stem, on_problem, every)
                continue
            try:
                image, seconds, ready = now.reading.result()
            except DataError as error:
                on_problem(error, name, now.index, None)
                continue
            if now.file_bytes:
                swell = max(swell, image.nbytes / now.file_bytes)
            path = now.item.path
            yield Frame(name, stem, image, now.index, None, seconds, path, ready, now.stamp)


def _room(ahead: Sequence[_Coming], swell: float) -> bool:
    """Whether one more may be decoded. ``swell``: bytes of pixels of each byte of a file."""
    if len(ahead) < _FEWEST:
        return True
    return len(ahead) < _MOST and swell * sum(one.file_bytes for one in ahead) < _MOST_BYTES


def _submitted(
    pool: ThreadPoolExecutor, index: int, item: Item, prepare: Prepare | None
) -> _Coming:
    if item.video:
        return _Coming(index, item, 0, None)
    seen = None if item.path is None else stamp_of(item.path)
    return _Coming(index, item, _file_bytes(item), pool.submit(_load, item, prepare), seen)


def _file_bytes(item: Item) -> int:
    """0 for a file that is not there; of an image in memory what its copy counts as."""
    if item.image is not None:
        return 1 + int(item.image.nbytes / _SWELL)
    try:
        return Path(item.name).stat().st_size
    except (OSError, ValueError):  # a NUL in its name
        return 0


def _load(item: Item, prepare: Prepare | None) -> tuple[ImageArray, float, Ready | None]:
    if item.fault is not None:
        raise DataError(item.fault)
    began = time.perf_counter()
    if item.image is None:
        image = read_image(Path(item.name))
        seconds = time.perf_counter() - began
    else:  # a copy: the caller may fill the array anew, and results are drawn later
        image = np.array(item.image, item.image.dtype.newbyteorder("="), order="C")
        seconds = 0.0
    return image, seconds, None if prepare is None else prepare(image)


def file_item(path: Path, root: Path | None = None) -> Item:
    """An image or video; ``root`` is the folder below which results repeat the source's folders."""
    root = path.parent if root is None else root
    inside = path.relative_to(root) if path.is_relative_to(root) else path
    # Results stay in their folder, whatever a list names.
    inside = Path(*(part for part in inside.parts if part not in (path.anchor, "..")))
    return Item(str(path), inside.with_suffix("").as_posix())


def closed_items(closed: Mapping[Path, str], root: Path) -> list[Item]:
    """Folders below ``root`` that cannot be listed, with the reason: parts that nobody has seen.

    Raises DataError where ``root`` is one of them.
    """
    if root in closed:
        raise DataError(closed[root])
    return [replace(file_item(folder, root), fault=line) for folder, line in closed.items()]


def once(items: Iterable[Item], again: list[str]) -> list[Item]:
    """Each file once, by whatever paths it is named; ``again`` collects the other names."""
    first: dict[str, Item] = {}
    for item in items:
        if first.setdefault(spelled(Path(item.name)), item) is not item:
            again.append(item.name)
    return list(first.values())


def array_item(image: ImageArray, index: int) -> Item:
    """An image in memory, (H, W), (H, W, 1) or (H, W, 3), copied when it is read.

    Raises DataError for what is none.
    """
    pixels = image[:, :, None] if image.ndim == 2 else image
    native = pixels.dtype.newbyteorder("=")  # big-endian, as some readers of TIFF and PGM give it
    known = native in (np.uint8, np.uint16)
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or not known or not pixels.size:
        raise DataError(
            f"array {index} of shape {image.shape} and type {image.dtype} is no image: give "
            "(H, W), (H, W, 1) or (H, W, 3) in RGB order, uint8 or uint16"
        )
    return Item(f"array {index}", f"{index:06d}", pixels)
