"""Many trainings side by side on one card: seeds, folds, sets, students after their teachers.

    nvidia-cuda-mps-control -d      # NVIDIA's MPS
    python benchmarks/side_by_side.py jobs.yaml --out OUT --together 16 --minutes 9

One small network leaves a large card idle most of the time, so as many processes share it as there
are cores. jobs.yaml is a list in the order of worth; {runs} is the folder of all runs:

    - {name: teacher, command: "train --model lightnet-n --data neu-det --epochs 45"}
    - {name: student, needs: [teacher], command: "distill --student lightnet-n --data neu-det
       --teacher {runs}/teacher/weights/best.pt --epochs 45"}

Each job leaves OUT/NAME: its log, tables, settings and best weights in half precision. When the
time is over what still runs is ended, and OUT/NAME/cut says so. OUT/jobs.log tells all of it.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from gpu_day import KDLNET, keep_half

_SMALL = 300_000  # bytes: tables and settings, no pages with pictures
_PATIENCE = 20  # seconds to end in


@dataclass(frozen=True)
class Job:
    name: str
    command: str
    needs: tuple[str, ...] = ()


class Bench:
    """Starts jobs as places and needs allow, and keeps what they leave."""

    def __init__(self, jobs: Sequence[Job], runs: Path, out: Path, together: int) -> None:
        self.waiting = list(jobs)
        self.runs, self.out, self.together = runs, out, together
        self.live: dict[str, subprocess.Popen[bytes]] = {}
        self.codes: dict[str, int] = {}
        self.began = time.monotonic()

    def step(self) -> bool:
        """Takes what has ended, starts what may; whether anything is left to do."""
        for name, process in list(self.live.items()):
            if process.poll() is not None:
                del self.live[name]
                self.codes[name] = process.returncode
                self.keep(name)
                self.say(f"end {name}, exit code {process.returncode}")
        for job in list(self.waiting):
            if any(self.codes.get(need, 0) for need in job.needs):
                self.waiting.remove(job)
                self.codes[job.name] = 1
                self.say(f"left out {job.name}: it needs {', '.join(job.needs)}")
            elif len(self.live) < self.together and all(n in self.codes for n in job.needs):
                self.waiting.remove(job)
                self.start(job)
        return bool(self.live or self.waiting)

    def start(self, job: Job) -> None:
        place = self.out / job.name
        place.mkdir(parents=True, exist_ok=True)
        words = shlex.split(job.command.format(runs=self.runs))
        command = [*KDLNET, *words, "--out", str(self.runs / job.name), "--quiet"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        with (place / "log").open("wb") as log:
            self.live[job.name] = subprocess.Popen(
                command, env=environment, stdout=log, stderr=subprocess.STDOUT
            )
        self.say(f"start {job.name}")

    def cut(self) -> None:
        """Ends what runs; what it has come to is kept."""
        for process in self.live.values():
            process.terminate()
        for name, process in self.live.items():
            try:
                process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
            self.keep(name)
            (self.out / name / "cut").touch()
        self.say(f"over; cut {list(self.live)}, not begun {[job.name for job in self.waiting]}")

    def keep(self, name: str) -> None:
        for file in (self.runs / name).glob("*.*"):
            if file.suffix in {".csv", ".json", ".yaml"} and file.stat().st_size < _SMALL:
                shutil.copy(file, self.out / name)
        best = self.runs / name / "weights" / "best.pt"
        if best.is_file():
            self.say(keep_half(best, self.out / name / "best.safetensors"))

    def say(self, text: str) -> None:
        line = f"{time.monotonic() - self.began:7.1f} s  {text}"
        print(line, flush=True)
        with (self.out / "jobs.log").open("a") as log:
            log.write(f"{line}\n")


def read_jobs(file: Path) -> list[Job]:
    """The jobs of ``file``. Raises SystemExit for a need that is no job before it."""
    jobs: list[Job] = []
    for entry in yaml.safe_load(file.read_text()):
        job = Job(entry["name"], entry["command"], tuple(entry.get("needs", ())))
        for need in job.needs:
            if need not in {other.name for other in jobs}:
                raise SystemExit(f"{job.name} needs {need!r}, which is no job above it")
        jobs.append(job)
    return jobs


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("jobs", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="what is kept")
    parser.add_argument("--runs", type=Path, default=Path("runs/side-by-side"))
    parser.add_argument("--together", type=int, default=os.cpu_count())
    parser.add_argument("--minutes", type=float, default=float("inf"))
    options = parser.parse_args(arguments)
    jobs = read_jobs(options.jobs)
    options.out.mkdir(parents=True, exist_ok=True)
    bench = Bench(jobs, options.runs.absolute(), options.out, options.together)
    while bench.step():
        if time.monotonic() - bench.began > 60 * options.minutes:
            bench.cut()
            break
        time.sleep(0.5)
    return int(any(bench.codes.get(job.name, 1) for job in jobs))


if __name__ == "__main__":
    sys.exit(main())
