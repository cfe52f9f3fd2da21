"""Precision and recall against each other and against the score, at one IoU.

Matching happens once an image (:func:`rank`); everything else is counting in its table, so
figures over another choice of images cost no new matching.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kdlnet.metrics.matching import MATCH_IOU, assign, by_score, class_iou, ranked
from kdlnet.metrics.operating_point import below
from kdlnet.metrics.result import Floats, ImageResult, Ints
from kdlnet.ops.limits import MAX_DETECTIONS

RECALL_STEPS: Floats = np.linspace(0.0, 1.0, 101)
SCORE_STEPS: Floats = np.linspace(0.0, 1.0, 1001)


@dataclass(frozen=True, slots=True)
class Ranking:
    """All detections of all images by falling score, and what there was to find.

    ``scores``, ``labels``, ``images`` (position of the image) and ``true`` (found a true box)
    are (N,); ``truths`` (images, C) counts the true boxes.
    """

    scores: Floats
    labels: Ints
    images: Ints
    true: NDArray[np.bool_]
    truths: Ints


@dataclass(frozen=True, slots=True)
class BestScore:
    """The score threshold with the highest F1, and what it gives."""

    score: float
    f1: float
    precision: float
    recall: float


@dataclass(frozen=True, slots=True)
class Curve:
    """Curves of one class, or of all.

    ``precision`` (101,) is COCO's: at each of ``RECALL_STEPS`` the highest precision at that
    recall or a higher one; its mean is ``ap``. The other three (1001,) belong to the thresholds
    ``SCORE_STEPS``: detections with at least that score count. ``precision_at`` is nan where no
    detection is left. Without true boxes ``ap`` and ``best`` are None and the rest is nan.
    """

    name: str
    truths: int
    ap: float | None
    precision: Floats
    precision_at: Floats
    recall_at: Floats
    f1_at: Floats
    best: BestScore | None


@dataclass(frozen=True, slots=True)
class Curves:
    """Curves of every class at one IoU, and of all classes together.

    In ``overall``, ``precision`` and ``ap`` are means over the classes with true boxes (``ap``
    is COCO's AP at this IoU). Against the score all detections are pooled: one threshold, the
    share of all calls that are true, the share of all defects that are found.
    """

    iou_threshold: float
    per_class: tuple[Curve, ...]
    overall: Curve


def best_thresholds(results: Sequence[ImageResult], names: Sequence[str]) -> list[float | None]:
    """The threshold of the best F1 of each class ``names`` and, last, of all boxes together.

    It keeps from the scores of boxes, so that exported weights judge alike; None without a best.
    """
    ranking = rank(results, len(names))
    measured = curves_of(ranking, names, MATCH_IOU)
    own = [ranking.scores[ranking.labels == label] for label in range(len(names))]
    found = zip((*measured.per_class, measured.overall), (*own, ranking.scores), strict=True)
    return [None if one.best is None else below(one.best.score, scores) for one, scores in found]


def curves_of(ranking: Ranking, names: Sequence[str], iou_threshold: float) -> Curves:
    """Precision-recall and score curves of the classes ``names`` and of all together.

    ``ranking`` was matched at ``iou_threshold``.
    """
    truths = ranking.truths.sum(axis=0)
    per_class = []
    for c, name in enumerate(names):
        mine = ranking.labels == c
        per_class.append(_curve(name, int(truths[c]), ranking.scores[mine], ranking.true[mine]))
    pooled = _curve("all", int(truths.sum()), ranking.scores, ranking.true)
    known = [curve for curve in per_class if curve.ap is not None]
    overall = Curve(
        name="all",
        truths=pooled.truths,
        ap=float(np.mean([curve.ap for curve in known])) if known else None,
        precision=np.mean([c.precision for c in known], axis=0) if known else pooled.precision,
        precision_at=pooled.precision_at,
        recall_at=pooled.recall_at,
        f1_at=pooled.f1_at,
        best=pooled.best,
    )
    return Curves(iou_threshold, tuple(per_class), overall)


def rank(
    results: Sequence[ImageResult],
    classes: int,
    iou_threshold: float = MATCH_IOU,
    max_detections: int = MAX_DETECTIONS,
) -> Ranking:
    """Match every image once. Of each class and image the best ``max_detections`` count."""
    scores, labels, images, true = [], [], [], []
    truths = np.zeros((len(results), classes), dtype=np.int64)
    for index, result in enumerate(results):
        order = limit_per_class(ranked(result), result.labels, max_detections)
        scores.append(result.scores[order])
        labels.append(result.labels[order])
        images.append(np.full(len(order), index))
        true.append(assign(class_iou(result, order), iou_threshold) >= 0)
        truths[index] = np.bincount(result.truth_labels, minlength=classes)
    if not results:
        none = np.zeros(0, dtype=np.int64)
        return Ranking(np.zeros(0), none, none, np.zeros(0, dtype=bool), truths)
    falling = by_score(np.concatenate(scores))
    return Ranking(
        np.concatenate(scores)[falling],
        np.concatenate(labels)[falling],
        np.concatenate(images)[falling],
        np.concatenate(true)[falling],
        truths,
    )


def limit_per_class(order: Ints, labels: Ints, max_detections: int) -> Ints:
    """Of positions (K,) by falling score the first ``max_detections`` of each class."""
    if len(order) <= max_detections:
        return order
    sorted_labels = labels[order]
    keep = np.zeros(len(order), dtype=bool)
    for c in np.unique(sorted_labels):
        keep[np.flatnonzero(sorted_labels == c)[:max_detections]] = True
    return order[keep]


def _curve(name: str, truths: int, scores: Floats, true: NDArray[np.bool_]) -> Curve:
    """One curve from detections by falling score."""
    if truths == 0:
        blank = np.full(len(SCORE_STEPS), np.nan)
        precision = np.full(len(RECALL_STEPS), np.nan)
        return Curve(name, 0, None, precision, blank, blank, blank, None)
    hits = np.cumsum(true, dtype=np.int64)
    calls = np.arange(1, len(true) + 1)
    precision = _interpolate(hits / truths, hits / calls)
    kept = np.searchsorted(-scores, -SCORE_STEPS, side="right")
    hits_at = np.concatenate([[0], hits])[kept]
    return Curve(
        name=name,
        truths=truths,
        ap=float(precision.mean()),
        precision=precision,
        precision_at=np.divide(hits_at, kept, out=np.full(len(kept), np.nan), where=kept > 0),
        recall_at=hits_at / truths,
        f1_at=2 * hits_at / (kept + truths),
        best=_best(scores, hits, truths),
    )


def class_ap(true: NDArray[np.bool_], truths: int) -> float:
    """AP of one class with that many true boxes, its detections (N,) standing by falling score."""
    hits = np.cumsum(true, dtype=np.int64)
    return float(_interpolate(hits / truths, hits / np.arange(1, len(true) + 1)).mean())


def _interpolate(recall: Floats, precision: Floats) -> Floats:
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    first = np.searchsorted(recall, RECALL_STEPS, side="left")
    reached: Floats = np.concatenate([envelope, [0.0]])[first]
    return reached


def _best(scores: Floats, hits: Ints, truths: int) -> BestScore | None:
    """Highest F1 over all thresholds; of equal ones the lowest, since a miss costs more."""
    # A threshold cannot part equal scores: only the last of each run is a possible cut.
    cuts = np.flatnonzero(np.append(scores[1:] != scores[:-1], True)[: len(scores)])
    if not len(cuts):
        return None
    f1 = 2 * hits[cuts] / (cuts + 1 + truths)
    cut = cuts[np.flatnonzero(f1 == f1.max())[-1]]
    if not hits[cut]:
        return None
    return BestScore(
        score=float(scores[cut]),
        f1=float(f1.max()),
        precision=float(hits[cut] / (cut + 1)),
        recall=float(hits[cut] / truths),
    )
