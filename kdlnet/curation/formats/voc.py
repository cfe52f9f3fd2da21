"""Pascal VOC: one XML file an image, beside it or in a folder of its own.

Everingham et al., The Pascal Visual Object Classes Challenge (2010): pixels are numbered from 1
and ``xmax`` belongs to the box, so the box covers ``xmin - 1 <= x <= xmax`` in edge coordinates.
Many later tools write edges counted from 0 into the same fields, hence the option ``origin``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kdlnet.curation.formats.boxes import Annotation, import_annotations
from kdlnet.curation.formats.homes import Served
from kdlnet.curation.formats.imported import (
    ImportOptions,
    ImportResult,
    doubt_good_parts,
    sort_out,
)
from kdlnet.curation.formats.locate import annotation_files, most_alike
from kdlnet.curation.formats.pairing import pair
from kdlnet.curation.formats.parse import Element, read_class_file, read_xml, whole_number
from kdlnet.curation.formats.shapes import (
    Point,
    Shape,
    Unusable,
    box_around,
    box_of_turned,
    outline_of,
)
from kdlnet.data.labels import LabelProblem
from kdlnet.data.schema import SPLITS
from kdlnet.errors import DataError
from kdlnet.images.folder import images_below

_SIDES = ("xmin", "ymin", "xmax", "ymax")
_TURNED = ("cx", "cy", "w", "h", "angle")  # the angle in radians


@dataclass(frozen=True)
class _File:
    """``size`` (H, W) as written, 0 if not; ``named`` is what the file calls its image."""

    file: Path
    named: tuple[str, ...]
    size: tuple[int, int]
    shapes: list[Shape]
    problems: list[LabelProblem]


def import_voc(source: Path, options: ImportOptions) -> ImportResult:
    """All images below ``source``; an image without an XML file is a good part.

    Lists in ``ImageSets/Main`` give the splits, a ``classes.txt`` the order of the classes. An
    XML file that cannot be read or has its objects in another form leaves its image out; of
    objects without a ``bndbox``, turned boxes and polygons become the box around them. One XML
    file serves one image, see :func:`pair`: where several fit and ``path``, ``folder`` and
    ``filename`` do not tell which, all of them are left out. Raises DataError when no XML file is
    VOC or one image has two.
    """
    root = options.images or source
    images = list(images_below(root))
    every = {file: _parse(file) for file in annotation_files(source, ".xml")}
    named = {file: found.named for file, found in every.items() if isinstance(found, _File)}
    if not named:
        raise DataError(f"no VOC file below {str(source)!r}: first {next(iter(every.values()))}")
    pairs = pair(images, list(every), (root, source), named)
    without, alone = pairs.free(images, list(every))
    bare, splits = set(without), _listed_splits(source)
    claimed = {
        image: file
        for file in alone
        for name in named.get(file, ())
        for image in most_alike(name, without)
    }
    found: list[Annotation | LabelProblem] = []
    for image in images:
        if image in pairs.file_of:
            found.append(_annotation(image, every[pairs.file_of[image]], splits))
        elif image in claimed:
            value = f"named in {claimed[image].name}"
            found.append(LabelProblem(image, 0, "unsure", value, "dropped"))
        elif image in bare:
            found.append(Annotation(image, None, split=_split_of(image, splits)))
    annotations = [item for item in found if isinstance(item, Annotation)]
    origin, facts, warnings = _find_origin(annotations, options)
    left_out = [item for item in found if isinstance(item, LabelProblem)]
    for reason, files in (
        ("ambiguous", sorted(pairs.unclear)),
        ("not listed", sorted(pairs.unlisted)),
        ("no image", alone),
    ):
        left_out += [LabelProblem(file, 0, reason, file.name, "dropped") for file in files]
    result = sort_out([*import_annotations(annotations, origin), *left_out])
    served = Served(pairs.file_of)
    near = {
        file
        for image, file in claimed.items()
        if image.parent in {file.parent, *served.own(file.parent)}
    }
    lost = [file for file in alone if file not in near and _may_be_drawn(every[file])]
    result = doubt_good_parts(result, lost, pairs.file_of)
    used = {name for image in result.images for name in image.names}
    order = read_class_file(source)
    names = order if used <= set(order) else ()
    return replace(result, names=names, facts=facts, warnings=warnings)


def _listed_splits(source: Path) -> dict[str, str]:
    """Split by the name in ``ImageSets/Main/train.txt``, ``val.txt`` and ``test.txt``."""
    splits: dict[str, str] = {}
    for split in SPLITS:
        file = source / "ImageSets" / "Main" / f"{split}.txt"
        if file.is_file():
            lines = file.read_text(encoding="utf-8-sig", errors="replace").splitlines()
            splits |= {line.strip(): split for line in lines if line.strip()}
    return splits


def _parse(file: Path) -> _File | LabelProblem:
    try:
        root = read_xml(file)
    except (OSError, ValueError) as error:
        return LabelProblem(file, 0, "unreadable", f"not XML: {error}", "dropped")
    shapes: list[Shape] = []
    problems: list[LabelProblem] = []
    objects = [element for element in root.iter("object") if _text(element, "deleted") != "1"]
    empty = root.find("object") is None and not objects
    if root.tag != "annotation" or (empty and _numbers_elsewhere(root) >= len(_SIDES)):
        return LabelProblem(file, 0, "another form", f"<{root.tag}>", "dropped")
    for number, element in enumerate(objects, start=1):
        try:
            shapes.append(_shape(number, element))
        except (Unusable, ValueError) as fault:
            reason = str(fault) if isinstance(fault, Unusable) else "incomplete"
            value = " ".join("".join(element.itertext()).split())[:60]
            problems.append(LabelProblem(file, number, reason, value, "dropped"))
    size = whole_number(_text(root, "size/height")), whole_number(_text(root, "size/width"))
    return _File(file, _named(root), size, shapes, problems)


def _shape(number: int, element: Element) -> Shape:
    """Raises Unusable and ValueError for an object without a class or a box that can be read."""
    name = _text(element, "name")
    if not name:
        raise Unusable("incomplete")
    if element.find("bndbox/xmin") is not None or element.find("bndbox/xmax") is not None:
        x1, y1, x2, y2 = (float(_text(element, f"bndbox/{side}")) for side in _SIDES)
        return Shape(number, name, (x1, y1, x2, y2))
    turned = element.find("robndbox")
    if turned is not None and turned.find("cx") is not None:
        x, y, width, height, angle = (float(_text(turned, side)) for side in _TURNED)
        return Shape(number, name, box_of_turned(x, y, width, height, angle), "rotated box")
    points = _points(element)
    return Shape(number, name, box_around(points), "polygon", outline=outline_of(points))


def _points(element: Element) -> list[Point]:
    """Those of ``<pt><x/><y/></pt>`` or ``<x1/><y1/><x2/>...``, however they are wrapped."""
    points: list[Point] = [
        (float(_text(point, "x")), float(_text(point, "y"))) for point in element.iter("pt")
    ]
    for child in element.iter() if not points else ():
        number = child.tag[1:]
        if child.tag.startswith("x") and number.isdecimal():
            pair_of = next((p.find(f"y{number}") for p in element.iter() if child in list(p)), None)
            if pair_of is None:
                raise Unusable("incomplete")
            points.append((float(child.text or ""), float(pair_of.text or "")))
    return points


def _numbers_elsewhere(root: Element) -> int:
    """How many numbers a file without objects holds, but for the image's size."""
    size = set(root.iterfind("size")) | set(root.iterfind("size/"))
    texts = (
        text
        for element in root.iter()
        if element not in size
        for text in (element.text or "", *element.attrib.values())
    )
    return sum(map(_is_number, texts))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _text(element: Element, path: str) -> str:
    return (element.findtext(path) or "").strip()


