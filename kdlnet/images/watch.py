"""Images that appear in a folder, told when they are complete."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from errno import ELOOP, ENOENT
from itertools import islice
from pathlib import Path

from kdlnet.images.folder import Closed, LeftOut, closed_line, images_below
from kdlnet.images.stamp import Stamp

REMEMBERED = 200_000
"""Answers to images that are gone, some 50 MB: a folder that drops out may hold so many."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A complete image: ``path``, its ``name`` below the watched folder, and its stamp.

    ``still`` counts the seconds for which it has not changed.
    """

    path: Path
    name: str
    stamp: Stamp
    still: float


class FolderWatch:
    """Images in ``folder`` and below, hidden files and kdlnet's own results left out.

    A file is complete when it has not changed for ``settle`` seconds by this machine's clock, which
    need not be that of the file server. One whose content changes is new. Polling, since network
    drives send no events. ``unread`` are pictures there that are not read;
    ``closed`` has the folders that cannot be listed or looked into now.
    """

    def __init__(self, folder: Path, settle: float) -> None:
        self.folder = folder
        self.settle = settle
        self.unread: set[Path] = set()
        self.closed: Closed = {}
        self._seen: dict[str, tuple[Stamp, float]] = {}
        self._done: dict[str, Stamp] = {}
        self._gone: dict[str, Stamp] = {}

    def look(self) -> dict[str, Stamp]:
        """Every image that is there now. Of what is gone the last answers are remembered, since
        it may come back; of older ones none, so memory stays flat."""
        now = time.monotonic()
        found: dict[str, Stamp] = {}
        left, self.closed = LeftOut(), {}
        self.unread = left.unread
        for path in images_below(self.folder, left, self.closed):
            try:
                found[path.relative_to(self.folder).as_posix()] = Stamp.of(path)
            except OSError as error:
                if error.errno not in (ENOENT, ELOOP):  # gone, or a link to itself
                    self.closed.setdefault(path.parent, closed_line(path.parent, error))
        before = self._seen
        self._seen = {
            name: before[name] if name in before and before[name][0] == stamp else (stamp, now)
            for name, stamp in found.items()
        }
        for name in found.keys() & self._gone.keys():
            self._done.setdefault(name, self._gone.pop(name))
        gone = [name for name in self._done if name not in found]
        self.remember({name: self._done.pop(name) for name in gone})
        return found

    def remember(self, answered: Mapping[str, Stamp]) -> None:
        """Takes images for answered that may not be there now; the last REMEMBERED are kept."""
        self._gone.update(answered)
        for name in list(islice(self._gone, max(0, len(self._gone) - REMEMBERED))):
            del self._gone[name]

    def drive(self) -> int | None:
        """That which the folder is on, None while it cannot be read.

        A network drive that drops out leaves no folder, or the empty one it was mounted on.
        """
        try:
            with os.scandir(self.folder):
                return self.folder.stat().st_dev
        except OSError:
            return None

    def done(self, name: str, stamp: Stamp) -> None:
        """This content of the file is answered."""
        self._done[name] = stamp

    def complete(self) -> list[Arrival]:
        """Complete images of the last look without an answer, those that changed first before
        the others."""
        now = time.monotonic()
        ready = [
            Arrival(self.folder / name, name, stamp, now - since)
            for name, (stamp, since) in self._seen.items()
            if self._done.get(name) != stamp and now - since >= self.settle
        ]
        return sorted(ready, key=lambda one: (one.stamp.changed, one.name))
