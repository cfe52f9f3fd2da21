"""Times whole training programs from outside, by the rows that they add to their results.csv."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

RUN_NAME = "run"
RUN = "@RUN@"
PARENT = "@PARENT@"


@dataclass(frozen=True)
class Side:
    """One thing to time: ``command``, with RUN for its run folder and PARENT for the one above."""

    name: str
    command: tuple[str, ...]


@dataclass(frozen=True)
class Run:
    """``seconds`` of each timed epoch; ``cores`` kept busy on average, start-up not included."""

    images_per_second: float
    seconds: list[float]
    startup_seconds: float
    cores: float
    load_before: float


def time_run(side: Side, images: int, epochs: int, threads: int, limit_seconds: float) -> Run:
    """Starts ``side``, watches ``epochs`` epochs after the first one and stops it.

    Raises RuntimeError with the end of its log when it ends early or takes too long.
    """
    with tempfile.TemporaryDirectory(prefix="train-speed-") as name:
        parent = Path(name)
        load = os.getloadavg()[0]
        with (parent / "log").open("w+b") as log:
            start = time.perf_counter()
            process = subprocess.Popen(
                [_fill(word, parent) for word in side.command],
                stdout=log,
                stderr=log,
                cwd=parent,
                env=_environment(threads, parent),
                start_new_session=True,
            )
            try:
                rows = _watch(process, parent / RUN_NAME / "results.csv", epochs + 1, limit_seconds)
            except RuntimeError as error:
                log.seek(0)
                tail = log.read()[-2000:].decode(errors="replace")
                raise RuntimeError(f"{side.name}: {error}\n{tail}") from None
            finally:
                _stop(process)
    return _to_run(rows, images * epochs, start, load)


def _fill(word: str, parent: Path) -> str:
    return word.replace(RUN, str(parent / RUN_NAME)).replace(PARENT, str(parent))


def _environment(threads: int, parent: Path) -> dict[str, str]:
    """The two YOLO_ variables keep the peer off the network and out of the home folder."""
    own = {"OMP_NUM_THREADS": str(threads), "YOLO_OFFLINE": "true", "YOLO_CONFIG_DIR": str(parent)}
    return {**os.environ, **own}


def _to_run(rows: list[tuple[float, float]], images: int, start: float, load: float) -> Run:
    """``images`` were trained on between the first and the last of ``rows``."""
    moments = [moment for moment, _ in rows]
    window = moments[-1] - moments[0]
    return Run(
        images_per_second=images / window,
        seconds=[after - before for before, after in pairwise(moments)],
        startup_seconds=moments[0] - start,
        cores=(rows[-1][1] - rows[0][1]) / window,
        load_before=load,
    )


def _watch(
    process: subprocess.Popen[bytes], table: Path, rows: int, limit_seconds: float
) -> list[tuple[float, float]]:
    """(clock, processor seconds) at each of the first ``rows`` rows of ``table``."""
    seen: list[tuple[float, float]] = []
    deadline = time.perf_counter() + limit_seconds
    while len(seen) < rows:
        ended = process.poll() is not None
        count = count_rows(table)
        if count > len(seen) + 1:
            raise RuntimeError("two rows came at once: its results.csv is no clock")
        if count > len(seen):
            seen.append((time.perf_counter(), processor_seconds(process.pid)))
        elif ended:
            raise RuntimeError(f"ended with {process.returncode} after {count} epochs")
        if time.perf_counter() > deadline:
            raise RuntimeError(f"{count} epochs after {limit_seconds:.0f} s")
        time.sleep(0.02)
    return seen


def count_rows(table: Path) -> int:
    """Whole lines below the header; 0 while there is no file."""
    try:
        return max(table.read_bytes().count(b"\n") - 1, 0)
    except FileNotFoundError:
        return 0


def processor_seconds(session: int) -> float:
    """User and system time of all processes of a session, their ended children included."""
    ticks = 0
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = file.read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        if int(fields[3]) == session:
            ticks += sum(int(field) for field in fields[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def _stop(process: subprocess.Popen[bytes]) -> None:
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
        except ProcessLookupError:
            pass
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            continue
