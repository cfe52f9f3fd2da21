"""The bytes of an image file to pixels, each format by the decoder that gets it right.

JPEG: libjpeg-turbo through simplejpeg, because OpenCV and Pillow fill damaged parts and keep the
library's warnings to themselves. PNG, BMP, WebP and what else it knows: OpenCV, which keeps 16 bits
of colour. TIFF: :mod:`kdlnet.images.tiff_pixels`.

What no decoder can see, for want of check sums: changed bytes in uncompressed pixels (BMP, TIFF),
in LZW, packbits and WebP where they still decode, and most single flipped bits of a JPEG. Of PNG
and deflate all is seen. Holes of zeros tell nothing there either: a black picture is made of them,
and flat WebP pictures hold hundreds of zero bytes in a row.
"""

from __future__ import annotations

import struct
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kdlnet.images.bmp import read_masked
from kdlnet.images.header import MOST_PIXELS, SCAN, Header, Unfit, jpeg_segments, png_chunks
from kdlnet.images.jpeg import strict_jpeg
from kdlnet.images.quiet import quiet
from kdlnet.images.strangers import what_it_is
from kdlnet.images.tiff_pixels import read_tiff

ImageArray = NDArray[Any]

# Keeps 8 or 16 bits and grey or colour as stored and drops alpha. Turning is done here.
_FLAGS = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
_DAMAGED = "is truncated or damaged: copy it again or remove it"
_HUGE = "needs more memory than there is: cut it into parts, or copy it again if it is small"
# What numbers that damage has changed end in, beside what a decoder says itself.
STUMBLES = (ValueError, IndexError, OverflowError, struct.error, Image.DecompressionBombError)
_KEPT = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})
_CMYK = 4  # bands
_END = b"\xff\xd9"
# Remarks on how a JPEG was made; its pixels are whole.
_HARMLESS = ("Invalid SOS parameters", "Unknown Adobe color transform", "Warning: unknown JFIF")
_PNG_COLOURS, _GREY_AND_ALPHA = 25, 4  # place of a byte and one of its values


def decode(data: bytes, header: Header) -> ImageArray:
    """(H, W, 1 or 3) RGB in the file's depth, alpha dropped, turned upright.

    Raises Unfit for what is not read: it says why, and what to do.
    """
    _check(header)
    try:
        image = _DECODERS.get(header.format, _opencv)(data)
    except STUMBLES:
        raise Unfit(_DAMAGED) from None
    except MemoryError:
        raise Unfit(_HUGE) from None
    if image.dtype not in (np.uint8, np.uint16):
        raise Unfit(f"has pixels of type {image.dtype}: save it with 8 or 16 bits")
    if header.size not in (None, image.shape[:2]):
        raise Unfit(_DAMAGED)
    return upright(image, header.turn)


def _check(header: Header) -> None:
    if header.size is not None:
        height, width = header.size
        if height * width > MOST_PIXELS:
            raise Unfit(
                f"has {width} x {height} pixels, {MOST_PIXELS:,} are allowed: cut it into parts"
            )
        if not height or not width:
            raise Unfit(f"has {width} x {height} pixels by its own account: make it again")
    if header.pictures > 1:
        name = "pages" if header.format == "TIFF" else "pictures"
        raise Unfit(
            f"holds {header.pictures} {name} and would be judged by the first alone: save each as "
            "a file of its own"
        )


def _jpeg(data: bytes) -> ImageArray:
    found = strict_jpeg(data)
    if not isinstance(found, str):
        return _rgb(found, data)
    if found.startswith(_HARMLESS):
        return _opencv(data)
    scan = next((start for kind, start, _ in jpeg_segments(data) if kind == SCAN), None)
    if scan is None:
        raise Unfit(_DAMAGED)
    if data.find(_END, scan) < 0:
        whole = strict_jpeg(data + _END)  # where only the end mark is missing, nothing is lost
        if isinstance(whole, str):
            raise Unfit("is truncated: copy it again or remove it")
        return _rgb(whole, data)
    if found.startswith("Unsupported JPEG"):
        raise Unfit(f"is a JPEG of a kind that is not read ({found}): save it as a usual one")
    raise Unfit(f"is damaged ({found}): copy it again or remove it")


def _rgb(found: ImageArray, data: bytes) -> ImageArray:
    return _opencv(data) if found.shape[2] == _CMYK else found


def _png(data: bytes) -> ImageArray:
    """Without notes, colour profiles and alpha of palettes, over which libraries stumble aloud."""
    view = memoryview(data)
    parts, left_out = [view[:8]], False
    for kind, start, length in png_chunks(data):
        if kind in _KEPT:
            parts.append(view[start - 8 : start + length + 4])
        else:
            left_out = True
    image = _opencv(b"".join(parts) if left_out else data)
    return image[:, :, :1] if data[_PNG_COLOURS] == _GREY_AND_ALPHA else image


def _webp(data: bytes) -> ImageArray:
    announced = struct.unpack_from("<I", data, 4)[0] + 8
    if len(data) < announced:
        raise Unfit("is truncated: copy it again or remove it")
    return _opencv(data)


def _bmp(data: bytes) -> ImageArray:
    image = read_masked(data)
    return _opencv(data) if image is None else image


def _opencv(data: bytes) -> ImageArray:
    try:
        with quiet():
            image = cv2.imdecode(np.frombuffer(data, np.uint8), _FLAGS)
    except cv2.error:
        image = None
    if image is None:
        raise Unfit(what_it_is(data) or _DAMAGED)
    if image.ndim == 2:
        return image[:, :, None]
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def upright(image: ImageArray, turn: int) -> ImageArray:
    """The image as EXIF's orientation says that it is seen."""
    if turn in (3, 7):
        image = image[::-1, ::-1]
    elif turn in (2, 8):
        image = image[:, ::-1]
    elif turn in (4, 6):
        image = image[::-1]
    if turn > 4:
        image = image.transpose(1, 0, 2)
    return np.ascontiguousarray(image)


_DECODERS = {"JPEG": _jpeg, "PNG": _png, "TIFF": read_tiff, "WEBP": _webp, "BMP": _bmp}
