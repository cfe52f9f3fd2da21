"""Which detection found which true box: COCO's greedy rule on one image.

Detections choose by falling score. Each takes the free true box of its class that it overlaps
most, if the overlap reaches the threshold; a true box is taken once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kdlnet.metrics.result import Floats, ImageResult, Ints, box_iou
from kdlnet.metrics.verdict import DEFAULT_SCORE

MATCH_IOU = 0.5
"""A detection that overlaps a true box by this much finds it, where one IoU is asked for."""


@dataclass(frozen=True, slots=True)
class Match:
    """Positions in the arrays of an ImageResult.

    ``true`` (K,) detections that found a true box and ``found`` (K,) the true box of each;
    ``false`` the other detections; ``missed`` the other true boxes. Detections stand by falling
    score, those below the score threshold nowhere.
    """

    true: Ints
    found: Ints
    false: Ints
    missed: Ints


def match(
    result: ImageResult, iou_threshold: float = MATCH_IOU, score_threshold: float = DEFAULT_SCORE
) -> Match:
    """True, false and missed boxes of one image among the detections with at least that score."""
    order = ranked(result)
    order = order[result.scores[order] >= score_threshold]
    found = assign(class_iou(result, order), iou_threshold)
    hit = found >= 0
    missed = np.setdiff1d(np.arange(len(result.truth_boxes)), found[hit])
    return Match(order[hit], found[hit], order[~hit], missed)


def by_score(scores: Floats) -> Ints:
    """Positions (N,) by falling score (N,); equal scores keep their order."""
    return np.argsort(-scores, kind="stable")


def ranked(result: ImageResult) -> Ints:
    """Positions (K,) of the usable detections of one image by falling score."""
    order = by_score(result.scores)
    return order[result.usable[order]]


def class_iou(result: ImageResult, order: Ints) -> Floats:
    """IoU (K, T) of the detections ``order`` with the true boxes; -1 between different classes."""
    iou = box_iou(result.boxes[order], result.truth_boxes)
    return np.where(result.labels[order][:, None] == result.truth_labels[None, :], iou, -1.0)


def assign(iou: Floats, iou_threshold: float) -> Ints:
    """Greedy choice: (K, T) IoU, rows by falling score -> (K,) the true box of each row or -1.

    Of equally good true boxes the last one is taken, as pycocotools does.
    """
    found = np.full(len(iou), -1, dtype=np.int64)
    free = np.ones(iou.shape[1], dtype=bool)
    # Most rows reach no true box at all; only the others have a choice to make.
    for row in np.flatnonzero((iou >= iou_threshold).any(axis=1)):
        open_iou = np.where(free, iou[row], -1.0)[::-1]
        best = len(free) - 1 - int(open_iou.argmax())
        if open_iou.max() >= iou_threshold:
            found[row] = best
            free[best] = False
    return found
