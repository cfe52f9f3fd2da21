"""Images that the ranges of 8-bit numbers are taken from."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kdlnet.data.catalog import DatasetInfo
from kdlnet.data.dataset import load_split
from kdlnet.data.roi import inside
from kdlnet.errors import DataError, KdlnetError
from kdlnet.events import Listener
from kdlnet.images.read import ImageArray, read_image
from kdlnet.images.roi import tiles_of
from kdlnet.images.tiles import Tile
from kdlnet.inference.layouts import Array
from kdlnet.inference.probe_images import readable
from kdlnet.inference.torch_engine import to_input
from kdlnet.inference.weights import Weights
from kdlnet.types import Preprocess

SPLIT = "train"
"""Ranges are chosen where the weights were: never on the images that judge."""
LEAST = 100


class CalibrationImages:
    """Network input (batch, channels, H, W) of training images, read anew each time.

    The last batch is filled up from the first image on. Of an image that is cut into tiles the one
    with a marked defect in it, where there is one: the largest activations are there.
    """

    def __init__(
        self,
        paths: list[Path],
        defects: list[NDArray[np.float64]],
        contract: Preprocess,
        batch: int = 1,
    ) -> None:
        self.paths, self._defects, self._contract = paths, defects, contract
        self._batch = batch

    def __len__(self) -> int:
        return math.ceil(len(self.paths) / self._batch)

    def __iter__(self) -> Iterator[Array]:
        for start in range(0, len(self.paths), self._batch):
            rows = [row % len(self.paths) for row in range(start, start + self._batch)]
            images = [read_image(self.paths[row]) for row in rows]
            tiles = [self._tile(image, row) for image, row in zip(images, rows, strict=True)]
            yield to_input(images, self._contract, tiles)[0].contiguous().numpy()

    def _tile(self, image: ImageArray, row: int) -> Tile | None:
        """The tile with the middle of the first box, else another for each image."""
        tiles, boxes = tiles_of(image.shape[:2], self._contract), self._defects[row]
        if len(boxes):  # in shares of the image
            height, width = image.shape[:2]
            x, y = (boxes[0, :2] + boxes[0, 2:]) / 2 * (width, height)
            for tile in tiles:
                if tile is not None and tile[0] <= x <= tile[2] and tile[1] <= y <= tile[3]:
                    return tile
        return tiles[row % len(tiles)]


def check_count(images: int) -> None:
    """Raises KdlnetError where ``images`` are too few to calibrate on."""
    if images < LEAST:
        raise KdlnetError(
            f"--calibration {images}: int8 takes its ranges from {LEAST} images or more"
        )


def calibration_images(
    weights: Weights, info: DatasetInfo, count: int, batch: int, on_event: Listener
) -> CalibrationImages:
    """``count`` training images of ``info``, spread over the split, ``batch`` at a time.

    Raises DataError where its classes are not those of ``weights`` or where there are too few.
    """
    if set(info.names) != set(weights.names):
        raise DataError(
            f"int8 is calibrated on the weights' own dataset: they know {', '.join(weights.names)}"
            f", this one has {', '.join(info.names)}"
        )
    roi = weights.preprocess.roi
    split = inside(load_split(info, SPLIT), roi)
    paths = readable(split.paths, count, [roi], on_event)
    if len(paths) < LEAST:
        raise DataError(
            f"{len(paths)} images of the split {SPLIT!r} can be used, int8 takes its ranges from "
            f"{LEAST} or more: export in float32, or add images to it"
        )
    boxes = dict(zip(split.paths, (each.boxes for each in split.labels), strict=True))
    return CalibrationImages(paths, [boxes[path] for path in paths], weights.preprocess, batch)
