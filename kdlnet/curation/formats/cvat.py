"""CVAT for images, version 1.1: one XML file for all images of a task or project.

https://docs.cvat.ai/docs/manual/advanced/xml_format/. Coordinates are pixels from 0; rotations
are degrees clockwise around the centre.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from math import cos, hypot, radians, sin
from pathlib import Path
from xml.etree import ElementTree

from kdlnet.curation.formats.imported import (
    Box,
    ImportedImage,
    ImportOptions,
    ImportResult,
    Shape,
    Unusable,
    annotated_image,
    box_around,
    sort_out,
    split_named,
)
from kdlnet.curation.formats.locate import ImageIndex, annotation_files
from kdlnet.data.labels import LabelProblem
from kdlnet.errors import DataError

_NO_BOX = {"polyline": "line", "points": "point", "tag": "tag", "skeleton": "skeleton"}
_Element = ElementTree.Element


def import_cvat(source: Path, options: ImportOptions) -> ImportResult:
    """The images that the XML files in ``source``, a folder or one file, list, with their boxes.

    Rotated boxes, ellipses, polygons, masks and cuboids become the box around them; lines, points,
    skeletons and tags are dropped. An image without shapes is a good part; image files that no
    XML lists are left out.

    Raises DataError for a broken file, for a video export and when two files list one image.
    """
    roots = dict(_read(source))
    index = ImageIndex(options.images or (source.parent if source.is_file() else source))
    images = [(file, image) for file, root in roots.items() for image in root.iter("image")]
    places = index.find([(image.get("name", ""), file.parent) for file, image in images])
    owners: dict[Path, Path] = {}
    found: list[ImportedImage | LabelProblem] = []
    for (file, image), place in zip(images, places, strict=True):
        if isinstance(place, str):
            found.append(LabelProblem(file, 0, place, image.get("name", ""), "dropped"))
            continue
        if place in owners:
            raise DataError(
                f"image {str(place)!r} is listed twice, in {str(owners[place])!r} and "
                f"{str(file)!r}: give the one file to convert as SOURCE"
            )
        owners[place] = file
        found.append(_image(place, file, image))
    result = sort_out([*found, *index.unused(owners, "not listed")])
    result.images.sort(key=lambda image: image.path)
    return replace(result, names=_names(roots.values()))


def _read(source: Path) -> Iterator[tuple[Path, _Element]]:
    """The root of every XML file that is CVAT's; other files are passed over."""
    files = annotation_files(source, ".xml")
    count = 0
    for file in files:
        try:
            root = ElementTree.parse(file).getroot()
        except (ElementTree.ParseError, OSError, ValueError) as error:
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


def _names(roots: Iterable[_Element]) -> tuple[str, ...]:
    names: dict[str, None] = {}
    for root in roots:
        for label in root.iter("label"):
            # Parts of a skeleton are labels, too, but never boxes.
            if label.findtext("parent") is None and (label.findtext("name") or "").strip():
                names[(label.findtext("name") or "").strip()] = None
    return tuple(names)


def _image(place: Path, file: Path, image: _Element) -> ImportedImage | LabelProblem:
    shapes, problems = [], []
    for line, shape in enumerate(image, start=1):
        try:
            shapes.append(_shape(line, shape))
        except Unusable as fault:
            value = f"{image.get('name')}: {shape.get('label')} {shape.tag}"
            problems.append(LabelProblem(file, line, str(fault), value, "dropped"))
    return annotated_image(
        place,
        shapes,
        file,
        written=(_whole(image.get("height")), _whole(image.get("width"))),
        split=split_named(image.get("subset", "")),
        problems=problems,
    )


def _shape(line: int, shape: _Element) -> Shape:
    """Raises Unusable with the reason why a shape is no box."""
    if shape.tag in _NO_BOX:
        raise Unusable(_NO_BOX[shape.tag])
    name = (shape.get("label") or "").strip()
    if not name or shape.tag not in _SHAPES:
        raise Unusable("incomplete")
    try:
        box, kind = _SHAPES[shape.tag](shape)
    except ValueError:
        raise Unusable("incomplete") from None
    return Shape(line, name, box, kind)


def _box(shape: _Element) -> tuple[Box, str]:
    x1, y1, x2, y2 = (_number(shape, side) for side in ("xtl", "ytl", "xbr", "ybr"))
    angle = radians(_number(shape, "rotation", "0"))
    if not angle:
        return (x1, y1, x2, y2), "box"
    across, along = abs(cos(angle)), abs(sin(angle))
    half_width, half_height = abs(x2 - x1) / 2, abs(y2 - y1) / 2
    reach_x = half_width * across + half_height * along
    reach_y = half_width * along + half_height * across
    return _around((x1 + x2) / 2, (y1 + y2) / 2, reach_x, reach_y), "rotated box"


def _ellipse(shape: _Element) -> tuple[Box, str]:
    x, y, rx, ry = (_number(shape, side) for side in ("cx", "cy", "rx", "ry"))
    angle = radians(_number(shape, "rotation", "0"))
    reach_x = hypot(rx * cos(angle), ry * sin(angle))
    reach_y = hypot(rx * sin(angle), ry * cos(angle))
    return _around(x, y, reach_x, reach_y), "ellipse"


def _polygon(shape: _Element) -> tuple[Box, str]:
    pairs = (pair.split(",") for pair in shape.get("points", "").split(";"))
    return box_around([(float(x), float(y)) for x, y in pairs]), "polygon"


def _mask(shape: _Element) -> tuple[Box, str]:
    left, top, width, height = (_number(shape, side) for side in ("left", "top", "width", "height"))
    return (left, top, left + width, top + height), "mask"


def _cuboid(shape: _Element) -> tuple[Box, str]:
    corners = [key[1:] for key in shape.attrib if key.startswith("x")]  # xtl1, xbl1, ... xbr2
    points = [(_number(shape, f"x{corner}"), _number(shape, f"y{corner}")) for corner in corners]
    return box_around(points), "cuboid"


_SHAPES = {
    "box": _box,
    "ellipse": _ellipse,
    "polygon": _polygon,
    "mask": _mask,
    "cuboid": _cuboid,
}


def _around(x: float, y: float, reach_x: float, reach_y: float) -> Box:
    return x - reach_x, y - reach_y, x + reach_x, y + reach_y


def _number(shape: _Element, key: str, default: str = "") -> float:
    return float(shape.get(key, default))


def _whole(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0
