"""Whether the boxes of two networks are the same ones.

Of an image the best candidates alone vote on where boxes lie. Where more than those score enough to
vote, rounding decides which: ``cut`` is the score below which none of that image could, and a box
that lower ones would move, too, is the same by its label and score.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from kdlnet.ops.boxes import box_iou
from kdlnet.ops.limits import IOU_THRESHOLD, VOTERS
from kdlnet.types import Detections

SURE_SCORE = 0.05
"""Boxes that score more must be found by both."""
_ROUNDING = 0.01  # of an overlap


def contained(
    some: Detections, others: Detections, pixels: float, margin: float, cut: float
) -> bool:
    """Every box of ``some`` has its like in ``others``.

    Alike are boxes of one label with corners within ``pixels`` and scores within ``margin``.
    Boxes so close to the score threshold that rounding decides about them do not count.
    """
    return farthest(some, others, margin, cut) <= pixels


def farthest(some: Detections, others: Detections, margin: float, cut: float) -> float:
    """The largest distance of a corner from that of the nearest of ``others``, in pixels.

    Of one label, and with scores within ``margin``; infinite where one has none.
    """
    return float(_distances(some, others, margin, cut).max()) if _sure(some).any() else 0.0


def kept_alike(
    some: Detections, others: Detections, pixels: float, margin: float, cut: float
) -> bool:
    """Every box of ``some`` has its like in ``others``, or one there took its place.

    Both were suppressed: of two boxes that overlap and score the same either may be kept. Whether
    they overlap by enough is itself a matter of ``pixels``: a corner that far off changes it by
    their share of the sides.
    """
    sure = _sure(some)
    if not sure.any():
        return True
    boxes, scores, labels = some.boxes[sure], some.scores[sure], some.labels[sure]
    better = others.scores >= scores[:, None] - margin
    shares = (pixels / (boxes[:, 2:] - boxes[:, :2])).sum(dim=1, keepdim=True)
    least = (IOU_THRESHOLD - _ROUNDING - shares).clamp(min=_ROUNDING)
    over = box_iou(boxes[:, None], others.boxes) > least
    replaced = (better & over & (labels[:, None] == others.labels)).any(dim=1)
    return bool(((_distances(some, others, margin, cut) <= pixels) | replaced).all())


def _sure(found: Detections) -> Tensor:
    return found.scores > SURE_SCORE


def _distances(some: Detections, others: Detections, margin: float, cut: float) -> Tensor:
    """Of each sure box of ``some`` to the nearest alike of ``others``; infinite without one."""
    sure = _sure(some)
    settled = VOTERS * some.scores[sure] >= cut
    far = (some.boxes[sure][:, None] - others.boxes).abs().amax(dim=-1) * settled[:, None]
    alike = (some.scores[sure][:, None] - others.scores).abs() <= margin
    label = some.labels[sure][:, None] == others.labels
    far = torch.where(alike & label, far, math.inf)
    nothing = torch.full((len(far), 1), math.inf)
    return torch.cat((far, nothing), dim=1).amin(dim=1)
