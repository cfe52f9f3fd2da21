"""Changes that a person asks for to the preprocessing contract of weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from kdlnet.errors import ConfigError
from kdlnet.images.window import Window
from kdlnet.types import ImageSize, Preprocess, Tiling
from kdlnet.utils.parse import check_number, parse_tile, parse_window

TileChoice = ImageSize | Literal["off"] | None
"""Tiles of (H, W) pixels of the original image, "off" for whole images, None for no change."""


@dataclass(frozen=True)
class Seeing:
    """What is asked for in place of what a file holds; None: nothing."""

    image_size: ImageSize | None = None
    window: Window | None = None
    tile: TileChoice = None
    overlap: float | None = None


def adjusted(
    contract: Preprocess,
    image_size: ImageSize | None = None,
    window: Window | None = None,
    tile: TileChoice = None,
    overlap: float | None = None,
) -> Preprocess:
    """The contract with what is given in place of its own.

    A ``window`` that a person gives holds for files of any bit depth. Raises ConfigError for a
    ``window``, a ``tile`` or an ``overlap`` out of range, and for an overlap without tiles.
    """
    if image_size is not None:
        contract = replace(contract, image_size=image_size)
    if window is not None:
        contract = replace(contract, window=parse_window(window), depth=None)
    size = "off" if tile is None else parse_tile(tile)
    if tile is not None and size == "off":
        contract = replace(contract, tiling=None)
    elif size != "off":
        before = contract.tiling or Tiling(size)
        contract = replace(contract, tiling=Tiling(size, before.overlap))
    if overlap is not None:
        check_number("overlap", overlap, lambda share: 0 <= share <= 0.9, "0 to 0.9")
        if contract.tiling is None:
            raise ConfigError(f"overlap {overlap:g}: there are no tiles to overlap; give --tile")
        contract = replace(contract, tiling=replace(contract.tiling, overlap=overlap))
    return contract
