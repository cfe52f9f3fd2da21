"""How far a run is: one reading a step, that everything goes by."""

from __future__ import annotations

import time

import pytest

from kdlnet.training.schedule import RunClock, Schedule


def test_progress_counts_steps_without_a_budget() -> None:
    clock = RunClock(Schedule(epochs=4, lr=1.0), steps_per_epoch=5)
    assert [clock.read(step) for step in (0, 5, 20, 25)] == [0.0, 0.25, 1.0, 1.0]
    assert clock.is_over()


def test_progress_stands_still_between_two_readings(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    clock = RunClock(Schedule(epochs=1, lr=1.0, time=10.0), steps_per_epoch=1, seconds=2.0)
    now[0] += 4  # and two seconds before the run was resumed
    assert clock.progress == 0 and clock.read(step=999) == pytest.approx(0.6)
    assert clock.left() == pytest.approx(4)
    now[0] += 100
    assert clock.progress == pytest.approx(0.6) and not clock.is_over()
    assert clock.read(step=0) == 1 and clock.is_over()


def test_the_tail_begins_with_the_epoch_that_ends_in_it() -> None:
    clock = RunClock(Schedule(epochs=4, lr=1.0, tail=0.5), steps_per_epoch=1)
    tails = []
    for step in range(4):
        clock.read(step)
        tails.append(clock.in_tail(step))
    assert tails == [False, False, True, True]


def test_of_few_long_epochs_the_last_is_the_tail(monkeypatch: pytest.MonkeyPatch) -> None:
    """They begin at 0, 0.31 and 0.62 of the time: the last would end at 0.93, past 0.9."""
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    clock = RunClock(Schedule(epochs=1, lr=1.0, time=100.0), steps_per_epoch=1)
    tails = []
    for epoch in range(3):
        clock.read(step=epoch)
        tails.append(clock.in_tail(epoch))
        now[0] += 31
    assert tails == [False, False, True]
