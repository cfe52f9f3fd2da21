"""Why AP is lost: every false call and every missed box has one kind, and each kind its price.

In the manner of TIDE (Bolya et al. 2020): with t = 0.5 and b = 0.1 a false call is tested in this
order. It overlaps a true box of its class by b to t: ``localization``. One of another class by t:
``class``. One of its class by t, which another call has found: ``duplicate``. Nothing by b:
``background``. Else ``both``. A true box that no call found and that no ``class`` or
``localization`` error stands at is ``missed``. The price is how much AP50 rises when all errors of
a kind are mended: a ``class`` or ``localization`` error becomes the find it nearly was (the best
one of each free true box; the rest go), ``missed`` boxes need not be found, the others go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdlnet.metrics.curves import class_ap, limit_per_class
from kdlnet.metrics.matching import MATCH_IOU, assign, by_score, ranked
from kdlnet.metrics.result import Floats, ImageResult, Ints, box_iou
from kdlnet.ops.limits import MAX_DETECTIONS

KINDS = ("class", "localization", "both", "duplicate", "background", "missed")
TRUE = -1
NEAR = 0.1
_CLASS, _LOCALIZATION, _BOTH, _DUPLICATE, _BACKGROUND = range(5)


@dataclass(frozen=True, slots=True)
class Sorted:
    """The detections of one image by falling score, each with its kind.

    ``order`` (N,) are positions in the ImageResult, ``kind`` (N,) in ``KINDS`` or ``TRUE``,
    ``target`` (N,) the true box that a find or a ``class`` or ``localization`` error belongs to, or
    -1. ``near`` (N, T) says which true boxes each overlaps by ``NEAR``.
    """

    order: Ints
    kind: Ints
    target: Ints
    near: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """``count`` at the operating point, and by how much AP50 rises without errors of this kind."""

    count: int
    ap50_gain: float | None


@dataclass(frozen=True, slots=True)
class Breakdown:
    """By kind, at this score; ``ap50`` None where there is no true box."""

    score: float
    ap50: float | None
    kinds: dict[str, ErrorKind]

    def to_dict(self) -> dict[str, Any]:
        """Builtins, ready for JSON."""
        return asdict(self)


def sort_errors(result: ImageResult, iou: float = MATCH_IOU) -> Sorted:
    """The kind of every detection of one image."""
    order = limit_per_class(ranked(result), result.labels, MAX_DETECTIONS)
    overlap = box_iou(result.boxes[order], result.truth_boxes)
    same = result.labels[order][:, None] == result.truth_labels[None, :]
    found = assign(np.where(same, overlap, -1.0), iou)
    (own, mine), (other, others) = (
        _best(np.where(same, overlap, 0)),
        _best(np.where(same, 0, overlap)),
    )
    kind = np.full(len(order), _BOTH)
    kind[np.maximum(own, other) < NEAR] = _BACKGROUND
    kind[own >= iou] = _DUPLICATE
    kind[other >= iou] = _CLASS
    kind[(own >= NEAR) & (own < iou)] = _LOCALIZATION
    kind[found >= 0] = TRUE
    target = np.where(kind == _CLASS, others, np.where(kind == _LOCALIZATION, mine, found))
    return Sorted(order, kind, target, overlap >= NEAR)


def breakdown(
    results: Sequence[ImageResult], errors: Sequence[Sorted], classes: int, score: float
) -> Breakdown:
    """Counts at ``score`` and prices; ``errors`` are the detections of each image."""
    calls = _Calls.of(results, errors)
    truths = np.bincount(calls.truth_labels, minlength=classes)
    ap50 = _mean_ap(calls.labels, calls.kind == TRUE, truths)
    kinds = {}
    for number, name in enumerate(KINDS[:-1]):
        count = int(((calls.kind == number) & (calls.scores >= score)).sum())
        kinds[name] = ErrorKind(count, _gain(calls, number, truths, ap50))
    lost = calls.best < 0
    left = truths - np.bincount(calls.truth_labels[lost], minlength=classes)
    mended = _mean_ap(calls.labels, calls.kind == TRUE, left)
    gain = None if ap50 is None or mended is None else mended - ap50
    kinds["missed"] = ErrorKind(int((calls.best < score).sum()), gain)
    return Breakdown(score, ap50, kinds)


@dataclass(frozen=True, slots=True)
class _Calls:
    """All detections, by falling score, and all true boxes; ``target`` counts those of all images.

    ``best`` (T,) is the score of the highest find, class or localization error at each, or -1.
    """

    scores: Floats
    labels: Ints
    kind: Ints
    target: Ints
    truth_labels: Ints
    best: Floats

    @classmethod
    def of(cls, results: Sequence[ImageResult], errors: Sequence[Sorted]) -> _Calls:
        pairs = list(zip(results, errors, strict=True))
        first = np.cumsum([0, *(len(result.truth_labels) for result in results)])[:-1]
        moved = [
            np.where(e.target < 0, -1, e.target + n) for e, n in zip(errors, first, strict=True)
        ]
        scores = _joined([result.scores[e.order] for result, e in pairs], np.float64)
        labels = _joined([result.labels[e.order] for result, e in pairs])
        kind, target = _joined([e.kind for e in errors]), _joined(moved)
        truth_labels = _joined([result.truth_labels for result in results])
        falling = by_score(scores)
        best = np.full(len(truth_labels), -1.0)
        near = target >= 0
        np.maximum.at(best, target[near], scores[near])
        labels, kind, target = labels[falling], kind[falling], target[falling]
        return cls(scores[falling], labels, kind, target, truth_labels, best)


def _joined(parts: Sequence[np.ndarray], dtype: type = np.int64) -> Any:
    """One array, also of no parts."""
    return np.concatenate([np.zeros(0, dtype), *parts])


def _gain(calls: _Calls, kind: int, truths: Ints, ap50: float | None) -> float | None:
    """By how much AP50 rises when the errors of this kind are mended."""
    true, labels, keep = calls.kind == TRUE, calls.labels.copy(), calls.kind != kind
    if kind in (_CLASS, _LOCALIZATION):
        taken = np.zeros(len(calls.truth_labels), dtype=bool)
        taken[calls.target[true]] = True
        mended = np.flatnonzero(~keep)
        mended = mended[~taken[calls.target[mended]]]
        # Falling scores: the first of each true box is the best.
        mended = mended[np.unique(calls.target[mended], return_index=True)[1]]
        true, labels[mended] = true.copy(), calls.truth_labels[calls.target[mended]]
        true[mended] = keep[mended] = True
    mean = _mean_ap(labels[keep], true[keep], truths)
    return None if mean is None or ap50 is None else mean - ap50


def _mean_ap(labels: Ints, true: NDArray[np.bool_], truths: Ints) -> float | None:
    """AP50 from detections (N,) by falling score and how many true boxes (C,) each class has."""
    values = [class_ap(true[labels == c], int(n)) for c, n in enumerate(truths) if n > 0]
    return float(np.mean(values)) if values else None


def _best(iou: Floats) -> tuple[Floats, Ints]:
    """The largest value of each row (N,) and where it is (N,)."""
    if not iou.shape[1]:
        return np.zeros(len(iou)), np.zeros(len(iou), dtype=np.int64)
    return iou.max(axis=1), iou.argmax(axis=1)
