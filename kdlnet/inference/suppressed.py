"""Files that suppress boxes themselves: what is fixed in them, and how their rows are read."""

from __future__ import annotations

from kdlnet.errors import ConfigError
from kdlnet.inference.arrays import SuppressedArrays
from kdlnet.ops.limits import IOU_THRESHOLD, MAX_DETECTIONS
from kdlnet.types import DetectionArrays

LOWEST_SCORE = 0.001
"""Boxes from this score on are in the file's answer: what a validation asks for."""


def rows_of(points: int, classes: int) -> int:
    """Rows of the answer: those of a small network are fewer."""
    return min(MAX_DETECTIONS, points * classes)


def suppressed_detections(
    raw: SuppressedArrays, score_threshold: float, iou_threshold: float, max_detections: int
) -> list[DetectionArrays]:
    """Boxes of each image whose score reaches the threshold, in pixels of the network input.

    Of boxes by falling score these are the same as if the threshold had come first. Raises
    ConfigError for what the file can no longer give.
    """
    if iou_threshold != IOU_THRESHOLD or max_detections > MAX_DETECTIONS:
        raise ConfigError(
            f"this file suppresses boxes itself, at an overlap of {IOU_THRESHOLD} and "
            f"{MAX_DETECTIONS} boxes at most: leave --iou and --max-detections out, or export "
            "without --nms"
        )
    lowest = max(score_threshold, LOWEST_SCORE)
    found = []
    for boxes, scores, labels in zip(raw.boxes, raw.scores, raw.labels, strict=True):
        kept = (scores >= scores.dtype.type(lowest)).nonzero()[0][:max_detections]
        found.append(DetectionArrays(boxes[kept], scores[kept], labels[kept]))
    return found
