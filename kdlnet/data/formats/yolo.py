"""YOLO datasets: a data.yaml with label files, read through the catalog as training reads them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from kdlnet.data.catalog import DatasetInfo, find_dataset, label_path, list_images
from kdlnet.data.formats.record import ImportOptions, ImportResult, Record, sort_out
from kdlnet.data.labels import LabelProblem, read_labels
from kdlnet.data.read import image_size
from kdlnet.errors import DataError


def import_yolo(source: Path, options: ImportOptions) -> ImportResult:
    """Records of every split of the data.yaml in the folder ``source``, each with its split.

    Raises DataError when an image is in two splits.
    """
    if not (source / "data.yaml").is_file():
        raise DataError(f"folder {str(source)!r} holds no data.yaml: name the folder of a YOLO set")
    info = find_dataset(str(source / "data.yaml"))
    found: dict[Path, Record | LabelProblem] = {}
    for split in info.splits:
        for image in list_images(info, split):
            if image in found:
                raise DataError(
                    f"image {str(image)!r} is in split {split!r} and in another one: leave it in "
                    f"one split of {info.source}"
                )
            found[image] = _record(info, image, split)
    return replace(sort_out(found[image] for image in sorted(found)), names=info.names)


def _record(info: DatasetInfo, image: Path, split: str) -> Record | LabelProblem:
    try:
        height, width = image_size(image)
    except DataError as error:
        return LabelProblem(image, 0, "unreadable", str(error), "dropped")
    labels, problems = read_labels(label_path(image), len(info.names))
    boxes = labels.boxes * np.array([width, height, width, height])
    names = tuple(info.names[label] for label in labels.labels)
    return Record(image, (height, width), boxes, names, tuple(problems), split)
