"""From what was drawn in an image to its boxes: the rules that all formats share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kdlnet.curation.formats.imported import NO_ANNOTATION, ImportedImage
from kdlnet.curation.formats.runs import RunMask, shapes_of_runs
from kdlnet.curation.formats.shapes import LINE, POINTS, STRETCHED, Box, Shape, thick
from kdlnet.curation.formats.units import are_shares, is_share, refuse_percents
from kdlnet.data.labels import LabelProblem, read_rows
from kdlnet.data.listing import label_path
from kdlnet.data.outlines import Outline, cut, stretched, tells_more
from kdlnet.errors import DataError
from kdlnet.images.read import header_of, image_size

if TYPE_CHECKING:
    from kdlnet.types import ImageSize

_ROUNDING = 0.01  # pixels past the border that tools with two decimals write
_TOUCH = 1.0  # pixels between a box and the outline in it: tools round the one and not the other


@dataclass(frozen=True)
class Annotation:
    """What ``file`` says of ``image``, not yet checked; None where no file speaks of it.

    ``written`` is the size (H, W) that it names, 0 where it does not; ``problems`` are those that
    the format's reader met; each region of ``masks`` is one more shape.
    """

    image: Path
    file: Path | None
    shapes: Sequence[Shape] = ()
    written: tuple[int, int] = (0, 0)
    split: str | None = None
    problems: Sequence[LabelProblem] = ()
    masks: Sequence[RunMask] = ()


def import_annotations(
    annotations: Sequence[Annotation], origin: int = 0
) -> list[ImportedImage | LabelProblem]:
    """Each image with its boxes, or why it is left out.

    One without an annotation is no good part where a label file of its own has rows.

    ``origin`` is the number of the first pixel; with 1 the right and lower pixels belong to the
    box. Shares of the image become pixels where the whole source has them; among pixels they are
    dropped. Raises DataError for percents.
    """
    shares = are_shares(shape for annotation in annotations for shape in annotation.shapes)
    if not shares:
        refuse_percents(((one.image, one.shapes) for one in annotations), size_of)
    return [_import(annotation, 0 if shares else origin, shares) for annotation in annotations]


def _import(annotation: Annotation, origin: int, shares: bool) -> ImportedImage | LabelProblem:
    image, file = annotation.image, annotation.file or annotation.image
    labels = label_path(image)
    if annotation.file is None and any(read_rows(labels)):
        return LabelProblem(image, 0, "labelled in .txt", labels.name, "dropped")
    try:
        size = size_of(image)
    except DataError as error:
        return LabelProblem(image, 0, "unreadable", str(error), "dropped")
    shapes, problems = _in_pixels(annotation.shapes, file, size, shares)
    fault = _size_fault(annotation, size, shapes, file)
    if fault is not None and fault.action == "dropped":
        return fault
    regions, lost = shapes_of_runs(annotation.masks, file, size)
    result = imported_image(image, size, [*shapes, *regions], file, annotation.split, origin)
    faults = [*annotation.problems, *([fault] if fault else []), *problems, *lost]
    problems = [*faults, *result.problems]
    result = replace(result, problems=tuple(problems))
    return replace(result, converted=(NO_ANNOTATION,)) if annotation.file is None else result


def size_of(image: Path) -> ImageSize:
    """(H, W). Raises DataError for what cannot be read, and for a file of several pictures."""
    size = image_size(image)
    if (count := header_of(image).pictures) > 1:
        raise DataError(f"image {str(image)!r} holds {count} pictures: save each as its own file")
    return size


def imported_image(
    image: Path,
    size: ImageSize,
    shapes: Iterable[Shape],
    source: Path,
    split: str | None = None,
    origin: int = 0,
) -> ImportedImage:
    """An image with the boxes of the ``shapes`` of the file ``source``, in pixels.

    Shapes of one group and class become one box, flat lines a pixel thick. Swapped corners are
    put in order and boxes clipped to the image, both counted; those outside, without area or
    repeated are dropped. An outline is kept where the box goes around it, to a pixel, and fitted
    into it. ``origin`` is as for :func:`import_annotations`.
    """
    height, width = size
    boxes: list[Box] = []
    names: list[str] = []
    converted: list[str] = []
    outlines: list[Outline | None] = []
    problems: list[LabelProblem] = []
    seen = set()
    for shape in _grouped(shapes):
        value = _said(shape)
        raw, swapped = _edges(shape, origin)
        x1, y1, x2, y2 = raw
        box = (max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height)))
        reason = _fault(raw, box, (shape.name, box) in seen)
        if reason:
            problems.append(LabelProblem(source, shape.line, reason, value, "dropped"))
            continue
        if swapped:
            problems.append(LabelProblem(source, shape.line, "swapped corners", value, "repaired"))
        if max(abs(a - b) for a, b in zip(box, raw, strict=True)) > _ROUNDING:
            problems.append(LabelProblem(source, shape.line, "clipped", value, "clipped"))
        seen.add((shape.name, box))
        boxes.append(box)
        names.append(shape.name)
        converted += [] if shape.kind == "box" else [shape.kind]
        outlines.append(None if shape.outline is None else outline_in(raw, box, shape.outline))
    array = np.array(boxes, np.float64).reshape(-1, 4)
    return ImportedImage(
        image,
        size,
        array,
        tuple(names),
        tuple(problems),
        split,
        tuple(converted),
        tuple(outlines),
    )


def outline_in(raw: Box, box: Box, outline: Outline) -> Outline | None:
    """``outline`` fitted into ``box``, which is ``raw`` cut to the image; all in pixels.

    None where it does not fill one of the two, to a pixel, or tells no more than the box.
    """
    if not _fills(outline, raw):
        return None
    inside = cut(stretched(outline, raw), box)
    if not _fills(inside, box):
        return None
    fitted = stretched(inside, box)
    return fitted if tells_more(fitted) else None


def _fills(outline: Outline, box: Box) -> bool:
    if not len(outline) or not np.isfinite(outline).all():
        return False
    low, high = outline.min(axis=0), outline.max(axis=0)
    near = np.abs(np.subtract([*low, *high], box)).max() <= _TOUCH
    return bool(near and (low < high).all())


def _in_pixels(
    shapes: Sequence[Shape], file: Path, size: ImageSize, shares: bool
) -> tuple[list[Shape], list[LabelProblem]]:
    """Shares as pixels, if the source has them throughout; a single one is no box in pixels."""
    height, width = size
    kept: list[Shape] = []
    problems = []
    for shape in shapes:
        odd = shares or is_share(shape)
        scaled = shares and shape.kind in STRETCHED
        if odd:
            problems.append(
                LabelProblem(
                    file, shape.line, "shares", _said(shape), "repaired" if scaled else "dropped"
                )
            )
        if scaled:
            x1, y1, x2, y2 = shape.box
            box = (x1 * width, y1 * height, x2 * width, y2 * height)
            outline = None if shape.outline is None else shape.outline * (width, height)
            kept.append(replace(shape, box=box, outline=outline))
        elif not odd:
            kept.append(shape)
    return kept, problems


def _said(shape: Shape) -> str:
    return f"{shape.name} " + " ".join(f"{side:g}" for side in shape.box)


def _grouped(shapes: Iterable[Shape]) -> list[Shape]:
    """The parts of an object as one shape, where its first part is."""
    found: dict[tuple[str, str, int], Shape] = {}
    for number, shape in enumerate(shapes):
        key = (shape.name, shape.group, -1 if shape.group else number)
        first = found.get(key)
        if first is not None:
            (x1, y1, x2, y2), _ = _edges(first, 0)
            (left, top, right, bottom), _ = _edges(shape, 0)
            box = (min(x1, left), min(y1, top), max(x2, right), max(y2, bottom))
            shape = replace(first, box=box, kind="group", outline=None)
        found[key] = shape
    return list(found.values())


def _edges(shape: Shape, origin: int) -> tuple[Box, bool]:
    """The box with its corners in order, and whether they were not.

    Only boxes are counted in pixels from ``origin``; what was drawn otherwise has points.
    """
    origin = origin if shape.kind == "box" else 0
    x1, y1, x2, y2 = thick(shape.box) if shape.kind in (LINE, POINTS) else shape.box
    left, right, turned = _ordered(x1, x2, origin)
    top, bottom, upset = _ordered(y1, y2, origin)
    return (left, top, right, bottom), turned or upset


def _ordered(low: float, high: float, origin: int) -> tuple[float, float, bool]:
    """Edges in order, and whether they were not."""
    return (high - origin, low, True) if low - origin > high else (low - origin, high, False)


def _fault(raw: Box, clipped: Box, repeated: bool) -> str:
    if not (np.isfinite(raw).all()):
        return "nan"
    if raw[0] >= raw[2] or raw[1] >= raw[3]:
        return "degenerate"
    if clipped[0] >= clipped[2] or clipped[1] >= clipped[3]:
        return "outside"
    return "duplicate" if repeated else ""


def _size_fault(
    annotation: Annotation, size: ImageSize, shapes: Sequence[Shape], source: Path
) -> LabelProblem | None:
    """What to do about an annotation that names another size than the image has.

    Boxes for another size, or for the picture before its EXIF rotation, would be misplaced, so
    the image is left out. But where the boxes themselves contradict the size that is written and
    fit the image, the field alone is wrong. Run lengths count by a size and contradict none.
    """
    image, written = annotation.image, annotation.written
    if not all(written) or written == size:
        return None
    then, now = (f"{width}x{height}" for height, width in (written, size))
    value = f"annotated as {then} in {source.name}, image has {now}"
    right = max((max(shape.box[0::2]) for shape in shapes), default=0)
    bottom = max((max(shape.box[1::2]) for shape in shapes), default=0)
    contradicts = right > written[1] + _ROUNDING or bottom > written[0] + _ROUNDING
    fits = right <= size[1] + _ROUNDING and bottom <= size[0] + _ROUNDING
    if not annotation.masks and (not shapes or (contradicts and fits)):
        return LabelProblem(image, 0, "size field", value, "repaired")
    return LabelProblem(image, 0, "size", value, "dropped")
