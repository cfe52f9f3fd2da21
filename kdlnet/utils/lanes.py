"""The same work on one thing after another, by several threads, answered in the order given."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Given = TypeVar("Given")
Made = TypeVar("Made")

MOST_LANES = 8
"""Beyond them what Python does between the calls of a network is the limit."""


def in_turn(
    work: Callable[[Given], Made],
    things: Iterable[Given],
    lanes: int,
    size: Callable[[Given], int] = lambda thing: 0,
    most: int = 0,
) -> Iterator[Made]:
    """``work`` of each of ``things``, up to ``lanes`` at once, each in a thread; in their order.

    One more is taken ahead, but of things whose sizes add up to more than ``most`` no other. With
    one lane there is no thread. An error of ``things`` comes after what was made of those before.
    """
    if lanes == 1:
        yield from map(work, things)
        return
    pending: deque[tuple[int, Future[Made]]] = deque()
    failure: Exception | None = None
    left = iter(things)
    pool = ThreadPoolExecutor(lanes)
    try:
        while failure is None:
            try:
                thing = next(left)
            except StopIteration:
                break
            except Exception as error:
                failure = error
            else:
                pending.append((size(thing), pool.submit(work, thing)))
                del thing  # or it would be held while the caller looks at others
            while len(pending) > lanes or sum(each for each, _ in pending) > most:
                yield pending.popleft()[1].result()
        while pending:
            yield pending.popleft()[1].result()
    finally:
        pool.shutdown(cancel_futures=True)
    if failure is not None:
        raise failure
