"""Selection of detections against a slow, plain version."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch
import torchvision

from kdlnet.ops import arrays, nms
from kdlnet.ops.decode import decode_boxes
from kdlnet.ops.limits import PAIRS
from kdlnet.ops.nms import agreed_boxes, all_candidates, select_detections
from kdlnet.ops.points import make_points
from kdlnet.types import Detections, RawPredictions


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


def _found(*rows: tuple[float, float, float, float, float, int]) -> Detections:
    table = torch.tensor(rows)
    return Detections(table[:, :4], table[:, 4], table[:, 5].long())


KEPT = (0.0, 0.0, 10.0, 10.0, 0.8, 0)


@pytest.mark.parametrize(
    ("voter", "bottom"),
    [
        # IoU 0.8: weights (1 - 0.55) (0.8 - 0.16) = 0.288 and (0.8 - 0.55) (0.5 - 0.16) = 0.085
        ((0.0, 0.0, 10.0, 8.0, 0.5, 0), (0.288 * 10 + 0.085 * 8) / 0.373),
        ((0.0, 0.0, 10.0, 8.0, 0.5, 1), 10.0),  # another class
        ((0.0, 0.0, 10.0, 8.0, 0.16, 0), 10.0),  # a fifth of the score
        ((0.0, 0.0, 10.0, 5.5, 0.5, 0), 10.0),  # IoU 0.55
    ],
)
def test_a_kept_box_lies_where_its_neighbours_see_it(
    voter: tuple[float, float, float, float, float, int], bottom: float
) -> None:
    box = agreed_boxes(_found(KEPT), _found(KEPT, voter), 0.55)[0]
    torch.testing.assert_close(box, torch.tensor([0.0, 0.0, 10.0, bottom]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("pairs", [0, PAIRS])
def test_each_kept_box_hears_the_voters_of_its_class_alone(
    pairs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against the rule pair by pair, with classes that no kept box has and boxes in any order."""
    monkeypatch.setattr(nms, "PAIRS", pairs)
    monkeypatch.setattr(arrays, "PAIRS", pairs)
    torch.manual_seed(0)
    corners = torch.rand(60, 2) * 20
    boxes = torch.cat((corners, corners + 4 + torch.rand(60, 2) * 8), dim=1)
    found = Detections(boxes, torch.rand(60), torch.randint(0, 4, (60,)))
    kept = found[torch.randperm(60)[:25]]
    kept = kept[kept.labels != 2]
    moved, voted = 0, agreed_boxes(kept, found, 0.2)
    twin = arrays.agreed_boxes(kept.arrays(), found.arrays(), 0.2)
    torch.testing.assert_close(torch.from_numpy(twin), voted, atol=1e-4, rtol=0)
    for box, score, label, agreed in zip(kept.boxes, kept.scores, kept.labels, voted, strict=True):
        overlap = torchvision.ops.box_iou(box[None], found.boxes)[0] - 0.2
        weight = overlap.clamp(min=0) * (found.scores - 0.2 * score).clamp(min=0)
        weight[found.labels != label] = 0
        mean = (weight[:, None] * found.boxes).sum(dim=0) / weight.sum()
        torch.testing.assert_close(agreed, mean, atol=1e-4, rtol=0)
        moved += int((agreed - box).abs().max() > 0.1)
    assert moved > 5


@pytest.mark.parametrize(("classes", "compared"), [(1, 1), (6, 6), (80, 1)])
@pytest.mark.parametrize("module", [nms, arrays])
def test_classes_are_parted_only_where_that_spares_work(
    module: ModuleType, classes: int, compared: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each costs a dozen calls of the library: for 80 of them more than all pairs of 1000 boxes."""
    calls, iou = [], module.box_iou
    monkeypatch.setattr(module, "box_iou", lambda *boxes: calls.append(1) or iou(*boxes))
    boxes = torch.tensor([0.0, 0.0, 8.0, 8.0]).repeat(1000, 1)
    found = Detections(boxes, torch.ones(1000), torch.arange(1000) % classes)
    few, many = found[torch.arange(20)], found[torch.arange(300)]
    for kept, voters, times in ((many, found, compared), (few, few, 1)):
        calls.clear()
        given = (kept, voters) if module is nms else (kept.arrays(), voters.arrays())
        voted = torch.as_tensor(module.agreed_boxes(*given, 0.55))
        torch.testing.assert_close(voted, kept.boxes, atol=1e-4, rtol=0)
        assert len(calls) == times


def test_a_box_without_area_has_no_neighbours_and_stays() -> None:
    line = _found((3.0, 2.0, 3.0, 9.0, 0.9, 0), KEPT)
    assert agreed_boxes(line, line, 0.55)[0].tolist() == [3.0, 2.0, 3.0, 9.0]


def test_boxes_do_not_depend_on_the_score_from_which_they_are_shown() -> None:
    raw, size = _raw(2), (48, 64)
    moved = 0
    for low, high, alone in zip(
        select_detections(raw, size, 0.001),
        select_detections(raw, size, 0.5),
        all_candidates(raw, size, 0.5, iou_threshold=1.0),
        strict=True,
    ):
        count = len(high)
        assert 3 < count < len(low)
        torch.testing.assert_close(high.boxes, low.boxes[:count], atol=1e-4, rtol=0)
        assert torch.equal(high.scores, low.scores[:count])
        best = alone.boxes[alone.scores.argmax()]
        moved += int((high.boxes[0] - best).abs().max() > 0.1)
    assert moved  # there was a vote


@pytest.mark.parametrize("classes", [3, 40])  # 40: more candidates than may vote
def test_all_candidates_hold_what_is_kept(classes: int) -> None:
    raw, size = _raw(classes), (48, 64)
    for kept, every in zip(
        select_detections(raw, size, 0.05), all_candidates(raw, size, 0.05), strict=True
    ):
        assert 0 < len(kept) < len(every)
        far = (kept.boxes[:, None] - every.boxes).abs().amax(dim=2)
        far += (kept.scores[:, None] - every.scores).abs()
        assert float(far.amin(dim=1).max()) < 1e-4
