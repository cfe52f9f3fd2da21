"""How many threads a network may use, where torch is not there to say it, and whose they are."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache, wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from kdlnet.errors import KdlnetError

_SIBLINGS = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
_FLAGS, _FORKED = 6, 0x40  # in proc_pid_stat(5) behind the name, and PF_FORKNOEXEC among them
_Given = ParamSpec("_Given")
_Made = TypeVar("_Made")


@dataclass(frozen=True)
class Home:
    """The process in which a network was opened and has its threads; a fork of it has none."""

    process: int = field(default_factory=os.getpid)

    def __reduce__(self) -> tuple[type[Home], tuple[()]]:
        """Unpickled, a network is a new one, at home where that is done."""
        return Home, ()

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


def safe_in_forks(work: Callable[_Given, _Made]) -> Callable[_Given, _Made]:
    """``work``, done by a new thread where this process is a fork.

    A thread that computed with torch before it was forked still counts on the threads that helped
    it, which stayed behind, and waits for them for ever. A new one finds helpers of its own.
    """

    @wraps(work)
    def done(*args: _Given.args, **kwargs: _Given.kwargs) -> _Made:
        if not forked(os.getpid()):
            return work(*args, **kwargs)
        with ThreadPoolExecutor(1) as new:
            return new.submit(work, *args, **kwargs).result()

    return done


@cache  # asked for every batch; the answer of a process is always the same
def forked(_process: int) -> bool:
    """Whether this process was forked and has begun no program of its own; only Linux tells."""
    try:
        facts = Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return bool(int(facts.rpartition(")")[2].split()[_FLAGS]) & _FORKED)


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
