"""What the network sees: whole images, or the tiles of each, as network input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from kdlnet.data.dataset import DetectionDataset, to_network, to_unit
from kdlnet.images.letterbox import letterbox
from kdlnet.images.read import ImageArray, to_channels
from kdlnet.images.tiles import Tile, tile_grid
from kdlnet.images.window import bits, fit_depth
from kdlnet.types import Letterbox, Preprocess


class Views(Protocol):
    """Views of images, those of one image side by side."""

    @property
    def image_of(self) -> Sequence[int]:
        """The image of each view, counted from 0."""

    @property
    def tiles(self) -> Sequence[Tile | None]:
        """The tile that each view shows; None: all of its image."""

    def load(self, rows: range, device: torch.device) -> tuple[Tensor, list[Letterbox]]:
        """Network input (n, channels, H, W) on ``device`` of these views, their geometry beside."""


class FrameViews:
    """Views of images as ``read_image`` gives them."""

    def __init__(self, images: Sequence[ImageArray], preprocess: Preprocess) -> None:
        tiles = [tiles_of(image, preprocess) for image in images]
        self.image_of = [number for number, each in enumerate(tiles) for _ in each]
        self.tiles = [tile for each in tiles for tile in each]
        self._images = images
        self._preprocess = preprocess

    def load(self, rows: range, device: torch.device) -> tuple[Tensor, list[Letterbox]]:
        images = [self._images[self.image_of[row]] for row in rows]
        return to_input(images, self._preprocess, device, [self.tiles[row] for row in rows])


class DatasetViews:
    """Views of a dataset, letterboxed already."""

    def __init__(self, dataset: DetectionDataset) -> None:
        self.image_of = [sample.image for sample in dataset.samples]
        self.tiles = [sample.tile for sample in dataset.samples]
        self._dataset = dataset

    def load(self, rows: range, device: torch.device) -> tuple[Tensor, list[Letterbox]]:
        geometries = [self._dataset.samples[row].letterbox for row in rows]
        return self._dataset.batch(rows, device).images, geometries


def to_input(
    images: Sequence[ImageArray],
    preprocess: Preprocess,
    device: torch.device | str = "cpu",
    tiles: Sequence[Tile | None] | None = None,
) -> tuple[Tensor, list[Letterbox]]:
    """Images as ``read_image`` gives them to network input (B, channels, H, W) on ``device``.

    The same steps as for training and validation; grey images travel with one channel. With
    ``tiles`` that tile of each image. Another bit depth than that of ``preprocess`` gets a window
    of its own. Beside the input the geometry of each.
    """
    parts = list(zip(images, tiles or [None] * len(images), strict=True))
    if len({image.dtype for image in images}) > 1:
        each = [to_input([image], preprocess, device, [tile]) for image, tile in parts]
        return torch.cat([found for found, _ in each]), [one for _, (one,) in each]
    contract = fit_depth(preprocess, bits(images[0].dtype))
    fitted = [letterbox(image, contract, tile) for image, tile in parts]
    channels = contract.channels
    if all(pixels.shape[2] == 1 for pixels, _ in fitted):
        channels = 1
    pixels = np.stack([to_channels(image, channels) for image, _ in fitted])
    batch = torch.from_numpy(pixels).to(device, non_blocking=True).permute(0, 3, 1, 2)
    network = to_network(to_unit(batch, contract), contract.channels)
    return network, [geometry for _, geometry in fitted]


def tiles_of(image: ImageArray, preprocess: Preprocess) -> list[Tile | None]:
    """The tiles in which the network sees ``image``; [None] where it sees the whole of it."""
    if preprocess.tiling is None:
        return [None]
    return list(tile_grid((image.shape[0], image.shape[1]), preprocess.tiling))
