"""The terms of distillation put together: weights, a schedule, one sum."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from kdlnet.losses.distillation import (
    bernoulli_kl,
    bins_kl,
    channel_kl,
    pearson_distance,
    softmax_kl,
    teacher_box_loss,
    teacher_foreground,
)
from kdlnet.losses.normalizer import normalizer
from kdlnet.ops.decode import decode_boxes
from kdlnet.types import RawPredictions, StepOutput

CLASS_TERMS = ("bernoulli", "softmax")

SCHEDULES: dict[str, Callable[[float], float]] = {
    "cosine": lambda progress: 0.5 * (1 + math.cos(math.pi * min(max(progress, 0.0), 1.0))),
    "constant": lambda progress: 1.0,
}
"""Weight of all terms by progress in [0, 1]. The cosine falls from 1 to 0."""


@dataclass(frozen=True)
class DistillLoss:
    """Weighted sum of the terms; a weight of 0 switches one off.

    ``classification`` is the class term, ``bernoulli`` or ``softmax``. The terms ``bins`` and
    ``box`` of a point count as much as the teacher's best score there. ``beta`` focuses the
    bernoulli term on where the two disagree; ``temperature`` softens soft-max, bins and ``cwd``.
    With ``cross`` the terms on outputs see not the student's own but what the teacher's head says
    of the student's features (CrossKD, arXiv 2306.11369). From progress ``until`` on there is no
    teacher. ``parts`` holds the terms as they enter the loss, named ``kd_...``.
    """

    classification: str = "bernoulli"
    class_weight: float = 4.0
    bins_weight: float = 2.0
    box_weight: float = 0.0
    pkd_weight: float = 0.0
    cwd_weight: float = 0.0
    cross: bool = False
    beta: float = 1.0
    temperature: float = 1.0
    schedule: str = "cosine"
    until: float = 1.0

    def active(self, progress: float = 0.0) -> bool:
        """False when every weight is 0 at ``progress`` and the teacher need not be asked."""
        weights = (self.class_weight, self.bins_weight, self.box_weight)
        return any((*weights, self.pkd_weight, self.cwd_weight)) and progress < self.until

    @property
    def uses_features(self) -> bool:
        """Whether a term looks at the neck's maps: they must have the teacher's channels."""
        return any((self.pkd_weight, self.cwd_weight, self.cross))

    def decay(self, progress: float) -> float:
        """The factor of all terms at ``progress``."""
        return SCHEDULES[self.schedule](progress) if progress < self.until else 0.0

    def __call__(
        self, student: RawPredictions, teacher: RawPredictions, progress: float
    ) -> StepOutput:
        """``student`` holds its own features and, with ``cross``, the teacher's head's outputs."""
        decay = self.decay(progress)
        parts = self._output_terms(
            student, teacher, decay / normalizer(teacher_foreground(teacher.logits))
        )
        if self.pkd_weight:
            distance = pearson_distance(student.features, teacher.features)
            parts["kd_pkd"] = distance * (self.pkd_weight * decay)
        if self.cwd_weight:
            distance = channel_kl(student.features, teacher.features, self.temperature)
            parts["kd_cwd"] = distance * (self.cwd_weight * decay)
        loss = torch.stack(list(parts.values())).sum()
        return StepOutput(loss, {name: value.detach() for name, value in parts.items()})

    def _output_terms(
        self, student: RawPredictions, teacher: RawPredictions, scale: Tensor
    ) -> dict[str, Tensor]:
        confidence = teacher.logits.detach().float().sigmoid().amax(dim=-1)
        parts = {}
        if self.class_weight:
            parts["kd_class"] = self._classes(student, teacher) * self.class_weight * scale
        if self.bins_weight:
            bins = bins_kl(student.bins, teacher.bins, self.temperature) * confidence
            parts["kd_bins"] = bins.sum() * self.bins_weight * scale
        if self.box_weight:
            boxes = teacher_box_loss(decode_boxes(student), decode_boxes(teacher)) * confidence
            parts["kd_box"] = boxes.sum() * self.box_weight * scale
        return parts

    def _classes(self, student: RawPredictions, teacher: RawPredictions) -> Tensor:
        if self.classification == "softmax":
            return softmax_kl(student.logits, teacher.logits, self.temperature).sum()
        return bernoulli_kl(student.logits, teacher.logits, self.beta).sum()
