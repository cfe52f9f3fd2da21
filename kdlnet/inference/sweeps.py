"""Speed by the size of a batch and by the number of threads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdlnet.inference.runtimes import Runtime, thread_count
from kdlnet.inference.turns import (
    MOST_IMAGES,
    Call,
    Spread,
    Workload,
    spread,
    take_turns,
    warm_up,
)
from kdlnet.inference.workloads import files_call
from kdlnet.utils.threads import usable_threads

_GAIN = 1.03  # less than this is no better


@dataclass(frozen=True)
class BatchSpeed:
    """Images a second of calls of ``batch`` images, from files to boxes and in the network."""

    batch: int
    images_per_second: Spread
    infer_images_per_second: Spread


@dataclass(frozen=True)
class ThreadSpeed:
    """Milliseconds a call and images a second with so many threads."""

    threads: int
    p50_ms: Spread
    images_per_second: Spread


def by_batch(runtime: Runtime, paths: Sequence[Path], workload: Workload) -> list[BatchSpeed]:
    """Batches of 1, 2, 4 and so on, until doubling one twice makes it no quicker."""
    found: list[BatchSpeed] = []
    batch, worse = 1, 0
    while worse < 2 and batch <= MOST_IMAGES:
        call = files_call(runtime, paths, batch)
        calls = max(len(workload.turns), workload.calls // batch)
        warm_up(call, 2)
        (rows,) = take_turns([call], Workload(batch, calls, workload.rounds).turns)
        best = max((one.images_per_second.median for one in found), default=0.0)
        rates = spread(rows.rates(batch)), spread(rows.rates(batch, "infer"))
        found.append(BatchSpeed(batch, *rates))
        worse = worse + 1 if rates[0].median < _GAIN * best else 0
        batch *= 2
    return found


def thread_counts(most: int | None = None) -> list[int]:
    """1, 2, 4 and so on, and all that this process may use."""
    most = most or usable_threads()
    return sorted({most, *(2**n for n in range(most.bit_length()) if 2**n <= most)})


def by_threads(
    runtimes: Sequence[Runtime], paths: Sequence[Path], workload: Workload
) -> list[ThreadSpeed]:
    """``runtimes`` are of one file, each opened with as many threads as it is measured with."""
    calls = [
        _with_threads(runtime, files_call(runtime, paths, workload.batch)) for runtime in runtimes
    ]
    for call in calls:
        warm_up(call, workload.warmup)
    rows = take_turns(calls, workload.turns)
    return [
        ThreadSpeed(runtime.threads, spread(mine.medians()), spread(mine.rates(workload.batch)))
        for runtime, mine in zip(runtimes, rows, strict=True)
    ]


def _with_threads(runtime: Runtime, call: Call) -> Call:
    def limited(number: int) -> Any:
        with thread_count(runtime.threads):
            return call(number)

    return limited
