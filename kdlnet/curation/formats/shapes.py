"""What people draw around a defect, as boxes: pixels of the image, x to the right, y down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, hypot, sin

import numpy as np

from kdlnet.data.outlines import Outline

Box = tuple[float, float, float, float]
Point = tuple[float, float]

POINTS = "points"  # kinds that may be flat: they are one pixel thick then
LINE = "line"
STRETCHED = frozenset({"box", "polygon", LINE, POINTS})
"""Kinds whose box may be stretched in one direction alone, as shares of the image are."""


class Unusable(Exception):
    """The reason why an object of an annotation file is no box, as a short key."""


@dataclass(frozen=True, slots=True)
class Shape:
    """One object as its annotation file has it, not yet checked.

    ``line`` counts the objects of the file from 1; ``box`` (x1, y1, x2, y2) in the file's own
    pixels; ``kind`` is what was drawn: "box", or what the box was made from. Shapes of one image,
    class and ``group`` are parts of one object, "" for those that stand alone. ``outline`` is the
    polygon within the box, where one was drawn.
    """

    line: int
    name: str
    box: Box
    kind: str = "box"
    group: str = ""
    outline: Outline | None = None


def box_around(points: Sequence[Point]) -> Box:
    """The box of points in pixels. Raises Unusable for none and for one that is no number."""
    if not points:
        raise Unusable("incomplete")
    if not np.isfinite(points).all():  # min and max pass over a NaN that is not the first
        raise Unusable("nan")
    xs, ys = zip(*points, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def outline_of(points: Sequence[Point]) -> Outline | None:
    """The polygon of ``points``; None where they are too few for one."""
    return np.array(points, np.float64) if len(points) > len("xy") else None


def box_of_points(points: Sequence[Point]) -> Box:
    """As :func:`box_around`, where one place alone has no extent. Raises Unusable."""
    box = box_around(points)
    if box[:2] == box[2:]:
        raise Unusable("point")
    return box


def box_of_circle(points: Sequence[Point]) -> Box:
    """From the centre and a point on the circle. Raises Unusable for more or fewer."""
    if len(points) != 2:
        raise Unusable("incomplete")
    (x, y), (on_x, on_y) = points
    return box_reaching(x, y, *(2 * [hypot(on_x - x, on_y - y)]))


def box_of_turned(x: float, y: float, width: float, height: float, angle: float) -> Box:
    """Around a box turned by ``angle`` (radians) about its centre (x, y)."""
    across, along = abs(cos(angle)), abs(sin(angle))
    half_width, half_height = abs(width) / 2, abs(height) / 2
    reach_x = half_width * across + half_height * along
    return box_reaching(x, y, reach_x, half_width * along + half_height * across)


def box_of_ellipse(x: float, y: float, rx: float, ry: float, angle: float) -> Box:
    """Around an ellipse turned by ``angle`` (radians) about its centre (x, y)."""
    reach_x = hypot(rx * cos(angle), ry * sin(angle))
    return box_reaching(x, y, reach_x, hypot(rx * sin(angle), ry * cos(angle)))


def box_reaching(x: float, y: float, reach_x: float, reach_y: float) -> Box:
    """x1, y1, x2, y2 around the centre x, y; the reaches are half of its sides."""
    return x - reach_x, y - reach_y, x + reach_x, y + reach_y


def thick(box: Box) -> Box:
    """A flat box of a line with the one pixel that it covers."""
    x1, y1, x2, y2 = box
    if x1 == x2:
        x1, x2 = x1 - 0.5, x2 + 0.5
    if y1 == y2:
        y1, y2 = y1 - 0.5, y2 + 0.5
    return x1, y1, x2, y2
