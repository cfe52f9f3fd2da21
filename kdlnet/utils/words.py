"""Words for people, on the screen and in the lines of reports."""

from __future__ import annotations

import math

_MOST_DIGITS = 6  # of a percentage
_SAME = 1e-9  # shares that differ by less are one that was rounded


def counted(count: int, one: str, many: str = "") -> str:
    """``1 box``, ``0 boxes``."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def percent(share: float | None, digits: int = 1) -> str:
    """0.03246 -> ``3.2 %``; the halves go up, as in the browser. A dash for None and nan."""
    if share is None or math.isnan(share):
        return "–"
    return f"{_units(share, digits) / 10**digits:.{digits}f} %"


def decimals(share: float, digits: int = 1) -> str:
    """0.03246 -> ``0.032``: what :func:`percent` says with so many digits, not in percent."""
    return f"{_units(share, digits) / 10 ** (digits + 2):.{digits + 2}f}"


def _units(share: float, digits: int) -> int:
    """Of the last digit that is shown of the percentage."""
    return math.floor(share * 10.0 ** (digits + 2) + 0.5)


def digits_of(limit: float, *shares: float) -> int:
    """How many digits after the point ``limit`` has as a percentage: 1 to 4, 0.0025 -> 2.

    More, up to 6, where they tell one of ``shares`` from it: 0.01 and 0.0104 -> 2.
    """
    digits = max(1, len(f"{100 * limit:.4f}".rstrip("0").partition(".")[2]))
    apart = [share for share in shares if abs(share - limit) > _SAME]
    while digits < _MOST_DIGITS and any(
        percent(share, digits) == percent(limit, digits) for share in apart
    ):
        digits += 1
    return digits
