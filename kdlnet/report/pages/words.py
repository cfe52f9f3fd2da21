"""Figures and names as a page shows them; templates/judge.js says the same in its own tongue."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

_LONGEST = 160
_DIGITS_OF_A_SCORE = 9  # of a float32


def figure(value: float | None, digits: int = 3) -> str:
    """0.66991 -> ``0.670``; a dash for None and nan."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def told_apart(score: float, others: Iterable[float], digits: int = 3) -> str:
    """``score`` with as many digits, ``digits`` or more, as tell it from each of ``others``.

    Scores and thresholds meet in float32: what is equal there is equal.
    """
    apart = [other for other in others if np.float32(other) != np.float32(score)]
    while digits < _DIGITS_OF_A_SCORE and any(
        f"{v:.{digits}g}" == f"{score:.{digits}g}" for v in apart
    ):
        digits += 1
    return f"{score:.{digits}g}"


def counted(count: int, one: str, many: str = "") -> str:
    """``1 part``, ``no parts``, ``12,345 parts``."""
    if count == 1:
        return f"1 {one}"
    return f"{f'{count:,}' if count else 'no'} {many or one + 's'}"


def visible(text: str) -> str:
    """``text`` with what has no picture as an escape, cut in the middle where it is very long.

    Control characters, marks that turn the direction of writing and bytes that are no UTF-8 are
    nothing that a name should do to a page.
    """
    shown = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
    if len(shown) <= _LONGEST:
        return shown
    half = _LONGEST // 2
    return f"{shown[:half]}…{shown[-half:]}"


def common_folder(names: Sequence[str]) -> str:
    """The longest folder, with its last slash, that all ``names`` lie in; "" for none."""
    folders = [name.rpartition("/")[0] for name in names]
    if not folders:
        return ""
    first, last = min(folders).split("/"), max(folders).split("/")
    shared = 0
    while shared < min(len(first), len(last)) and first[shared] == last[shared]:
        shared += 1
    return "/".join(first[:shared]) + "/" if any(first[:shared]) else ""
