"""What the files of an image are called, where several images would share a name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kdlnet.images.items import Item
from kdlnet.inference.prediction import Prediction


class Stems:
    """Gives the images of a source, in their order, stems that no other has.

    A stem is counted up where a.png and a.jpg, or A.png and a.png, would share a file: a, a-2.
    Each of ``items`` takes its own, whether it comes or not, so that shards of one source, and runs
    that cannot read some of it, call the files of an image the same.
    """

    def __init__(self, items: Sequence[Item]) -> None:
        # A video stands for many images, which are named as they come.
        self._items = () if any(item.video for item in items) else items
        self._next = 0
        self._taken: set[str] = set()

    def named(self, prediction: Prediction) -> Prediction:
        """``prediction`` with the stem of its files."""
        if self._items:
            for index in range(self._next, prediction.index):
                self._take(self._items[index].stem)
            self._next = prediction.index + 1
        stem = self._take(prediction.stem)
        return prediction if stem == prediction.stem else replace(prediction, stem=stem)

    def _take(self, stem: str) -> str:
        free, number = stem, 1
        while free.casefold() in self._taken:
            number += 1
            free = f"{stem}-{number}"
        self._taken.add(free.casefold())
        return free
