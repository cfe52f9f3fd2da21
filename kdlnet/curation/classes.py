"""The classes of a converted dataset: their order, and which of the source's are taken as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from unicodedata import normalize

import numpy as np

from kdlnet.curation.formats.imported import ImportedImage, ImportResult
from kdlnet.data.labels import LabelProblem
from kdlnet.errors import DataError, unknown
from kdlnet.utils.words import counted

REST = "*"  # all classes that are not named otherwise

_OR_ITS_OWN = ", or leave that out: the source names its classes itself"
_GOOD_NOW = "image without another box: good part"  # what ``converted`` says of such an image


def class_order(imported: ImportResult, names: Sequence[str] | None) -> tuple[str, ...]:
    """``names``, else the source's own order, else the alphabet's.

    Raises DataError for a source without a box, a name that is there twice, and a class that is
    not in ``names``.
    """
    found = {name for image in imported.images for name in image.names}
    order = tuple(names) if names else imported.names or tuple(sorted(found))
    if not order:
        raise DataError(
            "the source has no boxes at all: check the format and its options"
            f"{_of_what_is_drawn(imported)}"
        )
    if len(set(order)) != len(order):
        raise DataError(f"class names {', '.join(order)}: each may be given once")
    for name in sorted(found - set(order)):
        hint = "Add it to --names" + (_OR_ITS_OWN if names and imported.names else "")
        raise DataError(unknown("class in the annotations", name, order, hint))
    return order


def _of_what_is_drawn(imported: ImportResult) -> str:
    """Why it is not used, and why files are left out; "" where nothing is lost."""
    lost, left = imported.lost, imported.left_out
    if lost:
        return f"; dropped {counted(len(lost), 'annotation')}, first {lost[0]}"
    return f"; left out {counted(len(left), 'file')}, first {left[0]}" if left else ""


def taken_as(
    imported: ImportResult, order: Sequence[str], classes: Mapping[str, str]
) -> ImportResult:
    """``imported`` with the classes that ``classes`` makes of its own, which are ``order``.

    A class that is mapped to another's name is one with it from here on; a new name stands where
    the first of its classes stood. Boxes of a class mapped to "" are no defects: they are left
    out, and an image that has no other is a good part. Of equal boxes that are now of one class the
    first stays. ``"*"`` maps what is not named itself. What was taken as what is counted in
    ``converted``.

    Raises DataError for a class that is not in ``order``, and where none is left.
    """
    spelled = {normalize("NFC", name): name for name in order}
    classes = {spelled.get(normalize("NFC", old), old): new for old, new in classes.items()}
    for name in classes.keys() - {REST}:
        if name not in order:
            raise DataError(unknown("class", name, order))
    became = {name: classes.get(name, classes.get(REST, name)) for name in order}
    left = tuple(dict.fromkeys(name for name in became.values() if name))
    if not left:
        raise DataError(
            f"--class leaves none of {', '.join(order)}: keep one, or name another with --names"
        )
    images = [_image(image, became) for image in imported.images]
    facts = {**imported.facts, "classes": {k: v for k, v in became.items() if k != v}}
    return replace(imported, images=images, names=left, facts=facts)


def _image(image: ImportedImage, became: Mapping[str, str]) -> ImportedImage:
    kept: dict[tuple[Any, ...], int] = {}  # name and corners, and where they stood
    told: list[str] = []
    twice: list[LabelProblem] = []
    for position, old in enumerate(image.names):
        new = became[old]
        if new != old:
            told.append(f"{old} taken as {new}" if new else f"{old} left out")
        box = (new, *image.boxes[position].tolist())
        if box in kept:
            value = f"{old} taken as {new}, which has the same box"
            twice.append(LabelProblem(image.path, 0, "duplicate", value, "dropped"))
        elif new:
            kept[box] = position
    if image.names and not kept:
        told.append(_GOOD_NOW)
    rows = list(kept.values())
    return replace(
        image,
        boxes=image.boxes[np.array(rows, dtype=np.intp)],
        names=tuple(box[0] for box in kept),
        outlines=tuple(image.outlines[row] for row in rows) if image.outlines else (),
        problems=(*image.problems, *twice),
        converted=(*image.converted, *told),
    )
