"""Small JPEGs for pages: as large as the page may be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from kdlnet.report.images import Image, to_display

# Longer sides to choose from, pixels.
_SIDES = (1600, 1280, 1024, 800, 640, 512, 400, 320, 256, 200, 160, 128, 96)
_QUALITY = 82
_BASE64 = 4 / 3


def shrink(image: Image, side: int) -> Image:
    """``image`` (H, W, 3) with its longer side at most ``side`` pixels; never enlarged."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return image
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def thumbnail(image: NDArray[Any], side: int) -> bytes:
    """A JPEG of ``image`` (H, W, C), uint8 or deeper, shrunk to ``side``; grey stays grey."""
    small = shrink(to_display(image), side)
    grey = small[:, :, 0]
    if (small == grey[:, :, None]).all():
        pixels: Image = grey
    else:
        pixels = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2BGR), dtype=np.uint8)
    _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return data.tobytes()


def fitting_side(samples: Sequence[NDArray[Any]], count: int, megabytes: float) -> int:
    """The largest side with which ``count`` thumbnails like ``samples`` fit into a page.

    ``megabytes`` (10^6 bytes) are those of the page, where a JPEG grows by a third. The smallest
    side when none fits.
    """
    for side in _SIDES[:-1]:
        mean = sum(len(thumbnail(image, side)) for image in samples) / len(samples)
        if mean * count * _BASE64 <= megabytes * 1e6:
            return side
    return _SIDES[-1]
