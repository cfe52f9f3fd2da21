"""Shift of scores on results that are made to have it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from kdlnet.metrics.average_precision import average_precision
from kdlnet.metrics.result import ImageResult
from kdlnet.metrics.shift import score_shift
from kdlnet.metrics.verdict import ClassRule, VerdictRule

from .test_average_precision import NAMES, random_result

RULE = VerdictRule.at(0.5)
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
    found = score_shift(a, b, RULE, NAMES, rounds=200)
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
    found = score_shift(a, a, RULE, NAMES, rounds=50)
    assert (found.mean, found.low, found.high) == (0, 0, 0)
    assert "no shift that matters" in found.words
    assert found.carried == found.found_a
    assert (found.threshold_b, found.found_b, found.false_b) == (0.5, found.found_a, found.false_a)


def test_nothing_in_common_is_told() -> None:
    seen = ImageResult([BOX], [0.9], [0], [BOX], [0], (100, 100))
    blind = ImageResult([AWAY], [0.9], [0], [BOX], [0], (100, 100))
    found = score_shift([seen], [blind], RULE, NAMES, rounds=10)
    assert (found.boxes, found.mean, found.threshold_b) == (0, None, None)
    assert found.words == "no common scores: no true box is found by both"
    assert (found.found_a, found.carried, found.carried_false) == (1, 0, 1)
    json.dumps(score_shift([], [], RULE, NAMES, rounds=10).to_dict(), allow_nan=False)


def test_images_of_one_group_tell_no_interval() -> None:
    rng = np.random.default_rng(3)
    a = [random_result(rng, 3, 5, index) for index in range(9)]
    b = [
        ImageResult(r.boxes, r.scores * 0.8, r.labels, r.truth_boxes, r.truth_labels, r.size)
        for r in a
    ]
    one = score_shift(a, b, RULE, NAMES, [0] * 9, rounds=200)
    assert one.mean is not None and (one.low, one.high) == (None, None)
    assert "no interval: they are of one image or group" in one.words
    json.dumps(one.to_dict(), allow_nan=False)
    few = score_shift(a, b, RULE, NAMES, [0, 0, 0, 1, 1, 1, 2, 2, 2], rounds=200)
    many = score_shift(a, b, RULE, NAMES, rounds=200)
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
        found = score_shift(a, b, RULE, NAMES, groups, rounds=200, seed=number)
        held += found.low <= 0 <= found.high
    assert held / 300 > 0.9  # the middle 95 % of the rounds held it in 0.68


def two_kinds(drop: tuple[float, float], count: int = 6) -> list[ImageResult]:
    """A square at 0.35 and a disc at 0.85 on each image, each so much lower."""
    boxes, labels = [BOX, AWAY], [0, 1]
    scores = np.array([0.35, 0.85]) - drop
    return [
        ImageResult(boxes, scores + n / 1000, labels, boxes, labels, (99, 99)) for n in range(count)
    ]


def test_each_threshold_of_a_has_one_of_b() -> None:
    """B scores the second class 0.3 lower and the first as A does: one threshold moves alone."""
    rule = VerdictRule((ClassRule(0.1), ClassRule(0.8)))
    found = score_shift(two_kinds((0, 0)), two_kinds((0.0, 0.3)), rule, ("square", "disc"))
    assert found.thresholds_a == {"square": 0.1, "disc": 0.8}
    assert found.thresholds_b == {"square": 0.1, "disc": pytest.approx(0.55)}
    assert (found.threshold_a, found.threshold_b) == (0.1, 0.1)
    assert (found.found_a, found.found_b, found.carried) == (12, 12, 6)
    assert "At A's thresholds 0.1 to 0.8 it finds 6 boxes where A finds 12" in found.words
    assert found.words.endswith("for as many it needs 0.1 to 0.55")
    shared = score_shift(two_kinds((0, 0)), two_kinds((0.3, 0.3)), RULE, ("square", "disc"))
    assert (shared.found_a, shared.thresholds_b["square"]) == (6, shared.thresholds_b["disc"])


def test_a_class_that_b_never_finds_so_often_is_told_even_without_a_shift() -> None:
    """The last two squares are not found by B at any score; what both find has the same score."""
    a, b = two_kinds((0, 0)), two_kinds((0, 0), 4)
    b += [ImageResult([AWAY], r.scores[1:], [1], [BOX, AWAY], [0, 1], (99, 99)) for r in a[4:]]
    rule = VerdictRule((ClassRule(0.1), ClassRule(0.8)))
    found = score_shift(a, b, rule, ("square", "disc"))
    assert found.thresholds_b == {"square": None, "disc": 0.8}
    assert (found.found_b, found.false_b, found.carried) == (None, None, 10)
    never = "of 1 of 2 classes it finds as many boxes as A at no threshold"
    assert found.words.endswith(f"; {never}") and "no shift that matters" not in found.words
    one = score_shift(a, b, VerdictRule.at(0.1), ("square", "disc"))
    assert one.words.endswith("; at no threshold does it find the 12 boxes that A finds")


def test_boxes_that_are_too_small_for_the_rule_are_passed_over() -> None:
    """The square has 100 square pixels, true and found; of the disc's class none are asked for."""
    small = VerdictRule((ClassRule(0.1, min_area=101), ClassRule(0.1)))
    found = score_shift(two_kinds((0, 0)), two_kinds((0, 0)), small, ("square", "disc"))
    assert (found.boxes, found.found_a, found.false_a) == (6, 6, 0)


