"""What a SOURCE means: images, folders, lists, videos, cameras and streams, frame by frame."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from numbers import Integral
from os import PathLike
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np

from kdlnet.errors import ConfigError, DataError
from kdlnet.images.folder import LeftOut, not_whole_among
from kdlnet.images.frame import Frame, OnProblem, Prepare
from kdlnet.images.items import Item, array_item, file_item, item_frames, once
from kdlnet.images.read import ImageArray
from kdlnet.images.several import below, listed, matching, suffixes
from kdlnet.images.video import camera_frames, count_frames, public, stream_frames
from kdlnet.utils.parse import check_number
from kdlnet.utils.paths import asked, why_missing

_Entry = TypeVar("_Entry")
SourceLike = str | Path | int | ImageArray | Sequence["str | Path | ImageArray"]

TIMEOUT = 10.0  # seconds without a frame after which a stream has stalled
_DIGITS = 9  # of a camera's number; a longer one is a date or a part: the name of a file
_SCHEMES = ("http://", "https://", "rtsp://", "rtsps://", "rtmp://", "udp://", "tcp://")
_ALLOWED = "give an image, a folder, a glob, a .txt list, a video, a camera number or a stream"


@dataclass(frozen=True)
class Source:
    """Where frames come from; nothing is decoded before :meth:`frames` is iterated.

    ``name`` is what was given, without passwords; ``title`` names the folder of the results.
    ``total`` is the number of frames if that is known. A ``live`` source gives frames as they come
    and may never end. ``folders`` are read with all that is below them, so that results must not
    lie there; files that are named, by a list or one by one, claim no folder.
    ``notes`` are lines about what was left out. ``items`` are the files, and images in memory, by
    their index. Of videos, cameras and streams a frame comes of ``every`` so many seconds, or all.
    """

    kind: Literal["images", "video", "camera", "stream"]
    name: str
    title: str
    total: int | None
    read: Callable[[OnProblem, Prepare | None, float], Iterator[Frame]]
    folders: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    items: tuple[Item, ...] = ()
    every: float = 0.0

    @property
    def files(self) -> tuple[Path, ...]:
        """Those found on disk."""
        return tuple(item.path for item in self.items if item.path is not None)

    @property
    def live(self) -> bool:
        return self.kind in ("camera", "stream")

    def frames(self, on_problem: OnProblem, prepare: Prepare | None = None) -> Iterator[Frame]:
        """The frames in order. ``on_problem`` gets one error for each file or frame that cannot be
        read.

        What it raises ends the iteration. A camera that is not there and a stream that cannot be
        opened, stalls or gives no frame raise DataError here. Where images are read ahead, their
        threads ``prepare`` them, too.
        """
        return self.read(on_problem, prepare, self.every)


def open_source(
    source: SourceLike, timeout: float = TIMEOUT, reconnect: float = 0.0, every: float = 0.0
) -> Source:
    """The frames that ``source`` means.

    A path: an image, a video, a folder (all images below it), a glob, a .txt file with a path a
    line (relative to the file's folder, else to the working directory). A number: a camera. An
    address (http, rtsp, ...): a stream that may be silent for ``timeout`` seconds. In Python also
    arrays (H, W), (H, W, 1) or (H, W, 3) RGB, uint8 or uint16, and sequences of arrays, files,
    folders, globs and lists. A camera or stream that is lost is opened again for ``reconnect``
    seconds: the loss comes as a frame that cannot be read, and the next frames when it is back.
    With ``every`` the first frame comes of each so many seconds; images come all.

    Raises DataError for what does not exist, holds no image, or is a video that cannot be opened,
    ConfigError for a ``reconnect`` or ``every`` below 0 or of another source.
    """
    check_number("reconnect", reconnect, lambda seconds: seconds >= 0, "0 or more seconds")
    check_number("every", every, lambda seconds: 0 <= seconds < inf, "0 or more seconds")
    opened = _opened(source, timeout, reconnect)
    if reconnect and not opened.live:
        raise ConfigError(f"reconnect {reconnect:g} is for cameras and streams: leave it out")
    if every and not (opened.live or any(item.video for item in opened.items)):
        raise ConfigError(f"every {every:g} is for videos, cameras and streams: leave it out")
    total = opened.total
    if opened.kind == "video" and len(opened.items) == 1:
        total = count_frames(Path(opened.items[0].name), every)
    return replace(opened, every=every, total=total)


def _opened(source: SourceLike, timeout: float, reconnect: float) -> Source:
    if isinstance(source, np.ndarray):
        return _of_items([array_item(source, 0)], "array", "array")
    if isinstance(source, Sequence) and not isinstance(source, (str, bytes, bytearray)):
        return _of_entries(source)
    text = str(_known(source, (str, PathLike, Integral)))
    if _is_address(text):
        return _stream(text, timeout, reconnect)
    path = Path(text)
    if isinstance(source, int) and source < 0:
        raise DataError(f"camera {source}: they are counted from 0")
    if (isinstance(source, int) and len(text) <= _DIGITS) or _is_camera(text):
        number = int(text)
        title = f"camera-{number}"
        read = partial(camera_frames, number, reconnect)
        return Source("camera", text, title, None, lambda tell, _, every: read(tell, every))
    return _of_path(path, text)


def _of_entries(source: Sequence[str | Path | ImageArray]) -> Source:
    """Where one of them stands for several, each file comes once, though it be named besides."""
    left = LeftOut()
    items: list[Item] = []
    folders: tuple[Path, ...] = ()
    several = False
    for index, entry in enumerate(source):
        found, wholes = _entry(entry, index, left)
        items += found
        folders += wholes or ()
        several |= wholes is not None
    if left.folders:
        files = (Path(item.name) for item in items)
        left.folders[:] = not_whole_among(files, left.folders)
    if several:
        items = once(items, left.again)
    return _of_items(items, f"{len(source)} entries", "images", folders, left)


def _of_path(path: Path, text: str) -> Source:
    left = LeftOut()
    if asked(path.is_dir):
        items = below(path, left)
        if not items:
            raise DataError(
                f"folder {text!r} holds no images ({suffixes()}); "
                + "; ".join(["name videos themselves or with a glob", *left.lines()])
            )
        return _of_items(items, text, path.resolve().name, (path,), left)
    if _is_list(path):
        items = listed(path, left)
        return _of_items(items, text, path.stem, left=left)
    if asked(path.exists):
        return _of_items([file_item(path, path.parent)], text, path.stem)
    if _is_pattern(text):
        items, folders = matching(text, left)
        title = _title(Path(text).parent.name) or "images"
        return _of_items(items, text, title, folders, left)
    raise DataError(f"source {text!r} {why_missing(path)}: {_ALLOWED}")


def _of_items(
    items: list[Item],
    name: str,
    title: str,
    folders: tuple[Path, ...] = (),
    left: LeftOut | None = None,
) -> Source:
    if not items:
        raise DataError(f"no images given: {_ALLOWED}")
    total = None if any(item.video for item in items) else len(items)
    kind: Literal["images", "video"] = "video" if all(item.video for item in items) else "images"
    read = partial(item_frames, items, range(len(items)))
    notes = () if left is None else tuple(left.lines())
    return Source(kind, name, title or "images", total, read, folders, notes, tuple(items))


def require_images(source: Source) -> None:
    """Raises DataError for what does not consist of images: frames belong together."""
    if not source.items or any(item.video for item in source.items):
        raise DataError(f"{source.name!r} cannot be divided: only images can, no videos or streams")


def picked(source: Source, indices: Sequence[int]) -> Source:
    """Those images of ``source`` alone, with the index they have in it.

    Raises DataError where :func:`require_images` does.
    """
    require_images(source)
    read = partial(item_frames, source.items, indices)
    return replace(source, total=len(indices), read=read)


def _stream(address: str, timeout: float, reconnect: float) -> Source:
    name = public(address)
    title = "stream-" + _title(name.split("://", 1)[1])
    read = partial(stream_frames, address, timeout, reconnect)
    return Source("stream", name, title, None, lambda tell, _, every: read(tell, every))


def _entry(
    entry: str | Path | ImageArray, index: int, left: LeftOut
) -> tuple[list[Item], tuple[Path, ...] | None]:
    """What one of several stands for, and the folders that it claims; None where it is one file
    or array by itself."""
    if isinstance(entry, np.ndarray):
        return [array_item(entry, index)], None
    path, text = Path(_known(entry, where=f"entry {index}: ")), str(entry)
    if _is_address(text) or _is_camera(text):
        name = public(text) if _is_address(text) else f"camera {text}"
        raise DataError(f"{name} among several sources: it may never end, so predict it by itself")
    if asked(path.is_dir):
        return below(path, left), (path,)
    if _is_list(path):
        return listed(path, left), ()
    if not asked(path.exists) and _is_pattern(text):
        return matching(text, left)
    return [file_item(path)], None


def _is_address(text: str) -> bool:
    return text.lower().startswith(_SCHEMES)


def _is_camera(text: str) -> bool:
    return text.isdecimal() and len(text) <= _DIGITS and not asked(Path(text).exists)


def _is_list(path: Path) -> bool:
    return path.suffix.lower() == ".txt" and asked(path.is_file)


def _is_pattern(text: str) -> bool:
    return any(mark in text for mark in "*?[")


def _known(entry: _Entry, kinds: tuple[type, ...] = (str, PathLike), where: str = "") -> _Entry:
    """Raises DataError for what names nothing, as None does, OpenCV's answer to a missing file."""
    if isinstance(entry, bool) or not isinstance(entry, kinds):
        raise DataError(
            f"{where}a {type(entry).__name__} is no source: {_ALLOWED}, in Python also an array, "
            "or a list of images"
        )
    if not str(entry).strip():  # an unset variable of a shell; as a path it would be this folder
        raise DataError(f"the source is empty: {_ALLOWED}")
    return entry


def _title(text: str) -> str:
    """``text`` as the name of a folder."""
    return re.sub(r"[^\w.-]+", "-", text).strip("-.")
