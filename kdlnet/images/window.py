"""The intensity window: which of a file's intensities the network sees as 0 and as 1.

It belongs to images of one bit depth. Pixels keep their type and levels until the window maps them
to [0, 1], so 12 bits stay 4096 levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kdlnet.errors import DataError
from kdlnet.images.read import ImageArray, read_image
from kdlnet.images.roi import looked_at
from kdlnet.types import Preprocess, Roi

Window = tuple[float, float]

_BITS = {"uint8": 8, "uint16": 16}
_READERS = 4
_MOST_IMAGES = 256
_MOST_PIXELS = 1_000_000  # an image; percentiles of a regular sample of it are as good
# Pixels beyond either end, as a share and an image: a small bright defect has more of them, a
# handful of hot or dead pixels fewer.
_TAIL = 1e-5
_HANDFUL = 4
_NARROW = 0.25  # images that use less of their camera's range than this get a window of their own


def bits(dtype: np.dtype[np.generic]) -> int:
    """8 for uint8, 16 for uint16."""
    return _BITS[dtype.name]


def full_window(depth: int) -> Window:
    """All intensities of files of 8 or 16 bits."""
    return 0.0, float(2**depth - 1)


def image_depth(paths: Sequence[Path]) -> int:
    """Bits (8 or 16) of the first image of ``paths`` that can be read; 8 if none can."""
    for path in paths:
        try:
            return bits(read_image(path).dtype)
        except DataError:
            continue
    return 8


def measured_window(paths: Sequence[Path], roi: Roi | None = None) -> tuple[Window, int]:
    """The intensity window of a training set and the bits of its files, 8 or 16, by ``roi`` alone.

    8-bit images have (0, 255). For deeper ones the percentiles 0.001 and 99.999 of up to 256
    images, spread over the set, decide. Their upper end tells the camera's bits: where the images
    fill at least a quarter of that range, the window is all of it, (0, 4095) for 12 bits, and
    nothing a camera can write is cut. Where they fill less, it is the percentiles with half of
    their distance on either side. Images that cannot be read are passed over; if none can, it is
    (0, 255).
    """
    counts, images = np.zeros(2**16, np.int64), 0
    rows = np.linspace(0, len(paths) - 1, min(_MOST_IMAGES, len(paths))).round().astype(int)
    chosen = [paths[row] for row in rows]
    with ThreadPoolExecutor(_READERS) as pool:
        for start in range(0, len(chosen), _READERS):
            for found in pool.map(partial(_histogram, roi=roi), chosen[start : start + _READERS]):
                if found is None:
                    continue
                if len(found) == 2**8:
                    return full_window(8), 8
                counts += found
                images += 1
    return (_of_histogram(counts, images), 16) if counts.any() else (full_window(8), 8)


def fit_depth(preprocess: Preprocess, depth: int) -> Preprocess:
    """The contract for files of ``depth`` bits, itself where it is meant for them.

    A window for 8 bits grows by 257, so that a 16-bit copy of an image looks the same; one for 16
    bits becomes (0, 255) for 8-bit files. Without this a 16-bit image would be plain white to
    weights of 8-bit images, in which no defect is.
    """
    if preprocess.depth in (None, depth):
        return preprocess
    low, high = preprocess.window
    window = (257 * low, 257 * high) if depth == 16 else full_window(8)
    return replace(preprocess, window=window, depth=depth)


def depth_line(name: str, preprocess: Preprocess, depth: int) -> str | None:
    """What to tell people where ``name``, a file of ``depth`` bits, does not suit the window.

    It has another depth than the weights are for, and another window is taken; or a window that a
    person gave goes on beyond all that such a file can hold. None where it suits.
    """
    fitted, white = fit_depth(preprocess, depth), full_window(depth)[1]
    (low, high), (new_low, new_high) = preprocess.window, fitted.window
    if fitted != preprocess:
        return (
            f"{name!r} has {depth} bits, the weights were trained on {preprocess.depth}-bit "
            f"images with the window {low:g} to {high:g}: read with {new_low:g} to {new_high:g}; "
            "check the boxes, give --window LOW-HIGH, or train on such images"
        )
    if high > white:
        return (
            f"{name!r} has {depth} bits, 0 to {white:g}: the window {low:g} to {high:g} leaves it "
            f"dark; check the boxes, or give --window LOW-HIGH up to {white:g}"
        )
    return None


def _histogram(path: Path, roi: Roi | None) -> NDArray[np.int64] | None:
    """Pixels by intensity, 256 or 65536 counts; None for an image that cannot be looked at."""
    try:
        image: ImageArray = read_image(path)
        x1, y1, x2, y2 = looked_at(image.shape[:2], roi)
    except DataError:
        return None
    image = image[y1:y2, x1:x2]
    step = max(1, int(np.sqrt(image[:, :, 0].size / _MOST_PIXELS)))
    return np.bincount(image[::step, ::step].reshape(-1), minlength=2 ** bits(image.dtype))


def _of_histogram(counts: NDArray[np.int64], images: int) -> Window:
    below = np.cumsum(counts)
    beyond = max(_TAIL * below[-1], _HANDFUL * images)
    low, high = np.searchsorted(below, (beyond, below[-1] - beyond)).tolist()
    camera = full_window(max(8, int(high).bit_length()))
    distance = high - low
    if distance >= _NARROW * camera[1]:
        return camera
    margin = max(distance, 1) / 2
    return max(0.0, low - margin), min(full_window(16)[1], high + margin)
