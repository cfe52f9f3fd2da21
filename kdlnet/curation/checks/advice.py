"""Which image size, tiling and model level the boxes ask for."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from kdlnet.curation.checks.boxes import box_sides, scale, too_small
from kdlnet.curation.checks.survey import Survey, readable
from kdlnet.curation.findings import Finding

_SIZES = (224, 320, 416, 512, 640, 800, 960, 1280)
_STRIDE = 32
_COMFORT = 16.0  # pixels of the network input: two cells of the finest usual level, stride 8
_SHARE = 0.95
_LOST = 0.01  # of boxes that the camera shows and the network does not
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
    seen = {size: every * [[scale(one, (size, size))] for one in sizes] for size in choices}
    shares = {size: _comfortable(seen[size]) for size in choices}
    hopeless = too_small(every)  # for these no size is to blame
    lost = {size: float((too_small(seen[size]) & ~hopeless).mean()) for size in choices}
    kept = [size for size in choices if lost[size] <= _LOST]
    enough = [size for size in kept if shares[size] >= _SHARE]
    size = (enough or choices[-1:])[0]
    fix = f"--image-size {size}"
    if not kept:
        fix = f"--tile {_TILE} at the camera's own resolution"
    elif not enough and top > _SIZES[-1]:
        fix += f", or --tile {_TILE} at the camera's own resolution"
    if not enough and _comfortable(every if not kept else seen[size]) < _SHARE:
        fix += ", and a -p2 model"
    message = (
        f"at {size} pixels {shares[size]:.0%} of {len(every)} boxes have {_COMFORT:.0f} pixels "
        f"and more (root of the area), {too_small(seen[size]).mean():.1%} too few to learn"
    )
    value = {"image_size": size, "share": {str(key): round(shares[key], 3) for key in choices}}
    yield Finding("advice", "info", message, None, None, value, fix)


def _comfortable(sides: NDArray[np.float64]) -> float:
    """Share of boxes, (N, 2) sides in pixels, that are seen well."""
    return float((np.sqrt(sides.prod(axis=1)) >= _COMFORT).mean())
