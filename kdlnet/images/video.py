"""Videos, cameras and streams through OpenCV. What goes wrong with them is reported in one line."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import cv2

from kdlnet.errors import DataError
from kdlnet.images.capture import Shot, jpeg_size, opened, shots
from kdlnet.images.frame import Frame, OnProblem
from kdlnet.images.live import as_they_come
from kdlnet.images.reconnect import Shots, lasting
from kdlnet.utils.paths import asked, why_missing

_PATIENCE = 0.9  # of the time-out: OpenCV ends a little before it
_ROUNDED = 0.001  # seconds to which containers give the time of a frame
_REORDERED = 0.5  # seconds that frames may come in another order than that of their times


def video_frames(
    path: Path, stem: str, on_problem: OnProblem, every: float = 0.0
) -> Iterator[Frame]:
    """Frames of a video file, (H, W, C) uint8, RGB or grey: all, or the first that can be decoded
    of ``every`` so many seconds. Results of frame 7 are named ``stem/000007``.

    ``on_problem`` gets each of them that cannot be decoded, the first when the file cannot be
    opened, and after the last the next when frames that the file announces are missing.
    """
    index, name = 0, str(path)
    with opened(name) as video:
        if (closed := _closed(video, path)) is not None:
            on_problem(closed, name, 0, None)
            return
        announced, jpeg = _announced(video), jpeg_size(video)
        exact = path.suffix.lower() == ".avi"
        pick = _of_video(every, video)
        for shot in shots(video, pick.wants, jpeg):
            timestamp = pick.clock()
            if exact and jpeg is not None:
                # Chunks without bytes, for a frame that the recorder dropped, come as no packet.
                place = round(timestamp * video.get(cv2.CAP_PROP_FPS))
                index = place if index < place < announced else index
            if shot.why:
                error = DataError(f"frame {index} of video {name!r} {shot.why}")
                on_problem(error, name, index, timestamp)
            elif shot.image is not None:
                pick.take()
                own = f"{stem}/{index:06d}"
                yield Frame(name, own, shot.image, index, timestamp, shot.seconds)
            index += 1
    if index == 0:
        why = "holds no frame that can be decoded: copy it again"
        on_problem(DataError(f"video {name!r} {why}"), name, 0, None)
    # Containers without an exact count announce an estimate.
    elif index < announced - (0 if exact else max(2, announced // 50)):
        why = f"it announces {announced} frames and ends in number {index + 1}; copy it again"
        on_problem(DataError(f"video {name!r} is cut off: {why}"), name, index, None)


def count_frames(path: Path, every: float = 0.0) -> int | None:
    """Frames that a video announces, or how many :func:`video_frames` gives of ``every`` so many
    seconds at an even rate; None if it does not. Raises DataError if it does not open."""
    with opened(str(path)) as video:
        if (closed := _closed(video, path)) is not None:
            raise closed
        stride = max(1.0, every * video.get(cv2.CAP_PROP_FPS))
        return math.ceil(_announced(video) / stride) or None


def camera_frames(
    number: int, reconnect: float, on_problem: OnProblem, every: float = 0.0
) -> Iterator[Frame]:
    """Frames of a camera at this machine as they come, without end: all, or the first of ``every``
    so many seconds.

    One that is lost is opened again for ``reconnect`` seconds. Raises DataError when it is not
    there.
    """
    name, pick = f"camera {number}", _Pick(every, _clock())
    connect = partial(_of_camera, number, name, pick)
    found = lasting(connect(), connect, reconnect)
    yield from as_they_come(partial(_numbered, found, name, name, pick), on_problem)


def _of_camera(number: int, name: str, pick: _Pick) -> Shots:
    with opened(number) as camera:
        if not camera.isOpened():
            raise DataError(
                f"{name} cannot be opened: check that it is plugged in, free and allowed; "
                "the first one is 0"
            )
        done = 0
        for shot in shots(camera, pick.wants, tries=1):  # one waits for seconds
            if not shot.why:
                yield shot
                done += 1
    raise DataError(f"{name} gives no more images after {done}: check its cable")


def stream_frames(
    address: str, timeout: float, reconnect: float, on_problem: OnProblem, every: float = 0.0
) -> Iterator[Frame]:
    """Frames of a network stream as they come, until its sender ends it: all, or the first of
    ``every`` so many seconds.

    A video file at an address, which announces how many frames it has, waits and comes whole.
    ``on_problem`` gets each frame that cannot be decoded. A stream that is lost or ended is opened
    again for ``reconnect`` seconds. Raises DataError when it cannot be opened or is silent for
    ``timeout`` seconds.
    """
    name = public(address)
    title = f"stream {name!r}"
    stream, held = _open_stream(address, title, timeout)
    whole = _announced(stream) > 0
    pick = _of_video(every, stream) if whole else _Pick(every, _clock())
    first = _of_stream(stream, held, title, timeout, pick)
    if whole:
        yield from filter(None, _numbered(first, name, title, pick, on_problem))
        return

    def connect() -> Shots:
        yield from _of_stream(*_open_stream(address, title, timeout), title, timeout, pick)

    found = lasting(first, connect, reconnect)
    yield from as_they_come(partial(_numbered, found, name, title, pick), on_problem)


def _open_stream(address: str, title: str, timeout: float) -> tuple[cv2.VideoCapture, ExitStack]:
    """A stream, and what closes it. Raises DataError when it cannot be opened."""
    limit = round(timeout * 1000)
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, limit, cv2.CAP_PROP_READ_TIMEOUT_MSEC, limit]
    began = time.monotonic()
    with ExitStack() as held:
        stream = held.enter_context(opened(address, cv2.CAP_FFMPEG, limits))
        if not stream.isOpened():
            late = time.monotonic() - began >= _PATIENCE * timeout
            reason = f"no answer in {timeout:g} s" if late else "no video comes from there"
            raise DataError(
                f"{title} cannot be opened: {reason}; check the address, with the user and the "
                "password that the camera asks for in it"
            )
        return stream, held.pop_all()


def _of_stream(
    stream: cv2.VideoCapture, held: ExitStack, title: str, timeout: float, pick: _Pick
) -> Shots:
    """Shots of an open ``stream``, which is closed with ``held`` at the end."""
    with held:
        done, patience = 0, _PATIENCE * timeout
        asked = time.monotonic()
        for shot in shots(stream, pick.wants, jpeg_size(stream), patience):
            yield shot
            done, asked = done + 1, time.monotonic()
        if time.monotonic() - asked >= patience:
            raise DataError(
                f"{title} stalled: no frame for {timeout:g} s after {done} frames; "
                "check the sender and the network"
            )
        if done == 0:
            raise DataError(f"{title} ended before its first frame: check the sender")


def _numbered(
    found: Generator[Shot | None, None, None],
    name: str,
    title: str,
    pick: _Pick,
    on_problem: OnProblem,
) -> Generator[Frame | None, None, None]:
    """Shots as the frames of ``title``; None for one without an image, and for None."""
    index = 0
    with closing(found):
        for shot in found:
            if shot is None:
                yield None
                continue
            now = pick.clock()
            if shot.why:
                on_problem(DataError(f"frame {index} of {title} {shot.why}"), name, index, now)
            if shot.image is None:
                yield None
            else:
                pick.take()
                yield Frame(name, f"{index:06d}", shot.image, index, now, shot.seconds)
            index += 1


class _Pick:
    """The first frame of ``every`` so many seconds of the ``clock``, or each frame with 0.

    A clock that jumps back, as where recordings were joined, goes on from where it was, and one
    that stands at 0, which is OpenCV's answer for a frame without a time, goes on by ``step``.
    """

    def __init__(self, every: float, clock: Callable[[], float], step: float = 0.0) -> None:
        self.clock = clock
        self._every, self._step = every, step
        self._now, self._ahead = -step, 0.0  # seconds that never go back; theirs less the clock's
        self._stretch, self._next = 0.0, 0.0  # of that length: that of now, that of the next frame

    def wants(self) -> bool:
        """Whether the frame that came now is to be decoded."""
        if self._every:
            self._go_on()
            self._stretch = (self._now + _ROUNDED) // self._every
        return self._stretch >= self._next

    def take(self) -> None:
        """That frame is decoded: the next one is of another stretch."""
        if self._every:
            self._next = self._stretch + 1

    def _go_on(self) -> None:
        at = self.clock()
        now = at + self._ahead
        if at == 0:
            now = self._now + self._step
        elif now < self._now - _REORDERED:
            now = self._now + self._step
            self._ahead = now - at
        self._now = max(self._now, now)


def _of_video(every: float, video: cv2.VideoCapture) -> _Pick:
    rate = video.get(cv2.CAP_PROP_FPS)
    return _Pick(every, partial(_seconds_into, video), 1 / rate if rate > 0 else 0.0)


def _clock() -> Callable[[], float]:
    """The seconds since now."""
    began = time.monotonic()
    return lambda: time.monotonic() - began


def _seconds_into(video: cv2.VideoCapture) -> float:
    """Where the last frame stands in a video."""
    return float(max(0.0, video.get(cv2.CAP_PROP_POS_MSEC) / 1000))


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
