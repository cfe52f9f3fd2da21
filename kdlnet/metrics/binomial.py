"""A rate of parts and its exact interval, and what so many parts can prove."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass

from scipy.special import betaincinv

from kdlnet.utils.words import decimals, digits_of

LEVEL = 0.95
"""Of every interval, of rates and of figures."""


def clopper_pearson(count: int, of: int, level: float = LEVEL) -> tuple[float, float]:
    """The exact two-sided interval of a rate (Clopper and Pearson, Biometrika 26, 1934).

    ``count`` of ``of`` were seen; (0, 1) when ``of`` is 0.
    """
    tail = (1 - level) / 2
    low = 0.0 if count == 0 else float(betaincinv(count, of - count + 1, tail))
    high = 1.0 if count == of else float(betaincinv(count + 1, of - count, 1 - tail))
    return low, high


def provable(of: int) -> float:
    """The least limit that ``of`` parts without an event prove, rounded up to two digits."""
    bound = clopper_pearson(0, of)[1]
    unit = 10.0 ** (math.floor(math.log10(bound)) - 1)
    return float(f"{math.ceil(bound / unit) * unit:.2g}")


def parts_needed(limit: float, events: int = 0, level: float = LEVEL) -> int | None:
    """How many parts with so many events bound its rate by ``limit``; None when none are enough.

    >>> parts_needed(0.01), clopper_pearson(0, 368)[1] <= 0.01 < clopper_pearson(0, 367)[1]
    (368, True)
    """
    if limit <= 0:
        return None
    if limit >= 1:
        return 0
    # Of n parts without an event the interval ends where (1 - limit) ** n is one tail.
    low = math.ceil(math.log((1 - level) / 2) / math.log1p(-limit))

    def enough(of: int) -> bool:
        return of > events and clopper_pearson(events, of, level)[1] <= limit

    high = low
    while events and not enough(high):
        high *= 2
    return bisect_left(range(high), True, lo=low, key=enough) if events else low


def events_allowed(of: int, limit: float, level: float = LEVEL) -> int | None:
    """The most events in ``of`` parts whose interval ends at ``limit`` or below; None when none."""
    low, high = -1, of  # the end rises with the count: halve the range
    while low < high:
        middle = (low + high + 1) // 2
        if clopper_pearson(middle, of, level)[1] <= limit:
            low = middle
        else:
            high = middle - 1
    return None if low < 0 or not of else low


@dataclass(frozen=True, slots=True)
class Rate:
    """``count`` of ``of`` parts; ``low`` and ``high`` are the ends of the exact 95 % interval.

    Without parts the rate is not known: ``value`` is None and the interval is all of [0, 1].
    """

    count: int
    of: int

    @property
    def value(self) -> float | None:
        return self.count / self.of if self.of else None

    @property
    def low(self) -> float:
        return clopper_pearson(self.count, self.of)[0]

    @property
    def high(self) -> float:
        return clopper_pearson(self.count, self.of)[1]

    def to_dict(self) -> dict[str, float | None]:
        """Builtins; ``rate``, ``low`` and ``high`` are None without parts."""
        known = self.value is not None
        ends = {"low": self.low if known else None, "high": self.high if known else None}
        return {"count": self.count, "of": self.of, "rate": self.value, **ends}

    def digits(self, limit: float | None = None) -> int:
        """Of the share and its ends as percentages: so many as tell them from ``limit``.

        And so many that what is not 0 does not look like it, the share or else its high end, and a
        share below 1 not like 1.
        """
        value = self.value or 0.0
        told = [digits_of(0.0, value or self.high), digits_of(1.0, value)]
        if limit is not None:
            told.append(digits_of(limit, self.low, value, self.high))
        return max(told)

    def shares(self, limit: float | None = None) -> tuple[str, str, str]:
        """Low end, share (0 without parts) and high end with :meth:`digits`: ``0.032``."""
        digits = self.digits(limit)
        low, share, high = (decimals(v, digits) for v in (self.low, self.value or 0.0, self.high))
        return low, share, high

    def told(self, limit: float | None = None) -> str:
        """The share, its counts and its interval."""
        if self.value is None:
            return "not known"
        low, share, high = self.shares(limit)
        return f"{share} ({self.count} of {self.of}; 95 % interval {low} to {high})"

    def __str__(self) -> str:
        return self.told()
