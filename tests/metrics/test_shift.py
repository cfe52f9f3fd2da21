"""Shift of scores on results that are made to have it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from kdlnet.metrics.average_precision import average_precision
from kdlnet.metrics.result import ImageResult
from kdlnet.metrics.shift import score_shift

from .test_average_precision import NAMES, random_result

BOX = [0.0, 0, 10, 10]
AWAY = [50.0, 50, 60, 60]


def test_halved_scores_leave_ap_and_move_the_threshold() -> None:
    rng = np.random.default_rng(1)
    a = [random_result(rng, int(rng.integers(1, 6)), 5, index) for index in range(40)]
    b = [
        ImageResult(r.boxes, r.scores / 2, r.labels, r.truth_boxes, r.truth_labels, r.size)
        for r in a
    ]
    assert average_precision(a, NAMES).ap == pytest.approx(average_precision(b, NAMES).ap)
    found = score_shift(a, b, 0.5, rounds=200)
    assert found.threshold_b == pytest.approx(0.25, abs=0.02)
    assert (found.found_b, found.false_b) == (found.found_a, pytest.approx(found.false_a, abs=8))
    assert found.carried < found.found_a and found.carried_false < found.false_a
    assert -0.35 < found.low < found.mean < found.high < -0.15
    assert found.quartiles[0] < found.quartiles[1] < found.quartiles[2] < 0
    assert found.words.startswith(f"B scores the same boxes {-found.mean:.3f} lower than A")
    assert f"it finds {found.carried} boxes where A finds {found.found_a}" in found.words
    json.dumps(found.to_dict(), allow_nan=False)


def test_the_same_scores_are_no_shift() -> None:
    rng = np.random.default_rng(2)
    a = [random_result(rng, 3, 5, index) for index in range(10)]
    found = score_shift(a, a, 0.5, rounds=50)
    assert (found.mean, found.low, found.high) == (0, 0, 0)
    assert "no shift that matters" in found.words
    assert found.carried == found.found_a
    assert (found.threshold_b, found.found_b, found.false_b) == (0.5, found.found_a, found.false_a)


def test_nothing_in_common_is_told() -> None:
    seen = ImageResult([BOX], [0.9], [0], [BOX], [0], (100, 100))
    blind = ImageResult([AWAY], [0.9], [0], [BOX], [0], (100, 100))
    found = score_shift([seen], [blind], 0.5, rounds=10)
    assert (found.boxes, found.mean, found.threshold_b) == (0, None, None)
    assert found.words == "no common scores: no true box is found by both"
    assert (found.found_a, found.carried, found.carried_false) == (1, 0, 1)
    json.dumps(score_shift([], [], 0.5, rounds=10).to_dict(), allow_nan=False)


def test_images_of_one_group_tell_no_interval() -> None:
    rng = np.random.default_rng(3)
    a = [random_result(rng, 3, 5, index) for index in range(9)]
    b = [
        ImageResult(r.boxes, r.scores * 0.8, r.labels, r.truth_boxes, r.truth_labels, r.size)
        for r in a
    ]
    one = score_shift(a, b, 0.5, [0] * 9, rounds=200)
    assert one.mean is not None and (one.low, one.high) == (None, None)
    assert "no interval: they are of one image or group" in one.words
    json.dumps(one.to_dict(), allow_nan=False)
    few = score_shift(a, b, 0.5, [0, 0, 0, 1, 1, 1, 2, 2, 2], rounds=200)
    many = score_shift(a, b, 0.5, rounds=200)
    assert few.mean == many.mean and few.high - few.low > 0


def test_the_interval_of_few_groups_covers_too() -> None:
    """Three groups, each with a shift of its own around 0: the interval holds 0 as it says."""
    rng, held = np.random.default_rng(4), 0
    for number in range(300):
        a, b, groups = [], [], []
        for group, own in enumerate(rng.normal(0, 0.1, 3)):
            for _ in range(4):
                scores = 0.5, float(0.5 + own + rng.normal(0, 0.01))
                one, two = (ImageResult([BOX], [s], [0], [BOX], [0], (9, 9)) for s in scores)
                a.append(one), b.append(two), groups.append(group)
        found = score_shift(a, b, 0.5, groups, rounds=200, seed=number)
        held += found.low <= 0 <= found.high
    assert held / 300 > 0.9  # the middle 95 % of the rounds held it in 0.68
