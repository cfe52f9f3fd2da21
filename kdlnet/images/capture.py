"""An OpenCV capture, read until nothing more comes. Motion JPEG is decoded here, not by OpenCV."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import cv2

from kdlnet.images.decode import ImageArray, decode
from kdlnet.images.header import Unfit, look
from kdlnet.images.quiet import quiet
from kdlnet.types import ImageSize
from kdlnet.utils.together import Together

_OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
# What OpenCV sets itself, and no packet that its container calls damaged: a decoder fills what is
# missing with grey. It gets no option: `err_detect;explode` ends at the container.
_SETTINGS = "rtsp_transport;tcp|fflags;discardcorrupt"
_MJPEG = frozenset({b"mjpg", b"mjpe", b"jpeg"})
_START = b"\xff\xd8"
# Reads without a frame after which nothing more comes. At the end of a file all take a millisecond.
_TRIES = 250
_UNDECODED = "cannot be decoded"


@dataclass(frozen=True, slots=True)
class Shot:
    """A frame (H, W, C), RGB or grey, and the seconds it took. One that is not wanted has no image,
    and one that is damaged or lost says ``why``."""

    image: ImageArray | None = None
    seconds: float = 0.0
    why: str = ""


def shots(
    video: cv2.VideoCapture,
    wanted: Callable[[], bool],
    jpeg: ImageSize | None = None,
    patience: float = math.inf,
    tries: int = _TRIES,
) -> Iterator[Shot]:
    """The frames until ``tries`` reads in a row give none, or none comes for ``patience`` seconds.

    A read that gives none before one that does is a frame that cannot be decoded; it counts as
    wanted where the one that came is. ``wanted`` is asked of each that came, before its pixels are
    made. ``jpeg`` is what :func:`jpeg_size` says of ``video``.
    """
    lost, asked = 0, time.monotonic()
    while lost < tries and time.monotonic() - asked < patience:
        shot = _read(video, wanted, jpeg)
        if shot is None:
            lost += 1
            continue
        left_out = shot.image is None and not shot.why
        for _ in range(lost):
            yield shot if left_out else Shot(why=_UNDECODED)
        yield shot
        lost, asked = 0, time.monotonic()


def jpeg_size(video: cv2.VideoCapture) -> ImageSize | None:
    """(H, W) of Motion JPEG, which ``video`` from now on gives undecoded; None for other codecs.

    OpenCV would fill a frame that is cut with grey, and scale one of another size to the first.
    """
    code = round(video.get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF
    if code.to_bytes(4, "little").lower() not in _MJPEG or video.getBackendName() != "FFMPEG":
        return None
    if not video.set(cv2.CAP_PROP_FORMAT, -1):
        return None
    return (
        round(video.get(cv2.CAP_PROP_FRAME_HEIGHT)),
        round(video.get(cv2.CAP_PROP_FRAME_WIDTH)),
    )


@contextmanager
def opened(
    source: str | int, backend: int = cv2.CAP_ANY, settings: Sequence[int] = ()
) -> Iterator[cv2.VideoCapture]:
    """An OpenCV capture that says nothing on stderr by itself, open or not; released at the end."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    with _settings(), quiet():
        video = cv2.VideoCapture(source, backend, list(settings))
    try:
        yield video
    finally:
        video.release()


def _set() -> bool:
    """Whether the setting is ours: one of the user's stays."""
    ours = _OPTIONS not in os.environ
    if ours:
        os.environ[_OPTIONS] = _SETTINGS
    return ours


def _unset(ours: bool) -> None:
    if ours:
        os.environ.pop(_OPTIONS, None)


_settings = Together(_set, _unset)


def _read(
    video: cv2.VideoCapture, wanted: Callable[[], bool], jpeg: ImageSize | None
) -> Shot | None:
    """What the next read gives, None when it gives nothing."""
    began = time.perf_counter()
    try:
        with quiet():
            if not video.grab():
                return None
            if not wanted():
                return Shot()
            done, image = video.retrieve()
    except cv2.error:
        return None
    if not done:
        return None
    if jpeg is None:
        pixels: ImageArray = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    else:
        try:
            pixels = _decoded(image.tobytes(), jpeg)
        except Unfit as reason:
            return Shot(why=str(reason))
    return Shot(pixels, time.perf_counter() - began)


def _decoded(packet: bytes, size: ImageSize) -> ImageArray:
    """A frame of Motion JPEG whose container announces ``size``, in its own size. Raises Unfit."""
    data = packet[max(0, packet.find(_START)) :]
    header = look(data)
    if header.format != "JPEG":
        raise Unfit(_UNDECODED)
    try:
        image = decode(data, header)
    except Unfit as reason:
        raise Unfit(str(reason).rpartition(": ")[0]) from None  # the fix is one for files
    height, width = image.shape[:2]
    if (2 * height, width) == size:
        raise Unfit("is half of an interlaced picture")
    return image
