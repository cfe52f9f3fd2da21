"""Whether a set of parts meets a requirement, and whether it proves it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kdlnet.metrics.operating_point import Goal, Unsure
from kdlnet.metrics.rates import PartRates, Rate, VerdictReport, parts_needed


@dataclass(frozen=True, slots=True)
class Check:
    """``rate`` has to be ``limit`` at ``least``, or else at most.

    ``met`` looks at the rate itself, ``proved`` at the end of its interval; both are None where no
    part tells.
    """

    what: str
    rate: Rate
    limit: float
    least: bool

    @property
    def met(self) -> bool | None:
        value = self.rate.value
        if value is None:
            return None
        return value >= self.limit if self.least else value <= self.limit

    @property
    def proved(self) -> bool | None:
        if self.rate.value is None:
            return None
        return self.rate.low >= self.limit if self.least else self.rate.high <= self.limit

    @property
    def needed(self) -> int | None:
        """Parts that prove it if none of them fails; None where no number does."""
        return parts_needed(1 - self.limit if self.least else self.limit)

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
        return f"{self.what}: {self.rate}; {wanted} is {self._judged()}"

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
        return "met, NOT PROVED: the interval holds worse"


def checks(goal: Goal, unsure: Unsure | None, found: VerdictReport) -> list[Check]:
    """What was asked for, held against rates; a cost and an F1 ask for no rate."""
    return [*_of_goal(goal, found), *([] if unsure is None else _of_unsure(unsure, found.overall))]


def _of_goal(goal: Goal, found: VerdictReport) -> Iterator[Check]:
    if goal.kind == "recall":
        if goal.limit is not None:
            yield Check(
                "recall (defective parts that are NG)", found.overall.caught, goal.limit, True
            )
        for name, rates in found.per_class.items():
            limit = goal.by_class.get(name, None if goal.joint else goal.limit)
            if limit is not None:
                yield Check(f"recall of {name!r}", rates.caught, limit, True)
    if goal.kind == "overkill":
        if goal.limit is not None:
            yield Check(
                "overkill (good parts that are NG)", found.overall.overkill, goal.limit, False
            )
        for name, limit in goal.by_class.items():
            yield Check(f"overkill by {name!r}", found.per_class[name].overkill, limit, False)


def _of_unsure(unsure: Unsure, found: PartRates) -> Iterator[Check]:
    if unsure.recall is not None:
        escape = found.escape
        kept = Rate(escape.of - escape.count, escape.of)
        yield Check("defective parts that are NG or UNSURE", kept, unsure.recall, True)
    if unsure.share is not None:
        asked = Rate(found.good["UNSURE"], found.overkill.of)
        yield Check("good parts that are UNSURE", asked, unsure.share, False)
