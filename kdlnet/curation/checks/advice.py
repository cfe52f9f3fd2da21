"""Which image size, tiling and model level the boxes ask for."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from kdlnet.curation.checks.boxes import box_sides, scale, too_small
from kdlnet.curation.checks.survey import Survey, readable
from kdlnet.curation.findings import Finding
from kdlnet.data.seen import seen_at
from kdlnet.utils.words import counted

_COMFORT = 16.0  # pixels of the network input: two cells of the finest usual level, stride 8


def check_advice(survey: Survey) -> Iterator[Finding]:
    """The network input that training chooses, and how many boxes are often missed in it.

    None where no image with boxes can be decoded: their headers alone are no ground for advice.
    """
    boxed = [each for each in readable(survey.of("train")) if len(each[0].labels.labels)]
    if survey.learned is None or not boxed:
        return
    seen = seen_at(survey.learned)
    height, width = seen.image_size
    sides = np.concatenate(
        [
            box_sides(image, pixels) * scale(seen.tile or pixels.size, seen.image_size)
            for image, pixels in boxed
        ]
    )
    small = too_small(sides)
    lost = float(small.mean())
    message = seen.why
    if lost:
        boxes = counted(len(sides), "box", "boxes")
        message = f"{small.sum()} of {boxes} so small that many are missed at {message}"
    tile = "" if seen.tile is None else f"--tile {seen.tile[0]} "
    fix = f"train chooses it: {tile}--image-size {height}x{width}"
    if np.percentile(np.sqrt(sides.prod(axis=1)), 10) < _COMFORT:
        fix += "; such small boxes ask for a -p2 model"
    value = {"image_size": [height, width], "tile": seen.tile and list(seen.tile), "lost": lost}
    yield Finding("advice", "info", message, None, None, value, fix)
