"""What every importer returns: one entry an image, boxes in pixels of the original image."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from kdlnet.data.labels import LabelProblem
from kdlnet.errors import DataError
from kdlnet.images.read import image_size
from kdlnet.utils.text import decode

if TYPE_CHECKING:
    from kdlnet.types import ImageSize

Box = tuple[float, float, float, float]
ClassFrom = Literal["folder", "name", "value"]

NO_ANNOTATION = "no annotation: good part"  # what ``converted`` says of such an image

_ROUNDING = 0.01  # pixels past the border that tools with two decimals write
_SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
_CLASS_FILES = ("classes.txt", "obj.names")


class Unusable(Exception):
    """The reason why an object of an annotation file is no box, as a short key."""


@dataclass(frozen=True, slots=True)
class Shape:
    """One object as its annotation file has it, not yet checked.

    ``line`` counts the objects of the file from 1; ``box`` (x1, y1, x2, y2) in the file's own
    pixels; ``kind`` is what was drawn: "box", or what the box was made from.
    """

    line: int
    name: str
    box: Box
    kind: str = "box"


@dataclass(frozen=True)
class ImportedImage:
    """One image and its boxes.

    ``size`` (H, W); ``boxes`` (N, 4) float64 as (x1, y1, x2, y2) in pixels of the original image,
    inside it and with an area; ``names`` the class of each box. ``problems`` tell what was
    dropped or repaired on the way, ``converted`` what the boxes were made from that were not
    boxes before. ``split`` is set where the format knows it, "" for an image that its lists leave
    out.
    """

    path: Path
    size: ImageSize
    boxes: NDArray[np.float64]
    names: tuple[str, ...]
    problems: tuple[LabelProblem, ...] = ()
    split: str | None = None
    converted: tuple[str, ...] = ()


@dataclass(frozen=True)
class ImportOptions:
    """What a format cannot know by itself. Formats ignore the options of others: see OPTIONS_OF.

    ``origin`` (voc): whether the first pixel is numbered 0 or 1; "auto" looks for a 0.
    ``images`` (all but yolo): folder of the images where it is not the source.
    ``good`` (masks): folders whose images are good parts. ``class_from`` (masks): what tells the
    class; ``class_name`` (masks): the class of every box. ``values`` (masks by value): class of
    each pixel value, written ``"7"`` or ``"#ff0000"``; the other values are no defects.
    ``min_area`` (masks): smallest component in pixels.
    """

    origin: Literal["auto", "0", "1"] = "auto"
    images: Path | None = None
    good: tuple[str, ...] = ()
    class_from: ClassFrom = "folder"
    class_name: str | None = None
    values: Mapping[str, str] = field(default_factory=dict)
    min_area: int = 16


@dataclass(frozen=True)
class ImportResult:
    """Images in the order of their paths, and files that none came from, by reason.

    ``names`` are the classes in the source's own order, empty where the format has none.
    ``lost`` are rows that belong to no image. ``facts`` are for report.json, JSON-able: what was
    assumed about the source; ``warnings`` are lines about it.
    """

    images: list[ImportedImage]
    left_out: list[LabelProblem]
    names: tuple[str, ...] = ()
    lost: tuple[LabelProblem, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def sort_out(found: Iterable[ImportedImage | LabelProblem]) -> ImportResult:
    """Images on one side, what could not become one on the other."""
    result = ImportResult([], [])
    for item in found:
        if isinstance(item, ImportedImage):
            result.images.append(item)
        else:
            result.left_out.append(item)
    return result


def annotated_image(
    image: Path,
    shapes: Sequence[Shape],
    source: Path,
    *,
    written: tuple[int, int] = (0, 0),
    split: str | None = None,
    origin: int = 0,
    problems: Sequence[LabelProblem] = (),
) -> ImportedImage | LabelProblem:
    """One image with its boxes, or why it is left out.

    ``written`` is the size (H, W) that the annotation names, 0 where it does not; ``problems``
    are those the caller met. The rest is as for :func:`imported_image`.
    """
    try:
        size = image_size(image)
    except DataError as error:
        return LabelProblem(image, 0, "unreadable", str(error), "dropped")
    fault = _size_fault(image, size, written, shapes, source)
    if fault is not None and fault.action == "dropped":
        return fault
    result = imported_image(image, size, shapes, source, split, origin)
    before = (*problems, *((fault,) if fault else ()))
    return replace(result, problems=(*before, *result.problems))


def imported_image(
    image: Path,
    size: ImageSize,
    shapes: Iterable[Shape],
    source: Path,
    split: str | None = None,
    origin: int = 0,
) -> ImportedImage:
    """An image with the boxes of the ``shapes`` of the file ``source``.

    ``origin`` is the number of the first pixel; with 1 the right and lower pixels belong to the
    box. Swapped corners are put in order and boxes clipped to the image, both counted; those
    outside, without area or repeated are dropped.
    """
    height, width = size
    boxes: list[Box] = []
    names: list[str] = []
    converted: list[str] = []
    problems: list[LabelProblem] = []
    seen = set()
    for shape in shapes:
        value = f"{shape.name} " + " ".join(f"{side:g}" for side in shape.box)
        (x1, x2, swapped_x), (y1, y2, swapped_y) = (
            _ordered(shape.box[axis] - origin, shape.box[axis + 2], origin) for axis in (0, 1)
        )
        box = (max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height)))
        reason = _fault((x1, y1, x2, y2), box, (shape.name, box) in seen)
        if reason:
            problems.append(LabelProblem(source, shape.line, reason, value, "dropped"))
            continue
        if swapped_x or swapped_y:
            problems.append(LabelProblem(source, shape.line, "swapped corners", value, "repaired"))
        if max(abs(a - b) for a, b in zip(box, (x1, y1, x2, y2), strict=True)) > _ROUNDING:
            problems.append(LabelProblem(source, shape.line, "clipped", value, "clipped"))
        seen.add((shape.name, box))
        boxes.append(box)
        names.append(shape.name)
        converted += [] if shape.kind == "box" else [shape.kind]
    array = np.array(boxes, np.float64).reshape(-1, 4)
    return ImportedImage(image, size, array, tuple(names), tuple(problems), split, tuple(converted))


def box_around(points: Sequence[tuple[float, float]]) -> Box:
    """The box of points in pixels. Raises Unusable for none and for one that is no number."""
    if not points:
        raise Unusable("incomplete")
    if not np.isfinite(points).all():  # min and max pass over a NaN that is not the first
        raise Unusable("nan")
    xs, ys = zip(*points, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def split_named(text: str) -> str | None:
    """The split that a file, folder or subset name speaks of: ``instances_train2017`` is train."""
    words = re.findall("[a-z]+", text.lower())
    return next((_SPLIT_WORDS[word] for word in words if word in _SPLIT_WORDS), None)


def read_class_file(folder: Path) -> tuple[str, ...]:
    """Class names of a ``classes.txt`` or ``obj.names`` in ``folder``, one a line; () for none.

    Raises DataError for a name that appears twice, and for another encoding than UTF-8.
    """
    for name in _CLASS_FILES:
        file = folder / name
        if not file.is_file():
            continue
        try:
            lines = decode(file.read_bytes()).splitlines()
        except ValueError as error:
            raise DataError(f"{str(file)!r} {error}") from None
        names = tuple(line.strip() for line in lines if line.strip())
        for twice in names:
            if names.count(twice) > 1:
                raise DataError(
                    f"class {twice!r} appears twice in {str(file)!r}: names must differ"
                )
        return names
    return ()


def _ordered(low: float, high: float, origin: int) -> tuple[float, float, bool]:
    """Edges in order, and whether they were not. ``low`` has been moved by ``origin`` before."""
    return (high - origin, low + origin, True) if low > high else (low, high, False)


def _fault(raw: Box, clipped: Box, repeated: bool) -> str:
    if not (np.isfinite(raw).all()):
        return "nan"
    if raw[0] >= raw[2] or raw[1] >= raw[3]:
        return "degenerate"
    if clipped[0] >= clipped[2] or clipped[1] >= clipped[3]:
        return "outside"
    return "duplicate" if repeated else ""


def _size_fault(
    image: Path, size: ImageSize, written: tuple[int, int], shapes: Sequence[Shape], source: Path
) -> LabelProblem | None:
    """What to do about an annotation that names another size than the image has.

    Boxes for another size, or for the picture before its EXIF rotation, would be misplaced, so
    the image is left out. But where the boxes themselves contradict the size that is written and
    fit the image, the field alone is wrong.
    """
    if not all(written) or written == size:
        return None
    then, now = (f"{width}x{height}" for height, width in (written, size))
    value = f"annotated as {then} in {source.name}, image has {now}"
    right = max((max(shape.box[0::2]) for shape in shapes), default=0)
    bottom = max((max(shape.box[1::2]) for shape in shapes), default=0)
    contradicts = right > written[1] + _ROUNDING or bottom > written[0] + _ROUNDING
    fits = right <= size[1] + _ROUNDING and bottom <= size[0] + _ROUNDING
    if not shapes or (contradicts and fits):
        return LabelProblem(image, 0, "size field", value, "repaired")
    return LabelProblem(image, 0, "size", value, "dropped")
