"""Points, distances and boxes."""

from __future__ import annotations

import torch

from kdlnet.ops.decode import (
    boxes_to_distances,
    decode_boxes,
    distances_to_boxes,
    expected_distances,
)
from kdlnet.ops.points import make_points
from kdlnet.types import RawPredictions


def test_points_lie_in_the_centres_of_their_cells() -> None:
    points, strides = make_points([(1, 2), (1, 1)], [8, 16])
    # First level: cells [0, 8) and [8, 16) of one row; second: one cell of 16.
    assert points.tolist() == [[4, 4], [12, 4], [8, 8]]
    assert strides.tolist() == [8, 8, 16]


def test_expected_distance_is_the_mean_of_the_bins() -> None:
    bins = torch.full((4, 5), -100.0)
    bins[:, 1] = bins[:, 2] = 3.0  # half the mass on bin 1, half on bin 2
    torch.testing.assert_close(expected_distances(bins), torch.full((4,), 1.5))


def test_distances_and_boxes_are_inverse() -> None:
    torch.manual_seed(0)
    points, strides = make_points([(3, 5), (2, 3)], [8, 16])
    distances = torch.rand(2, len(points), 4) * 7
    boxes = distances_to_boxes(distances, points, strides)
    torch.testing.assert_close(boxes_to_distances(boxes, points, strides), distances)


def test_decoded_box_by_hand() -> None:
    points, strides = make_points([(1, 1)], [8])
    bins = torch.full((1, 1, 4, 4), -100.0)
    for side, step in enumerate((1, 0, 2, 3)):  # left, top, right, bottom in strides of 8
        bins[0, 0, side, step] = 0.0
    raw = RawPredictions(torch.zeros(1, 1, 1), bins, points, strides)
    # Point (4, 4): x from 4 - 8 to 4 + 16, y from 4 - 0 to 4 + 24.
    torch.testing.assert_close(decode_boxes(raw), torch.tensor([[[-4.0, 4, 20, 28]]]))
