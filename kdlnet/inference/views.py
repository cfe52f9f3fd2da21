"""What the network sees: whole images, or the tiles of each, in pixels of the network input."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from kdlnet.errors import DataError
from kdlnet.images.frame import Ready
from kdlnet.images.letterbox import letterbox
from kdlnet.images.read import ImageArray, to_channels
from kdlnet.images.roi import tiles_of
from kdlnet.images.tiles import Tile
from kdlnet.images.unit import to_unit
from kdlnet.images.window import bits, fit_depth
from kdlnet.types import Letterbox, Preprocess

Seen = tuple[ImageArray, Preprocess, list[Letterbox]]
"""Native pixels (n, H, W, c) of the network input's size, their contract, the geometry of each."""


class Views(Protocol):
    """Views of images, those of one image side by side."""

    @property
    def image_of(self) -> Sequence[int]:
        """The image of each view, counted from 0."""

    @property
    def tiles(self) -> Sequence[Tile | None]:
        """The tile that each view shows; None: all of its image."""

    def load(self, rows: range) -> Seen:
        """These views."""


class FrameViews:
    """Views of images as ``read_image`` gives them."""

    def __init__(
        self,
        images: Sequence[ImageArray],
        preprocess: Preprocess,
        ready: Sequence[Ready | None] | None = None,
    ) -> None:
        """``ready`` are images that were made so by :func:`prepare` already."""
        tiles = [tiles_of(image.shape[:2], preprocess) for image in images]
        self.image_of = [number for number, each in enumerate(tiles) for _ in each]
        self.tiles = [tile for each in tiles for tile in each]
        self._images = images
        self._preprocess = preprocess
        self._ready = ready or [None] * len(images)

    def load(self, rows: range) -> Seen:
        shown = [self.image_of[row] for row in rows]
        images, ready = [self._images[n] for n in shown], [self._ready[n] for n in shown]
        return to_pixels(images, self._preprocess, [self.tiles[row] for row in rows], ready)


def prepare(image: ImageArray, preprocess: Preprocess) -> Ready | None:
    """The whole of ``image`` letterboxed, with the window of its own bit depth.

    None where not all of the region of interest is in it, which is told where it is asked for.
    """
    began = time.perf_counter()
    try:
        pixels, geometry = letterbox(image, fit_depth(preprocess, bits(image.dtype)))
    except DataError:
        return None
    return Ready(pixels, geometry, time.perf_counter() - began)


def to_pixels(
    images: Sequence[ImageArray],
    preprocess: Preprocess,
    tiles: Sequence[Tile | None] | None = None,
    ready: Sequence[Ready | None] | None = None,
) -> Seen:
    """Images as ``read_image`` gives them, letterboxed; grey ones travel with one channel.

    With ``tiles`` that tile of each image; what is ``ready`` is not made again. Another bit depth
    than that of ``preprocess`` gets a window of its own; where two depths meet in a batch, pixels
    are mapped to [0, 1] already.
    """
    nothing = [None] * len(images)
    parts = list(zip(images, tiles or nothing, ready or nothing, strict=True))
    contracts = [fit_depth(preprocess, bits(image.dtype)) for image in images]
    fitted = [
        (done.pixels, done.geometry) if done else letterbox(image, contract, tile)
        for (image, tile, done), contract in zip(parts, contracts, strict=True)
    ]
    channels = preprocess.channels
    if all(pixels.shape[2] == 1 for pixels, _ in fitted):
        channels = 1
    pixels = [to_channels(image, channels) for image, _ in fitted]
    geometries = [geometry for _, geometry in fitted]
    if len({image.dtype for image in images}) == 1:
        return np.stack(pixels), contracts[0], geometries
    unit = [to_unit(image, contract) for image, contract in zip(pixels, contracts, strict=True)]
    return np.stack(unit), replace(preprocess, window=(0.0, 1.0), depth=None), geometries
