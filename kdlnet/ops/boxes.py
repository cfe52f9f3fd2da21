"""Overlap of boxes. All boxes are (x1, y1, x2, y2) in one common frame."""

from __future__ import annotations

import torch
from torch import Tensor


def box_area(boxes: Tensor) -> Tensor:
    """Area (...,) of boxes (..., 4); 0 for boxes turned inside out."""
    width, height = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).unbind(-1)
    return width * height


def box_intersection(boxes: Tensor, others: Tensor) -> Tensor:
    """Area that boxes (..., 4) and others (..., 4) share, broadcast against each other."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    other_x1, other_y1, other_x2, other_y2 = others.unbind(-1)
    width = (torch.minimum(x2, other_x2) - torch.maximum(x1, other_x1)).clamp(min=0)
    height = (torch.minimum(y2, other_y2) - torch.maximum(y1, other_y1)).clamp(min=0)
    return width * height


def box_iou(boxes: Tensor, others: Tensor, eps: float = 1e-9) -> Tensor:
    """Intersection over union of boxes (..., 4) and others (..., 4), broadcast against each other.

    For all pairs of (N, 4) and (M, 4) give ``boxes[:, None]`` and ``others``. Range [0, 1].
    """
    inner = box_intersection(boxes, others)
    return inner / (box_area(boxes) + box_area(others) - inner + eps)


def generalized_iou(boxes: Tensor, others: Tensor, eps: float = 1e-9) -> Tensor:
    """Generalized IoU, broadcast like :func:`box_iou`. Range (-1, 1]. Source: arXiv 1902.09630."""
    inner = box_intersection(boxes, others)
    union = box_area(boxes) + box_area(others) - inner + eps
    low = torch.minimum(boxes[..., :2], others[..., :2])
    high = torch.maximum(boxes[..., 2:], others[..., 2:])
    width, height = (high - low).unbind(-1)
    hull = width * height + eps
    return inner / union - (hull - union) / hull


def clip_boxes(boxes: Tensor, height: float, width: float) -> Tensor:
    """Boxes (..., 4) cut at the borders of an image of H x W pixels."""
    limit = boxes.new_tensor([width, height, width, height])
    return torch.minimum(boxes.clamp(min=0), limit)
