"""How sure a figure is: the bootstrap over images, or over groups of them.

Whole images are drawn with replacement, all of a group together, and the figures of each drawn set
are counted in a table that was matched once (:mod:`~kdlnet.metrics.table`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from scipy.special import expit, logit
from scipy.stats import t as student

from kdlnet.metrics.binomial import LEVEL
from kdlnet.metrics.result import Floats, Ints
from kdlnet.metrics.table import FIGURES, Table, figures_by_class, mean_over_classes

ROUNDS = 1000
_EDGE = (1 - LEVEL) / 2
_FEW = 5  # groups: with a class in eight of 50 images the spread of the mean tells enough


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its 95 % interval, or None for what is not defined and why in ``reason``."""

    value: float | None
    low: float | None
    high: float | None
    reason: str | None = None

    def reaching(self, below: float, above: float) -> Interval:
        """The same with ends at least so far from the figure, in [0, 1]."""
        if self.value is None or self.low is None or self.high is None:
            return self
        low, high = max(self.value - below, 0.0), min(self.value + above, 1.0)
        return replace(self, low=min(self.low, low), high=max(self.high, high))

    def widened(self, below: float, above: float) -> Interval:
        """The same with ends that lie so much further out, in [0, 1]."""
        if self.low is None or self.high is None:
            return self
        low, high = max(self.low - below, 0.0), min(self.high + above, 1.0)
        return replace(self, low=float(low), high=float(high))

    def to_dict(self) -> dict[str, Any]:
        """Builtins, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class FigureIntervals:
    """``figures`` by name (``FIGURES``) and the true ``boxes`` in ``images`` of ``groups``."""

    figures: dict[str, Interval]
    boxes: int
    images: int
    groups: int

    def to_dict(self) -> dict[str, Any]:
        """Builtins, ready for JSON: the figures beside what they rest on."""
        figures = {name: value.to_dict() for name, value in self.figures.items()}
        return {**figures, "boxes": self.boxes, "images": self.images, "groups": self.groups}


@dataclass(frozen=True, slots=True)
class SetIntervals:
    """Intervals of one set: over all classes and of each.

    ``images`` and ``groups`` count the whole set, those in ``overall`` and ``per_class`` what has
    true boxes.
    """

    overall: FigureIntervals
    per_class: dict[str, FigureIntervals]
    images: int
    groups: int
    rounds: int

    def to_dict(self) -> dict[str, Any]:
        """Builtins, ready for JSON."""
        return {
            "level": LEVEL,
            "rounds": self.rounds,
            "images": self.images,
            "groups": self.groups,
            "overall": self.overall.to_dict(),
            "per_class": {name: value.to_dict() for name, value in self.per_class.items()},
        }


def group_numbers(groups: Sequence[int] | None, images: int) -> Ints:
    """The group of each image as an array; None: every image is its own."""
    return np.arange(images) if groups is None else np.asarray(groups, dtype=np.int64)


def generator(seed: int, index: int) -> np.random.Generator:
    """Random numbers of one round: of the seed and its number alone."""
    return np.random.Generator(np.random.Philox(key=np.array([seed, index], np.uint64)))


def draw_weights(groups: Ints, rounds: int, seed: int = 0) -> Floats:
    """How often each image counts in each round: (rounds, images) from a number an image.

    As many groups are drawn with replacement as there are, the images of one together. A round
    depends on ``seed`` and its number alone.
    """
    number, group = np.unique(groups, return_inverse=True)
    copies = np.empty((rounds, len(number)))
    share = np.full(len(number), 1 / max(1, len(number)))
    for index in range(rounds if len(number) else 0):
        copies[index] = generator(seed, index).multinomial(len(number), share)
    return copies[:, group]


def support(truths: Ints, group: Ints) -> tuple[int, int, int]:
    """Boxes, and the images and groups that they are in."""
    having = truths > 0
    return int(truths.sum()), int(having.sum()), len(np.unique(group[having]))


def set_intervals(
    table: Table,
    names: Sequence[str],
    groups: Sequence[int] | None = None,
    rounds: int = ROUNDS,
    seed: int = 0,
) -> SetIntervals:
    """Figures of one set with 95 % intervals, over all classes and of each.

    The interval is symmetric in the log odds of the figure: standard error of the bootstrap,
    Student's t with as many degrees of freedom as the class has groups with true boxes, less one
    (over all classes after Welch and Satterthwaite). In small sets the percentile interval is too
    short and sits too high, since AP is biased upwards; this one covers what it says from some 40
    images on, and never leaves [0, 1]. A class whose true boxes are in one group may be anywhere,
    which widens the interval over all classes by what that is of the mean. Where one lies in two to
    five, that interval is no shorter than the classes' own make it, as if each had images of its
    own (Zou and Donner, Statistics in Medicine 27, 2008): in few groups a class is often right, or
    wrong, in every round, and the spread of the mean knows nothing of it.

    A figure of 0 or 1 in every round tells no spread: its other end is where a rate would lie of
    which each of the groups is one exact trial (Clopper and Pearson 1934).
    """
    group = group_numbers(groups, len(table.truths))
    whole = figures_by_class(table, np.ones((1, len(group))))
    drawn = figures_by_class(table, draw_weights(group, rounds, seed))
    rests_on = [support(truths, group) for truths in table.truths.T]
    per_class = {
        name: FigureIntervals(_intervals(whole[0, c], drawn[:, c], rests_on[c][2]), *rests_on[c])
        for c, name in enumerate(names)
    }
    everything = support(table.truths.sum(axis=1), group)
    sizes = np.array([found[2] for found in rests_on])
    overall = _intervals(
        mean_over_classes(whole)[0],
        mean_over_classes(drawn),
        everything[2],
        mean_freedom(drawn, sizes),
    )
    below, above = single_reach(whole[0], sizes, 0.0, 1.0)
    overall = {
        name: found.reaching(*_class_reach(per_class.values(), name)).widened(below[i], above[i])
        for i, (name, found) in enumerate(overall.items())
    }
    count = len(np.unique(group))
    return SetIntervals(FigureIntervals(overall, *everything), per_class, len(group), count, rounds)


def interval(value: float, drawn: Floats, groups: int, freedom: float | None = None) -> Interval:
    """The 95 % interval of a share from its values in the rounds (R,), nan where there was none.

    It rests on that many ``groups``; ``freedom`` is one less unless given. See
    :func:`set_intervals`.
    """
    freedom = groups - 1.0 if freedom is None else freedom
    if groups == 0:
        return Interval(None, None, None, "no true box")
    if groups == 1:
        return Interval(value, None, None, "it rests on one image or group")
    if not 0 < value < 1:
        bound = _EDGE ** (1 / groups)
        low, high = (bound, 1.0) if value >= 1 else (0.0, 1 - bound)
        return Interval(value, float(low), float(high))
    reach = reach_of(drawn, freedom) / (value * (1 - value))
    middle = logit(value)
    return Interval(value, float(expit(middle - reach)), float(expit(middle + reach)))


def reach_of(drawn: Floats, freedom: float) -> float:
    """Half a 95 % interval from values in the rounds (R,), nan where there was none.

    Student's t times their standard error, with so many degrees of freedom.
    """
    known = drawn[~np.isnan(drawn)]
    error = float(known.std()) * math.sqrt((freedom + 1) / freedom) if len(known) else 0.0
    return float(student.ppf(1 - _EDGE, freedom)) * error


def _intervals(
    value: Floats, drawn: Floats, groups: int, freedom: Floats | None = None
) -> dict[str, Interval]:
    """From figures (5,), those of each round (R, 5) and degrees of freedom (5,)."""
    free = np.full(len(FIGURES), groups - 1.0) if freedom is None else freedom
    return {
        name: interval(float(value[i]), drawn[:, i], groups, float(free[i]))
        for i, name in enumerate(FIGURES)
    }


def _class_reach(classes: Iterable[FigureIntervals], name: str) -> tuple[float, float]:
    """How much lower and higher a mean over classes can be by the intervals of each.

    The root of the sum of squares; 0 where none lies in few groups. A class without an interval
    adds nothing, see :func:`single_reach`.
    """
    having = [one for one in classes if one.groups]
    if not any(1 < one.groups <= _FEW for one in having):
        return 0.0, 0.0
    found = [one.figures[name] for one in having]
    known = [
        (one.value - one.low, one.high - one.value)
        for one in found
        if one.value is not None and one.low is not None and one.high is not None
    ]
    below, above = zip(*known, strict=True)
    return math.hypot(*below) / len(found), math.hypot(*above) / len(found)


def mean_freedom(drawn: Floats, groups: Ints) -> Floats:
    """Welch and Satterthwaite's degrees of freedom (5,) of a mean over classes.

    From figures of each round (R, C, 5) and the groups with true boxes of each class (C,).
    """
    use = groups > 1
    known = ~np.isnan(drawn[:, use])
    count = np.maximum(known.sum(axis=0), 1)
    values = np.where(known, drawn[:, use], 0.0)
    mean = values.sum(axis=0) / count
    variance = np.where(known, (values - mean) ** 2, 0.0).sum(axis=0) / count
    parts = np.sum(variance**2 / (groups[use] - 1.0)[:, None], axis=0)
    most = float(max(1, groups.max(initial=1) - 1))
    free: Floats = np.full(len(parts), most)
    np.divide(variance.sum(axis=0) ** 2, parts, out=free, where=parts > 0)
    return free


def single_reach(figures: Floats, groups: Ints, least: float, most: float) -> tuple[Floats, Floats]:
    """How much lower and higher (5,) a mean over classes can be for classes of one group.

    From figures (C, 5) that lie in [least, most] and the groups with true boxes of each class (C,).
    The rounds tell nothing of such a class, since it counts the same in each: it may be anywhere.
    """
    single, classes = groups == 1, max(1, int((groups > 0).sum()))
    found = figures[single]
    return (found - least).sum(axis=0) / classes, (most - found).sum(axis=0) / classes
