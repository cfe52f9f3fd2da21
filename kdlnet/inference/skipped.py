"""What was left out of a prediction, and how a Python program hears of it."""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass
from typing import Any

from kdlnet.events import Message

UNREADABLE = "UNREADABLE"
"""In the place of a verdict: of a part that nobody has seen."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that could not be read, or a video that ends too early: one line for people.

    ``name`` is the file of an image, at ``index`` in its source; None for a video, whose frames
    before have answers.
    """

    reason: str
    name: str | None = None
    index: int = 0

    def to_dict(self) -> dict[str, Any]:
        """JSON values in the place of what ``Prediction.to_dict`` gives."""
        return {
            "name": self.name,
            "stem": None,
            "index": self.index,
            "timestamp": None,
            "size": None,
            "verdict": UNREADABLE,
            "why": self.reason,
            "boxes": [],
            "seconds": {},
        }


def warn_user(event: object) -> None:
    """A listener that tells what was skipped as Python warnings, at the program's own line."""
    if isinstance(event, Skipped):
        _warn(f"skipped: {event.reason}")
    elif isinstance(event, Message) and event.level == "warning":
        _warn(event.text)


def _warn(text: str) -> None:
    """Warns of the line that called the package, however deep in it this is."""
    frame, level = sys._getframe(), 1
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == "kdlnet":
        frame, level = frame.f_back, level + 1
    warnings.warn(text, stacklevel=level)
