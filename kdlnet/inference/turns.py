"""Measuring in turns: A B A B, so that a machine that changes its speed changes it for all."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from kdlnet.inference.clock import Timing, timing

Call = Callable[[int], tuple[dict[str, float], list[NDArray[Any]]]]
"""Call number n: milliseconds by stage, and boxes (N, 4) in pixels of each original image."""

MOST_IMAGES = 256
"""So many images are read to measure with, and at most so many are in one call."""
_WINDOW = 10  # calls whose medians are compared
_ALIKE = 0.05  # two medians that differ by less are one speed
_LONGEST = 10.0  # seconds of warming up; a machine that changes all the time never settles


@dataclass(frozen=True)
class Workload:
    """How to measure: ``calls`` calls of ``batch`` images, in ``rounds`` that take turns.

    Before them ``warmup`` others; None: as many as it takes until their times no longer change.
    """

    batch: int = 1
    calls: int = 200
    rounds: int = 5
    warmup: int | None = None

    @property
    def turns(self) -> list[int]:
        """Calls of each round, one at least."""
        rounds = min(self.rounds, self.calls)
        return [self.calls * (n + 1) // rounds - self.calls * n // rounds for n in range(rounds)]


@dataclass(frozen=True)
class Spread:
    """One figure over several rounds."""

    median: float
    smallest: float
    largest: float


def spread(values: Sequence[float]) -> Spread:
    """Median, smallest and largest of ``values``, of which there is at least one."""
    return Spread(statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class Warmth:
    """The ``first`` call, and the ``calls`` after it until times were ``settled`` (None: told)."""

    first: dict[str, float]
    calls: int
    settled: bool | None


@dataclass
class Rows:
    """Milliseconds by stage of each call, by round, and how many boxes came of all."""

    rounds: list[list[dict[str, float]]] = field(default_factory=list)
    boxes: int = 0

    @property
    def stages(self) -> dict[str, Timing]:
        """Over all calls: none is left out as an outlier."""
        every = [row for rows in self.rounds for row in rows]
        return {stage: timing([row[stage] for row in every]) for stage in every[0]}

    def medians(self, stage: str = "total") -> list[float]:
        """Milliseconds, by round."""
        return [statistics.median(row[stage] for row in rows) for rows in self.rounds]

    def rates(self, batch: int, stage: str = "total") -> list[float]:
        """Images a second, by round, over whole calls of ``batch`` images."""
        return [
            1e3 * batch * len(rows) / max(sum(row[stage] for row in rows), 1e-9)
            for rows in self.rounds
        ]


def warm_up(call: Call, calls: int | None) -> Warmth:
    """Calls until two windows of ten in a row have medians that differ by less than 5 %.

    The first call of all is apart. After ten seconds it is enough, settled or not.
    """
    first, _ = call(0)
    for number in range(calls or 0):
        call(number + 1)
    if calls is not None:
        return Warmth(first, calls, None)
    done, before, began = 0, 0.0, time.perf_counter()
    while True:
        totals = []
        for _ in range(_WINDOW):
            done += 1
            totals.append(call(done)[0]["total"])
        now = statistics.median(totals)
        settled = abs(now - before) < _ALIKE * now
        if settled or time.perf_counter() - began > _LONGEST:
            return Warmth(first, done, settled)
        before = now


def take_turns(calls: Sequence[Call], turns: Sequence[int]) -> list[Rows]:
    """Each of ``calls`` as often as ``turns`` says, round by round.

    Where there are several, each turn begins with a call that does not count: the one before left
    the processor's caches full of its own.
    """
    rows = [Rows() for _ in calls]
    number = 0
    for count in turns:
        for call, mine in zip(calls, rows, strict=True):
            if len(calls) > 1:
                call(number)
            mine.rounds.append([])
            for each in range(count):
                row, found = call(number + each)
                mine.rounds[-1].append(row)
                mine.boxes += sum(len(image) for image in found)
        number += count
    return rows


def ratios(mine: Rows, first: Rows) -> Spread:
    """How many times as long as a call of ``first`` one of ``mine`` takes, round by round."""
    return spread([a / b for a, b in zip(mine.medians(), first.medians(), strict=True)])
