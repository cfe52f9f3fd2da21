"""Parts that were passed, rejected or left to a person: rates with exact intervals.

A part is one image. It is defective when its true boxes ask for it by the same rule that judges
predictions, their score aside: a rule that tolerates small boxes tolerates small truths, too.
Every class and every threshold is judged from one table (:class:`Parts`), so that other thresholds,
lots or resamples cost no new look at the boxes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdlnet.metrics.binomial import LEVEL, Rate, clopper_pearson, parts_needed, provable
from kdlnet.metrics.result import ImageResult
from kdlnet.metrics.verdict import VERDICTS, Scores, Verdict, VerdictRule
from kdlnet.utils.words import counted

OK, UNSURE = VERDICTS.index("OK"), VERDICTS.index("UNSURE")
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Parts:
    """What a rule has to judge: ``scores`` (n, C) and which classes each part ``shows`` (n, C).

    Scores are those of :meth:`VerdictRule.part_scores`. Only the least area, length and count of
    the rule went into both, none of its thresholds.
    """

    scores: Scores
    shows: Mask

    @property
    def defective(self) -> Mask:
        """(n,)"""
        return np.asarray(self.shows.any(axis=1))

    def __getitem__(self, rows: Mask) -> Parts:
        return Parts(self.scores[rows], self.shows[rows])


def tabulate_parts(results: Sequence[ImageResult], rule: VerdictRule, classes: int) -> Parts:
    """One row an image, in their order."""
    scores = [rule.part_scores(result.judged, classes) for result in results]
    shown = [rule.part_scores(result.truth, classes) for result in results]
    table = np.array(scores, np.float32).reshape(-1, classes)
    return Parts(table, np.isfinite(np.array(shown, np.float32).reshape(-1, classes)))


Counts = dict[Verdict, int]


@dataclass(frozen=True, slots=True)
class PartRates:
    """Verdicts on ``defective`` and on ``good`` parts, counted."""

    defective: Counts
    good: Counts

    @property
    def escape(self) -> Rate:
        """Defective parts that were passed as OK."""
        return Rate(self.defective["OK"], sum(self.defective.values()))

    @property
    def caught(self) -> Rate:
        """Defective parts that are NG: the recall of parts."""
        return Rate(self.defective["NG"], sum(self.defective.values()))

    @property
    def overkill(self) -> Rate:
        """Good parts that were rejected as NG."""
        return Rate(self.good["NG"], sum(self.good.values()))

    @property
    def unsure(self) -> Rate:
        """Parts, good or not, that a person has to look at."""
        both = self.defective["UNSURE"] + self.good["UNSURE"]
        return Rate(both, sum(self.defective.values()) + sum(self.good.values()))

    def to_dict(self) -> dict[str, Any]:
        rates = {"escape": self.escape, "overkill": self.overkill, "unsure": self.unsure}
        counts = {"defective": dict(self.defective), "good": dict(self.good)}
        return {**{name: rate.to_dict() for name, rate in rates.items()}, **counts}


@dataclass(frozen=True)
class VerdictReport:
    """Rates of one rule on one set of parts.

    ``per_class`` judges the parts that show a class: they escape when they are passed as OK,
    whatever box of whatever class would have caught them. Its good parts are all good ones, and
    NG among these only where boxes of this class alone ask for it; UNSURE likewise, where no other
    class rejects the part. ``per_lot`` is empty where no
    lots were given.
    """

    rule: dict[str, Any]
    overall: PartRates
    per_class: dict[str, PartRates]
    per_lot: dict[str, PartRates]

    @property
    def unknown(self) -> dict[str, str]:
        """Why a rate cannot be known, by rate."""
        reasons = {
            "escape": "no image shows a defect, so that none could be passed",
            "overkill": "no image is a good part (without a true box), so that none could be "
            "rejected",
        }
        rates = {"escape": self.overall.escape, "overkill": self.overall.overkill}
        return {name: reasons[name] for name, rate in rates.items() if not rate.of}

    @property
    def sample(self) -> dict[str, Any]:
        """What so many parts could prove at best; ``needed`` counts parts without an event."""
        found = {"escape": self.overall.escape, "overkill": self.overall.overkill}
        return {
            "level": LEVEL,
            "parts": {name: rate.of for name, rate in found.items()},
            "bound_at_zero": {
                name: clopper_pearson(0, rate.of)[1] if rate.of else None
                for name, rate in found.items()
            },
            "needed": {str(limit): parts_needed(limit) for limit in (0.05, 0.01, 0.005, 0.001)},
        }

    def to_dict(self) -> dict[str, Any]:
        """Builtins, ready for JSON."""
        return {
            "rule": self.rule,
            "overall": self.overall.to_dict(),
            "per_class": {name: rates.to_dict() for name, rates in self.per_class.items()},
            "per_lot": {name: rates.to_dict() for name, rates in self.per_lot.items()},
            "unknown": self.unknown,
            "sample": self.sample,
        }

    def lines(self) -> list[str]:
        """The same for people, a line a rate, and what the sample can prove."""
        return [
            f"escape (defective part passed): {self._told('escape')}",
            f"overkill (good part rejected): {self._told('overkill')}",
            *self._blind(),
            *([f"unsure: {self.overall.unsure}"] if self.overall.unsure.count else []),
            *self._proofs(),
        ]

    def _told(self, name: str) -> str:
        reason = self.unknown.get(name)
        return f"not known: {reason}" if reason else str(getattr(self.overall, name))

    def _blind(self) -> Iterable[str]:
        """A line for a rule that no image here tells from one that rejects all."""
        caught = self.overall.caught
        if caught.of and caught.count == caught.of and not self.overall.overkill.of:
            yield (
                "every image is NG: a rule that rejects every part does as well here; add good "
                "parts, without which nobody can tell"
            )

    def _proofs(self) -> Iterable[str]:
        kinds = {"escape": "defective", "overkill": "good"}
        for name, kind in kinds.items():
            rate: Rate = getattr(self.overall, name)
            if rate.of:
                parts = counted(rate.of, f"{kind} part")
                bound = provable(rate.of)
                yield (
                    f"{parts} can prove at best {name} below {bound:g} (without one); "
                    f"below 0.010 takes {parts_needed(0.01)}"
                )


def measure(
    results: Sequence[ImageResult],
    rule: VerdictRule,
    names: Sequence[str],
    lots: Sequence[str] | None = None,
) -> VerdictReport:
    """Judges every image; ``lots`` names the lot of each."""
    parts = tabulate_parts(results, rule, len(names))
    return VerdictReport(
        rule.to_dict(names),
        count_verdicts(parts, rule),
        {name: _of_class(parts, rule, label) for label, name in enumerate(names)},
        {
            lot: count_verdicts(parts[np.array([one == lot for one in lots])], rule)
            for lot in sorted(set(lots))
        }
        if lots is not None
        else {},
    )


def count_verdicts(parts: Parts, rule: VerdictRule) -> PartRates:
    """The verdicts on all parts."""
    found = rule.judge(parts.scores)
    return PartRates(_counts(found[parts.defective]), _counts(found[~parts.defective]))


def _of_class(parts: Parts, rule: VerdictRule, label: int) -> PartRates:
    alone = np.full_like(parts.scores, -np.inf)
    alone[:, label] = parts.scores[:, label]
    verdicts, own = rule.judge(parts.scores), rule.judge(alone)
    own[(own == UNSURE) & (verdicts != UNSURE)] = OK  # another class rejects it: nobody looks
    return PartRates(_counts(verdicts[parts.shows[:, label]]), _counts(own[~parts.defective]))


def _counts(verdicts: NDArray[np.int64]) -> Counts:
    counted = np.bincount(verdicts, minlength=len(VERDICTS)).tolist()
    return dict(zip(VERDICTS, counted, strict=True))
