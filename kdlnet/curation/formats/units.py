"""Numbers of a source that are no pixels although its format has them: shares and percents.

A single box tells little, for the first pixel of an image is a box too; a whole source does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kdlnet.curation.formats.shapes import STRETCHED, Shape
from kdlnet.errors import DataError

if TYPE_CHECKING:
    from kdlnet.types import ImageSize

Drawn = tuple[Path, Sequence[Shape]]
"""An image and what was drawn in it."""

_PAST_ONE = 0.01  # shares past the border, as tools with two decimals write
_REACH = 1.0  # of what is not stretched, such as a circle around a corner
_CHANCE = 0.01


def are_shares(shapes: Iterable[Shape]) -> bool:
    """Whether a source has shares of the image (0 to 1) where its format has pixels.

    So it has when every box ends there and one of them between two pixels.
    """
    shapes = list(shapes)
    return all(map(within_one, shapes)) and any(map(_broken, shapes))


def is_share(shape: Shape) -> bool:
    """Whether a single shape can be nothing but shares."""
    return within_one(shape) and _broken(shape)


def within_one(shape: Shape) -> bool:
    """Whether all of ``shape`` is from 0 to 1, but for rounding, as shares of an image are."""
    return _within(shape, 1)


def refuse_percents(drawn: Iterable[Drawn], size_of: Callable[[Path], ImageSize]) -> None:
    """Raises DataError for a source whose boxes look like percents of the image.

    So they do when all end at 100, one of them between two pixels, and the images are so large
    that boxes in pixels would hardly all keep to that corner: with a chance of less than one in a
    hundred, were each image's anywhere. Sides up to twice as long count for nothing, since boxes
    in their middle end at 100 too. They are not scaled, for where they do keep to the corner every
    box would be misplaced.
    """
    drawn = [(image, shapes) for image, shapes in drawn if shapes]
    every = [shape for _, shapes in drawn for shape in shapes]
    if not any(map(_broken, every)) or not all(_within(shape, 100) for shape in every):
        return
    chance = 1.0
    for image, _ in drawn:
        try:
            height, width = size_of(image)
        except DataError:  # told where it is left out
            continue
        chance *= math.prod(100 / side for side in (width, height) if side > 200)
        if chance < _CHANCE:
            raise DataError(
                f"the boxes of all {len(drawn)} images lie between 0 and 100, in images as large "
                f"as {width} x {height} ({str(image)!r}): they look like percents, and this format "
                "has pixels. Multiply them by width and height over 100, or, if they are pixels, "
                "round them to whole ones"
            )


def _within(shape: Shape, whole: float) -> bool:
    past = whole * (_PAST_ONE if shape.kind in STRETCHED else _REACH)
    return min(shape.box) >= -past and max(shape.box) <= whole + past


def _broken(shape: Shape) -> bool:
    return any(side % 1 for side in shape.box)
