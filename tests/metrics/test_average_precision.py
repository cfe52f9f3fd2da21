"""COCO figures against pycocotools, the oracle, on the same predictions."""

from __future__ import annotations

import contextlib
import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from kdlnet.metrics.average_precision import average_precision
from kdlnet.metrics.result import ImageResult

NAMES = ("scratch", "pit", "stain", "never")  # the last one has no true box


def random_boxes(rng, count, side=400.0):
    corner = rng.uniform(0, side * 0.7, (count, 2))
    size = np.exp(rng.uniform(np.log(6), np.log(side * 0.5), (count, 2)))  # small to large
    return np.concatenate([corner, corner + size], axis=1)


def random_result(rng, truths, extra, index):
    """Jittered copies of the truth (so that every IoU threshold matters) and noise boxes."""
    truth = random_boxes(rng, truths)
    truth_labels = rng.integers(0, 3, truths)
    jitter = truth + rng.normal(0, 1, truth.shape) * rng.uniform(0, 8, (truths, 1))
    jitter[:, 2:] = np.maximum(jitter[:, 2:], jitter[:, :2] + 1)
    labels = np.where(rng.random(truths) < 0.85, truth_labels, rng.integers(0, 4, truths))
    count = truths + extra
    return ImageResult(
        boxes=np.concatenate([jitter, random_boxes(rng, extra)]),
        scores=np.round(rng.random(count), 2),  # rounded: equal scores occur
        labels=np.concatenate([labels, rng.integers(0, 4, extra)]),
        truth_boxes=truth,
        truth_labels=truth_labels,
        size=(400, 400),
        name=f"image {index}",
    )


def oracle(results, classes, max_detections):
    """Precision and recall arrays of pycocotools, -1 turned into nan."""
    rows = {"truth": [], "found": []}
    for image, r in enumerate(results, start=1):
        for kind, boxes, labels in (
            ("truth", r.truth_boxes, r.truth_labels),
            ("found", r.boxes, r.labels),
        ):
            for i, (box, label) in enumerate(zip(boxes.tolist(), labels.tolist(), strict=True)):
                x1, y1, x2, y2 = box
                row = {
                    "id": len(rows[kind]) + 1,
                    "image_id": image,
                    "category_id": label + 1,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": 0,
                }
                if kind == "found":
                    row["score"] = float(r.scores[i])
                rows[kind].append(row)
    with contextlib.redirect_stdout(io.StringIO()):
        cocos = []
        for kind in ("truth", "found"):
            coco = COCO()
            coco.dataset = {
                "images": [{"id": i} for i in range(1, len(results) + 1)],
                "categories": [{"id": c + 1} for c in range(classes)],
                "annotations": rows[kind],
            }
            coco.createIndex()
            cocos.append(coco)
        evaluation = COCOeval(*cocos, "bbox")
        evaluation.params.maxDets = [max_detections]
        evaluation.evaluate()
        evaluation.accumulate()
    precision, recall = evaluation.eval["precision"][..., 0], evaluation.eval["recall"][..., 0]
    return np.where(precision < 0, np.nan, precision), np.where(recall < 0, np.nan, recall)


def mean(values):
    known = values[~np.isnan(values)]
    return known.mean() if known.size else None


def same(value, expected):
    return value is None if expected is None else value == pytest.approx(expected, abs=1e-6)


def check_against_oracle(results, max_detections=300):
    ours = average_precision(results, NAMES, max_detections)
    precision, recall = oracle(results, len(NAMES), max_detections)
    assert same(ours.ap, mean(precision[..., 0]))
    assert same(ours.ap50, mean(precision[0, ..., 0]))
    assert same(ours.ap75, mean(precision[5, ..., 0]))
    assert same(ours.recall, mean(recall[..., 0]))
    assert same(ours.recall50, mean(recall[0, ..., 0]))
    for s, size in enumerate(("small", "medium", "large"), start=1):
        assert same(ours.per_size[size], mean(precision[..., s])), size
    for c, name in enumerate(NAMES):
        row = ours.per_class[name]
        assert same(row.ap, mean(precision[:, :, c, 0])), name
        assert same(row.ap50, mean(precision[0, :, c, 0])), name
        assert same(row.ap75, mean(precision[5, :, c, 0])), name
        assert same(row.recall, mean(recall[:, c, 0])), name
        assert same(row.recall50, mean(recall[0, c, 0])), name
        assert row.truths == sum(int((r.truth_labels == c).sum()) for r in results)
    return ours


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    counts=st.lists(st.tuples(st.integers(0, 8), st.integers(0, 25)), min_size=1, max_size=6),
)
def test_equals_pycocotools_on_random_images(seed, counts):
    rng = np.random.default_rng(seed)
    check_against_oracle([random_result(rng, *count, i) for i, count in enumerate(counts)])


