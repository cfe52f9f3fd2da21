"""NG, OK and the score between them."""

from __future__ import annotations

import numpy as np
import pytest

from kdlnet.metrics.verdict import DEFAULT_SCORE, VerdictRule


def test_a_box_that_reaches_the_threshold_makes_it_ng() -> None:
    rule = VerdictRule(0.4)
    assert rule.verdict([0.39, 0.4], [0, 1]) == "NG"
    assert rule.verdict([0.39, 0.2], [0, 1]) == "OK"
    assert rule.verdict(np.zeros(0), np.zeros(0, np.int64)) == "OK"
    assert rule.reached([0.1, 0.4, 0.9], [0, 0, 0]).tolist() == [False, True, True]


def test_it_is_the_weights_own_or_the_usual_one() -> None:
    assert VerdictRule.of_weights({"score": 0.7}) == VerdictRule(0.7)
    assert VerdictRule.of_weights({}).score == VerdictRule().score == DEFAULT_SCORE


@pytest.mark.parametrize("threshold", [0.1, 0.7, 0.9])
def test_no_rounding_stands_between_a_score_and_its_threshold(threshold: float) -> None:
    """0.7 is more than its nearest float32, in which a network scores: equal all the same."""
    score = np.float64(np.float32(threshold))
    assert VerdictRule(threshold).verdict([score], [0]) == "NG"
    below = np.float64(np.nextafter(np.float32(threshold), np.float32(0)))
    assert VerdictRule(threshold).verdict([below], [0]) == "OK"
