"""From raw predictions to final boxes."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import math
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from kdlnet.metrics.verdict import DEFAULT_SCORE
from kdlnet.ops.boxes import clip_boxes
from kdlnet.ops.decode import distances_to_boxes, expected_distances
from kdlnet.types import Detections, ImageSize, RawPredictions


def select_detections(
    raw: RawPredictions,
    input_size: ImageSize,
    score_threshold: float = DEFAULT_SCORE,
    iou_threshold: float = 0.65,
    max_detections: int = 300,
    max_candidates: int = 1000,
) -> list[Detections]:
    """Class-wise non-maximum suppression; one Detections an image, pixels of the network input.

    Every (point, class) pair whose score reaches ``score_threshold`` is a candidate; the
    ``max_candidates`` best of an image enter the suppression. Boxes are decoded for candidates
    only and clipped to ``input_size``.
    """
    return [
        _select(
            logits,
            bins,
            raw,
            input_size,
            score_threshold,
            iou_threshold,
            max_detections,
            max_candidates,
        )
        for logits, bins in zip(raw.logits, raw.bins, strict=True)
    ]


def _select(
    logits_AC: Tensor,
    bins_A4R: Tensor,
    raw: RawPredictions,
    input_size: ImageSize,
    score_threshold: float,
    iou_threshold: float,
    max_detections: int,
    max_candidates: int,
) -> Detections:
    logits_AC = logits_AC.float()
    # A little lower than the threshold: it is the score that decides, as in every verdict.
    point, label = (logits_AC > _logit(score_threshold * (1 - 1e-6))).nonzero(as_tuple=True)
    logits = logits_AC[point, label]
    if logits.numel() > max_candidates:
        logits, best = logits.topk(max_candidates)
        point, label = point[best], label[best]
    scores = logits.sigmoid()
    reached = scores >= score_threshold
    scores, point, label = scores[reached], point[reached], label[reached]
    distances = expected_distances(bins_A4R[point].float())
    boxes = distances_to_boxes(distances, raw.points[point], raw.strides[point])
    boxes = clip_boxes(boxes, *input_size)
    return suppress(Detections(boxes, scores, label), iou_threshold, max_detections)


def suppress(found: Detections, iou_threshold: float, max_detections: int) -> Detections:
    """Class-wise non-maximum suppression of one image's boxes; by falling score, any frame.

    Classes are moved apart by more than the largest coordinate, so that none meets another's.
    """
    if not len(found):
        return found
    _load_nms()
    apart = found.labels.to(found.boxes.dtype) * (found.boxes.max() + 1)
    boxes = found.boxes + apart[:, None]
    keep = torch.ops.torchvision.nms(boxes, found.scores, iou_threshold)[:max_detections]
    return Detections(found.boxes[keep], found.scores[keep], found.labels[keep])


@cache
def _load_nms() -> None:
    """Registers torchvision's operators, without its Python package where that is possible.

    The package imports torch's compiler and every model: two seconds of every start.
    """
    spec = importlib.util.find_spec("torchvision")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for library in Path(folder).glob("_C*.so"):
            with contextlib.suppress(OSError):
                torch.ops.load_library(library)
    if not hasattr(torch.ops.torchvision, "nms"):
        importlib.import_module("torchvision.ops")


def _logit(probability: float) -> float:
    if probability <= 0:
        return -math.inf
    return math.log(probability / (1 - probability)) if probability < 1 else math.inf
