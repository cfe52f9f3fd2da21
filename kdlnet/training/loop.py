"""The training loop: one visible loop in a fixed order. It takes a step and knows no teacher."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from kdlnet.errors import KdlnetError
from kdlnet.events import EpochDone, Listener, StepDone
from kdlnet.training.average import WeightAverage
from kdlnet.training.batches import Batches
from kdlnet.training.optim import learning_rate
from kdlnet.training.steps import Step
from kdlnet.types import StepOutput

_EVENT_SECONDS = 0.2


@dataclass(frozen=True)
class Plan:
    """How long to train and what depends on progress. Shares are of the whole run.

    ``time`` is a budget in seconds: with it progress is elapsed time, and ``epochs`` counts for
    nothing. ``lr`` is the peak; ``tail`` the last share without mosaic, mixup and copy-paste.
    ``figure`` is the metric by which the best epoch is told, higher being better.
    """

    epochs: int
    lr: float
    final_lr: float = 0.02
    warmup: float = 0.03
    tail: float = 0.1
    accumulate: int = 1
    clip_norm: float = 10.0
    time: float | None = None
    patience: int = 0
    val_every: int = 1
    figure: str = "ap"


@dataclass
class LoopState:
    """What changes while training, besides tensors; saved and restored as one.

    ``judged`` is the epoch of the last validation, ``stale`` how many epochs AP had not grown then.
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

    def judge(self, epoch: int, ap: float | None) -> bool:
        """Whether the weights of ``epoch`` are the best so far; counts epochs without a better AP.

        While AP says nothing (no true box on val, or nothing found yet) the newest weights are.
        """
        better = ap is None or ap > self.best
        kept = better or ap == self.best == 0
        self.stale = 0 if better else self.stale + epoch - self.judged
        self.judged = epoch
        if kept:
            self.best, self.best_epoch = ap or 0.0, epoch
        return kept


