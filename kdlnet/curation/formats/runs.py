"""Run-length masks of COCO: the ``segmentation`` of an object that is no list of polygons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from kdlnet.curation.formats.shapes import Box, Unusable


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
