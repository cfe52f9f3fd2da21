"""YOLO datasets: rows of boxes or polygons, with a data.yaml or a list of class names."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from kdlnet.curation.formats.boxes import outline_in, size_of
from kdlnet.curation.formats.imported import (
    ImportedImage,
    ImportOptions,
    ImportResult,
    doubt_good_parts,
    sort_out,
)
from kdlnet.curation.formats.parse import read_class_file, split_named
from kdlnet.curation.formats.shapes import box_around
from kdlnet.data.catalog import find_dataset
from kdlnet.data.label_files import ANY_CLASS, LabelReader, find_unread
from kdlnet.data.labels import LabelProblem
from kdlnet.data.listing import label_path, list_images
from kdlnet.errors import DataError
from kdlnet.images.folder import images_below

_Images = dict[Path, str | None]


@dataclass(frozen=True)
class _Set:
    """What a data.yaml says of a set, or a folder without one: each image with its split."""

    names: tuple[str, ...]
    images: _Images
    channels: int | None = None
    kpt_shape: tuple[int, int] | None = None


def import_yolo(source: Path, options: ImportOptions) -> ImportResult:
    """The images of a data.yaml, each with its split.

    ``source`` is the file or its folder, where it may have another name if it is the only YAML.
    Without one, of all images below ``source``, with the classes of ``classes.txt`` or
    ``obj.names``, there or beside the labels, and the split that a folder is named after. Polygons
    (rows of a class and three or more points, also oriented boxes of four) become their box.

    Raises DataError when an image is in two splits, or nothing names the classes of all.
    """
    yaml, said = _set(source)
    names, images = said.names, said.images
    read = LabelReader(images, len(names), said.kpt_shape)
    unread = find_unread(sorted(set(images) - options.labelled), images, read)
    found = sort_out(
        _elsewhere(image, unread.elsewhere[image])
        if image in unread.elsewhere
        else _image(image, images[image], names, read)
        for image in sorted(images)
    )
    unlisted = _unlisted(source, images) if yaml and source.is_dir() else ()
    file_of = {image: file for image in images if (file := label_path(image)).is_file()}
    return replace(
        doubt_good_parts(found, unread.ownerless, file_of),
        left_out=[*found.left_out, *unlisted],
        names=names,
        channels=said.channels,
        warnings=(*replace(unread, ownerless=[]).lines(len(images)), *_lost_keypoints(said)),
    )


def _lost_keypoints(said: _Set) -> Iterator[str]:
    if said.kpt_shape is not None:
        yield (
            f"its keypoints (kpt_shape: {list(said.kpt_shape)}) are not taken over, only boxes and "
            "outlines: keep the old dataset for a model of keypoints"
        )


def splits_of(source: Path) -> Mapping[Path, str | None]:
    """The split of each image that :func:`import_yolo` reads. Raises DataError as that does."""
    return _set(source)[1].images


def _set(source: Path) -> tuple[Path | None, _Set]:
    yaml = source if source.is_file() else _find_yaml(source)
    return yaml, _described(yaml) if yaml else _bare(source)


def _unlisted(source: Path, images: _Images) -> Iterator[LabelProblem]:
    """Images with a label file of their own that no split names, by whichever links it does."""
    real = cache(os.path.realpath)
    own = {Path(real(image.parent), image.name) for image in images}
    read = {label_path(image) for image in own}
    for image in images_below(Path(real(source))):
        listed = Path(real(image.parent), image.name) in own
        if not listed and (file := label_path(image)) not in read and file.is_file():
            yield LabelProblem(image, 0, "no split", image.name, "dropped")


def _find_yaml(source: Path) -> Path | None:
    if (source / "data.yaml").is_file():
        return source / "data.yaml"
    found = [file for file in source.iterdir() if file.suffix.lower() in {".yaml", ".yml"}]
    return found[0] if len(found) == 1 else None


def _described(yaml: Path) -> _Set:
    info = find_dataset(str(yaml))
    images: _Images = {}
    for split in info.splits:
        for image in list_images(info, split):
            if image in images:
                raise DataError(
                    f"image {str(image)!r} is in split {split!r} and in another one: leave it in "
                    f"one split of {info.source}"
                )
            images[image] = split
    return _Set(info.names, images, info.channels, info.kpt_shape)


def _bare(source: Path) -> _Set:
    images = {image: _split(source, image) for image in images_below(source)}
    files = ((image, label_path(image)) for image in images)
    folders = sorted({(file.parent, image.parent) for image, file in files if file.is_file()})
    names = read_class_file(source)
    if not folders:
        lost = find_unread([*images], images, LabelReader(images, ANY_CLASS)).elsewhere
        said = [f"; {str(file)!r} is no {str(label_path(image))!r}" for image, file in lost.items()]
        if names or said:
            raise DataError(
                f"no image below {str(source)!r} has a label file: none would have a box"
                + "".join(said[:1])
            )
    return _Set(names or _names_beside(source, folders), images)


def _names_beside(source: Path, folders: Sequence[tuple[Path, Path]]) -> tuple[str, ...]:
    """The class names in ``folders`` of label files, where LabelImg leaves them, or above.

    Else those in the folders of their images, the second of each pair, or above. Raises DataError
    unless all have the same.
    """
    found = {}
    for labels, images in folders:
        around = (labels, *labels.parents, images, *images.parents)
        places = (place for place in around if place.is_relative_to(source))
        found[next(filter(None, map(read_class_file, places)), ())] = str(labels)
    if len(found) > 1:
        one, other, *_ = found.values()
        raise DataError(
            f"labels in {one!r} and {other!r} do not have the same class names beside them: write "
            "those of all, in the order of their numbers, into "
            f"{str(source / 'classes.txt')!r}"
        )
    if not any(found):
        raise DataError(
            f"folder {str(source)!r} holds no data.yaml and no classes.txt: name the folder of a "
            "YOLO set, or write its class names into classes.txt, one a line"
        )
    return next(iter(found))


def _split(source: Path, image: Path) -> str | None:
    folders = image.relative_to(source).parent.parts
    return next(filter(None, map(split_named, folders)), None)


def _elsewhere(image: Path, file: Path) -> LabelProblem:
    return LabelProblem(image, 0, "labels elsewhere", str(file), "dropped")


def _image(
    image: Path, split: str | None, class_names: tuple[str, ...], read: LabelReader
) -> ImportedImage | LabelProblem:
    try:
        height, width = size_of(image)
    except DataError as error:
        return LabelProblem(image, 0, "unreadable", str(error), "dropped")
    labels, problems = read(image)
    boxes = labels.boxes * np.array([width, height, width, height])
    names = tuple(class_names[label] for label in labels.labels)
    converted = ("polygon",) * labels.polygons
    outlines = [None if each is None else each * (width, height) for each in labels.outlines]
    fitted = tuple(
        None if each is None else outline_in(box_around(each.tolist()), box, each)
        for box, each in zip(map(tuple, boxes.tolist()), outlines, strict=True)
    )
    return ImportedImage(
        image, (height, width), boxes, names, tuple(problems), split, converted, fitted
    )