def test_equals_pycocotools_on_a_mixed_set():
    rng = np.random.default_rng(7)
    counts = [(5, 20)] * 12 + [(0, 30), (4, 0), (0, 0)]  # good parts, a perfect one, an empty one
    results = [random_result(rng, *count, i) for i, count in enumerate(counts)]
    ours = check_against_oracle(results)
    assert ours.per_class["never"].ap is None  # false calls of it, but nothing to find
    assert 0.05 < ours.ap < 0.95
    assert all(value is not None for value in ours.per_size.values())


@pytest.mark.parametrize("limit", [3, 100, 300])
def test_crowded_images_count_more_than_coco_s_hundred_boxes(limit):
    # 150 true boxes of one class on a grid, every one found: only the limit keeps recall below 1.
    x, y = np.meshgrid(np.arange(15) * 25.0, np.arange(10) * 25.0)
    truth = np.stack([x, y, x + 20, y + 20], axis=-1).reshape(-1, 4)
    crowd = ImageResult(
        truth, np.linspace(0.9, 0.1, 150), np.zeros(150), truth, np.zeros(150), (400, 400)
    )
    ours = check_against_oracle([crowd], limit)
    assert ours.recall == pytest.approx(min(limit, 150) / 150)


def test_no_predictions_at_all():
    box = np.array([[10, 10, 50, 60.0]])
    missed = ImageResult([], [], [], box, [1], (100, 100))
    ours = check_against_oracle([missed])
    assert (ours.ap, ours.ap50, ours.recall) == (0, 0, 0)
    assert ours.per_class["scratch"].ap is None
    assert ours.per_size == {"small": None, "medium": 0.0, "large": None}  # 40 x 50 = 2000


def test_nothing_to_find_gives_none():
    good = ImageResult(np.array([[1, 1, 9, 9.0]]), [0.9], [0], [], [], (20, 20))
    for results in ([good], []):
        ours = average_precision(results, NAMES)
        assert (ours.ap, ours.ap50, ours.ap75, ours.recall) == (None, None, None, None)
        assert (ours.images, ours.truths) == (len(results), 0)


def test_known_geometry():
    # The 60 x 100 detection inside a 100 x 100 truth has IoU 0.6: right at .50, .55 and .60,
    # wrong at the other seven thresholds, so AP is 0.3.
    half = ImageResult(
        np.array([[0, 0, 60, 100.0]]), [0.8], [0], np.array([[0, 0, 100, 100.0]]), [0], (100, 200)
    )
    ours = average_precision([half], ["pit"])
    assert ours.ap50 == pytest.approx(1.0)
    assert ours.ap75 == 0.0
    assert ours.ap == pytest.approx(0.3)
    assert ours.recall == pytest.approx(0.3)
    assert ours.per_size["large"] == pytest.approx(0.3)


def test_is_silent_deterministic_and_json_ready(capfd):
    rng = np.random.default_rng(3)
    results = [random_result(rng, 3, 9, i) for i in range(4)]
    first = average_precision(results, NAMES).to_dict()
    assert first == average_precision(results, NAMES).to_dict()
    assert json.loads(json.dumps(first, allow_nan=False)) == first
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


def test_a_result_with_unequal_lengths_is_refused():
    with pytest.raises(ValueError, match=r"\(2, 1, 2\)"):
        ImageResult(np.zeros((2, 4)), [0.5], [0, 1], [], [], (10, 10), "a.png")
