"""The loop under a step without boxes and a validation without AP."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kdlnet.events import EpochDone, StepDone
from kdlnet.training import schedule as schedule_module
from kdlnet.training.average import WeightAverage
from kdlnet.training.loop import Loop, LoopState
from kdlnet.training.schedule import Schedule
from kdlnet.types import StepOutput


@dataclass(frozen=True)
class Pictures:
    images: Tensor


class PictureBatches:
    """Two batches of three an epoch."""

    def __len__(self) -> int:
        return 2

    def epoch(self, epoch: int, mixing: bool) -> Iterator[Pictures]:
        for number in range(2):
            yield Pictures(torch.full((3, 4), 1.0 + epoch + number))


class Explained:
    """Figures of validation, one a call."""

    def __init__(self, *values: float) -> None:
        self.values = list(values)

    def __call__(self) -> dict[str, float | None]:
        return {"explained": self.values.pop(0), "ap": 0.0}


def _loop(
    schedule: Schedule, validate: Explained, events: list[Any], saved: list[Any]
) -> Loop[Any]:
    torch.manual_seed(0)
    model = nn.Linear(4, 1)

    def step(batch: Pictures, progress: float) -> StepOutput:
        loss = model(batch.images).square().mean()
        return StepOutput(loss, {"progress": torch.tensor(progress)})

    return Loop(
        step=step,
        model=model,
        average=WeightAverage(model, 0.9),
        optimizer=torch.optim.SGD(model.parameters(), lr=0.0),
        scaler=torch.amp.GradScaler("cpu", enabled=False),
        batches=PictureBatches(),
        schedule=schedule,
        state=LoopState(),
        validate=validate,
        save=lambda best, over: saved.append((best, over)),
        on_event=events.append,
    )


def test_the_figure_of_the_schedule_says_which_epoch_is_best() -> None:
    events: list[Any] = []
    saved: list[Any] = []
    schedule = Schedule(epochs=3, lr=0.01, figure="explained")
    loop = _loop(schedule, Explained(0.2, 0.5, 0.4), events, saved)
    assert loop.run() == "epochs"
    assert (loop.state.best_epoch, loop.state.best) == (1, 0.5)
    assert saved == [(True, False), (True, False), (False, True)]
    rows = [event.row for event in events if isinstance(event, EpochDone)]
    assert [row["explained"] for row in rows] == [0.2, 0.5, 0.4]
    assert [row["progress"] for row in rows] == pytest.approx([1 / 12, 5 / 12, 9 / 12])
    assert all(row["lr"] > 0 for row in rows)
    last = [event for event in events if isinstance(event, StepDone)][-1]
    assert (last.step, last.steps) == (2, 2) and last.images_per_second > 0


def test_a_budget_spent_in_validation_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """No further step is taken, and what is saved then is the end of the run."""
    now = [0.0]
    monkeypatch.setattr(
        schedule_module.time, "perf_counter", lambda: now.__setitem__(0, now[0] + 1e-3) or now[0]
    )

    class Slow(Explained):
        def __call__(self) -> dict[str, float | None]:
            now[0] += 60
            return super().__call__()

    saved: list[Any] = []
    schedule = Schedule(epochs=99, lr=0.01, time=30.0, figure="explained")
    loop = _loop(schedule, Slow(0.2, 0.3), [], saved)
    assert loop.run() == "time"
    assert loop.state.step == 2 and saved == [(True, True)]


def test_the_step_and_the_rate_go_by_one_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step sees the progress that the rate was set by after the step before it."""
    readings: list[float] = []
    read = schedule_module.RunClock.read

    def recorded(clock: schedule_module.RunClock, step: int) -> float:
        readings.append(read(clock, step))
        return readings[-1]

    monkeypatch.setattr(schedule_module.RunClock, "read", recorded)
    schedule = Schedule(epochs=1, lr=0.01, warmup=0.0, figure="explained")
    loop = _loop(schedule, Explained(0.1), [], [])
    loop.run()
    # Before the run, at the epoch's start, after each of two steps, after validation.
    assert readings == [0.0, 0.0, 0.5, 1.0, 1.0]
