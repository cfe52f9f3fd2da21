"""Suspicious labels as files that LabelMe opens, beside the images and never in their place.

One JSON an image: the labels as they are, and what the model would add or change with a ``?``
before the name. kdlnet data convert reads no shape of such a name, so that nobody trains on a
suggestion that no person took over.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kdlnet.data.other_tools import SUGGESTED
from kdlnet.metrics.result import Floats, ImageResult
from kdlnet.metrics.suspects import Suspect, Suspects
from kdlnet.utils.files import write_atomic

_WORDS = {
    "unlabelled": "the model finds this with score {score:.3f}, and nothing is labelled here",
    "class": "the model finds this with score {score:.3f}, where {labelled!r} is labelled",
    "unfound": "no model finds this label: the best score near it is {score:.3f}",
}


def write_relabel(
    folder: Path, suspects: Suspects, images: Sequence[ImageResult], names: Sequence[str]
) -> list[Path]:
    """A JSON file for each image with a suspicious label, the most suspicious first.

    Images in several folders that share a name are told apart by a number. Raises KdlnetError where
    it cannot be written.
    """
    by_image: dict[str, list[Suspect]] = {}
    for suspect in suspects.boxes:
        by_image.setdefault(suspect.image, []).append(suspect)
    known = {image.name: image for image in images}
    written: list[Path] = []
    for name, found in by_image.items():
        file = _free(folder, Path(name).stem, written)
        document = labelme_document(known[name], found, names, file.parent)
        text = json.dumps(document, indent=2, ensure_ascii=False)
        write_atomic(file, text.encode("utf-8", "surrogateescape"))
        written.append(file)
    return written


def labelme_document(
    image: ImageResult, suspects: Sequence[Suspect], names: Sequence[str], folder: Path
) -> Mapping[str, Any]:
    """What LabelMe reads of one image from a file in ``folder``; boxes in its pixels."""
    unfound = {suspect.box: suspect for suspect in suspects if suspect.kind == "unfound"}
    shapes = []
    outlines = image.truth_outlines or [None] * len(image.truth_labels)
    boxes, labels = image.truth_boxes.tolist(), image.truth_labels.tolist()
    for box, label, outline in zip(boxes, labels, outlines, strict=True):
        suspect = unfound.get(tuple(round(value, 2) for value in box))
        shapes.append(_shape(names[label], box, suspect, outline))
    shapes += [
        _shape(f"{SUGGESTED}{suspect.found}", suspect.box, suspect)
        for suspect in suspects
        if suspect.kind != "unfound"
    ]
    height, width = image.size
    return {
        "version": "5.0.0",
        "flags": {},
        "shapes": shapes,
        "imagePath": _from(folder, Path(image.name)),
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
    }


def _shape(
    label: str, box: Sequence[float], suspect: Suspect | None, outline: Floats | None = None
) -> dict[str, Any]:
    x1, y1, x2, y2 = box
    words = ""
    if suspect is not None:
        words = _WORDS[suspect.kind].format(score=suspect.score, labelled=suspect.labelled)
    return {
        "label": label,
        "points": [[x1, y1], [x2, y2]] if outline is None else outline.tolist(),
        "group_id": None,
        "description": words,
        "shape_type": "rectangle" if outline is None else "polygon",
        "flags": {"suspicious": True} if suspect else {},
    }


def _from(folder: Path, image: Path) -> str:
    try:
        return Path(os.path.relpath(image.absolute(), folder.absolute())).as_posix()
    except ValueError:  # another drive
        return image.absolute().as_posix()


def _free(folder: Path, stem: str, taken: Sequence[Path]) -> Path:
    file, number = folder / f"{stem}.json", 1
    while file in taken:
        number += 1
        file = folder / f"{stem}-{number}.json"
    return file
