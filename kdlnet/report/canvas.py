"""A picture with boxes, labels and a legend, sized for the picture it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kdlnet.report.colors import Color, text_color
from kdlnet.report.images import Image, enlarge, enlargement
from kdlnet.report.text import render, shorten

_HALO: Color = (16, 16, 16)
_BAND: Color = (32, 32, 32)
_WHITE: Color = (255, 255, 255)
SOLID, DASHED, DOTTED = (1, 0), (4, 3), (1, 2)  # on and off, in units of three line widths

Rectangle = tuple[int, int, int, int]  # x0, y0, x1, y1 in picture pixels, the end excluded


@dataclass(frozen=True, slots=True)
class Mark:
    """A box (4,) xyxy in pixels of the original image, with its label and looks."""

    box: Sequence[float]
    text: str
    color: Color
    style: tuple[int, int] = SOLID


def draw_marks(image: Image, marks: Sequence[Mark]) -> Image:
    """Boxes, then labels, on a copy of (H, W, 3); small images are enlarged by a whole factor.

    Marks come by importance: the first ones get the best places for their labels. Lines run
    around a box, not on it, and labels stay inside the picture. A label that finds no place
    without hiding a box or another label is left out: of many small defects each is seen.
    """
    factor = enlargement(*image.shape[:2])
    picture = enlarge(image, factor) if factor > 1 else image.copy()
    width = line_width(picture)
    frames = [_frame(picture, mark, factor, width) for mark in marks]
    for mark, frame in zip(reversed(marks), reversed(frames), strict=True):
        _outline(picture, frame, width, mark)
    size = text_size(picture)
    labels: list[tuple[Rectangle, Mark]] = []
    for mark, frame in zip(marks, frames, strict=True):
        if not mark.text:
            continue
        taken = [place for place, _ in labels]
        place = _place(picture, mark.text, frame, size, taken, frames)
        if place is None and not labels:  # the most important one is always told
            place = _place(picture, mark.text, frame, size, taken, ())
        if place is not None:
            labels.append((place, mark))
    for place, mark in reversed(labels):
        _label(picture, place, mark, size)
    return picture


def line_width(picture: Image) -> int:
    """Pixels of a box line: 2 on a picture of 400x400, 5 on one of 2000x3000."""
    return max(2, round(math.sqrt(picture.shape[0] * picture.shape[1]) / 450))


def text_size(picture: Image) -> int:
    """Pixels of label text: 13 on a picture of 400x400, 35 on one of 2000x3000."""
    mean_side = math.sqrt(picture.shape[0] * picture.shape[1])
    return max(13, round(math.sqrt(mean_side * math.sqrt(mean_side)) / 10))


def add_legend(picture: Image, entries: Sequence[tuple[str, Color, tuple[int, int]]]) -> Image:
    """A dark band below the picture: a piece of line and a text for every entry."""
    size, width = text_size(picture), line_width(picture)
    line_height = render("Ag", size).shape[0] + 6
    sample, gap = 3 * size, size // 2
    slots, x, row = [], gap, 0
    for text, _, _ in entries:
        needed = sample + gap + render(text, size).shape[1] + 2 * gap
        if x > gap and x + needed > picture.shape[1]:
            x, row = gap, row + 1
        slots.append((x, row))
        x += needed
    band = np.full((line_height * (row + 1) + 6, picture.shape[1], 3), _BAND, np.uint8)
    for (text, color, style), (x, row) in zip(entries, slots, strict=True):
        top = 3 + row * line_height
        middle = top + (line_height - width) // 2
        for dash in _dashes((x, middle, x + sample, middle + width), style, width):
            _fill(band, dash, color)
        shown = shorten(text, size, max(1, picture.shape[1] - x - sample - gap))
        write_text(band, shown, size, x + sample + gap, top + 3, _WHITE)
    return np.concatenate([picture, band])


def _frame(picture: Image, mark: Mark, factor: int, width: int) -> Rectangle:
    """The outer edge of the line around a box, clipped so that all four sides stay visible."""
    height, length = picture.shape[:2]
    x1, y1, x2, y2 = (round(value * factor) for value in mark.box)
    least = 3 * width
    x0, y0 = max(0, min(x1 - width, length - least)), max(0, min(y1 - width, height - least))
    x3, y3 = max(x2 + width, x0 + least), max(y2 + width, y0 + least)
    return x0, y0, min(x3, length), min(y3, height)


def _outline(picture: Image, frame: Rectangle, width: int, mark: Mark) -> None:
    x0, y0, x1, y1 = frame
    sides = (
        (x0, y0, x1, y0 + width),
        (x0, y1 - width, x1, y1),
        (x0, y0, x0 + width, y1),
        (x1 - width, y0, x1, y1),
    )
    dashes = [dash for side in sides for dash in _dashes(side, mark.style, width)]
    # A dark rim of one pixel keeps every colour visible on every surface.
    for a0, b0, a1, b1 in dashes:
        _fill(picture, (a0 - 1, b0 - 1, a1 + 1, b1 + 1), _HALO)
    for dash in dashes:
        _fill(picture, dash, mark.color)


def _dashes(side: Rectangle, style: tuple[int, int], width: int) -> list[Rectangle]:
    """Cut a strip along its longer direction; a dash stands at both ends, so corners show."""
    x0, y0, x1, y1 = side
    across = x1 - x0 >= y1 - y0
    start, stop = (x0, x1) if across else (y0, y1)
    if not style[1]:
        return [side]
    on, off = 3 * width * style[0], 3 * width * style[1]
    count = max(2, round((stop - start + off) / (on + off)))
    # Short sides keep the pattern and get shorter dashes.
    step = (stop - start) / (count - 1 + on / (on + off))
    on = max(1, round(step * on / (on + off)))
    starts = np.linspace(start, stop - on, count).round().astype(int).tolist()
    if across:
        return [(at, y0, at + on, y1) for at in starts]
    return [(x0, at, x1, at + on) for at in starts]


def _fill(picture: Image, area: Rectangle, color: Color) -> None:
    x0, y0, x1, y1 = (max(0, value) for value in area)
    picture[y0:y1, x0:x1] = color


def _place(
    picture: Image,
    text: str,
    frame: Rectangle,
    size: int,
    taken: Sequence[Rectangle],
    frames: Sequence[Rectangle],
) -> Rectangle | None:
    """Where a label goes: above its box if there is room, never outside the picture.

    None where it would touch a label ``taken`` or cover more than half of a box of ``frames``.
    """
    height, length = picture.shape[:2]
    text_height, text_width = render(text, size).shape
    w, h = min(text_width + size // 2, length), min(text_height, height)
    x0, y0, x1, y1 = frame
    corners = (
        (x0, y0 - h),
        (x0, y1),
        (x1 - w, y0 - h),
        (x1 - w, y1),
        (x0, y0),
        (x0, y1 - h),
        (x1, y0),
        (x0 - w, y0),
    )
    best, least = None, math.inf
    for order, (x, y) in enumerate(corners):
        inside = max(0, min(x, length - w)), max(0, min(y, height - h))
        place = (*inside, inside[0] + w, inside[1] + h)
        # Being pushed off the wished place (and so maybe onto the defect) is worst, then the order.
        cost = abs(inside[1] - y) * w + abs(inside[0] - x) + order
        if cost < least and not (
            any(_overlap(place, label) for label in taken)
            or any(2 * _overlap(place, box) > _overlap(box, box) for box in frames)
        ):
            best, least = place, cost
    return best


def _overlap(a: Rectangle, b: Rectangle) -> int:
    across = min(a[2], b[2]) - max(a[0], b[0])
    down = min(a[3], b[3]) - max(a[1], b[1])
    return max(0, across) * max(0, down)


def _label(picture: Image, place: Rectangle, mark: Mark, size: int) -> None:
    _fill(picture, place, mark.color)
    text = shorten(mark.text, size, place[2] - place[0])
    write_text(picture, text, size, place[0] + size // 4, place[1], text_color(mark.color))


def write_text(picture: Image, text: str, size: int, x: int, y: int, color: Color) -> None:
    """Blend text in, its top left corner at (x, y); what leaves the picture is cut."""
    height, width = picture.shape[:2]  # narrower than a letter's margin: nothing of it is seen
    mask = render(text, size)[: max(0, height - y), : max(0, width - x)]
    area = picture[y : y + mask.shape[0], x : x + mask.shape[1]]
    cover = mask[:, :, None].astype(np.float32) / 255.0
    area[:] = np.rint(area * (1 - cover) + np.array(color, dtype=np.float32) * cover).astype(
        np.uint8
    )
