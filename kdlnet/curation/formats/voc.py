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
from xml.etree import ElementTree

from kdlnet.curation.formats.imported import (
    NO_ANNOTATION,
    ImportedImage,
    ImportOptions,
    ImportResult,
    Shape,
    annotated_image,
    read_class_file,
    sort_out,
)
from kdlnet.curation.formats.locate import annotation_files
from kdlnet.curation.formats.pairing import pair
from kdlnet.data.labels import LabelProblem
from kdlnet.data.schema import SPLITS
from kdlnet.images.folder import images_below

_SIDES = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class _Annotation:
    """``size`` (H, W) as written, 0 if not; ``named`` is what the file calls its image."""

    file: Path
    named: tuple[str, ...]
    size: tuple[int, int]
    objects: list[Shape]
    problems: list[LabelProblem]


def import_voc(source: Path, options: ImportOptions) -> ImportResult:
    """All images below ``source``; an image without an XML file is a good part.

    Lists in ``ImageSets/Main`` give the splits, a ``classes.txt`` the order of the classes. An
    XML file that cannot be read leaves its image out. One XML file serves one image, see
    :func:`pair`: where several fit and ``path``, ``folder`` and ``filename`` do not tell which,
    all of them are left out. Raises DataError when there is no XML file or one image has two.
    """
    root = options.images or source
    images = list(images_below(root))
    every = {file: _parse(file) for file in annotation_files(source, ".xml")}
    named = {file: found.named for file, found in every.items() if isinstance(found, _Annotation)}
    pairs = pair(images, list(every), (root, source), named)
    parsed = {image: every[file] for image, file in pairs.file_of.items()}
    origin, facts, warnings = _find_origin(parsed.values(), options)
    splits = _listed_splits(source)
    without, alone = pairs.free(images, list(every))
    bare = set(without)
    found = [
        _image(image, parsed.get(image), origin, splits)
        for image in images
        if image in parsed or image in bare
    ]
    for reason, files in (
        ("ambiguous", sorted(pairs.unclear)),
        ("not listed", sorted(pairs.unlisted)),
        ("no image", alone),
    ):
        found += [LabelProblem(file, 0, reason, file.name, "dropped") for file in files]
    result = sort_out(found)
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


def _parse(file: Path) -> _Annotation | LabelProblem:
    try:
        root = ElementTree.parse(file).getroot()
    except (ElementTree.ParseError, OSError, ValueError) as error:
        return LabelProblem(file, 0, "unreadable", f"not XML: {error}", "dropped")
    objects: list[Shape] = []
    problems: list[LabelProblem] = []
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
            objects.append(Shape(number, name, (x1, y1, x2, y2)))
    size = _side(root, "height"), _side(root, "width")
    return _Annotation(file, _named(root), size, objects, problems)


def _named(root: ElementTree.Element) -> tuple[str, ...]:
    """What the file calls its image, the longest way first."""
    path, folder, name = (
        (root.findtext(tag) or "").strip() for tag in ("path", "folder", "filename")
    )
    return tuple(found for found in (path, folder and name and f"{folder}/{name}", name) if found)


def _side(root: ElementTree.Element, name: str) -> int:
    try:
        return int(float(root.findtext(f"size/{name}") or 0))
    except ValueError:
        return 0


def _find_origin(
    parsed: Iterable[_Annotation | LabelProblem], options: ImportOptions
) -> tuple[int, dict[str, Any], tuple[str, ...]]:
    """The number of the first pixel, how it was found, and a warning where that stands on little.

    A single 0 decides for the whole set, since pixels numbered from 1 have none; but one box that
    was drawn by another tool then moves all the others by a pixel.
    """
    files = [found for found in parsed if isinstance(found, _Annotation) and found.objects]
    zeros = [found.file for found in files if any(min(shape.box) == 0 for shape in found.objects)]
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


def _image(
    image: Path, annotation: _Annotation | LabelProblem | None, origin: int, splits: dict[str, str]
) -> ImportedImage | LabelProblem:
    if isinstance(annotation, LabelProblem):
        return annotation
    split = None
    if splits:
        parts = image.with_suffix("").parts
        below = ("/".join(parts[start:]) for start in range(len(parts)))
        split = next((splits[name] for name in below if name in splits), "")
    if annotation is None:
        good = annotated_image(image, [], image, split=split)
        if isinstance(good, ImportedImage):
            return replace(good, converted=(NO_ANNOTATION,))
        return good
    return annotated_image(
        image,
        annotation.objects,
        annotation.file,
        written=annotation.size,
        split=split,
        origin=origin,
        problems=annotation.problems,
    )
