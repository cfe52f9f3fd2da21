"""Assignment and detection losses: golden values with their geometry."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from kdlnet.losses.assigner import TaskAlignedAssigner, pad_targets
from kdlnet.losses.box import bins_loss, box_loss
from kdlnet.losses.classification import quality_focal_loss, varifocal_loss
from kdlnet.losses.detection import DetectionLoss
from kdlnet.ops.points import make_points
from kdlnet.types import RawPredictions, Targets

POINTS, STRIDES = make_points([(4, 4)], [8])  # centres 4, 12, 20, 28 in x and y


def _targets(boxes: list[list[float]], labels: list[int], images: list[int]) -> Targets:
    return Targets(
        torch.tensor(boxes).reshape(-1, 4), torch.tensor(labels).long(), torch.tensor(images).long()
    )


def _assign(targets: Targets, boxes: torch.Tensor, topk: int = 13, classes: int = 2):  # type: ignore[no-untyped-def]
    scores = torch.full((len(boxes), 16, classes), 0.5)
    return TaskAlignedAssigner(topk)(scores, boxes, POINTS, STRIDES, targets)


def test_only_points_inside_the_box_are_foreground() -> None:
    box = [0.0, 0, 16, 16]  # holds the centres (4, 4), (12, 4), (4, 12), (12, 12)
    predicted = torch.tensor(box).expand(1, 16, 4)
    found = _assign(_targets([box], [1], [0]), predicted)
    assert found.foreground[0].nonzero().flatten().tolist() == [0, 1, 4, 5]
    assert found.labels[0, 0] == 1 and found.boxes[0, 5].tolist() == box
    # All predictions are perfect and equally confident: quality is the IoU, 1.
    torch.testing.assert_close(found.quality[0, [0, 1, 4, 5]], torch.ones(4))
    assert found.quality[0, 2] == 0


def test_topk_takes_the_best_aligned_points() -> None:
    box = torch.tensor([0.0, 0, 16, 16])
    predicted = box.repeat(1, 16, 1)
    predicted[0, 5] = torch.tensor([0.0, 0, 16, 12])  # IoU 0.75
    predicted[0, 0] = torch.tensor([0.0, 0, 16, 8])  # IoU 0.5
    found = _assign(_targets([box.tolist()], [0], [0]), predicted, topk=3)
    assert found.foreground[0].nonzero().flatten().tolist() == [1, 4, 5]
    # Alignment 0.5 * iou ** 6, scaled so that the best point gets the largest IoU, 1.
    assert found.quality[0, 5].item() == pytest.approx(0.75**6, rel=1e-5)


def test_a_point_in_two_boxes_goes_to_the_one_it_overlaps_most() -> None:
    small, large = [0.0, 0, 10, 10], [0.0, 0, 30, 30]
    predicted = torch.tensor(small).expand(1, 16, 4)
    found = _assign(_targets([large, small], [0, 1], [0, 0]), predicted)
    assert found.labels[0, 0] == 1 and found.boxes[0, 0].tolist() == small


def test_a_defect_between_the_points_still_gets_one() -> None:
    box = [7.0, 7, 9, 9]  # 2 x 2 pixels in the corner where four cells meet: no centre inside
    predicted = torch.tensor([0.0, 0, 16, 16]).expand(1, 16, 4)
    found = _assign(_targets([box], [0], [0]), predicted)
    assert found.foreground[0].nonzero().flatten().tolist() == [0, 1, 4, 5]
    # The best IoU is 4 / 256, and it is what the best point is asked for.
    assert found.quality.max().item() == pytest.approx(4 / 256, rel=1e-4)


def test_images_do_not_see_each_other() -> None:
    box = [0.0, 0, 16, 16]
    predicted = torch.tensor(box).expand(3, 16, 4)
    found = _assign(_targets([box, box], [1, 0], [2, 0]), predicted)
    assert found.foreground.sum(dim=1).tolist() == [4, 0, 4]
    assert found.labels[0, 0] == 0 and found.labels[2, 0] == 1


def test_no_targets_at_all() -> None:
    found = _assign(_targets([], [], []), torch.zeros(2, 16, 4))
    assert not found.foreground.any() and found.quality.sum() == 0


def test_pad_targets_keeps_the_order_within_an_image() -> None:
    targets = _targets([[1.0] * 4, [2.0] * 4, [3.0] * 4], [5, 6, 7], [1, 0, 1])
    boxes, labels, real = pad_targets(targets, 3)
    assert labels.tolist() == [[6, 0], [5, 7], [0, 0]]
    assert real.tolist() == [[True, False], [True, True], [False, False]]
    assert boxes[1, 1].tolist() == [3.0] * 4


def test_varifocal_by_hand() -> None:
    logits, quality = torch.tensor([0.0, 0.0]), torch.tensor([0.8, 0.0])
    # Positive: weight 0.8, cross entropy at p = 0.5 is ln 2. Negative: 0.75 * 0.5 ** 2 * ln 2.
    expected = (0.8 + 0.75 * 0.25) * math.log(2)
    assert varifocal_loss(logits, quality).item() == pytest.approx(expected)


def test_quality_focal_by_hand() -> None:
    logits, quality = torch.tensor([0.0]), torch.tensor([0.8])
    expected = 0.3**2 * math.log(2)  # |0.5 - 0.8| ** 2 times the cross entropy at p = 0.5
    assert quality_focal_loss(logits, quality).item() == pytest.approx(expected)


def test_bins_loss_by_hand() -> None:
    bins = torch.zeros(1, 4, 3)  # uniform over three bins: -log p is ln 3 wherever the truth is
    distances = torch.tensor([[0.0, 0.5, 1.0, 1.7]])
    assert bins_loss(bins, distances, torch.tensor([2.0])).item() == pytest.approx(2 * math.log(3))


def test_bins_loss_is_least_when_the_mean_is_right() -> None:
    target = torch.tensor([[1.25] * 4])
    log_share = torch.tensor([1e-9, 0.75, 0.25, 1e-9]).log()
    right = bins_loss(log_share.repeat(1, 4, 1), target, torch.ones(1))
    wrong = bins_loss(log_share.flip(0).repeat(1, 4, 1), target, torch.ones(1))
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert right.item() == pytest.approx(entropy, rel=1e-5) and wrong > right


def test_distances_beyond_the_last_bin_are_the_last_one() -> None:
    log_share = torch.tensor([0.2, 0.3, 0.5]).log().repeat(1, 4, 1)
    loss = bins_loss(log_share, torch.full((1, 4), 99.0), torch.ones(1))
    assert loss.item() == pytest.approx(-math.log(0.5), rel=1e-2)  # as a distance of 2


def test_box_loss_of_a_perfect_box_is_zero_and_weights_count() -> None:
    box = torch.tensor([[0.0, 0, 4, 4], [0.0, 0, 4, 4]])
    half = torch.tensor([[0.0, 0, 4, 4], [0.0, 0, 4, 2]])  # second: GIoU = IoU = 0.5
    assert box_loss(box, half, torch.tensor([1.0, 3.0])).item() == pytest.approx(1.5)


def _raw(batch: int = 1, classes: int = 2, seed: int = 0) -> RawPredictions:
    torch.manual_seed(seed)
    return RawPredictions(
        torch.randn(batch, 16, classes, requires_grad=True),
        torch.randn(batch, 16, 4, 8, requires_grad=True),
        POINTS,
        STRIDES,
    )


LOSS = DetectionLoss(TaskAlignedAssigner())


def test_good_parts_train_the_background_only() -> None:
    raw = _raw()
    output = LOSS(raw, _targets([], [], []))
    output.loss.backward()
    assert output.parts["box"] == 0 and output.parts["bins"] == 0
    assert raw.logits.grad is not None and raw.logits.grad.abs().sum() > 0
    assert raw.bins.grad is not None and raw.bins.grad.abs().sum() == 0
    # Every point is background: alpha * p ** 2 * softplus, divided by at least 1.
    p = raw.logits.detach().sigmoid()
    expected = (0.75 * p**2 * F.softplus(raw.logits.detach())).sum()
    assert output.loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_parts_sum_to_the_loss_and_reach_both_outputs() -> None:
    raw = _raw(2)
    output = LOSS(raw, _targets([[0.0, 0, 16, 16], [8.0, 8, 30, 28]], [0, 1], [0, 1]))
    output.loss.backward()
    assert output.loss.item() == pytest.approx(sum(v.item() for v in output.parts.values()))
    assert all(value > 0 for value in output.parts.values())
    assert raw.bins.grad is not None and raw.bins.grad.abs().sum() > 0


def test_a_better_prediction_costs_less() -> None:
    target = _targets([[0.0, 0, 16, 16]], [1], [0])
    bins = torch.full((1, 16, 4, 8), -9.0)
    bins[..., 1] = 9.0
    for point, steps in {0: (0, 0, 1, 1), 5: (1, 1, 0, 0)}.items():
        for side, step in enumerate(steps):
            bins[0, point, side] = -9.0
            bins[0, point, side, step] = 9.0
    good = torch.full((1, 16, 2), -6.0)
    good[0, [0, 1, 4, 5], 1] = 4.0
    better = LOSS(RawPredictions(good, bins, POINTS, STRIDES), target).loss
    worse = LOSS(RawPredictions(-good, bins, POINTS, STRIDES), target).loss
    assert better < worse / 4


def test_half_precision_predictions_give_a_float32_loss() -> None:
    raw = _raw()
    half = RawPredictions(raw.logits.bfloat16(), raw.bins.bfloat16(), POINTS, STRIDES)
    output = LOSS(half, _targets([[0.0, 0, 16, 16]], [0], [0]))
    assert output.loss.dtype == torch.float32 and torch.isfinite(output.loss)
