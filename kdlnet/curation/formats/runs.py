"""Run-length masks: of COCO, the ``segmentation`` of an object that is no list of polygons, and of
tables, starts and lengths. Both run down the columns of the image, from the left to the right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kdlnet.curation.formats.regions import regions_of
from kdlnet.curation.formats.shapes import Box, Shape, Unusable
from kdlnet.data.labels import LabelProblem

if TYPE_CHECKING:
    from kdlnet.types import ImageSize


@dataclass(frozen=True, slots=True)
class RunMask:
    """The mask of one class as its annotation file has it: the image's size is not known yet.

    ``line`` is that of the file. ``runs`` (N, 2) int64 are start and length of each run in pixels
    from 0, N >= 1, in their order and apart. Regions of less than ``min_area`` pixels are no boxes.
    """

    line: int
    name: str
    runs: NDArray[np.int64]
    min_area: int


def runs_of(text: str) -> NDArray[np.int64]:
    """The runs "start length start length ...", pixels counted from 1, as a :class:`RunMask` has
    them. Raises Unusable with the reason why they are none."""
    numbers = numbers_of(text.split())
    if not numbers or not all(number.is_integer() for number in numbers):
        raise Unusable("no whole numbers")
    if len(numbers) % 2:
        raise Unusable("start without length")
    runs = np.array(numbers, np.int64).reshape(-1, 2)
    if runs[:, 0].min() < 1:
        raise Unusable("start below 1")
    if runs[:, 1].min() < 1:
        raise Unusable("length below 1")
    runs = runs[runs[:, 0].argsort()]
    if (runs[:-1].sum(axis=1) > runs[1:, 0]).any():
        raise Unusable("overlapping runs")
    return runs - (1, 0)


def shapes_of_runs(
    masks: Sequence[RunMask], file: Path, size: ImageSize
) -> tuple[list[Shape], list[LabelProblem]]:
    """The regions of ``masks``, which ``file`` has, in an image of ``size``, with their outlines.

    And what is no box: regions that are too small, and masks that reach beyond the image.
    """
    shapes: list[Shape] = []
    problems: list[LabelProblem] = []
    for mask in masks:
        start, length = mask.runs[-1].tolist()
        if start + length > size[0] * size[1]:
            value = f"{mask.name} {start + 1} {length}, image {size[1]}x{size[0]}"
            problems.append(LabelProblem(file, mask.line, "beyond the image", value, "dropped"))
            continue
        regions, small = regions_of(_marked(mask.runs, size), mask.min_area)
        shapes += [
            Shape(mask.line, mask.name, box, "mask", outline=outline) for box, outline in regions
        ]
        values = [f"{mask.name}, area {area}" for area in small]
        problems += [LabelProblem(file, mask.line, "small region", v, "dropped") for v in values]
    return shapes, problems


def _marked(runs: NDArray[np.int64], size: ImageSize) -> NDArray[np.bool_]:
    """(H, W), true where there is a run."""
    height, width = size
    edges = runs.cumsum(axis=1).ravel()
    counts = np.diff(edges, prepend=0, append=height * width)  # as COCO has them
    marked = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return np.ascontiguousarray(marked.reshape(width, height).T)


def box_of_runs(segmentation: Mapping[str, Any]) -> Box:
    """Box of a run-length mask: runs of 0 and 1 in turn, column by column, from the upper left.

    In pixels, from 0. Raises Unusable with the reason where the mask is broken or empty.
    """
    size, counts = numbers_of(segmentation.get("size"), 2), segmentation.get("counts")
    runs = _unpack(counts) if isinstance(counts, str) else numbers_of(counts)
    if not size or not runs or size[0] < 1 or min(runs) < 0 or sum(runs) > size[0] * size[1]:
        raise Unusable("incomplete")
    height = int(size[0])
    edges = np.cumsum(np.array(runs, np.int64))
    first, last = edges[0:-1:2], edges[1::2] - 1  # the odd runs are the object
    first, last = first[last >= first], last[last >= first]
    if not len(first):
        raise Unusable("degenerate")
    left, right = int(first[0] // height), int(last[-1] // height)
    # A run that goes on in the next column touches the top and the bottom.
    over = bool((first // height != last // height).any())
    top = 0 if over else int((first % height).min())
    bottom = height - 1 if over else int((last % height).max())
    return float(left), float(top), right + 1.0, bottom + 1.0


def _unpack(text: str) -> list[int]:
    """COCO's compressed runs: six bits a character from "0" on, five of value and one of "more".

    From the fourth on a run is written as the difference to the run two before it.
    """
    runs: list[int] = []
    value = shift = 0
    for char in text:
        bits = ord(char) - 48
        if not 0 <= bits < 64 or shift > 50:
            raise Unusable("incomplete")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:  # the highest bit of the last character is the sign
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    return runs


def numbers_of(value: Any, count: int | None = None) -> list[float] | None:
    """``value`` as numbers if it is a list of ``count`` finite ones, else None."""
    if not isinstance(value, list) or (count is not None and len(value) != count):
        return None
    try:
        numbers = [float(item) for item in value]
    except (TypeError, ValueError, OverflowError):
        return None
    return numbers if all(abs(number) < 2**53 for number in numbers) else None
