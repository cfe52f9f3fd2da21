"""The supervised loss of a detector."""

from __future__ import annotations

import torch
from torch import Tensor

from kdlnet.losses.assigner import Assignment, TaskAlignedAssigner
from kdlnet.losses.box import bins_loss, box_loss
from kdlnet.losses.classification import CLASSIFICATION_LOSSES, ClassificationLoss
from kdlnet.losses.normalizer import normalizer
from kdlnet.ops.decode import (
    boxes_to_distances,
    decode_boxes,
    distances_to_boxes,
    expected_distances,
)
from kdlnet.types import RawPredictions, StepOutput, Targets


class DetectionLoss:
    """Classification + box + bins, each a sum over points divided by the total target quality.

    The divisor is at least 1, so a batch of good parts does not blow the loss up. ``parts`` holds
    the weighted terms ``class``, ``box`` and ``bins``; their sum is the loss.
    """

    def __init__(
        self,
        assigner: TaskAlignedAssigner,
        classification: str = "varifocal",
        class_weight: float = 1.0,
        box_weight: float = 2.5,
        bins_weight: float = 0.5,
    ) -> None:
        self.assigner = assigner
        self.classification: ClassificationLoss = CLASSIFICATION_LOSSES[classification]
        self.weights = {"class": class_weight, "box": box_weight, "bins": bins_weight}

    def __call__(
        self, raw: RawPredictions, targets: Targets, looked_for: Tensor | None = None
    ) -> StepOutput:
        """``looked_for`` (B, C): images are no negatives for classes they are not labelled for."""
        bins, scores = raw.bins.detach().float(), raw.logits.detach().float().sigmoid()
        boxes = decode_boxes(RawPredictions(scores, bins, raw.points, raw.strides))
        assigned = self.assigner(scores, boxes, raw.points, raw.strides, targets)
        parts = self._terms(raw, assigned, looked_for)
        total = normalizer(assigned.quality.sum())
        parts = {name: value * self.weights[name] / total for name, value in parts.items()}
        loss = torch.stack(list(parts.values())).sum()
        return StepOutput(loss, {name: value.detach() for name, value in parts.items()})

    def _terms(
        self, raw: RawPredictions, assigned: Assignment, looked_for: Tensor | None
    ) -> dict[str, Tensor]:
        """Boxes are decoded once more with gradient, on the few foreground points alone."""
        image, point = assigned.foreground.nonzero(as_tuple=True)
        weight = assigned.quality[image, point]
        truth = assigned.boxes[image, point]
        wanted = torch.zeros_like(raw.logits, dtype=torch.float32)
        wanted[image, point, assigned.labels[image, point]] = weight
        logits = raw.logits
        if looked_for is not None:
            counted = looked_for[:, None].expand_as(wanted)
            logits, wanted = logits[counted], wanted[counted]
        points, strides = raw.points[point], raw.strides[point]
        bins = raw.bins[image, point].float()
        boxes = distances_to_boxes(expected_distances(bins), points, strides)
        distances = boxes_to_distances(truth, points, strides)
        return {
            "class": self.classification(logits, wanted),
            "box": box_loss(boxes, truth, weight),
            "bins": bins_loss(bins, distances, weight),
        }
