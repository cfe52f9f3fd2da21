"""What a row of a YOLO label file is: a box, a polygon, or something that is no label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from kdlnet.data.outlines import Outline, box_within, tells_more

Box = tuple[float, float, float, float]

BOX_COLUMNS = 5
DECIMALS = 8
"""Of what is written: reading it back errs below 1e-7."""

_ROUNDING = 1e-5  # six decimals reach past the border by so much; no fault of the labels
_NO_SHARE = 2.0  # an object may reach past the border, but not by its image's size: pixels
_MOST = 0.9  # of the longer rows: keypoints have one number of columns, polygons have many
_VISIBILITIES = (0, 1, 2)


class Fault(Exception):
    """The reason why a row cannot be used, as a short key."""


@dataclass(frozen=True)
class RowForm:
    """What follows ``class cx cy w h`` in the rows of one dataset.

    ``keypoints`` is the number of columns that data.yaml announces, None where it has no
    ``kpt_shape``. ``foreign`` tells of a number of columns why such rows are no polygons.
    """

    keypoints: int | None = None
    foreign: Mapping[int, str] = field(default_factory=dict)


def columns_of(line: str) -> list[str]:
    """The columns of a line, without a comment behind ``#``."""
    return line.partition("#")[0].split()


@dataclass(frozen=True, slots=True)
class Row:
    """A class and a box (x1, y1, x2, y2) not yet clipped; ``outline`` is what it goes around.

    None where that is no more than the box.
    """

    label: int
    box: Box
    outline: Outline | None = None


def parse_row(columns: Sequence[str], num_classes: int, form: RowForm) -> Row:
    """What the columns of a row say. Raises Fault."""
    count = len(columns)
    if any(sign in column for column in columns for sign in ",;"):
        raise Fault("number")  # one column of five numbers, or decimal commas
    is_box = count == BOX_COLUMNS
    if form.keypoints is not None:
        if count not in (BOX_COLUMNS, BOX_COLUMNS + form.keypoints):
            raise Fault("keypoints")
        is_box = True
    elif count == BOX_COLUMNS + 1:
        raise Fault("score")
    elif not is_box and (count < BOX_COLUMNS + 2 or count % 2 == 0):
        raise Fault("columns")
    try:
        values = [float(column) for column in columns]
    except ValueError:
        raise Fault("number") from None
    if not all(isfinite(value) for value in values):
        raise Fault("nan")
    label = int(values[0])
    if label != values[0] or not 0 <= label < num_classes:
        raise Fault("class")
    if is_box:
        return Row(label, _box(values[1:BOX_COLUMNS]))
    outline = np.array(values[1:]).reshape(-1, 2)
    return Row(label, _hull(values[1:], form), outline if tells_more(outline) else None)


def clip(row: Row) -> tuple[Box, bool]:
    """The box of what is inside the image, and whether a part was outside, not by rounding alone.

    Raises Fault.
    """
    x1, y1, x2, y2 = row.box
    if x1 >= x2 or y1 >= y2:
        raise Fault("degenerate")
    if x1 >= 1 or y1 >= 1 or x2 <= 0 or y2 <= 0:
        raise Fault("outside")
    box = max(x1, 0.0), max(y1, 0.0), min(x2, 1.0), min(y2, 1.0)
    past = max(abs(a - b) for a, b in zip(row.box, box, strict=True)) > _ROUNDING
    if row.outline is None or not past:
        return box, past
    inside = box_within(row.outline, (0.0, 0.0, 1.0, 1.0))
    if inside is None:  # its box reaches in, it does not
        raise Fault("outside")
    return inside, past


def polygon_columns(outline: Outline) -> list[float]:
    """The corners of a polygon row, shares of the image, from one that leaves no doubt.

    A triangle's first corner is there twice, and of no row can be thought that it is a box with
    keypoints.
    """
    if len(outline) == len("xyz"):
        outline = np.concatenate((outline, outline[:1]))
    turns = (np.roll(outline, -k, axis=0).reshape(-1) for k in range(len(outline)))
    rows = (np.round(row, DECIMALS) for row in turns)
    found = next(row for row in rows if not _like_keypoints(np.array([0, *row]))[1])
    columns: list[float] = found.tolist()
    return columns


def form_of(rows: Iterable[Sequence[str]]) -> RowForm:
    """The form of a dataset whose data.yaml says nothing of keypoints, from all of its rows.

    Rows of ``class cx cy w h score id`` and of keypoints can have as many columns as polygons. They
    are told by their numbers: an id of 2 and more is no coordinate; keypoints lie inside a
    box, and the point (w, h) far from them.
    """
    foreign: dict[int, str] = {}
    fitting: Counter[int] = Counter()
    sure = set()
    total = 0
    for columns in rows:
        count = len(columns)
        if count < BOX_COLUMNS + 2 or count % 2 == 0:
            continue
        try:
            values = np.array(columns, np.float64)
        except ValueError:
            continue
        total += 1
        if count == BOX_COLUMNS + 2 and values[-1] >= _NO_SHARE and values[-1].is_integer():
            foreign[count] = "track id"
        fits, clear = _like_keypoints(values)
        fitting[count] += fits
        sure |= {count} if clear else set()
    found = {count: "keypoints" for count in sure if fitting[count] >= _MOST * total}
    return RowForm(foreign=found | foreign)


def _box(values: Sequence[float]) -> Box:
    cx, cy, width, height = values
    if width <= 0 or height <= 0:
        raise Fault("degenerate")
    if max(values) >= _NO_SHARE:
        raise Fault("outside")
    return cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2


def _hull(values: Sequence[float], form: RowForm) -> Box:
    count = len(values) + 1
    if count in form.foreign:
        raise Fault(form.foreign[count])
    if count == BOX_COLUMNS + 2 and values[-1].is_integer():
        raise Fault("track id")  # a corner on the border, or the object's number: not to be told
    if max(map(abs, values)) >= _NO_SHARE:
        raise Fault("outside")
    xs, ys = values[0::2], values[1::2]
    return min(xs), min(ys), max(xs), max(ys)


def _like_keypoints(values: NDArray[np.float64]) -> tuple[bool, bool]:
    """Whether a row can be a box with keypoints, and whether it can be nothing else."""
    centre, size = values[1:3], values[3:BOX_COLUMNS]
    low, high = centre - size / 2, centre + size / 2
    if (size <= 0).any() or (low < -0.01).any() or (high > 1.01).any():
        return False, False
    rest = values[BOX_COLUMNS:]
    if len(rest) % 3 == 0:
        points = rest.reshape(-1, 3)
        seen = points[:, 2] > 0
        if np.isin(points[:, 2], _VISIBILITIES).all() and _inside(points[seen, :2], centre, size):
            return True, True
    points = rest.reshape(-1, 2)
    if not _inside(points[points.any(axis=1)], centre, size):
        return False, False
    around = np.vstack([points, centre])
    least, most = around.min(axis=0), around.max(axis=0)
    distance = np.maximum(least - size, size - most).max()
    return True, bool(distance > max((most - least).max(), 0.01))


def _inside(
    points: NDArray[np.float64], centre: NDArray[np.float64], size: NDArray[np.float64]
) -> bool:
    """Whether (N, 2) points lie in a box, or by a little beside it."""
    return bool((np.abs(points - centre) <= 0.6 * size).all())
