"""Where the images of a line that come get their answers: ``kdlnet predict --watch``."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from kdlnet.errors import DataError, KdlnetError
from kdlnet.events import Listener, Message
from kdlnet.images.frame import Frame, batches
from kdlnet.images.read import read_image
from kdlnet.images.roi import looked_at
from kdlnet.images.stamp import stamp_of
from kdlnet.images.watch import REMEMBERED, Arrival, FolderWatch
from kdlnet.inference.daybook import DayBook, Entry
from kdlnet.inference.prediction import Prediction
from kdlnet.inference.predictor import Predictor
from kdlnet.inference.skipped import UNREADABLE, Skipped
from kdlnet.report.images import save_image
from kdlnet.utils.files import write_atomic
from kdlnet.utils.paths import shown
from kdlnet.utils.words import counted

SETTINGS = "watch.yaml"
"""The file of a folder of answers that says whose it is."""
_PATIENCE = 5.0  # seconds for which a complete file that cannot be read is tried again
_BEHIND = 5.0  # seconds for images that came together, after which it is told that others wait
_LONGEST = 200  # bytes of a name to which suffixes are added
OnAnswer = Callable[[Entry], None]


class Desk:
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

    def turn(self) -> None:
        """Tells what went by on a day that is over."""
        line = self.book.turn(_now())
        if line is not None:
            self.on_event(Message(line))

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
        if not (self.book.folder / SETTINGS).exists():
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


def _latency(arrival: Arrival) -> float:
    return max(0.0, time.time() - arrival.stamp.changed / 1e9)


def _now() -> datetime:
    return datetime.now().astimezone()
