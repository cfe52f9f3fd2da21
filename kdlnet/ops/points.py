"""Anchor points: one in the centre of every cell of every level."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kdlnet.types import ImageSize


def make_points(
    sizes: Sequence[ImageSize], strides: Sequence[int], device: torch.device | None = None
) -> tuple[Tensor, Tensor]:
    """Points (A, 2) as (x, y) in pixels of the network input, and their strides (A,) in pixels.

    ``sizes`` holds (H, W) of each level's map; levels follow each other, rows before columns.
    """
    points, point_strides = [], []
    for (height, width), stride in zip(sizes, strides, strict=True):
        y = (torch.arange(height, device=device, dtype=torch.float32) + 0.5) * stride
        x = (torch.arange(width, device=device, dtype=torch.float32) + 0.5) * stride
        grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
        points.append(torch.stack((grid_x, grid_y), dim=-1).reshape(-1, 2))
        point_strides.append(y.new_full((height * width,), stride))
    return torch.cat(points), torch.cat(point_strides)
