"""What went by, day by day: one CSV row an image, appended at once, read back after a restart."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any

from kdlnet.images.stamp import Stamp
from kdlnet.utils.files import open_to_grow, told
from kdlnet.utils.table import csv_text, path_cell, text_cell
from kdlnet.utils.words import counted

COLUMNS = ("time", "name", "size", "changed", "verdict", "boxes", "class", "score", "latency")

_ROW = re.compile(r"^(?=\d{4}-\d\d-\d\dT)", re.MULTILINE)  # each begins with its time


@dataclass(frozen=True, slots=True)
class Entry:
    """The answer to one image. ``label`` and ``score`` are of the box with the highest score.

    ``latency`` in seconds from the file's last change, by its server's clock, to the answer.
    """

    name: str
    stamp: Stamp
    verdict: str
    boxes: int = 0
    label: str = ""
    score: float | None = None
    latency: float = 0.0

    def __str__(self) -> str:
        best = (
            ""
            if self.score is None
            else f" ({counted(self.boxes, 'box', 'boxes')}, best {self.label} {self.score:.2f})"
        )
        return f"{self.name}: {self.verdict}{best}"

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {**asdict(self), "latency": round(self.latency, 3)}


class DayBook:
    """``YYYY-MM-DD.csv`` files in ``folder``, a row an image by the local time of its answer."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.day = ""
        self.counts: Counter[str] = Counter()

    def answered(self, present: dict[str, Stamp]) -> Iterator[tuple[str, Stamp]]:
        """Those of the ``present`` images that have an answer, from the newest day backwards.

        As soon as all are found no older day is read.
        """
        open_names = set(present)
        for file in sorted(self.folder.glob("????-??-??.csv"), reverse=True):
            if not open_names:
                return
            for name, stamp, _ in _rows(file):
                if name in open_names and present[name] == stamp:
                    open_names.discard(name)
                    yield name, stamp

    def last(self, count: int) -> dict[str, Stamp]:
        """The images of the newest ``count`` answers, the oldest of them first."""
        days: list[list[tuple[str, Stamp]]] = []
        for file in sorted(self.folder.glob("????-??-??.csv"), reverse=True):
            if sum(map(len, days)) >= count:
                break
            days.append([(name, stamp) for name, stamp, _ in _rows(file)])
        return dict(list(chain.from_iterable(reversed(days)))[-count:])

    def add(self, entry: Entry, now: datetime) -> str | None:
        """Appends the row of an image; what :meth:`turn` says of the day before.

        Raises KdlnetError when it cannot be written.
        """
        line = self.turn(now)
        file = self.folder / f"{self.day}.csv"
        score = "" if entry.score is None else f"{entry.score:.5f}"
        when, stamp = now.isoformat(timespec="milliseconds"), entry.stamp
        answer = (entry.verdict, entry.boxes, text_cell(entry.label), score, f"{entry.latency:.3f}")
        _append(file, (when, path_cell(entry.name), stamp.size, stamp.changed, *answer))
        self.counts[entry.verdict] += 1
        return line

    def turn(self, now: datetime) -> str | None:
        """Goes on to the day of ``now``; the line of the day before, None where it is the same."""
        today = now.strftime("%Y-%m-%d")
        if today == self.day:
            return None
        line = self.line() if self.day else None
        self.day = today
        rows = _rows(self.folder / f"{today}.csv")
        self.counts = Counter(verdict for _, _, verdict in rows)
        return line

    def line(self) -> str:
        """The day so far in one line."""
        total = sum(self.counts.values())
        parts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(self.counts.items()))
        return f"{self.day}: {counted(total, 'image')}" + (f", {parts}" if parts else "")


def _rows(file: Path) -> Iterator[tuple[str, Stamp, str]]:
    """Name, stamp and verdict of each whole row; a kill or a full disk may have torn any."""
    try:
        text = file.read_bytes().decode("utf-8", "surrogateescape")  # a name may hold \r
    except FileNotFoundError:
        return
    # Each row is read alone: a quotation mark left open would swallow the rows after it.
    for row in _ROW.split(text)[1:]:
        try:
            if '"' in row or "\r" in row:
                values = next(csv.reader(io.StringIO(row, newline="")))
            else:  # nearly all, at a fraction of the time
                values = row.partition("\n")[0].split(",")
            _, name, size, changed, verdict, *rest = values
            stamp = Stamp(int(size), int(changed))
        except ValueError:
            continue
        if len(rest) == len(COLUMNS) - 5:
            yield name.removeprefix("./"), stamp, verdict


def _append(file: Path, values: tuple[object, ...]) -> None:
    """One row in one write, after the header where the file is new and on a line of its own."""
    with told(file, "free some space there"), open_to_grow(file) as book:
        header = "" if book.tell() else csv_text([COLUMNS])
        book.write((header + csv_text([values])).encode("utf-8", "surrogateescape"))
