"""Curves by hand, by brute force over thresholds, and against COCO's AP50."""

from __future__ import annotations

import numpy as np
import pytest

from kdlnet.metrics.average_precision import average_precision
from kdlnet.metrics.curves import SCORE_STEPS, rank
from kdlnet.metrics.matching import match
from kdlnet.metrics.result import ImageResult

from ..support.curves import curves

NAMES = ("a", "b", "never")


def random_results(seed, images=10):
    rng = np.random.default_rng(seed)
    results = []
    for index in range(images):
        truths, extra = int(rng.integers(0, 6)), int(rng.integers(0, 10))
        corner = rng.uniform(0, 150, (truths + extra, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(10, 60, corner.shape)], axis=1)
        labels = rng.integers(0, 2, truths + extra)
        found = boxes + rng.normal(0, 3, boxes.shape)
        guessed = np.where(rng.random(len(labels)) < 0.9, labels, rng.integers(0, 3, len(labels)))
        scores = np.round(rng.random(len(labels)), 2)
        results.append(
            ImageResult(
                found, scores, guessed, boxes[:truths], labels[:truths], (210, 210), str(index)
            )
        )
    return results


@pytest.mark.parametrize("seed", range(5))
def test_area_under_the_curves_is_coco_ap50(seed):
    results = random_results(seed)
    ours, coco = curves(results, NAMES), average_precision(results, NAMES)
    assert ours.overall.ap == pytest.approx(coco.ap50, abs=1e-9)
    for curve in ours.per_class:
        expected = coco.per_class[curve.name]
        assert curve.truths == expected.truths
        assert curve.ap == pytest.approx(expected.ap50, abs=1e-9)
    assert ours.per_class[2].ap is None


def test_the_limit_of_boxes_is_coco_s():
    results = random_results(11)
    coco = average_precision(results, NAMES, max_detections=2)
    ranking = rank(results, len(NAMES), max_detections=2)
    found = [ranking.true[ranking.labels == c].sum() for c in range(2)]
    recall = [coco.per_class[name].recall50 for name in NAMES[:2]]
    assert (found / ranking.truths.sum(axis=0)[:2]).tolist() == pytest.approx(recall)
    assert len(ranking.scores) < sum(len(r.scores) for r in results)


def test_score_curves_equal_counting_at_every_threshold():
    results = random_results(1)
    ours = curves(results, NAMES)
    truths = sum(len(r.truth_boxes) for r in results)
    for step in range(0, 1001, 7):
        pairs = [match(r, 0.5, SCORE_STEPS[step]) for r in results]
        true = sum(len(p.true) for p in pairs)
        called = true + sum(len(p.false) for p in pairs)
        assert ours.overall.recall_at[step] == pytest.approx(true / truths)
        assert ours.overall.f1_at[step] == pytest.approx(2 * true / (called + truths))
        if called:
            assert ours.overall.precision_at[step] == pytest.approx(true / called)
        else:
            assert np.isnan(ours.overall.precision_at[step])


@pytest.mark.parametrize("seed", range(5))
def test_best_score_is_the_best_of_all_thresholds(seed):
    results = random_results(seed)
    best = curves(results, NAMES).overall.best
    truths = sum(len(r.truth_boxes) for r in results)

    def f1(threshold):
        pairs = [match(r, 0.5, threshold) for r in results]
        true = sum(len(p.true) for p in pairs)
        return 2 * true / (true + sum(len(p.false) for p in pairs) + truths)

    every = np.unique(np.concatenate([r.scores for r in results]))
    values = [f1(threshold) for threshold in every]
    assert best.f1 == pytest.approx(max(values))
    assert best.score == every[int(np.argmax(values))]  # the lowest of equal ones
    assert f1(best.score) == pytest.approx(best.f1)


def test_by_hand():
    # Two true boxes; by score: hit .9, false .7, hit .5. Precision 1, 1/2, 2/3 at recall
    # 1/2, 1/2, 1: COCO's curve is 1 up to recall 0.5 (51 steps) and 2/3 after it (50 steps).
    box, other, far = [0, 0, 10, 10], [20, 20, 40, 40], [60, 60, 90, 90]
    one = ImageResult([box, far, other], [0.9, 0.7, 0.5], [0] * 3, [box, other], [0, 0], (99, 99))
    curve = curves([one], ["pit"]).per_class[0]
    assert curve.ap == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert (curve.best.score, curve.best.recall) == (0.5, 1.0)
    assert curve.best.f1 == pytest.approx(0.8)
    assert curve.best.precision == pytest.approx(2 / 3)
    assert curve.recall_at[[0, 500, 501, 900, 901]].tolist() == [1, 1, 0.5, 0.5, 0]


def test_of_equally_good_thresholds_the_lower_one_is_best():
    # Hit, false, false, hit with two true boxes: F1 is 2 / (1 + 2) after one call and
    # 4 / (4 + 2) after four.
    box, other, far = [0, 0, 10, 10], [20, 20, 40, 40], [60, 60, 90, 90]
    scores = [0.9, 0.8, 0.7, 0.6]
    one = ImageResult([box, far, far, other], scores, [0] * 4, [box, other], [0, 0], (99, 99))
    best = curves([one], ["pit"]).overall.best
    assert (best.score, best.recall) == (0.6, 1.0)


def test_false_calls_of_a_class_without_truth_count_in_the_pooled_precision():
    box = [0, 0, 10, 10]
    one = ImageResult([box, box], [0.9, 0.8], [0, 1], [box], [0], (50, 50))
    ours = curves([one], ["pit", "stain"])
    assert ours.overall.ap == pytest.approx(1.0)  # COCO's mean does not see them
    assert ours.overall.precision_at[0] == 0.5
    assert ours.per_class[1].best is None


@pytest.mark.parametrize("truths", [0, 1])
def test_nothing_found(truths):
    box = np.array([[0, 0, 10, 10.0]])[:truths]
    ours = curves([ImageResult([], [], [], box, [0] * truths, (50, 50))], ["pit"])
    assert ours.overall.ap == (0.0 if truths else None)
    assert ours.overall.best is None
    assert curves([], ["pit"]).overall.ap is None
