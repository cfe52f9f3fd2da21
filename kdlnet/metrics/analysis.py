"""Everything that a validation says beyond AP, from one set of results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kdlnet.metrics.intervals import SetIntervals, set_intervals
from kdlnet.metrics.result import ImageResult
from kdlnet.metrics.table import tabulate


@dataclass(frozen=True)
class Analysis:
    """``intervals`` of the figures of average precision, over images or groups."""

    intervals: SetIntervals

    def to_dict(self) -> dict[str, Any]:
        """Builtins, ready for JSON: keys of metrics.json."""
        return {"intervals": self.intervals.to_dict()}


def analyse(
    results: Sequence[ImageResult],
    names: Sequence[str],
    groups: Sequence[int] | None = None,
    max_detections: int = 300,
) -> Analysis:
    """Judges ``results`` for the classes ``names``; images of one group are drawn together."""
    table = tabulate(results, len(names), max_detections)
    return Analysis(intervals=set_intervals(table, names, groups))
