"""The one rule by which boxes make a part OK, NG or UNSURE, for every verb and every runtime.

Scores and thresholds meet in float32, the type in which a network scores: a box that is kept for
its score is never too low for the verdict by a rounding. A score that is not a number reaches every
threshold, so that a broken network passes no part.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

DEFAULT_SCORE = 0.25
"""From this score on a box counts where neither a person nor the weights say otherwise."""

Verdict = Literal["OK", "UNSURE", "NG"]
VERDICTS: tuple[Verdict, ...] = ("OK", "UNSURE", "NG")

Scores = NDArray[np.float32]


class Found(Protocol):
    """Boxes of one image: (N, 4) xyxy in pixels of the original image, scores (N,), labels (N,)."""

    @property
    def boxes(self) -> NDArray[Any]: ...

    @property
    def scores(self) -> NDArray[Any]: ...

    @property
    def labels(self) -> NDArray[np.int64]: ...


@dataclass(frozen=True, slots=True)
class ClassRule:
    """When boxes of one class make a part NG, and when a person has to look.

    A box counts for NG from ``score`` on and for UNSURE from ``unsure`` on (None: there is no
    UNSURE), if it has ``min_area`` square pixels and a longer side of ``min_length`` pixels of the
    original image. It takes ``min_count`` such boxes. A score above 1 is reached by no box.

    Raises ValueError for values out of range.
    """

    score: float = DEFAULT_SCORE
    unsure: float | None = None
    min_area: float = 0.0
    min_length: float = 0.0
    min_count: int = 1

    def __post_init__(self) -> None:
        for name in ("score", "unsure", "min_area", "min_length", "min_count"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} {value} of a verdict: allowed is 0 or more")
        if self.unsure is not None and self.unsure > self.score:
            raise ValueError(f"unsure from {self.unsure} on, above the score {self.score} of NG")
        if self.min_count != int(self.min_count) or self.min_count < 1:
            raise ValueError(f"min_count {self.min_count} of a verdict: allowed is 1 or more")
        object.__setattr__(self, "min_count", int(self.min_count))

    @property
    def lower(self) -> float:
        """The score from which a box is no longer passed over."""
        return self.score if self.unsure is None else self.unsure

    def to_dict(self) -> dict[str, float]:
        """``score``, and of the rest what is not the default."""
        usual = {field.name: field.default for field in fields(self)}
        return {
            name: value
            for name, value in asdict(self).items()
            if name == "score" or value != usual[name]
        }


@dataclass(frozen=True, slots=True)
class VerdictRule:
    """NG when the boxes of a class ask for it, else UNSURE when some do, else OK.

    ``classes`` has a ClassRule for each label, or a single one that holds for every label, to which
    equal ones are shortened.

    >>> VerdictRule.at(0.4).classes
    (ClassRule(score=0.4, unsure=None, min_area=0.0, min_length=0.0, min_count=1),)
    """

    classes: tuple[ClassRule, ...] = (ClassRule(),)

    def __post_init__(self) -> None:
        if len(set(self.classes)) == 1:
            object.__setattr__(self, "classes", self.classes[:1])

    @classmethod
    def at(cls, score: float) -> VerdictRule:
        """NG from ``score`` on, whatever the class."""
        return cls((ClassRule(score),))

    @classmethod
    def of_weights(cls, thresholds: Mapping[str, Any], names: Sequence[str]) -> VerdictRule:
        """The rule that a file with the classes ``names`` stores as its ``thresholds``.

        It has the keys of a ClassRule, or ``classes`` with such by name; empty means the default.
        Raises ValueError, TypeError or KeyError for what is no rule.
        """
        if "classes" not in thresholds:
            return cls((ClassRule(**thresholds),))
        by_name = thresholds["classes"]
        return cls(tuple(ClassRule(**by_name[name]) for name in names) or (ClassRule(),))

    def to_dict(self, names: Sequence[str]) -> dict[str, Any]:
        """What :meth:`of_weights` reads, as builtins. ``score`` is always there."""
        if len(self.classes) == 1:
            return dict(self.classes[0].to_dict())
        rules = {name: rule.to_dict() for name, rule in zip(names, self.classes, strict=True)}
        return {"score": self.score, "classes": rules}

    def of(self, label: int) -> ClassRule:
        """The rule of one class. Raises IndexError for a label that has none."""
        return self.classes[label if len(self.classes) > 1 else 0]

    @property
    def score(self) -> float:
        """The lowest score that makes a part NG."""
        return min(rule.score for rule in self.classes)

    @property
    def lowest(self) -> float:
        """The lowest score of a box that is not passed over."""
        return min(rule.lower for rule in self.classes)

    @property
    def asks(self) -> bool:
        """Whether a part can be UNSURE."""
        return any(rule.lower < rule.score for rule in self.classes)

    def several(self, labels: Iterable[int]) -> bool:
        """Whether these classes have thresholds of their own."""
        rules = map(self.of, labels)
        return len({(rule.score, rule.lower) for rule in rules}) > 1

    def kept(self, scores: ArrayLike, labels: ArrayLike) -> NDArray[np.bool_]:
        """Which boxes are not passed over, (N,): they reach the lower score of their class."""
        return self._reach(scores, labels, "lower")

    def counting(self, found: Found) -> NDArray[np.bool_]:
        """Which boxes count for a verdict, (N,): of those kept the large ones, ``min_count`` aside.

        They are those whose :meth:`box_verdicts` are not OK.
        """
        return self.kept(found.scores, found.labels) & self.large(found)

    def box_verdicts(self, found: Found) -> list[Verdict]:
        """What each box (N,) says on its own, ``min_count`` aside."""
        unsure = self.counting(found)
        ng = self._reach(found.scores, found.labels, "score") & unsure
        return [VERDICTS[2 if a else int(b)] for a, b in zip(ng, unsure, strict=True)]

    def verdict(self, found: Found) -> Verdict:
        """The verdict on an image with these boxes."""
        if not len(found.scores):
            return VERDICTS[0]
        classes = max(len(self.classes), 1 + int(np.max(found.labels, initial=0)))
        return VERDICTS[int(self.judge(self.part_scores(found, classes)))]

    def part_scores(self, found: Found, classes: int) -> Scores:
        """(C,): the highest threshold of each class at which its boxes still count.

        It is the score of the ``min_count``-th best box that is large enough; -inf where there are
        not so many. Verdicts on an image rest on these numbers alone, see :meth:`judge`.
        """
        scores = _ranked(found.scores)
        large = self.large(found)
        best = np.full(classes, -np.inf, np.float32)
        for label in np.unique(found.labels[large]).tolist():
            count = self.of(label).min_count
            own = np.sort(scores[large & (found.labels == label)])
            if len(own) >= count:
                best[label] = own[-count]
        return best

    def judge(self, part_scores: Scores) -> NDArray[np.int64]:
        """Positions in VERDICTS (...,) for scores of parts (..., C)."""
        upper, lower = (
            np.array([getattr(rule, name) for rule in self.classes], np.float32)
            for name in ("score", "lower")
        )
        ng, unsure = (part_scores >= upper).any(-1), (part_scores >= lower).any(-1)
        return np.where(ng, 2, np.where(unsure, 1, 0)).astype(np.int64)

    def _reach(self, scores: ArrayLike, labels: ArrayLike, name: str) -> NDArray[np.bool_]:
        return np.asarray(_ranked(scores) >= self._column(labels, name).astype(np.float32))

    def _column(self, labels: ArrayLike, name: str) -> NDArray[np.float64]:
        """A number of the rule of each label."""
        values = np.array([getattr(rule, name) for rule in self.classes], np.float64)
        rows = np.asarray(labels, np.int64)
        return values[rows if len(values) > 1 else np.zeros_like(rows)]

    def large(self, found: Found) -> NDArray[np.bool_]:
        """Which boxes (N,) have the least area and length of their class."""
        boxes = np.asarray(found.boxes, np.float64).reshape(-1, 4)
        sides = boxes[:, 2:] - boxes[:, :2]
        area, length = sides.prod(axis=1), sides.max(axis=1, initial=-np.inf)
        small = area < self._column(found.labels, "min_area")
        small |= length < self._column(found.labels, "min_length")
        return np.asarray(~small)


def _ranked(scores: ArrayLike) -> Scores:
    """Scores in the type of a network, those that are no number above all."""
    values = np.asarray(scores, np.float32)
    return np.where(np.isnan(values), np.float32(np.inf), values)
