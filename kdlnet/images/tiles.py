"""The one rule by which large images become tiles, for train, val and predict.

A tile is ``(x1, y1, x2, y2)`` in whole pixels of the original image. All boxes here are in pixels
of the original image, too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kdlnet.ops.arrays import box_area, box_intersection, box_iou, suppress
from kdlnet.ops.limits import IOU_THRESHOLD, MAX_DETECTIONS, VOTERS
from kdlnet.types import DetectionArrays, ImageSize, Tiling

Tile = tuple[int, int, int, int]
Boxes = NDArray[np.float64]
Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]

_NEAR = 0.01  # of a tile's side: a box that ends this close to an inner border is taken as cut
_SAME = 0.4  # least IoU, in what both tiles see, of two views of one object
_CANDIDATES = 2000  # best boxes of an image that are compared with each other: bounds the memory
_COVERED = 0.7  # a lone cut piece with this share inside a better box is a view of that one


def tile_grid(size: ImageSize, tiling: Tiling) -> list[Tile]:
    """Tiles that cover an image of ``size``, row by row.

    All have the same size: that of ``tiling``, or of the image along a side where it is smaller.
    They are spread evenly, so that there is no sliver at the far border.
    """
    rows, columns = (
        _spans(length, side, tiling.overlap) for length, side in zip(size, tiling.size, strict=True)
    )
    return [(x1, y1, x2, y2) for y1, y2 in rows for x1, x2 in columns]


def _spans(length: int, side: int, overlap: float) -> list[tuple[int, int]]:
    if length <= side:
        return [(0, length)]
    step = max(1, math.floor(side * (1 - overlap)))
    starts = (
        np.linspace(0, length - side, math.ceil((length - side) / step) + 1).round().astype(int)
    )
    return [(start, start + side) for start in starts.tolist()]


def least_visible(
    boxes: NDArray[np.float64], tiles: Sequence[Tile], min_visible: float
) -> NDArray[np.float64]:
    """The share (N,) from which each of boxes (N, 4) is a target: ``min_visible``, or less.

    Where no tile sees that much, the share of the tile that sees most: each box has a tile.
    """
    shares = [_visible(boxes, tile)[1] for tile in tiles]
    least: NDArray[np.float64] = np.minimum(min_visible, np.max(shares, axis=0, initial=0.0))
    return least


def cut_boxes(
    boxes: NDArray[np.float64], tile: Tile, least: float | NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The parts of boxes (N, 4) inside ``tile``, (K, 4), and the rows (K,) of those kept.

    A box is kept where at least the share ``least`` of its area is inside (one number, or one a
    box from :func:`least_visible`). Along a side on which it is longer than the tile only what a
    tile can show counts: otherwise a scratch across many tiles would be a target in none.
    """
    inside, share = _visible(boxes, tile)
    rows = np.flatnonzero((share >= least) & (share > 0))
    return inside[rows], rows


