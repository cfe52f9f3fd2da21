"""Datasets as files: YOLO, COCO or Pascal VOC. The images are linked before, by the caller.

Pixels are written to a thousandth, so COCO and VOC keep boxes to within 0.001 pixels.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np

from kdlnet.curation.formats.imported import ImportedImage
from kdlnet.curation.writer import write_index
from kdlnet.data.labels import write_rows
from kdlnet.data.outlines import Outline
from kdlnet.errors import DataError

Items = Sequence[tuple[ImportedImage, Path]]
"""Images and their paths below the image folder, no two with one stem."""

_DECIMALS = 3
_CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029\ufffe\uffff]")


@dataclass(frozen=True)
class Exporter:
    """``images`` is the folder of the images, ``write`` puts the rest into the dataset folder.

    It is given the folder, the class names in order and the items of each split; where the form
    has a place for it, ``says_channels``, also what a model should read, 1 or 3 channels.
    """

    images: str
    write: Callable[..., None]
    says_channels: bool = False


def write_yolo(
    folder: Path, names: Sequence[str], splits: Mapping[str, Items], channels: int | None = None
) -> None:
    """A label file an image, a list file a split and data.yaml."""
    index = {name: position for position, name in enumerate(names)}
    for items in splits.values():
        for image, path in items:
            height, width = image.size
            boxes = image.boxes / np.array([width, height, width, height], np.float64)
            labels = np.array([index[name] for name in image.names], np.int64)
            outlines = [None if each is None else each / (width, height) for each in image.outlines]
            write_rows(_file(folder / "labels", path, ".txt"), boxes, labels, outlines)
    images = {split: [Path("images", path) for _, path in items] for split, items in splits.items()}
    write_index(folder, names, images, channels)


def write_coco(folder: Path, names: Sequence[str], splits: Mapping[str, Items]) -> None:
    """``annotations/instances_SPLIT.json``; all ids count from 1, classes in their order."""
    categories = [{"id": number, "name": name} for number, name in enumerate(names, start=1)]
    ids = {category["name"]: category["id"] for category in categories}
    (folder / "annotations").mkdir()
    for split, items in splits.items():
        images, annotations, numbers = [], [], count(1)
        for image_id, (image, path) in enumerate(items, start=1):
            height, width = image.size
            names_size = {"file_name": path.as_posix(), "height": height, "width": width}
            images.append({"id": image_id, **names_size})
            outlines = image.outlines or [None] * len(image.names)
            for name, box, drawn in zip(image.names, image.boxes.tolist(), outlines, strict=True):
                head = {"id": next(numbers), "image_id": image_id, "category_id": ids[name]}
                annotations.append({**head, **_coco_box(box), **_coco_outline(drawn)})
        content = {"images": images, "categories": categories, "annotations": annotations}
        text = json.dumps(content, ensure_ascii=False) + "\n"
        file = folder / "annotations" / f"instances_{split}.json"
        file.write_text(text, encoding="utf-8", newline="\n")


def write_voc(folder: Path, names: Sequence[str], splits: Mapping[str, Items]) -> None:
    """An XML file an image, ``ImageSets/Main/SPLIT.txt``, and the class order in classes.txt.

    Pixels count from 1 and the last one belongs to the box, as in the challenge. Raises DataError
    for a class whose name XML or a line of classes.txt cannot hold.
    """
    for name in names:
        if _CONTROL.search(name):
            raise DataError(
                f"class {name!r} holds a control character, which VOC cannot: rename it, "
                "or write another form with --to"
            )
    lists = folder / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    for split, items in splits.items():
        for image, path in items:
            tree = ElementTree.ElementTree(_voc_annotation(image, path))
            ElementTree.indent(tree)
            tree.write(_file(folder / "Annotations", path, ".xml"), encoding="utf-8")
        lines = sorted(f"{path.with_suffix('').as_posix()}\n" for _, path in items)
        (lists / f"{split}.txt").write_text("".join(lines), encoding="utf-8", newline="\n")
    text = "".join(f"{name}\n" for name in names)
    (folder / "classes.txt").write_text(text, encoding="utf-8", newline="\n")


EXPORTERS = {
    "yolo": Exporter("images", write_yolo, says_channels=True),
    "coco": Exporter("images", write_coco),
    "voc": Exporter("JPEGImages", write_voc),
}


def _file(folder: Path, path: Path, suffix: str) -> Path:
    file = folder / path.with_suffix(suffix)
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


def _coco_box(box: Sequence[float]) -> dict[str, Any]:
    x1, y1, x2, y2 = (round(side, _DECIMALS) for side in box)
    width, height = round(x2 - x1, _DECIMALS), round(y2 - y1, _DECIMALS)
    area = round(width * height, _DECIMALS)
    return {"bbox": [x1, y1, width, height], "area": area, "iscrowd": 0, "segmentation": []}


def _coco_outline(outline: Outline | None) -> dict[str, Any]:
    if outline is None:
        return {}
    corners = outline.round(_DECIMALS)
    area = round(float(cv2.contourArea(corners.astype(np.float32))), _DECIMALS)
    return {"area": area, "segmentation": [corners.reshape(-1).tolist()]}


def _voc_annotation(image: ImportedImage, path: Path) -> ElementTree.Element:
    root = ElementTree.Element("annotation")
    _texts(root, folder=Path("JPEGImages", path.parent).as_posix(), filename=path.name)
    height, width = image.size
    _texts(ElementTree.SubElement(root, "size"), width=width, height=height)
    _texts(root, segmented=0)
    for name, (x1, y1, x2, y2) in zip(image.names, image.boxes.tolist(), strict=True):
        thing = ElementTree.SubElement(root, "object")
        _texts(thing, name=name, pose="Unspecified", truncated=0, difficult=0)
        sides = {"xmin": x1 + 1, "ymin": y1 + 1, "xmax": x2, "ymax": y2}
        texts = {side: f"{value:.{_DECIMALS}f}" for side, value in sides.items()}
        plain = {side: text.rstrip("0").rstrip(".") for side, text in texts.items()}
        _texts(ElementTree.SubElement(thing, "bndbox"), **plain)
    return root


def _texts(parent: ElementTree.Element, **texts: object) -> None:
    for tag, text in texts.items():
        ElementTree.SubElement(parent, tag).text = str(text)
