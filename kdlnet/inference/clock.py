"""Times of calls and of the stages in them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

STAGES = ("decode", "preprocess", "infer", "postprocess")
"""From the bytes of a file to boxes."""


@dataclass(frozen=True)
class Timing:
    """Milliseconds a call, over all calls: none is left out as an outlier."""

    mean: float
    p50: float
    p95: float
    p99: float
    largest: float


def timing(milliseconds: Sequence[float]) -> Timing:
    """Mean and percentiles (linear between the two nearest) of all values."""
    values = np.asarray(milliseconds, np.float64)
    p50, p95, p99 = (float(value) for value in np.percentile(values, (50, 95, 99)))
    return Timing(float(values.mean()), p50, p95, p99, float(values.max()))


class Laps:
    """Milliseconds by stage; each lap begins where the one before ended, or at ``skip``."""

    def __init__(self, stages: Sequence[str] = STAGES) -> None:
        self.spent = dict.fromkeys(stages, 0.0)
        self.skip()

    def skip(self) -> None:
        """What was done since the last lap belongs to no stage."""
        self._mark = time.perf_counter()

    def end(self, stage: str) -> None:
        now = time.perf_counter()
        self.spent[stage] += 1e3 * (now - self._mark)
        self._mark = now
