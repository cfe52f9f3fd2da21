"""The terms of distillation put together: weights, a schedule, one sum."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
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


@dataclass(frozen=True)
class Form:
    """How the terms look at a difference.

    ``classification`` is the class term, one of :data:`CLASS_TERMS`. ``beta`` focuses the bernoulli
    one on where the two disagree; ``temperature`` softens soft-max, bins and ``cwd``.
    """

    classification: str
    beta: float
    temperature: float


def _class_term(student: RawPredictions, teacher: RawPredictions, form: Form) -> Tensor:
    return CLASS_TERMS[form.classification](student.logits, teacher.logits, form).sum()


def _bins_term(student: RawPredictions, teacher: RawPredictions, form: Form) -> Tensor:
    return (bins_kl(student.bins, teacher.bins, form.temperature) * _confidence(teacher)).sum()


def _box_term(student: RawPredictions, teacher: RawPredictions, form: Form) -> Tensor:
    boxes = teacher_box_loss(decode_boxes(student), decode_boxes(teacher))
    return (boxes * _confidence(teacher)).sum()


def _pkd_term(student: RawPredictions, teacher: RawPredictions, form: Form) -> Tensor:
    return pearson_distance(student.features, teacher.features)


def _cwd_term(student: RawPredictions, teacher: RawPredictions, form: Form) -> Tensor:
    return channel_kl(student.features, teacher.features, form.temperature)


def _confidence(teacher: RawPredictions) -> Tensor:
    """How much a point (B, A) counts: as much as the teacher's best score there."""
    return teacher.logits.detach().float().sigmoid().amax(dim=-1)


CLASS_TERMS: dict[str, Callable[[Tensor, Tensor, Form], Tensor]] = {
    "bernoulli": lambda student, teacher, form: bernoulli_kl(student, teacher, form.beta),
    "softmax": lambda student, teacher, form: softmax_kl(student, teacher, form.temperature),
}
"""Divergence of logits (B, A, C), by point or by point and class."""

Term = Callable[[RawPredictions, RawPredictions, Form], Tensor]

OUTPUT_TERMS: dict[str, Term] = {"class": _class_term, "bins": _bins_term, "box": _box_term}
"""Sums over points, to be divided by the teacher's foreground."""

FEATURE_TERMS: dict[str, Term] = {"pkd": _pkd_term, "cwd": _cwd_term}
"""Means over the neck's maps, which must have the teacher's channels."""

TERMS: dict[str, Term] = OUTPUT_TERMS | FEATURE_TERMS
"""All terms by name; a config has ``NAME_weight`` for each."""

SCHEDULES: dict[str, Callable[[float], float]] = {
    "cosine": lambda progress: 0.5 * (1 + math.cos(math.pi * min(max(progress, 0.0), 1.0))),
    "constant": lambda progress: 1.0,
}
"""Weight of all terms by progress in [0, 1]. The cosine falls from 1 to 0."""


@dataclass(frozen=True, kw_only=True)
class DistillLoss:
    """Weighted sum of :data:`TERMS`; a weight of 0 switches one off.

    With ``cross`` the terms on outputs see not the student's own but what the teacher's head says
    of the student's features (CrossKD, arXiv 2306.11369). From progress ``until`` on there is no
    teacher. ``parts`` holds the terms as they enter the loss, named ``kd_...``.
    """

    weights: Mapping[str, float]
    form: Form
    cross: bool
    schedule: str
    until: float

    def active(self, progress: float = 0.0) -> bool:
        """False when every weight is 0 at ``progress`` and the teacher need not be asked."""
        return any(self.weights.values()) and progress < self.until

    @property
    def uses_features(self) -> bool:
        """Whether a term looks at the neck's maps: they must have the teacher's channels."""
        return self.cross or any(self.weights[name] for name in FEATURE_TERMS)

    def decay(self, progress: float) -> float:
        """The factor of all terms at ``progress``."""
        return SCHEDULES[self.schedule](progress) if progress < self.until else 0.0

    def __call__(
        self, student: RawPredictions, teacher: RawPredictions, progress: float
    ) -> StepOutput:
        """``student`` holds its own features and, with ``cross``, the teacher's head's outputs."""
        decay = self.decay(progress)
        scale = decay / normalizer(teacher_foreground(teacher.logits))
        parts = {}
        for name, weight in self.weights.items():
            if not weight:
                continue
            value = TERMS[name](student, teacher, self.form)
            outputs = name in OUTPUT_TERMS
            parts[f"kd_{name}"] = value * weight * scale if outputs else value * (weight * decay)
        loss = torch.stack(list(parts.values())).sum()
        return StepOutput(loss, {name: value.detach() for name, value in parts.items()})
