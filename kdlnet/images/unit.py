"""Native pixels as a network reads them, in numpy: float32, the window mapped to [0, 1]."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from kdlnet.images.read import ImageArray
from kdlnet.types import Preprocess


def to_unit(pixels: NDArray[Any], preprocess: Preprocess) -> NDArray[np.float32]:
    """Native pixels of any shape as float32, the window mapped to [0, 1] and cut there."""
    low, high = preprocess.window
    unit = pixels.astype(np.float32)
    unit -= np.float32(low)
    unit *= np.float32(1 / (high - low))
    return np.clip(unit, 0, 1, out=unit)


def to_planes(pixels: ImageArray, preprocess: Preprocess) -> NDArray[np.float32]:
    """Native pixels (B, H, W, c) as network input (B, channels, H, W), c = 1 repeated."""
    count, height, width, channels = pixels.shape
    unit = np.empty((count, preprocess.channels, height, width), np.float32)
    table = to_unit(np.arange(256), preprocess).reshape(1, 256) if pixels.dtype == "u1" else None
    for image, planes in zip(pixels, unit, strict=True):
        for plane, channel in zip(planes, cv2.split(image), strict=False):
            if table is None:
                plane[:] = to_unit(channel, preprocess)
            else:
                cv2.LUT(channel, table, plane)
        planes[channels:] = planes[0]
    return unit
