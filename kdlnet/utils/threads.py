"""How many threads a network may use, where torch is not there to say it, and whose they are."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from kdlnet.errors import KdlnetError

_SIBLINGS = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"


@dataclass(frozen=True)
class Home:
    """The process in which a network was opened and has its threads; a fork of it has none."""

    process: int = field(default_factory=os.getpid)

    def require(self, threads: int) -> None:
        """Raises KdlnetError in a fork, where a call would wait for the other ``threads`` for ever.

        One thread waits for no other.
        """
        if threads > 1 and os.getpid() != self.process:
            raise KdlnetError(
                "this detector was loaded before the process was forked, and its threads stayed "
                "behind: start processes with multiprocessing.get_context('spawn') and load it in "
                "each, or set OMP_NUM_THREADS=1"
            )


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
