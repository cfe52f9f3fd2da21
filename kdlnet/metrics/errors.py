"""What was found, missed and called for nothing, at the score with the best F1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from kdlnet.metrics.confusion import confusion_matrix
from kdlnet.metrics.curves import Curves, Ranking, curves_of, rank
from kdlnet.metrics.matching import MATCH_IOU, Match, match
from kdlnet.metrics.result import ImageResult, Ints
from kdlnet.metrics.verdict import DEFAULT_SCORE


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """Boxes at one score: ``true`` and ``false`` ones, and ``missed`` true boxes, at ``iou``."""

    score: float
    iou: float
    true: int
    false: int
    missed: int

    def to_dict(self) -> dict[str, Any]:
        """Builtins, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Errors:
    """``matches`` of each image and ``confusion`` (C + 1, C + 1) of all at the operating point.

    ``ranking`` has all detections, those below it, too; the ``curves`` are drawn from it.
    """

    ranking: Ranking
    curves: Curves
    operating_point: OperatingPoint
    matches: list[Match]
    confusion: Ints

    @property
    def best_scores(self) -> dict[str, float]:
        """The score with the best F1 by class; classes that have none are left out."""
        return {c.name: c.best.score for c in self.curves.per_class if c.best is not None}


def find_errors(results: Sequence[ImageResult], names: Sequence[str]) -> Errors:
    """Errors at the score with the best F1 over all classes of these results."""
    ranking = rank(results, len(names), MATCH_IOU)
    measured = curves_of(ranking, names, MATCH_IOU)
    score = measured.overall.best.score if measured.overall.best else DEFAULT_SCORE
    matches = [match(result, MATCH_IOU, score) for result in results]
    point = OperatingPoint(
        score,
        MATCH_IOU,
        true=sum(len(found.true) for found in matches),
        false=sum(len(found.false) for found in matches),
        missed=sum(len(found.missed) for found in matches),
    )
    confusion = confusion_matrix(results, matches, len(names), MATCH_IOU)
    return Errors(ranking, measured, point, matches, confusion)
