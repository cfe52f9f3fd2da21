"""The training loop: one visible loop in a fixed order. It takes a step and knows no teacher."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Generic

import torch
from torch import nn

from kdlnet.errors import KdlnetError
from kdlnet.events import EpochDone, Listener, Message, StepDone
from kdlnet.training.average import WeightAverage
from kdlnet.training.batches import Batches, Shown
from kdlnet.training.meter import Meter
from kdlnet.training.optim import learning_rate
from kdlnet.training.schedule import RunClock, Schedule
from kdlnet.training.steps import Step
from kdlnet.utils.ranks import is_writer, ranks
from kdlnet.utils.words import counted

_EVENT_SECONDS = 0.2
_FEW = 0.1  # of a budget of time: if the first epoch takes more, few will follow


@dataclass
class LoopState:
    """What changes while training, besides tensors; saved and restored as one.

    ``judged`` is the epoch of the last validation, ``stale`` how many epochs before it were no
    better.
    """

    epoch: int = 0
    step: int = 0
    best: float = -1.0
    best_epoch: int = -1
    stale: int = 0
    judged: int = -1
    seconds: float = 0.0
    rows: list[dict[str, Any]] = field(default_factory=list)

    def state_dict(self) -> dict[str, Any]:
        return asdict(self)

    def judge(self, epoch: int, figure: float | None) -> bool:
        """Whether the weights of ``epoch`` are the best so far; counts epochs without a better one.

        While the figure, AP for a detector, says nothing (no true box on val, or nothing found yet)
        the newest weights are.
        """
        kept = figure is None or figure > self.best or figure == self.best == 0
        self.stale = 0 if kept else self.stale + epoch - self.judged
        self.judged = epoch
        if kept:
            self.best, self.best_epoch = figure or 0.0, epoch
        return kept


class Loop(Generic[Shown]):
    """Runs a step over batches. ``run()`` returns why it ended: epochs, patience or time.

    ``validate()`` returns figures of the averaged weights, that of the schedule among them;
    ``save(best, over)`` is called after every epoch with the state already moved on, so that what
    it writes can be resumed; ``over`` after the last.
    """

    def __init__(
        self,
        *,
        step: Step[Shown],
        model: nn.Module,
        average: WeightAverage[Any],
        optimizer: torch.optim.Optimizer,
        scaler: torch.amp.GradScaler,
        batches: Batches[Shown],
        schedule: Schedule,
        state: LoopState,
        validate: Callable[[], dict[str, float | None]],
        save: Callable[[bool, bool], None],
        on_event: Listener,
    ) -> None:
        self.step = step
        self.model = model
        self.average = average
        self.optimizer = optimizer
        self.scaler = scaler
        self.batches = batches
        self.schedule = schedule
        self.state = state
        self.validate = validate
        self.save = save
        self.on_event = on_event
        self.clock = RunClock(schedule, len(batches), state.seconds)
        self._parameters = [p for group in optimizer.param_groups for p in group["params"]]

    def run(self) -> str:
        state, schedule, clock = self.state, self.schedule, self.clock
        clock.read(state.step)
        tired = self._tired()
        while not (clock.is_over() or tired):
            epoch, began = state.epoch, time.perf_counter()
            parts, images = self._train_epoch(epoch)
            row: dict[str, Any] = {"epoch": epoch, **parts}
            trained = time.perf_counter() - began
            state.epoch += 1
            due = clock.is_over() or state.epoch % schedule.val_every == 0
            figures = self._validated() if due else {}
            best = due and state.judge(epoch, figures[schedule.figure])
            row |= {**figures, "lr": self._lr(), "seconds": round(clock.elapsed(), 3)}
            row["images_per_second"] = round(images / trained, 2)
            state.seconds = clock.elapsed()
            state.rows.append(row)
            tired = self._tired()
            self.save(best, clock.is_over() or tired)
            self.on_event(EpochDone(epoch, schedule.epochs, row, best))
            if epoch == 0 and schedule.time is not None and clock.progress > _FEW:
                self._say_few()
        if tired and not clock.is_over():
            return "patience"
        return "time" if schedule.time else "epochs"

    def is_over(self) -> bool:
        """Whether nothing is left to do: the run that goes on had come to its end."""
        self.clock.read(self.state.step)
        return self.clock.is_over() or self._tired()

    def _tired(self) -> bool:
        return 0 < self.schedule.patience <= self.state.stale

    def _validated(self) -> dict[str, float | None]:
        """The figures of validation, whose time counts too: the budget may be spent after it."""
        figures = self.validate()
        self.clock.read(self.state.step)
        return figures

    def _train_epoch(self, epoch: int) -> tuple[dict[str, float], int]:
        """Trains on every batch of the epoch; mean loss parts and the number of images."""
        self.model.train()
        progress = self.clock.read(self.state.step)
        meter, began, spoke = Meter(), time.perf_counter(), 0.0
        batches = self.batches.epoch(epoch, mixing=not self.clock.in_tail(epoch))
        for number, batch in enumerate(batches, start=1):
            output = self.step(batch, progress)
            self.scaler.scale(output.loss / self._group(number)).backward()
            self.state.step += 1
            progress = self.clock.read(self.state.step)
            last = number == len(self.batches)
            if number % self.schedule.accumulate == 0 or last:
                self._update(progress)
            meter.add(output, len(batch.images))
            now = time.perf_counter()
            if is_writer() and (now - spoke > _EVENT_SECONDS or last):
                spoke = now
                self.on_event(self._step_event(epoch, number, meter, now - began))
            if self.schedule.time is not None and self.clock.is_over():
                break
        parts, images = meter.all_means()
        return self._finite(epoch, parts), images

    def _say_few(self) -> None:
        """Tells after the first epoch how many like it the budget of time is worth."""
        text = "the time was over in the first epoch"
        if not self.clock.is_over():
            worth = counted(round(1 / self.clock.progress), "epoch")
            text = f"at the pace of the first the time is worth about {worth}, few for a training"
        if is_writer():
            advice = "give it more, or smaller images (--image-size)"
            self.on_event(Message(f"{text}: {advice}", "warning"))

    def _group(self, number: int) -> int:
        """How many batches share the optimizer step of batch ``number`` (from 1) of an epoch."""
        first = (number - 1) // self.schedule.accumulate * self.schedule.accumulate
        return min(self.schedule.accumulate, len(self.batches) - first)

    def _update(self, progress: float) -> None:
        schedule = self.schedule
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(progress, schedule.lr, schedule.final_lr, schedule.warmup)
        if schedule.clip_norm:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self._parameters, schedule.clip_norm, foreach=True)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.average.update(self.model)

    def _step_event(self, epoch: int, number: int, meter: Meter, seconds: float) -> StepDone:
        return StepDone(
            epoch=epoch,
            step=number,
            steps=len(self.batches),
            parts=self._finite(epoch, meter.means()),
            learning_rate=self._lr(),
            images_per_second=meter.images * ranks() / seconds,
            seconds_left=self.clock.left(),
        )

    def _finite(self, epoch: int, parts: dict[str, float]) -> dict[str, float]:
        """``parts``, means of the loss. Raises KdlnetError when one is not a finite number."""
        if not all(math.isfinite(value) for value in parts.values()):
            raise KdlnetError(
                f"the loss is not a finite number in epoch {epoch + 1} ({parts}); train with a "
                f"lower --set optim.lr (now {self.schedule.lr:g}) or --set amp=off; last.pt holds "
                "an earlier, good epoch"
            )
        return parts

    def _lr(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])
