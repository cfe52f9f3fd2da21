"""Outlines of defects: what is defect inside of a box, and what is not."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Outline = NDArray[np.float64]
"""Corners (K, 2) as x, y in their order around a defect, K >= 3; the last one meets the first."""

Rings = tuple[Outline, ...]
"""An outline without the lines between its pieces; none: the defect is known by its box alone."""

_FINE = 0.25  # pixels of the network input that corners of rings may be off


def outline_around(marked: NDArray[np.bool_]) -> Outline:
    """Along the edges of the marked pixels (H, W), in pixels; holes are filled.

    Regions that do not touch are joined by lines without an area, there and back. At least one
    pixel must be marked.
    """
    # At twice the size a border pixel with an even number lies left of or above its edge, one with
    # an odd number right of or below it.
    doubled = marked.astype(np.uint8).repeat(2, axis=0).repeat(2, axis=1)
    rings, _ = cv2.findContours(doubled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    rings = sorted((ring[:, 0] for ring in rings), key=lambda ring: tuple(ring[0]))
    if len(rings) > 1:
        rings = [np.concatenate((ring, ring[:1])) for ring in rings]
        rings += [ring[:1] for ring in rings[-2:0:-1]]
    corners = np.concatenate(rings).astype(np.int64)
    return _without_repeats((corners + (corners & 1)) / 2.0)


def tells_more(outline: Outline) -> bool:
    """Whether an outline is something else than the upright box around it."""
    low, high = outline.min(axis=0), outline.max(axis=0)
    on_corner = ((outline == low) | (outline == high)).all(axis=1)
    return not on_corner.all() or len(np.unique(outline, axis=0)) < len("xyxy")


def stretched(outline: Outline, box: Sequence[float]) -> Outline:
    """``outline`` so that ``box`` (x1, y1, x2, y2) goes around it; both have an area."""
    low, high = outline.min(axis=0), outline.max(axis=0)
    result: Outline = (outline - low) / (high - low) * np.subtract(box[2:], box[:2]) + box[:2]
    return np.clip(result, box[:2], box[2:])


def cut(outline: Outline, box: Sequence[float]) -> Outline:
    """What of ``outline`` lies in ``box`` (x1, y1, x2, y2), (K, 2), K = 0 where nothing does.

    Pieces that are left hang together along the border. Sutherland and Hodgman, Reentrant polygon
    clipping, Communications of the ACM 17 (1974).
    """
    for axis, side, sign in ((0, box[0], 1), (1, box[1], 1), (0, box[2], -1), (1, box[3], -1)):
        inside = sign * (outline[:, axis] - side) >= 0
        if inside.all():
            continue
        after = np.roll(outline, -1, axis=0)
        crosses = inside != np.roll(inside, -1)
        along = after[:, axis] - outline[:, axis]
        share = (side - outline[:, axis]) / np.where(crosses, along, 1)
        met = outline + share[:, None] * (after - outline)
        met[:, axis] = side
        both = np.stack((outline, met), axis=1).reshape(-1, 2)
        outline = both[np.stack((inside, crosses), axis=1).reshape(-1)]
    return outline


def box_within(outline: Outline, box: Sequence[float]) -> tuple[float, float, float, float] | None:
    """The box around what of ``outline`` lies in ``box``; None where that has no area."""
    left = [ring for ring in (cut(ring, box) for ring in rings_of(outline)) if len(ring)]
    left = [ring for ring in left if (ring.min(axis=0) < ring.max(axis=0)).all()]
    if not left:
        return None
    corners = np.clip(np.concatenate(left), box[:2], box[2:])
    (x1, y1), (x2, y2) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    return x1, y1, x2, y2


def rings_of(outline: Outline) -> Rings:
    """The pieces of an outline, without the lines that are walked there and back between them."""
    corners = [tuple(corner) for corner in _without_repeats(outline).tolist()]
    edges = list(zip(corners, corners[1:] + corners[:1], strict=True))
    number = {edge: k for k, edge in enumerate(edges)}
    rings, open_rings, ring = [], [], []
    for k, (start, end) in enumerate(edges):
        ring.append(start)
        back = number.get((end, start))
        if back is not None and back > k:  # on to another piece
            open_rings.append(ring)
            ring = []
        elif back is not None and open_rings:  # and back from it
            rings.append(ring)
            ring = open_rings.pop()
    pieces = [_without_repeats(np.array(piece)) for piece in (*rings, *open_rings, ring) if piece]
    return tuple(piece for piece in pieces if len(piece) > len("xy")) or (np.array(corners),)


def as_drawn(outline: Outline, box: Sequence[float]) -> Rings:
    """The rings of ``outline`` within ``box``, both in pixels of the network input.

    With as many corners as can be told apart there.
    """
    rings = (cut(ring, box) for ring in rings_of(outline))
    return tuple(simplified(ring, _FINE) for ring in rings if len(ring))


def simplified(outline: Outline, off: float) -> Outline:
    """``outline``, K >= 1, with fewer corners, nowhere further ``off`` than so many pixels."""
    corners = outline.astype(np.float32)[:, None]
    return cv2.approxPolyDP(corners, off, closed=True)[:, 0].astype(np.float64)


def _without_repeats(outline: Outline) -> Outline:
    """Without corners that are where the one before them is."""
    moves: NDArray[np.bool_] = (outline != np.roll(outline, 1, axis=0)).any(axis=1)
    turns: Outline = outline[moves] if moves.any() else outline[:1]
    return turns
