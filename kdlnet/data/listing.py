"""The images of a split, and where the labels of an image are."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import chain
from pathlib import Path

from kdlnet.data.catalog import ROOT_VARIABLE, DatasetInfo
from kdlnet.errors import DataError, unknown
from kdlnet.images.folder import (
    UNREAD_SUFFIXES,
    LeftOut,
    folders_with_images,
    glob_root,
    images_below,
    matches,
    not_whole_among,
    outside_results,
)
from kdlnet.images.read import IMAGE_SUFFIXES
from kdlnet.utils.paths import asked
from kdlnet.utils.text import listed_paths

_DRIVE = re.compile(r"(?:^|/)([A-Za-z]:[\\/]|\\\\\w)")  # as Windows writes paths, and shares


def parts_with(info: DatasetInfo, split: str) -> list[DatasetInfo]:
    """The datasets joined in ``info`` that have this split; none if it is one of its own.

    Raises DataError for a split that ``info`` does not have.
    """
    if split not in info.splits:
        hint = f"Add it to {info.source}, or let kdlnet data split make it"
        raise DataError(f"dataset {info.name!r}: " + unknown("split", split, info.splits, hint))
    return [part for part in info.parts if split in part.splits]


def list_images(info: DatasetInfo, split: str, left: LeftOut | None = None) -> list[Path]:
    """Absolute paths of the split's images, sorted, each once; symbolic links are not followed.

    An entry is a folder (searched recursively), a glob or a .txt list, its lines relative to its
    folder if they start with ``./``, else to the dataset's root. ``left`` collects what is not
    taken: folders of results, pictures that are not read, and folders that a glob matches with
    images that are in no split.

    Raises DataError for an unknown or empty split, a missing entry, a glob that matches folders
    alone, and listed images that are not there (first one and count) or are a folder; it looks at
    every entry first, for what is ``left``.
    """
    if parts := parts_with(info, split):
        return sorted(path for part in parts for path in list_images(part, split, left))
    images: set[str] = set()
    wrong = None
    for entry in info.splits[split]:
        try:
            images.update(_entry_images(info, entry, left or LeftOut()))
        except DataError as error:
            wrong = wrong or error
    if wrong is not None:
        raise wrong
    if not images:
        where = ", ".join(info.splits[split])
        raise DataError(
            f"split {split!r} of dataset {info.name!r} has no images in {where} below "
            f"{info.root}: put {', '.join(sorted(IMAGE_SUFFIXES))} files there"
        )
    found = [Path(image) for image in sorted(images)]
    if left is not None and left.folders:
        left.folders[:] = not_whole_among(chain(found, all_images(info)), left.folders)
    return found


def all_images(info: DatasetInfo) -> Iterator[Path]:
    """The images of every split that can be listed."""
    for split in info.splits:
        try:
            yield from list_images(info, split)
        except DataError:  # said where the split is used
            continue


def label_path(image: Path) -> Path:
    """Label file of an image: the last folder ``images`` becomes ``labels``, else beside it."""
    return _label_folder(image.parent) / f"{image.stem}.txt"


@lru_cache
def _label_folder(folder: Path) -> Path:
    """Kept for the next image: most have the folder of the one before."""
    folders = list(folder.parts)
    for position in reversed(range(len(folders))):
        if folders[position] == "images":
            folders[position] = "labels"
            break
    return Path(*folders)


def _entry_images(info: DatasetInfo, entry: str, left: LeftOut) -> Iterable[str]:
    path = entry_path(info, entry)
    if path.is_dir():
        return map(str, images_below(path, left))
    if path.suffix.lower() == ".txt" and path.is_file():
        return _listed_images(info, path)
    if path.is_file():
        return [str(path)]
    if any(mark in entry for mark in "*?["):
        pattern = entry_pattern(info, path)
        found = matches(pattern)
        images = [each for each in found if each.suffix.lower() in IMAGE_SUFFIXES]
        if not images and any(each.is_dir() for each in found):
            raise DataError(
                f"{entry!r} of dataset {info.name!r} matches folders and no image: write "
                f"{entry.rstrip('/') + '/**/*'!r} in {info.source}"
            )
        others = (each for each in found if each.suffix.lower() in UNREAD_SUFFIXES)
        files = (each for each in others if each.name[0] != "." and asked(each.is_file))
        root = glob_root(pattern)
        inside = (each for each in found if each.suffix.lower() not in IMAGE_SUFFIXES)
        left.folders.extend(folders_with_images(inside, pattern))
        left.unread.update(outside_results(files, root, left.results))
        return map(str, outside_results(images, root, left.results))
    raise DataError(_missing_entry(info, path))


def entry_path(info: DatasetInfo, entry: str) -> Path:
    """Where the ``entry`` of a split leads; it may be a pattern."""
    path = Path(os.path.normpath(info.root / entry))
    # Some labelling services write "../train/images" for a folder that lies beside the data.yaml.
    if entry.startswith("../") and not path.exists():
        inside = info.root / entry.removeprefix("../")
        return inside if inside.exists() else path
    return path


def entry_pattern(info: DatasetInfo, path: Path) -> str:
    """The pattern ``path`` of an entry, in which folders around the dataset are no patterns."""
    for folder in (info.root, *info.root.parents):
        if path.is_relative_to(folder):
            return str(Path(glob.escape(str(folder)), path.relative_to(folder)))
    return str(path)  # on another drive


def _listed_images(info: DatasetInfo, file: Path) -> list[str]:
    images = []
    for line in listed_paths(file, "image list"):
        base = file.parent if line.startswith("./") else info.root
        images.append(os.path.normpath(base / line))
    missing = _missing(images)
    if missing:
        if len(missing) == len(images) and info.prepare:
            raise DataError(_missing_entry(info, file.parent))
        raise DataError(
            f"{len(missing)} of {len(images)} images listed in {str(file)!r} are missing, first "
            f"{missing[0]!r}: correct the list{_slashes(missing[0])} or the dataset's path"
        )
    # A folder with the suffix of an image is found when it is read: asking each would take long.
    others = (i for i in images if not i.lower().endswith(tuple(IMAGE_SUFFIXES)))
    if folder := next(filter(os.path.isdir, others), None):
        raise DataError(
            f"{str(file)!r} lists the folder {folder!r}: a list names images; write them there, or "
            f"the folder in {info.source}"
        )
    return images


def _missing(images: Iterable[str]) -> list[str]:
    """Those that do not exist. One look at each folder instead of one at each file."""
    contents: dict[str, set[str]] = {}
    missing = []
    for image in images:
        folder, name = os.path.split(image)
        if folder not in contents:
            here = Path(folder)
            contents[folder] = {path.name for path in here.iterdir()} if here.is_dir() else set()
        if name not in contents[folder]:
            missing.append(image)
    return missing


def _missing_entry(info: DatasetInfo, path: Path) -> str:
    if info.prepare:
        return (
            f"images of dataset {info.name!r} are not in {info.root}; get them with: "
            f"{info.prepare} (or name the folder that holds {info.root.name!r} with --data-root "
            f"or ${ROOT_VARIABLE})"
        )
    written = str(path)
    drive = _drive(written)
    if drive is None:
        how = f"correct it{_slashes(written)}"
        return f"'{written}' of dataset {info.name!r} does not exist: {how} in {info.source}"
    how = f"correct it in {info.source}"
    if _drive(str(info.root)) is not None:
        how = (
            f"remove the line 'path' from {info.source} where its folder holds the images, else "
            "correct it"
        )
    return f"'{written[drive:]}' of dataset {info.name!r} is a path of another machine: {how}"


def _drive(path: str) -> int | None:
    """Where a drive letter or a share of Windows stands in ``path``, else None; so on Windows."""
    found = _DRIVE.search(path) if os.sep == "/" else None
    return found.start(1) if found else None


def _slashes(path: str) -> str:
    """What to do with a path that was written on Windows."""
    if _drive(path) is not None:
        return ", which has paths of another machine,"
    return " with / in place of \\" if "\\" in path and os.sep == "/" else ""
