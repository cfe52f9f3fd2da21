"""How many threads a network may use, where torch is not there to say it."""

from __future__ import annotations

import os
from pathlib import Path

_SIBLINGS = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"


def usable_threads() -> int:
    """OMP_NUM_THREADS, else the cores that this process may run on; two threads of one count once.

    That is what torch does, too.
    """
    told = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    if told.isdigit() and int(told):
        return int(told)
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    return len({_core(number) for number in os.sched_getaffinity(0)})


def _core(number: int) -> str:
    """What is the same for all threads of one core."""
    try:
        return Path(_SIBLINGS.format(number)).read_text()
    except OSError:
        return str(number)
