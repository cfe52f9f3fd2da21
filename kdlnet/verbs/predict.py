"""Prediction from a source into a folder: what ``kdlnet predict`` does."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdlnet import __version__
from kdlnet.errors import KdlnetError
from kdlnet.events import Listener, Message, Progress, ignore
from kdlnet.images.contract import TileChoice
from kdlnet.images.sources import TIMEOUT, Source, SourceLike, open_source
from kdlnet.images.window import Window
from kdlnet.inference.pipeline import IOU_THRESHOLD, MAX_DETECTIONS
from kdlnet.inference.prediction import Prediction
from kdlnet.inference.predictor import Predictor, Skipped
from kdlnet.inference.writer import PredictionWriter, check_kinds
from kdlnet.types import ImageSize
from kdlnet.utils.output import Place

__all__ = [
    "DEFAULT_KINDS",
    "OnPrediction",
    "PredictResult",
    "Prediction",
    "Source",
    "open_source",
    "predict_files",
]

DEFAULT_KINDS = ("images", "json")
_PENDING = 2  # predictions, with their images, that wait to be drawn and written
OnPrediction = Callable[[Prediction], None]


@dataclass(frozen=True)
class PredictResult:
    """What was found. ``boxes`` counts by class name (0 too); ``skipped`` is a line a file.

    ``ok``, ``unsure`` and ``ng`` count images by verdict. ``stages`` are mean seconds an
    image; ``seconds`` is the wall time with reading and writing. ``folder`` is None where no file
    was asked for.
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

    @property
    def images_per_second(self) -> float:
        return self.images / self.seconds

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "folder": None if self.folder is None else str(self.folder),
            "images": self.images,
            "ok": self.ok,
            "unsure": self.unsure,
            "ng": self.ng,
            "boxes": dict(self.boxes),
            "skipped": list(self.skipped),
            "seconds": round(self.seconds, 3),
            "images_per_second": round(self.images_per_second, 2),
            "stages": {stage: round(seconds, 6) for stage, seconds in self.stages.items()},
        }


def predict_files(
    weights: Path,
    source: SourceLike | Source,
    *,
    out: Path | None = None,
    overwrite: bool = False,
    image_size: ImageSize | None = None,
    window: Window | None = None,
    tile: TileChoice = None,
    overlap: float | None = None,
    batch: int = 16,
    device: str = "auto",
    score_threshold: float | None = None,
    iou_threshold: float = IOU_THRESHOLD,
    max_detections: int = MAX_DETECTIONS,
    classes: Sequence[str] | None = None,
    save: Sequence[str] = DEFAULT_KINDS,
    strict: bool = False,
    timeout: float = TIMEOUT,
    on_event: Listener = ignore,
    on_prediction: OnPrediction = lambda prediction: None,
) -> PredictResult:
    """Predicts all of ``source`` and writes the files in ``save`` (see PredictionWriter).

    The folder is ``out`` or runs/predict/NAME, counted up where it is taken. Raises DataError when
    no image could be read, WeightsError, ConfigError, or KdlnetError for what cannot be written.
    """
    kinds = check_kinds(save)
    opened = source if isinstance(source, Source) else open_source(source, timeout)
    default, reads = Path("runs/predict") / opened.title, (weights, *opened.files)
    place = Place(default, out, overwrite, reads, folders=opened.folders)
    if kinds:
        place.check()
    if opened.note:
        on_event(Message(opened.note, "warning"))
    predictor = Predictor.load(
        weights,
        device=device,
        image_size=image_size,
        window=window,
        tile=tile,
        overlap=overlap,
        score_threshold=score_threshold,
        iou_threshold=iou_threshold,
        max_detections=max_detections,
        batch=batch,
        classes=classes,
    )
    if _seen_otherwise(predictor):
        text = (
            "images are seen at another size, window or tiles than when the thresholds were chosen"
        )
        on_event(Message(f"{text}: their rates do not hold; see kdlnet calibrate", "warning"))
    lines = opened.kind != "images"
    settings = _settings(weights, opened, predictor)
    tally = _Tally(opened, on_event)
    writer = PredictionWriter(kinds, place, lines, settings)
    try:
        with writer, _Behind(writer.write) as write:
            for prediction in predictor.stream(opened, strict=strict, on_event=tally.hear):
                write(prediction)
                tally.count(prediction)
                on_prediction(prediction)
    except (KeyboardInterrupt, KdlnetError) as error:
        raise tally.noted(error, writer.folder) from None
    counted = [name for name in predictor.names if name in (predictor.classes or predictor.names)]
    return tally.result(writer.folder, counted)


