"""A camera or stream that is lost, opened again until it is back."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import closing

from kdlnet.errors import DataError
from kdlnet.images.capture import Shot

PAUSE = 1.0
"""Seconds between two tries."""

Shots = Generator[Shot, None, None]
"""What one connection gives. Raises DataError where there is none or where it breaks."""


def lasting(
    first: Shots, connect: Callable[[], Shots], seconds: float
) -> Generator[Shot | None, None, None]:
    """The shots of ``first``, and where it is lost those of ``connect()``, again and again.

    A loss comes as a Shot that says why, and None after each try in vain, so that
    who reads may leave. Raises a DataError when none has given an image ``seconds`` after the loss,
    and that of ``first`` where it gives nothing at all. With 0 ``first`` is all.
    """
    connection, given, since = first, False, 0.0  # since when it is lost, 0 while it is not
    while True:
        lost = None
        try:
            with closing(connection):
                for shot in connection:
                    given = True
                    if not shot.why:
                        since = 0.0
                    yield shot
        except DataError as error:
            lost = error
        if not (seconds and given):
            if lost is not None:
                raise lost
            return
        now, why = time.monotonic(), lost or "its sender ended it"
        if not since:
            since = now
            yield Shot(why=f"is lost: {why}")
        elif now - since > seconds:
            raise DataError(f"{why}; it was lost {now - since:.0f} s ago")
        else:
            yield None
        time.sleep(PAUSE)
        connection = connect()
