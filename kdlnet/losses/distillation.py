"""What a student can learn from its teacher: pure functions, one a term.

Terms on outputs are per point; :class:`~kdlnet.losses.distill_loss.DistillLoss` sums them and
divides by the teacher's foreground, so that their scale depends neither on the image size nor on
the number of classes. Terms on feature maps are means already.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from kdlnet.ops.boxes import generalized_iou


def bernoulli_kl(student: Tensor, teacher: Tensor, beta: float = 1.0) -> Tensor:
    """KL divergence (B, A, C) of each class's yes-or-no, times ``|p_t - p_s| ** beta``.

    ``student`` and ``teacher`` are logits (B, A, C); the gradient flows into the student's score,
    not into the weight. In float32. With sigmoid heads a soft-max KL over the classes is blind to a
    common shift of the logits and is zero for one class; this one is not. Own reading of the
    "improved KL divergence on all logits" of KD-LightNet, whose formula is not public; the weight
    is that of the quality focal loss (arXiv 2006.04388, equation 2).
    """
    student, teacher = student.float(), teacher.detach().float()
    target = teacher.sigmoid()
    entropy = F.binary_cross_entropy_with_logits(teacher, target, reduction="none")
    cross = F.binary_cross_entropy_with_logits(student, target, reduction="none")
    weight = (target - student.detach().sigmoid()).abs() ** beta
    return (cross - entropy) * weight


def softmax_kl(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """KL divergence (B, A) between soft-max distributions over the classes, for comparison.

    ``student`` and ``teacher`` are logits (B, A, C), softened by ``temperature`` and multiplied by
    its square. In float32. Source: YOLOv6 v3.0, arXiv 2301.05586, section 2.3. Zero for one class,
    and blind to a shift that all logits share, though both models have sigmoid heads.
    """
    log_student = F.log_softmax(student.float() / temperature, dim=-1)
    log_teacher = F.log_softmax(teacher.detach().float() / temperature, dim=-1)
    divergence = F.kl_div(log_student, log_teacher, reduction="none", log_target=True)
    return divergence.sum(dim=-1) * temperature**2


def bins_kl(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """KL divergence (B, A) between distance distributions, mean over the four sides.

    ``student`` and ``teacher`` are bin logits (B, A, 4, R). Softened by ``temperature`` and
    multiplied by its square, which keeps the gradient's scale. In float32. Source: localization
    distillation, arXiv 2102.12252, section 3.2.
    """
    log_student = F.log_softmax(student.float() / temperature, dim=-1)
    log_teacher = F.log_softmax(teacher.detach().float() / temperature, dim=-1)
    divergence = F.kl_div(log_student, log_teacher, reduction="none", log_target=True).sum(dim=-1)
    return divergence.mean(dim=-1) * temperature**2


def teacher_box_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """1 - generalized IoU (B, A) between the boxes (B, A, 4) of student and teacher, xyxy.

    Source: CrossKD, arXiv 2306.11369, section 3.3, takes GIoU between the two as well.
    """
    return 1 - generalized_iou(student.float(), teacher.detach().float())


def pearson_distance(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """1 - Pearson correlation of feature maps, a scalar: mean over levels and channels.

    Maps are (B, C, H, W), a level each, with the same shapes on both sides; each channel is
    normalized over images and places. Source: PKD, arXiv 2207.02039, equation 5: half of the mean
    squared difference of maps with zero mean and unit variance is one minus their correlation.
    """
    losses = [
        0.5 * F.mse_loss(_standardized(s.float()), _standardized(t.detach().float()))
        for s, t in zip(student, teacher, strict=True)
    ]
    return torch.stack(losses).mean()


def channel_kl(
    student: Sequence[Tensor], teacher: Sequence[Tensor], temperature: float = 1.0
) -> Tensor:
    """KL divergence between where channels look, a scalar: mean over levels, images and channels.

    Maps are (B, C, H, W) with the same shapes on both sides; the soft-max runs over the places of
    each channel. Source: channel-wise distillation, arXiv 2011.13256, equation 4.
    """
    losses = []
    for s, t in zip(student, teacher, strict=True):
        log_student = F.log_softmax(s.float().flatten(2) / temperature, dim=-1)
        log_teacher = F.log_softmax(t.detach().float().flatten(2) / temperature, dim=-1)
        divergence = F.kl_div(log_student, log_teacher, reduction="sum", log_target=True)
        losses.append(divergence * temperature**2 / (s.shape[0] * s.shape[1]))
    return torch.stack(losses).mean()


def teacher_foreground(logits: Tensor) -> Tensor:
    """How many points the teacher believes in: the sum of its best scores (B, A, C)."""
    return logits.detach().float().sigmoid().amax(dim=-1).sum()


def _standardized(maps: Tensor, eps: float = 1e-6) -> Tensor:
    """Maps (B, C, H, W) with mean 0 and deviation 1 in each channel, over images and places."""
    mean = maps.mean(dim=(0, 2, 3), keepdim=True)
    deviation = maps.std(dim=(0, 2, 3), keepdim=True, correction=0)
    return (maps - mean) / (deviation + eps)
