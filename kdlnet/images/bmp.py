"""BMP files whose pixels are numbers under masks: OpenCV and Pillow know some of the masks only."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

_PLAIN, _MASKS, _MASKS_AND_ALPHA = 0, 3, 6  # kinds of compression
_USUAL = {16: (0x7C00, 0x03E0, 0x001F), 32: (0xFF0000, 0xFF00, 0xFF)}  # red, green, blue
_OLD_HEADER = 40  # without masks inside: they follow it


def read_masked(data: bytes) -> NDArray[Any] | None:
    """(H, W, 3) RGB uint8 of a BMP of 16 or 32 bits a pixel, None for one of another kind.

    A colour of fewer or more bits is scaled to 8. Raises ValueError or struct.error where the file
    ends too early or a mask reaches past the bits of a pixel.
    """
    start, size = struct.unpack_from("<II", data, 10)
    if size < _OLD_HEADER:
        return None
    width, height, _, bits, kind = struct.unpack_from("<iiHHI", data, 18)
    if bits not in _USUAL or kind not in (_PLAIN, _MASKS, _MASKS_AND_ALPHA):
        return None
    masks = _USUAL[bits] if kind == _PLAIN else struct.unpack_from("<III", data, 54)
    if any(mask >> bits for mask in masks):
        raise ValueError(f"masks of more than {bits} bits")
    row = -(-width * bits // 32) * 4
    content = np.frombuffer(data, np.uint8, row * abs(height), start)
    numbers = content.reshape(abs(height), row).view(f"<u{bits // 8}")[:, :width]
    if height > 0:  # the lowest row comes first
        numbers = numbers[::-1]
    return np.stack([_colour(numbers, mask) for mask in masks], axis=2)


def _colour(numbers: NDArray[Any], mask: int) -> NDArray[np.uint8]:
    if mask == 0:
        return np.zeros(numbers.shape, np.uint8)
    shift = (mask & -mask).bit_length() - 1
    top = mask >> shift
    values = (numbers & mask) >> shift
    if top == 255:
        return values.astype(np.uint8)
    return np.round(values * (255 / top)).astype(np.uint8)
