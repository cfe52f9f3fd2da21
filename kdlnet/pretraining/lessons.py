"""Views and what a teacher says of them, asked once and kept in memory-mapped files."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kdlnet.errors import DataError, WeightsError
from kdlnet.pretraining.teachers import STRIDES, FeatureTeacher, Lesson
from kdlnet.pretraining.views import Views
from kdlnet.utils.files import reserve, told, write_json
from kdlnet.utils.manifest import record

Shapes = tuple[tuple[int, ...], ...]
"""Of one view's three maps and vector."""

_ASKED_TOGETHER = 16
_ASKED_TOGETHER_ON_A_GPU = 128
_SAVED_EVERY = 64  # batches
_SAMPLE = 2048  # views that the scale of the channels is measured on
_NO_ROOM = (
    "free some space there and go on with --resume, or begin anew with a lower --cache-gb or "
    "another --out"
)


class Lessons:
    """The views and lessons of ``folder``, one file each, filled by :meth:`ask`.

    Lessons are in half precision. ``done`` views have been asked; an interrupted filling goes on
    there. What was unreadable then is so for ``views``, too. Raises DataError where lessons do not
    fit ``views`` and ``shapes``, KdlnetError where the disk has no room for them: nothing is lost.
    """

    def __init__(self, folder: Path, views: Views, shapes: Shapes) -> None:
        self.folder = folder
        self.views = views
        folder.mkdir(parents=True, exist_ok=True)
        size, count = views.cut.size, len(views)
        asked = self.done > 0
        unreadable = _kept(folder)["unreadable"]
        views.unreadable.update({int(number): line for number, line in unreadable.items()})
        self._views = _open(folder / "views.npy", (count, size, size, 3), np.uint8, asked)
        self._answers = [
            _open(folder / f"{name}.npy", (count, *shape), np.float16, asked)
            for name, shape in zip(_NAMES, shapes, strict=True)
        ]

    @property
    def done(self) -> int:
        """How many views, from the first, have been asked."""
        return int(_kept(self.folder)["views"])

    @property
    def seconds(self) -> float:
        """What the asking took, interruptions left out."""
        return float(_kept(self.folder)["seconds"])

    def ask(self, teacher: FeatureTeacher, device: torch.device, on_progress: Progress) -> None:
        """Fills the files from ``done`` on. Raises WeightsError for another teacher than so far."""
        self._require(teacher)
        total, spent, began = len(self.views), self.seconds, time.perf_counter()
        together = _ASKED_TOGETHER_ON_A_GPU if device.type == "cuda" else _ASKED_TOGETHER
        for number, start in enumerate(range(self.done, total, together), start=1):
            rows = slice(start, min(start + together, total))
            for row in range(rows.start, rows.stop):
                self._views[row] = self.views[row]
            lesson = teacher(to_unit(torch.from_numpy(self._views[rows])).to(device))
            for file, answer in zip(self._answers, (*lesson.maps, lesson.vector), strict=True):
                file[rows] = answer.cpu().numpy().astype(np.float16)
            if number % _SAVED_EVERY == 0 or rows.stop == total:
                self.keep(rows.stop, spent + time.perf_counter() - began, teacher.digest)
            on_progress(rows.stop, total)

    def keep(self, done: int, seconds: float, digest: str) -> None:
        """Makes the first ``done`` views last: an interrupted filling goes on behind them.

        ``digest`` is that of the teacher who answered.
        """
        for file in (self._views, *self._answers):
            file.flush()
        kept = {"views": done, "seconds": seconds, "unreadable": self.views.unreadable}
        write_json(self.folder / "done.json", kept | {"teacher": digest})

    def _require(self, teacher: FeatureTeacher) -> None:
        """That the teacher is the one of before; runs of old versions do not know which it was."""
        asked = _kept(self.folder).get("teacher", teacher.digest)
        if self.done < len(self.views) and asked != teacher.digest:
            raise WeightsError(
                f"teacher {teacher.name!r} is another file than the one that answered for the "
                f"first {self.done} views: bring that back to where it was, or start a new run"
            )

    def __getitem__(self, rows: NDArray[np.int64]) -> tuple[Tensor, Lesson]:
        """Views (B, size, size, 3) uint8 and their lesson in half precision."""
        maps = [torch.from_numpy(file[rows]) for file in self._answers]
        return torch.from_numpy(self._views[rows]), Lesson(tuple(maps[:-1]), maps[-1])

    def sample(self) -> Lesson:
        """The lesson of some 2000 views, spread over all."""
        usable = self.views.usable()
        rows = np.linspace(0, len(usable) - 1, min(_SAMPLE, len(usable)))
        return self[usable[np.unique(rows.round().astype(np.int64))]][1]


Progress = Callable[[int, int], None]
_NAMES = (*(f"stride{stride}" for stride in STRIDES), "vector")


def lesson_shapes(teacher: FeatureTeacher, size: int, device: torch.device) -> Shapes:
    """What ``teacher`` answers to a view of ``size`` pixels."""
    lesson = teacher(torch.zeros(1, 3, size, size, device=device))
    return tuple(tuple(x.shape[1:]) for x in (*lesson.maps, lesson.vector))


def asked_shapes(folder: Path, count: int) -> Shapes | None:
    """What lies in ``folder``, if the lessons of all ``count`` views do; None where one is missing.

    None also where they cannot be read: :class:`Lessons` says more of that.
    """
    if _kept(folder)["views"] < count:
        return None
    try:
        files = [np.lib.format.open_memmap(folder / f"{name}.npy", "r") for name in _NAMES]
    except (OSError, ValueError):
        return None
    return tuple(file.shape[1:] for file in files)


def bytes_a_view(shapes: Shapes, size: int) -> int:
    """What one view takes on the disk, with its lesson."""
    return 3 * size * size + 2 * sum(int(np.prod(shape)) for shape in shapes)


def to_unit(views: Tensor) -> Tensor:
    """Views (B, H, W, 3) uint8 as images (B, 3, H, W) in [0, 1], channels last in memory."""
    return views.permute(0, 3, 1, 2).float().div_(255)


def _kept(folder: Path) -> dict[str, Any]:
    """What :meth:`Lessons.keep` wrote."""
    file = folder / "done.json"
    kept: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
    return {"views": 0, "seconds": 0.0, "unreadable": {}} | kept


def _open(file: Path, shape: tuple[int, ...], kind: Any, asked: bool) -> np.memmap[Any, Any]:
    """The file of that shape: as it was ``asked``, made anew where nothing has been."""
    if asked:
        try:
            # For reading first: "r+" would fill a file that was cut short with zeros.
            found: np.memmap[Any, Any] = np.lib.format.open_memmap(file, "r")
            if (found.shape, found.dtype) == (shape, kind):
                return np.lib.format.open_memmap(file, "r+")
            holds = f"is of {len(found)} views"
        except FileNotFoundError:
            holds = "is gone"
        except ValueError:  # cut short, or other bytes
            holds = "is damaged"
        raise DataError(
            f"{str(file)!r} {holds} and the run needs the lessons of {shape[0]}: bring images, "
            "teacher and this folder back as they were when it was asked, or start a new run"
        )
    with told(file, _NO_ROOM):
        try:
            made: np.memmap[Any, Any] = np.lib.format.open_memmap(file, "w+", kind, shape)
            with file.open("r+b") as whole:
                reserve(whole.fileno(), file.stat().st_size)
        except OSError:
            file.unlink(missing_ok=True)
            raise
    record(file, grows=True)
    return made
