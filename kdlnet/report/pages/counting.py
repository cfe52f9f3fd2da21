"""Boxes counted at the thresholds of a rule: what the browser counts again when they move."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kdlnet.metrics.result import ImageResult
from kdlnet.metrics.verdict import VerdictRule
from kdlnet.report.pages.evidence import Boxes, pool


@dataclass(frozen=True, slots=True)
class BoxCounts:
    """True boxes that were ``found`` or ``missed``, and ``extra`` detections, that found none."""

    found: int
    missed: int
    extra: int

    def __add__(self, other: BoxCounts) -> BoxCounts:
        pairs = (self.found + other.found, self.missed + other.missed, self.extra + other.extra)
        return BoxCounts(*pairs)

    @property
    def f1(self) -> float | None:
        """The harmonic mean of precision and recall; None without a true box."""
        if not self.found + self.missed:
            return None
        return 2 * self.found / (2 * self.found + self.missed + self.extra)


def count_boxes(boxes: Boxes, rule: VerdictRule, classes: int) -> list[BoxCounts]:
    """One a class. Scores and thresholds meet in float32."""
    upper = np.array([rule.of(label).score for label in range(classes)], np.float32)
    finder = boxes.finder.astype(np.float32) >= upper[boxes.truth_label]
    called = boxes.score.astype(np.float32) >= upper[boxes.label]
    false = called & (boxes.found < 0)
    found = np.bincount(boxes.truth_label[finder], minlength=classes).tolist()
    missed = np.bincount(boxes.truth_label[~finder], minlength=classes).tolist()
    extra = np.bincount(boxes.label[false], minlength=classes).tolist()
    return [BoxCounts(*row) for row in zip(found, missed, extra, strict=True)]


def count_all(results: Sequence[ImageResult], rule: VerdictRule, classes: int) -> BoxCounts:
    """Those of all classes together."""
    counts = count_boxes(pool(results, rule.lowest), rule, classes)
    return sum(counts, BoxCounts(0, 0, 0))
