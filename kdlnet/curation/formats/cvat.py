"""CVAT for images, version 1.1: one XML file for all images of a task or project.

https://docs.cvat.ai/docs/manual/advanced/xml_format/. Coordinates are pixels from 0; rotations
are degrees clockwise around the centre.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from math import radians
from pathlib import Path

from kdlnet.curation.formats.boxes import Annotation, import_annotations
from kdlnet.curation.formats.imported import ImportOptions, ImportResult, sort_out
from kdlnet.curation.formats.listed import ListedImage, doubt_namesakes, index_of, told_taken
from kdlnet.curation.formats.locate import annotation_files
from kdlnet.curation.formats.parse import Element, read_xml, split_named, whole_number
from kdlnet.curation.formats.shapes import (
    LINE,
    POINTS,
    Box,
    Point,
    Shape,
    Unusable,
    box_around,
    box_of_ellipse,
    box_of_points,
    box_of_turned,
    outline_of,
)
from kdlnet.data.labels import LabelProblem
from kdlnet.errors import DataError


def import_cvat(source: Path, options: ImportOptions) -> ImportResult:
    """The images that the XML files in ``source``, a folder or one file, list, with their boxes.

    Rotated boxes, ellipses, polygons, lines, several points, skeletons, masks and cuboids become
    the box around them, shapes of one label and group a single one; single points and tags are
    dropped. An image without shapes is a good part; image files that no XML lists are left out.

    Raises DataError for a broken file, for a video export and when two files list one image.
    """
    roots = dict(_read(source))
    index = index_of(source, options)
    images = [_listed(file, each) for file, root in roots.items() for each in root.iter("image")]
    places = index.find([(image.name, image.file) for image in images])
    found: dict[Path, ListedImage] = {}
    missing: list[ListedImage] = []
    faults = []
    for image, place in zip(images, places, strict=True):
        if isinstance(place, str):
            faults.append(LabelProblem(image.file, 0, place, index.shown(image.name), "dropped"))
            missing.append(image)
            continue
        if place in found:
            raise DataError(
                f"image {str(place)!r} is listed twice, in {str(found[place].file)!r} and "
                f"{str(image.file)!r}: give the one file to convert as SOURCE"
            )
        found[place] = image
    doubt_namesakes(found.values(), missing)
    annotations = [
        Annotation(place, image.file, image.shapes, image.written, image.split, image.problems)
        for place, image in sorted(found.items())
    ]
    unused = index.unused(found, "not listed")
    result = sort_out([*import_annotations(annotations), *faults, *unused])
    warnings = told_taken(index, images, places)
    return replace(result, names=_names(roots.values()), warnings=warnings)


def _read(source: Path) -> Iterator[tuple[Path, Element]]:
    """The root of every XML file that is CVAT's; other files are passed over."""
    files = annotation_files(source, ".xml")
    count = 0
    for file in files:
        try:
            root = read_xml(file)
        except (OSError, ValueError) as error:
            raise DataError(f"annotation {str(file)!r} is not XML: {error}") from None
        if root.tag != "annotations":
            continue
        if root.find("track") is not None:
            raise DataError(
                f"{str(file)!r} holds tracks of a video, which cannot be converted: export the "
                "task as 'CVAT for images 1.1'"
            )
        count += 1
        yield file, root
    if not count:
        raise DataError(f"{str(files[0])!r} is not CVAT: a file with <annotations> is needed")


def _names(roots: Iterable[Element]) -> tuple[str, ...]:
    names: dict[str, None] = {}
    for root in roots:
        for label in root.iter("label"):
            # Parts of a skeleton are labels, too, but never boxes.
            if label.findtext("parent") is None and (label.findtext("name") or "").strip():
                names[(label.findtext("name") or "").strip()] = None
    return tuple(names)


def _listed(file: Path, image: Element) -> ListedImage:
    shapes, problems = [], []
    for line, shape in enumerate(image, start=1):
        try:
            shapes.append(_shape(line, shape))
        except Unusable as fault:
            value = f"{image.get('name')}: {shape.get('label')} {shape.tag}"
            problems.append(LabelProblem(file, line, str(fault), value, "dropped"))
    written = whole_number(image.get("height")), whole_number(image.get("width"))
    split = split_named(image.get("subset", ""))
    return ListedImage(image.get("name", ""), written, file, shapes, problems, split=split)


def _shape(line: int, shape: Element) -> Shape:
    """Raises Unusable with the reason why a shape is no box."""
    if shape.tag == "tag":
        raise Unusable("tag")
    name = (shape.get("label") or "").strip()
    if not name or shape.tag not in _SHAPES:
        raise Unusable("incomplete")
    if shape.get("outside") in _YES:
        raise Unusable("hidden")
    try:
        box, kind = _SHAPES[shape.tag](shape)
        outline = outline_of(_points_of(shape)) if kind == "polygon" else None
    except ValueError:
        raise Unusable("incomplete") from None
    group = shape.get("group_id") or shape.get("group") or "0"
    return Shape(line, name, box, kind, "" if group == "0" else group, outline)


def _box(shape: Element) -> tuple[Box, str]:
    x1, y1, x2, y2 = (_number(shape, side) for side in ("xtl", "ytl", "xbr", "ybr"))
    angle = radians(_number(shape, "rotation", "0"))
    if not angle:
        return (x1, y1, x2, y2), "box"
    turned = box_of_turned((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1, angle)
    return turned, "rotated box"


def _ellipse(shape: Element) -> tuple[Box, str]:
    x, y, rx, ry = (_number(shape, side) for side in ("cx", "cy", "rx", "ry"))
    return box_of_ellipse(x, y, rx, ry, radians(_number(shape, "rotation", "0"))), "ellipse"


def _polygon(shape: Element) -> tuple[Box, str]:
    return box_around(_points_of(shape)), "polygon"


def _polyline(shape: Element) -> tuple[Box, str]:
    return box_of_points(_points_of(shape)), LINE


def _points(shape: Element) -> tuple[Box, str]:
    return box_of_points(_points_of(shape)), POINTS


def _skeleton(shape: Element) -> tuple[Box, str]:
    seen = [joint for joint in shape if joint.get("outside") not in _YES]
    return box_of_points([point for joint in seen for point in _points_of(joint)]), POINTS


def _mask(shape: Element) -> tuple[Box, str]:
    left, top, width, height = (_number(shape, side) for side in ("left", "top", "width", "height"))
    return (left, top, left + width, top + height), "mask"


def _cuboid(shape: Element) -> tuple[Box, str]:
    corners = [key[1:] for key in shape.attrib if key.startswith("x")]  # xtl1, xbl1, ... xbr2
    points = [(_number(shape, f"x{corner}"), _number(shape, f"y{corner}")) for corner in corners]
    return box_around(points), "cuboid"


_YES = ("1", "true", "True")
_SHAPES = {
    "box": _box,
    "ellipse": _ellipse,
    "polygon": _polygon,
    "polyline": _polyline,
    "points": _points,
    "skeleton": _skeleton,
    "mask": _mask,
    "cuboid": _cuboid,
}


def _points_of(shape: Element) -> list[Point]:
    """Raises ValueError for what are no points."""
    pairs = (pair.split(",") for pair in shape.get("points", "").split(";"))
    return [(float(x), float(y)) for x, y in pairs]


def _number(shape: Element, key: str, default: str = "") -> float:
    return float(shape.get(key, default))
