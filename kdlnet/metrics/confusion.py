"""Which class is taken for which, with the background as one more class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kdlnet.metrics.matching import MATCH_IOU, Match, assign
from kdlnet.metrics.result import ImageResult, Ints, box_iou


def confusion_matrix(
    results: Sequence[ImageResult],
    matches: Sequence[Match],
    classes: int,
    iou_threshold: float = MATCH_IOU,
) -> Ints:
    """Counts (C + 1, C + 1): rows are true classes, columns predicted ones, the last is background.

    Row C holds false calls, column C missed defects. First every detection may find a true box
    of its own class: these are the ``matches`` of :func:`~kdlnet.metrics.matching.match`, image by
    image, at the same IoU. Then the detections and true boxes left over meet without regard to
    class. So a row (but the last) sums to the true boxes of its class, a column to its detections.
    """
    matrix = np.zeros((classes + 1, classes + 1), dtype=np.int64)
    for result, pairs in zip(results, matches, strict=True):
        boxes, truth = result.boxes[pairs.false], result.truth_boxes[pairs.missed]
        labels, truth_labels = result.labels[pairs.false], result.truth_labels[pairs.missed]
        found = assign(box_iou(boxes, truth), iou_threshold)
        hit = found >= 0
        lost = np.setdiff1d(np.arange(len(truth)), found[hit])
        np.add.at(matrix, (result.truth_labels[pairs.found], result.labels[pairs.true]), 1)
        np.add.at(matrix, (truth_labels[found[hit]], labels[hit]), 1)
        matrix[classes, :classes] += np.bincount(labels[~hit], minlength=classes)
        matrix[:classes, classes] += np.bincount(truth_labels[lost], minlength=classes)
    return matrix
