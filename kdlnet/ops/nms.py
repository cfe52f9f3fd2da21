"""From raw predictions to final boxes."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from kdlnet.metrics.verdict import DEFAULT_SCORE
from kdlnet.ops.boxes import box_iou, clip_boxes
from kdlnet.ops.decode import distances_to_boxes, expected_distances
from kdlnet.ops.limits import IOU_THRESHOLD, MAX_CANDIDATES, MAX_DETECTIONS, PAIRS, VOTERS, logit
from kdlnet.types import Detections, ImageSize, RawPredictions


def select_detections(
    raw: RawPredictions,
    input_size: ImageSize,
    score_threshold: float = DEFAULT_SCORE,
    iou_threshold: float = IOU_THRESHOLD,
    max_detections: int = MAX_DETECTIONS,
    max_candidates: int = MAX_CANDIDATES,
) -> list[Detections]:
    """Class-wise suppression, then a vote; one Detections an image, pixels of the network input.

    Every (point, class) pair whose score reaches ``score_threshold`` may be kept: by falling score,
    unless a kept box of its class overlaps it by more than ``iou_threshold``. Then the neighbours
    of a kept box say where its object is, see :func:`agreed_boxes`; its score stays. Neither
    depends on ``score_threshold``: voters may score less. The ``max_candidates`` best of an image
    enter. Boxes are decoded for candidates only and clipped to ``input_size``.
    """
    found = []
    for logits, bins in zip(raw.logits, raw.bins, strict=True):
        every = _candidates(logits, bins, raw, input_size, score_threshold, max_candidates)
        kept = suppress(every[every.scores >= score_threshold], iou_threshold, max_detections)
        found.append(_agreed(kept, every, iou_threshold))
    return found


def all_candidates(
    raw: RawPredictions,
    input_size: ImageSize,
    score_threshold: float,
    iou_threshold: float = IOU_THRESHOLD,
) -> list[Detections]:
    """What select_detections may keep, as it would be given back: boxes voted, none suppressed."""
    found = []
    for logits, bins in zip(raw.logits, raw.bins, strict=True):
        every, voters = (
            _candidates(logits, bins, raw, input_size, score_threshold, count)
            for count in (logits.numel(), MAX_CANDIDATES)
        )
        found.append(_agreed(every[every.scores >= score_threshold], voters, iou_threshold))
    return found


def _candidates(
    logits_AC: Tensor,
    bins_A4R: Tensor,
    raw: RawPredictions,
    input_size: ImageSize,
    score_threshold: float,
    max_candidates: int,
) -> Detections:
    """Those that may be kept and those that may vote, in no order."""
    logits_AC = logits_AC.float()
    # A little lower than the threshold: it is the score that decides, as in every verdict.
    least = logit(VOTERS * score_threshold * (1 - 1e-6))
    point, label = (logits_AC > least).nonzero(as_tuple=True)
    logits = logits_AC[point, label]
    if logits.numel() > max_candidates:
        logits, best = logits.topk(max_candidates)
        point, label = point[best], label[best]
    distances = expected_distances(bins_A4R[point].float())
    boxes = distances_to_boxes(distances, raw.points[point], raw.strides[point])
    return Detections(clip_boxes(boxes, *input_size), logits.sigmoid(), label)


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
    return found[keep]


def agreed_boxes(kept: Detections, found: Detections, iou_threshold: float) -> Tensor:
    """Boxes (K, 4) where those of ``found`` that show the same objects see them: a weighted mean.

    A voter has the class of the kept box. Its weight is what its overlap exceeds ``iou_threshold``
    by, times what its score exceeds VOTERS of the kept one's by: both fall to 0 without a step, so
    that rounding moves no box, but where it decides who is among the MAX_CANDIDATES. Box voting,
    arXiv 1505.01749, weighs by the score alone.
    """
    on_cpu = kept.boxes.device.type == "cpu"  # a card would wait for the processor at each class
    pairs = len(kept) * len(found)
    labels = kept.labels.unique().tolist() if on_cpu and pairs >= PAIRS else ()
    if not labels or pairs < PAIRS * len(labels):
        return _mean_boxes(kept, found, iou_threshold)
    agreed = kept.boxes.clone()
    for label in labels:
        ours, theirs = kept.labels == label, found.labels == label
        agreed[ours] = _mean_boxes(kept[ours], found[theirs], iou_threshold)
    return agreed


def _mean_boxes(kept: Detections, voters: Detections, iou_threshold: float) -> Tensor:
    """Boxes (K, 4), each where the ``voters`` of its class see it."""
    overlap = box_iou(kept.boxes[:, None], voters.boxes) - iou_threshold
    score = voters.scores - VOTERS * kept.scores[:, None]
    weights = overlap.clamp(min=0) * score.clamp(min=0)
    weights = weights * (kept.labels[:, None] == voters.labels)
    total = weights.sum(dim=1, keepdim=True)
    # No matrix product: on recent cards it rounds its factors to 10 bits, half a pixel of 640.
    sums = torch.stack([(weights * side).sum(dim=1) for side in voters.boxes.T], dim=1)
    return torch.where(total > 0, sums / total, kept.boxes)


def _agreed(kept: Detections, found: Detections, iou_threshold: float) -> Detections:
    return Detections(agreed_boxes(kept, found, iou_threshold), kept.scores, kept.labels)


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
