"""A training split in numbers, from file headers and label files alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kdlnet.data.labels import FEW, Split
from kdlnet.errors import DataError
from kdlnet.images.read import image_size
from kdlnet.images.roi import looked_at
from kdlnet.types import Roi

_HEADERS = 400  # of so many images the size is read, spread over the split


@dataclass(frozen=True)
class SplitSurvey:
    """What the rules look at: a training split in numbers, and how many images val has.

    ``boxes`` are all of them. Of the images that were looked at ``sizes`` (N, 2) are H, W,
    ``placed`` the boxes (B, 4) of each, ``labels`` (T,) the classes of all these boxes, ``sides``
    (T,) the square roots of their areas and ``longest`` (T,) their longer sides, in pixels;
    ``good`` is the share of images without a box.
    """

    images: int
    boxes: int
    sizes: NDArray[np.float64]
    placed: list[NDArray[np.float64]]
    labels: NDArray[np.int64]
    sides: NDArray[np.float64]
    longest: NDArray[np.float64]
    good: float
    val_images: int

    @property
    def small(self) -> float:
        """Nine of ten boxes are at least this large."""
        return float(np.percentile(self.sides, 10))

    @property
    def smallest(self) -> float:
        """And nine of ten of each class, but for those with so few that chance decides."""
        classes = [self.sides[self.labels == label] for label in np.unique(self.labels)]
        known = [float(np.percentile(sides, 10)) for sides in classes if len(sides) >= FEW]
        return min([self.small, *known])

    @property
    def shape(self) -> tuple[float, float]:
        """H, W of the image in the middle."""
        height, width = np.median(self.sizes, axis=0)
        return float(height), float(width)


def survey_of(split: Split, val: Split, roi: Roi | None) -> SplitSurvey | None:
    """Both, of ``roi`` alone; None where no image or no box can be read, which training tells."""
    marked = [row for row, labels in enumerate(split.labels) if len(labels.labels)]
    rows = _spread(range(len(split.paths)))
    if not set(rows) & set(marked):  # so rare that none of these shows one
        rows = _spread(marked)
    sizes, placed, classes = [], [], []
    for row in rows:
        try:
            size = image_size(split.paths[row])
            x1, y1, x2, y2 = looked_at(size, roi)
        except DataError:
            continue
        sizes.append((y2 - y1, x2 - x1))
        placed.append(split.labels[row].boxes * np.tile(size[::-1], 2) - (x1, y1, x1, y1))
        classes.append(split.labels[row].labels)
    every = np.concatenate(placed) if placed else np.zeros((0, 4))
    found = every[:, 2:] - every[:, :2]
    if not len(found):
        return None
    good = 1 - len(marked) / len(split.paths)
    sides, longest = np.sqrt(found.prod(axis=1)), found.max(axis=1)
    shape = np.array(sizes, dtype=np.float64)
    count = sum(len(split.labels[row].labels) for row in marked)
    seen = shape, placed, np.concatenate(classes), sides, longest
    return SplitSurvey(len(split.paths), count, *seen, good, len(val.paths))


def _spread(rows: Sequence[int]) -> list[int]:
    """Up to _HEADERS of ``rows``, from the first to the last."""
    chosen = np.linspace(0, len(rows) - 1, min(_HEADERS, len(rows))).round().astype(int)
    return [rows[place] for place in chosen]
