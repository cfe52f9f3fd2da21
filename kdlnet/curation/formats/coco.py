"""COCO JSON: images, categories and annotations in one file, or one file a split.

Lin et al., Microsoft COCO: Common Objects in Context (2014), data format at
https://cocodataset.org/#format-data. Boxes are ``[x, y, width, height]`` from 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from kdlnet.curation.formats.imported import ImportOptions, ImportResult
from kdlnet.curation.formats.listed import ListedImage, doubt_bare, import_listed, index_of
from kdlnet.curation.formats.locate import annotation_files
from kdlnet.curation.formats.parse import id_of, read_json, whole_number
from kdlnet.curation.formats.runs import box_of_runs, numbers_of
from kdlnet.curation.formats.shapes import (
    Box,
    Point,
    Shape,
    Unusable,
    box_around,
    outline_of,
)
from kdlnet.data.labels import LabelProblem
from kdlnet.data.outlines import Outline
from kdlnet.errors import DataError

_LISTS = ("images", "categories", "annotations")


def import_coco(source: Path, options: ImportOptions) -> ImportResult:
    """The images that the JSON files in ``source``, a folder or one file, list, with their boxes.

    The boxes of a file called ``instances_train.json``, or in a folder ``train``, are of that
    split. An image without annotations is a good part; image files that no JSON lists are left
    out. Crowd regions are dropped. A missing or empty ``bbox`` is taken from the segmentation.

    Raises DataError when there is no COCO file, one is broken, two say different things of
    one image, or two images or categories of one have the same id.
    """
    sets = dict(_read_sets(source))
    lost: list[LabelProblem] = []
    images = [image for file, content in sets.items() for image in _images(file, content, lost)]
    result = import_listed(source, index_of(source, options), images)
    names, warnings = _names(sets)
    return replace(result, names=names, lost=tuple(lost), warnings=warnings + result.warnings)


def _read_sets(source: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Content of every JSON file that is COCO; other tools' files are passed over."""
    files = annotation_files(source, ".json")
    count = 0
    for file in files:
        try:
            content = read_json(file)
        except (OSError, ValueError) as error:
            raise DataError(f"annotation {str(file)!r} is not JSON: {error}") from None
        if isinstance(content, dict) and all(isinstance(content.get(k), list) for k in _LISTS):
            count += 1
            yield file, content
    if not count:
        raise DataError(
            f"{str(files[0])!r} is not COCO: a file with the lists {', '.join(_LISTS)} is needed"
        )


def _images(file: Path, content: dict[str, Any], lost: list[LabelProblem]) -> list[ListedImage]:
    """The images of one file with their shapes; annotations that belong to none go to ``lost``.

    Where there are such, an image without annotations may be the one they were drawn in.
    """
    images = {}
    for key, entry in _by_id(file, "image", content["images"], "file_name").items():
        size = (whole_number(entry.get("height")), whole_number(entry.get("width")))
        images[key] = ListedImage(str(entry.get("file_name", "")), size, file)
    classes = _classes(file, content)
    known = len(lost)
    for line, annotation in enumerate(content["annotations"], start=1):
        owner = annotation.get("image_id") if isinstance(annotation, dict) else None
        image = images.get(id_of(owner))
        if image is None:
            lost.append(LabelProblem(file, line, "no such image", _short(annotation), "dropped"))
            continue
        try:
            image.shapes.append(_shape(line, annotation, classes))
        except Unusable as fault:
            problem = LabelProblem(file, line, str(fault), _short(annotation), "dropped")
            image.problems.append(problem)
    doubt_bare(images.values(), file, len(lost) - known)
    return list(images.values())


