"""What a student learns from its teacher's outputs: every class logit and every distance bin.

Both terms are sums over points divided by the teacher's foreground, so their scale depends neither
on the image size nor on the number of classes.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from kdlnet.types import RawPredictions, StepOutput


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


def teacher_foreground(logits: Tensor) -> Tensor:
    """How many points the teacher believes in: the sum of its best scores (B, A, C), at least 1."""
    return logits.detach().float().sigmoid().amax(dim=-1).sum().clamp(min=1)


def cosine_decay(progress: float) -> float:
    """1 at the start of the run, 0 at its end."""
    return 0.5 * (1 + math.cos(math.pi * min(max(progress, 0.0), 1.0)))


class DistillLoss:
    """Weighted sum of the class and the bin term, decayed by a cosine of progress.

    The bin term of a point counts as much as the teacher's best score there. ``parts`` holds
    ``kd_class`` and ``kd_bins`` as they enter the loss.
    """

    def __init__(
        self,
        class_weight: float = 1.0,
        bins_weight: float = 0.5,
        beta: float = 1.0,
        temperature: float = 1.0,
    ) -> None:
        self.class_weight = class_weight
        self.bins_weight = bins_weight
        self.beta = beta
        self.temperature = temperature

    @property
    def active(self) -> bool:
        """False when all weights are 0 and the teacher need not be asked."""
        return self.class_weight > 0 or self.bins_weight > 0

    def __call__(
        self, student: RawPredictions, teacher: RawPredictions, progress: float
    ) -> StepOutput:
        decay = cosine_decay(progress) / teacher_foreground(teacher.logits)
        confidence = teacher.logits.detach().float().sigmoid().amax(dim=-1)
        classes = bernoulli_kl(student.logits, teacher.logits, self.beta).sum()
        bins = (bins_kl(student.bins, teacher.bins, self.temperature) * confidence).sum()
        parts = {
            "kd_class": classes * self.class_weight * decay,
            "kd_bins": bins * self.bins_weight * decay,
        }
        loss = torch.stack(list(parts.values())).sum()
        return StepOutput(loss, {name: value.detach() for name, value in parts.items()})
