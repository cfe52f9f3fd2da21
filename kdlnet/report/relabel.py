"""Suspicious labels as files that LabelMe opens, beside the images and never in their place.

One JSON an image: the labels as they are, and what the model would add or change with a ``?``
before the name. kdlnet data convert reads no shape of such a name, so that nobody trains on a
suggestion that no person took over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kdlnet.data.other_tools import SUGGESTED
from kdlnet.metrics.result import ImageResult
from kdlnet.metrics.suspects import Suspect, Suspects
from kdlnet.report.labelme import labelme_shape, write_labelme

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
        image = known[name]
        write_labelme(file, Path(name), image.size, list(_shapes(image, found, names)))
        written.append(file)
    return written


def _shapes(
    image: ImageResult, suspects: Sequence[Suspect], names: Sequence[str]
) -> Iterator[Mapping[str, Any]]:
    """The labels of ``image``, outlines as polygons, then what the model would add or change.

    Those outside of a region of interest, too: the file stands in place of all that the image has.
    """
    unfound = {suspect.box: suspect for suspect in suspects if suspect.kind == "unfound"}
    truth = image.truth_boxes, image.truth_labels, image.truth_outlines
    boxes, labels, outlines = image.labelled or truth
    looked_for = image.truth_boxes.tolist() + [()] * (len(boxes) - len(image.truth_boxes))
    rows = (boxes.tolist(), labels.tolist(), outlines or [None] * len(boxes), looked_for)
    for box, label, outline, seen in zip(*rows, strict=True):
        suspect = unfound.get(tuple(round(value, 2) for value in seen))
        if suspect is None:
            yield labelme_shape(names[label], box, outline=outline)
        else:
            yield labelme_shape(names[label], box, _said(suspect), outline, suspicious=True)
    for suspect in suspects:
        if suspect.kind != "unfound":
            label = f"{SUGGESTED}{suspect.found}"
            yield labelme_shape(label, suspect.box, _said(suspect), suspicious=True)


def _said(suspect: Suspect) -> str:
    return _WORDS[suspect.kind].format(score=suspect.score, labelled=suspect.labelled)


def _free(folder: Path, stem: str, taken: Sequence[Path]) -> Path:
    file, number = folder / f"{stem}.json", 1
    while file in taken:
        number += 1
        file = folder / f"{stem}-{number}.json"
    return file
