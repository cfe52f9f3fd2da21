"""Which images of a source go where in a dataset: split and path."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path
from unicodedata import category

from kdlnet.curation.formats.imported import ImportedImage, ImportResult
from kdlnet.data.schema import SPLITS
from kdlnet.errors import DataError, unknown
from kdlnet.utils.text import listed_paths, plain

# Left out of the paths below images/: a second folder "images" would mislead the search for labels.
_IMAGE_FOLDERS = frozenset({"images", "imgs", "jpegimages"})


_LONGEST_NAME = 255  # bytes, on most file systems
_UNPRINTABLE = frozenset({"Cc", "Zl", "Zp"})  # control characters, ends of lines


@dataclass
class Placement:
    """Where each image goes: split and path below the image folder. ``unlisted`` goes nowhere."""

    splits: dict[str, list[tuple[ImportedImage, Path]]] = field(default_factory=dict)
    unlisted: list[Path] = field(default_factory=list)
    _taken: set[str] = field(default_factory=set)

    def add(self, split: str, image: ImportedImage, wanted: Path) -> None:
        self.splits.setdefault(split, []).append((image, self._free(wanted)))

    def _free(self, wanted: Path) -> Path:
        """``wanted``, or with the suffix in its stem and a number when its label file is taken.

        Compared without case, so that the folder can be copied to any file system.
        """
        numbered = (f"{wanted.stem}_{number}" for number in count(2))
        for stem in chain((wanted.stem, f"{wanted.stem}_{wanted.suffix[1:]}"), numbered):
            number = stem.removeprefix(wanted.stem)
            stem = _shortened(wanted.stem, number + wanted.suffix) + number
            key = plain(str(wanted.with_name(stem)))
            if key not in self._taken:
                break
        self._taken.add(key)
        return wanted.with_name(stem + wanted.suffix)


def place_images(
    imported: ImportResult, roots: Sequence[Path], listed: Mapping[Path, str] | None
) -> Placement:
    """Where every image goes. ``roots`` are the folders its path may be below, nearest first.

    ``listed`` is the split of each image; None keeps the source's own, "train" where it has none.
    """
    made = Placement()
    roots = [*roots, *_common_root(imported, roots)]
    for image in imported.images:
        own = "train" if image.split is None else image.split
        split = listed.get(image.path) if listed is not None else own
        if split:
            made.add(split, image, _path_below(roots, image.path))
        else:
            made.unlisted.append(image.path)
    made.splits = {split: made.splits[split] for split in SPLITS if split in made.splits}
    return made


def read_lists(
    roots: Sequence[Path], files: Mapping[str, Path], imported: ImportResult
) -> dict[Path, str]:
    """Split of each image in list files of paths relative to one of ``roots``.

    Paths in another case or Unicode form are found where one image alone is so called. Images
    that the importer left out may be listed. Raises DataError for a list that cannot be read, an
    image that is not in the source and one that is in two splits.
    """
    known = {image.path for image in imported.images}
    known |= {problem.file for problem in imported.left_out}
    alike: dict[str, set[Path]] = defaultdict(set)
    for path in known:
        alike[plain(str(path))].add(path)
    listed: dict[Path, str] = {}
    for split, file in files.items():
        if split not in SPLITS:
            raise DataError(unknown("split", split, SPLITS))
        images = [_resolve(line, roots, alike) for line in _read_lines(file)]
        missing = [image for image in images if image not in known]
        if missing:
            raise DataError(
                f"{len(missing)} of {len(images)} images listed in {str(file)!r} are not in the "
                f"source, first {str(missing[0])!r}: paths are relative to {str(roots[0])!r}"
            )
        for image in images:
            if listed.setdefault(image, split) != split:
                raise DataError(
                    f"image {str(image)!r} is listed in {listed[image]} and {split}: keep one"
                )
    return listed


def _resolve(line: str, roots: Sequence[Path], alike: Mapping[str, set[Path]]) -> Path:
    places = [Path(os.path.normpath(root / line)) for root in roots]
    found = [(place, alike.get(plain(str(place)), set())) for place in places]
    exact = next((place for place, paths in found if place in paths), None)
    loose = (next(iter(paths)) for _, paths in found if len(paths) == 1)
    return exact or next(loose, places[0])


def _read_lines(file: Path) -> list[str]:
    found = listed_paths(file, "split list")
    if not found:
        raise DataError(f"split list {str(file)!r} is empty: one image path a line")
    return found


def _common_root(imported: ImportResult, roots: Sequence[Path]) -> list[Path]:
    """The folder that holds all images outside of ``roots``, where a list or JSON names such."""
    images = [image.path for image in imported.images]
    outside = {image.parent for image in images if not any(map(image.is_relative_to, roots))}
    one_drive = len({folder.anchor for folder in outside}) == 1
    return [Path(os.path.commonpath(outside))] if one_drive else []


def _path_below(roots: Sequence[Path], image: Path) -> Path:
    """Path below images/: the source's folders, so that equal names in two folders stay apart."""
    root = next((root for root in roots if image.is_relative_to(root)), image.parent)
    relative = image.relative_to(root)
    folders = [part for part in relative.parent.parts if part.lower() not in _IMAGE_FOLDERS]
    name = _as_text(relative.stem) + _as_text(relative.suffix)
    return Path(*map(_as_text, folders), name)


def _as_text(name: str) -> str:
    """A name that is no UTF-8, breaks lines or ends in spaces, as all files can hold it."""
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    plain = "".join("_" if category(letter) in _UNPRINTABLE else letter for letter in text)
    return plain.strip() or "_" * bool(plain)


def _shortened(stem: str, suffix: str) -> str:
    """``stem`` cut so that with the image's suffix or that of its labels it is a file's name."""
    room = _LONGEST_NAME - max(len(suffix.encode()), len(".txt"))
    return stem.encode()[:room].decode("utf-8", "ignore")
