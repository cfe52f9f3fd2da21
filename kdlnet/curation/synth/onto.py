"""Defects drawn on photographs of good parts: cracks, holes, chips, blotches and frays.

What is drawn is the share of the light that a defect takes away, so that it follows the shading of
the part, in whatever depth and colour the photograph has. Lengths are in pixels of a part whose
shorter side has 256; larger photographs get larger defects. The idea, defects that nobody had to
collect, is that of CutPaste (arXiv 2104.04015) and DRAEM (arXiv 2108.07610); those draw what is
merely unlike the part, here each shape has a name that a class can be trained by.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.random import Generator, Philox

from kdlnet.curation.synth.defects import (
    log_uniform,
    ragged_outline,
    visible_box,
    visible_part,
)
from kdlnet.curation.synth.image import SynthImage, touch
from kdlnet.curation.synth.surface import Grey, PixelBox, smooth_field
from kdlnet.data.outlines import Outline, outline_around
from kdlnet.images.decode import ImageArray

_MOST_DEFECTS = 3
_TRIES = 10
_SHORTER_SIDE = 256
_MIN_LONG, _MIN_SHORT = 6, 2  # pixels of a box's sides


@dataclass(frozen=True)
class _Mark:
    """``taken`` (H, W) is the share of light lost, below 0 where there is more; ``body`` (H, W),
    0 to 1, is what the box goes around."""

    taken: Grey
    body: Grey


def draw_onto(photo: ImageArray, seed: int, index: int, shapes: Sequence[str]) -> SynthImage:
    """``photo`` (H, W, C), 8 or 16 bits, with one to three defects of ``shapes``.

    Where nothing fits it stays as it is, without a box. The same ``seed`` and ``index`` draw the
    same.
    """
    rng = Generator(Philox(key=np.array([seed, index], np.uint64)))
    size = photo.shape[0], photo.shape[1]
    light = photo.astype(np.float32)
    boxes: list[PixelBox] = []
    labels: list[int] = []
    outlines: list[Outline] = []
    for _ in range(int(rng.integers(1, _MOST_DEFECTS + 1))):
        label = int(rng.integers(len(shapes)))
        for _ in range(_TRIES):
            mark = SHAPES[shapes[label]](rng, size, max(1.0, min(size) / _SHORTER_SIDE))
            box = _box(mark.body)
            if box is not None and not any(touch(box, other) for other in boxes):
                light *= 1 - mark.taken[..., None]
                boxes.append(box)
                labels.append(label)
                x1, y1, x2, y2 = box
                outline = outline_around(visible_part(mark.body[y1:y2, x1:x2]))
                outlines.append(outline + np.array([x1, y1]))
                break
    top = np.iinfo(photo.dtype).max
    image = np.clip(np.rint(light), 0, top).astype(photo.dtype)
    return SynthImage.of(image, boxes, labels, outlines)


def _box(body: Grey) -> PixelBox | None:
    """Around what can be seen of ``body``; None where that is next to nothing."""
    if not body.any():
        return None
    box = visible_box(body)
    sides = box[2] - box[0], box[3] - box[1]
    return box if max(sides) >= _MIN_LONG and min(sides) >= _MIN_SHORT else None


def _crack(rng: Generator, size: tuple[int, int], unit: float) -> _Mark:
    """A dark line that wanders and changes its width, mostly from the upper or lower edge."""
    height, width = size
    length = log_uniform(rng, 18 * unit, height)
    main = np.pi / 2 + rng.normal(0, 0.25) if rng.random() < 0.75 else rng.uniform(0, np.pi)
    pieces = max(4, int(length / (6 * unit)))
    angles = main + 0.6 * np.cumsum(rng.normal(0, 0.25, pieces))
    angles -= np.linspace(0, angles[-1] - main, pieces) * rng.random()
    steps = np.stack([np.cos(angles), np.sin(angles)], 1) * length / pieces
    if rng.random() < 0.6:
        start = np.array([rng.uniform(0.08, 0.92) * width, 0.0])
        if rng.random() < 0.3:
            start[1], steps[:, 1] = height - 1, -steps[:, 1]
    else:
        start = np.array([rng.uniform(0.1, 0.9) * width, rng.uniform(0.05, 0.8) * height])
    points = np.round((start + np.cumsum(steps, 0)) * 16).astype(np.int32)
    ink = np.zeros(size, np.uint8)
    broad = rng.uniform(0.8, 3.5) * unit
    for first, second in pairwise(points):
        thickness = max(1, round(broad * rng.uniform(0.5, 1.4)))
        cv2.line(ink, first.tolist(), second.tolist(), 255, thickness, cv2.LINE_AA, 4)
    body = np.asarray(ink / 255, np.float32)
    return _Mark(_times(rng, 0.35, 0.85, body), body)


def _hole(rng: Generator, size: tuple[int, int], unit: float) -> _Mark:
    """A small dark spot, as gas or a missing grain leaves it."""
    radius = log_uniform(rng, 2, 9) * unit
    axes = radius, radius * rng.uniform(0.6, 1.6)
    body = _soft(_disc(rng, size, _anywhere(rng, size, 0.08), axes, 0.15), 0.8 * unit)
    return _Mark(_times(rng, 0.35, 0.85, body), body)


def _chip(rng: Generator, size: tuple[int, int], unit: float) -> _Mark:
    """A piece broken out of the border or a corner of the photograph, with a rim."""
    height, width = size
    along = rng.uniform(0.02, 0.98) if rng.random() < 0.6 else float(rng.integers(2))
    sides = ((along * width, 0.0), (along * width, height), (0.0, along * height))
    centre = (*sides, (width, along * height))[int(rng.integers(4))]
    reach = log_uniform(rng, 8, 45) * unit
    axes = reach * rng.uniform(0.6, 1.4), reach * rng.uniform(0.6, 1.4)
    body = _soft(_disc(rng, size, centre, axes, 0.2), 0.7 * unit)
    rim = np.clip(body - cv2.erode(body, np.ones((3, 3), np.uint8)), 0, 1)
    broken = rng.uniform(-0.1, 0.5) + 0.15 * smooth_field(rng, size, 24)
    return _Mark(np.asarray(body * broken + rim * rng.uniform(0, 0.5), np.float32), body)


def _blotch(rng: Generator, size: tuple[int, int], unit: float) -> _Mark:
    """A wide even patch with a smooth outline, darker than the part around it."""
    height, width = size
    axes = log_uniform(rng, 0.08, 0.22) * width, log_uniform(rng, 0.15, 0.45) * height
    body = _soft(_disc(rng, size, _anywhere(rng, size, 0.25), axes, 0.06), 1.5 * unit)
    return _Mark(_times(rng, 0.15, 0.45, body), body)


def _fray(rng: Generator, size: tuple[int, int], unit: float) -> _Mark:
    """The left or right edge worn ragged over a length, with glints in it."""
    height, width = size
    length, depth = log_uniform(rng, 20 * unit, 0.8 * height), log_uniform(rng, 6, 26) * unit
    left, top = rng.random() < 0.5, rng.uniform(0, max(height - length, 0))
    ink = np.zeros(size, np.uint8)
    for y in np.arange(top, top + length, 2.5 * unit):
        half = depth * rng.uniform(0.2, 1) / 2
        centre = int(half if left else width - half), int(y)
        axes = max(1, int(half)), max(1, round(3 * unit))
        cv2.ellipse(ink, centre, axes, 0, 0, 360, 255, -1, cv2.LINE_AA)
    body = _soft(np.asarray(ink / 255, np.float32), unit)
    glints = (rng.random(size) < 0.03) * body * np.float32(rng.uniform(0.75, 3.0))
    taken = body * rng.uniform(0.1, 0.5) - _soft(np.asarray(glints, np.float32), 0.7 * unit)
    return _Mark(np.asarray(taken, np.float32), body)


def _times(rng: Generator, low: float, high: float, body: Grey) -> Grey:
    return np.asarray(rng.uniform(low, high) * body, np.float32)


def _anywhere(rng: Generator, size: tuple[int, int], margin: float) -> tuple[float, float]:
    x, y = rng.uniform(margin, 1 - margin, 2)
    return float(x * size[1]), float(y * size[0])


def _disc(
    rng: Generator,
    size: tuple[int, int],
    centre: tuple[float, float],
    axes: tuple[float, float],
    ragged: float,
) -> Grey:
    points = np.round((ragged_outline(rng, *axes, ragged) + centre) * 16).astype(np.int32)
    ink = np.zeros(size, np.uint8)
    cv2.fillPoly(ink, [points], 255, cv2.LINE_AA, shift=4)
    return np.asarray(ink / 255, np.float32)


def _soft(field: Grey, sigma: float) -> Grey:
    return np.asarray(cv2.GaussianBlur(field, (0, 0), sigma), np.float32)


SHAPES: dict[str, Callable[[Generator, tuple[int, int], float], _Mark]] = {
    "crack": _crack,
    "hole": _hole,
    "chip": _chip,
    "blotch": _blotch,
    "fray": _fray,
}
