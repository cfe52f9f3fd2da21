"""How long a run lasts, and how far it is: read once a step, the same for all who ask."""

from __future__ import annotations

import time
from dataclasses import dataclass

from kdlnet.utils.ranks import agreed


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long to train and what depends on progress. Shares are of the whole run.

    ``time`` is a budget in seconds: with it progress is elapsed time, and ``epochs`` counts for
    nothing. ``lr`` is the peak; ``tail`` the last share without mosaic, mixup and copy-paste.
    ``figure`` is the one of validation by which epochs are compared, higher being better.
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


class RunClock:
    """Wall time of a run, that of resumed parts (``seconds``) included, and its ``progress``.

    ``progress``, from 0 to 1, changes in :meth:`read` alone: the learning rate, the step and the
    decision to stop all go by one reading, and several ranks by that of the first.
    """

    def __init__(self, schedule: Schedule, steps_per_epoch: int, seconds: float = 0.0) -> None:
        self.schedule = schedule
        self.steps = schedule.epochs * steps_per_epoch
        self.progress = 0.0
        self._began = time.perf_counter() - seconds

    def read(self, step: int) -> float:
        """Progress now that ``step`` steps are done."""
        if self.schedule.time is None:
            self.progress = min(1.0, step / self.steps)
        else:
            self.progress = min(1.0, agreed(self.elapsed() / self.schedule.time))
        return self.progress

    def is_over(self) -> bool:
        """Whether the run is at its end."""
        return self.progress >= 1

    def elapsed(self) -> float:
        """Seconds of wall time."""
        return time.perf_counter() - self._began

    def left(self) -> float:
        """Seconds that the rest will take at the pace so far."""
        done = max(self.progress, 1e-6)
        return self.elapsed() * (1 - done) / done

    def in_tail(self, epoch: int) -> bool:
        """Whether the coming ``epoch``, from 0, ends in the last share of the run, ``tail``.

        With a budget of time it is taken to last as long as those before it did on average.
        """
        if self.schedule.time is None:
            length = 1 / self.schedule.epochs
        else:
            length = self.progress / epoch if epoch else 0.0
        return self.progress + length > 1 - self.schedule.tail + 1e-9
