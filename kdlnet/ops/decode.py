"""From distance bins to boxes, and from boxes back to distances."""

from __future__ import annotations

import torch
from torch import Tensor

from kdlnet.types import RawPredictions


def expected_distances(bins: Tensor, steps: Tensor | None = None) -> Tensor:
    """Mean (..., 4) of the distribution over R bins, in strides, from bin logits (..., 4, R).

    Bin r stands for a distance of r strides, so the mean lies in [0, R - 1]. ``steps`` (R,) are
    these distances where the caller has them at hand.
    Source: generalized focal loss, arXiv 2006.04388, section 3.
    """
    if steps is None:
        steps = torch.arange(bins.shape[-1], device=bins.device, dtype=bins.dtype)
    # A product with a matrix: that with a vector ONNX Runtime computes point by point, which took
    # a quarter of lightnet-n at 640x640.
    return (bins.softmax(dim=-1) @ steps[:, None]).squeeze(-1)


def distances_to_boxes(distances: Tensor, points: Tensor, strides: Tensor) -> Tensor:
    """Boxes (..., A, 4) in the frame of the points from distances (..., A, 4) in strides."""
    reach = distances * strides[:, None]
    return torch.cat((points - reach[..., :2], points + reach[..., 2:]), dim=-1)


def boxes_to_distances(boxes: Tensor, points: Tensor, strides: Tensor) -> Tensor:
    """Distances (..., A, 4) in strides from the points to the sides of boxes (..., A, 4).

    Negative where a point lies outside its box.
    """
    reach = torch.cat((points - boxes[..., :2], boxes[..., 2:] - points), dim=-1)
    return reach / strides[:, None]


def decode_boxes(raw: RawPredictions) -> Tensor:
    """Boxes (B, A, 4) of all points, in pixels of the network input, not clipped."""
    return distances_to_boxes(expected_distances(raw.bins), raw.points, raw.strides)
