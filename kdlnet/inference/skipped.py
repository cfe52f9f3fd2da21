"""What was left out of a prediction, and how a Python program hears of it."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from kdlnet.errors import DataError
from kdlnet.events import Listener, Message
from kdlnet.images.frame import Frame
from kdlnet.images.sources import Source
from kdlnet.utils.words import counted

UNREADABLE = "UNREADABLE"
"""In the place of a verdict: of a part that nobody has seen."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """An image, or a frame, that could not be read: one line for people.

    ``name``, ``index`` and ``timestamp`` are those that its Prediction would have; of a video that
    cannot be opened or ends too early, those of the first frame that is missing. ``after`` counts
    the images of the same call that come before it.
    """

    reason: str
    name: str
    index: int = 0
    after: int = 0
    timestamp: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON values in the place of what ``Prediction.to_dict`` gives."""
        return {
            "name": self.name,
            "stem": None,
            "index": self.index,
            "timestamp": None if self.timestamp is None else round(self.timestamp, 3),
            "size": None,
            "verdict": UNREADABLE,
            "why": self.reason,
            "boxes": [],
            "seconds": {},
        }


class Skips:
    """Hears what could not be read: tells ``on_event`` its place among the images, or raises it."""

    def __init__(self, strict: bool, on_event: Listener) -> None:
        self._strict = strict
        self._on_event = on_event
        self._reasons: list[str] = []
        self._images = 0
        self._passed, self._tell_at = 0, 1

    def hear(self, error: DataError, name: str, index: int, timestamp: float | None) -> None:
        """An OnProblem. Raises ``error`` with ``strict``."""
        if self._strict:
            raise error
        self._reasons.append(str(error))
        self._on_event(Skipped(str(error), name, index, self._images, timestamp))

    def placed(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """``frames``, counted as they come. Raises DataError with ``strict`` for one that was
        passed over."""
        for frame in frames:
            self._images += 1
            if frame.passed:
                self._tell_passed(frame)
            yield frame

    def _tell_passed(self, frame: Frame) -> None:
        """At the first, and each time that they have become ten times as many."""
        self._passed += frame.passed
        line = (
            f"{frame.name!r} sends more than can be looked at in time: "
            f"{self._passed} of {counted(frame.index + 1, 'frame')} were passed over"
        )
        if self._strict:
            raise DataError(line)
        if self._passed >= self._tell_at:
            self._tell_at = 10 * self._passed
            self._on_event(Message(line, "warning"))

    def end(self, source: Source, may_be_none: bool) -> None:
        """Raises DataError where nothing of ``source`` could be read, unless there ``may_be_none``.

        That a stream ended is told: a sender that was lost looks like one that is done.
        """
        if not (self._images or may_be_none):
            more = f" ({len(self._reasons) - 1} more)" if len(self._reasons) > 1 else ""
            reason = self._reasons[0] if self._reasons else f"{source.title} gave none"
            raise DataError(f"no image could be read: {reason}{more}")
        if source.kind == "stream":
            frames = counted(self._images + len(self._reasons) + self._passed, "frame")
            passed = f", {self._passed} of them passed over" if self._passed else ""
            line = f"stream {source.name!r} ended after {frames}{passed}"
            self._on_event(Message(line, "warning"))


class SkippedWarning(UserWarning):
    """An image was skipped. Told each time: Python tells the same line of a program but once."""


warnings.simplefilter("always", SkippedWarning, append=True)


def warn_user(event: object) -> None:
    """A listener that tells what was skipped as Python warnings, at the program's own line."""
    if isinstance(event, Skipped):
        _warn(f"skipped: {event.reason}", SkippedWarning)
    elif isinstance(event, Message) and event.level == "warning":
        _warn(event.text)


def _warn(text: str, kind: type[UserWarning] = UserWarning) -> None:
    """Warns of the line that called the package, however deep in it this is."""
    frame, level = sys._getframe(), 1
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == "kdlnet":
        frame, level = frame.f_back, level + 1
    warnings.warn(text, kind, stacklevel=level)
