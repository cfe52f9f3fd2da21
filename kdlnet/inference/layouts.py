"""What an exported file takes and answers, and how its answer becomes kdlnet's; without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdlnet.inference.arrays import RawArrays, SuppressedArrays
from kdlnet.inference.suppressed import rows_of
from kdlnet.ops.arrays import distances_to_boxes, expected_distances, make_points
from kdlnet.types import ImageSize, Preprocess

_GRIDS = 4  # sizes of images whose points are kept

Array = NDArray[np.float32]
Shapes = dict[str, list[int | None]]
"""Sizes of inputs and outputs by name, without the batch; None where any will do."""

OUTPUTS = ("points", "maps", "detections")
"""``points``: logits, boxes and bins of all points. ``maps``: what the last convolutions give.
``detections``: boxes after the suppression.
"""


@dataclass(frozen=True)
class Layout:
    """The outputs of a file, one of OUTPUTS, and the images it takes at once, None for any.

    ``dynamic``: heights and widths are free, in multiples of the largest stride.
    """

    outputs: str = "points"
    batch: int | None = None
    dynamic: bool = False

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of_header(cls, header: Mapping[str, Any]) -> Layout:
        """That of a file's header. Raises ValueError for none; older files lack keys."""
        found = cls(
            header.get("outputs", "points"), header.get("batch"), header.get("dynamic", False)
        )
        fits = found.outputs in OUTPUTS and isinstance(found.dynamic, bool)
        if not fits or not (found.batch is None or found.batch >= 1):
            raise ValueError(f"{found} is no layout")
        return found


class Answers:
    """The outputs of a file of ``layout``: their names and shapes, and what they mean.

    ``header`` says the network's input, classes, strides and bins.
    """

    def __init__(self, header: Mapping[str, Any], layout: Layout) -> None:
        self._size = Preprocess.from_dict(header["preprocess"]).image_size
        self._classes, self._bins = len(header["names"]), int(header["bins"])
        self._strides = [int(stride) for stride in header["strides"]]
        self._layout = layout
        self._grid = lru_cache(_GRIDS)(self._make_grid)

    def _sizes(self, image_size: ImageSize) -> list[ImageSize]:
        height, width = image_size
        return [(height // stride, width // stride) for stride in self._strides]

    def _make_grid(self, image_size: ImageSize) -> tuple[Array, Array]:
        return make_points(self._sizes(image_size), self._strides)

    @property
    def shapes(self) -> Shapes:
        """Sizes by name, in the order of the file, without the batch; None where one is free."""
        sizes, free = self._sizes(self._size), self._layout.dynamic
        if self._layout.outputs == "maps":
            return {
                name: [channels, *((None, None) if free else size)]
                for stride, size in zip(self._strides, sizes, strict=True)
                for name, channels in zip(
                    map_names(stride), (self._classes, 4 * self._bins), strict=True
                )
            }
        count = sum(height * width for height, width in sizes)
        if self._layout.outputs == "detections":
            return {"detections": [rows_of(count, self._classes), 6]}
        points = None if free else count
        return {
            "logits": [points, self._classes],
            "boxes": [points, 4],
            "bins": [points, 4, self._bins],
        }

    @property
    def needed(self) -> tuple[str, ...]:
        """Names of those that kdlnet itself reads; it decodes the boxes from the bins."""
        return tuple(name for name in self.shapes if name != "boxes")

    def raw(self, found: Sequence[Array], image_size: ImageSize) -> RawArrays | SuppressedArrays:
        """From the outputs ``needed`` for images of that size."""
        if self._layout.outputs == "detections":
            return _rows(found[0])
        if self._layout.outputs == "points":
            logits, bins = found
        else:
            logits = np.concatenate([_flat(level) for level in found[::2]], axis=1)
            flat = np.concatenate([_flat(level) for level in found[1::2]], axis=1)
            bins = flat.reshape(*flat.shape[:2], 4, self._bins)
        return RawArrays(logits, bins, *self._grid(image_size))

    def with_boxes(
        self, found: Mapping[str, Array], image_size: ImageSize
    ) -> tuple[RawArrays | SuppressedArrays, Array]:
        """From all outputs; the boxes (B, A, 4) are the file's own where it has them."""
        raw = self.raw([found[name] for name in self.needed], image_size)
        if isinstance(raw, SuppressedArrays):
            return raw, raw.boxes
        if "boxes" in found:
            return raw, found["boxes"]
        return raw, distances_to_boxes(expected_distances(raw.bins), raw.points, raw.strides)


def map_names(stride: int) -> tuple[str, str]:
    """The outputs of one level: class logits (B, C, H, W) and bins (B, 4 R, H, W)."""
    return f"logits_{stride}", f"bins_{stride}"


def _rows(table: Array) -> SuppressedArrays:
    """Rows (B, N, 6) as what they mean; of a number that is none the label does not matter."""
    labels = np.nan_to_num(table[..., 5], nan=-1).astype(np.int64)
    return SuppressedArrays(table[..., :4], table[..., 4], labels)


def _flat(level: Array) -> Array:
    """A map (B, channels, H, W) as its points (B, H W, channels), row by row."""
    batch, channels = level.shape[:2]
    return level.reshape(batch, channels, -1).transpose(0, 2, 1)
