"""Whether a set of parts meets a requirement, and whether it proves it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, get_args

from kdlnet.errors import ConfigError, unknown
from kdlnet.metrics.binomial import Rate, parts_needed
from kdlnet.metrics.operating_point import Goal, Kind, Unsure
from kdlnet.metrics.rates import PartRates, VerdictReport
from kdlnet.utils.parse import check_number


@dataclass(frozen=True, slots=True)
class Check:
    """``rate`` has to be ``limit`` at ``least``, or else at most.

    ``met`` looks at the rate itself, ``proved`` at the end of its interval; both are None where no
    part tells. Several ``thresholds`` that the same parts chose fit them better than one: the
    interval is then that of as many more failures as there are thresholds beside the first.
    """

    what: str
    rate: Rate
    limit: float
    least: bool
    thresholds: int = 1

    @property
    def met(self) -> bool | None:
        value = self.rate.value
        if value is None:
            return None
        return value >= self.limit if self.least else value <= self.limit

    @property
    def proved(self) -> bool | None:
        return None if self.rate.value is None else self._end(self.thresholds - 1) <= self._failing

    @property
    def needed(self) -> int | None:
        """Parts that prove it if none of them fails; None where no number does."""
        return parts_needed(self._failing, self.thresholds - 1)

    @property
    def _failing(self) -> float:
        return 1 - self.limit if self.least else self.limit

    def _end(self, more: int = 0) -> float:
        """Where the interval of the failures ends, of so many more than were seen."""
        failed = self.rate.of - self.rate.count if self.least else self.rate.count
        return Rate(min(failed + more, self.rate.of), self.rate.of).high

    def to_dict(self) -> dict[str, Any]:
        """Builtins, ready for JSON."""
        return {
            "what": self.what,
            "at": "least" if self.least else "most",
            "limit": self.limit,
            **self.rate.to_dict(),
            "met": self.met,
            "proved": self.proved,
            "needed": self.needed,
        }

    def __str__(self) -> str:
        wanted = f"at {'least' if self.least else 'most'} {self.limit:g}"
        return f"{self.what}: {self.rate.told(self.limit)}; {wanted} is {self._judged()}"

    def _judged(self) -> str:
        if self.rate.value is None:
            return "not to be known: no such part"
        if not self.met:
            return "NOT MET"
        if self.proved:
            return "met and proved"
        if self.needed is None:
            return "met, and no sample proves it"
        if self.rate.of < self.needed:
            return f"met, NOT PROVED: it takes {self.needed} parts without a failure"
        if self._end() <= self._failing:
            return f"met, NOT PROVED: these parts chose {self.thresholds} thresholds, ask others"
        return "met, NOT PROVED: the interval holds worse"


def require_possible(goal: Goal, unsure: Unsure | None, names: Sequence[str]) -> None:
    """Raises ConfigError for values out of range and for classes that are not in ``names``."""
    if goal.kind not in get_args(Kind):
        raise ConfigError(unknown("goal", str(goal.kind), get_args(Kind)))
    for name in goal.by_class:
        if name not in names:
            raise ConfigError(unknown("class", name, names))
    limits = [value for value in (goal.limit, *goal.by_class.values()) if value is not None]
    if goal.kind in ("recall", "overkill"):
        for value in limits:
            _share(goal.kind, value, goal.kind == "recall")
        for name, value in goal.by_class.items():
            if goal.kind == "overkill" and goal.limit is not None and value > goal.limit:
                raise ConfigError(
                    f"overkill {value} of {name!r}: at most {goal.limit}, which is that for all"
                )
        if not limits:
            raise ConfigError(f"no limit for the {goal.kind}: give a share of the parts")
    elif limits:
        raise ConfigError(
            f"limit {limits[0]} of the goal {goal.kind!r}, which takes none: leave it out, or name "
            "the goal recall or overkill"
        )
    if goal.kind == "cost":
        if goal.costs is None:
            raise ConfigError(
                "no costs for the goal 'cost': give Costs(escape, overkill, defect_rate)"
            )
        if goal.per_class:
            raise ConfigError("a cost is that of a whole part: leave --per-class out")
        _share("defect rate", goal.costs.defect_rate, False)
        for name in ("escape", "overkill"):
            value = getattr(goal.costs, name)
            check_number(f"cost {name}", value, lambda cost: 0 <= cost < inf, "0 or more")
    elif goal.costs is not None:
        raise ConfigError(f"costs belong to the goal cost, not to {goal.kind!r}: leave them out")
    if unsure is not None:
        if not isinstance(unsure, Unsure):
            raise ConfigError(f"unsure {unsure!r} is no Unsure(recall) or Unsure(share=...)")
        if (unsure.recall is None) == (unsure.share is None):
            raise ConfigError("unsure takes a recall or a share, one of the two")
        if unsure.recall is not None:
            _share("unsure recall", unsure.recall, True)
        if unsure.share is not None:
            _share("unsure share", unsure.share, False)


def _share(name: str, value: float, above: bool) -> None:
    if above:
        check_number(name, value, lambda share: 0 < share <= 1, "above 0, up to 1")
    else:
        check_number(name, value, lambda share: 0 <= share < 1, "0 or more, below 1")


def checks(
    goal: Goal, unsure: Unsure | None, found: VerdictReport, *, chosen: bool = False
) -> list[Check]:
    """What was asked for, held against rates; a cost and an F1 ask for no rate.

    ``chosen``: the thresholds were chosen on the parts that were judged.
    """
    thresholds = len(found.per_class) if chosen and not goal.joint else 1
    return [
        *_of_goal(goal, found, thresholds),
        *([] if unsure is None else _of_unsure(unsure, found.overall, thresholds)),
    ]


def _of_goal(goal: Goal, found: VerdictReport, thresholds: int) -> Iterator[Check]:
    rates, limit = found.overall, goal.limit
    if goal.kind == "recall":
        if limit is not None:
            yield Check(
                "recall (defective parts that are NG)", rates.caught, limit, True, thresholds
            )
        for name, of_class in found.per_class.items():
            own = goal.by_class.get(name, None if goal.joint else limit)
            if own is not None:
                yield Check(f"recall of {name!r}", of_class.caught, own, True)
    if goal.kind == "overkill":
        if limit is not None:
            yield Check(
                "overkill (good parts that are NG)", rates.overkill, limit, False, thresholds
            )
        for name, own in goal.by_class.items():
            yield Check(f"overkill by {name!r}", found.per_class[name].overkill, own, False)


def _of_unsure(unsure: Unsure, found: PartRates, thresholds: int) -> Iterator[Check]:
    if unsure.recall is not None:
        escape = found.escape
        kept = Rate(escape.of - escape.count, escape.of)
        what = "defective parts that are NG or UNSURE"
        yield Check(what, kept, unsure.recall, True, thresholds)
    if unsure.share is not None:
        asked = Rate(found.good["UNSURE"], found.overkill.of)
        yield Check("good parts that are UNSURE", asked, unsure.share, False, thresholds)
