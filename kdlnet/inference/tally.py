"""What a prediction of many images came to, counted as they come."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdlnet.events import Listener, Message, Progress
from kdlnet.inference.prediction import Prediction
from kdlnet.inference.skipped import Skipped
from kdlnet.utils.words import counted


@dataclass(frozen=True)
class PredictResult:
    """What was found. ``boxes`` counts by class name (0 too); ``skipped`` is a line a file
    or frame.

    ``ok``, ``unsure`` and ``ng`` count images by verdict. ``stages`` are mean seconds an
    image; ``seconds`` is the wall time with reading and writing. ``folder`` is None where no file
    was asked for. Of a shard that an earlier call began ``before`` images are that one's.
    """

    folder: Path | None
    images: int
    ok: int
    unsure: int
    ng: int
    boxes: dict[str, int]
    skipped: tuple[str, ...]
    seconds: float
    stages: dict[str, float]
    before: int = 0

    @property
    def images_per_second(self) -> float:
        return (self.images - self.before) / self.seconds

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "folder": None if self.folder is None else str(self.folder),
            "images": self.images,
            "before": self.before,
            "ok": self.ok,
            "unsure": self.unsure,
            "ng": self.ng,
            "boxes": dict(self.boxes),
            "skipped": list(self.skipped),
            "seconds": round(self.seconds, 3),
            "images_per_second": round(self.images_per_second, 2),
            "stages": {stage: round(seconds, 6) for stage, seconds in self.stages.items()},
        }


class Tally:
    """Counts as predictions come, and tells how many of ``total``, if that is known."""

    def __init__(self, total: int | None, on_event: Listener) -> None:
        self._total = total
        self._on_event = on_event
        self._began = time.perf_counter()
        self._skipped: list[Skipped] = []
        self._unwritten: deque[Skipped] = deque()
        self._boxes: Counter[str] = Counter()
        self._seconds: Counter[str] = Counter()
        self._verdicts: Counter[str] = Counter()
        self._before = 0

    def hear(self, event: object) -> None:
        if isinstance(event, Skipped):
            self._skipped.append(event)
            self._unwritten.append(event)
            event = Message(f"skipped: {event.reason}", "warning")
        self._on_event(event)

    def unread(self) -> Iterator[Skipped]:
        """Images that could not be read and come before the next one to count, each once."""
        while self._unwritten and self._unwritten[0].after <= self.images - self._before:
            yield self._unwritten.popleft()

    def count(self, prediction: Prediction) -> None:
        self._verdicts[prediction.verdict] += 1
        self._boxes.update(prediction.counts())
        self._seconds.update(prediction.seconds)
        if self._total is not None:
            done = min(self.images + len(self._skipped), self._total)
            self._on_event(Progress("predict", done, self._total))

    def recall(self, values: Mapping[str, Any]) -> None:
        """Counts what an earlier call found, as ``Prediction.to_dict`` gives it."""
        self._verdicts[values["verdict"]] += 1
        self._boxes.update(box["class"] for box in values["boxes"])
        self._before += 1

    def noted(self, error: BaseException, folder: Path | None, written: int) -> BaseException:
        """The error, which also says where the results up to it are: ``written`` of this call."""
        images = self._before + written
        if folder is None or not images:
            return error
        kept = f"the results of {counted(images, 'image')} before it are in {folder}"
        if isinstance(error, KeyboardInterrupt):
            error.add_note(kept)
            return error
        return type(error)(f"{error} ({kept})")

    @property
    def images(self) -> int:
        return self._verdicts.total()

    @property
    def problems(self) -> tuple[Skipped, ...]:
        return tuple(self._skipped)

    @property
    def skipped(self) -> tuple[str, ...]:
        return tuple(one.reason for one in self._skipped)

    def result(self, folder: Path | None, names: Sequence[str]) -> PredictResult:
        images = self.images
        new = images - self._before
        return PredictResult(
            folder,
            images,
            self._verdicts["OK"],
            self._verdicts["UNSURE"],
            self._verdicts["NG"],
            {name: self._boxes[name] for name in names},
            self.skipped,
            time.perf_counter() - self._began,
            {stage: total / new for stage, total in self._seconds.items()},
            self._before,
        )
