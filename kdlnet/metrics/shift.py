"""Scores of two detectors on the same boxes: why a threshold does not carry over.

Two detectors of equal AP can score very differently, because AP knows only the order of the scores.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from kdlnet.metrics.intervals import ROUNDS, draw_weights, group_numbers, reach_of
from kdlnet.metrics.matching import MATCH_IOU, assign, class_iou, ranked
from kdlnet.metrics.result import Floats, ImageResult, Ints
from kdlnet.metrics.verdict import Scores, VerdictRule

_SMALL = 0.02
_FEW = 0.05  # of the finds; more that come or go at the same thresholds are a shift of some class


@dataclass(frozen=True, slots=True)
class ScoreShift:
    """B against A on the true boxes that both find at IoU 0.5, whatever the score.

    ``mean`` (B minus A) has the interval ``low`` to ``high``, ``quartiles`` are those of the same
    differences; ``reason`` says why there is none. ``thresholds_a`` are A's by class name. At
    ``thresholds_b`` B finds as many true boxes as A at its own: classes to which A gives one
    threshold share one of B, and of such it is the nearest to A's (None where B never finds so
    many). ``found_a`` and ``found_b`` are at these, as are the false calls; those of B are None
    where a threshold is. ``carried`` and ``carried_false`` are what B finds and calls at A's.
    """

    boxes: int
    mean: float | None
    low: float | None
    high: float | None
    quartiles: tuple[float, float, float] | None
    thresholds_a: dict[str, float]
    thresholds_b: dict[str, float | None]
    found_a: int
    found_b: int | None
    false_a: int
    false_b: int | None
    carried: int
    carried_false: int
    reason: str | None = None

    @property
    def threshold_a(self) -> float:
        """The lowest of A."""
        return min(self.thresholds_a.values())

    @property
    def threshold_b(self) -> float | None:
        """That of B for the classes with the lowest of A."""
        return self.thresholds_b[min(self.thresholds_a, key=self.thresholds_a.__getitem__)]

    @property
    def never(self) -> str:
        """Where B finds as many as A at no threshold, "" for nowhere."""
        without = sum(threshold is None for threshold in self.thresholds_b.values())
        if not without:
            return ""
        if without < len(self.thresholds_b):
            classes = f"{without} of {len(self.thresholds_b)} classes"
            return f"of {classes} it finds as many boxes as A at no threshold"
        return f"at no threshold does it find the {self.found_a} boxes that A finds"

    @property
    def words(self) -> str:
        """What that means for a threshold, in one or two sentences."""
        if self.mean is None:
            return f"no common scores: {self.reason}"
        never = self.never and f"; {self.never}"
        side = f"{abs(self.mean):.3f} {'higher' if self.mean > 0 else 'lower'} than A"
        if abs(self.mean) < 0.0005:
            side = "as A does"
        if self.low is None or self.high is None:
            return f"B scores the same boxes {side}; no interval: {self.reason}{never}"
        interval = f"(95 % interval {self.low:+.3f} to {self.high:+.3f})"
        first = f"B scores the same boxes {side} {interval}"
        small = abs(self.mean) < _SMALL or self.low <= 0 <= self.high
        if small and abs(self.carried - self.found_a) <= max(1, _FEW * self.found_a):
            return f"{first}: no shift that matters{never}"
        if never:
            return f"{first}{never}"
        at, needs = (scores_of(of.values()) for of in (self.thresholds_a, self.thresholds_b))
        name = "threshold" if len(set(self.thresholds_a.values())) == 1 else "thresholds"
        return (
            f"{first}. At A's {name} {at} it finds {self.carried} boxes where "
            f"A finds {self.found_a}; for as many it needs {needs}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Builtins, ready for JSON."""
        quartiles = None if self.quartiles is None else list(self.quartiles)
        ends = {"threshold_a": self.threshold_a, "threshold_b": self.threshold_b}
        return {**asdict(self), **ends, "quartiles": quartiles, "words": self.words}


def scores_of(thresholds: Iterable[float | None]) -> str:
    """``0.25``, of several ``0.25 to 0.5``: all digits that scores know. A dash for none."""
    known = [np.float32(value) for value in thresholds if value is not None]
    ends = [end(known) for end in (min, max)] if known else []
    texts = (np.format_float_positional(end, trim="-") for end in ends)
    return " to ".join(dict.fromkeys(texts)) or "–"


