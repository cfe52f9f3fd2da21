"""Geometry of augmentation: matrices, images and boxes moved by them."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from kdlnet.ops.boxes import box_area, clip_boxes
from kdlnet.types import ImageSize, Targets

Floats = NDArray[np.float64]

MIN_SIDE = 1.0
"""Boxes cut to less than this, in pixels of the network input, are no targets."""
MIN_VISIBLE = 0.2
"""A box is a target while at least this share of its area is inside the image."""


def warp(canvas: Tensor, matrices: Tensor, size: ImageSize, fill: float) -> Tensor:
    """Unit images (n, c, H, W) of ``size`` from canvases, by matrices (n, 3, 3) canvas -> image.

    Bilinear; what lies outside the canvas is ``fill``.
    """
    into = _to_normalized(canvas.shape[-2:]) @ torch.linalg.inv(matrices)
    theta = into[:, :2].float().to(canvas.device)
    grid = _positions(theta, size)
    return F.grid_sample(canvas - fill, grid, align_corners=False) + fill


def _positions(theta: Tensor, size: ImageSize) -> Tensor:
    """Where each pixel centre of ``size`` lies, (n, H, W, 2), by matrices theta (n, 2, 3)."""
    height, width = size
    x = torch.arange(width, device=theta.device) + 0.5
    y = torch.arange(height, device=theta.device)[:, None] + 0.5
    along_x, along_y, offset = theta[:, :, :, None, None].unbind(2)
    return (along_x * x + (along_y * y + offset)).movedim(1, -1)


def warp_boxes(boxes: Tensor, matrices: Tensor) -> Tensor:
    """Smallest upright boxes (T, 4) around boxes (T, 4) moved by matrices (T, 3, 3)."""
    corners = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].view(-1, 4, 2)
    moved = corners @ matrices[:, :2, :2].transpose(1, 2) + matrices[:, None, :2, 2]
    return torch.cat((moved.amin(dim=1), moved.amax(dim=1)), dim=1)


def visible(targets: Targets, size: ImageSize) -> Targets:
    """``targets`` cut to images of ``size`` (H, W), less those of which too little is left."""
    boxes = clip_boxes(targets.boxes, *size)
    share = box_area(boxes) / box_area(targets.boxes).clamp(min=1e-6)
    sides = boxes[:, 2:] - boxes[:, :2]
    whole = share > 0.999  # thin as labelled: still a target
    keep = (share >= MIN_VISIBLE) & ((sides >= MIN_SIDE).all(dim=1) | whole)
    return Targets(boxes[keep], targets.labels[keep], targets.image_index[keep])


def join(parts: list[Targets]) -> Targets:
    """All targets of ``parts``; their image indices must be of the same batch."""
    return Targets(
        torch.cat([part.boxes for part in parts]),
        torch.cat([part.labels for part in parts]),
        torch.cat([part.image_index for part in parts]),
    )


def _to_normalized(size: ImageSize | torch.Size) -> Tensor:
    """Matrix (3, 3) from pixels to grid_sample's frame, whose edges are -1 and 1."""
    height, width = size
    values = [[2 / width, 0, -1], [0, 2 / height, -1], [0, 0, 1]]
    return torch.tensor(values, dtype=torch.float64)


def translation(x: Floats, y: Floats | float) -> Floats:
    """Matrices (n, 3, 3) that move points by ``x`` (n,) and ``y`` pixels."""
    matrix = np.tile(np.eye(3), (len(x), 1, 1))
    matrix[:, 0, 2], matrix[:, 1, 2] = x, y
    return matrix


def linear(a: Floats | float, b: Floats | float, c: Floats | float, d: Floats | float) -> Floats:
    """Matrices (n, 3, 3) that take x, y to a x + b y, c x + d y; each is (n,) or one for all."""
    count = max(np.size(value) for value in (a, b, c, d))
    matrix = np.tile(np.eye(3), (count, 1, 1))
    matrix[:, 0, 0], matrix[:, 0, 1], matrix[:, 1, 0], matrix[:, 1, 1] = a, b, c, d
    return matrix
