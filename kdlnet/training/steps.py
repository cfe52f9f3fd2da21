"""Training steps: what is done with a batch. The loop knows this protocol and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from kdlnet.losses.detection import DetectionLoss
from kdlnet.losses.distill_loss import DistillLoss
from kdlnet.training.masks import MaskLesson
from kdlnet.types import Batch, Forward, RawPredictions, StepOutput
from kdlnet.utils.ranks import summed

_MEASURE_EVERY = 25


Taken = TypeVar("Taken", contravariant=True)


class Step(Protocol[Taken]):
    """``(batch, progress in [0, 1]) -> StepOutput``; called with gradients on."""

    def __call__(self, batch: Taken, progress: float, /) -> StepOutput: ...


class Teacher(Protocol):
    """A frozen forward function whose ``head`` can be asked about other features."""

    def __call__(self, images: Tensor) -> RawPredictions: ...

    def head(self, features: Sequence[Tensor]) -> RawPredictions: ...


class SupervisedStep:
    """The detector's loss against the labels.

    ``recorded`` is the same detector with its kernels recorded: nobody can ask for a gradient
    inside of it. ``masks`` is what is learned of a batch that says where in the boxes defects lie.
    """

    def __init__(
        self,
        detector: Forward,
        loss: DetectionLoss,
        autocast: torch.dtype | None = None,
        recorded: Forward | None = None,
        masks: MaskLesson | None = None,
    ) -> None:
        self.detector = detector
        self.recorded = detector if recorded is None else recorded
        self.loss = loss
        self.autocast = autocast
        self.masks = masks

    def __call__(self, batch: Batch, progress: float) -> StepOutput:
        return self.labelled(self.predict(self.recorded, batch.images), batch, progress)

    def labelled(self, raw: RawPredictions, batch: Batch, progress: float) -> StepOutput:
        """What the labels of ``batch`` say of the predictions ``raw``."""
        found = self.loss(raw, batch.targets, batch.looked_for)
        lesson = None if self.masks is None else self.masks(raw.features[0], batch, progress)
        if lesson is None:
            return found
        return StepOutput(found.loss + lesson, found.parts | {"mask": lesson.detach()})

    def predict(self, detector: Forward, images: Tensor) -> RawPredictions:
        """Predictions of ``detector`` in the precision of the run."""
        with torch.autocast(images.device.type, self.autocast, enabled=self.autocast is not None):
            return detector(images)


class DistillStep:
    """The labels' loss and the teacher's, on one and the same augmented batch.

    The teacher is frozen: it is no part of the student, gets no gradients and no batch statistics.
    With all weights 0 this is the supervised step, to the bit. The part ``kd_ratio`` says how large
    the gradient of the teacher's terms is beside the labels', at the neck's maps: at some of the
    steps, which ``count`` numbers from 0 over the whole run (None: at none), or with ``balance`` at
    every one, where it is also set.
    """

    def __init__(
        self,
        supervised: SupervisedStep,
        teacher: Teacher,
        loss: DistillLoss,
        balance: float | None = None,
        count: Callable[[], int] | None = None,
    ) -> None:
        self.supervised = supervised
        self.teacher = teacher
        self.loss = loss
        self.balance = balance
        self.count = count

    def __call__(self, batch: Batch, progress: float) -> StepOutput:
        if not self.loss.active(progress):
            return self.supervised(batch, progress)
        with torch.no_grad():
            taught = self.supervised.predict(self.teacher, batch.images)
        due = self.count is not None and self.count() % _MEASURE_EVERY == 0
        measured = due or self.balance is not None
        detector = self.supervised.detector if measured else self.supervised.recorded
        raw = self.supervised.predict(detector, batch.images)
        labels = self.supervised.labelled(raw, batch, progress)
        lesson = self.loss(self._seen(raw), taught, progress)
        if not measured:
            return StepOutput(labels.loss + lesson.loss, labels.parts | lesson.parts)
        ratio = gradient_ratio(lesson.loss, labels.loss, raw.features)
        if self.balance is not None:
            factor = self.balance * self.loss.decay(progress) / ratio.clamp(min=1e-6)
            parts = {name: value * factor for name, value in lesson.parts.items()}
            lesson, ratio = StepOutput(lesson.loss * factor, parts), ratio * factor
        parts = labels.parts | lesson.parts | {"kd_ratio": ratio}
        return StepOutput(labels.loss + lesson.loss, parts)

    def _seen(self, raw: RawPredictions) -> RawPredictions:
        """What the teacher's terms look at: the student's outputs, or the teacher's head on it."""
        if not self.loss.cross:
            return raw
        with torch.autocast(
            raw.logits.device.type,
            self.supervised.autocast,
            enabled=self.supervised.autocast is not None,
        ):
            return self.teacher.head(raw.features)


def gradient_ratio(first: Tensor, second: Tensor, at: tuple[Tensor, ...]) -> Tensor:
    """Norm of the gradient of ``first`` over that of ``second``, both at ``at`` of all ranks."""
    norms = []
    for loss in (first, second):
        gradients = torch.autograd.grad(loss, at, retain_graph=True)
        norms.append(
            summed(torch.stack([g.float().norm() for g in gradients]).square().sum()).sqrt()
        )
    ratio: Tensor = norms[0] / norms[1].clamp(min=1e-12)
    return ratio
