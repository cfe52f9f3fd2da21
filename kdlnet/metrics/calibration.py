"""Does a score of 0.8 mean that four of five boxes are true?

Reliability diagram and expected calibration error (Guo et al. 2017) of detections, as Küppers et
al. 2020 count them: a box is right when it found a true box.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdlnet.metrics.curves import Ranking
from kdlnet.metrics.matching import MATCH_IOU
from kdlnet.metrics.result import Floats

BINS = 10
FROM_SCORE = 0.1
"""Boxes below are in the diagram but not in the error: there are thousands, all rightly near 0."""


@dataclass(frozen=True, slots=True)
class ScoreBin:
    """Boxes with scores in [``low``, ``high``): mean ``score`` and the share that is ``true``."""

    low: float
    high: float
    boxes: int
    score: float | None
    true: float | None


@dataclass(frozen=True, slots=True)
class Reliability:
    """Of one class or of all. ``ece`` is the mean distance of score and share over the boxes from
    ``FROM_SCORE`` on, ``excess`` the mean of score minus share: above 0 scores promise too much.
    """

    ece: float | None
    excess: float | None
    boxes: int
    reason: str | None
    bins: tuple[ScoreBin, ...]

    def to_dict(self) -> dict[str, Any]:
        """Builtins, ready for JSON."""
        return {**asdict(self), "bins": [asdict(found) for found in self.bins]}


@dataclass(frozen=True, slots=True)
class Calibration:
    """Reliability over all classes and of each, at one IoU."""

    overall: Reliability
    per_class: dict[str, Reliability]
    iou: float

    def to_dict(self) -> dict[str, Any]:
        """Builtins, ready for JSON."""
        return {
            "from_score": FROM_SCORE,
            "iou": self.iou,
            "overall": self.overall.to_dict(),
            "per_class": {name: found.to_dict() for name, found in self.per_class.items()},
        }


def calibration(ranking: Ranking, names: Sequence[str], iou: float = MATCH_IOU) -> Calibration:
    """Reliability of detections that were matched at ``iou``."""
    per_class = {}
    for c, name in enumerate(names):
        mine = ranking.labels == c
        per_class[name] = reliability(ranking.scores[mine], ranking.true[mine])
    return Calibration(reliability(ranking.scores, ranking.true), per_class, iou)


def reliability(scores: Floats, true: NDArray[np.bool_]) -> Reliability:
    """From the score (N,) of each box and whether it is true (N,)."""
    edges = np.linspace(0, 1, BINS + 1)
    place = np.clip(np.searchsorted(edges, scores, side="right") - 1, 0, BINS - 1)
    bins = tuple(
        _bin(edges[b], edges[b + 1], scores[place == b], true[place == b]) for b in range(BINS)
    )
    gaps = [
        (found.boxes, found.score - found.true)
        for found in bins
        if found.score is not None and found.true is not None and found.low >= FROM_SCORE - 1e-9
    ]
    boxes = sum(count for count, _ in gaps)
    if not boxes:
        return Reliability(None, None, 0, f"no box with a score from {FROM_SCORE:g} on", bins)
    ece = sum(count * abs(gap) for count, gap in gaps) / boxes
    return Reliability(ece, sum(count * gap for count, gap in gaps) / boxes, boxes, None, bins)


def _bin(low: float, high: float, scores: Floats, true: NDArray[np.bool_]) -> ScoreBin:
    edges = round(float(low), 9), round(float(high), 9)
    if not len(scores):
        return ScoreBin(*edges, 0, None, None)
    return ScoreBin(*edges, len(scores), float(scores.mean()), float(true.mean()))
