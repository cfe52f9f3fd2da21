"""FROC: the share of defects found against the false calls that each image costs.

After Bunch et al. 1978. The mean over seven rates is the score of the LUNA16 challenge (Setio et
al. 2017); here a rate gives the recall that a threshold really reaches at no more false calls,
without interpolation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kdlnet.metrics.curves import Ranking
from kdlnet.metrics.intervals import ROUNDS, Interval, draw_weights, group_numbers, interval
from kdlnet.metrics.matching import MATCH_IOU
from kdlnet.metrics.result import Floats, Ints
from kdlnet.metrics.table import ClassTable, class_table

RATES = (1 / 8, 1 / 4, 1 / 2, 1.0, 2.0, 4.0, 8.0)
_CURVE = 100  # points of a curve that is drawn, at most


@dataclass(frozen=True, slots=True)
class FrocLine:
    """Of one class, or of all under one threshold.

    ``mean`` recall over ``RATES``, ``recalls`` (7,) at each of them, and ``curve``: corners (false
    calls per image, recall) by falling threshold. None without true boxes.
    """

    mean: Interval
    recalls: tuple[float, ...] | None
    curve: tuple[tuple[float, float], ...]
    boxes: int

    def to_dict(self) -> dict[str, Any]:
        """Builtins, ready for JSON."""
        return {
            "mean": self.mean.to_dict(),
            "recalls": None if self.recalls is None else list(self.recalls),
            "curve": [list(corner) for corner in self.curve],
            "boxes": self.boxes,
        }


@dataclass(frozen=True, slots=True)
class Froc:
    """FROC over all classes and of each; every image counts, good parts too."""

    overall: FrocLine
    per_class: dict[str, FrocLine]
    images: int
    iou: float

    def to_dict(self) -> dict[str, Any]:
        """Builtins, ready for JSON."""
        return {
            "rates": list(RATES),
            "images": self.images,
            "iou": self.iou,
            "overall": self.overall.to_dict(),
            "per_class": {name: line.to_dict() for name, line in self.per_class.items()},
        }


def froc(
    ranking: Ranking,
    names: Sequence[str],
    groups: Sequence[int] | None = None,
    rounds: int = ROUNDS,
    seed: int = 0,
    iou: float = MATCH_IOU,
) -> Froc:
    """FROC of detections that were matched at ``iou``, the means with 95 % intervals."""
    group = group_numbers(groups, len(ranking.truths))
    weights = draw_weights(group, rounds, seed)
    per_class = {
        name: _line(_table(ranking, ranking.labels == c, ranking.truths[:, c]), group, weights)
        for c, name in enumerate(names)
    }
    every = np.ones(len(ranking.labels), dtype=bool)
    overall = _line(_table(ranking, every, ranking.truths.sum(axis=1)), group, weights)
    return Froc(overall, per_class, len(group), iou)


def _table(ranking: Ranking, mine: np.typing.NDArray[np.bool_], truths: Ints) -> ClassTable:
    """Finds and calls; of equal scores, which no threshold parts, the false ones come first."""
    true = ranking.true[mine]
    order = np.lexsort((true, -ranking.scores[mine]))
    return class_table(ranking.images[mine][order], true[None, order], truths)


def _line(table: ClassTable, group: Ints, weights: Floats) -> FrocLine:
    boxes = int(table.truths.sum())
    having = len(np.unique(group[table.truths > 0]))
    if not boxes:
        return FrocLine(Interval(None, None, None, "no true box"), None, (), 0)
    recalls = _recalls(table, np.ones((len(group), 1)))[:, 0]
    drawn = _recalls(table, weights.T).mean(axis=0)
    mean = interval(float(recalls.mean()), drawn, having)
    return FrocLine(mean, tuple(recalls.tolist()), _curve(table, boxes), boxes)


def _recalls(table: ClassTable, weights: Floats) -> Floats:
    """Recall (7, R) at each rate from weights (images, R); nan where no true box was drawn."""
    total = (table.truths @ weights).astype(np.float64)
    found = np.cumsum(weights[table.images], axis=0)
    false = np.cumsum(table.calls @ weights, axis=0) - found
    images = weights.sum(axis=0)
    before = np.concatenate([np.zeros((1, weights.shape[1])), found])
    rows = np.stack([(false <= rate * images + 1e-9).sum(axis=0) for rate in RATES])
    reached = np.take_along_axis(before, rows, axis=0)
    share: Floats = np.divide(reached, total, out=np.full(reached.shape, np.nan), where=total > 0)
    return share


def _curve(table: ClassTable, boxes: int) -> tuple[tuple[float, float], ...]:
    """The last find of each number of false calls, thinned out to what a picture can show."""
    images = len(table.truths)
    found = np.arange(1, len(table.images) + 1)
    false = np.cumsum(np.asarray(table.calls.sum(axis=1))) - found
    corners = np.flatnonzero(np.append(false[1:] > false[:-1], True)[: len(found)])
    if len(corners) > _CURVE:
        corners = corners[np.linspace(0, len(corners) - 1, _CURVE).round().astype(int)]
    return tuple((float(false[i] / images), float(found[i] / boxes)) for i in corners)
