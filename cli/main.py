"""The Typer app and the process of a command."""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer
import typer.main

from kdlnet import __version__
from kdlnet.errors import KdlnetError

from .commands import (
    anomaly,
    bench,
    calibrate,
    compare,
    data,
    data_check,
    data_prepare,
    data_show,
    data_split,
    demo,
    distill,
    env,
    export,
    fuse,
    models,
    predict,
    pretrain,
    train,
    val,
)
from .errors import DONE, report
from .stops import STOPS
from .team import heard_once

PROGRAM = "kdlnet"

_IMPATIENCE = 3.0
"""Seconds in which another Ctrl-C is impatience; telling how to go on may take one or two."""

app = typer.Typer(
    name=PROGRAM,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Train, distill, fuse and run small defect detectors.",
    epilog="\b\nkdlnet train --data neu-det\n"
    "kdlnet val runs/train/neu-det/weights/best.pt --data neu-det",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(train.train)
app.command()(distill.distill)
app.command()(pretrain.pretrain)
app.command()(val.val)
app.command()(anomaly.anomaly)
app.command()(calibrate.calibrate)
app.command()(compare.compare)
app.command()(predict.predict)
app.command()(fuse.fuse)
app.command()(bench.bench)
app.command("benchmark-fps", hidden=True)(bench.bench)
app.command()(export.export)
app.add_typer(data.app, name="data")
data.app.command()(data_prepare.prepare)
data.app.command()(data_check.check)
data.app.command()(data_split.split)
data.app.command()(data_show.show)
app.command()(demo.demo)
app.command()(models.models)
app.command()(env.env)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"{PROGRAM} {__version__}")
        raise typer.Exit()


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Options before the verb."""


def run() -> NoReturn:
    """The process of a command: it ends with the exit code of :func:`main` and with no other."""
    code = main()
    # A Ctrl-C that ended the exec() of a text, as exporters have them, is remembered: in place of
    # exiting with the code, `python -m` would kill itself by SIGINT. The next such text forgets it.
    exec("")
    # Python ends by looking for cycles again and again through all that torch is made of, 0.4 s.
    gc.freeze()
    # What is left takes its time, too, and people press it again.
    stop = _stop_handler([time.monotonic()])
    for number in STOPS:
        signal.signal(number, stop)
        # Once its threads have ended, Python gives up handlers of its own, and not this one.
        atexit.register(signal.signal, number, signal.SIG_IGN)
    sys.exit(code)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code. Raises nothing."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    _open_closed_streams()
    _accept_any_text()
    stops: list[float] = []
    with _stopping_as_on_ctrl_c(stops):
        try:
            with heard_once():
                _run(arguments)
            sys.stdout.flush()
        except (Exception, KeyboardInterrupt) as error:
            # Stopped in the middle of an import, libraries fail in ways of their own.
            known = isinstance(error, (KdlnetError, typer.Exit, KeyboardInterrupt))
            broken = bool(stops) and (not known or type(error).__name__ == "PeerLost")
            return report(KeyboardInterrupt() if broken else error, arguments)
    return DONE


def _run(arguments: list[str]) -> None:
    command = typer.main.get_command(app)
    if f"_{PROGRAM.upper()}_COMPLETE" in os.environ:
        command.main(arguments, prog_name=PROGRAM)
        return
    # Not `command.main`: it would end the process itself and swallow Ctrl-C and broken pipes.
    with command.make_context(PROGRAM, list(arguments), obj=arguments) as context:
        command.invoke(context)


def _open_closed_streams() -> None:
    """Leads standard streams that the shell has closed (``>&-``) nowhere.

    Otherwise a print fails, and the next file that is opened takes their number.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
        if getattr(sys, name) is None:
            mode = "w" if number else "r"
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115


@contextlib.contextmanager
def _stopping_as_on_ctrl_c(stops: list[float]) -> Iterator[None]:
    """SIGTERM ends a verb as Ctrl-C does: results are written, unfinished folders removed.

    ``stops`` gets the times at which the verb was told to end.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN  # in the background of a shell
    numbers = [number for number in STOPS if not (ignored and number == signal.SIGINT)]
    stop = _stop_handler(stops)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop_handler(stops: list[float]) -> Callable[[int, object], None]:
    """Notes in ``stops`` when a stop was heard and raises it.

    One soon after must not cut off what the first began, least of all the line that says how to go
    on.
    """

    def stop(_number: int, _frame: object) -> None:
        now = time.monotonic()
        if stops and now - stops[-1] < _IMPATIENCE:
            return
        stops.append(now)
        raise KeyboardInterrupt

    return stop


def _accept_any_text() -> None:
    """File names and signs that the terminal cannot show are written as escapes, not as a crash."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
