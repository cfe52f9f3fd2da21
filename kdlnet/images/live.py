"""Frames of a source that does not wait: read as they come, passed over where the reader lags."""

from __future__ import annotations

import atexit
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from threading import Condition, Thread, current_thread

from kdlnet.errors import DataError
from kdlnet.images.frame import Frame, OnProblem

LATE = 1.0
"""Seconds that a frame may wait: a burst is judged whole, and no verdict is of long ago."""
_MOST_BYTES = 256 * 2**20  # of the pixels that may wait
_LEAVE = 1.0  # seconds for a reader to end, so that its camera is free for the next one


Read = Callable[[OnProblem], Generator[Frame | None, None, None]]
"""Frames; None where none came for a while."""


def as_they_come(read: Read, on_problem: OnProblem) -> Iterator[Frame]:
    """The frames of ``read``, which a thread reads however slowly the caller asks for them.

    They wait in order. Once one has waited for LATE seconds, or those that wait take 256 MiB, the
    newest comes next and those before it are passed over, until the caller has caught up: nothing
    else waits then. A Frame's ``passed`` counts those before it. What ``on_problem`` gets, and
    what ``read`` raises, comes in its turn.

    The thread alone iterates ``read`` and closes it, at what comes next after the caller has left:
    nothing that it reads from may be released meanwhile.
    """
    waiting = _Waiting()
    reader = Thread(target=waiting.fill, args=(read,), daemon=True)
    _running[reader] = waiting
    reader.start()
    try:
        while (entry := waiting.take()) is not None:
            if isinstance(entry, Frame):
                yield entry
            else:
                on_problem(entry.error, entry.name, entry.index, entry.timestamp)
    finally:
        waiting.close()
        if reader is not current_thread():  # where it collects garbage, an abandoned caller
            reader.join(_LEAVE)


@dataclass(frozen=True, slots=True)
class _Problem:
    """What an OnProblem gets."""

    error: DataError
    name: str
    index: int
    timestamp: float | None


class _Waiting:
    """What one thread has read and another one has not yet taken."""

    def __init__(self) -> None:
        self._entries: deque[tuple[float, Frame | _Problem]] = deque()  # with the time they came
        self._changed = Condition()
        self._frames, self._bytes = 0, 0
        self._passed = 0  # since the last one that was taken
        self._behind = False
        self._over = False
        self._failure: Exception | None = None

    def fill(self, read: Read) -> None:
        """Reads until nothing more comes, or until closed."""
        try:
            with closing(read(lambda *problem: self._put(_Problem(*problem)))) as frames:
                for frame in frames:
                    if frame is not None:
                        self._put(frame)
                    if self._over:
                        return
        except Exception as error:
            self._failure = error
        finally:
            self.close()
            del _running[current_thread()]

    def close(self) -> None:
        """Nothing more comes, or nobody takes it."""
        with self._changed:
            self._over = True
            self._changed.notify()

    def take(self) -> Frame | _Problem | None:
        """The next one, None at the end. Waits for it; raises what the reading raised."""
        with self._changed:
            self._changed.wait_for(lambda: self._entries or self._over)
            if self._frames and time.monotonic() - self._since() > LATE:
                self._behind = True
            self._behind &= self._passed > 0 or self._frames > 1
            if self._behind:
                self._pass_over()
            if not self._entries:
                if self._failure is not None:
                    raise self._failure
                return None
            _, entry = self._entries.popleft()
            if isinstance(entry, Frame):
                self._count(entry, -1)
                entry, self._passed = replace(entry, passed=self._passed), 0
            return entry

    def _since(self) -> float:
        """When the oldest frame came."""
        return next(at for at, entry in self._entries if isinstance(entry, Frame))

    def _put(self, entry: Frame | _Problem) -> None:
        with self._changed:
            self._entries.append((time.monotonic(), entry))
            if isinstance(entry, Frame):
                self._count(entry, 1)
                if self._bytes > _MOST_BYTES:
                    self._behind = True
                    self._pass_over()
            self._changed.notify()

    def _pass_over(self) -> None:
        """Takes all frames but the newest out; problems stay."""
        kept = []
        while self._frames > 1:
            at, entry = self._entries.popleft()
            if isinstance(entry, Frame):
                self._count(entry, -1)
                self._passed += 1
            else:
                kept.append((at, entry))
        self._entries.extendleft(reversed(kept))

    def _count(self, frame: Frame, sign: int) -> None:
        self._frames += sign
        self._bytes += sign * frame.image.nbytes


_running: dict[Thread, _Waiting] = {}


@atexit.register
def _end_all() -> None:
    """A thread that is inside OpenCV when the interpreter goes would abort the process."""
    for reader, waiting in list(_running.items()):
        waiting.close()
        reader.join()
