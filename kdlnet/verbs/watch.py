"""``kdlnet predict --watch``: the images of a line, answered as they come."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from threading import Event
from typing import Any

import yaml

from kdlnet import __version__
from kdlnet.errors import ConfigError, DataError, KdlnetError
from kdlnet.events import Listener, Message, ignore
from kdlnet.images.folder import by_suffix, unread_line
from kdlnet.images.frame import Frame
from kdlnet.images.read import read_image
from kdlnet.images.roi import looked_at
from kdlnet.images.stamp import stamp_of
from kdlnet.images.watch import REMEMBERED, Arrival, FolderWatch
from kdlnet.inference.daybook import DayBook, Entry
from kdlnet.inference.prediction import Prediction
from kdlnet.inference.predictor import Predictor, batches
from kdlnet.inference.skipped import UNREADABLE, Skipped
from kdlnet.report.images import save_image
from kdlnet.utils.files import write_atomic, write_yaml
from kdlnet.utils.lock import alone_in
from kdlnet.utils.manifest import MARK
from kdlnet.utils.output import Place
from kdlnet.utils.paths import shown
from kdlnet.utils.words import counted

__all__ = ["SETTLE", "Entry", "Predictor", "WatchResult", "watch_folder"]

SETTLE = 0.5
"""Seconds without a change after which a file is complete."""
_SETTINGS = "watch.yaml"
_PATIENCE = 5.0  # seconds for which a complete file that cannot be read is tried again
_BEHIND = 5.0  # seconds for images that came together, after which it is told that others wait
_LONGEST = 200  # bytes of a name to which suffixes are added
OnAnswer = Callable[[Entry], None]


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
        write_yaml(folder / _SETTINGS, _settings(predictor, weights, source))
        watch, book = FolderWatch(source, settle), DayBook(folder)
        desk = _Desk(predictor, weights, watch, book, pictures, on_event, on_answer)
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
            line = book.turn(_now())
            if line is not None:
                on_event(Message(line))
            if last:
                break
            # A look at a full folder takes a while: it is not looked at all the time.
            stop.wait(max(settle / 2, 3 * (time.monotonic() - began)))
        on_event(Message(book.line()))
    return WatchResult(folder, dict(desk.images))


class _Desk:
    """Takes arrivals to their answers."""

    def __init__(
        self,
        predictor: Predictor,
        weights: Path,
        watch: FolderWatch,
        book: DayBook,
        pictures: bool,
        on_event: Listener,
        on_answer: OnAnswer,
    ) -> None:
        self.predictor = predictor
        self.weights = weights
        self.watch = watch
        self.book = book
        self.pictures = pictures
        self.on_event = on_event
        self.on_answer = on_answer
        self.images: dict[str, int] = {}
        self.depth_told = False
        self.longest_told = 0.0

    def recall(self, before: int | None) -> int | None:
        """A look; the drive of the folder now. What came back keeps the answers of the book."""
        drive, present = self.watch.drive(), self.watch.look()
        if drive == before:
            return drive
        if before is None:
            self.watch.remember(self.book.last(REMEMBERED))
        else:
            gone = f"{shown(self.watch.folder)} is gone, or another drive is in its place"
            self.on_event(Message(f"{gone}: waiting for images there", "warning"))
        for name, stamp in self.book.answered(present):
            self.watch.done(name, stamp)
        return drive

    def answer(self, arrivals: list[Arrival], backlog: bool) -> None:
        """Answers all of them, ``batch`` at once where several wait.

        Where that takes long, the next ones wait: it is told, unless they are the ``backlog`` of a
        start, and again when it takes twice as long.
        """
        began = time.monotonic()
        self._answer(arrivals)
        took = time.monotonic() - began
        if not backlog and took > max(_BEHIND, 2 * self.longest_told):
            self.longest_told = took
            text = (
                f"{counted(len(arrivals), 'image')} came while others were answered and took "
                f"{took:.0f} s: images come quicker than they are answered, and wait as long"
            )
            self.on_event(Message(text, "warning"))

    def _answer(self, arrivals: list[Arrival]) -> None:
        waiting = {arrival.name: arrival for arrival in arrivals}
        for frames in batches(self._frames(arrivals), self.predictor.batch):
            if not self.depth_told and (line := self.predictor.depth_line(frames[0])):
                self.depth_told = True
                self.on_event(Message(line, "warning"))
            for prediction in self.predictor.detect(frames):
                self._predicted(waiting[prediction.name], prediction)

    def _frames(self, arrivals: list[Arrival]) -> Iterator[Frame]:
        roi = self.predictor.preprocess.roi
        for arrival in arrivals:
            began = time.perf_counter()
            try:
                image = read_image(arrival.path)
                looked_at(image.shape[:2], roi, f"image {str(arrival.path)!r}")
            except DataError as error:
                if stamp_of(arrival.path) and arrival.still >= self.watch.settle + _PATIENCE:
                    self._unreadable(arrival, str(error))
                continue
            seconds = time.perf_counter() - began
            if stamp_of(arrival.path) != arrival.stamp:
                continue  # it changed while it was read: another time
            yield Frame(arrival.name, arrival.name, image, seconds=seconds, path=arrival.path)

    def _predicted(self, arrival: Arrival, prediction: Prediction) -> None:
        best = int(prediction.scores.argmax()) if len(prediction) else None
        if self.pictures:
            save_image(self._file("images", arrival.name, ".jpg"), prediction.draw())
        entry = Entry(
            arrival.name,
            arrival.stamp,
            prediction.verdict,
            len(prediction),
            "" if best is None else prediction.names[int(prediction.labels[best])],
            None if best is None else float(prediction.scores[best]),
            _latency(arrival),
        )
        self._write(arrival, entry, prediction.to_dict())

    def _unreadable(self, arrival: Arrival, reason: str) -> None:
        entry = Entry(arrival.name, arrival.stamp, UNREADABLE, latency=_latency(arrival))
        self.on_event(Message(f"unreadable: {reason}", "warning"))
        self._write(arrival, entry, Skipped(reason, arrival.name).to_dict())

    def _write(self, arrival: Arrival, entry: Entry, values: dict[str, Any]) -> None:
        """The answer first, then the row that says it is given: a kill between repeats it."""
        now = _now()
        values |= {"time": now.isoformat(timespec="milliseconds"), "weights": str(self.weights)}
        text = json.dumps(values, ensure_ascii=False) + "\n"
        path = self._file("verdicts", arrival.name, ".json")
        write_atomic(path, text.encode("utf-8", "surrogateescape"))
        line = self.book.add(entry, now)
        if line is not None:
            self.on_event(Message(line))
        self.watch.done(arrival.name, arrival.stamp)
        self.images[entry.verdict] = self.images.get(entry.verdict, 0) + 1
        self.on_answer(entry)

    def _file(self, kind: str, name: str, suffix: str) -> Path:
        """Where an answer lies. Of a name that would grow too long a digest is the rest; so it is
        where ``q.png.json`` would be the answer to one image and the folder of others.

        Raises KdlnetError where the folder is no longer that of this watch.
        """
        if not (self.book.folder / _SETTINGS).exists():
            raise KdlnetError(
                f"{str(self.book.folder)!r} was removed or emptied while answers went into it: "
                "start the watch again, which begins it anew"
            )
        *parents, last = name.split("/")
        folder = self.book.folder / kind
        for parent in parents:
            folder /= _digested(parent) if (folder / parent).is_file() else parent
        long = len(os.fsencode(last)) > _LONGEST
        if long or (folder / (last + suffix)).is_dir():
            last = _digested(last)
        return folder / (last + suffix)


def _digested(name: str) -> str:
    """``name``, shortened where it is long, with a digest of it."""
    data = os.fsencode(name)
    start = data[: _LONGEST - 17].decode("utf-8", "ignore")
    return f"{start}-{sha256(data).hexdigest()[:16]}"


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
    settings = folder / _SETTINGS
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


def _latency(arrival: Arrival) -> float:
    return max(0.0, time.time() - arrival.stamp.changed / 1e9)


def _now() -> datetime:
    return datetime.now().astimezone()
