"""Sets that leave figures undefined: a value, or None with a reason, and never a warning."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import pytest

from kdlnet.metrics.analysis import analyse
from kdlnet.metrics.average_precision import average_precision
from kdlnet.metrics.errors import find_errors
from kdlnet.metrics.result import ImageResult

from .test_average_precision import random_boxes, random_result

BOX = [0.0, 0, 10, 10]
AWAY = [50.0, 50, 60, 60]


def image(detections: int = 1, truths: int = 1, label: int = 0) -> ImageResult:
    boxes = [BOX, AWAY][:detections]
    truth = [BOX, [20.0, 20, 30, 30]][:truths]
    scores = [0.9, 0.6][:detections]
    return ImageResult(boxes, scores, [label] * detections, truth, [label] * truths, (100, 100))


def judged(
    results: list[ImageResult], names: tuple[str, ...] = ("pit", "scratch")
) -> dict[str, Any]:
    found = analyse(results, names, find_errors(results, names)).to_dict()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    return found


SETS = {
    "nothing at all": [],
    "no truth": [image(2, 0)] * 3,
    "no predictions": [image(0, 1)] * 3,
    "neither": [image(0, 0)] * 3,
    "one image": [image(2, 1)],
    "all good": [image(1, 0), image(0, 0)],
    "all defective": [image(2, 1), image(1, 2), image(2, 2)],
    "all right": [image(1, 1), image(1, 1), image(0, 0)],
    "nan scores": [
        ImageResult([BOX, AWAY], [np.nan, 0.5], [0, 0], [BOX], [0], (100, 100)),
        ImageResult([[np.inf, 0, 9, 9]], [0.9], [0], [], [], (100, 100)),
    ],
    "equal scores": [ImageResult([BOX, AWAY], [1.0, 1.0], [0, 0], [AWAY], [0], (99, 99))] * 4,
}


@pytest.mark.parametrize("name", SETS)
def test_hostile_sets_are_judged(name: str) -> None:
    results = SETS[name]
    shape = judged(results)
    assert shape.keys() == judged([image(2, 2), image(1, 0)]).keys()
    judged(results, ("pit",))
    boxes = sum(len(result.truth_boxes) for result in results)
    for figures in shape["intervals"]["overall"], *shape["intervals"]["per_class"].values():
        value = figures["ap"]
        assert (value["value"] is None) == (figures["boxes"] == 0)
        assert (value["low"] is None) == (value["reason"] is not None)
    assert shape["intervals"]["overall"]["boxes"] == boxes
    absent = shape["pod"]["per_class"]["scratch"]["a90"]
    assert absent == {"px": None, "mm": None, "reason": "no true box"}


def test_a_detection_without_a_number_finds_nothing_and_stops_the_part() -> None:
    """Figures are those without it; at image level it is above every threshold."""
    broken = ImageResult([BOX, AWAY, BOX], [np.nan, 0.5, 0.9], [0, 0, 0], [BOX], [0], (100, 100))
    infinite = ImageResult([[np.inf, 0, 9, 9]], [0.9], [0], [], [], (100, 100))
    names, clean = ("pit",), ImageResult([AWAY, BOX], [0.5, 0.9], [0, 0], [BOX], [0], (100, 100))
    without = [clean, image(0, 0), image(1, 0)]
    found, expected = judged([broken, infinite, image(1, 0)], names), judged(without, names)
    assert found.pop("image_level")["pb"]["0"]["value"] == 0
    assert expected.pop("image_level")["pb"]["0"]["value"] == 0
    assert found == expected
    one, other = ([broken, infinite, image(1, 0)], without)
    assert average_precision(one, names) == average_precision(other, names)
    assert judged([broken, infinite], names)["image_level"]["pb"]["0"]["value"] == 0
    assert judged(without[:2], names)["image_level"]["pb"]["0"]["value"] == 1


def test_thousands_of_boxes_in_an_image() -> None:
    rng = np.random.default_rng(0)
    truth = random_boxes(rng, 1500)
    found = np.concatenate([truth + rng.normal(0, 1, truth.shape), random_boxes(rng, 1500)])
    found[:, 2:] = np.maximum(found[:, 2:], found[:, :2] + 1)
    labels = rng.integers(0, 2, 1500)
    crowd = ImageResult(
        found, rng.random(3000), np.tile(labels, 2), truth, labels, (400, 400), "crowd"
    )
    began = time.process_time()
    shape = judged([crowd, image(1, 1), image(0, 0)])
    assert shape["intervals"]["overall"]["boxes"] == 1501
    assert len(shape["suspicious_labels"]["boxes"]) <= 300
    assert time.process_time() - began < 20


def test_it_says_what_each_part_says() -> None:
    rng = np.random.default_rng(3)
    results = [random_result(rng, int(rng.integers(0, 5)), 4, index) for index in range(20)]
    names = ("a", "b", "c", "d")
    errors = find_errors(results, names)
    found = analyse(results, names, errors, [i // 2 for i in range(20)], mm_per_pixel=0.5)
    assert found.intervals.groups == 10
    assert found.pod.hits == errors.operating_point.true
    assert found.pod.boxes == errors.operating_point.true + errors.operating_point.missed
    assert sum(pod.boxes for pod in found.pod_per_class.values()) == found.pod.boxes
    assert found.breakdown.score == errors.operating_point.score
    false = sum(kind.count for name, kind in found.breakdown.kinds.items() if name != "missed")
    assert false == errors.operating_point.false
    assert found.breakdown.ap50 == pytest.approx(found.intervals.overall.figures["ap50"].value)
    assert found.calibration.iou == found.froc.iou == errors.operating_point.iou == 0.5
