"""Pascal VOC: one XML file an image, beside it or in a folder of its own.

Everingham et al., The Pascal Visual Object Classes Challenge (2010): pixels are numbered from 1
and ``xmax`` belongs to the box, so the box covers ``xmin - 1 <= x <= xmax`` in edge coordinates.
Many later tools write edges counted from 0 into the same fields, hence the option ``origin``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from kdlnet.data.catalog import images_below
from kdlnet.data.formats.locate import annotation_files, plain
from kdlnet.data.formats.record import (
    NO_ANNOTATION,
    ImportOptions,
    ImportResult,
    Record,
    Row,
    annotated_record,
    read_class_file,
    sort_out,
)
from kdlnet.data.labels import LabelProblem
from kdlnet.data.schema import SPLITS
from kdlnet.errors import DataError

_SIDES = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class _Annotation:
    """``size`` (H, W) as written, 0 if not."""

    file: Path
    size: tuple[int, int]
    objects: list[Row]
    problems: list[LabelProblem]


def import_voc(source: Path, options: ImportOptions) -> ImportResult:
    """Records of all images below ``source``; an image without an XML file is a good part.

    Lists in ``ImageSets/Main`` give the splits, a ``classes.txt`` the order of the classes. An
    XML file that cannot be read leaves its image out, and so does one whose name differs in case
    or Unicode form from those of several images. Raises DataError when there is no XML file
    or one fits several images equally.
    """
    images = list(images_below(options.images or source))
    annotations = annotation_files(source, ".xml")
    matched, doubtful = _match(images, annotations)
    parsed = {file: _parse(file) for file in matched.values()}
    origin, facts, warnings = _find_origin(parsed.values(), options)
    splits = _listed_splits(source)
    found = [
        _record(image, parsed.get(matched.get(image, image)), origin, splits)
        for image in images
        if image not in doubtful
    ]
    shared = {*doubtful, *doubtful.values()}
    alone = sorted(set(annotations) - set(matched.values()) - shared)
    found += [LabelProblem(file, 0, "ambiguous", file.name, "dropped") for file in sorted(shared)]
    found += [LabelProblem(file, 0, "no image", file.name, "dropped") for file in alone]
    result = sort_out(found)
    used = {name for record in result.records for name in record.names}
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


def _match(
    images: Sequence[Path], annotations: Sequence[Path]
) -> tuple[dict[Path, Path], dict[Path, Path]]:
    """The XML file of each image that has one; and of each that shares it with another name.

    The stem must be the same; what is then left over on both sides may differ in case or Unicode
    form, as files do that went through another system.
    """
    exact = _nearest(images, annotations, lambda file: file.stem)
    taken = set(exact.values())
    loose = _nearest(
        [image for image in images if image not in exact],
        [file for file in annotations if file not in taken],
        lambda file: plain(file.stem),
    )
    claims: dict[Path, set[str]] = defaultdict(set)
    for image, file in loose.items():
        claims[file].add(image.stem)
    doubtful = {image: file for image, file in loose.items() if len(claims[file]) > 1}
    matched = exact | {image: file for image, file in loose.items() if image not in doubtful}
    return matched, doubtful


def _nearest(
    images: Sequence[Path], annotations: Sequence[Path], key: Callable[[Path], str]
) -> dict[Path, Path]:
    """The XML file of each image that has one of the same key: that in the most alike folder."""
    by_key: dict[str, list[Path]] = defaultdict(list)
    for file in annotations:
        by_key[key(file)].append(file)
    nearest = {}
    for image in images:
        candidates = by_key.get(key(image), [])
        if len(candidates) > 1:
            ranked = sorted(candidates, key=lambda file: _likeness(image, file), reverse=True)
            if _likeness(image, ranked[0]) == _likeness(image, ranked[1]):
                raise DataError(
                    f"image {str(image)!r} fits two annotations, {str(ranked[0])!r} and "
                    f"{str(ranked[1])!r}: give them folders of the same name as the image's"
                )
            candidates = ranked
        if candidates:
            nearest[image] = candidates[0]
    return nearest


def _likeness(image: Path, file: Path) -> tuple[int, int, int]:
    """Equal folder names counted from the file up, then from the root down, then equal depth."""
    ours, theirs = image.parent.parts, file.parent.parts
    return (
        _common(ours[::-1], theirs[::-1]),
        _common(ours, theirs),
        -abs(len(ours) - len(theirs)),
    )


def _common(first: Sequence[str], second: Sequence[str]) -> int:
    count = 0
    for ours, theirs in zip(first, second, strict=False):
        if ours != theirs:
            break
        count += 1
    return count


def _parse(file: Path) -> _Annotation | LabelProblem:
    try:
        root = ElementTree.parse(file).getroot()
    except (ElementTree.ParseError, OSError, ValueError) as error:
        return LabelProblem(file, 0, "unreadable", f"not XML: {error}", "dropped")
    objects: list[Row] = []
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
            objects.append(Row(number, name, (x1, y1, x2, y2)))
    return _Annotation(file, (_side(root, "height"), _side(root, "width")), objects, problems)


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
    zeros = [found.file for found in files if any(min(row.box) == 0 for row in found.objects)]
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


def _record(
    image: Path, annotation: _Annotation | LabelProblem | None, origin: int, splits: dict[str, str]
) -> Record | LabelProblem:
    if isinstance(annotation, LabelProblem):
        return annotation
    split = None
    if splits:
        parts = image.with_suffix("").parts
        below = ("/".join(parts[start:]) for start in range(len(parts)))
        split = next((splits[name] for name in below if name in splits), "")
    if annotation is None:
        record = annotated_record(image, [], image, split=split)
        return replace(record, converted=(NO_ANNOTATION,)) if isinstance(record, Record) else record
    return annotated_record(
        image,
        annotation.objects,
        annotation.file,
        written=annotation.size,
        split=split,
        origin=origin,
        problems=annotation.problems,
    )
