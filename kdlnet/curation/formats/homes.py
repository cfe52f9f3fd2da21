"""In which folders the images of annotations lie, and may lie where they are not found."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from kdlnet.utils.text import plain

_Parts = tuple[str, ...]


class Served:
    """The folders that the annotations of a folder serve: in which their images lie.

    A folder whose annotations have no image serves those that the way of others leads to: where
    ``a/ann`` serves ``a/img``, ``b/ann`` does ``b/img``, and ``ann/b`` does ``img/b`` where
    ``ann/a`` serves ``img/a``.
    """

    def __init__(self, file_of: Mapping[Path, Path] | None = None) -> None:
        """``file_of`` is the annotation of each image that has one."""
        self._own: dict[Path, set[Path]] = defaultdict(set)
        self._ways: set[tuple[_Parts, _Parts]] = set()
        for image, file in (file_of or {}).items():
            self.add(file.parent, image.parent)

    def add(self, folder: Path, home: Path) -> None:
        """An annotation in ``folder`` has its image in ``home``."""
        if home not in self._own[folder]:
            self._own[folder].add(home)
            out, into = _way(folder.parts, home.parts)
            if out:  # else it would lead on from every folder
                self._ways.add((out, into))

    def own(self, folder: Path) -> set[Path]:
        """Where images of annotations in ``folder`` are known to lie."""
        return self._own.get(folder, set())

    def tree(self, folder: Path) -> Path | None:
        """What the folders are below that one apart from them serves, where it serves several.

        Lots with one folder for all annotations do not number alike.
        """
        own = self.own(folder)
        return Path(os.path.commonpath(own)) if len(own) > 1 and folder not in own else None

    def likely(self, folder: Path) -> Iterator[Path]:
        """Where images of annotations in ``folder`` would lie by the ways of the others."""
        parts = folder.parts
        for out, into in self._ways:
            for start in range(len(parts) - len(out) + 1):
                if parts[start : start + len(out)] == out:
                    yield Path(*parts[:start], *into, *parts[start + len(out) :])


class Folders:
    """Folders to be asked which of them are near another one, or in it."""

    def __init__(self, folders: Iterable[Path]) -> None:
        self._known = set(folders)
        self._in: dict[Path, list[Path]] = defaultdict(list)
        self._less: dict[tuple[int, _Parts], list[Path]] = defaultdict(list)
        for folder in self._known:
            for outer in (folder, *folder.parents):
                self._in[outer].append(folder)
            for key in _one_less(folder.parts):
                self._less[key].append(folder)

    def near(self, folder: Path) -> set[Path]:
        """Those whose way has one folder more than that of ``folder``, less, or of another name.

        ``folder`` itself is one of them if it is known.
        """
        parts = folder.parts
        near = {folder} & self._known
        for key in _one_less(parts):
            near.update(self._less.get(key, ()), {Path(*key[1])} & self._known)
        for place in range(len(parts) + 1):
            near.update(self._less.get((place, parts), ()))
        return near

    def below(self, folders: Iterable[Path]) -> set[Path]:
        """``folders``, if they are known, and those in them."""
        return {inner for folder in folders for inner in self._in.get(folder, ())}


class Homes:
    """The folders in which the images of an annotation may lie, from what its folder serves.

    An annotation without its image stays in the folders that the others of its folder serve or,
    where there are none, in those that it is likely to. Where there are none of these either,
    images beside it, or in a folder whose way has one folder more, less or of another name, may
    be its own under other names: if those that no annotation of its folder is called like could be
    half of the images that lack, it stays there, since an image of its name elsewhere may be that
    of another lot.
    """

    def __init__(
        self, images: Iterable[Path], annotations: Iterable[Path], below: bool = False
    ) -> None:
        """With ``below``, the folders in a home count as well."""
        self._served = Served()
        self._below = below
        self._images, self._annotations = _names(images), _names(annotations)
        self._folders = Folders(self._images)
        self._homes: dict[Path, set[Path] | None] = {}

    def serve(self, folder: Path, image: Path) -> None:
        """An annotation in ``folder`` is that of ``image``."""
        self._served.add(folder, image.parent)
        self._homes.clear()

    def known(self, folder: Path) -> bool:
        """Whether an annotation in ``folder`` has its image."""
        return bool(self._served.own(folder))

    def near(self, folder: Path) -> set[Path]:
        """``folder``, if it holds images; else the folders of images near it."""
        return {folder} if folder in self._images else self._folders.near(folder)

    def may_hold(self, image: Path, folder: Path) -> bool:
        """Whether ``image`` may be that of an annotation in ``folder``."""
        homes = self.of(folder)
        return homes is None or image.parent in homes

    def of(self, folder: Path) -> set[Path] | None:
        """The homes of the annotations in ``folder``, None for any folder."""
        if folder not in self._homes:
            self._homes[folder] = self._homes_of(folder)
        return self._homes[folder]

    def _homes_of(self, folder: Path) -> set[Path] | None:
        if tree := self._served.tree(folder):
            return self._folders.below([tree])
        homes = self._served.own(folder)
        if not homes:
            likely = set(self._served.likely(folder))
            homes = self._images.keys() & likely
            if likely and not homes:  # a lot whose images are missing, or lie deeper
                return self._folders.below(likely)
        if homes:
            return self._folders.below(homes) if self._below else homes
        beside = folder in self._images
        near = self.near(folder)
        called = self._annotations[folder]
        strangers = sum(len(self._images[home] - called) for home in near)
        lacking = len(called - self._images.get(folder, set()))
        if not strangers or 2 * strangers < lacking:
            return None
        return near if beside and not self._below else self._folders.below(near)


def name_key(file: Path) -> tuple[Path, str]:
    """What an image and an annotation of one name beside each other share."""
    return file.parent, plain(file.stem)


def common_start(first: Sequence[str], second: Sequence[str]) -> int:
    """How many parts two ways begin with alike."""
    count = 0
    for ours, theirs in zip(first, second, strict=False):
        if ours != theirs:
            break
        count += 1
    return count


def _names(files: Iterable[Path]) -> dict[Path, set[str]]:
    """What the files of each folder are called, as :func:`name_key` has it."""
    names: dict[Path, set[str]] = defaultdict(set)
    for folder, name in map(name_key, files):
        names[folder].add(name)
    return names


def _one_less(parts: _Parts) -> Iterator[tuple[int, _Parts]]:
    """A way without each of its folders, with the place of that."""
    for place in range(len(parts)):
        yield place, parts[:place] + parts[place + 1 :]


def _way(folder: _Parts, home: _Parts) -> tuple[_Parts, _Parts]:
    """What is put in place of what in ``folder`` to come to ``home``."""
    shared = common_start(folder, home)
    folder, home = folder[shared:], home[shared:]
    last = common_start(folder[::-1], home[::-1])
    return folder[: len(folder) - last], home[: len(home) - last]
