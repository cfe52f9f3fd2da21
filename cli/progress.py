"""Engine events as text: bars that redraw on a terminal, one plain line an epoch elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from rich.console import RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.text import Text

from kdlnet import events
from kdlnet.utils.paths import shown
from kdlnet.utils.words import counted

from .console import Console, duration, figure
from .errors import printable

_REFRESH_PER_SECOND = 4  # more would take time from two busy cores
_PLAIN_EVERY = 30.0  # seconds between plain lines of one long task
_SHARES = {"ap": "AP", "ap50": "AP50", "explained": "explained"}
_MEASURED = ("ap", "explained")
_OUTSIDE_PARTS = {"epoch", "loss", "lr", "seconds", "images_per_second"}  # loss: their sum


class EventPrinter:
    """A listener for the engine. A context: leaving it takes the bars away, also on Ctrl-C.

    ``folder`` is the run folder once the run has started, ``trained`` whether an epoch was trained
    in any. ``epochs_known`` is False where a time budget decides how many epochs there will be.
    """

    def __init__(self, console: Console, *, epochs_known: bool = True) -> None:
        self.folder: Path | None = None
        self.trained = False
        self._console = console
        self._bars = _Bars(console) if console.live else None
        self._epochs_known = epochs_known
        self._epochs = 0
        self._idle = True
        self._measured = True
        self._best: float | None = None
        self._said: dict[str, float] = {}

    def __enter__(self) -> EventPrinter:
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    def __call__(self, event: object) -> None:
        match event:
            case events.StepDone():
                self._step(event)
            case events.Progress():
                self._progress(event)
            case events.Message(level="warning"):
                self._console.warn(event.text)
            case events.Message():
                self._console.say(event.text)
            case events.RunStarted():
                self._started(event)
            case events.EpochDone():
                self._epoch(event)
            case events.RunFinished():
                self._finished(event)

    def _started(self, event: events.RunStarted) -> None:
        self.folder, self._epochs, self._idle = event.folder, event.epochs, True
        self._measured = event.val_images > 0
        epochs = counted(event.epochs, "epoch") if self._epochs_known else "epochs"
        val = counted(event.val_images, "val image") if self._measured else "val among them"
        for line in (
            f"model   {event.model}: {event.parameters / 1e6:.2f} M parameters, "
            f"{event.gflops:.2f} GFLOPs",
            f"data    {counted(event.train_images, 'train image')}, " + val,
            f"run     {epochs} of {counted(event.steps_per_epoch, 'step')} on {event.device}"
            + ("" if event.precision == "float32" else f" in {event.precision}")
            + ("; * is the best so far" if self._measured else ""),
            f"folder  {shown(event.folder)}",
        ):
            self._console.say(line)

    def _step(self, event: events.StepDone) -> None:
        if self._bars is None:
            return
        detail = _parts(event.parts)
        if self._best is not None:
            detail += f"  best AP {figure(self._best)}"
        rate = f"{event.images_per_second:.0f} images/s, {duration(event.seconds_left)} left"
        name = self._epoch_name(event.epoch)
        self._bars.show("step", name, event.step, event.steps, rate, detail)

    def _progress(self, event: events.Progress) -> None:
        if self._bars is not None:
            self._bars.show(event.task, printable(event.task), event.done, event.total)
            return
        now = time.monotonic()
        last = self._said.setdefault(event.task, now)
        if event.done >= event.total:
            del self._said[event.task]
        elif now - last >= _PLAIN_EVERY:
            self._said[event.task] = now
            self._console.say(f"{event.task} {event.done}/{event.total}")

    def _epoch(self, event: events.EpochDone) -> None:
        score = event.row.get("ap")
        if event.best and score is not None:
            self._best = score
        self._epochs, self._idle, self.trained = event.epochs, False, True
        cells = [self._epoch_name(event.epoch), _parts(event.row)]
        cells += [
            f"{head} {figure(event.row[key])}"
            for key, head in _SHARES.items()
            if event.row.get(key) is not None
        ]
        rate = event.row.get("images_per_second")
        if rate is not None and self._bars is None:  # the bar has said it; the line fits 80 columns
            cells.append(f"{rate:.0f} images/s")
        if (seconds := event.row.get("seconds")) is not None:
            cells.append(duration(seconds))
        self._console.say("  ".join(cells) + ("  *" if event.best and self._measured else ""))

    def _epoch_name(self, epoch: int) -> str:
        """``epoch  7/100``, counted from 1; without the total where only time decides."""
        if not self._epochs_known:
            return f"epoch {epoch + 1}"
        return f"epoch {epoch + 1:{len(str(self._epochs))}d}/{self._epochs}"

    def _finished(self, event: events.RunFinished) -> None:
        reasons = {"patience": "no better AP for a while", "time": "time is used up"}
        reason = reasons.get(event.reason)
        if self._idle:
            had = f"{reason} after" if reason else "it has had its"
            epochs = counted(event.epochs, "epoch")
            self._console.say(f"the run was over before: {had} {epochs}, nothing is left to train")
            return
        self._console.say(f"done in {duration(event.seconds)}" + (f" ({reason})" if reason else ""))


class _Bars:
    """One bar a running task, and a line of detail under them."""

    def __init__(self, console: Console) -> None:
        self._progress = _DetailedProgress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}", markup=False),
            console=console.screen,
            transient=True,
            refresh_per_second=_REFRESH_PER_SECOND,
        )
        self._tasks: dict[str, TaskID] = {}
        self._since: dict[str, float] = {}
        self.start, self.stop = self._progress.start, self._progress.stop

    def show(
        self, key: str, name: str, done: int, total: int, rate: str = "", detail: str | None = None
    ) -> None:
        """Draw ``done`` of ``total``; a task at its end leaves the screen."""
        if key not in self._tasks:
            self._tasks[key] = self._progress.add_task(name, total=total, rate="")
            self._since[key] = time.monotonic()
        if not rate and done:
            spent = time.monotonic() - self._since[key]
            rate = (
                f"{done / max(spent, 1e-3):.0f}/s, {duration(spent / done * (total - done))} left"
            )
        self._progress.update(
            self._tasks[key], description=name, completed=done, total=total, rate=rate
        )
        if detail is not None:
            self._progress.detail = printable(detail)
        if done >= total and key != "step":
            self._progress.remove_task(self._tasks.pop(key))


class _DetailedProgress(Progress):
    """Rich's progress with one more line under the bars."""

    detail: str = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        if self.detail:
            yield Text(self.detail, "dim", no_wrap=True, overflow="ellipsis")


def _parts(values: Mapping[str, float | int | None]) -> str:
    """The loss parts among ``values``, as ``class 0.512  box 1.203``."""
    cells = [
        f"{name} {figure(float(value))}"
        for name, value in values.items()
        if value is not None and name not in _OUTSIDE_PARTS and not name.startswith(_MEASURED)
    ]
    return "  ".join(cells)
