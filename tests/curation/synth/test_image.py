from __future__ import annotations

import contextlib
import io
import itertools
import time

import cv2
import numpy as np
import pytest
from numpy.random import Generator, Philox
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from kdlnet.curation.synth import image as drawing
from kdlnet.curation.synth.defects import draw_defect, visible_box
from kdlnet.curation.synth.image import CLASSES, draw_image

from ...support.blob_baseline import find_blobs


def average_precision_50(truths, found):
    """AP50 by pycocotools. ``found`` holds (boxes, scores, labels) an image."""

    def row(image, box, label, **more):
        sides = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
        return {"image_id": image, "category_id": int(label) + 1, "bbox": sides, **more}

    boxes = [
        row(number, box, label, area=float(np.prod(box[2:] - box[:2])), iscrowd=0)
        for number, truth in enumerate(truths, 1)
        for box, label in zip(truth.boxes, truth.labels, strict=True)
    ]
    results = [
        row(number, box, label, score=float(score))
        for number, item in enumerate(found, 1)
        for box, score, label in zip(*item, strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "images": [{"id": number + 1} for number in range(len(truths))],
            "annotations": [{**box, "id": number} for number, box in enumerate(boxes, 1)],
            "categories": [{"id": n + 1, "name": name} for n, name in enumerate(CLASSES)],
        }
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
        evaluation.params.iouThrs = np.array([0.5])
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][0, :, :, 0, -1]
    return float(precision[precision > -1].mean())


@pytest.fixture(scope="module")
def drawn():
    return [draw_image(7, index) for index in range(60)]


def test_same_key_same_image_whatever_was_drawn_before(drawn):
    again = draw_image(7, 41)
    np.testing.assert_array_equal(again.image, drawn[41].image)
    np.testing.assert_array_equal(again.boxes, drawn[41].boxes)
    assert not np.array_equal(draw_image(8, 41).image, again.image)
    assert not np.array_equal(draw_image(7, 40).image, again.image)


def test_mix_of_defects_and_good_parts(drawn):
    labels = np.concatenate([item.labels for item in drawn])
    assert set(labels.tolist()) == {0, 1, 2, 3}
    good = sum(len(item.labels) == 0 for item in drawn)
    assert 5 <= good <= 20  # one in five of 60, three standard deviations
    boxes = np.concatenate([item.boxes for item in drawn])
    sides = boxes[:, 2:] - boxes[:, :2]
    assert boxes.min() >= 0 and boxes.max() <= 256
    assert sides.max(axis=1).min() >= 8 and sides.min() >= 5
    assert sides.max(axis=1).max() > 50
    assert all(len(draw_image(7, index, good_share=1.0).boxes) == 0 for index in range(5))
    assert all(len(draw_image(7, index, good_share=0.0).boxes) > 0 for index in range(5))


def test_visible_is_a_quarter_of_the_strongest_change():
    patch = np.zeros((6, 9), np.float32)
    patch[1:4, 2:7] = -0.26  # visible, darker
    patch[2, 3] = 1.0
    patch[5, 8] = 0.24  # fades into the surface
    assert visible_box(patch) == (2, 1, 7, 4)


@pytest.mark.parametrize("name", CLASSES)
def test_boxes_are_tight(name):
    for number in range(20):
        rng = Generator(Philox(key=np.array([1, number], np.uint64)))
        patch = draw_defect(name, rng, 6.0, largest=128)
        height, width = patch.shape
        assert visible_box(patch) == (0, 0, width, height)
        strongest = np.abs(patch).max()
        for edge in (patch[0], patch[-1], patch[:, 0], patch[:, -1]):
            assert np.abs(edge).max() >= 0.25 * strongest


@pytest.mark.parametrize("classes", [("pit",), ("stain", "scratch")])
def test_classes_can_be_chosen(classes):
    found = [draw_image(0, i, (128, 128), classes, good_share=0).labels for i in range(12)]
    assert set(np.concatenate(found).tolist()) == set(range(len(classes)))


def test_boxes_hold_all_that_the_defects_change(monkeypatch):
    """The same images drawn with defects of no strength differ inside the boxes and only there."""
    whole = [draw_image(3, index, good_share=0.0) for index in range(10)]
    monkeypatch.setattr(drawing, "draw_defect", lambda *a, **k: 0 * draw_defect(*a, **k))
    for index, item in enumerate(whole):
        clean = draw_image(3, index, good_share=0.0)
        np.testing.assert_array_equal(clean.boxes, item.boxes)
        change = np.abs(item.image.astype(int) - clean.image)
        for x1, y1, x2, y2 in item.boxes.astype(int):
            assert change[y1:y2, x1:x2].max() >= 8  # grey levels: a person sees it
            change[y1:y2, x1:x2] = 0
        assert change.max() == 0


def test_threshold_and_blob_stays_under_ap50_of_0_4(drawn):
    """The best of a grid, chosen on the test images themselves, which favours the baseline."""
    grid = itertools.product((41, 81), (1.5, 2.0, 2.5, "otsu"), (0, 3), (40,))
    scores = {
        setting: average_precision_50(drawn, [find_blobs(item.image, *setting) for item in drawn])
        for setting in grid
    }
    assert 0.05 < max(scores.values()) < 0.4, scores


def test_baseline_finds_what_lies_on_a_plain_surface():
    """It is a fair one: where nothing distracts it, it finds nearly all."""
    truths, found = [], []
    for number in range(12):
        rng = Generator(Philox(key=np.array([2, number], np.uint64)))
        image = np.full((256, 256), 128, np.float32) + rng.standard_normal((256, 256)) * 1.5
        boxes, labels = [], []
        for label, name in enumerate(CLASSES):
            patch = draw_defect(name, rng, 8.0, largest=90)
            x, y = 10 + 130 * (label % 2), 10 + 130 * (label // 2)
            image[y : y + patch.shape[0], x : x + patch.shape[1]] += patch
            boxes.append((x, y, x + patch.shape[1], y + patch.shape[0]))
            labels.append(0)
        truths.append(type("Truth", (), {"boxes": np.array(boxes), "labels": np.array(labels)}))
        blobs = find_blobs(np.clip(image, 0, 255).astype(np.uint8), 81, 5.0, 0, 20)
        found.append((blobs[0], blobs[1], np.zeros_like(blobs[2])))
    assert average_precision_50(truths, found) > 0.6


def test_forty_images_a_second():
    # Time of this process, not of the clock: other work on the machine must not fail the test.
    start = time.process_time()
    for index in range(12):
        cv2.imencode(".png", draw_image(0, index).image)
    assert (time.process_time() - start) / 12 < 0.025  # about 0.012


def test_contrast_makes_defects_plainer_and_moves_nothing():
    faint, plain = (draw_image(7, 3, good_share=0.0, contrast=c) for c in (0.5, 2.0))
    np.testing.assert_array_equal(faint.boxes, plain.boxes)
    outside = np.ones(faint.image.shape, bool)
    for x1, y1, x2, y2 in faint.boxes.astype(int):
        outside[y1:y2, x1:x2] = False
    np.testing.assert_array_equal(faint.image[outside], plain.image[outside])
    changes = np.abs(faint.image[~outside].astype(float) - plain.image[~outside])
    assert changes.max() > 20
