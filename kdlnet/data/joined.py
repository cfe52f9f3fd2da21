"""Several datasets as one: their classes in one list, told apart by name.

An image is labelled for the classes of its own set alone. Of the others it says nothing: it is no
proof that their defects are absent, so training and figures leave it out for them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from kdlnet.data.catalog import DatasetInfo, find_dataset
from kdlnet.data.digest import copies
from kdlnet.data.labels import Split
from kdlnet.data.listing import all_images, entry_path
from kdlnet.data.schema import SPLITS
from kdlnet.errors import DataError
from kdlnet.utils.given import Name
from kdlnet.utils.text import plain
from kdlnet.utils.words import counted


def find_datasets(names: Name | Sequence[Name], data_root: Path | None = None) -> DatasetInfo:
    """The dataset of this name, see :func:`find_dataset`, or the one that joins several."""
    names = [names] if isinstance(names, str | os.PathLike) else names
    found = [find_dataset(name, data_root) for name in names]
    return found[0] if len(found) == 1 else join(found)


def join(parts: Sequence[DatasetInfo]) -> DatasetInfo:
    """One dataset of all images of ``parts``; to a split that it lacks a part adds nothing.

    A class that several have by the same name is one class. Raises DataError where a dataset is
    named twice.
    """
    named = [(part.source.resolve(), part.name) for part in parts]
    twice = next(
        (part for part, key in zip(parts, named, strict=True) if named.count(key) > 1), None
    )
    if twice is not None:
        raise DataError(f"dataset {twice.name!r} is named twice: name each once")
    splits = dict.fromkeys(split for part in parts for split in part.splits)
    channels = [part.channels for part in parts]
    return DatasetInfo(
        name="+".join(part.name for part in parts),
        source=parts[0].source,
        root=_common_root(parts),
        names=tuple(dict.fromkeys(name for part in parts for name in part.names)),
        splits={
            split: tuple(
                str(entry_path(part, entry))
                for part in parts
                for entry in part.splits.get(split, ())
            )
            for split in splits
        },
        channels=3 if 3 in channels else None if None in channels else 1,
        parts=tuple(parts),
    )


def with_split(info: DatasetInfo, split: str, other: str) -> DatasetInfo:
    """The dataset whose ``split`` holds the images of ``other``, too."""
    if info.parts:
        return join([with_split(part, split, other) for part in info.parts])
    if other not in info.splits:
        return info
    entries = info.splits.get(split, ()) + info.splits[other]
    return replace(info, splits=info.splits | {split: entries})


def _common_root(parts: Sequence[DatasetInfo]) -> Path:
    """The folder around all of ``parts``; that of the first where they are on several drives."""
    try:
        return Path(os.path.commonpath([part.root for part in parts]))
    except ValueError:
        return parts[0].root


def described(info: DatasetInfo) -> list[str]:
    """Lines that say what was joined, none where nothing was."""
    if not info.parts:
        return []
    sets = ", ".join(f"{part.name} ({len(part.names)})" for part in info.parts)
    classes = counted(len(info.names), "class", "classes")
    lines = [f"joined {classes} of {sets}; an image counts for those of its set"]
    shared = [name for name in info.names if sum(name in part.names for part in info.parts) > 1]
    if shared:
        lines.append(f"the same class in several sets, since of one name: {', '.join(shared)}")
    first: dict[str, str] = {}
    for name in info.names:
        if (other := first.setdefault(plain(name), name)) != name:
            how = "differ in case or Unicode form alone and stay two classes"
            lines.append(f"{other!a} and {name!a} {how}: give them one name if they are one")
    lines += [
        f"{part.name} has no {split}: that of the others is used"
        for split in info.splits
        for part in info.parts
        if split not in part.splits
    ]
    return lines


def renumber(split: Split, names: Sequence[str], wanted: Sequence[str]) -> Split:
    """The split with labels counted in ``wanted`` instead of ``names``, matched by class name.

    Classes of ``wanted`` alone were not looked for. Raises DataError for one of ``names`` alone.
    """
    if tuple(names) == tuple(wanted):
        return split
    missing = [name for name in names if name not in wanted]
    if missing:
        raise DataError(
            f"the dataset has {counted(len(missing), 'class', 'classes')} that the weights lack "
            f"({', '.join(missing)}); they know {', '.join(wanted)}: "
            "give a dataset with these class names, or train on this one with --init"
        )
    row = np.array([list(wanted).index(name) for name in names], np.int64)
    known = None if len(names) == len(wanted) else np.isin(np.arange(len(wanted)), row)
    labels = []
    for found in split.labels:
        seen = known
        if found.looked_for is not None:
            seen = np.zeros(len(wanted), bool)
            seen[row] = found.looked_for
        whole = found.whole and replace(found.whole, labels=row[found.whole.labels])
        labels.append(replace(found, labels=row[found.labels], looked_for=seen, whole=whole))
    return replace(split, labels=labels)


def put_together(
    splits: Sequence[tuple[DatasetInfo, Split]], info: DatasetInfo, name: str
) -> Split:
    """The split ``name`` of several parts of ``info``, with the labels and warnings of each.

    A warning more tells of copies of images that another part has in an earlier split.

    Raises DataError for an image that two of the datasets have, be it in other splits.
    """
    _refuse_shared(info)
    renumbered = [renumber(split, part.names, info.names) for part, split in splits]
    first = renumbered[0]
    return replace(
        first,
        paths=[path for split in renumbered for path in split.paths],
        labels=[labels for split in renumbered for labels in split.labels],
        problems=[problem for split in renumbered for problem in split.problems],
        left_out=[line for split in renumbered for line in split.left_out],
        warnings=[
            *_copied(splits, info, name),
            *(line for split in renumbered for line in split.warnings),
        ],
    )


def _copied(
    splits: Sequence[tuple[DatasetInfo, Split]], info: DatasetInfo, name: str
) -> Iterator[str]:
    """A line for images that lie, with the same bytes, in an earlier split of another part."""
    found = []
    for part, split in splits:
        for other in info.parts:
            before = {one: other.splits[one] for one in _before(name) if one in other.splits}
            if other is not part and before:
                found += copies(split.paths, all_images(replace(other, splits=before)))
    if found:
        (image, twin), count = found[0], len({image for image, _ in found})
        yield (
            f"{count} of {sum(len(split.paths) for _, split in splits)} images are there in "
            f"{' or '.join(_before(name))} of another dataset, too, first {str(image)!r} as "
            f"{str(twin)!r}, and figures on them flatter: leave them out of one"
        )


def _before(split: str) -> tuple[str, ...]:
    return SPLITS[: SPLITS.index(split)]


def _refuse_shared(info: DatasetInfo) -> None:
    """Trained on in one set and measured on in the other it would flatter, and its rows have one
    list of classes."""
    owner: dict[Path, DatasetInfo] = {}
    for part in info.parts:
        for path in all_images(part):
            first = owner.setdefault(path, part)
            if first is not part:
                raise DataError(
                    f"{str(path)!r} is in the datasets {first.name!r} and {part.name!r}, with one "
                    "label file for both: give it to one of them"
                )
