"""Changes that a person asks for to the preprocessing contract of weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from kdlnet.errors import ConfigError
from kdlnet.images.window import Window
from kdlnet.types import ImageSize, Preprocess, Roi, Tiling
from kdlnet.utils.parse import check_number, parse_roi, parse_tile, parse_window

TileChoice = ImageSize | Literal["off"] | None
"""Tiles of (H, W) pixels of the original image, "off" for no tiles, None for no change."""

RoiChoice = Roi | Literal["off"] | None
"""A region of interest (x1, y1, x2, y2) in pixels of the original image, "off" for whole images,
None for no change."""


@dataclass(frozen=True)
class Seeing:
    """What is asked for in place of what a file holds; None: nothing."""

    image_size: ImageSize | None = None
    window: Window | None = None
    tile: TileChoice = None
    overlap: float | None = None
    roi: RoiChoice = None


def adjusted(contract: Preprocess, seeing: Seeing) -> Preprocess:
    """The contract with what is asked for in place of its own.

    A ``window`` that a person gives holds for files of any bit depth. Raises ConfigError for a
    ``window``, a ``tile``, an ``overlap`` or a ``roi`` out of range, and for an overlap without
    tiles.
    """
    if seeing.image_size is not None:
        contract = replace(contract, image_size=seeing.image_size)
    if seeing.window is not None:
        contract = replace(contract, window=parse_window(seeing.window), depth=None)
    if seeing.roi is not None:
        roi = parse_roi(seeing.roi)
        contract = replace(contract, roi=None if roi == "off" else roi)
    tile, overlap = seeing.tile, seeing.overlap
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


def rates_line(calibration: Mapping[str, Any], contract: Preprocess) -> str | None:
    """What to tell people where images are not seen as thresholds were chosen for, else None.

    ``calibration`` is what weights say of it, empty where no calibration chose.
    """
    chosen_for = calibration.get("preprocess")
    if chosen_for is None or chosen_for == contract.to_dict():
        return None
    return (
        "images are seen at another size, window, region or tiles than when thresholds were "
        "chosen: their rates do not hold; see kdlnet calibrate"
    )