class Loop:
    """Runs a step over batches. ``run()`` returns why it ended: epochs, patience or time.

    ``validate()`` returns metrics of the averaged weights, the plan's ``figure`` among them;
    ``save(best, over)`` is called after every epoch with the state already moved on, so that what
    it writes can be resumed; ``over`` after the last.
    """

    def __init__(
        self,
        step: Step[Any],
        model: nn.Module,
        average: WeightAverage[Any],
        optimizer: torch.optim.Optimizer,
        batches: Batches[Any],
        plan: Plan,
        state: LoopState,
        validate: Callable[[], dict[str, float | None]],
        save: Callable[[bool, bool], None],
        on_event: Listener,
        scaler: torch.amp.GradScaler,
    ) -> None:
        self.step = step
        self.model = model
        self.average = average
        self.optimizer = optimizer
        self.batches = batches
        self.plan = plan
        self.state = state
        self.validate = validate
        self.save = save
        self.on_event = on_event
        self.scaler = scaler
        self._parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self._began = time.perf_counter() - state.seconds

    def run(self) -> str:
        state, plan = self.state, self.plan
        finished, tired = self.progress() >= 1, self._tired()
        while not (finished or tired):
            epoch, began = state.epoch, time.perf_counter()
            parts, images = self._train_epoch(epoch)
            row: dict[str, Any] = {"epoch": epoch, **parts}
            trained = time.perf_counter() - began
            state.epoch += 1
            finished = self.progress() >= 1
            due = finished or state.epoch % plan.val_every == 0
            metrics = self.validate() if due else {}
            best = due and state.judge(epoch, metrics[plan.figure])
            row |= {**metrics, "lr": self._lr(), "seconds": round(self.elapsed(), 3)}
            row["images_per_second"] = round(images / trained, 2)
            state.seconds = self.elapsed()
            state.rows.append(row)
            tired = self._tired()
            self.save(best, finished or tired)
            self.on_event(EpochDone(epoch, plan.epochs, row, best))
        if tired and not finished:
            return "patience"
        return "time" if plan.time else "epochs"

    def _tired(self) -> bool:
        return 0 < self.plan.patience <= self.state.stale

    def elapsed(self) -> float:
        """Seconds of wall time, those of resumed runs included."""
        return time.perf_counter() - self._began

    def progress(self) -> float:
        """How much of the run is done, from 0 to 1."""
        if self.plan.time is not None:
            return min(1.0, self.elapsed() / self.plan.time)
        return min(1.0, self.state.step / (self.plan.epochs * len(self.batches)))

    def _train_epoch(self, epoch: int) -> tuple[dict[str, float], int]:
        """Trains on every batch of the epoch; mean loss parts and the number of images."""
        self.model.train()
        mixing = not self._in_tail()
        meter = Meter()
        images, began, spoke = 0, time.perf_counter(), 0.0
        for number, batch in enumerate(self.batches.epoch(epoch, mixing), start=1):
            progress = self.progress()
            output = self.step(batch, progress)
            self.scaler.scale(output.loss / self._group(number)).backward()
            self.state.step += 1
            if number % self.plan.accumulate == 0 or number == len(self.batches):
                self._update()
            meter.add(output)
            images += len(batch.images)
            now = time.perf_counter()
            if now - spoke > _EVENT_SECONDS or number == len(self.batches):
                spoke = now
                rate = images / (now - began)
                self.on_event(self._step_event(epoch, number, meter, rate))
            if self.plan.time is not None and self.progress() >= 1:
                break
        return self._finite(epoch, meter), images

    def _in_tail(self) -> bool:
        """Whether the coming epoch ends in the last share of the run, ``tail``."""
        end = self.progress()
        if self.plan.time is None:
            end += 1 / self.plan.epochs
        return end > 1 - self.plan.tail + 1e-9

    def _group(self, number: int) -> int:
        """How many batches share the optimizer step of batch ``number`` (from 1) of an epoch."""
        first = (number - 1) // self.plan.accumulate * self.plan.accumulate
        return min(self.plan.accumulate, len(self.batches) - first)

    def _update(self) -> None:
        plan, progress = self.plan, self.progress()
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(progress, plan.lr, plan.final_lr, plan.warmup)
        if plan.clip_norm:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self._parameters, plan.clip_norm, foreach=True)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.average.update(self.model)

    def _step_event(self, epoch: int, number: int, meter: Meter, rate: float) -> StepDone:
        parts = self._finite(epoch, meter)
        done = max(self.progress(), 1e-6)
        left = self.elapsed() * (1 - done) / done
        return StepDone(epoch, number, len(self.batches), parts, self._lr(), rate, left)

    def _finite(self, epoch: int, meter: Meter) -> dict[str, float]:
        """The mean loss parts. Raises KdlnetError when one is not a finite number."""
        parts = meter.means()
        if not all(math.isfinite(value) for value in parts.values()):
            raise KdlnetError(
                f"the loss is not a finite number in epoch {epoch + 1} ({parts}); train with a "
                f"lower --set optim.lr (now {self.plan.lr:g}) or --set amp=off; last.pt holds an "
                "earlier, good epoch"
            )
        return parts

    def _lr(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])


class Meter:
    """Running means of loss parts, summed on the device so that a step waits for nothing.

    A part that not every step reports is averaged over those that do.
    """

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.sums: dict[str, Tensor] = {}

    def add(self, output: StepOutput) -> None:
        for name, value in {"loss": output.loss.detach(), **output.parts}.items():
            self.counts[name] = self.counts.get(name, 0) + 1
            self.sums[name] = self.sums[name] + value if name in self.sums else value.clone()

    def means(self) -> dict[str, float]:
        if not self.sums:
            return {}
        values = torch.stack(list(self.sums.values())).tolist()
        pairs = zip(self.sums, values, strict=True)
        return {name: value / self.counts[name] for name, value in pairs}
