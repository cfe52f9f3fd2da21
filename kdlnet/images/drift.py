"""Images as they would be under another lamp, lens or sensor."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from kdlnet.images.read import ImageArray
from kdlnet.images.tiles import Tile
from kdlnet.metrics.drift import Change
from kdlnet.types import Letterbox, Preprocess


def changed(
    pixels: ImageArray,
    preprocess: Preprocess,
    shown: Sequence[tuple[Letterbox, Tile | None]],
    change: Change,
) -> ImageArray:
    """A copy of letterboxed ``pixels`` (n, H, W, c) after ``change``; the padding stays.

    ``shown`` says of each where it lies and which tile of its image it shows, None: all of it.
    The noise is the same for each image of one size, so that no figure depends on the batch.
    """
    result = pixels.copy()
    for image, (geometry, tile) in zip(result, shown, strict=True):
        inside = image[_inside(geometry, tile)]
        inside[:] = _changed(inside, preprocess.window, change)
    return result


def _inside(geometry: Letterbox, tile: Tile | None) -> tuple[slice, slice]:
    """Rows and columns of a view that show its image and no padding."""
    x1, y1, x2, y2 = tile or geometry.looked_at
    (scale_x, scale_y), (left, top) = geometry.scale, geometry.offset
    rows = slice(round(top + scale_y * y1), round(top + scale_y * y2))
    return rows, slice(round(left + scale_x * x1), round(left + scale_x * x2))


def _changed(image: ImageArray, window: tuple[float, float], change: Change) -> NDArray[np.float32]:
    low, high = window
    seen: NDArray[np.float32] = image.astype(np.float32) - np.float32(low)
    if change.blur:
        smooth = cv2.GaussianBlur(seen, (0, 0), change.blur, borderType=cv2.BORDER_REPLICATE)
        seen = smooth.reshape(image.shape).astype(np.float32)  # OpenCV drops a single channel
    seen = seen * np.float32(change.light)
    if change.noise:
        seen += np.float32(change.noise * (high - low)) * _grain(image.shape)
    most = np.iinfo(image.dtype.name).max
    brightest = max(high, float(image.max(initial=0)))  # what was outside the window may stay there
    result: NDArray[np.float32] = np.clip(seen + np.float32(low), 0, min(brightest, most)).round()
    return result


@lru_cache(maxsize=8)
def _grain(shape: tuple[int, ...]) -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
