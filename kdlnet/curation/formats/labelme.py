"""LabelMe: one JSON file an image, with shapes in pixels from 0.

https://github.com/wkentaro/labelme: a rectangle is two opposite corners in any order, a circle
its centre and a point on it, a mask the first and last pixel of its box. The picture that may be
embedded in ``imageData`` is not used: it need not be the file's bytes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from math import hypot
from pathlib import Path
from typing import Any

from kdlnet.curation.formats.imported import (
    NO_ANNOTATION,
    Box,
    ImportedImage,
    ImportOptions,
    ImportResult,
    Shape,
    Unusable,
    annotated_image,
    box_around,
    sort_out,
)
from kdlnet.curation.formats.locate import ImageIndex, annotation_files
from kdlnet.data.labels import LabelProblem
from kdlnet.errors import DataError

_NO_AREA = {"line": "line", "linestrip": "line", "point": "point", "points": "point"}
_Points = list[tuple[float, float]]


def import_labelme(source: Path, options: ImportOptions) -> ImportResult:
    """All images below ``source``; an image without a JSON file is a good part.

    Polygons, circles, masks and rotated rectangles become their boxes, lines and points are
    dropped. A JSON file that cannot be read leaves its image out.

    Raises DataError when there is no LabelMe file or two speak of the same image.
    """
    index = ImageIndex(options.images or source)
    contents: dict[Path, dict[str, Any]] = {}
    left_out: list[LabelProblem] = []
    for file in annotation_files(source, ".json"):
        try:
            content = json.loads(file.read_bytes())
        except (OSError, ValueError, RecursionError) as error:
            left_out.append(LabelProblem(file, 0, "unreadable", str(error)[:60], "dropped"))
            contents[file] = {}
            continue
        if isinstance(content, dict) and isinstance(content.get("shapes"), list):
            content["imageData"] = bool(content.get("imageData"))  # megabytes a file
            contents[file] = content
    if not any(contents.values()):
        raise DataError(f"no LabelMe file below {str(source)!r}: a JSON with 'shapes' is needed")
    owners = _owners(index, contents, left_out)
    found = [_image(image, owners.get(image), contents) for image in index.files]
    elsewhere = sorted(set(owners) - set(index.files))
    found += [_image(image, owners[image], contents) for image in elsewhere]
    result = sort_out(image for image in found if image is not None)
    return replace(result, left_out=[*left_out, *result.left_out])


def _owners(
    index: ImageIndex, contents: dict[Path, dict[str, Any]], left_out: list[LabelProblem]
) -> dict[Path, Path]:
    """The JSON file of each image: by its ``imagePath``, else by the same stem beside it."""
    beside = {file.with_suffix(""): file for file in index.files}
    names = [(str(found.get("imagePath") or ""), file.parent) for file, found in contents.items()]
    owners: dict[Path, Path] = {}
    for file, place in zip(contents, index.find(names), strict=True):
        image = place if isinstance(place, Path) else beside.get(file.with_suffix(""))
        if image is None and not contents[file]:
            continue
        if image is None:
            embedded = contents[file].get("imageData")
            reason = "only embedded" if embedded and place == "no image" else str(place)
            left_out.append(LabelProblem(file, 0, reason, file.name, "dropped"))
        elif image in owners:
            raise DataError(
                f"image {str(image)!r} is annotated in {str(owners[image])!r} and {str(file)!r}: "
                "keep one"
            )
        else:
            owners[image] = file
    return owners


def _image(
    image: Path, file: Path | None, contents: dict[Path, dict[str, Any]]
) -> ImportedImage | LabelProblem | None:
    if file is None:
        good = annotated_image(image, [], image)
        if isinstance(good, ImportedImage):
            return replace(good, converted=(NO_ANNOTATION,))
        return good
    content = contents[file]
    if not content:  # it could not be read: whether the part is good is not known
        return None
    shapes, problems = [], []
    for line, shape in enumerate(content["shapes"], start=1):
        try:
            shapes.append(_shape(line, shape))
        except (Unusable, ValueError, TypeError, AttributeError) as fault:
            reason = str(fault) if isinstance(fault, Unusable) else "incomplete"
            problems.append(LabelProblem(file, line, reason, _short(shape), "dropped"))
    written = (_whole(content.get("imageHeight")), _whole(content.get("imageWidth")))
    return annotated_image(image, shapes, file, written=written, problems=problems)


def _shape(line: int, shape: dict[str, Any]) -> Shape:
    """Raises Unusable with the reason why a shape is no box, other errors for what is no shape."""
    kind = shape.get("shape_type") or "polygon"  # the first versions drew nothing else
    name = str(shape.get("label") or "").strip()
    if kind in _NO_AREA:
        raise Unusable(_NO_AREA[kind])
    points = [(float(x), float(y)) for x, y in shape["points"]] if "points" in shape else []
    if not name or not points:
        raise Unusable("incomplete")
    if kind == "rectangle":
        return Shape(line, name, box_around(points))
    if kind == "circle":
        return Shape(line, name, _circle(points), "circle")
    if kind == "mask":
        x1, y1, x2, y2 = box_around(points)
        return Shape(line, name, (x1, y1, x2 + 1, y2 + 1), "mask")
    return Shape(line, name, box_around(points), "rotated box" if kind == "rotation" else "polygon")


def _circle(points: _Points) -> Box:
    if len(points) != 2:
        raise Unusable("incomplete")
    (x, y), (on_x, on_y) = points
    radius = hypot(on_x - x, on_y - y)
    return x - radius, y - radius, x + radius, y + radius


def _whole(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _short(shape: Any) -> str:
    if not isinstance(shape, dict):
        return str(shape)[:40]
    points: Sequence[Any] = shape.get("points") or ()
    return f"{shape.get('label')} {shape.get('shape_type')} {points}"[:60]
