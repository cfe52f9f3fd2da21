"""What a mask marks, region by region."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from kdlnet.curation.formats.shapes import Box
from kdlnet.data.outlines import Outline, outline_around


def regions_of(
    marked: NDArray[np.bool_], min_area: int
) -> tuple[list[tuple[Box, Outline]], list[int]]:
    """Boxes and outlines of the 8-connected regions of at least ``min_area`` pixels in (H, W).

    And the areas of the smaller ones. In pixels of the mask, from 0.
    """
    _, numbers, stats, _ = cv2.connectedComponentsWithStats(marked.astype(np.uint8), connectivity=8)
    regions: list[tuple[Box, Outline]] = []
    small: list[int] = []
    for number, (left, top, width, height, area) in enumerate(stats[1:].tolist(), start=1):
        if area < min_area:
            small.append(area)
        else:
            right, bottom = left + width, top + height
            outline = outline_around(numbers[top:bottom, left:right] == number)
            regions.append(((left, top, right, bottom), outline + np.array([left, top])))
    return regions, small
