"""Image files to arrays in their native depth. A file cut short is an error, never filler."""

from __future__ import annotations

import io
import struct
import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from kdlnet.errors import DataError
from kdlnet.images.tiff import count_pages
from kdlnet.types import ImageSize

ImageArray = NDArray[Any]

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})

# Keeps 8 or 16 bits and grey or colour as stored, drops alpha and, unlike IMREAD_UNCHANGED,
# applies the EXIF rotation.
_READ_FLAGS = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH
_ORIENTATION, _TIFF_WIDTH, _TIFF_HEIGHT = 0x0112, 0x0100, 0x0101
_SWAPPED_ORIENTATIONS = frozenset({5, 6, 7, 8})


def read_image(path: Path) -> ImageArray:
    """The image in ``path`` as (H, W, C) in the file's own depth, uint8 or uint16.

    C is 1 or 3 (RGB): a grey image stored as three equal channels stays at 3, see
    :func:`is_grey`. The EXIF rotation is applied, alpha is dropped.

    Raises DataError (one line with the file's name) for a file that is missing, empty,
    truncated, a folder, not an image, of another pixel type, or a TIFF with several pages: to take
    the first in silence would call a part good of which the others were never looked at.
    """
    data = _read_bytes(path)
    pages = count_pages(data)
    if pages > 1:
        raise DataError(
            f"image {str(path)!r} holds {pages} pages and would be judged by the first alone: save "
            "each page as a file of its own"
        )
    if _looks_cut(data) and not _decodes_fully(data):
        raise DataError(f"image {str(path)!r} is truncated: copy it again or remove it")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), _READ_FLAGS)
    except cv2.error:
        image = None
    if image is None:
        raise DataError(_why_unreadable(path, data))
    if image.dtype not in (np.uint8, np.uint16):
        raise DataError(
            f"image {str(path)!r} has pixels of type {image.dtype}: save it with 8 or 16 bits"
        )
    if image.ndim == 2:
        return image[:, :, None]
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def image_size(path: Path) -> ImageSize:
    """(H, W) after EXIF rotation, from the header alone where the format allows it.

    Raises DataError as :func:`read_image`, but a file cut off after its header passes.
    """
    try:
        with warnings.catch_warnings():
            # Large boards are the trade here, not an attack; broken EXIF is read_image's matter.
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                width, height = _stored_size(image)
                swapped = image.getexif().get(_ORIENTATION) in _SWAPPED_ORIENTATIONS
    except (
        UnidentifiedImageError,
        Image.DecompressionBombError,
        ValueError,
        SyntaxError,
        KeyError,
    ):
        return _decoded_size(path)
    except OSError:
        _read_bytes(path)  # names the cause, a missing or empty file for example
        return _decoded_size(path)
    return (width, height) if swapped else (height, width)


def palette_indices(path: Path) -> ImageArray | None:
    """The indices (H, W, 1) uint8 of an image with a palette, None for one without.

    Nothing is turned by EXIF. Raises DataError for an image that is cut off or cannot be read.
    """
    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None  # large boards are the trade here, not an attack
    try:
        with Image.open(path) as image:
            return np.asarray(image)[:, :, None] if image.mode == "P" else None
    except UnidentifiedImageError:  # none of Pillow's, so nothing with a palette
        return None
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"cannot read image {str(path)!r}: {error}") from None
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def to_channels(image: ImageArray, channels: int) -> ImageArray:
    """``image`` (H, W, 1 or 3) with ``channels`` of them: luminance for 3 to 1, repeat for 1 to 3.

    Equal channels give exactly their value, so grey images lose nothing. Same dtype.
    """
    if image.shape[2] == channels:
        return image
    if channels == 1:
        return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[:, :, None]
    return np.repeat(image, channels, axis=2)


def is_grey(image: ImageArray) -> bool:
    """Whether ``image`` (H, W, C) has one channel or three equal ones."""
    if image.shape[2] == 1:
        return True
    # A sparse look first: it settles nearly every colour image at a fraction of the cost.
    for view in (image[::16, ::16], image):
        red, green, blue = (view[:, :, channel] for channel in range(3))
        if not (np.array_equal(red, green) and np.array_equal(green, blue)):
            return False
    return True


def _read_bytes(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"image {str(path)!r} does not exist: check the path") from None
    except IsADirectoryError:
        raise DataError(f"image {str(path)!r} is a folder: give an image file") from None
    except OSError as error:
        raise DataError(f"cannot read image {str(path)!r}: {error.strerror or error}") from None
    if not data:
        raise DataError(f"image {str(path)!r} is empty (0 bytes): copy it again or remove it")
    return data


def _stored_size(image: Image.Image) -> tuple[int, int]:
    """(width, height) before rotation: for TIFF alone Pillow's ``size`` is that after it."""
    if isinstance(image, TiffImageFile):
        return int(image.tag_v2[_TIFF_WIDTH]), int(image.tag_v2[_TIFF_HEIGHT])
    return image.size


def _decoded_size(path: Path) -> ImageSize:
    height, width = read_image(path).shape[:2]
    return height, width


def _looks_cut(data: bytes) -> bool:
    """Whether a JPEG or PNG lacks its end mark: some decoders fill the rest in silence."""
    if data.startswith(b"\xff\xd8\xff"):
        start = _first_scan(data)
        return start < 0 or data.find(b"\xff\xd9", start) < 0
    if data.startswith(b"\x89PNG"):
        return b"IEND" not in data[-1024:] and b"IEND" not in data
    return False


def _first_scan(data: bytes) -> int:
    """Offset of the first scan of a JPEG, past headers whose thumbnails have end marks, or -1."""
    offset = 2
    while offset + 4 <= len(data):
        if data[offset] != 0xFF:
            return -1
        marker = data[offset + 1]
        if marker == 0xFF:  # fill byte
            offset += 1
            continue
        if marker == 0xDA:
            return offset
        offset += 2 + struct.unpack_from(">H", data, offset + 2)[0]
    return -1


def _decodes_fully(data: bytes) -> bool:
    """Whether Pillow, which refuses to fill, gets every pixel: only the end mark is missing."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return False
    return True


def _why_unreadable(path: Path, data: bytes) -> str:
    known = (b"\xff\xd8\xff", b"\x89PNG", b"BM", b"II*\0", b"MM\0*", b"RIFF")
    if data.startswith(known):
        return f"image {str(path)!r} is truncated or damaged: copy it again or remove it"
    allowed = ", ".join(sorted(IMAGE_SUFFIXES))
    return f"file {str(path)!r} is not an image that can be read: allowed are {allowed}"
