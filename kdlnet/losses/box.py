"""Localization losses on the foreground points."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from kdlnet.ops.boxes import generalized_iou


def box_loss(boxes: Tensor, targets: Tensor, weight: Tensor) -> Tensor:
    """Weighted sum of 1 - generalized IoU of boxes (N, 4) and targets (N, 4), weight (N,)."""
    return ((1 - generalized_iou(boxes.float(), targets)) * weight).sum()


def bins_loss(bins: Tensor, distances: Tensor, weight: Tensor) -> Tensor:
    """Weighted sum of the distribution focal loss, averaged over the four sides.

    ``bins`` (N, 4, R) logits; ``distances`` (N, 4) true distances in strides, clamped to
    [0, R - 1]; ``weight`` (N,). A distance between two bins is shared between them linearly.
    Source: generalized focal loss, arXiv 2006.04388, equation 6.
    """
    count = bins.shape[-1]
    distances = distances.clamp(0, count - 1 - 1e-3)
    lower = distances.floor()
    share = distances - lower
    log_p = F.log_softmax(bins.float(), dim=-1)
    index = lower.long()[..., None]
    low = log_p.gather(-1, index).squeeze(-1)
    high = log_p.gather(-1, index + 1).squeeze(-1)
    cross_entropy = -(low * (1 - share) + high * share)
    return (cross_entropy.mean(dim=-1) * weight).sum()
