"""Overlap of boxes against geometry that can be done by hand."""

from __future__ import annotations

import pytest
import torch
import torchvision

from kdlnet.ops.boxes import box_area, box_iou, clip_boxes, generalized_iou


def test_iou_of_two_squares_that_share_a_quarter() -> None:
    # 2x2 squares shifted by (1, 1): intersection 1, union 4 + 4 - 1 = 7.
    a, b = torch.tensor([0.0, 0, 2, 2]), torch.tensor([1.0, 1, 3, 3])
    assert box_iou(a, b).item() == pytest.approx(1 / 7)
    # The hull is 3x3 = 9, so GIoU = 1/7 - (9 - 7) / 9.
    assert generalized_iou(a, b).item() == pytest.approx(1 / 7 - 2 / 9)


def test_generalized_iou_of_apart_boxes_falls_with_their_distance() -> None:
    a = torch.tensor([0.0, 0, 1, 1])
    near, far = torch.tensor([2.0, 0, 3, 1]), torch.tensor([9.0, 0, 10, 1])
    # Hull 3x1, union 2: -(3 - 2) / 3. Hull 10x1: -(10 - 2) / 10.
    assert generalized_iou(a, near).item() == pytest.approx(-1 / 3)
    assert generalized_iou(a, far).item() == pytest.approx(-0.8)


def test_all_pairs_equal_torchvision() -> None:
    torch.manual_seed(0)
    corners = torch.rand(40, 2) * 50
    boxes = torch.cat((corners, corners + 1 + torch.rand(40, 2) * 30), dim=1)
    ours = box_iou(boxes[:25, None], boxes[25:])
    torch.testing.assert_close(ours, torchvision.ops.box_iou(boxes[:25], boxes[25:]))
    ours = generalized_iou(boxes[:25, None], boxes[25:])
    reference = torchvision.ops.generalized_box_iou(boxes[:25], boxes[25:])
    torch.testing.assert_close(ours, reference)


def test_degenerate_boxes_have_no_area_and_give_finite_gradients() -> None:
    assert box_area(torch.tensor([3.0, 3, 1, 5])).item() == 0
    a = torch.zeros(4, requires_grad=True)
    generalized_iou(a, torch.zeros(4)).backward()
    assert a.grad is not None and torch.isfinite(a.grad).all()


def test_no_boxes() -> None:
    assert box_iou(torch.zeros(0, 1, 4), torch.zeros(3, 4)).shape == (0, 3)


def test_clip_keeps_to_width_and_height_of_a_non_square_image() -> None:
    clipped = clip_boxes(torch.tensor([-5.0, -5, 500, 500]), height=20, width=30)
    assert clipped.tolist() == [0, 0, 30, 20]
