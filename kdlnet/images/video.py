"""Videos, cameras and streams through OpenCV. What goes wrong with them is reported in one line."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2

from kdlnet.errors import DataError
from kdlnet.images.frame import Frame
from kdlnet.images.quiet import quiet

_OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
# A decoder fills the missing part of a frame that was cut with grey: such a frame must not come.
_WHOLE_FRAMES = "fflags;discardcorrupt"


def video_frames(path: Path, stem: str) -> Iterator[Frame]:
    """Frames of a video file, (H, W, 3) RGB uint8. Results of frame 7 are named ``stem/000007``.

    Raises DataError when it cannot be opened, and after the last whole frame when frames that the
    file announces are missing.
    """
    done = 0
    with _opened(str(path)) as video:
        _check_open(video, path)
        announced = _announced(video)
        while (read := _read(video)) is not None:
            image, seconds = read
            timestamp = max(0.0, video.get(cv2.CAP_PROP_POS_MSEC) / 1000)
            yield Frame(str(path), f"{stem}/{done:06d}", image, done, timestamp, seconds)
            done += 1
    if done == 0:
        raise DataError(f"video {str(path)!r} holds no frame that can be decoded: copy it again")
    # Containers without an exact count announce an estimate.
    tolerance = 0 if path.suffix.lower() == ".avi" else max(2, announced // 50)
    if done < announced - tolerance:
        raise DataError(
            f"video {str(path)!r} is cut off: it announces {announced} frames and ends in number "
            f"{done + 1}; copy it again"
        )


def count_frames(path: Path) -> int | None:
    """Frames that a video announces, None if it does not. Raises DataError if it does not open."""
    with _opened(str(path)) as video:
        _check_open(video, path)
        return _announced(video) or None


def camera_frames(number: int) -> Iterator[Frame]:
    """Frames of a camera at this machine, without end. Raises DataError when it is not there."""
    with _opened(number) as camera:
        if not camera.isOpened():
            raise DataError(
                f"camera {number} cannot be opened: check that it is plugged in, free and allowed; "
                "the first one is 0"
            )
        name, began, done = f"camera {number}", time.monotonic(), 0
        while (read := _read(camera)) is not None:
            yield Frame(name, f"{done:06d}", read[0], done, time.monotonic() - began, read[1])
            done += 1
    raise DataError(f"camera {number} gives no more images after {done}: check its cable")


def stream_frames(address: str, timeout: float) -> Iterator[Frame]:
    """Frames of a network stream until its sender ends it.

    Raises DataError when it cannot be opened or is silent for ``timeout`` seconds.
    """
    name = public(address)
    limit = round(timeout * 1000)
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, limit, cv2.CAP_PROP_READ_TIMEOUT_MSEC, limit]
    began, done = time.monotonic(), 0
    with _opened(address, cv2.CAP_FFMPEG, limits) as stream:
        if not stream.isOpened():
            late = time.monotonic() - began >= 0.9 * timeout
            reason = f"no answer in {timeout:g} s" if late else "no video comes from there"
            raise DataError(f"stream {name!r} cannot be opened: {reason}; check the address")
        began = time.monotonic()
        while True:
            asked = time.monotonic()
            read = _read(stream)
            if read is None:
                break
            yield Frame(name, f"{done:06d}", read[0], done, time.monotonic() - began, read[1])
            done += 1
        if time.monotonic() - asked >= 0.9 * timeout:
            raise DataError(
                f"stream {name!r} stalled: no frame for {timeout:g} s after {done} frames; "
                "check the sender and the network"
            )
    if done == 0:
        raise DataError(f"stream {name!r} ended before its first frame: check the sender")


def public(address: str) -> str:
    """The address without user name and password."""
    return re.sub(r"://[^/]*@", "://", address)


def _read(video: cv2.VideoCapture) -> tuple[cv2.typing.MatLike, float] | None:
    """The next frame as RGB and the seconds it took, None when there is none."""
    began = time.perf_counter()
    try:
        with quiet():
            done, image = video.read()
    except cv2.error:
        return None
    if not done:
        return None
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB), time.perf_counter() - began


def _announced(video: cv2.VideoCapture) -> int:
    return max(0, round(video.get(cv2.CAP_PROP_FRAME_COUNT)))


def _check_open(video: cv2.VideoCapture, path: Path) -> None:
    if video.isOpened():
        return
    if not path.exists():
        raise DataError(f"video {str(path)!r} does not exist: check the path")
    raise DataError(
        f"video {str(path)!r} cannot be opened: it is cut off, damaged or no video; copy it again"
    )


@contextmanager
def _opened(
    source: str | int, backend: int = cv2.CAP_ANY, settings: Sequence[int] = ()
) -> Iterator[cv2.VideoCapture]:
    """An OpenCV capture that says nothing on stderr by itself, open or not; released at the end."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    whole = isinstance(source, str) and backend == cv2.CAP_ANY and _OPTIONS not in os.environ
    try:
        if whole:
            os.environ[_OPTIONS] = _WHOLE_FRAMES
        with quiet():
            video = cv2.VideoCapture(source, backend, list(settings))
    finally:
        if whole:
            del os.environ[_OPTIONS]
    try:
        yield video
    finally:
        video.release()
