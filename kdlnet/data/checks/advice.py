"""Which image size, tiling and model level the boxes ask for."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from kdlnet.data.checks.boxes import box_sides, scale, too_small
from kdlnet.data.checks.finding import Finding
from kdlnet.data.checks.survey import Survey, readable

_SIZES = (224, 320, 416, 512, 640, 800, 960, 1280)
_STRIDE = 32
_COMFORT = 16.0  # pixels of the network input: two cells of the finest usual level, stride 8
_SHARE = 0.95
_TILE = 640


def check_advice(survey: Survey) -> Iterator[Finding]:
    """The smallest image size at which nearly all boxes are seen well, or tiles, or a -p2 model."""
    sides, sizes = [], []
    for image, pixels in readable(survey.images):
        found = box_sides(image, pixels)
        sides.append(found)
        sizes += [pixels.size] * len(found)
    if not sizes:
        return
    every = np.concatenate(sides)
    native = max(max(size) for size in set(sizes))
    # Beyond the camera's own pixels there is nothing to see.
    top = _STRIDE * -(-native // _STRIDE)
    choices = sorted({*(size for size in _SIZES if size < top), min(top, _SIZES[-1])})
    shares = {}
    for size in choices:
        scales = np.array([[scale(one, (size, size))] for one in sizes])
        seen = every * scales
        shares[size] = float((np.sqrt(seen.prod(axis=1)) >= _COMFORT).mean())
    enough = [size for size in choices if shares[size] >= _SHARE]
    size = enough[0] if enough else choices[-1]
    scales = np.array([[scale(one, (size, size))] for one in sizes])
    small = float(too_small(every * scales).mean())
    fix = f"--image-size {size}"
    if not enough and top > _SIZES[-1]:
        fix += f", or --tile {_TILE} at the camera's own resolution"
    if not enough:
        fix += ", and a -p2 model"
    message = (
        f"at {size} pixels {shares[size]:.0%} of {len(every)} boxes have {_COMFORT:.0f} pixels "
        f"and more (root of the area), {small:.1%} too few to learn"
    )
    value = {"image_size": size, "share": {str(key): round(shares[key], 3) for key in choices}}
    yield Finding("advice", "info", message, None, None, value, fix)