def _named(root: Element) -> tuple[str, ...]:
    """What the file calls its image, the longest way first."""
    path, folder, name = (_text(root, tag) for tag in ("path", "folder", "filename"))
    return tuple(found for found in (path, folder and name and f"{folder}/{name}", name) if found)


def _find_origin(
    annotations: Iterable[Annotation], options: ImportOptions
) -> tuple[int, dict[str, Any], tuple[str, ...]]:
    """The number of the first pixel, how it was found, and a warning where that stands on little.

    A single 0 decides for the whole set, since pixels numbered from 1 have none; but one box that
    was drawn by another tool then moves all the others by a pixel.
    """
    files = [found for found in annotations if any(map(_is_box, found.shapes))]
    zeros = [
        found.file or found.image
        for found in files
        if any(_is_box(shape) and min(shape.box) == 0 for shape in found.shapes)
    ]
    auto = options.origin == "auto"
    origin = int(not zeros) if auto else int(options.origin)
    facts = {
        "value": origin,
        "found_by": "auto" if auto else "option",
        "files_with_zero": len(zeros),
        "files_with_boxes": len(files),
    }
    if not auto or not 0 < 2 * len(zeros) <= len(files):
        return origin, {"origin": facts}, ()
    line = (
        f"boxes are read as counted from 0: {len(zeros)} of {len(files)} files with boxes hold a "
        f"0, first {zeros[0].name!r}; convert with --origin 1 if the others are counted from 1"
    )
    return origin, {"origin": facts}, (line,)


def _is_box(shape: Shape) -> bool:
    return shape.kind == "box"


def _may_be_drawn(found: _File | LabelProblem) -> bool:
    if isinstance(found, LabelProblem):
        return found.reason == "unreadable"
    return bool(found.shapes or found.problems)


def _annotation(
    image: Path, found: _File | LabelProblem, splits: dict[str, str]
) -> Annotation | LabelProblem:
    if isinstance(found, LabelProblem):
        return found
    split = _split_of(image, splits)
    return Annotation(image, found.file, found.shapes, found.size, split, found.problems)


def _split_of(image: Path, splits: dict[str, str]) -> str | None:
    if not splits:
        return None
    parts = image.with_suffix("").parts
    below = ("/".join(parts[start:]) for start in range(len(parts)))
    return next((splits[name] for name in below if name in splits), "")
