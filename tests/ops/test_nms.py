"""Selection of detections against a slow, plain version."""

from __future__ import annotations

import torch
import torchvision

from kdlnet.ops.decode import decode_boxes
from kdlnet.ops.nms import select_detections
from kdlnet.ops.points import make_points
from kdlnet.types import RawPredictions


def _raw(classes: int, seed: int = 0, batch: int = 2) -> RawPredictions:
    torch.manual_seed(seed)
    points, strides = make_points([(6, 8), (3, 4)], [8, 16])
    count = len(points)
    return RawPredictions(
        torch.randn(batch, count, classes) * 2, torch.randn(batch, count, 4, 8), points, strides
    )


def test_equals_nms_class_by_class() -> None:
    raw, size = _raw(3), (48, 64)
    found = select_detections(raw, size, score_threshold=0.3, iou_threshold=0.5)
    boxes = decode_boxes(raw)
    limit = torch.tensor([64.0, 48, 64, 48])
    for image, detections in enumerate(found):
        expected = []
        for label in range(3):
            scores = raw.logits[image, :, label].sigmoid()
            keep = scores > 0.3
            clipped = torch.minimum(boxes[image][keep].clamp(min=0), limit)
            for i in torchvision.ops.nms(clipped, scores[keep], 0.5).tolist():
                expected.append((scores[keep][i].item(), label))
        expected.sort(reverse=True)
        assert len(expected) > 5
        torch.testing.assert_close(detections.scores, torch.tensor([s for s, _ in expected]))
        assert detections.labels.tolist() == [label for _, label in expected]


def test_limits() -> None:
    raw = _raw(2)
    assert [
        len(found)
        for found in select_detections(raw, (48, 64), max_detections=4, score_threshold=0.01)
    ] == [4, 4]
    nothing = select_detections(raw, (48, 64), score_threshold=1.0)
    assert [len(found) for found in nothing] == [0, 0]
    assert nothing[0].boxes.shape == (0, 4)


def test_the_best_candidates_survive_the_candidate_limit() -> None:
    raw = _raw(2, batch=1)
    few = select_detections(raw, (48, 64), 0.01, 0.5, max_candidates=1)[0]
    assert few.scores.item() == raw.logits.sigmoid().max().item()
