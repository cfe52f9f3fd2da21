"""Photometric changes of whole batches: a colour matrix and a shift for each image."""

from __future__ import annotations

import torch
from torch import Tensor

_LUMA = torch.tensor([0.299, 0.587, 0.114])
_RGB_TO_YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])


def apply_colour(images: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
    """Images (B, C, H, W) with ``gain`` (B, C, C) over their channels and ``shift`` (B,) added."""
    shift = shift[:, None, None, None]
    if images.shape[1] == 1:
        return images * gain[:, :, :, None] + shift
    return torch.einsum("bij,bjhw->bihw", gain, images) + shift


def saturation_matrix(saturation: Tensor) -> Tensor:
    """Gains (B, 3, 3) of RGB by ``saturation`` (B,): 0 leaves the luminance, 1 all as it is."""
    keep = saturation[:, None, None]
    return keep * torch.eye(3) + (1 - keep) * _LUMA.expand(3, 3)


def hue_matrix(angle: Tensor) -> Tensor:
    """Rotations (B, 3, 3) of RGB about the grey axis, done in YIQ."""
    cos, sin = angle.cos(), angle.sin()
    turn = torch.eye(3).repeat(len(angle), 1, 1)
    turn[:, 1, 1], turn[:, 1, 2], turn[:, 2, 1], turn[:, 2, 2] = cos, -sin, sin, cos
    rotation: Tensor = torch.linalg.inv(_RGB_TO_YIQ) @ turn @ _RGB_TO_YIQ
    return rotation
