"""Everything that a validation says beyond AP, from one set of results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kdlnet.metrics.breakdown import Breakdown, breakdown, sort_errors
from kdlnet.metrics.calibration import Calibration, calibration
from kdlnet.metrics.errors import Errors
from kdlnet.metrics.froc import Froc, froc
from kdlnet.metrics.image_level import ImageLevel, image_level
from kdlnet.metrics.intervals import SetIntervals, set_intervals
from kdlnet.metrics.matching import MATCH_IOU
from kdlnet.metrics.pod import Pod, pod
from kdlnet.metrics.result import ImageResult
from kdlnet.metrics.suspects import Suspects, find_suspects
from kdlnet.metrics.table import tabulate
from kdlnet.ops.arrays import box_area


@dataclass(frozen=True)
class Analysis:
    """``intervals`` of the figures of average precision, over images or groups.

    ``pod`` and ``pod_per_class`` take a true box for found as the operating point does, whose score
    is also that of ``breakdown`` and ``suspects``.
    """

    intervals: SetIntervals
    froc: Froc
    image_level: ImageLevel
    pod: Pod
    pod_per_class: dict[str, Pod]
    calibration: Calibration
    breakdown: Breakdown
    suspects: Suspects

    def to_dict(self) -> dict[str, Any]:
        """Builtins, ready for JSON: keys of metrics.json."""
        per_class = {name: found.to_dict() for name, found in self.pod_per_class.items()}
        return {
            "intervals": self.intervals.to_dict(),
            "froc": self.froc.to_dict(),
            "image_level": self.image_level.to_dict(),
            "pod": {"overall": self.pod.to_dict(), "per_class": per_class},
            "calibration": self.calibration.to_dict(),
            "breakdown": self.breakdown.to_dict(),
            "suspicious_labels": self.suspects.to_dict(),
        }


def analyse(
    results: Sequence[ImageResult],
    names: Sequence[str],
    errors: Errors,
    groups: Sequence[int] | None = None,
    mm_per_pixel: float | None = None,
) -> Analysis:
    """Judges ``results`` for the classes ``names`` at the operating point of their ``errors``.

    Images of one group are drawn together.
    """
    table = tabulate(results, len(names))
    sorted_errors = [sort_errors(result, MATCH_IOU) for result in results]
    score = errors.operating_point.score
    overall, per_class = _pods(results, names, errors, mm_per_pixel)
    return Analysis(
        intervals=set_intervals(table, names, groups),
        froc=froc(errors.ranking, names, groups),
        image_level=image_level(results, groups),
        pod=overall,
        pod_per_class=per_class,
        calibration=calibration(errors.ranking, names, MATCH_IOU),
        breakdown=breakdown(results, sorted_errors, len(names), score),
        suspects=find_suspects(results, sorted_errors, names, score),
    )


def _pods(
    results: Sequence[ImageResult],
    names: Sequence[str],
    errors: Errors,
    mm_per_pixel: float | None,
) -> tuple[Pod, dict[str, Pod]]:
    """POD of all true boxes and of each class, from the matches at the operating point."""
    sizes, labels, hits = [np.zeros(0)], [np.zeros(0, np.int64)], [np.zeros(0, bool)]
    for result, match in zip(results, errors.matches, strict=True):
        sizes.append(np.sqrt(box_area(result.truth_boxes)))
        labels.append(result.truth_labels)
        hits.append(np.isin(np.arange(len(result.truth_boxes)), match.found))
    size, label, hit = (np.concatenate(parts) for parts in (sizes, labels, hits))
    per_class = {
        name: pod(size[label == c], hit[label == c], mm_per_pixel) for c, name in enumerate(names)
    }
    return pod(size, hit, mm_per_pixel), per_class
