"""The confusion matrix by hand, and its sums on random images."""

from __future__ import annotations

import numpy as np

from kdlnet.metrics.confusion import confusion_matrix
from kdlnet.metrics.matching import match
from kdlnet.metrics.result import ImageResult, Ints

BOX, OTHER, FAR = [0, 0, 20, 20], [40, 40, 60, 60], [70, 70, 90, 90]


def confused(results: list[ImageResult], classes: int) -> Ints:
    return confusion_matrix(results, [match(result) for result in results], classes)


def test_every_kind_of_cell():
    one = ImageResult(
        boxes=[BOX, OTHER, FAR, BOX],
        scores=[0.9, 0.8, 0.7, 0.1],  # the last one is below the score threshold
        labels=[0, 1, 1, 0],
        truth_boxes=[BOX, OTHER, [0, 70, 20, 90]],
        truth_labels=[0, 0, 1],
        size=(100, 100),
    )
    # BOX is right, OTHER (class 0) is called 1, FAR is a false call, the third truth is missed.
    assert confused([one], 2).tolist() == [[1, 1, 0], [0, 0, 1], [0, 1, 0]]


def test_the_right_class_comes_first_even_with_a_lower_score():
    one = ImageResult([BOX, BOX], [0.9, 0.5], [1, 0], [BOX], [0], (100, 100))
    assert confused([one], 2).tolist() == [[1, 0, 0], [0, 0, 0], [0, 1, 0]]


def test_sums_are_truths_and_detections():
    rng = np.random.default_rng(5)
    results = []
    for _ in range(20):
        corner = rng.uniform(0, 60, (8, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(20, 40, (8, 2))], axis=1)
        truths = int(rng.integers(0, 6))
        truth = boxes[:truths] + rng.normal(0, 2, (truths, 4))
        results.append(
            ImageResult(
                boxes,
                rng.random(8),
                rng.integers(0, 3, 8),
                truth,
                rng.integers(0, 3, truths),
                (99, 99),
            )
        )
    matrix = confused(results, 3)
    pairs = [match(r) for r in results]
    for c in range(3):
        truths = sum(int((r.truth_labels == c).sum()) for r in results)
        called = sum(int(((r.labels == c) & (r.scores >= 0.25)).sum()) for r in results)
        right = sum(int((r.labels[p.true] == c).sum()) for r, p in zip(results, pairs, strict=True))
        assert matrix[c].sum() == truths
        assert matrix[:, c].sum() == called
        assert matrix[c, c] == right
    assert matrix[3, 3] == 0
    assert (matrix - np.diag(np.diag(matrix)))[:3, :3].sum() > 0  # confusions do occur


def test_empty():
    empty = ImageResult([], [], [], [], [], (10, 10))
    assert confused([], 1).tolist() == [[0, 0], [0, 0]]
    assert confused([empty], 1).tolist() == [[0, 0], [0, 0]]
