"""The operating point: thresholds that meet a requirement on a set of parts.

Only the order of the parts' scores matters, so that every possible verdict is looked at. A limit
is held against the end of the exact interval where the sample is large enough for that, else
against the rate itself. The highest score at which at most k of n parts stay below is an order
statistic: that the interval of k in n ends at the limit is then exact for the parts to come, though
the same parts chose the threshold (Wilks, Annals of Mathematical Statistics 12, 1941). Several
thresholds that were chosen on the same parts hold a limit together as one does at which as many
more parts fail as there are thresholds beside it (Tukey, ibid. 18, 1947).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from kdlnet.errors import DataError
from kdlnet.metrics.binomial import Rate, events_allowed
from kdlnet.metrics.rates import Mask, Parts
from kdlnet.metrics.result import Floats
from kdlnet.metrics.verdict import ClassRule, VerdictRule

LOWEST = 0.001
"""No threshold is lower: a validation looks at no box below it."""
MARGIN = 0.001
"""At most so far a threshold keeps from the scores of the parts, so that fused or exported weights,
whose scores differ by rounding, judge them alike."""

Kind = Literal["recall", "overkill", "cost", "f1"]


@dataclass(frozen=True, slots=True)
class Costs:
    """Of one defective part that is passed and of one good part that is rejected.

    ``defect_rate`` is the share of the parts in production that are defective.
    """

    escape: float
    overkill: float
    defect_rate: float

    def expected(self, missed: Rate, rejected: Rate) -> float:
        """The cost of one part in production, where both rates are known."""
        defective = self.defect_rate * self.escape * (missed.value or 0.0)
        return defective + (1 - self.defect_rate) * self.overkill * (rejected.value or 0.0)


@dataclass(frozen=True)
class Goal:
    """What NG thresholds are chosen for.

    ``recall``: the highest at which ``limit`` of the defective parts are NG. ``overkill``: the
    lowest at which at most ``limit`` of the good parts are NG. ``cost``: the cheapest,
    the lowest of equal ones. ``f1``: the best F1 of boxes.

    One threshold for all classes, or with ``per_class`` one each, for which only boxes of the class
    count: a class answers for its own parts. Classes in ``by_class`` have limits of their own;
    without a ``limit`` the other classes keep their thresholds.
    """

    kind: Kind
    limit: float | None = None
    by_class: dict[str, float] = field(default_factory=dict)
    per_class: bool = False
    costs: Costs | None = None

    @property
    def joint(self) -> bool:
        return not (self.per_class or self.by_class)

    @property
    def whole(self) -> bool:
        """Whether it is for all classes: none keeps its thresholds."""
        return self.limit is not None or not self.by_class


@dataclass(frozen=True, slots=True)
class Unsure:
    """What the lower threshold is chosen for, by one of the two.

    ``recall`` of the defective parts are not passed as OK; or at most ``share`` of the good parts
    go to a person.
    """

    recall: float | None = None
    share: float | None = None


@dataclass(frozen=True, slots=True)
class _Column:
    """What one threshold decides: the scores (n,) of the parts, and who is ``bad`` and ``good``.

    ``labels`` are the classes that share the threshold; ``best_f1`` is the best one for boxes.
    Of what ``whole``, the limit for all, allows of the good parts, the columns with a ``limit`` of
    their own may spend theirs in turn, and ``sharing`` columns what ``others`` leave in equal
    parts. All ``columns`` share what may be UNSURE.
    """

    scores: Floats
    bad: Mask
    good: Mask
    labels: tuple[int, ...]
    name: str
    limit: float | None
    whole: float | None
    others: tuple[float, ...]
    sharing: int
    columns: int
    best_f1: float | None


def choose(
    parts: Parts,
    names: Sequence[str],
    goal: Goal,
    unsure: Unsure | None = None,
    base: VerdictRule | None = None,
    best_f1: Sequence[float | None] = (),
) -> VerdictRule:
    """The rule with new thresholds; sizes, counts and what is not asked for are those of ``base``.

    ``parts`` must be judged by the sizes and counts of ``base``. ``best_f1`` has the score of each
    class and, last, that of all together. Raises DataError where the parts cannot support the
    choice: nobody to judge by, or no threshold that meets the limit.
    """
    base = base or VerdictRule()
    rules = {label: base.of(label) for label in range(len(names))}
    for column in _columns(parts, names, goal, best_f1):
        asked = column.limit is not None or goal.kind in ("cost", "f1")
        score = _score(column, goal) if asked else None
        for label in column.labels:
            rules[label] = _placed(rules[label], score, column, unsure, keep=not goal.whole)
    return VerdictRule(tuple(rules.values()))


def _columns(
    parts: Parts, names: Sequence[str], goal: Goal, best_f1: Sequence[float | None]
) -> Iterator[_Column]:
    scores, good = parts.scores.astype(np.float64), ~parts.defective
    best = best_f1 or [None] * (len(names) + 1)
    if goal.joint:
        whole, labels = scores.max(axis=1), tuple(range(len(names)))
        limit = goal.limit
        yield _Column(whole, ~good, good, labels, "", limit, limit, (), 1, 1, best[-1])
        return
    sharing = sum(name not in goal.by_class for name in names)
    own = [name for name in names if name in goal.by_class]
    for label, name in enumerate(names):
        before = own[: own.index(name)] if name in own else own
        yield _Column(
            scores[:, label],
            parts.shows[:, label],
            good,
            (label,),
            name,
            goal.by_class.get(name, goal.limit),
            goal.limit,
            tuple(goal.by_class[other] for other in before),
            1 if name in own else sharing,
            len(names),
            best[label],
        )


def _score(column: _Column, goal: Goal) -> float:
    """The NG threshold of one column."""
    if goal.kind == "recall":
        return _catching(column, 1 - (column.limit or 0.0))
    if goal.kind == "overkill":
        return _sparing(column, _rejectable(column, goal.by_class.get(column.name)))
    if goal.kind == "cost" and goal.costs is not None:
        return _cheapest(column, goal.costs)
    if column.best_f1 is None:
        raise DataError(f"no box{_of(column)} finds a true one: there is no best F1")
    return column.best_f1


def _placed(
    rule: ClassRule, score: float | None, column: _Column, unsure: Unsure | None, *, keep: bool
) -> ClassRule:
    """The rule with its new NG threshold and the lower one; no UNSURE where it would be empty.

    ``keep`` a lower threshold that is not asked for.
    """
    if score is None and unsure is None:
        return rule
    upper = rule.score if score is None else score
    lower = rule.unsure if keep and rule.unsure is not None else upper
    if unsure is not None and unsure.recall is not None:
        lower = _catching(column, 1 - unsure.recall)
    elif unsure is not None and unsure.share is not None:
        good = column.scores[column.good]
        rejected = int((good >= np.float32(upper)).sum())
        shared = _allowed(len(good), unsure.share, column.columns) // column.columns
        lower = _sparing(column, rejected + shared)
    return replace(rule, score=upper, unsure=lower if lower < upper else None)


def _catching(column: _Column, limit: float) -> float:
    """The highest threshold that so few of the bad parts stay below."""
    bad = np.sort(column.scores[column.bad])
    if not len(bad):
        raise DataError(
            f"no part shows a defect{_of(column)}: no threshold can be chosen by recall"
        )
    for count in (_allowed(len(bad), limit), _by_rate(len(bad), limit)):
        if bad[count] > -np.inf:
            return below(bad[count], column.scores)
    without = int((bad == -np.inf).sum())
    raise DataError(
        f"a recall{_of(column)} of {1 - limit:g} cannot be met: {without} of {len(bad)} defective "
        f"parts have no box{_of(column)} that counts, at any threshold"
    )


def _rejectable(column: _Column, own: float | None) -> int:
    """How many good parts the column may reject: by its own limit, and by what all's leaves."""
    of, counts = int(column.good.sum()), []
    if own is not None:
        counts.append(_allowed(of, own))
    if column.whole is not None:
        spent = sum(_allowed(of, other) for other in column.others)
        left = max(_allowed(of, column.whole, column.columns) - spent, 0)
        counts.append(left // column.sharing)
    return min(counts)


def _sparing(column: _Column, count: int) -> float:
    """The lowest threshold that at most so many of the good parts reach."""
    good = np.sort(column.scores[column.good])[::-1]
    if not len(good):
        raise DataError(
            "no part is good (without a true box): no threshold can be chosen by what happens to "
            "good parts"
        )
    if count >= len(good) or good[count] == -np.inf:
        return LOWEST
    if good[count] == np.inf:
        raise DataError(f"the scores of {count + 1} good parts are no numbers: no threshold is met")
    return _above(good[count], column.scores)


def _cheapest(column: _Column, costs: Costs) -> float:
    """The lowest of the thresholds with the least expected cost."""
    bad, good = column.scores[column.bad], column.scores[column.good]
    if not len(bad) or not len(good):
        raise DataError("costs need defective parts and good ones: give a split that has both")
    cuts = np.unique(column.scores[np.isfinite(column.scores)])
    missed = np.searchsorted(np.sort(bad), [*cuts, np.inf], side="left")
    rejected = len(good) - np.searchsorted(np.sort(good), [*cuts, np.inf], side="left")
    expected = [
        costs.expected(Rate(int(one), len(bad)), Rate(int(two), len(good)))
        for one, two in zip(missed, rejected, strict=True)
    ]
    best = int(np.argmin(expected))
    if best < len(cuts):
        return below(cuts[best], column.scores)
    return _above(cuts[-1], column.scores) if len(cuts) else LOWEST


def _allowed(of: int, limit: float, thresholds: int = 1) -> int:
    """How many of the parts may fail: so few that the interval proves it, else by the rate.

    By so many ``thresholds`` together.
    """
    proved = events_allowed(of, limit)
    if proved is not None and proved >= thresholds - 1:
        return proved - (thresholds - 1)
    return _by_rate(of, limit)


def _by_rate(of: int, limit: float) -> int:
    return min(math.floor(limit * of + 1e-9), of - 1)


def below(score: float, scores: Floats) -> float:
    """A threshold that ``score`` reaches and no lower one of ``scores`` does."""
    low = max(np.max(scores, where=scores < score, initial=-np.inf), min(LOWEST, score))
    high = min(score, 2.0)
    placed = np.float32(high - min((high - low) / 2, MARGIN))
    return float(placed if low < placed <= high else high)


def _above(score: float, scores: Floats) -> float:
    """A threshold that ``score`` does not reach and any higher one of ``scores`` does."""
    high = np.min(scores, where=scores > score, initial=np.inf)
    placed = np.float32(score + min((high - score) / 2, MARGIN))
    return float(placed if score < placed <= high else np.nextafter(np.float32(score), np.inf))


def _of(column: _Column) -> str:
    return f" of {column.name!r}" if column.name else ""
