"""Many pictures on one page."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from kdlnet.report.canvas import write_text
from kdlnet.report.images import Image
from kdlnet.report.text import render, shorten

_PAPER = (250, 250, 250)
_INK = (32, 32, 32)
_TEXT = 14
_GAP = 10


def contact_sheet(
    images: Sequence[Image],
    captions: Sequence[str] = (),
    *,
    columns: int | None = None,
    cell: int = 320,
) -> Image:
    """Pictures (H, W, 3) uint8 RGB of any sizes in rows, a one-line caption below each.

    Each is fitted into ``cell`` x ``cell`` pixels with its shape kept. ``columns`` defaults to
    a page somewhat wider than high. Captions too long for the cell end in an ellipsis. Raises
    ValueError without images or when captions and images differ in number.
    """
    if not images:
        raise ValueError("a contact sheet needs at least one image")
    captions = list(captions) or [""] * len(images)
    if len(captions) != len(images):
        raise ValueError(f"{len(images)} images, {len(captions)} captions")
    columns = columns or math.ceil(math.sqrt(len(images) * 1.3))
    columns = min(columns, len(images))
    fitted = [_fit(image, cell) for image in images]
    line = render("Ag", _TEXT).shape[0] + 4 if any(captions) else 0
    rows = [fitted[start : start + columns] for start in range(0, len(fitted), columns)]
    # A row is as high as its highest picture: no empty bands below wide ones.
    heights = [max(picture.shape[0] for picture in row) for row in rows]
    page = np.full(
        (sum(heights) + len(rows) * (line + _GAP) + _GAP, columns * (cell + _GAP) + _GAP, 3),
        _PAPER,
        np.uint8,
    )
    y = _GAP
    for row, height, first in zip(rows, heights, range(0, len(fitted), columns), strict=True):
        for column, picture in enumerate(row):
            x = _GAP + column * (cell + _GAP)
            _put(page, picture, x, y, cell, height)
            caption = shorten(captions[first + column], _TEXT, cell)
            write_text(page, caption, _TEXT, x, y + height + 2, _INK)
        y += height + line + _GAP
    return page


def _put(page: Image, picture: Image, x: int, y: int, width: int, height: int) -> None:
    """Place a picture in the middle of a free area."""
    h, w = picture.shape[:2]
    left, top = x + (width - w) // 2, y + (height - h) // 2
    page[top : top + h, left : left + w] = picture


def _fit(image: Image, cell: int) -> Image:
    height, width = image.shape[:2]
    scale = cell / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(image, size, interpolation=how), dtype=np.uint8)
