"""Words for people, on the screen and in the lines of reports."""

from __future__ import annotations


def counted(count: int, one: str, many: str = "") -> str:
    """``1 box``, ``0 boxes``."""
    return f"{count} {one if count == 1 else many or one + 's'}"
