"""Labels of an image, their YOLO files, and what was wrong with them.

Rows are ``class cx cy w h`` or ``class x1 y1 x2 y2 x3 y3 ...``, all as shares of the image.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kdlnet.data.outlines import Outline
from kdlnet.data.rows import (
    DECIMALS,
    Box,
    Fault,
    RowForm,
    clip,
    columns_of,
    form_of,
    parse_row,
    polygon_columns,
)
from kdlnet.errors import DataError
from kdlnet.utils.text import decode

FEW = 20
"""Boxes of a class below which its figures are chance and it can hardly be learned, roughly."""

_ADVICE = {
    "columns": "a row has 5 columns (class cx cy w h) or a class and at least 3 points; with "
    "keypoints data.yaml says kpt_shape",
    "score": "predictions with a score, or boxes with an id or an angle, are no labels: write "
    "class cx cy w h",
    "track id": "a box with score and id is no label, remove both; a triangle repeats its "
    "first corner",
    "keypoints": "with keypoints data.yaml says kpt_shape: [how many, 2 or 3], and rows have class "
    "cx cy w h and that many columns; a polygon starts at another corner",
    "number": "every column is a number with a decimal point, columns have spaces between them",
    "nan": "every column is a finite number",
    "class": "the class is a whole number from 0 to the number of classes - 1",
    "outside": "a box lies in its image: is it another one's? Rows of .txt files hold shares of "
    "width and height, from 0 to 1, not pixels",
    "clipped": "boxes stay inside the image",
    "degenerate": "boxes have a width and a height above 0",
    "duplicate": "a row appears once",
    "swapped corners": "left and right, or top and bottom, were in the wrong order",
    "size": "annotate the image as it is now, or bring back the one that was annotated",
    "size field": "the boxes fit the image, so only the size that is written is wrong",
    "decimal comma": "write numbers with a decimal point",
    "two sizes": "width and height are those of the image: write the right ones, or neither",
    "crowd": "a region of many objects is no single box",
    "point": "a point has no area: draw a box or a polygon",
    "only embedded": "bring the image file; the copy inside the JSON may be another encoding",
    "no image": "no image file of this name is below the source: bring it, or name --images",
    "no mask": "no mask of this name: draw one, or name the folders of good parts with --good",
    "ambiguous": "several files fit: name the folder with --images, or mirror the folders",
    "no split": "no split of the data.yaml names it: add its folder there",
    "no annotation": "every image of this set has one: bring its file",
    "not listed": "the annotations do not speak of this image: whether it is good is not known",
    "empty mask": "neither a good part nor a box: mend the mask or move the image",
    "faint region": "below half of the mask's range beside stronger ones: paint it white, or black "
    "where it is none",
    "marked good part": "its folder says good, its mask does not: empty the mask or move the image",
    "mask in alpha": "its colours are one value, and alpha is not read: save the mask as grey",
    "partial": "what was drawn there would be learned as background: mend it, or keep the image "
    "without it with --keep-partial",
    "category": "its category is none of the file's: add it to the list of categories",
    "incomplete": "it has no class or no place that can be read",
    "cut off": "the row ends before it says whether something was drawn: bring the whole table, or "
    "write its empty cells, and the end of the last line",
    "shares": "numbers from 0 to 1 are shares of the image's width and height; here are pixels",
    "tag": "a tag has no place in the image: draw a box",
    "hidden": "the annotation says that it is not in this picture",
    "another form": "the file holds numbers, but none where this format has its boxes",
    "no such image": "its image is not in the list of images",
    "unsure": "an annotation that belongs to no image may be this one's",
    "labels elsewhere": "they are not where the labels of this image belong",
    "not in the dataset": "the data.yaml of --onto lists no image of this place or content",
    "elsewhere": "it lies outside of the source: name its folder with --images",
}


@dataclass(frozen=True)
class ImageLabels:
    """Boxes of one image.

    ``boxes`` (N, 4) float64 as (x1, y1, x2, y2), shares of the image's width and height in
    [0, 1] with ``x1 < x2`` and ``y1 < y2``; ``labels`` (N,) int64. ``outlines`` holds for each box
    the polygon in the same shares that it goes around, None where that tells no more; where none
    is given, none does. ``looked_for`` (C,) are the classes whose defects are labelled where there
    are any, None: all of them; of others the image says nothing. ``whole`` are those of the whole
    image where these are of a region: the same first, uncut.
    """

    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    outlines: Sequence[Outline | None] = ()
    looked_for: NDArray[np.bool_] | None = None
    whole: ImageLabels | None = None

    @property
    def polygons(self) -> int:
        """How many of the boxes go around an outline."""
        return sum(outline is not None for outline in self.outlines)


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

    @property
    def advice(self) -> str:
        """What to do about it, "" where the reason says it all."""
        return _ADVICE.get(self.reason, "")

    def place(self, file: Path | str) -> str:
        """``file``, as it is to be shown, with the line."""
        return f"{file}:{self.line}" if self.line else str(file)

    def __str__(self) -> str:
        advice = f" ({self.advice})" if self.advice else ""
        where = self.place(self.file)
        return f"{where}: {self.reason}: {self.value!r}{advice}"


@dataclass(frozen=True)
class Split:
    """Images of one split, their labels, and the label rows that were dropped or clipped.

    ``left_out`` names, one line an image, those that cannot be taken as labelled; they are not
    among ``paths``. ``warnings`` are lines about the label files and results among the
    images, the gravest first.
    """

    paths: list[Path]
    labels: list[ImageLabels]
    problems: list[LabelProblem]
    left_out: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


_HARMLESS = frozenset({"duplicate", "degenerate", "small region", "tag"})


def reason_to_leave_out(boxes: int, problems: Iterable[LabelProblem]) -> LabelProblem | None:
    """Why an image with ``boxes`` good boxes must not be taken as labelled; None if it may.

    What was dropped was drawn where a defect is: without it the defect would be learned as
    background, and without any box the image as a good part. So one thing that was not understood
    is enough. Something that is there twice loses nothing; a box without an area was a slip
    of the hand, unless it is all there is.
    """
    dropped = [problem for problem in problems if problem.action == "dropped"]
    lost = [problem for problem in dropped if problem.reason not in _HARMLESS]
    return next(iter(lost or ([] if boxes else dropped)), None)


def parse_rows(
    text: str, file: Path, num_classes: int, form: RowForm | None = None
) -> tuple[ImageLabels, list[LabelProblem]]:
    """The boxes in the text of a label file; ``file`` is only named in the problems.

    Five columns are a box; a polygon is kept beside the box around it. ``form`` says what other
    rows of the dataset are, None decides by this file alone. Blank lines and comments are skipped.
    Faulty rows are dropped, boxes and polygons that reach past the border are clipped, and each
    such row gives one problem.
    """
    lines = text.splitlines()
    rows = {number: columns_of(line) for number, line in enumerate(lines, start=1)}
    form = form_of(rows.values()) if form is None else form
    boxes: list[Box] = []
    labels: list[int] = []
    outlines: list[Outline | None] = []
    problems: list[LabelProblem] = []
    seen = set()
    for number, columns in rows.items():
        if not columns:
            continue
        value = _short(lines[number - 1])
        try:
            row = parse_row(columns, num_classes, form)
            box, past = clip(row)
            if (row.label, box) in seen:
                raise Fault("duplicate")
        except Fault as fault:
            problems.append(LabelProblem(file, number, str(fault), value, "dropped"))
            continue
        if past:
            problems.append(LabelProblem(file, number, "clipped", value, "clipped"))
        seen.add((row.label, box))
        boxes.append(box)
        labels.append(row.label)
        outlines.append(row.outline)
    found = np.array(boxes, np.float64).reshape(-1, 4), np.array(labels, np.int64).reshape(-1)
    return ImageLabels(*found, outlines), problems


def read_labels(
    file: Path, num_classes: int, form: RowForm | None = None
) -> tuple[ImageLabels, list[LabelProblem]]:
    """The labels in ``file``. A missing or empty file is a good part: no boxes, no problem.

    ``form`` is as for :func:`parse_rows`. Raises DataError when the file exists but cannot be read.
    """
    try:
        text = decode(_bytes(file))
    except ValueError as error:
        problem = LabelProblem(file, 0, "encoding", str(error), "dropped")
        return parse_rows("", file, num_classes)[0], [problem]
    return parse_rows(text, file, num_classes, form)


def read_rows(file: Path) -> list[list[str]]:
    """The columns of every line of a label file; none of one that is missing or no text."""
    try:
        return [columns_of(line) for line in decode(_bytes(file)).splitlines()]
    except (DataError, ValueError):  # read_labels says it
        return []


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise DataError(f"cannot read label file {str(file)!r}: {error.strerror}") from None


def count_boxes(labels: Iterable[ImageLabels], names: Sequence[str]) -> dict[str, int]:
    """How many boxes each class of ``names`` has."""
    counts: Counter[int] = Counter()
    for image in labels:
        counts.update(image.labels.tolist())
    return {name: counts[label] for label, name in enumerate(names)}


def write_rows(
    file: Path,
    boxes: NDArray[np.float64],
    labels: NDArray[np.int64],
    outlines: Sequence[Outline | None] = (),
) -> None:
    """Writes rows ``class cx cy w h`` with eight decimals; reading them back errs below 1e-7.

    ``boxes`` (N, 4) as (x1, y1, x2, y2), shares of the image's sides; ``labels`` (N,). Where there
    is an outline, all rows are polygons ``class x1 y1 x2 y2 ...``, those of other boxes
    rectangles: tools that know polygons misread a file of both.
    """
    rows = []
    drawn = outlines or [None] * len(labels)
    polygons = any(outline is not None for outline in drawn)
    for box, label, outline in zip(boxes.tolist(), labels.tolist(), drawn, strict=True):
        x1, y1, x2, y2 = box
        numbers = [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1]
        if polygons:
            around = np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]])
            numbers = polygon_columns(around if outline is None else outline)
        rows.append(f"{label} " + " ".join(f"{number:.{DECIMALS}f}" for number in numbers) + "\n")
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


def _short(line: str) -> str:
    text = " ".join(line.split())
    return text if len(text) <= 60 else text[:57] + "..."
