"""Whole commands timed from outside, in turns: wall, processor time and peak memory."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

RESULTS = "@RESULTS@"
"""Stands in a command for a folder that is new in each run."""


# A process counts the memory of the one it was forked from as its own peak: a small one in between.
_LAUNCHER = """
import json, os, subprocess, sys, time
began = time.perf_counter()
process = subprocess.Popen(sys.argv[2:])
_, status, usage = os.wait4(process.pid, 0)
wall = time.perf_counter() - began
with open(sys.argv[1], "w") as file:
    json.dump([wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024], file)
sys.exit(os.waitstatus_to_exitcode(status))
"""


@dataclass(frozen=True)
class Cost:
    """Seconds of wall and processor time, and the most memory the process held, in MiB."""

    wall: float
    processor: float
    peak: float


def cost_of(command: Sequence[str], environment: Mapping[str, str]) -> Cost:
    """Runs ``command`` in an empty folder. Raises RuntimeError with the end of what it said."""
    with tempfile.TemporaryDirectory(prefix="peers-") as name, tempfile.TemporaryFile() as said:
        words = [word.replace(RESULTS, str(Path(name) / "results")) for word in command]
        figures = Path(name) / "cost.json"
        done = subprocess.run(
            [sys.executable, "-S", "-c", _LAUNCHER, str(figures), *words],
            cwd=name,
            stdout=said,
            stderr=said,
            env={**os.environ, **environment},
        )
        if done.returncode:
            said.seek(0)
            tail = said.read()[-2000:].decode(errors="replace")
            raise RuntimeError(f"{' '.join(words)} ended with {done.returncode}\n{tail}")
        return Cost(*json.loads(figures.read_text(encoding="utf-8")))


def costs_in_turns(
    commands: Mapping[str, Sequence[str]],
    rounds: int,
    environment: Mapping[str, str],
    warm: bool = True,
) -> dict[str, list[Cost]]:
    """A B A B. To be ``warm``, one run of each comes first that does not count."""
    found: dict[str, list[Cost]] = {name: [] for name in commands}
    for number in range(-1 if warm else 0, rounds):
        for name, command in commands.items():
            cost = cost_of(command, environment)
            if number >= 0:
                found[name].append(cost)
    return found


def spread(values: Sequence[float], digits: int = 2) -> str:
    """``1.20 (1.10 to 1.40)``: median, smallest, largest."""
    middle, low, high = statistics.median(values), min(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"