def score_shift(
    a: Sequence[ImageResult],
    b: Sequence[ImageResult],
    rule: VerdictRule,
    names: Sequence[str],
    groups: Sequence[int] | None = None,
    rounds: int = ROUNDS,
    seed: int = 0,
) -> ScoreShift:
    """Compares results of the same images; A's ``rule`` says from where on its boxes count.

    Boxes that are too small for it, true ones too, are passed over on both sides. ``names`` are
    the classes.
    """
    (found_a, false_a), (found_b, false_b) = _scores(a, rule), _scores(b, rule)
    both = (found_a.scores >= 0) & (found_b.scores >= 0)
    gap = (found_b.scores - found_a.scores)[both].astype(np.float64)
    own = [rule.of(label).score for label in range(len(names))]
    thresholds = np.array(own, np.float32)
    needs = np.full(len(names), np.nan, np.float32)
    for threshold in np.unique(thresholds):
        of_a, of_b = (
            found.scores[thresholds[found.labels] == threshold] for found in (found_a, found_b)
        )
        enough = int((of_a >= threshold).sum())
        needs[thresholds == threshold] = _threshold(of_b, enough, threshold)
    group = group_numbers(groups, len(a))
    low, high = _interval(gap, found_a.images[both], group, rounds, seed)
    reason = None if low is not None else "they are of one image or group"
    never = bool(np.isnan(needs).any())
    return ScoreShift(
        boxes=len(gap),
        mean=float(gap.mean()) if len(gap) else None,
        low=low,
        high=high,
        quartiles=_quartiles(gap),
        thresholds_a=dict(zip(names, own, strict=True)),
        thresholds_b=dict(zip(names, map(_plain, needs, own), strict=True)),
        found_a=found_a.reaching(thresholds),
        found_b=None if never else found_b.reaching(needs),
        false_a=false_a.reaching(thresholds),
        false_b=None if never else false_b.reaching(needs),
        carried=found_b.reaching(thresholds),
        carried_false=false_b.reaching(thresholds),
        reason=reason if len(gap) else "no true box is found by both",
    )


def _plain(need: np.float32, own: float) -> float | None:
    """A threshold of B as a number: A's ``own`` where scores cannot tell the two apart."""
    if np.isnan(need):
        return None
    return own if need == np.float32(own) else float(need)


@dataclass(frozen=True, slots=True)
class _Boxes:
    """``scores`` (N,) in the type in which they meet thresholds, with ``labels`` and ``images``."""

    scores: Scores
    labels: Ints
    images: Ints

    @classmethod
    def joined(cls, rows: Sequence[tuple[Floats, Ints]]) -> _Boxes:
        """Of scores and labels, a pair an image."""
        scores = np.concatenate([np.zeros(0), *(scores for scores, _ in rows)])
        labels = np.concatenate([np.zeros(0, np.int64), *(labels for _, labels in rows)])
        images = np.repeat(np.arange(len(rows)), [len(scores) for scores, _ in rows])
        return cls(scores.astype(np.float32), labels, images)

    def reaching(self, thresholds: Scores) -> int:
        """How many reach the threshold of their class (C,)."""
        return int((self.scores >= thresholds[self.labels]).sum())


def _scores(results: Sequence[ImageResult], rule: VerdictRule) -> tuple[_Boxes, _Boxes]:
    """True boxes with the score of what finds them, -1 for nothing, and all false calls.

    Of both those alone that are large enough for the rule; what finds a true box is no false call,
    whatever the size of either.
    """
    finds, false = [], []
    for result in results:
        order = ranked(result)
        found = assign(class_iou(result, order), MATCH_IOU)
        mine, true = rule.large(result)[order], rule.large(result.truth)
        scores = np.full(len(result.truth_labels), -1.0)
        hits = (found >= 0) & mine
        scores[found[hits]] = result.scores[order][hits]
        finds.append((scores[true], result.truth_labels[true]))
        calls = (found < 0) & mine
        false.append((result.scores[order][calls], result.labels[order][calls]))
    return _Boxes.joined(finds), _Boxes.joined(false)


def _threshold(found: Scores, enough: int, near: np.float32) -> np.float32:
    """Of the thresholds at which that many are found (more, of equal scores) the one nearest.

    nan where never so many are.
    """
    most, least = np.float32(np.inf), np.float32(-np.inf)
    scores = np.array([most, *-np.sort(-found[found >= 0]), least], np.float32)
    if enough > len(scores) - 2:
        return np.float32(np.nan)
    lowest = np.nextafter(scores[scores < scores[enough]][0], most)
    return np.float32(min(max(near, lowest), scores[enough]))


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
