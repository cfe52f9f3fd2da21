"""YOLO label files: rows ``class cx cy w h`` or ``class x1 y1 x2 y2 x3 y3 ...``, all normalized."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kdlnet.errors import DataError

# Rows with six decimals reach past the border by rounding alone; that is no fault of the labels.
_ROUNDING = 1e-5

FEW = 20
"""Boxes of a class below which its figures are chance and it can hardly be learned, roughly."""

_ADVICE = {
    "columns": "a row has 5 columns (class cx cy w h) or a class and at least 3 points",
    "number": "every column is a number",
    "nan": "every column is a finite number",
    "class": "the class is a whole number from 0 to the number of classes - 1",
    "outside": "coordinates are shares of the image's width and height, from 0 to 1",
    "clipped": "boxes stay inside the image",
    "degenerate": "boxes have a width and a height above 0",
    "duplicate": "a row appears once",
    "swapped corners": "left and right, or top and bottom, were in the wrong order",
    "size": "annotate the image as it is now, or bring back the one that was annotated",
    "size field": "the boxes fit the image, so only the size that is written is wrong",
    "crowd": "a region of many objects is no single box",
    "line": "a line has no area: draw a box or a polygon",
    "point": "a point has no area: draw a box or a polygon",
    "only embedded": "bring the image file; the copy inside the JSON may be another encoding",
    "no image": "no image file of this name is below the source: bring it, or name --images",
    "no mask": "no mask of this name: draw one, or name the folders of good parts with --good",
    "ambiguous": "several files fit: name the folder with --images, or mirror the folders",
    "not listed": "the annotations do not speak of this image: whether it is good is not known",
    "empty mask": "neither a good part nor a box: mend the mask or move the image",
}


@dataclass(frozen=True)
class ImageLabels:
    """Boxes of one image.

    ``boxes`` (N, 4) float64 as (x1, y1, x2, y2), shares of the image's width and height in
    [0, 1] with ``x1 < x2`` and ``y1 < y2``; ``labels`` (N,) int64.
    """

    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class LabelProblem:
    """A row that was dropped, clipped or otherwise repaired. ``reason`` is a short key.

    ``line`` counts from 1 (in XML the objects count); 0 stands for the whole file.
    """

    file: Path
    line: int
    reason: str
    value: str
    action: Literal["dropped", "clipped", "repaired"]

    def __str__(self) -> str:
        advice = f" ({_ADVICE[self.reason]})" if self.reason in _ADVICE else ""
        where = f"{self.file}:{self.line}" if self.line else str(self.file)
        return f"{where}: {self.reason}: {self.value!r}{advice}"


class _Fault(Exception):
    """The reason why a row cannot be used."""


def parse_rows(text: str, file: Path, num_classes: int) -> tuple[ImageLabels, list[LabelProblem]]:
    """The boxes in the text of a label file; ``file`` is only named in the problems.

    Five columns are a box, an odd number from seven on a polygon (its box is taken). A sixth
    column, such as a score, is a problem "columns". Blank lines are skipped. Faulty rows are
    dropped, boxes that reach past the border are clipped, and each such row gives one problem.
    """
    boxes: list[tuple[float, float, float, float]] = []
    labels: list[int] = []
    problems: list[LabelProblem] = []
    seen = set()
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            label, raw = _parse_row(line, num_classes)
            box = _clip(raw)
            if (label, box) in seen:
                raise _Fault("duplicate")
        except _Fault as fault:
            problems.append(LabelProblem(file, number, str(fault), _short(line), "dropped"))
            continue
        if max(abs(a - b) for a, b in zip(raw, box, strict=True)) > _ROUNDING:
            problems.append(LabelProblem(file, number, "clipped", _short(line), "clipped"))
        seen.add((label, box))
        boxes.append(box)
        labels.append(label)
    return (
        ImageLabels(
            np.array(boxes, np.float64).reshape(-1, 4), np.array(labels, np.int64).reshape(-1)
        ),
        problems,
    )


def read_labels(file: Path, num_classes: int) -> tuple[ImageLabels, list[LabelProblem]]:
    """The labels in ``file``. A missing or empty file is a good part: no boxes, no problem.

    Raises DataError when the file exists but cannot be read.
    """
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        data = b""
    except OSError as error:
        raise DataError(f"cannot read label file {str(file)!r}: {error.strerror}") from None
    return parse_rows(data.decode("utf-8-sig", errors="replace"), file, num_classes)


def count_boxes(labels: Iterable[ImageLabels], names: Sequence[str]) -> dict[str, int]:
    """How many boxes each class of ``names`` has."""
    counts: Counter[int] = Counter()
    for image in labels:
        counts.update(image.labels.tolist())
    return {name: counts[label] for label, name in enumerate(names)}


def write_rows(file: Path, boxes: NDArray[np.float64], labels: NDArray[np.int64]) -> None:
    """Writes rows ``class cx cy w h`` with eight decimals; reading them back errs below 1e-7.

    ``boxes`` (N, 4) as (x1, y1, x2, y2), shares of the image's sides; ``labels`` (N,).
    """
    rows = []
    for (x1, y1, x2, y2), label in zip(boxes.tolist(), labels.tolist(), strict=True):
        numbers = ((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1)
        rows.append(f"{label} " + " ".join(f"{number:.8f}" for number in numbers) + "\n")
    file.write_text("".join(rows), encoding="utf-8", newline="\n")


def summarize(problems: Sequence[LabelProblem]) -> str:
    """One line for people: counts by action and reason, and where the first one is; "" if none."""
    if not problems:
        return ""
    actions = Counter(problem.action for problem in problems)
    reasons = Counter(problem.reason for problem in problems if problem.action == "dropped")
    parts = [f"{count} {action}" for action, count in sorted(actions.items())]
    why = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
    head = f"label rows: {', '.join(parts)}" + (f" (dropped: {why})" if why else "")
    return f"{head}; first {problems[0]}"


def refuse_problems(problems: Sequence[LabelProblem]) -> None:
    """Raises DataError that names the first problem's file and line, if there is one (--strict)."""
    if problems:
        more = f"; {len(problems) - 1} more" if len(problems) > 1 else ""
        raise DataError(f"label row at {problems[0]}{more}: mend it or run without --strict")


def _parse_row(line: str, num_classes: int) -> tuple[int, tuple[float, float, float, float]]:
    """Class and box (x1, y1, x2, y2), neither clipped nor checked against the image."""
    columns = line.split()
    if len(columns) != 5 and (len(columns) < 7 or len(columns) % 2 == 0):
        raise _Fault("columns")
    try:
        values = [float(column) for column in columns]
    except ValueError:
        raise _Fault("number") from None
    if not all(isfinite(value) for value in values):
        raise _Fault("nan")
    label = int(values[0])
    if label != values[0] or not 0 <= label < num_classes:
        raise _Fault("class")
    if len(values) > 5:
        xs, ys = values[1::2], values[2::2]
        return label, (min(xs), min(ys), max(xs), max(ys))
    cx, cy, width, height = values[1:]
    if width <= 0 or height <= 0:
        raise _Fault("degenerate")
    return label, (cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2)


def _clip(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = box
    if x1 >= x2 or y1 >= y2:
        raise _Fault("degenerate")
    if x1 >= 1 or y1 >= 1 or x2 <= 0 or y2 <= 0:
        raise _Fault("outside")
    return max(x1, 0.0), max(y1, 0.0), min(x2, 1.0), min(y2, 1.0)


def _short(line: str) -> str:
    text = " ".join(line.split())
    return text if len(text) <= 60 else text[:57] + "..."
