"""What the files of an image are called, where several images would share a name."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from kdlnet.images.items import Item
from kdlnet.inference.prediction import Prediction

_LONGEST = 230  # bytes; a name may have 255, and a count, the number of a crop and a suffix follow
_FILES = (re.compile(r"(.+)\.(?:jpg|txt|json|png)"), re.compile(r"(.+)-\d+\.png"))


class Stems:
    """Gives the images of a source, in their order, stems that no other has.

    A stem is counted up where a.png and a.jpg, or A.png and a.png, would share a file: a, a-2; also
    where a folder is called like one of its files, a.jpg. One that is too long for them is cut.
    Each of ``items`` takes its own, whether it comes or not, so that shards of one source, and runs
    that cannot read some of it, call the files of an image the same.
    """

    def __init__(self, items: Sequence[Item]) -> None:
        # A video stands for many images, which are named as they come.
        self._items = () if any(item.video for item in items) else items
        self._next = 0
        self._taken = set(_of_folders(items))

    def named(self, prediction: Prediction) -> Prediction:
        """``prediction`` with the stem of its files."""
        if self._items:
            for index in range(self._next, prediction.index):
                self._take(self._items[index].stem)
            self._next = prediction.index + 1
        stem = self._take(prediction.stem)
        return prediction if stem == prediction.stem else replace(prediction, stem=stem)

    def _take(self, stem: str) -> str:
        stem = _cut(stem)
        free, number = stem, 1
        while free.casefold() in self._taken:
            number += 1
            free = f"{stem}-{number}"
        self._taken.add(free.casefold())
        return free


def _of_folders(items: Sequence[Item]) -> Iterator[str]:
    """Stems whose files would have the name of a folder that the files of ``items`` lie in."""
    inside = {item.stem if item.video else item.stem.rpartition("/")[0] for item in items}
    inside |= {str(above) for path in inside for above in PurePosixPath(path).parents}
    for folder in inside:
        for file in _FILES:  # a-1.png is the crop 1 of a, and the image a-1
            if found := file.fullmatch(folder.casefold()):
                yield found[1]


def _cut(stem: str) -> str:
    folder, slash, name = stem.rpartition("/")
    name = name[:_LONGEST]  # no character has less than a byte
    while len(os.fsencode(name)) > _LONGEST:
        name = name[:-1]
    return folder + slash + name
