"""Scores of two detectors on the same boxes: why a threshold does not carry over.

Two detectors of equal AP can score very differently, because AP knows only the order of the scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from kdlnet.metrics.intervals import ROUNDS, draw_weights, group_numbers, reach_of
from kdlnet.metrics.matching import assign, class_iou, ranked
from kdlnet.metrics.result import Floats, ImageResult, Ints

_SMALL = 0.02


@dataclass(frozen=True, slots=True)
class ScoreShift:
    """B against A on the true boxes that both find at IoU 0.5, whatever the score.

    ``mean`` (B minus A) has the interval ``low`` to ``high``, ``quartiles`` are those of the same
    differences. ``threshold_b`` finds as many true boxes as A at ``threshold_a``, and of such
    thresholds is the nearest to that (None where B never finds so many); ``found_a`` and
    ``found_b`` are at these, as are the false calls. ``carried`` and ``carried_false`` are what B
    finds and calls at A's threshold. ``reason`` says why the interval, or a threshold, is None.
    """

    boxes: int
    mean: float | None
    low: float | None
    high: float | None
    quartiles: tuple[float, float, float] | None
    threshold_a: float
    threshold_b: float | None
    found_a: int
    found_b: int | None
    false_a: int
    false_b: int | None
    carried: int
    carried_false: int
    reason: str | None = None

    @property
    def words(self) -> str:
        """What that means for a threshold, in one or two sentences."""
        if self.mean is None:
            return f"no common scores: {self.reason}"
        side = f"{abs(self.mean):.3f} {'higher' if self.mean > 0 else 'lower'} than A"
        if abs(self.mean) < 0.0005:
            side = "as A does"
        if self.low is None or self.high is None:
            return f"B scores the same boxes {side}; no interval: {self.reason}"
        interval = f"(95 % interval {self.low:+.3f} to {self.high:+.3f})"
        first = f"B scores the same boxes {side} {interval}"
        if abs(self.mean) < _SMALL or self.low <= 0 <= self.high:
            return f"{first}: no shift that matters"
        if self.threshold_b is None and self.reason is not None:
            return f"{first}; no threshold for B: {self.reason}"
        if self.threshold_b is None:
            return f"{first}; at no threshold does it find the {self.found_a} boxes that A finds"
        return (
            f"{first}. At A's threshold {self.threshold_a:.3f} it finds {self.carried} boxes where "
            f"A finds {self.found_a}; for as many it needs {self.threshold_b:.3f}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Builtins, ready for JSON."""
        quartiles = None if self.quartiles is None else list(self.quartiles)
        return {**asdict(self), "quartiles": quartiles, "words": self.words}


def score_shift(
    a: Sequence[ImageResult],
    b: Sequence[ImageResult],
    threshold_a: float,
    groups: Sequence[int] | None = None,
    rounds: int = ROUNDS,
    seed: int = 0,
) -> ScoreShift:
    """Compares results of the same images; ``threshold_a`` is where A's boxes count."""
    (found_a, false_a), (found_b, false_b) = _scores(a), _scores(b)
    images = np.repeat(np.arange(len(a)), [len(result.truth_labels) for result in a])
    both = (found_a >= 0) & (found_b >= 0)
    gap = (found_b - found_a)[both]
    enough = int((found_a >= threshold_a).sum())
    threshold_b = _threshold(found_b, enough, threshold_a)
    group = group_numbers(groups, len(a))
    low, high = _interval(gap, images[both], group, rounds, seed)
    reason = None if low is not None else "they are of one image or group"
    return ScoreShift(
        boxes=len(gap),
        mean=float(gap.mean()) if len(gap) else None,
        low=low,
        high=high,
        quartiles=_quartiles(gap),
        threshold_a=threshold_a,
        threshold_b=threshold_b,
        found_a=enough,
        found_b=None if threshold_b is None else int((found_b >= threshold_b).sum()),
        false_a=int((false_a >= threshold_a).sum()),
        false_b=None if threshold_b is None else int((false_b >= threshold_b).sum()),
        carried=int((found_b >= threshold_a).sum()),
        carried_false=int((false_b >= threshold_a).sum()),
        reason=reason if len(gap) else "no true box is found by both",
    )


def _scores(results: Sequence[ImageResult]) -> tuple[Floats, Floats]:
    """Score of the find of each true box, -1 for none, and scores of all false calls."""
    finds, false = [np.zeros(0)], [np.zeros(0)]
    for result in results:
        order = ranked(result)
        found = assign(class_iou(result, order), 0.5)
        scores = np.full(len(result.truth_labels), -1.0)
        scores[found[found >= 0]] = result.scores[order][found >= 0]
        finds.append(scores)
        false.append(result.scores[order][found < 0])
    return np.concatenate(finds), np.concatenate(false)


def _threshold(found: Floats, enough: int, near: float) -> float | None:
    """Of the thresholds at which that many are found (more, of equal scores) the one nearest."""
    scores = np.array([np.inf, *-np.sort(-found[found >= 0]), -np.inf])
    if enough > len(scores) - 2:
        return None
    lowest = np.nextafter(scores[enough + 1], np.inf)
    return float(min(max(near, lowest), scores[enough]))


def _quartiles(gap: Floats) -> tuple[float, float, float] | None:
    if not len(gap):
        return None
    first, second, third = np.quantile(gap, [0.25, 0.5, 0.75]).tolist()
    return first, second, third


def _interval(
    gap: Floats, images: Ints, group: Ints, rounds: int, seed: int
) -> tuple[float | None, float | None]:
    """The mean and Student's t times its standard error over rounds in which groups are drawn."""
    freedom = len(np.unique(group[images])) - 1
    if freedom < 1:
        return None, None
    weights = draw_weights(group, rounds, seed)[:, images]
    count = weights.sum(axis=1)
    drawn = (weights @ gap)[count > 0] / count[count > 0]
    reach = reach_of(drawn, freedom)
    return float(gap.mean() - reach), float(gap.mean() + reach)
