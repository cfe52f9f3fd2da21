"""Task-aligned assignment of targets to points. Source: TOOD, arXiv 2108.07755, section 3.2."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from kdlnet.ops.boxes import box_iou
from kdlnet.types import Targets

_MOST_PAIRS = 20_000_000
"""Pairs of target and point held at once, some 60 bytes each; more images are taken in turns."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """What every point should predict.

    ``foreground`` (B, A) bool; ``boxes`` (B, A, 4) pixels of the network input, ``labels`` (B, A)
    int64, both of meaning on the foreground only; ``quality`` (B, A) in [0, 1], the class score
    the point is asked for, 0 on the background.
    """

    foreground: Tensor
    boxes: Tensor
    labels: Tensor
    quality: Tensor


class TaskAlignedAssigner:
    """Gives each target the ``topk`` points that score and localize it best.

    The alignment of point and target is ``score ** alpha * iou ** beta``. Only points inside the
    target count; a side shorter than two of the finest strides is widened to that for this
    test, because a defect between two points would otherwise have none. A point claimed by several
    targets takes the one it overlaps most.
    """

    def __init__(self, topk: int = 13, alpha: float = 1.0, beta: float = 6.0) -> None:
        self.topk = topk
        self.alpha = alpha
        self.beta = beta

    @torch.no_grad()
    def __call__(
        self, scores: Tensor, boxes: Tensor, points: Tensor, strides: Tensor, targets: Targets
    ) -> Assignment:
        """Assigns by the predicted ``scores`` (B, A, C) and ``boxes`` (B, A, 4) of ``points``."""
        truth_boxes, truth_labels, real = pad_targets(targets, len(scores))
        most = truth_boxes.shape[1]
        if most == 0:
            return _all_background(scores)
        parts = []
        for rows in torch.arange(len(scores)).split(max(1, _MOST_PAIRS // (most * len(points)))):
            part = slice(int(rows[0]), int(rows[-1]) + 1)
            truth = truth_boxes[part], truth_labels[part], real[part]
            parts.append(self._assign(scores[part], boxes[part], *truth, points, strides))
        return Assignment(*(torch.cat(values) for values in zip(*parts, strict=True)))

    def _assign(
        self,
        scores: Tensor,
        boxes: Tensor,
        truth_boxes: Tensor,
        truth_labels: Tensor,
        real: Tensor,
        points: Tensor,
        strides: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The fields of an Assignment for some of the images, their targets padded."""
        candidates = _inside(points, truth_boxes, strides.min()) & real[:, :, None]
        iou = box_iou(truth_boxes[:, :, None], boxes[:, None]) * candidates
        alignment = self._alignment(scores, truth_labels, iou)
        chosen = self._best(alignment) & candidates
        owner, foreground = _resolve(chosen, iou)
        quality = _normalized_quality(alignment * chosen, iou * chosen, owner, foreground)
        index = owner[..., None].expand(-1, -1, 4)
        labels = truth_labels.gather(1, owner)
        return foreground, truth_boxes.gather(1, index), labels, quality

    def _alignment(self, scores: Tensor, truth_labels: Tensor, iou: Tensor) -> Tensor:
        index = truth_labels[:, None].expand(-1, scores.shape[1], -1)
        of_class = scores.gather(2, index).transpose(1, 2)
        return of_class**self.alpha * iou**self.beta

    def _best(self, alignment_BMA: Tensor) -> Tensor:
        count = min(self.topk, alignment_BMA.shape[-1])
        values, index = alignment_BMA.topk(count, dim=-1)
        best = torch.zeros_like(alignment_BMA, dtype=torch.bool)
        return best.scatter_(2, index, values > 0)


def pad_targets(targets: Targets, batch: int) -> tuple[Tensor, Tensor, Tensor]:
    """Targets by image: boxes (B, M, 4), labels (B, M), and a mask (B, M) of the real ones.

    M is the largest number of targets in one image.
    """
    counts = torch.bincount(targets.image_index, minlength=batch)
    most = int(counts.max()) if len(targets.labels) else 0
    boxes = targets.boxes.new_zeros(batch, most, 4)
    labels = targets.labels.new_zeros(batch, most)
    if most:
        order = torch.argsort(targets.image_index, stable=True)
        image = targets.image_index[order]
        first = counts.cumsum(0) - counts
        slot = torch.arange(len(order), device=order.device) - first[image]
        boxes[image, slot] = targets.boxes[order]
        labels[image, slot] = targets.labels[order]
    real = torch.arange(most, device=counts.device) < counts[:, None]
    return boxes, labels, real


def _inside(points: Tensor, boxes_BM4: Tensor, finest: Tensor) -> Tensor:
    centre = (boxes_BM4[..., :2] + boxes_BM4[..., 2:]) / 2
    low = torch.minimum(boxes_BM4[..., :2], centre - finest)[:, :, None]
    high = torch.maximum(boxes_BM4[..., 2:], centre + finest)[:, :, None]
    return ((points > low) & (points < high)).all(dim=-1)


def _resolve(chosen_BMA: Tensor, iou_BMA: Tensor) -> tuple[Tensor, Tensor]:
    """Owner (B, A) of each point as a position among its image's targets, and the foreground."""
    overlap = torch.where(chosen_BMA, iou_BMA, -1.0)
    best, owner = overlap.max(dim=1)
    return owner, best >= 0


def _normalized_quality(
    alignment: Tensor, iou: Tensor, owner: Tensor, foreground: Tensor, eps: float = 1e-30
) -> Tensor:
    """Alignment of each point, scaled so that a target's best one equals its largest IoU."""
    rows = torch.arange(alignment.shape[1], device=owner.device)
    owned = (owner[:, None] == rows[:, None]) & foreground[:, None]
    alignment, iou = alignment * owned, iou * owned
    scale = iou.amax(dim=-1, keepdim=True) / (alignment.amax(dim=-1, keepdim=True) + eps)
    return (alignment * scale).amax(dim=1)


def _all_background(scores: Tensor) -> Assignment:
    batch, count, _ = scores.shape
    zeros = scores.new_zeros(batch, count)
    return Assignment(zeros.bool(), scores.new_zeros(batch, count, 4), zeros.long(), zeros)
