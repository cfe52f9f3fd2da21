"""OpenCV without lines of its own: the errors here say the same in one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import cv2

_set_level = getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel  # from 4.13 on
_lock = threading.Lock()
_inside, _before = 0, 0  # threads that are in, and the level that the first one found


@contextmanager
def quiet() -> Iterator[None]:
    """While any thread is in, OpenCV logs nothing; the last one out restores the level."""
    global _inside, _before
    with _lock:
        if not _inside:
            _before = _set_level(0)
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                _set_level(_before)
