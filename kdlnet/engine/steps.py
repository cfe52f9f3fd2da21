"""Training steps: what is done with a batch. The loop knows this protocol and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from kdlnet.losses.detection import DetectionLoss
from kdlnet.losses.distillation import DistillLoss
from kdlnet.types import Batch, RawPredictions, StepOutput

Forward = Callable[[Tensor], RawPredictions]
"""A detector, compiled or not."""


class Step(Protocol):
    """``(batch, progress in [0, 1]) -> StepOutput``; called with gradients on."""

    def __call__(self, batch: Batch, progress: float) -> StepOutput: ...


class SupervisedStep:
    """The detector's loss against the labels."""

    def __init__(
        self, detector: Forward, loss: DetectionLoss, autocast: torch.dtype | None = None
    ) -> None:
        self.detector = detector
        self.loss = loss
        self.autocast = autocast

    def __call__(self, batch: Batch, progress: float) -> StepOutput:
        return self.loss(self.predict(self.detector, batch.images), batch.targets)

    def predict(self, detector: Forward, images: Tensor) -> RawPredictions:
        """Predictions of ``detector`` in the precision of the run."""
        with torch.autocast(images.device.type, self.autocast, enabled=self.autocast is not None):
            return detector(images)


class DistillStep:
    """The labels' loss and the teacher's, on one and the same augmented batch.

    The teacher is any frozen forward function: it is no part of the student, gets no gradients and
    no batch statistics. With all weights 0 this is the supervised step, to the bit.
    """

    def __init__(self, supervised: SupervisedStep, teacher: Forward, loss: DistillLoss) -> None:
        self.supervised = supervised
        self.teacher = teacher
        self.loss = loss

    def __call__(self, batch: Batch, progress: float) -> StepOutput:
        if not self.loss.active:
            return self.supervised(batch, progress)
        with torch.no_grad():
            taught = self.supervised.predict(self.teacher, batch.images)
        raw = self.supervised.predict(self.supervised.detector, batch.images)
        labels = self.supervised.loss(raw, batch.targets)
        lesson = self.loss(raw, taught, progress)
        return StepOutput(labels.loss + lesson.loss, labels.parts | lesson.parts)
