"""``kdlnet predict --watch``: the images of a line, answered as they come."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import yaml

from kdlnet import __version__
from kdlnet.errors import ConfigError, DataError
from kdlnet.events import Listener, Message, ignore
from kdlnet.images.folder import by_suffix, unread_line
from kdlnet.images.watch import FolderWatch
from kdlnet.inference.daybook import DayBook, Entry
from kdlnet.inference.desk import SETTINGS, Desk, OnAnswer
from kdlnet.inference.predictor import Predictor
from kdlnet.utils.files import write_yaml
from kdlnet.utils.lock import alone_in
from kdlnet.utils.manifest import MARK
from kdlnet.utils.output import Place
from kdlnet.utils.paths import shown

__all__ = ["SETTLE", "Entry", "Predictor", "WatchResult", "watch_folder"]

SETTLE = 0.5
"""Seconds without a change after which a file is complete."""


@dataclass(frozen=True)
class WatchResult:
    """``folder`` has the answers; ``images`` counts those of this call by verdict."""

    folder: Path
    images: dict[str, int]


def watch_folder(
    predictor: Predictor,
    weights: Path,
    source: Path,
    *,
    out: Path | None = None,
    pictures: bool = False,
    settle: float = SETTLE,
    stop: Event | None = None,
    on_event: Listener = ignore,
    on_answer: OnAnswer = lambda entry: None,
) -> WatchResult:
    """Answers every image of ``source`` once, those that are there and those that come.

    ``out``, or runs/watch/NAME, gets ``verdicts/NAME.json`` for each image (NAME with its suffix),
    written in one step, a row in ``YYYY-MM-DD.csv``, and with ``pictures`` ``images/NAME.jpg``.
    A folder of an earlier watch of ``source`` is continued: what has an answer gets no other,
    unless the file changed. A complete file that cannot be read is UNREADABLE after five seconds.
    Ends once ``stop`` is set and what is complete by then is answered.

    Raises DataError for folders that will not do, KdlnetError when another process works there or
    an answer cannot be written.
    """
    _check(source, settle)
    if line := predictor.rates_line():
        on_event(Message(line, "warning"))
    folder = _folder(source, out)
    with alone_in(folder):
        write_yaml(folder / SETTINGS, _settings(predictor, weights, source))
        watch, book = FolderWatch(source, settle), DayBook(folder)
        desk = Desk(predictor, weights, watch, book, pictures, on_event, on_answer)
        stop = stop or Event()
        on_event(Message(f"watching {shown(source)}; Ctrl-C ends it"))
        told: set[str] = set()
        closed: set[Path] = set()
        drive: int | None = None
        while True:
            last = stop.is_set()
            began = time.monotonic()
            before, drive = drive, desk.recall(drive)
            desk.answer(watch.complete(), backlog=drive != before)
            for path in watch.closed.keys() - closed:
                on_event(Message(watch.closed[path], "warning"))
            closed = set(watch.closed)
            if fresh := {file for file in watch.unread if file.suffix.lower() not in told}:
                told |= by_suffix(fresh).keys()
                on_event(Message(unread_line(fresh), "warning"))
            desk.turn()
            if last:
                break
            # A look at a full folder takes a while: it is not looked at all the time.
            stop.wait(max(settle / 2, 3 * (time.monotonic() - began)))
        on_event(Message(book.line()))
    return WatchResult(folder, dict(desk.images))


def _check(source: Path, settle: float) -> None:
    if not source.is_dir():
        raise DataError(f"--watch {str(source)!r} is no folder: make it first, or name another")
    if not 0 < settle <= 3600:
        raise ConfigError(f"--settle {settle:g}: give seconds above 0, up to 3600")


def _folder(source: Path, out: Path | None) -> Path:
    """The folder of the answers: that of an earlier watch of ``source``, or a new one.

    It is never counted up: a restart would find no answers, and who reads them another folder.
    """
    place = Place(Path("runs/watch") / source.resolve().name, out, folders=(source,))
    folder = place.folder
    settings = folder / SETTINGS
    if settings.is_file() and (before := _source_of(settings)) != str(source.resolve()):
        raise DataError(
            f"{str(folder)!r} has the answers to {before!r}: choose another --out for "
            f"{str(source)!r}"
        )
    inside = folder.iterdir() if folder.is_dir() else ()
    if not settings.exists() and any(not path.name.startswith(MARK) for path in inside):
        raise DataError(
            f"{str(folder)!r} holds something else than answers of a watch: choose another --out, "
            "one that is empty or not there yet"
        )
    return place.take()


def _source_of(settings: Path) -> str:
    try:
        return str(yaml.safe_load(settings.read_text(encoding="utf-8"))["source"])
    except (yaml.YAMLError, KeyError, TypeError, ValueError):
        return ""


def _settings(predictor: Predictor, weights: Path, source: Path) -> dict[str, Any]:
    return {
        "kdlnet": __version__,
        "source": str(source.resolve()),
        "weights": str(weights),
        "names": list(predictor.names),
        "preprocess": predictor.preprocess.to_dict(),
    }
