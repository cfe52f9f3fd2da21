"""YOLO datasets: rows of boxes or polygons, with a data.yaml or a list of class names.

Without a data.yaml the label files may lie in one tree and the images in another.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import numpy as np

from kdlnet.curation.formats.boxes import outline_in, size_of
from kdlnet.curation.formats.imported import (
    NO_ANNOTATION,
    ImportedImage,
    ImportOptions,
    ImportResult,
    doubt_good_parts,
    sort_out,
)
from kdlnet.curation.formats.locate import annotation_files
from kdlnet.curation.formats.parse import read_class_file, split_named
from kdlnet.curation.formats.shapes import box_around
from kdlnet.data.catalog import find_dataset
from kdlnet.data.label_files import ANY_CLASS, LabelReader, find_unread
from kdlnet.data.labels import LabelProblem
from kdlnet.data.listing import label_path, list_images
from kdlnet.errors import DataError
from kdlnet.images.folder import LeftOut, images_below, unread_line
from kdlnet.images.several import suffixes
from kdlnet.utils.paths import shown, typed
from kdlnet.utils.text import plain

_Images = dict[Path, str | None]


@dataclass(frozen=True)
class _Set:
    """What a data.yaml says of a set, or a folder without one: each image with its split.

    ``label_of`` says where the label file of an image belongs.
    """

    names: tuple[str, ...]
    images: _Images
    channels: int | None = None
    kpt_shape: tuple[int, int] | None = None
    label_of: Callable[[Path], Path] = label_path


def import_yolo(source: Path, options: ImportOptions) -> ImportResult:
    """The images of a data.yaml, each with its split.

    ``source`` is the file or its folder, where it may have another name if it is the only YAML.
    Without one, of all images below ``source``, with the classes of ``classes.txt`` or
    ``obj.names``, there or beside the labels, or else ``options.names``, and the split that a
    folder is named after. With ``options.images`` the images are those below that folder, and the
    label file of one is that of the same path below ``source``; label files without an image are
    left out. Polygons (rows of a class and three or more points, also oriented boxes of four)
    become their box.

    Raises DataError when an image is in two splits, nothing names the classes of all, or the
    folder of the images is given beside a data.yaml.
    """
    yaml, said = _set(source, options)
    names, images, label_of = said.names, said.images, said.label_of
    read = LabelReader(images, len(names), said.kpt_shape, label_of)
    unread = find_unread(sorted(set(images) - options.labelled), images, read)
    found = sort_out(
        _elsewhere(image, unread.elsewhere[image])
        if image in unread.elsewhere
        else _image(image, images[image], names, read)
        for image in sorted(images)
    )
    unlisted = _unlisted(source, images) if yaml and source.is_dir() else ()
    file_of = {image: file for image in images if (file := label_of(image)).is_file()}
    alone = _alone(source, images, read, unread.elsewhere.values()) if options.images else []
    return replace(
        doubt_good_parts(found, alone or unread.ownerless, file_of),
        left_out=[*found.left_out, *unlisted, *map(_without_image, alone)],
        names=names,
        channels=said.channels,
        warnings=(
            *replace(unread, ownerless=[]).lines(len(images)),
            *_lost_keypoints(said),
            *_numbered_otherwise(names, options.names),
        ),
    )


def _lost_keypoints(said: _Set) -> Iterator[str]:
    if said.kpt_shape is not None:
        yield (
            f"its keypoints (kpt_shape: {list(said.kpt_shape)}) are not taken over, only boxes and "
            "outlines: keep the old dataset for a model of keypoints"
        )


def _numbered_otherwise(own: Sequence[str], given: Sequence[str]) -> Iterator[str]:
    """A line where the source's ``own`` classes have other numbers than the names ``given``."""
    if given and tuple(own) != tuple(given[: len(own)]):
        yield (
            f"the numbers in its labels are those of its own classes ({', '.join(own)}): --names "
            f"({', '.join(given)}) is only the order in which they are written"
        )


def splits_of(source: Path) -> Mapping[Path, str | None]:
    """The split of each image that :func:`import_yolo` reads. Raises DataError as that does."""
    return _set(source, ImportOptions())[1].images


def _set(source: Path, options: ImportOptions) -> tuple[Path | None, _Set]:
    yaml = source if source.is_file() else _find_yaml(source)
    if yaml and options.images:
        raise DataError(
            f"{str(yaml)!r} says where the images are: leave out --images, or give a folder of "
            "label files that does not hold it"
        )
    return yaml, _described(yaml) if yaml else _bare(source, options)


