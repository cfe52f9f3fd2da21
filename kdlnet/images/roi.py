"""What of an image is looked at: all of it, or its region of interest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kdlnet.errors import DataError
from kdlnet.images.frame import Frame, OnProblem
from kdlnet.images.tiles import Tile, tile_grid
from kdlnet.types import ImageSize, Preprocess, Roi


def looked_at(size: ImageSize, roi: Roi | None, name: str = "the image") -> Roi:
    """(x1, y1, x2, y2) of an image of ``size`` that is looked at: ``roi``, or all of it.

    Raises DataError where the region of interest reaches out of it.
    """
    height, width = size
    x1, y1, x2, y2 = roi or (0, 0, width, height)
    if x2 > width or y2 > height:
        raise DataError(
            f"{name} has {width} x {height} pixels and not all of the region of interest "
            f"{x1},{y1},{x2},{y2}: give images like those it was chosen on, or another --roi"
        )
    return x1, y1, x2, y2


def tiles_of(size: ImageSize, preprocess: Preprocess) -> list[Tile | None]:
    """The tiles in which the network sees an image of ``size``; [None]: all that is looked at.

    Raises DataError as :func:`looked_at`.
    """
    x1, y1, x2, y2 = looked_at(size, preprocess.roi)
    if preprocess.tiling is None:
        return [None]
    grid = tile_grid((y2 - y1, x2 - x1), preprocess.tiling)
    return [(x1 + left, y1 + top, x1 + right, y1 + bottom) for left, top, right, bottom in grid]


def least_size(preprocess: Preprocess) -> ImageSize:
    """(H, W) of an image for the network: that of its input, larger where the region wants it."""
    (height, width), roi = preprocess.image_size, preprocess.roi
    return (height, width) if roi is None else (max(height, roi[3]), max(width, roi[2]))


def fitting(
    frames: Iterable[Frame], roi: Roi | None, on_problem: OnProblem, live: bool
) -> Iterator[Frame]:
    """Those of ``frames`` that have all of the region of interest; ``on_problem`` gets the others.

    Raises DataError for one of a ``live`` source, whose next ones are like it.
    """
    for frame in frames:
        try:
            looked_at(frame.image.shape[:2], roi, repr(frame.name))
        except DataError as error:
            if live:
                raise
            on_problem(error, frame.name, frame.index, frame.timestamp)
        else:
            yield frame