class _Behind:
    """Calls ``act`` in order in a thread of its own, so that drawing waits for no network.

    A context; leaving it waits for the rest. An error of ``act`` is raised by a later call or at
    the end.
    """

    def __init__(self, act: OnPrediction) -> None:
        self._act = act
        self._pool = ThreadPoolExecutor(1)
        self._pending: deque[Future[None]] = deque()

    def __call__(self, prediction: Prediction) -> None:
        while len(self._pending) >= _PENDING:
            self._pending.popleft().result()
        self._pending.append(self._pool.submit(self._act, prediction))

    def __enter__(self) -> _Behind:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._pool.shutdown(wait=True)
        if error is None:
            for future in self._pending:
                future.result()


class _Tally:
    """Counts as predictions come, and tells how far it is."""

    def __init__(self, source: Source, on_event: Listener) -> None:
        self._source = source
        self._on_event = on_event
        self._began = time.perf_counter()
        self._skipped: list[str] = []
        self._boxes: Counter[str] = Counter()
        self._seconds: Counter[str] = Counter()
        self._verdicts: Counter[str] = Counter()

    def hear(self, event: object) -> None:
        if isinstance(event, Skipped):
            self._skipped.append(event.reason)
            event = Message(f"skipped: {event.reason}", "warning")
        self._on_event(event)

    def count(self, prediction: Prediction) -> None:
        self._verdicts[prediction.verdict] += 1
        self._boxes.update(prediction.counts())
        self._seconds.update(prediction.seconds)
        if self._source.total is not None:
            done = min(self._verdicts.total() + len(self._skipped), self._source.total)
            self._on_event(Progress("predict", done, self._source.total))

    def noted(self, error: BaseException, folder: Path | None) -> BaseException:
        """The error, which also says where the results up to it are."""
        if folder is None or not self._verdicts:
            return error
        kept = f"the results of {self._verdicts.total()} images before it are in {folder}"
        if isinstance(error, KeyboardInterrupt):
            error.add_note(kept)
            return error
        return type(error)(f"{error} ({kept})")

    def result(self, folder: Path | None, names: Sequence[str]) -> PredictResult:
        images = self._verdicts.total()
        return PredictResult(
            folder,
            images,
            self._verdicts["OK"],
            self._verdicts["UNSURE"],
            self._verdicts["NG"],
            {name: self._boxes[name] for name in names},
            tuple(self._skipped),
            time.perf_counter() - self._began,
            {stage: total / images for stage, total in self._seconds.items()},
        )


def _seen_otherwise(predictor: Predictor) -> bool:
    """Whether calibrated thresholds are asked about images as they were not calibrated for."""
    chosen_for = predictor.calibration.get("preprocess")
    return chosen_for is not None and chosen_for != predictor.preprocess.to_dict()


def _settings(weights: Path, source: Source, predictor: Predictor) -> dict[str, Any]:
    return {
        "kdlnet": __version__,
        "weights": str(weights),
        "source": source.name,
        "names": list(predictor.names),
        "classes": None if predictor.classes is None else list(predictor.classes),
        "preprocess": predictor.preprocess.to_dict(),
        "thresholds": predictor.rule.to_dict(predictor.names),
        "iou_threshold": predictor.iou_threshold,
        "max_detections": predictor.max_detections,
        "device": str(predictor.engine.device),
    }
