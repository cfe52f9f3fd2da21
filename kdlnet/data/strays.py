"""Label files that lie elsewhere than where they are looked for, or are called otherwise."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path

from kdlnet.data.labels import ImageLabels, LabelProblem
from kdlnet.data.listing import label_path
from kdlnet.data.other_tools import (
    TOOLS,
    conversion,
    folders_in,
    has_shapes,
    image_folder_in,
    names_in,
)
from kdlnet.errors import DataError
from kdlnet.images.read import IMAGE_SUFFIXES
from kdlnet.utils.text import plain

LABELS = frozenset({".txt", *TOOLS})


class Strays:
    """Text files by name, in the folders where labels may lie by mistake.

    ``used`` are the label files that are looked for; ``read`` gives the labels in one, and raises
    DataError where it cannot be read. ``label_of`` says where that of an image belongs.
    """

    def __init__(
        self,
        used: set[Path],
        read: Callable[[Path], tuple[ImageLabels, list[LabelProblem]]],
        label_of: Callable[[Path], Path] = label_path,
    ) -> None:
        self._files = used
        self._label_of = label_of
        self._used: dict[Path, set[str]] = defaultdict(set)
        for file in used:
            self._used[file.parent].add(_key(file.name))
        self._read = read
        self._contents: dict[Path, _Contents] = {}
        self._places: dict[Path, list[Path]] = {}

    def find(self, image: Path, suffixes: Set[str]) -> Path | None:
        """The label file of ``image`` that is not where it belongs, if there is one of these."""
        if image.parent not in self._places:
            self._places[image.parent] = list(dict.fromkeys(self._around(image)))
        key = _key(image.name)
        for folder in self._places[image.parent]:
            here = self._in(folder)
            if folder != image.parent and key in here.pictures:
                continue  # that of the image beside it
            for file in here.files(key):
                wanted = file.suffix.lower() in suffixes and file not in self._files
                if wanted and self._has_boxes(file):
                    return file
        return None

    def ownerless(self, images: Sequence[Path], found: set[Path]) -> list[Path]:
        """Label files in the folders of those of ``images`` that no image is called like."""
        lost: set[Path] = set()
        for folder, labels in {(image.parent, self._label_of(image).parent) for image in images}:
            owned = self._in(folder).pictures | self._used[labels]
            here = self._in(labels)
            for key in here.texts.keys() - owned:
                lost.update(file for file in here.files(key) if file not in found)
        ours = (file for file in lost if not conversion(file))
        return sorted(file for file in ours if self._has_boxes(file))

    def _around(self, image: Path) -> Iterator[Path]:
        yield self._label_of(image).parent
        yield from _places(image)

    def _in(self, folder: Path) -> _Contents:
        if folder not in self._contents:
            self._contents[folder] = here = _Contents(folder)
            for name in names_in(folder):
                suffix = _divided(name)[1].lower()
                if suffix in LABELS:
                    here.texts.setdefault(_key(name), []).append(name)
                elif suffix in IMAGE_SUFFIXES:
                    here.pictures.add(_key(name))
        return self._contents[folder]

    def _has_boxes(self, file: Path) -> bool:
        if conversion(file):
            return has_shapes(file)
        try:
            return len(self._read(file)[0].labels) > 0
        except DataError:
            return False


@dataclass(frozen=True)
class _Contents:
    """The names of a folder's text files and images, by what they have in common."""

    folder: Path
    texts: dict[str, list[str]] = field(default_factory=dict)
    pictures: set[str] = field(default_factory=set)

    def files(self, key: str) -> list[Path]:
        """Its text files of that key."""
        return [self.folder / name for name in self.texts.get(key, ())]


def _places(image: Path) -> Iterator[Path]:
    """Folders where the labels of images beside ``image`` may lie by mistake."""
    folder = image.parent
    yield label_path(image).parent
    yield folder
    yield from folders_in(folder)
    parts = folder.parts
    at = image_folder_in(folder)
    split = len(parts) - 1 if at is None else at
    base, below = Path(*parts[:split]), parts[split + (at is not None) :]
    for beside in folders_in(base):
        if beside != Path(*parts[: split + 1]):
            for depth in reversed(range(len(below) + 1)):
                yield beside.joinpath(*below[:depth])


def _key(name: str) -> str:
    """What the names of an image and of its labels have in common, however they are written."""
    stem, suffix = _divided(plain(name))
    if suffix in LABELS:
        stem, suffix = _divided(stem)
    return stem if suffix in IMAGE_SUFFIXES else stem + suffix


def _divided(name: str) -> tuple[str, str]:
    """``name`` before its suffix, and that with its dot; a Path of each took most of the search."""
    stem, dot, suffix = name.rpartition(".")
    return (stem, dot + suffix) if stem else (name, "")
