"""Square views of images for a pre-training: crops of one size, some of them without colour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from kdlnet.errors import DataError
from kdlnet.images.read import ImageArray, read_image, to_channels
from kdlnet.images.window import Window

View = NDArray[np.uint8]

_HELD_OUT_EVERY = 50
_MOST_HELD_OUT = 512


@dataclass(frozen=True)
class Cut:
    """How a view is cut: ``size`` pixels of a square whose side is ``sides`` (least, most) times
    the image's shorter side; a share ``grey`` of the views loses its colour, so that what is
    learned serves cameras of both kinds; ``window`` holds the intensities of black and white."""

    size: int
    sides: tuple[float, float]
    grey: float
    window: Window = (0.0, 255.0)


def cut_view(image: ImageArray, cut: Cut, random: np.random.Generator) -> View:
    """A view (size, size, 3) of ``image`` (H, W, 1 or 3) in its file's own depth."""
    height, width = image.shape[:2]
    side = max(1, round(min(height, width) * random.uniform(*cut.sides)))
    top, left = random.integers(0, height - side + 1), random.integers(0, width - side + 1)
    square = image[top : top + side, left : left + side]
    method = cv2.INTER_AREA if side > cut.size else cv2.INTER_LINEAR
    view = cv2.resize(square, (cut.size, cut.size), interpolation=method)
    view = view.reshape(cut.size, cut.size, -1)
    low, high = cut.window
    if (low, high) != (0, 255):
        shares = (view.astype(np.float32) - low) / (high - low)
        view = (shares.clip(0, 1) * 255).round().astype(np.uint8)
    if random.random() < cut.grey:
        view = to_channels(view, 1)
    return to_channels(view, 3)


class Views:
    """``count`` views of every image of ``paths``, the same ones for the same ``seed``.

    View ``i`` shows image ``i // count``. An image that cannot be read is one of ``unreadable``, a
    line that names it by its number: its views are black and in none of the lists.
    """

    def __init__(self, paths: Sequence[Path], count: int, cut: Cut, seed: int) -> None:
        self.paths = paths
        self.count = count
        self.cut = cut
        self.seed = seed
        self.unreadable: dict[int, str] = {}
        self._open: tuple[int, ImageArray] | None = None

    def __len__(self) -> int:
        return len(self.paths) * self.count

    def __getitem__(self, index: int) -> View:
        key = np.array([self.seed, index], dtype=np.uint64)
        random = np.random.Generator(np.random.Philox(key=key))
        return cut_view(self._image(index // self.count), self.cut, random)

    def _image(self, position: int) -> ImageArray:
        """The image at ``position``; the last one is kept, since its views follow each other."""
        if self._open is None or self._open[0] != position:
            try:
                image = read_image(self.paths[position])
            except DataError as error:
                self.unreadable[position] = str(error)
                image = np.zeros((self.cut.size, self.cut.size, 1), np.uint8)
            self._open = position, image
        return self._open[1]

    def usable(self) -> NDArray[np.int64]:
        """The views of all images but those found unreadable."""
        return self._of(self._readable())

    def held_out(self) -> NDArray[np.int64]:
        """Views of every fiftieth readable image, for the probe; at least one image, at most 512
        views."""
        readable = self._readable()
        step = min(_HELD_OUT_EVERY, len(readable))
        return self._of(readable[step - 1 :: step])[:_MOST_HELD_OUT]

    def to_learn(self) -> NDArray[np.int64]:
        """The views of all other readable images."""
        readable = self._readable()
        step = min(_HELD_OUT_EVERY, len(readable))
        return self._of(np.delete(readable, np.s_[step - 1 :: step]))

    def _readable(self) -> NDArray[np.int64]:
        """Numbers of images. Raises DataError for fewer than two: one to learn, one to probe."""
        found = np.delete(np.arange(len(self.paths)), list(self.unreadable))
        if len(found) < min(2, len(self.paths)):
            first = next(iter(self.unreadable.values()))
            raise DataError(f"{len(found)} of {len(self.paths)} images can be read: {first}")
        return found

    def _of(self, images: NDArray[np.int64]) -> NDArray[np.int64]:
        """The views of these images (n,), (n * count,)."""
        return (images[:, None] * self.count + np.arange(self.count)).reshape(-1)