def _alone(
    source: Path, images: Iterable[Path], read: LabelReader, known: Iterable[Path]
) -> list[Path]:
    """The files below ``source`` with boxes in them that are those of no image, nor ``known``."""
    used, files = {*map(read.label_of, images), *known}, annotation_files(source, ".txt")
    spelled = {plain(str(file)) for file in used.difference(files)}  # found where case is ignored
    return [
        file
        for file in files
        if file not in used and plain(str(file)) not in spelled and _has_boxes(file, read)
    ]


def _has_boxes(file: Path, read: LabelReader) -> bool:
    try:
        return len(read.read(file)[0].labels) > 0
    except DataError:
        return False


def _without_image(file: Path) -> LabelProblem:
    return LabelProblem(file, 0, "no image", file.name, "dropped")


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


def _bare(source: Path, options: ImportOptions) -> _Set:
    root, label_of = options.images or source, label_path
    if options.images:
        label_of = partial(_label_below, source, root)
    left = LeftOut()
    images = {image: _split(root, image) for image in images_below(root, left)}
    files = ((image, label_of(image)) for image in images)
    folders = sorted({(file.parent, image.parent) for image, file in files if file.is_file()})
    names = read_class_file(source) or _names_beside((source, root), folders) or options.names
    if not folders:
        read = LabelReader(images, ANY_CLASS, label_of=label_of)
        lost = find_unread([*images], images, read).elsewhere
        if (names or options.images) and not images:
            why = f"looked for {suffixes()}, not in hidden folders; --images names their folder"
            why = unread_line(left.unread) if left.unread else why
            raise DataError(f"no image below {str(root)!r}: {why}")
        if names or lost or options.images:
            first = [*lost.items()][:1]
            there = f" below {str(source)!r}" if options.images else ""
            raise DataError(
                f"no image below {str(root)!r} has a label file{there}: none would have a box"
                + "".join(f"; {str(f)!r} is no {str(label_of(i))!r}" for i, f in first)
                + _command(lost, images, names)
            )
    if not names:
        raise DataError(
            f"folder {str(source)!r} holds no data.yaml and no classes.txt: name the folder of a "
            "YOLO set, or give its class names in the order of their numbers with --names"
        )
    return _Set(names, images, label_of=label_of)


def _label_below(source: Path, root: Path, image: Path) -> Path:
    """The file below ``source`` that lies as ``image`` does below ``root``."""
    return source / image.parent.relative_to(root) / f"{image.stem}.txt"


def _command(lost: Mapping[Path, Path], images: Collection[Path], names: Sequence[str]) -> str:
    """What to call where all of the ``lost`` label files lie as ``images`` do, but elsewhere."""
    if not lost:
        return ""
    root, source = (file.parent for file in next(iter(lost.items())))
    while root != source and root.name == source.name:
        root, source = root.parent, source.parent
    if not all(image.is_relative_to(root) for image in images):
        return ""
    if any(_label_below(source, root, image) != file for image, file in lost.items()):
        return ""
    more = () if names else ("--names", "A,B")
    return f": use kdlnet data convert yolo {typed(shown(source), '--images', shown(root), *more)}"


def _names_beside(
    roots: tuple[Path, Path], folders: Sequence[tuple[Path, Path]]
) -> tuple[str, ...]:
    """The class names in ``folders`` of label files, where LabelImg leaves them, or above, below
    one of the ``roots``.

    Else those in the folders of their images, the second of each pair, or above; () where there are
    none. Raises DataError where some have other ones than others.
    """
    found = {}
    for labels, images in folders:
        around = (labels, *labels.parents, images, *images.parents)
        places = (place for place in around if any(map(place.is_relative_to, roots)))
        found[next(filter(None, map(read_class_file, places)), ())] = str(labels)
    if len(found) > 1:
        one, other, *_ = found.values()
        raise DataError(
            f"labels in {one!r} and {other!r} do not have the same class names beside them: write "
            "those of all, in the order of their numbers, into "
            f"{str(roots[0] / 'classes.txt')!r}"
        )
    return next(iter(found), ())


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
    labelled = read.label_of(image).is_file()
    converted = ("polygon",) * labels.polygons if labelled else (NO_ANNOTATION,)
    outlines = [None if each is None else each * (width, height) for each in labels.outlines]
    fitted = tuple(
        None if each is None else outline_in(box_around(each.tolist()), box, each)
        for box, each in zip(map(tuple, boxes.tolist()), outlines, strict=True)
    )
    return ImportedImage(
        image, (height, width), boxes, names, tuple(problems), split, converted, fitted
    )
