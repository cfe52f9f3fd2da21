"""Image files to arrays in their native depth. A file cut short is an error, never filler."""

from __future__ import annotations

import io
import mmap
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from kdlnet.errors import DataError
from kdlnet.images.decode import STUMBLES, decode, upright
from kdlnet.images.decode import ImageArray as ImageArray
from kdlnet.images.header import Header, Unfit, look
from kdlnet.types import ImageSize
from kdlnet.utils.paths import asked

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})


def read_image(path: Path) -> ImageArray:
    """The image in ``path`` as (H, W, C) in the file's own depth, uint8 or uint16.

    C is 1 or 3 (RGB): a grey image stored as three equal channels stays at 3, see
    :func:`is_grey`. The EXIF rotation is applied, alpha is dropped.

    Raises DataError (one line with the file's name, the cause and the fix) for a file that is
    missing, empty, truncated, damaged as far as its format lets a decoder see, a folder, not an
    image, of another pixel type, or of several pictures: to take the first in silence would call a
    part good of which the others were never looked at.
    """
    data = image_bytes(path)
    try:
        return decode(data, look(data))
    except Unfit as reason:
        raise DataError(f"image {str(path)!r} {reason}") from None


def image_bytes(path: Path) -> bytes:
    """The bytes of an image file. Raises DataError for one that cannot be read or is empty."""
    _refuse_pipe(path)
    try:
        data = path.read_bytes()
    except (FileNotFoundError, ValueError):  # no path has a NUL in it
        raise DataError(f"image {str(path)!r} does not exist: check the path") from None
    except IsADirectoryError:
        raise DataError(f"image {str(path)!r} is a folder: give an image file") from None
    except OSError as error:
        raise DataError(f"cannot read image {str(path)!r}: {error.strerror or error}") from None
    if not data:
        raise DataError(f"image {str(path)!r} is empty (0 bytes): copy it again or remove it")
    return data


def header_of(path: Path) -> Header:
    """What the image in ``path`` says of itself; a board's pixels stay on disk.

    Raises OSError, ValueError for an empty file and DataError for a pipe.
    """
    _refuse_pipe(path)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return look(data)


def image_size(path: Path) -> ImageSize:
    """(H, W) after EXIF rotation, from the header alone where the format allows it.

    Raises DataError as :func:`read_image`, but a file cut off or damaged after its header passes.
    """
    try:
        size = header_of(path).shown
    except (OSError, ValueError):  # read_image says why: missing, empty, a folder
        size = None
    if size is None or not all(size):
        height, width = read_image(path).shape[:2]
        return height, width
    return size


def palette_indices(path: Path) -> ImageArray | None:
    """The indices (H, W, 1) uint8 of an image with a palette, None for one without.

    Turned as :func:`read_image` turns. Raises DataError for one with a palette that
    :func:`read_image` does not read.
    """
    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None  # large boards are the trade here, not an attack
    data = image_bytes(path)
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.mode != "P":
                return None
            header = look(data)
            decode(data, header)  # Pillow fills damage in, and believes any size
            indices = np.asarray(image)[:, :, None]
            return indices if image.format == "TIFF" else upright(indices, header.turn)
    except Unfit as reason:
        raise DataError(f"image {str(path)!r} {reason}") from None
    except UnidentifiedImageError:  # none of Pillow's, so nothing with a palette
        return None
    except (OSError, SyntaxError, MemoryError, *STUMBLES) as error:
        why = str(error) or "more memory is needed than there is"
        raise DataError(f"cannot read image {str(path)!r}: {why}") from None
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def alpha_varies(path: Path) -> bool:
    """Whether the image has alpha, which :func:`read_image` drops, of more than one value."""
    try:
        pixels = cv2.imdecode(np.frombuffer(image_bytes(path), np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:  # none that OpenCV reads
        return False
    if pixels is None or pixels.ndim < 3 or pixels.shape[2] < 4:
        return False
    return bool(pixels[:, :, 3].min() < pixels[:, :, 3].max())


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


def _refuse_pipe(path: Path) -> None:
    """Reading one would wait for a writer, perhaps for ever."""
    if asked(path.is_fifo):
        raise DataError(f"image {str(path)!r} is a pipe: give an image file")
