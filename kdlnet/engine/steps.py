"""Training steps: what is done with a batch. The loop knows this protocol and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from kdlnet.losses.detection import DetectionLoss
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
        kind = batch.images.device.type
        with torch.autocast(kind, self.autocast, enabled=self.autocast is not None):
            raw = self.detector(batch.images)
        return self.loss(raw, batch.targets)
