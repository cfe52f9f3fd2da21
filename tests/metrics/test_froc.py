"""FROC and image-level shares against counting by hand and by brute force."""

from __future__ import annotations

import json

import numpy as np
import pytest

from kdlnet.metrics.curves import rank
from kdlnet.metrics.froc import RATES, froc
from kdlnet.metrics.image_level import image_level, passed, ranked_right
from kdlnet.metrics.matching import match
from kdlnet.metrics.result import ImageResult

from .test_average_precision import NAMES, random_result

BOX = [0.0, 0, 10, 10]
AWAY = [50.0, 50, 60, 60]


def result(boxes, scores, truth) -> ImageResult:
    return ImageResult(boxes, scores, [0] * len(boxes), truth, [0] * len(truth), (100, 100))


def test_counted_by_hand() -> None:
    """Four images, three true boxes. By falling score: found 0.9, false 0.8, found 0.7, false 0.6
    twice. So one true box of three without a false call, two from a quarter of one an image on."""
    images = [
        result([BOX, AWAY], [0.9, 0.8], [BOX]),
        result([BOX, AWAY], [0.7, 0.6], [BOX, [20.0, 20, 30, 30]]),
        result([AWAY], [0.6], []),
        result([], [], []),
    ]
    found = froc(rank(images, 1), ["a"], rounds=50)
    line = found.overall
    assert line.recalls == pytest.approx([1 / 3] + [2 / 3] * 6)
    assert line.mean.value == pytest.approx((1 / 3 + 6 * 2 / 3) / 7)
    assert line.curve == ((0.0, 1 / 3), (0.25, 2 / 3)) and line.boxes == 3
    assert line.mean.low < line.mean.value < line.mean.high
    assert found.per_class["a"].recalls == line.recalls
    json.dumps(found.to_dict(), allow_nan=False)


def test_equal_scores_are_one_threshold() -> None:
    """The find cannot be had without the false call of its score: nothing below one an image."""
    images = [result([BOX, AWAY], [0.5, 0.5], [BOX])]
    assert froc(rank(images, 1), ["a"], rounds=5).overall.recalls == (0, 0, 0, 1, 1, 1, 1)


@pytest.mark.parametrize("seed", range(3))
def test_against_every_threshold(seed: int) -> None:
    rng = np.random.default_rng(seed)
    images = [random_result(rng, int(rng.integers(0, 5)), 6, index) for index in range(15)]
    truths = sum(len(image.truth_boxes) for image in images)
    best = dict.fromkeys(RATES, 0.0)
    for score in np.unique(np.concatenate([image.scores for image in images])):
        matches = [match(image, 0.5, score) for image in images]
        false = sum(len(found.false) for found in matches) / len(images)
        recall = sum(len(found.true) for found in matches) / truths
        best = {rate: max(was, recall if false <= rate else 0) for rate, was in best.items()}
    found = froc(rank(images, len(NAMES)), NAMES, rounds=5)
    assert found.overall.recalls == pytest.approx(list(best.values()))
    assert found.per_class["never"].mean.reason == "no true box"


def _by_hand(scores, bad, percent) -> float:
    """The best share of good images below any threshold that loses few defective ones."""
    fits = [t for t in scores[bad] if (scores[bad] < t).mean() <= percent / 100 + 1e-9]
    return float((scores[~bad] < max(fits)).mean())


def _pairs(scores, bad) -> float:
    """The mean over all pairs of a bad and a good image."""
    ahead = scores[bad][:, None] - scores[~bad]
    return float((ahead > 0).mean() + (ahead == 0).mean() / 2)


@pytest.mark.parametrize("seed", range(20))
def test_pgn_and_pbn_against_every_threshold(seed: int) -> None:
    rng = np.random.default_rng(seed)
    bad = rng.random(60) < 0.5
    scores = np.round(np.clip(rng.normal(0.4 + 0.2 * bad, 0.2), 0.01, 1), 2)
    images = [
        result([AWAY], [score], [BOX] if defect else [])
        for score, defect in zip(scores, bad, strict=True)
    ]
    found = image_level(images, rounds=20)
    assert (found.good, found.defective) == ((~bad).sum(), bad.sum())
    for percent in (0, 1, 5):
        assert found.pg[f"{percent}"].value == pytest.approx(_by_hand(scores, bad, percent))
        assert found.pb[f"{percent}"].value == pytest.approx(_by_hand(-scores, ~bad, percent))
    assert found.auroc.value == pytest.approx(_pairs(scores, bad))
    copies = rng.integers(0, 3, 60)
    drawn = np.repeat(np.arange(60), copies)
    share = ranked_right(scores, bad, copies[None].astype(float))[0]
    assert share == pytest.approx(_pairs(scores[drawn], bad[drawn]))
    expected = _by_hand(scores[drawn], bad[drawn], 5)
    assert passed(scores, ~bad, copies[None].astype(float), 5.0)[0] == pytest.approx(expected)


def test_one_kind_of_image_alone_tells_no_share() -> None:
    good, defective = result([AWAY], [0.4], []), result([BOX], [0.9], [BOX])
    for images, reason in (
        ([good, good], "no defective image"),
        ([defective], "no good image"),
        ([], "no defective image"),
    ):
        found = image_level(images, rounds=5)
        assert {value.reason for value in found.pg.values()} == {reason}
        assert all(value.value is None for value in found.pb.values())
        assert (found.auroc.value, found.auroc.reason) == (None, reason)
    both = image_level([good, good, defective, defective], rounds=20)
    assert (both.pg["0"].value, both.pb["0"].value) == (1, 1)


def test_a_threshold_of_one_image_tells_no_interval() -> None:
    """5 % of 40 defective images are two; 5 % of 39 good ones, and 1 % of either, are fewer."""
    good, defective = result([AWAY], [0.4], []), result([BOX], [0.9], [BOX])
    found = image_level([good] * 39 + [defective] * 40, rounds=20)
    assert found.pg["5"].low == pytest.approx(0.025 ** (1 / 39)) and found.pg["5"].reason is None
    for one in (found.pb["5"], found.pg["1"], found.pg["0"], found.pb["0"]):
        assert (one.value, one.low, one.high) == (1, None, None)
    assert found.pb["5"].reason == "5 % of 39 is fewer than 2"
    twins = [number // 2 for number in range(79)]
    assert image_level([good] * 39 + [defective] * 40, twins, rounds=20).pg["5"].low is None
