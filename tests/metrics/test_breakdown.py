"""Kinds of errors, calibration and suspicious labels on images that are made to have them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from kdlnet.metrics.average_precision import average_precision
from kdlnet.metrics.breakdown import KINDS, breakdown, sort_errors
from kdlnet.metrics.calibration import calibration, reliability
from kdlnet.metrics.curves import rank
from kdlnet.metrics.result import ImageResult
from kdlnet.metrics.suspects import find_suspects

from .test_average_precision import NAMES, random_result

BOX = [0.0, 0, 10, 10]
SHIFTED = [5.0, 0, 15, 10]  # IoU with BOX: 50 / 150
AWAY = [50.0, 50, 60, 60]
FAR = [80.0, 80, 90, 90]
CLASSES = ("pit", "scratch")


def result(boxes, scores, labels, truth, truth_labels) -> ImageResult:
    return ImageResult(boxes, scores, labels, truth, truth_labels, (100, 100), "a.png")


def kinds(*detections) -> list[str]:
    """Kinds of (box, label) by falling score in an image with one pit at BOX."""
    boxes, labels = zip(*detections, strict=True)
    scores = np.linspace(0.9, 0.5, len(boxes))
    found = sort_errors(result(boxes, scores, labels, [BOX], [0]))
    return ["true" if kind < 0 else KINDS[kind] for kind in found.kind]


def test_each_kind_where_it_belongs() -> None:
    assert kinds((BOX, 0), (BOX, 0)) == ["true", "duplicate"]
    assert kinds((BOX, 1)) == ["class"]
    assert kinds((SHIFTED, 0)) == ["localization"]
    assert kinds((SHIFTED, 1)) == ["both"]
    assert kinds((AWAY, 0)) == ["background"]
    # IoU with BOX 10 / 190 = 0.05: below 0.1 it is background for any class.
    assert kinds(([9.0, 0, 19, 10], 0), ([9.0, 0, 19, 10], 1)) == ["background", "background"]


def test_prices_are_what_ap50_gains_when_the_errors_are_mended_by_hand() -> None:
    """Pits: one found, one called a scratch, one missed. A scratch: found behind a false call."""
    images = [
        result([BOX, AWAY], [0.9, 0.8], [0, 1], [BOX, AWAY, FAR], [0, 0, 0]),
        result([AWAY, BOX], [0.7, 0.6], [1, 1], [BOX], [1]),
    ]
    mended = {
        "class": [
            result([BOX, AWAY], [0.9, 0.8], [0, 0], [BOX, AWAY, FAR], [0, 0, 0]),
            images[1],
        ],
        "background": [images[0], result([BOX], [0.6], [1], [BOX], [1])],
        "missed": [
            result([BOX, AWAY], [0.9, 0.8], [0, 1], [BOX, AWAY], [0, 0]),
            images[1],
        ],
    }
    found = breakdown(images, [sort_errors(image) for image in images], 2, score=0.5)
    before = average_precision(images, CLASSES).ap50
    assert found.ap50 == pytest.approx(before)
    for name, kind in found.kinds.items():
        after = average_precision(mended.get(name, images), CLASSES).ap50
        assert kind.ap50_gain == pytest.approx(after - before), name
        assert kind.count == (name in mended), name
    json.dumps(found.to_dict(), allow_nan=False)


def test_of_several_near_finds_one_is_mended_and_none_at_a_found_box() -> None:
    images = [result([SHIFTED, SHIFTED], [0.9, 0.8], [0, 0], [BOX], [0])]
    found = breakdown(images, [sort_errors(images[0])], 1, 0.5).kinds
    assert found["localization"].ap50_gain == 1 and found["localization"].count == 2
    assert found["missed"].count == 0  # a localization error stands at it
    # Beside a find the error goes: it must not find the box a second time for the missed one.
    taken = [result([BOX, SHIFTED], [0.9, 0.8], [0, 0], [BOX, AWAY], [0, 0])]
    assert breakdown(taken, [sort_errors(taken[0])], 1, 0.5).kinds["localization"].ap50_gain == 0
    above = [result([SHIFTED, BOX], [0.9, 0.8], [0, 0], [BOX], [0])]
    gain = breakdown(above, [sort_errors(above[0])], 1, 0.5).kinds["localization"].ap50_gain
    assert gain == pytest.approx(0.5)


@pytest.mark.parametrize("seed", range(3))
def test_every_false_call_has_one_kind_and_ap50_is_cocos(seed: int) -> None:
    rng = np.random.default_rng(seed)
    images = [random_result(rng, int(rng.integers(0, 5)), 6, index) for index in range(15)]
    errors = [sort_errors(image) for image in images]
    found = breakdown(images, errors, len(NAMES), 0.0)
    assert found.ap50 == pytest.approx(average_precision(images, NAMES).ap50)
    false = int((~rank(images, len(NAMES)).true).sum())
    assert sum(kind.count for name, kind in found.kinds.items() if name != "missed") == false
    assert all(kind.ap50_gain > -1e-9 for kind in found.kinds.values())


def test_calibration_by_hand() -> None:
    """Of four boxes at 0.85 two are true, of two at 0.15 none; one at 0.05 is left out."""
    scores = np.array([0.85, 0.85, 0.85, 0.85, 0.15, 0.15, 0.05, 1.0])
    true = np.array([1, 1, 0, 0, 0, 0, 0, 1], bool)
    found = reliability(scores, true)
    assert found.ece == pytest.approx((4 * 0.35 + 2 * 0.15 + 0) / 7)
    assert found.excess == pytest.approx((4 * 0.35 + 2 * 0.15) / 7)
    assert found.boxes == 7 and sum(part.boxes for part in found.bins) == 8
    assert (found.bins[8].boxes, found.bins[8].true) == (4, 0.5)
    assert found.bins[9].boxes == 1  # 1.0 belongs to the last bin
    assert found.bins[5].score is None
    assert reliability(np.array([0.5]), np.array([True])).bins[5].boxes == 1  # its lower end
    empty = reliability(np.zeros(0), np.zeros(0, bool))
    assert (empty.ece, empty.reason) == (None, "no box with a score from 0.1 on")


def test_calibration_of_scores_that_are_shares() -> None:
    rng = np.random.default_rng(0)
    scores = rng.random(20000)
    assert reliability(scores, rng.random(20000) < scores).ece < 0.02
    modest = reliability(scores**2, rng.random(20000) < scores)
    assert modest.excess < -0.1 and modest.ece == pytest.approx(-modest.excess)


def test_calibration_by_class() -> None:
    images = [result([BOX, AWAY], [0.9, 0.6], [0, 1], [BOX], [0])]
    found = calibration(rank(images, 2), CLASSES)
    assert found.per_class["pit"].ece == pytest.approx(0.1)
    assert found.per_class["scratch"].excess == pytest.approx(0.6)
    json.dumps(found.to_dict(), allow_nan=False)


def test_suspects() -> None:
    """Finds of pits at 0.5 and 0.9: their middle is 0.7, so a false pit at 0.8 is suspicious."""
    images = [
        result([BOX, AWAY, FAR], [0.9, 0.8, 0.6], [0, 0, 0], [BOX], [0]),
        result([BOX, AWAY], [0.5, 0.95], [0, 1], [BOX, AWAY, FAR], [0, 0, 1]),
    ]
    errors = [sort_errors(image) for image in images]
    found = find_suspects(images, errors, CLASSES, 0.5)
    assert found.counts == {"unlabelled": 1, "class": 1, "unfound": 1}
    new, other, lost = found.boxes
    assert (new.kind, new.box, new.score, new.found, new.labelled) == (
        "unlabelled", tuple(AWAY), 0.8, "pit", None
    )  # fmt: skip
    assert (other.labelled, other.found, other.score) == ("pit", "scratch", 0.95)
    assert (lost.kind, lost.labelled, lost.found, lost.score) == ("unfound", "scratch", None, 0)
    assert lost.image == "a.png"
    json.dumps(found.to_dict(), allow_nan=False)