def _visible(
    boxes: NDArray[np.float64], tile: Tile
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The parts (N, 4) of boxes inside ``tile`` and the shares (N,) of them that it shows."""
    x1, y1, x2, y2 = tile
    inside = np.clip(boxes, (x1, y1, x1, y1), (x2, y2, x2, y2))
    seen = inside[:, 2:] - inside[:, :2]
    whole = np.minimum(boxes[:, 2:] - boxes[:, :2], (x2 - x1, y2 - y1))
    share: NDArray[np.float64] = (seen / np.maximum(whole, 1e-9)).prod(axis=1)
    return inside, share


def merge_tiles(
    parts: Sequence[DetectionArrays],
    tiles: Sequence[Tile | None],
    iou_threshold: float = IOU_THRESHOLD,
    max_detections: int = MAX_DETECTIONS,
) -> DetectionArrays:
    """One image's boxes from those of its tiles: each object once, and whole.

    Two boxes of one class from overlapping tiles are one object if they agree in what both tiles
    see and neither scores less than VOTERS of the object's best. A box that no inner border cuts is
    the object's; where all are cut, it is the hull of the pieces. The score is the best of them.
    What then still overlaps falls to the suppression that an image without tiles has. So an object
    of score s depends on no box below ``VOTERS * s``. A single part, of a tile or of all (None), is
    given back as it is.
    """
    if len(parts) == 1:
        return parts[0]
    frames = np.array(tiles, np.float64)
    tile = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    found = DetectionArrays(
        _inside(np.concatenate([part.boxes for part in parts]), frames[tile]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.labels for part in parts]),
    )
    real = box_area(found.boxes) > 0
    found, tile = found[real], tile[real]
    if not len(found):
        return found
    cut = _cut_sides(found.boxes, tile, frames)
    group = _groups(found, tile, _links(found, tile, cut, frames))
    found, lone = _one_a_group(found, np.asarray(cut.any(axis=1)), group)
    best = np.argsort(-found.scores, kind="stable")[:_CANDIDATES]
    found = _without_fragments(found[best], lone[best])
    return suppress(found, iou_threshold, max_detections)


def _inside(boxes: Boxes, frames: Boxes) -> Boxes:
    """Boxes (N, 4) cut at frames (N, 4), or at one frame (4,)."""
    return np.clip(boxes, frames[..., [0, 1, 0, 1]], frames[..., [2, 3, 2, 3]])


def _cut_sides(boxes: Boxes, tile: Rows, frames: Boxes) -> Mask:
    """Which sides (N, 4) of the boxes lie at a border of their tile that is inside the image."""
    edge = np.concatenate((frames[:, :2].min(axis=0), frames[:, 2:].max(axis=0)))
    inner = frames != edge
    return np.asarray(inner[tile] & (np.abs(boxes - frames[tile]) <= _near(frames)[tile]))


def _near(frames: Boxes) -> Boxes:
    """Tolerance (tiles, 4) in pixels on each side."""
    return _NEAR * np.tile(frames[:, 2:] - frames[:, :2], 2)


def _links(found: DetectionArrays, tile: Rows, cut: Mask, frames: Boxes) -> list[Rows]:
    """Of each box the boxes of other tiles that look like it, in what both tiles see; best first.

    Tiles and cut boxes are grown by the tolerance, so that pieces meet without overlap, too.
    """
    grown = frames + _near(frames) * (-1, -1, 1, 1)
    reaching = np.where(cut, grown[tile], found.boxes)
    pairs, alike = [np.zeros((0, 2), np.int64)], [np.zeros(0)]
    rows = [np.flatnonzero(tile == number) for number in range(len(frames))]
    for one in range(len(frames)):
        low = np.maximum(grown[one, :2], grown[one + 1 :, :2])
        high = np.minimum(grown[one, 2:], grown[one + 1 :, 2:])
        shared = np.concatenate((low, high), axis=1)
        for later in np.flatnonzero((high > low).all(axis=1)).tolist():
            views = rows[one], rows[one + 1 + later]
            met, overlap = _alike(reaching, found.labels, *views, shared[later])
            pairs += [met, met[:, ::-1]]
            alike += [overlap, overlap]
    joined = np.concatenate(pairs)
    joined = joined[np.lexsort((-np.concatenate(alike), joined[:, 0]))]
    ends = np.cumsum(np.bincount(joined[:, 0], minlength=len(found)))
    return np.split(joined[:, 1], ends[:-1])


def _alike(
    boxes: Boxes, labels: Rows, one: Rows, two: Rows, region: Boxes
) -> tuple[Rows, NDArray[np.float64]]:
    """Pairs (K, 2) of boxes of two tiles that are alike in ``region``, and their IoU (K,)."""
    views = [_inside(boxes[rows], region) for rows in (one, two)]
    seen = [box_area(view) > 0 for view in views]  # most lie outside of what both tiles see
    one, two = one[seen[0]], two[seen[1]]
    views = [view[there] for view, there in zip(views, seen, strict=True)]
    overlap = box_iou(views[0][:, None], views[1]) * (labels[one][:, None] == labels[two])
    first, second = np.nonzero(overlap >= _SAME)
    return np.column_stack((one[first], two[second])), overlap[first, second]


def _groups(found: DetectionArrays, tile: Rows, links: list[Rows]) -> Rows:
    """A number (N,) for each box; views of one object have the same.

    The best box left takes what its links reach and does not score too little beside it. A tile has
    already made its own suppression: two of its boxes are two objects.
    """
    group = np.full(len(found), -1)
    for best in np.argsort(-found.scores, kind="stable").tolist():
        if group[best] >= 0:
            continue
        group[best] = best
        least = VOTERS * found.scores[best]
        members, shown = [best], {tile[best]}
        for member in members:  # which grows on the way
            for other in links[member].tolist():
                if group[other] < 0 and found.scores[other] >= least and tile[other] not in shown:
                    group[other] = best
                    members.append(other)
                    shown.add(tile[other])
    return group


def _one_a_group(found: DetectionArrays, cut: Mask, group: Rows) -> tuple[DetectionArrays, Mask]:
    """One box a group, and which of them (G,) are a single piece of an object that was cut."""
    order = np.lexsort((-found.scores, cut, group))  # whole ones first, best first
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    best = order[starts]
    boxes = found.boxes[order]
    hull = np.column_stack(
        (
            np.minimum.reduceat(boxes[:, :2], starts, axis=0),
            np.maximum.reduceat(boxes[:, 2:], starts, axis=0),
        )
    )
    boxes = np.where(cut[best, None], hull, found.boxes[best])
    highest = np.maximum.reduceat(found.scores[order], starts)
    counts = np.diff(starts, append=len(order))
    lone = cut[best] & (counts == 1)
    return DetectionArrays(boxes, highest, found.labels[best]), lone


def _without_fragments(found: DetectionArrays, lone: Mask) -> DetectionArrays:
    """Leaves out single cut pieces that lie in a better box of their class.

    The neighbour saw that object whole, and the piece's box was too far off to be known again.
    """
    piece = np.flatnonzero(lone)
    inside = box_intersection(found.boxes[piece][:, None], found.boxes)
    share = inside / box_area(found.boxes[piece])[:, None]
    better = found.scores[piece][:, None] < found.scores
    same = found.labels[piece][:, None] == found.labels
    keep = np.ones(len(found), bool)
    keep[piece] = ~((share >= _COVERED) & better & same).any(axis=1)
    return found[keep]
