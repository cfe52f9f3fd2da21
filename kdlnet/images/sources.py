"""What a SOURCE means: images, folders, lists, videos, cameras and streams, frame by frame."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np

from kdlnet.errors import DataError
from kdlnet.images.folder import glob_root, images_below, outside_results, results_lines
from kdlnet.images.frame import Frame
from kdlnet.images.read import IMAGE_SUFFIXES, ImageArray, read_image
from kdlnet.images.video import camera_frames, count_frames, public, stream_frames, video_frames
from kdlnet.utils.manifest import MARK

SourceLike = str | Path | int | ImageArray | Sequence["str | Path | ImageArray"]
OnProblem = Callable[[DataError], None]

VIDEO_SUFFIXES = frozenset(
    {".avi", ".flv", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv"}
)
TIMEOUT = 10.0  # seconds without a frame after which a stream has stalled
_SCHEMES = ("http://", "https://", "rtsp://", "rtsps://", "rtmp://", "udp://", "tcp://")
_READERS = 2
_AHEAD = 4  # images decoded before they are asked for: a board of 100 megapixels is 300 MB
_ALLOWED = "give an image, a folder, a glob, a .txt list, a video, a camera number or a stream"


@dataclass(frozen=True, slots=True)
class _Item:
    """An image or video file, or an image in memory, with the ``stem`` of its results."""

    name: str
    stem: str
    path: Path | None = None
    image: ImageArray | None = None

    @property
    def video(self) -> bool:
        return self.path is not None and self.path.suffix.lower() in VIDEO_SUFFIXES


@dataclass(frozen=True)
class Source:
    """Where frames come from; nothing is decoded before :meth:`frames` is iterated.

    ``name`` is what was given, without passwords; ``title`` names the folder of the results.
    ``total`` is the number of frames if that is known. A ``live`` source gives frames as they come
    and may never end. ``files`` were found on disk; ``folders`` are read as wholes, so that results
    must not lie in them. ``note`` is a line about what was left out, "" for nothing.
    """

    kind: Literal["images", "video", "camera", "stream"]
    name: str
    title: str
    total: int | None
    files: tuple[Path, ...]
    read: Callable[[OnProblem], Iterator[Frame]]
    folders: tuple[Path, ...] = ()
    note: str = ""

    @property
    def live(self) -> bool:
        return self.kind in ("camera", "stream")

    def frames(self, on_problem: OnProblem) -> Iterator[Frame]:
        """The frames in order. ``on_problem`` gets one error for each file that cannot be read.

        What it raises ends the iteration. A camera that is not there and a stream that cannot be
        opened, stalls or gives no frame raise DataError here.
        """
        return self.read(on_problem)


def open_source(source: SourceLike, timeout: float = TIMEOUT) -> Source:
    """The frames that ``source`` means.

    A path: an image, a video, a folder (all images below it), a glob, a .txt file with a path a
    line (relative to the file's folder, else to the working directory). A number: a camera. An
    address (http, rtsp, ...): a stream that may be silent for ``timeout`` seconds. In Python also
    arrays (H, W), (H, W, 1) or (H, W, 3) RGB, uint8 or uint16, and sequences of arrays, files and
    folders.

    Raises DataError for what does not exist, holds no image, or is a video that cannot be opened.
    """
    if isinstance(source, np.ndarray):
        return _of_items([_array_item(source, 0)], "array", "array")
    if isinstance(source, Sequence) and not isinstance(source, str):
        return _of_entries(source)
    text = str(source)
    if text.lower().startswith(_SCHEMES):
        return _stream(text, timeout)
    if not text.strip():  # an unset variable of a shell; as a path it would be this folder
        raise DataError(f"the source is empty: {_ALLOWED}")
    path = Path(text)
    if isinstance(source, int) or (text.isdecimal() and not path.exists()):
        number = int(text)
        return Source("camera", text, f"camera-{number}", None, (), lambda _: camera_frames(number))
    return _of_path(path, text)


def _of_entries(source: Sequence[str | Path | ImageArray]) -> Source:
    """Files named one by one claim no folder, which the shell's ``*.png`` would otherwise do."""
    results: list[Path] = []
    items = [item for index, entry in enumerate(source) for item in _entry(entry, index, results)]
    named = [Path(entry) for entry in source if not isinstance(entry, np.ndarray)]
    folders = tuple(path for path in named if path.is_dir())
    name = f"{len(source)} entries"
    return _of_items(items, name, "images", folders, "".join(results_lines(results)))


def _of_path(path: Path, text: str) -> Source:
    if path.is_dir():
        results: list[Path] = []
        items = _below(path, results)
        note = "".join(results_lines(results))
        if not items:
            more = f"; {note}" if note else ""
            raise DataError(
                f"folder {text!r} holds no images ({_suffixes()}); "
                f"name videos themselves or with a glob{more}"
            )
        return _of_items(items, text, path.resolve().name, (path,), note)
    if path.suffix.lower() == ".txt" and path.is_file():
        items = _listed(path)
        return _of_items(items, text, path.stem, _parents(items))
    if path.exists():
        return _of_items([_item(path, path.parent)], text, path.stem)
    if any(mark in text for mark in "*?["):
        return _of_pattern(text)
    raise DataError(f"source {text!r} does not exist: {_ALLOWED}")


def _of_pattern(text: str) -> Source:
    results: list[Path] = []
    items = _matching(text, results)
    folders = (glob_root(text),) if "**" in text else _parents(items)
    title = _title(Path(text).parent.name) or "images"
    return _of_items(items, text, title, folders, "".join(results_lines(results)))


def _of_items(
    items: list[_Item], name: str, title: str, folders: tuple[Path, ...] = (), note: str = ""
) -> Source:
    if not items:
        raise DataError(f"no images given: {_ALLOWED}")
    files = tuple(item.path for item in items if item.path is not None)
    total: int | None = len(items)
    if any(item.video for item in items):
        total = count_frames(files[0]) if len(items) == 1 else None
    kind: Literal["images", "video"] = "video" if all(item.video for item in items) else "images"
    read = partial(_item_frames, items)
    return Source(kind, name, title or "images", total, files, read, folders, note)


def _stream(address: str, timeout: float) -> Source:
    name = public(address)
    title = "stream-" + _title(name.split("://", 1)[1])
    return Source("stream", name, title, None, (), lambda _: stream_frames(address, timeout))


def _item_frames(items: Sequence[_Item], on_problem: OnProblem) -> Iterator[Frame]:
    """Frames of files in order; images are decoded ahead in threads."""
    coming = iter(enumerate(items))
    ahead: deque[tuple[int, _Item, Future[tuple[ImageArray, float]] | None]] = deque()
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


def _load(item: _Item) -> tuple[ImageArray, float]:
    began = time.perf_counter()
    if item.image is not None:
        return item.image, 0.0
    image = read_image(Path(item.name) if item.path is None else item.path)
    return image, time.perf_counter() - began


def _item(path: Path, root: Path | None = None) -> _Item:
    """``root`` is the folder below which results repeat the folders of the source."""
    root = path.parent if root is None else root
    inside = path.relative_to(root) if path.is_relative_to(root) else path
    # Results stay in their folder, whatever a list names.
    inside = Path(*(part for part in inside.parts if part not in (path.anchor, "..")))
    return _Item(str(path), inside.with_suffix("").as_posix(), path)


def _entry(entry: str | Path | ImageArray, index: int, results: list[Path]) -> list[_Item]:
    if isinstance(entry, np.ndarray):
        return [_array_item(entry, index)]
    path = Path(entry)
    return _below(path, results) if path.is_dir() else [_item(path)]


def _below(folder: Path, results: list[Path]) -> list[_Item]:
    if (folder / MARK).exists():
        raise DataError(
            f"{str(folder)!r} is a folder of results ({MARK} is in it), which are no input: name "
            "the folder of the images themselves"
        )
    return [_item(image, folder) for image in images_below(folder, results)]


def _parents(items: Iterable[_Item]) -> tuple[Path, ...]:
    return tuple({item.path.parent: None for item in items if item.path is not None})


def _array_item(image: ImageArray, index: int) -> _Item:
    pixels = image[:, :, None] if image.ndim == 2 else image
    known = pixels.dtype in (np.uint8, np.uint16)
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or not known or not pixels.size:
        raise DataError(
            f"an array of shape {image.shape} and type {image.dtype} is no image: give (H, W), "
            "(H, W, 1) or (H, W, 3) in RGB order, uint8 or uint16"
        )
    return _Item(f"array {index}", f"{index:06d}", None, np.ascontiguousarray(pixels))


def _listed(file: Path) -> list[_Item]:
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read image list {str(file)!r}: {error}") from None
    paths = [Path(line) for line in map(str.strip, lines) if line]
    if not paths:
        raise DataError(f"image list {str(file)!r} is empty: write one path a line into it")
    beside = [file.parent / path for path in paths]
    return [
        _item(near if near.exists() or not path.exists() else path, file.parent)
        for near, path in zip(beside, paths, strict=True)
    ]


def _matching(pattern: str, results: list[Path]) -> list[_Item]:
    suffixes = IMAGE_SUFFIXES | VIDEO_SUFFIXES
    anchor = Path(pattern).anchor  # Path.glob takes no absolute pattern before Python 3.13
    root = glob_root(pattern)
    matches = sorted(Path(anchor).glob(pattern[len(anchor) :]))
    found = [
        path
        for path in outside_results(matches, root, results)
        if path.suffix.lower() in suffixes and path.is_file() and not path.name.startswith(".")
    ]
    if not found:
        raise DataError(f"nothing matches {pattern!r}: allowed are {_suffixes()} and videos")
    return [_item(path, root) for path in found]


def _title(text: str) -> str:
    """``text`` as the name of a folder."""
    return re.sub(r"[^\w.-]+", "-", text).strip("-.")


def _suffixes() -> str:
    return ", ".join(sorted(IMAGE_SUFFIXES))
