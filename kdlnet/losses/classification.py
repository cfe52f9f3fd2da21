"""Classification losses on logits with soft targets, in float32."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def varifocal_loss(
    logits: Tensor, quality: Tensor, alpha: float = 0.75, gamma: float = 2.0
) -> Tensor:
    """Sum over all logits (..., C) of the varifocal loss against ``quality`` (..., C) in [0, 1].

    Positive entries (quality > 0) are weighted by their quality, the others by
    ``alpha * score ** gamma``. Source: VarifocalNet, arXiv 2008.13367, equation 2.
    """
    logits = logits.float()
    focus = alpha * logits.sigmoid().detach() ** gamma
    weight = torch.where(quality > 0, quality, focus)
    return F.binary_cross_entropy_with_logits(logits, quality, weight, reduction="sum")


def quality_focal_loss(logits: Tensor, quality: Tensor, beta: float = 2.0) -> Tensor:
    """Sum over all logits (..., C) of ``|score - quality| ** beta`` times the cross entropy.

    ``quality`` (..., C) in [0, 1]. Source: generalized focal loss, arXiv 2006.04388, equation 2.
    """
    logits = logits.float()
    weight = (logits.sigmoid().detach() - quality).abs() ** beta
    return F.binary_cross_entropy_with_logits(logits, quality, weight, reduction="sum")


ClassificationLoss = Callable[[Tensor, Tensor], Tensor]

CLASSIFICATION_LOSSES: dict[str, ClassificationLoss] = {
    "varifocal": varifocal_loss,
    "quality": quality_focal_loss,
}
