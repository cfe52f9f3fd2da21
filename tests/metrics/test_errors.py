"""Errors at the operating point."""

from __future__ import annotations

import numpy as np

from kdlnet.metrics.errors import find_errors
from kdlnet.metrics.result import ImageResult
from kdlnet.metrics.verdict import DEFAULT_SCORE

BOX = [0.0, 0, 10, 10]
AWAY = [50.0, 50, 60, 60]


def result(boxes, scores, labels, truth, truth_labels) -> ImageResult:
    return ImageResult(boxes, scores, labels, truth, truth_labels, (100, 100))


def test_they_count_at_the_score_with_the_best_f1() -> None:
    """At 0.6 both true boxes are found without a false one; the 0.3 would be a false call."""
    one = result([BOX, AWAY], [0.9, 0.3], [0, 0], [BOX], [0])
    two = result([BOX], [0.6], [1], [BOX, AWAY], [1, 1])
    errors = find_errors([one, two], ("scratch", "pit"))
    assert errors.operating_point.to_dict() == {
        "score": 0.6, "iou": 0.5, "true": 2, "false": 0, "missed": 1
    }  # fmt: skip
    assert errors.best_scores == {"scratch": 0.9, "pit": 0.6}
    assert errors.confusion.tolist() == [[1, 0, 0], [0, 1, 1], [0, 0, 0]]
    assert [len(found.missed) for found in errors.matches] == [0, 1]


def test_without_any_hit_the_usual_score_counts() -> None:
    none = np.zeros((0, 4))
    errors = find_errors([result([AWAY], [0.9], [0], [BOX], [0]), result(none, [], [], none, [])],
                         ("scratch",))  # fmt: skip
    point = errors.operating_point
    assert (point.score, point.true, point.false, point.missed) == (DEFAULT_SCORE, 0, 1, 1)
    assert errors.best_scores == {}
