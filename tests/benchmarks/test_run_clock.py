"""The outside clock of the benchmarks, on programs made up here."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

if not sys.platform.startswith("linux"):
    pytest.skip("the clock reads /proc", allow_module_level=True)

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"

# Waits 0.5 s, then an epoch of PAUSE seconds a row: {busy} decides whether it works or sleeps.
PROGRAM = """
import pathlib, sys, time
folder = pathlib.Path(sys.argv[1])
folder.mkdir()
def wait(seconds):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        {idle}
time.sleep(0.5)
with (folder / "results.csv").open("w", buffering=1) as table:
    table.write("epoch,loss\\n")
    for epoch in range({epochs}):
        wait(0.25)
        table.write(f"{{epoch}},1\\n")
raise SystemExit("that was all")
"""


@pytest.fixture
def clock(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("run_clock")


def side(clock, idle: str = "time.sleep(0.01)", epochs: int = 100):
    program = PROGRAM.format(idle=idle, epochs=epochs)
    return clock.Side("made up", (sys.executable, "-c", program, clock.RUN))


def test_startup_and_first_epoch_are_outside_of_the_window(clock):
    run = clock.time_run(side(clock), images=10, epochs=2, threads=1, limit_seconds=60)

    # 20 images in two epochs of 0.25 s: 40 a second. With start-up and first epoch: 16.
    assert 20 < run.images_per_second < 44
    assert run.startup_seconds > 0.7
    assert len(run.seconds) == 2


def test_cores_tell_work_from_waiting(clock):
    asleep = clock.time_run(side(clock), images=1, epochs=2, threads=1, limit_seconds=60)
    busy = clock.time_run(side(clock, "pass"), images=1, epochs=2, threads=1, limit_seconds=60)

    # On a machine whose cores others hold a busy one gets few, but more than one that sleeps.
    assert asleep.cores < min(0.2, busy.cores / 4)


def test_a_program_that_ends_early_is_reported_with_its_log(clock):
    with pytest.raises(RuntimeError, match=r"made up: ended with 1 after 2 epochs\nthat was all"):
        clock.time_run(side(clock, epochs=2), images=1, epochs=2, threads=1, limit_seconds=60)


def test_a_program_that_takes_too_long_is_stopped(clock):
    with pytest.raises(RuntimeError, match="0 epochs after 0 s"):
        clock.time_run(side(clock), images=1, epochs=2, threads=1, limit_seconds=0.1)


def test_ratio_is_formed_within_a_round(clock):
    speed = importlib.import_module("train_speed")
    rates = ((60, 50, 20), (30, 30, 15), (90, 60, 20))  # a host that changes its speed
    rounds = [
        {
            side: clock.Run(rate, [], 0, 2, 0)
            for side, rate in zip(("fast", "own", "peer"), row, strict=True)
        }
        for row in rates
    ]
    summary = speed.summarize(rounds)

    assert summary["peer"]["times_slower_than_fast"]["rounds"] == [3.0, 2.0, 4.5]
    assert summary["peer"]["times_slower_than_fast"]["median"] == 3.0
    assert summary["peer"]["times_slower_than_own"]["rounds"] == [2.5, 2.0, 3.0]
    assert summary["peer"]["images_per_second"] == {"median": 20, "min": 15, "max": 20}
    row = "| peer | 20.0 (15.0-20.0) | 3.00 (3.00, 2.00, 4.50) | 2.50 (2.50, 2.00, 3.00) | 2.00 |"
    assert row in speed.table(summary)