def _names(sets: Mapping[Path, dict[str, Any]]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Class names of all files in the order of their ids, each once, and a line for those left out.

    Some services list the heading of the classes as one more class, without a box.
    """
    names: dict[str, None] = {}
    headings: set[str] = set()
    used: set[str] = set()
    for file, content in sets.items():
        classes = _classes(file, content)
        order = sorted(classes, key=lambda key: (len(key), key))  # ids are text here: 9 before 10
        names |= dict.fromkeys(classes[key] for key in order)
        for entry in _maps(content["categories"]):
            own, heading = (str(entry.get(key, "")).strip() for key in ("name", "supercategory"))
            headings |= {heading} if heading != own else set()
        owners = (entry.get("category_id") for entry in _maps(content["annotations"]))
        used |= {classes[key] for key in map(id_of, owners) if key in classes}
    empty = [name for name in names if name in headings - used]
    lines = (
        f"category {name!r} has no box and is the heading (supercategory) of others: no class"
        for name in empty
    )
    return tuple(name for name in names if name not in empty), tuple(lines)


def _classes(file: Path, content: dict[str, Any]) -> dict[str, str]:
    entries = _by_id(file, "category", content["categories"], "name").items()
    named = ((key, str(entry.get("name", "")).strip()) for key, entry in entries)
    return {key: name for key, name in named if name}


def _by_id(file: Path, kind: str, entries: list[Any], name: str) -> dict[str, dict[str, Any]]:
    """The entries of a list by their id.

    Raises DataError for one without and for an id with two names: the boxes of one would be
    taken for the other's.
    """
    found: dict[str, dict[str, Any]] = {}
    for entry in _maps(entries):
        if entry.get("id") is None:
            raise DataError(f"{kind} {entry.get(name)!r} in {str(file)!r} has no id: give it one")
        first = found.setdefault(id_of(entry["id"]), entry)
        if first.get(name) != entry.get(name):
            raise DataError(
                f"id {entry['id']!r} in {str(file)!r} is that of {kind} {first.get(name)!r} and "
                f"of {entry.get(name)!r}: ids must differ"
            )
    return found


def _shape(line: int, annotation: dict[str, Any], classes: dict[str, str]) -> Shape:
    """Raises Unusable with the reason why an annotation is no box."""
    name = classes.get(id_of(annotation.get("category_id")))
    if name is None:
        raise Unusable("category")
    if whole_number(annotation.get("iscrowd")):
        raise Unusable("crowd")
    numbers = numbers_of(annotation.get("bbox"), 4)
    x, y, width, height = numbers or (0.0, 0.0, 0.0, 0.0)
    segmentation = annotation.get("segmentation")
    outline = _outline(segmentation)
    if width > 0 and height > 0:
        return Shape(line, name, (x, y, x + width, y + height), outline=outline)
    if isinstance(segmentation, dict):
        return Shape(line, name, box_of_runs(segmentation), "mask")
    if isinstance(segmentation, list) and segmentation:
        return Shape(line, name, _box_of_polygons(segmentation), "polygon", outline=outline)
    if not (width or height):
        raise Unusable("incomplete")
    return Shape(line, name, (x, y, x + width, y + height))


def _outline(segmentation: Any) -> Outline | None:
    """The polygon of an object in one piece; None for pieces, runs and what is no polygon."""
    if not isinstance(segmentation, list) or len(segmentation) != 1:
        return None
    try:
        return outline_of(_polygon(segmentation[0]))
    except Unusable:
        return None


def _box_of_polygons(polygons: list[Any]) -> Box:
    return box_around([point for polygon in polygons for point in _polygon(polygon)])


def _polygon(polygon: Any) -> list[Point]:
    numbers = numbers_of(polygon)
    if not numbers or len(numbers) % 2:
        raise Unusable("incomplete")
    return list(zip(numbers[0::2], numbers[1::2], strict=True))


def _maps(entries: list[Any]) -> Iterator[dict[str, Any]]:
    return (entry for entry in entries if isinstance(entry, dict))


def _short(annotation: Any) -> str:
    if not isinstance(annotation, dict):
        return str(annotation)[:40]
    keys = ("id", "image_id", "category_id", "bbox")
    return ", ".join(f"{key} {annotation[key]}" for key in keys if key in annotation)[:80]
