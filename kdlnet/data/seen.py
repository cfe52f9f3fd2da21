"""The network input at which a dataset is learned where nobody names one: docs/defaults.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from kdlnet.data.survey import SplitSurvey

if TYPE_CHECKING:
    from kdlnet.types import ImageSize

_LARGEST, _SMALLEST = 640, 128  # sides of the network input
_ENOUGH = 32.0  # pixels of the input: boxes larger than this gain little from more
_OF_CLASS = 20.0  # pixels that the boxes of each class keep: a rare class may be the smallest
_LEAST = 12.0  # of smaller ones too little is left: tiles
_ALIKE = 0.95  # of the images keep so much of their size in an input of their shape
_TILE_INPUT, _IN_TILE = 320, 20.0  # a tile's side in the input, and of its small boxes


class Seen(NamedTuple):
    """The network input (H, W), the ``tile`` (H, W) in pixels of the image that fills it, None for
    the whole image, and what that comes of."""

    image_size: ImageSize
    tile: ImageSize | None
    why: str


def seen_at(survey: SplitSurvey, upright: bool = True) -> Seen:
    """How a split is learned; ``upright``: no image is turned by more than half of a quarter."""
    height, width = survey.shape
    longest = max(height, width)
    scale = min(1.0, _LARGEST / longest)
    wanted = max(_ENOUGH / survey.small, _OF_CLASS / survey.smallest, _SMALLEST / longest)
    scale = min(scale, wanted)
    facts = f"images {width:.0f} pixels wide and {height:.0f} high, nine of ten boxes of"
    facts = f"{facts} {survey.small:.0f} pixels or more"
    if _OF_CLASS / survey.smallest == wanted:
        facts = f"{facts}, of the smallest class {survey.smallest:.0f}"
    if survey.small * scale < _LEAST and longest > _LARGEST:
        tile = max(_TILE_INPUT * survey.small / _IN_TILE, 1.25 * np.percentile(survey.longest, 95))
        side = min(_whole(tile), _whole(longest))
        why = f"tiles of {side} pixels, seen at {_TILE_INPUT}: {facts}"
        return Seen((_TILE_INPUT, _TILE_INPUT), (side, side), why)
    side = _whole(longest * scale)
    size = _shaped(side, survey) if upright else (side, side)
    return Seen(size, None, f"image size {size[0]}x{size[1]}: {facts}")


def _shaped(side: int, survey: SplitSurvey) -> ImageSize:
    """H, W of the image in the middle, in which nearly all are as large as in a square of ``side``.

    That square where they are not.
    """
    height, width = survey.shape
    exact = side * min(height, width) / max(height, width)
    short = _whole(exact) if _whole(exact) >= _ALIKE * exact else _whole(exact) + 32
    sides = (side, short) if height > width else (short, side)
    kept = (np.array(sides) / survey.sizes).min(axis=1) * survey.sizes.max(axis=1) / side
    return sides if np.mean(kept >= _ALIKE) >= _ALIKE else (side, side)


def _whole(side: float) -> int:
    """The multiple of 32 that is nearest, at least 32."""
    return max(32, 32 * round(side / 32))
