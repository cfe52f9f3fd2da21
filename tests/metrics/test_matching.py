"""Greedy matching on hand-worked geometry and against a plain double loop."""

from __future__ import annotations

import numpy as np
import pytest

from kdlnet.metrics.matching import assign, match
from kdlnet.metrics.result import ImageResult, box_iou


def result(boxes, scores, labels, truth, truth_labels):
    return ImageResult(boxes, scores, labels, truth, truth_labels, (100, 100))


def test_box_iou_by_hand():
    a = np.array([[0, 0, 10, 10], [0, 0, 0, 0.0]])
    b = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30], [0, 0, 0, 0.0]])
    # Shifted by half its width: 50 shared of 150. Empty boxes overlap nothing, not even themselves.
    np.testing.assert_allclose(box_iou(a, b), [[1, 1 / 3, 0, 0], [0, 0, 0, 0]])


def test_the_best_score_takes_the_box_and_the_twin_is_false():
    box = [10, 10, 30, 30]
    # The lower-scored twin stands first in the arrays and overlaps perfectly; score decides.
    pairs = match(result([box, [10, 10, 30, 29]], [0.6, 0.9], [0, 0], [box], [0]))
    assert pairs.true.tolist() == [1]
    assert pairs.found.tolist() == [0]
    assert pairs.false.tolist() == [0]
    assert pairs.missed.tolist() == []


def test_classes_are_kept_apart():
    box = [10, 10, 30, 30]
    pairs = match(result([box], [0.9], [1], [box], [0]))
    assert (pairs.true.tolist(), pairs.false.tolist(), pairs.missed.tolist()) == ([], [0], [0])


def test_each_detection_takes_its_best_free_box():
    truth = [[0, 0, 10, 10], [2, 0, 12, 10]]
    # Both detections fit the second box best (IoU 1); the later one still reaches the first (2/3).
    pairs = match(result([truth[1], truth[1]], [0.9, 0.8], [0, 0], truth, [0, 0]))
    assert pairs.true.tolist() == [0, 1]
    assert pairs.found.tolist() == [1, 0]


def test_thresholds_are_inclusive():
    # Halves share exactly half: IoU 0.5 counts, and so does a score of exactly 0.25.
    one = result([[0, 0, 5, 10]], [0.25], [0], [[0, 0, 10, 10]], [0])
    assert match(one).true.tolist() == [0]
    assert match(one, iou_threshold=0.51).missed.tolist() == [0]
    low = match(one, score_threshold=0.26)
    assert (low.true.tolist(), low.false.tolist(), low.missed.tolist()) == ([], [], [0])


@pytest.mark.parametrize(("found", "truths"), [(0, 0), (0, 2), (2, 0)])
def test_empty_sides(found, truths):
    box = np.array([[0, 0, 9, 9.0], [50, 50, 70, 70]])
    pairs = match(result(box[:found], [0.9] * found, [0] * found, box[:truths], [0] * truths))
    assert len(pairs.false) == found
    assert len(pairs.missed) == truths


def double_loop(iou, threshold):
    """COCO's rule, spelled out."""
    taken, found = set(), []
    for row in iou:
        best, best_iou = -1, threshold
        for t, value in enumerate(row):
            if t not in taken and value >= best_iou:
                best, best_iou = t, value
        found.append(best)
        taken.add(best) if best >= 0 else None
    return found


def test_assign_equals_the_double_loop():
    rng = np.random.default_rng(0)
    for _ in range(200):
        iou = np.round(rng.random((rng.integers(0, 9), rng.integers(0, 6))), 1)  # with ties
        assert assign(iou, 0.5).tolist() == double_loop(iou.tolist(), 0.5)
