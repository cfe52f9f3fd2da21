"""What is set for the whole process, while several threads ask for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Generic, TypeVar

Before = TypeVar("Before")


class Together(Generic[Before]):
    """A context: the first thread in sets what the process has, the last one out restores it.

    ``change`` gives what was there before, which ``restore`` gets.
    """

    def __init__(self, change: Callable[[], Before], restore: Callable[[Before], object]) -> None:
        self._change, self._restore = change, restore
        self._lock = Lock()
        self._inside: list[Before] = []  # for each thread that is in, what the first one found

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            self._inside.append(self._inside[0] if self._inside else self._change())
        try:
            yield
        finally:
            with self._lock:
                before = self._inside.pop()
                if not self._inside:
                    self._restore(before)
