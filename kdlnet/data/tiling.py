"""Which tiles of its images a split shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kdlnet.data.labels import Split
from kdlnet.errors import DataError
from kdlnet.images.read import image_size
from kdlnet.images.roi import tiles_of
from kdlnet.images.tiles import Tile, cut_boxes, least_visible
from kdlnet.types import ImageSize, Preprocess


def plan_tiles(
    split: Split, preprocess: Preprocess, min_visible: float, background: float | None
) -> list[list[Tile]]:
    """The tiles of each image, from file headers and labels alone; for a contract that has tiles.

    With ``background`` the empty ones are thinned out evenly to at most that many for one with a
    target; where no tile has one, a single one stays. An image that cannot be read has none.
    """
    grids = [_grid(path, preprocess) for path in split.paths]
    if background is None:
        return [tiles for _, tiles in grids]
    busy = []
    for found, ((height, width), tiles) in zip(split.labels, grids, strict=True):
        boxes = found.boxes * np.array([width, height, width, height])
        shown = set(tiles_with_a_target(boxes, tiles, min_visible))
        busy.append([number in shown for number in range(len(tiles))])
    empty = [(i, k) for i, row in enumerate(busy) for k, used in enumerate(row) if not used]
    targets = sum(map(sum, busy))
    wanted = min(len(empty), round(background * targets) if targets else 1)
    for row in np.linspace(0, len(empty) - 1, wanted).round().astype(int):
        image, number = empty[row]
        busy[image][number] = True
    return [
        [tile for tile, used in zip(tiles, row, strict=True) if used]
        for (_, tiles), row in zip(grids, busy, strict=True)
    ]


def tiles_with_a_target(
    boxes: NDArray[np.float64], tiles: Sequence[Tile], min_visible: float
) -> list[int]:
    """The numbers of those of an image's ``tiles`` in which one of boxes (N, 4) is a target."""
    frames = np.array(tiles, np.float64).reshape(-1, 1, 4)
    meet = (boxes[:, :2] < frames[..., 2:]) & (frames[..., :2] < boxes[:, 2:])
    near = np.flatnonzero(np.any(np.all(meet, axis=-1), axis=1)).tolist()
    least = least_visible(boxes, [tiles[number] for number in near], min_visible)
    return [number for number in near if len(cut_boxes(boxes, tiles[number], least)[1])]


def _grid(path: Path, preprocess: Preprocess) -> tuple[ImageSize, list[Tile]]:
    try:
        size = image_size(path)
        tiles = tiles_of(size, preprocess)
    except DataError:  # the store names it
        return (1, 1), []
    return size, [tile for tile in tiles if tile is not None]
