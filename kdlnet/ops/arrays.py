"""From a network's answer to boxes without torch: numpy twins of boxes, points, decode and nms.

Same names, same meaning, same numbers as the functions on tensors beside; a test compares them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdlnet.metrics.verdict import DEFAULT_SCORE
from kdlnet.ops.limits import (
    IOU_THRESHOLD,
    MAX_CANDIDATES,
    MAX_DETECTIONS,
    PAIRS,
    VOTERS,
    logit,
)
from kdlnet.types import DetectionArrays, ImageSize

Array = NDArray[Any]


def box_area(boxes: Array) -> Array:
    """Area (...,) of boxes (..., 4); 0 for boxes turned inside out."""
    sides = np.maximum(boxes[..., 2:] - boxes[..., :2], 0)
    return np.asarray(sides[..., 0] * sides[..., 1])


def box_intersection(boxes: Array, others: Array) -> Array:
    """Area that boxes (..., 4) and others (..., 4) share, broadcast against each other."""
    x1, y1, x2, y2 = (boxes[..., side] for side in range(4))
    other_x1, other_y1, other_x2, other_y2 = (others[..., side] for side in range(4))
    width = np.maximum(np.minimum(x2, other_x2) - np.maximum(x1, other_x1), 0)
    height = np.maximum(np.minimum(y2, other_y2) - np.maximum(y1, other_y1), 0)
    return np.asarray(width * height)


def box_iou(boxes: Array, others: Array, eps: float = 1e-9) -> Array:
    """Intersection over union of boxes (..., 4) and others (..., 4), broadcast against each other.

    For all pairs of (N, 4) and (M, 4) give ``boxes[:, None]`` and ``others``. Range [0, 1].
    """
    inner = box_intersection(boxes, others)
    return np.asarray(inner / (box_area(boxes) + box_area(others) - inner + eps))


def make_points(sizes: Sequence[ImageSize], strides: Sequence[int]) -> tuple[Array, Array]:
    """Points (A, 2) as (x, y) in pixels of the network input, and their strides (A,), float32."""
    points = []
    for (height, width), stride in zip(sizes, strides, strict=True):
        y, x = np.indices((height, width), np.float32).reshape(2, -1)
        points.append((np.stack((x, y), axis=1) + np.float32(0.5)) * np.float32(stride))
    counts = [height * width for height, width in sizes]
    return np.concatenate(points), np.repeat(np.asarray(strides, np.float32), counts)


def expected_distances(bins: Array) -> Array:
    """Mean (..., 4) of the distribution over R bins, in strides, from bin logits (..., 4, R)."""
    weights = np.exp(bins - bins.max(axis=-1, keepdims=True))
    steps = np.arange(bins.shape[-1], dtype=bins.dtype)
    return np.asarray((weights @ steps) / weights.sum(axis=-1))


def distances_to_boxes(distances: Array, points: Array, strides: Array) -> Array:
    """Boxes (..., A, 4) in the frame of the points from distances (..., A, 4) in strides."""
    reach = distances * strides[:, None]
    return np.concatenate((points - reach[..., :2], points + reach[..., 2:]), axis=-1)


def select_detections(
    logits_AC: Array,
    bins_A4R: Array,
    points: Array,
    strides: Array,
    input_size: ImageSize,
    score_threshold: float = DEFAULT_SCORE,
    iou_threshold: float = IOU_THRESHOLD,
    max_detections: int = MAX_DETECTIONS,
    max_candidates: int = MAX_CANDIDATES,
) -> DetectionArrays:
    """Class-wise suppression and vote of one image, boxes in pixels of the network input.

    As the function on tensors: of candidates beyond ``max_candidates`` the best are taken, of
    equal ones the first.
    """
    logits_AC = logits_AC.astype(np.float32)
    point, label = np.nonzero(logits_AC > logit(VOTERS * score_threshold * (1 - 1e-6)))
    logits = logits_AC[point, label]
    if len(logits) > max_candidates:
        best = np.argsort(-logits, kind="stable")[:max_candidates]
        logits, point, label = logits[best], point[best], label[best]
    distances = expected_distances(bins_A4R[point].astype(np.float32))
    boxes = distances_to_boxes(distances, points[point], strides[point])
    height, width = input_size
    limit = np.array([width, height, width, height], boxes.dtype)
    boxes = np.clip(boxes, 0, limit)
    found = DetectionArrays(boxes, _sigmoid(logits), label.astype(np.int64))
    reached = found[found.scores >= np.float32(score_threshold)]
    kept = suppress(reached, iou_threshold, max_detections)
    return DetectionArrays(agreed_boxes(kept, found, iou_threshold), kept.scores, kept.labels)


def agreed_boxes(kept: DetectionArrays, found: DetectionArrays, iou_threshold: float) -> Array:
    """Boxes (K, 4) where those of ``found`` that show the same objects see them.

    A mean weighted by what overlap and score exceed their limits by, as the function on tensors.
    """
    pairs = len(kept) * len(found)
    labels = np.unique(kept.labels).tolist() if pairs >= PAIRS else ()
    if not labels or pairs < PAIRS * len(labels):
        return _mean_boxes(kept, found, iou_threshold)
    agreed = kept.boxes.copy()
    for label in labels:
        ours, theirs = kept.labels == label, found.labels == label
        agreed[ours] = _mean_boxes(kept[ours], found[theirs], iou_threshold)
    return agreed


def _mean_boxes(kept: DetectionArrays, voters: DetectionArrays, iou_threshold: float) -> Array:
    """Boxes (K, 4), each where the ``voters`` of its class see it."""
    overlap = box_iou(kept.boxes[:, None], voters.boxes) - np.float32(iou_threshold)
    score = voters.scores - np.float32(VOTERS) * kept.scores[:, None]
    weights = np.maximum(overlap, 0) * np.maximum(score, 0)
    weights = weights * (kept.labels[:, None] == voters.labels)
    total = weights.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        return np.where(total > 0, weights @ voters.boxes / total, kept.boxes)


def suppress(found: DetectionArrays, iou_threshold: float, max_detections: int) -> DetectionArrays:
    """Class-wise non-maximum suppression of one image's boxes; by falling score, any frame.

    Classes are moved apart by more than the largest coordinate, so that none meets another's.
    """
    if not len(found):
        return found
    apart = found.labels.astype(found.boxes.dtype) * (found.boxes.max() + 1)
    boxes = found.boxes + apart[:, None]
    return found[_kept(boxes, found.scores, iou_threshold, max_detections)]


def _kept(
    boxes: Array, scores: Array, iou_threshold: float, max_detections: int
) -> NDArray[np.int64]:
    """Rows by falling score that no better kept one overlaps; of equal scores the first counts."""
    kept: list[int] = []
    left = np.argsort(-scores, kind="stable")
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    while len(left) and len(kept) < max_detections:
        best, left = left[0], left[1:]
        kept.append(int(best))
        inner = box_intersection(boxes[best], boxes[left])
        with np.errstate(invalid="ignore"):  # two boxes without area share 0 of 0
            overlap = inner / (area[best] + area[left] - inner)
        left = left[~(overlap > np.float64(iou_threshold))]
    return np.array(kept, np.int64)


def _sigmoid(logits: Array) -> Array:
    with np.errstate(over="ignore"):  # exp of a very low logit: the score is 0
        return np.asarray(1 / (1 + np.exp(-logits)))
