"""The one way from an image to the size of the network input, for every verb."""

from __future__ import annotations

import cv2
import numpy as np

from kdlnet.images.read import ImageArray
from kdlnet.images.roi import looked_at
from kdlnet.images.tiles import Tile
from kdlnet.types import ImageSize, Letterbox, Preprocess


def letterbox(
    image: ImageArray, preprocess: Preprocess, tile: Tile | None = None
) -> tuple[ImageArray, Letterbox]:
    """``image`` (H, W, C), or a ``tile`` of it, scaled to fit ``preprocess.image_size``, padded.

    Without a tile it is the region of interest, where there is one. The aspect is kept, small
    images are enlarged and centred. Tiles have one scale, that of a full tile: what is smaller is
    padded, so that an object has the same size in all of them. dtype and channels stay; the fill is
    ``pad`` of the intensity window. When nothing has to change the image itself or a view of it is
    returned, not a copy. The Letterbox maps pixels of the original image to pixels of the network
    input, for a tile, too. Raises DataError where the image has not all of the region.
    """
    whole = image.shape[0], image.shape[1]
    x1, y1, x2, y2 = tile or looked_at(whole, preprocess.roi)
    part = image[y1:y2, x1:x2] if tile or preprocess.roi else image
    height, width = part.shape[:2]
    frame = preprocess.tiling.size if tile and preprocess.tiling else (height, width)
    input_height, input_width = preprocess.image_size
    new_height, new_width = _fitted((height, width), frame, preprocess.image_size)
    top, left = (input_height - new_height) // 2, (input_width - new_width) // 2
    scale = new_width / width, new_height / height
    geometry = Letterbox(
        original_size=whole,
        input_size=preprocess.image_size,
        scale=scale,
        offset=(left - x1 * scale[0], top - y1 * scale[1]),
        roi=preprocess.roi,
    )
    if (new_height, new_width) == preprocess.image_size:
        return _resize(part, (new_height, new_width)), geometry
    canvas: ImageArray = np.full(
        (input_height, input_width, image.shape[2]),
        fill_value(image.dtype, preprocess),
        image.dtype,
    )
    inside = canvas[top : top + new_height, left : left + new_width]
    scaled = _resize(part, (new_height, new_width), inside)
    if not np.may_share_memory(scaled, inside):
        inside[:] = scaled
    return canvas, geometry


def fill_value(dtype: np.dtype[np.generic], preprocess: Preprocess) -> int:
    """The padding's intensity in file units, within the range of the integer ``dtype``."""
    low, high = preprocess.window
    limit = np.iinfo(dtype.name).max
    return int(np.clip(round(low + preprocess.pad * (high - low)), 0, limit))


def _fitted(size: ImageSize, frame: ImageSize, box: ImageSize) -> ImageSize:
    """(H, W) of ``size`` by the scale that fits ``frame`` into ``box``; a side has 1 or more."""
    scale = min(box[0] / frame[0], box[1] / frame[1])
    height, width = (max(1, round(side * scale)) for side in size)
    return min(height, box[0]), min(width, box[1])


def _resize(image: ImageArray, size: ImageSize, into: ImageArray | None = None) -> ImageArray:
    """``image`` at ``size``; OpenCV writes it ``into`` an array of that size, if it can."""
    if image.shape[:2] == size:
        return image
    shrinks = size[0] < image.shape[0] or size[1] < image.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    resized = cv2.resize(image, (size[1], size[0]), dst=into, interpolation=method)
    return resized.reshape(*size, image.shape[2])  # OpenCV drops a single channel's axis
