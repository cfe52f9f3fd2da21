"""What every importer returns: one record an image, boxes in pixels of the original image."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from kdlnet.data.labels import LabelProblem

if TYPE_CHECKING:
    from kdlnet.types import ImageSize

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Record:
    """One image and its boxes.

    ``size`` (H, W); ``boxes`` (N, 4) float64 as (x1, y1, x2, y2) in pixels of the original image,
    inside it and with an area; ``names`` the class of each box. ``problems`` tell what was
    dropped or clipped on the way. ``split`` is set where the format knows it.
    """

    image: Path
    size: ImageSize
    boxes: NDArray[np.float64]
    names: tuple[str, ...]
    problems: tuple[LabelProblem, ...] = ()
    split: str | None = None


@dataclass(frozen=True)
class ImportOptions:
    """What a format cannot know by itself. Formats ignore the options of others.

    ``origin`` (voc): whether the first pixel is numbered 0 or 1; "auto" looks for a 0.
    ``good`` (masks): folders whose images are good parts. ``class_name`` (masks): the class of
    every box where folders do not tell it. ``min_area`` (masks): smallest component in pixels.
    """

    origin: Literal["auto", "0", "1"] = "auto"
    good: tuple[str, ...] = ()
    class_name: str | None = None
    min_area: int = 16


@dataclass(frozen=True)
class ImportResult:
    """Records in the order of their paths, and files that no record came from, by reason.

    ``names`` are the classes in the source's own order, empty where the format has none.
    """

    records: list[Record]
    left_out: list[LabelProblem]
    names: tuple[str, ...] = ()


def sort_out(found: Iterable[Record | LabelProblem]) -> ImportResult:
    """Records on one side, what could not become one on the other."""
    result = ImportResult([], [])
    for item in found:
        if isinstance(item, Record):
            result.records.append(item)
        else:
            result.left_out.append(item)
    return result


def make_record(
    image: Path,
    size: ImageSize,
    found: Iterable[tuple[int, str, Box]],
    source: Path,
    split: str | None = None,
) -> Record:
    """A Record from (line, class name, box) rows of the file ``source``.

    Boxes are clipped to the image; those outside, without area or repeated are dropped.
    """
    height, width = size
    boxes: list[Box] = []
    names: list[str] = []
    problems: list[LabelProblem] = []
    seen = set()
    for line, name, (x1, y1, x2, y2) in found:
        box = (max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height)))
        reason = _fault((x1, y1, x2, y2), box, (name, box) in seen)
        value = f"{name} {x1:g} {y1:g} {x2:g} {y2:g}"
        if reason:
            problems.append(LabelProblem(source, line, reason, value, "dropped"))
            continue
        if box != (x1, y1, x2, y2):
            problems.append(LabelProblem(source, line, "clipped", value, "clipped"))
        seen.add((name, box))
        boxes.append(box)
        names.append(name)
    array = np.array(boxes, np.float64).reshape(-1, 4)
    return Record(image, size, array, tuple(names), tuple(problems), split)


def _fault(raw: Box, clipped: Box, repeated: bool) -> str:
    if not (np.isfinite(raw).all()):
        return "nan"
    if raw[0] >= raw[2] or raw[1] >= raw[3]:
        return "degenerate"
    if clipped[0] >= clipped[2] or clipped[1] >= clipped[3]:
        return "outside"
    return "duplicate" if repeated else ""
