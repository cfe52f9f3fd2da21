"""Videos, cameras and streams through OpenCV. What goes wrong with them is reported in one line."""

from __future__ import annotations

import re
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import cv2

from kdlnet.errors import DataError
from kdlnet.images.capture import jpeg_size, opened, shots
from kdlnet.images.frame import Frame, OnProblem
from kdlnet.images.live import as_they_come
from kdlnet.utils.paths import asked, why_missing


def video_frames(path: Path, stem: str, on_problem: OnProblem) -> Iterator[Frame]:
    """Frames of a video file, (H, W, C) uint8, RGB or grey. Results of frame 7 are named
    ``stem/000007``.

    ``on_problem`` gets each frame that cannot be decoded, the first when the file cannot be opened,
    and after the last the next when frames that the file announces are missing.
    """
    index, name = 0, str(path)
    with opened(name) as video:
        if (closed := _closed(video, path)) is not None:
            on_problem(closed, name, 0)
            return
        announced, jpeg = _announced(video), jpeg_size(video)
        exact = path.suffix.lower() == ".avi"
        for shot in shots(video, jpeg):
            timestamp = max(0.0, video.get(cv2.CAP_PROP_POS_MSEC) / 1000)
            if exact and jpeg is not None:
                # Chunks without bytes, for a frame that the recorder dropped, come as no packet.
                place = round(timestamp * video.get(cv2.CAP_PROP_FPS))
                index = place if index < place < announced else index
            if shot.image is None:
                error = DataError(f"frame {index} of video {name!r} {shot.why}")
                on_problem(error, name, index)
            else:
                own = f"{stem}/{index:06d}"
                yield Frame(name, own, shot.image, index, timestamp, shot.seconds)
            index += 1
    if index == 0:
        why = "holds no frame that can be decoded: copy it again"
        on_problem(DataError(f"video {name!r} {why}"), name, 0)
    # Containers without an exact count announce an estimate.
    elif index < announced - (0 if exact else max(2, announced // 50)):
        why = f"it announces {announced} frames and ends in number {index + 1}; copy it again"
        on_problem(DataError(f"video {name!r} is cut off: {why}"), name, index)


def count_frames(path: Path) -> int | None:
    """Frames that a video announces, None if it does not. Raises DataError if it does not open."""
    with opened(str(path)) as video:
        if (closed := _closed(video, path)) is not None:
            raise closed
        return _announced(video) or None


def camera_frames(number: int, on_problem: OnProblem) -> Iterator[Frame]:
    """Frames of a camera at this machine as they come, without end.

    Raises DataError when it is not there.
    """
    yield from as_they_come(partial(_of_camera, number), on_problem)


def _of_camera(number: int, _: OnProblem) -> Generator[Frame, None, None]:
    with opened(number) as camera:
        if not camera.isOpened():
            raise DataError(
                f"camera {number} cannot be opened: check that it is plugged in, free and allowed; "
                "the first one is 0"
            )
        name, began, done = f"camera {number}", time.monotonic(), 0
        for shot in shots(camera, tries=1):  # one waits for seconds
            if shot.image is not None:
                now = time.monotonic() - began
                yield Frame(name, f"{done:06d}", shot.image, done, now, shot.seconds)
                done += 1
    raise DataError(f"camera {number} gives no more images after {done}: check its cable")


def stream_frames(address: str, timeout: float, on_problem: OnProblem) -> Iterator[Frame]:
    """Frames of a network stream as they come, until its sender ends it.

    A video file at an address, which announces how many frames it has, waits and comes whole.
    ``on_problem`` gets each frame that cannot be decoded. Raises DataError when the stream cannot
    be opened or is silent for ``timeout`` seconds.
    """
    name = public(address)
    limit = round(timeout * 1000)
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, limit, cv2.CAP_PROP_READ_TIMEOUT_MSEC, limit]
    began, patience = time.monotonic(), 0.9 * timeout
    with ExitStack() as held:
        stream = held.enter_context(opened(address, cv2.CAP_FFMPEG, limits))
        if not stream.isOpened():
            late = time.monotonic() - began >= patience
            reason = f"no answer in {timeout:g} s" if late else "no video comes from there"
            raise DataError(f"stream {name!r} cannot be opened: {reason}; check the address")
        waits = _announced(stream) > 0
        read = partial(_of_stream, stream, held.pop_all(), name, timeout, patience)
    yield from read(on_problem) if waits else as_they_come(read, on_problem)


def _of_stream(
    stream: cv2.VideoCapture,
    held: ExitStack,
    name: str,
    timeout: float,
    patience: float,
    on_problem: OnProblem,
) -> Generator[Frame, None, None]:
    """Frames of an open ``stream``, which is closed with ``held`` at the end."""
    with held:
        index, began = 0, time.monotonic()
        asked = began
        for shot in shots(stream, jpeg_size(stream), patience):
            if shot.image is None:
                error = DataError(f"frame {index} of stream {name!r} {shot.why}")
                on_problem(error, name, index)
            else:
                now = time.monotonic() - began
                yield Frame(name, f"{index:06d}", shot.image, index, now, shot.seconds)
            index, asked = index + 1, time.monotonic()
        if time.monotonic() - asked >= patience:
            raise DataError(
                f"stream {name!r} stalled: no frame for {timeout:g} s after {index} frames; "
                "check the sender and the network"
            )
        if index == 0:
            raise DataError(f"stream {name!r} ended before its first frame: check the sender")


def public(address: str) -> str:
    """The address without user name and password."""
    return re.sub(r"://[^/]*@", "://", address)


def _announced(video: cv2.VideoCapture) -> int:
    return max(0, round(video.get(cv2.CAP_PROP_FRAME_COUNT)))


def _closed(video: cv2.VideoCapture, path: Path) -> DataError | None:
    """Why a file does not open, None for one that does."""
    if video.isOpened():
        return None
    if not asked(path.exists):
        return DataError(f"video {str(path)!r} {why_missing(path)}: check the path")
    return DataError(
        f"video {str(path)!r} cannot be opened: it is cut off, damaged or no video; copy it again"
    )