def test_scores_and_thresholds_meet_as_in_a_verdict() -> None:
    """0.7 in float32 is less than 0.7, and reaches it all the same."""
    score = float(np.float32(0.7))
    assert score < 0.7
    seen = ImageResult([BOX], [score], [0], [BOX], [0], (99, 99))
    found = score_shift([seen], [seen], VerdictRule.at(0.7), ("dent",))
    assert (found.found_a, found.threshold_b, found.found_b) == (1, 0.7, 1)
    lower = ImageResult([BOX] * 2, [0.7, 0.4], [0, 0], [BOX, AWAY], [0, 0], (99, 99))
    b = [replace(lower, boxes=[BOX, AWAY])]
    strict = score_shift(b, b, VerdictRule.at(0.3), ("dent",))
    assert strict.found_b == 2
    one = score_shift([lower], b, VerdictRule.at(0.3), ("dent",))  # A finds but one of them
    (threshold,) = one.thresholds_b.values()
    assert threshold is not None and not VerdictRule.at(threshold).kept([0.4], [0]).any()


def test_thresholds_that_differ_in_the_fifth_place_are_printed_apart() -> None:
    a, b = (
        [ImageResult([BOX], [score], [0], [BOX], [0], (99, 99)) for score in scores]
        for scores in ([0.5, *[0.4] * 7], [0.49996, *[0.3] * 7])
    )
    found = score_shift(a, b, RULE, ("dent",))
    assert "At A's threshold 0.5 it finds 0 boxes" in found.words
    assert found.words.endswith("it needs 0.49996")


def result_of(scores, labels, size=10.0, drawn=10.0):
    """Boxes apart from each other, each over a true one that is ``drawn`` wide and high."""
    corners = 40.0 * np.arange(len(scores))[:, None] * [1, 0, 1, 0]
    boxes, true = (np.add(corners, [0, 0, side, side]) for side in (size, drawn))
    return ImageResult(boxes, scores, labels, true, labels, (400, 400))


def test_shifts_that_cancel_each_other_are_no_peace() -> None:
    a = [result_of([0.6, 0.6], [0, 1]) for _ in range(10)]
    b = [result_of([0.3, 0.9], [0, 1]) for _ in range(10)]
    found = score_shift(a, b, RULE, ("crack", "pore"))
    assert (found.found_a, found.carried) == (20, 10) and found.mean == pytest.approx(0, abs=1e-6)
    assert "At A's threshold 0.5 it finds 10 boxes where A finds 20" in found.words


def test_what_finds_a_true_box_too_small_to_count_is_no_false_call() -> None:
    rule = VerdictRule((ClassRule(0.5, min_length=20),))
    images = [result_of([0.9], [0], size=20.4, drawn=19.6) for _ in range(5)]
    found = score_shift(images, images, rule, ("dent",))
    assert (found.boxes, found.found_a, found.false_a) == (0, 0, 0)


def test_of_equal_scores_the_threshold_is_still_the_nearest() -> None:
    a = [result_of([0.3, 0.1], [0, 0]) for _ in range(4)]
    b = [result_of([0.7, 0.7], [0, 0]) for _ in range(2)] + [result_of([0.1], [0])] * 2
    found = score_shift(a[:2] + [result_of([0.1], [0])] * 2, b, VerdictRule.at(0.3), ("dent",))
    assert (found.threshold_b, found.found_a, found.found_b) == (0.3, 2, 4)
