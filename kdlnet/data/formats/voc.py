"""Pascal VOC: one XML file an image, beside it or in a folder of its own.

Everingham et al., The Pascal Visual Object Classes Challenge (2010): pixels are numbered from 1
and ``xmax`` belongs to the box, so the box covers ``xmin - 1 <= x <= xmax`` in edge coordinates.
Many later tools write edges counted from 0 into the same fields, hence the option ``origin``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree

from kdlnet.data.catalog import images_below
from kdlnet.data.formats.record import (
    Box,
    ImportOptions,
    ImportResult,
    Record,
    make_record,
    sort_out,
)
from kdlnet.data.labels import LabelProblem
from kdlnet.data.read import image_size
from kdlnet.errors import DataError

_SIDES = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class _Annotation:
    """``objects`` are (number from 1, class, raw box); ``size`` (H, W) as written, 0 if not."""

    file: Path
    size: tuple[int, int]
    objects: list[tuple[int, str, Box]]
    problems: list[LabelProblem]


def import_voc(source: Path, options: ImportOptions) -> ImportResult:
    """Records of all images below ``source``; an image without an XML file is a good part.

    Raises DataError for an XML file that cannot be parsed or fits several images equally.
    """
    images = list(images_below(source))
    annotations = sorted(file for file in source.rglob("*") if file.suffix.lower() == ".xml")
    if not annotations:
        raise DataError(f"no .xml file below {str(source)!r}: name the folder of a Pascal VOC set")
    matched = _match(images, annotations)
    parsed = {file: _parse(file) for file in matched.values()}
    origin = options.origin
    if origin == "auto":
        origin = "0" if _has_zero(parsed.values()) else "1"
    shift = 1 if origin == "1" else 0
    found = [_record(image, parsed.get(matched.get(image, image)), shift) for image in images]
    unused = sorted(set(annotations) - set(matched.values()))
    alone = [LabelProblem(file, 0, "no image", file.name, "dropped") for file in unused]
    return sort_out([*found, *alone])


def _match(images: Sequence[Path], annotations: Sequence[Path]) -> dict[Path, Path]:
    """The XML file of each image that has one: same stem, then the most alike folder."""
    by_stem: dict[str, list[Path]] = defaultdict(list)
    for file in annotations:
        by_stem[file.stem].append(file)
    matched = {}
    for image in images:
        candidates = by_stem.get(image.stem, [])
        if len(candidates) > 1:
            ranked = sorted(candidates, key=lambda file: _likeness(image, file), reverse=True)
            if _likeness(image, ranked[0]) == _likeness(image, ranked[1]):
                raise DataError(
                    f"image {str(image)!r} fits two annotations, {str(ranked[0])!r} and "
                    f"{str(ranked[1])!r}: give them folders of the same name as the image's"
                )
            candidates = ranked
        if candidates:
            matched[image] = candidates[0]
    return matched


def _likeness(image: Path, file: Path) -> tuple[int, int]:
    """Equal folder names counted from the file up, then from the root down."""
    ours, theirs = image.parent.parts, file.parent.parts
    return _common(ours[::-1], theirs[::-1]), _common(ours, theirs)


def _common(first: Sequence[str], second: Sequence[str]) -> int:
    count = 0
    for ours, theirs in zip(first, second, strict=False):
        if ours != theirs:
            break
        count += 1
    return count


def _parse(file: Path) -> _Annotation:
    try:
        root = ElementTree.parse(file).getroot()
    except (ElementTree.ParseError, OSError, ValueError) as error:
        raise DataError(f"annotation {str(file)!r} is not XML: {error}") from None
    objects = []
    problems = []
    for number, element in enumerate(root.iter("object"), start=1):
        name = (element.findtext("name") or "").strip()
        texts = [element.findtext(f"bndbox/{side}") or "" for side in _SIDES]
        try:
            x1, y1, x2, y2 = (float(text) for text in texts)
        except ValueError:
            name = ""
        if not name:
            value = " ".join(texts)
            problems.append(LabelProblem(file, number, "incomplete", value, "dropped"))
        else:
            objects.append((number, name, (x1, y1, x2, y2)))
    return _Annotation(file, (_side(root, "height"), _side(root, "width")), objects, problems)


def _side(root: ElementTree.Element, name: str) -> int:
    try:
        return int(float(root.findtext(f"size/{name}") or 0))
    except ValueError:
        return 0


def _has_zero(annotations: Iterable[_Annotation]) -> bool:
    return any(min(box[:2]) == 0 for found in annotations for _, _, box in found.objects)


def _record(image: Path, annotation: _Annotation | None, shift: int) -> Record | LabelProblem:
    try:
        size = image_size(image)
    except DataError as error:
        return LabelProblem(image, 0, "unreadable", str(error), "dropped")
    if annotation is None:
        return make_record(image, size, [], image)
    if all(annotation.size) and annotation.size != size:
        # Boxes for another size, or for the picture before its EXIF rotation, would be misplaced.
        written, real = (f"{width}x{height}" for height, width in (annotation.size, size))
        value = f"annotated as {written} in {annotation.file.name}, image has {real}"
        return LabelProblem(image, 0, "size", value, "dropped")
    rows = (
        (number, name, (x1 - shift, y1 - shift, x2, y2))
        for number, name, (x1, y1, x2, y2) in annotation.objects
    )
    record = make_record(image, size, rows, annotation.file)
    return replace(record, problems=(*annotation.problems, *record.problems))
