"""Labels of a region of interest: what of a split is looked for there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from kdlnet.data.labels import ImageLabels, Split
from kdlnet.errors import DataError
from kdlnet.images.read import image_size
from kdlnet.images.roi import looked_at
from kdlnet.types import ImageSize, Roi
from kdlnet.utils.words import counted


def inside(split: Split, roi: Roi | None) -> Split:
    """``split`` with the boxes whose middle is in ``roi``, cut at its border; None: all of them.

    How many were left out is one of its warnings. The size of images is read from their headers.
    An image that has not all of the region, or cannot be read, has no box: whoever opens the images
    leaves it out, and says so.
    """
    if roi is None:
        return split
    labels, before = [], 0
    for path, found in zip(split.paths, split.labels, strict=True):
        try:
            labels.append(_inside(found, image_size(path), roi) if len(found.labels) else found)
            before += len(found.labels)
        except DataError:
            labels.append(_rows(found, np.zeros(0, np.intp)))
    warnings, after = list(split.warnings), sum(len(found.labels) for found in labels)
    if before > after:
        text = f"{before - after} of {counted(before, 'box', 'boxes')} have their middle outside of"
        warnings.append(f"{text} the region of interest and are not looked for")
    return replace(split, labels=labels, warnings=warnings)


def _inside(found: ImageLabels, size: ImageSize, roi: Roi) -> ImageLabels:
    (height, width), (x1, y1, x2, y2) = size, looked_at(size, roi)
    low, high = np.array([x1, y1]) / (width, height), np.array([x2, y2]) / (width, height)
    middles = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2
    within = np.all((low <= middles) & (middles < high), axis=1)
    seen = _rows(found, np.flatnonzero(within))
    boxes = np.clip(seen.boxes, np.tile(low, 2), np.tile(high, 2))
    return replace(seen, boxes=boxes, whole=_rows(found, np.argsort(~within, kind="stable")))


def _rows(found: ImageLabels, rows: NDArray[np.intp]) -> ImageLabels:
    outlines = [found.outlines[row] for row in rows.tolist()] if found.outlines else ()
    return replace(found, boxes=found.boxes[rows], labels=found.labels[rows], outlines=outlines)
