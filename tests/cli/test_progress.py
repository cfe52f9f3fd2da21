"""Events as people see them: bars on a terminal, few plain lines elsewhere."""
# ruff: noqa: TID251

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
import rich.console

from kdlnet.events import EpochDone, Message, Progress, RunFinished, RunStarted, StepDone
from kdlnet_cli import progress
from kdlnet_cli.console import Console
from kdlnet_cli.progress import EventPrinter

STARTED = RunStarted(Path("/r"), "lightnet", 4_700_000, 8.3, 10, 5, "cpu", "float32", 120, 3)
STEP = StepDone(6, 2, 3, {"loss": 2.0, "box": 1.5}, 0.01, 123.4, 754.0)


def epoch(number: int, ap: float | None = None, best: bool = False) -> EpochDone:
    row = {
        "epoch": number,
        "loss": 2.0,
        "box": 1.5,
        "ap": ap,
        "ap50": ap,
        "lr": 0.1,
        "seconds": 65.0,
    }
    return EpochDone(number, 120, row, best)


@pytest.fixture
def terminal() -> Console:
    """A console that takes its text buffer for a terminal of 100 columns."""
    console = Console()
    console.screen = rich.console.Console(
        file=io.StringIO(), force_terminal=True, width=100, color_system=None, markup=False
    )
    return console


def text(console: Console) -> str:
    assert isinstance(console.screen.file, io.StringIO)
    return console.screen.file.getvalue()


def test_bars_show_where_the_run_is(terminal: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    with EventPrinter(terminal) as printer:
        printer(STARTED)
        printer(epoch(5, ap=0.4321, best=True))
        printer(STEP)
        assert printer.folder == Path("/r")
    shown = text(terminal)
    for part in ("epoch   7/120", "2/3", "123 images/s", "12 min 34 s left", "best AP 0.432"):
        assert part in shown
    assert "box 1.500  best AP 0.432" in shown


def test_the_cursor_comes_back_after_an_error(
    terminal: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    with pytest.raises(KeyboardInterrupt), EventPrinter(terminal) as printer:
        printer(STEP)
        raise KeyboardInterrupt
    hide, show = "\x1b[?25l", "\x1b[?25h"
    assert text(terminal).rfind(show) > text(terminal).rfind(hide) >= 0


def test_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with Console() as console, EventPrinter(console) as printer:
        printer(STARTED)
        printer(STEP)
        printer(epoch(6))
        printer(Message("all classes taken over"))
        printer(RunFinished(Path("/r"), None, {}, 65.0, "patience", 7))
        printer(object())
    captured = capsys.readouterr()
    assert captured.out.splitlines() == [
        "model   lightnet: 4.70 M parameters, 8.30 GFLOPs",
        "data    10 train images, 5 val images",
        "run     120 epochs of 3 steps on cpu; * is the best so far",
        "folder  /r",
        "epoch   7/120  box 1.500  1 min 05 s",
        "all classes taken over",
        "done in 1 min 05 s (no better AP for a while)",
    ]
    assert captured.err == ""


@pytest.mark.parametrize(
    ("reason", "words"),
    [("epochs", "it has had its 7 epochs"), ("time", "time is used up after 7 epochs")],
)
def test_a_run_that_was_over_before_it_was_resumed(
    capsys: pytest.CaptureFixture[str], reason: str, words: str
) -> None:
    with Console() as console, EventPrinter(console) as printer:
        printer(STARTED)
        printer(RunFinished(Path("/r"), None, {}, 65.0, reason, 7))
    assert not printer.trained
    line = capsys.readouterr().out.splitlines()[-1]
    assert line == f"the run was over before: {words}, nothing is left to train"


def test_one_is_not_many(capsys: pytest.CaptureFixture[str]) -> None:
    with Console() as console, EventPrinter(console) as printer:
        printer(replace(STARTED, epochs=1, train_images=1, val_images=1, steps_per_epoch=1))
    assert capsys.readouterr().out.splitlines()[1:3] == [
        "data    1 train image, 1 val image",
        "run     1 epoch of 1 step on cpu; * is the best so far",
    ]


def test_mixed_precision_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with Console() as console, EventPrinter(console) as printer:
        printer(replace(STARTED, precision="bfloat16"))
    line = capsys.readouterr().out.splitlines()[2]
    assert line == "run     120 epochs of 3 steps on cpu in bfloat16; * is the best so far"


def test_where_nothing_is_measured_no_epoch_is_the_best(capsys: pytest.CaptureFixture[str]) -> None:
    with Console() as console, EventPrinter(console) as printer:
        printer(replace(STARTED, val_images=0))
        printer(replace(epoch(6), best=True))
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:3] == [
        "data    10 train images, val among them",
        "run     120 epochs of 3 steps on cpu",
    ]
    assert lines[-1].startswith("epoch   7/120") and "*" not in lines[-1]


def test_a_time_budget_promises_no_number_of_epochs(capsys: pytest.CaptureFixture[str]) -> None:
    with Console() as console, EventPrinter(console, epochs_known=False) as printer:
        printer(STARTED)
        printer(epoch(6))
    assert "120" not in capsys.readouterr().out


def test_long_work_speaks_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 10.0, 31.0, 40.0, 62.0, 63.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with Console() as console, EventPrinter(console) as printer:
        for done in range(1, 7):
            printer(Progress("validate", done, 6))
    assert capsys.readouterr().out.splitlines() == ["validate 3/6", "validate 5/6"]


HOSTILE = "\x1b]0;title\x07[red]"


def test_names_from_files_reach_the_terminal_as_text(
    terminal: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A class may be called like a terminal code or like rich's markup."""
    monkeypatch.setenv("TERM", "xterm-256color")
    terminal.table(("split", HOSTILE), [("train", HOSTILE)])
    terminal.say(HOSTILE)
    terminal.warn(HOSTILE)
    with EventPrinter(terminal) as printer:
        printer(Progress(HOSTILE, 1, 2))
        printer(StepDone(0, 1, 3, {HOSTILE: 2.0}, 0.01, 9.0, 1.0))
    shown = text(terminal)
    assert "\x1b]" not in shown
    assert "\x07" not in shown
    assert shown.count(r"\x1b]0;title\x07[red]") >= 6
