"""Prediction from a source into a folder: what ``kdlnet predict`` does."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from kdlnet import __version__
from kdlnet.errors import ConfigError, KdlnetError
from kdlnet.events import Listener, ignore
from kdlnet.images.contract import RoiChoice, TileChoice
from kdlnet.images.sources import Source, SourceLike, open_source, picked
from kdlnet.images.window import Window
from kdlnet.inference.behind import Behind
from kdlnet.inference.prediction import Prediction
from kdlnet.inference.predictor import Predictor
from kdlnet.inference.shards import Shard, ShardBook, kept, shard_settings
from kdlnet.inference.skipped import Skipped
from kdlnet.inference.stems import Stems
from kdlnet.inference.tally import PredictResult, Tally
from kdlnet.inference.writer import PredictionWriter, check_kinds
from kdlnet.ops.limits import IOU_THRESHOLD, MAX_DETECTIONS
from kdlnet.types import ImageSize
from kdlnet.utils.output import Place

__all__ = [
    "DEFAULT_KINDS",
    "OnPrediction",
    "PredictResult",
    "Prediction",
    "Shard",
    "Skipped",
    "Source",
    "open_source",
    "predict_files",
]

DEFAULT_KINDS = ("images", "json")
OnPrediction = Callable[[Prediction], None]
OnSkipped = Callable[[Skipped], None]


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
    roi: RoiChoice = None,
    batch: int = 16,
    device: str = "auto",
    score_threshold: float | None = None,
    iou_threshold: float = IOU_THRESHOLD,
    max_detections: int = MAX_DETECTIONS,
    classes: Sequence[str] | None = None,
    save: Sequence[str] = DEFAULT_KINDS,
    strict: bool = False,
    shard: Shard | None = None,
    on_event: Listener = ignore,
    on_prediction: OnPrediction = lambda prediction: None,
    on_skipped: OnSkipped = lambda unread: None,
) -> PredictResult:
    """Predicts all of ``source`` and writes the files in ``save`` (see PredictionWriter).

    The folder is ``out`` or runs/predict/NAME, counted up where it is taken. With ``shard`` only
    its images are predicted, into a folder of its own in ``out``; called again it goes on where it
    stopped; :func:`~kdlnet.verbs.merge.merge_shards` puts them together. ``on_skipped`` hears in
    turn of what could not be read. Raises DataError when no image could be read, WeightsError,
    ConfigError, or KdlnetError for what cannot be written.
    """
    kinds = check_kinds(save)
    if shard is not None and out is None:
        raise ConfigError("a shard needs the folder that all shards go into: give --out")
    opened = source if isinstance(source, Source) else open_source(source)
    reads = (weights, *opened.files) if overwrite else (weights,)  # there may be millions
    default = Path("runs/predict") / opened.title
    place = Place(default, out, overwrite, reads, folders=opened.folders)
    if kinds or shard:
        place.check()
    predictor = Predictor.load(
        weights,
        device=device,
        image_size=image_size,
        window=window,
        tile=tile,
        overlap=overlap,
        roi=roi,
        score_threshold=score_threshold,
        iou_threshold=iou_threshold,
        max_detections=max_detections,
        batch=batch,
        classes=classes,
    )
    settings = _settings(weights, opened, predictor)
    run = partial(
        _run,
        predictor,
        strict=strict,
        on_event=on_event,
        on_prediction=on_prediction,
        on_skipped=on_skipped,
    )
    if shard is None:
        lines = opened.kind != "images"
        return run(
            opened, PredictionWriter(kinds, place, lines, settings, classes=_looked_for(predictor))
        )
    settings |= shard_settings(shard, opened, weights, kinds)
    folder = replace(place, out=place.take() / shard.title).take()
    with kept(folder, shard, settings) as book:
        return run(
            opened, PredictionWriter(kinds, place, book=book, classes=_looked_for(predictor)), book
        )


def _run(
    predictor: Predictor,
    source: Source,
    writer: PredictionWriter,
    book: ShardBook | None = None,
    *,
    strict: bool,
    on_event: Listener,
    on_prediction: OnPrediction,
    on_skipped: OnSkipped,
) -> PredictResult:
    """Predicts ``source``, of a shard what its ``book`` lacks, and writes what is found."""
    total = source.total if book is None else len(book.shard.indices(len(source.items)))
    tally = Tally(total, on_event)
    if book is not None:
        source = _rest(source, book, tally)
    stems = Stems(source.items) if writer.names_files else None
    try:
        with writer, Behind(writer, predictor.batch) as write:

            def skip() -> None:
                for unread in tally.unread():
                    write.skip(unread)
                    on_skipped(unread)

            def hear(event: object) -> None:
                tally.hear(event)
                if tally.images:  # a run that judges nothing leaves no folder
                    skip()  # now: a stream may be silent after it, or break off

            stream = predictor.stream(
                source, strict=strict, may_be_none=book is not None, on_event=hear
            )
            for prediction in stream:
                if stems is not None:
                    prediction = stems.named(prediction)
                skip()
                write(prediction)
                tally.count(prediction)
                on_prediction(prediction)
            skip()
    except (KeyboardInterrupt, KdlnetError) as error:
        raise tally.noted(error, writer.folder, writer.written) from None
    if book is not None:
        book.end(tally.images, tally.problems)
    return tally.result(writer.folder, _looked_for(predictor))


def _rest(source: Source, book: ShardBook, tally: Tally) -> Source:
    """What earlier calls left of a shard; what they found is counted."""
    done = bytearray(len(source.items))
    for values in book.found(source.items):
        done[values["index"]] = True
        tally.recall(values)
    left = (index for index in book.shard.indices(len(done)) if not done[index])
    return picked(source, array("q", left))


def _looked_for(predictor: Predictor) -> list[str]:
    """The classes whose boxes count, in the order of the weights."""
    return [name for name in predictor.names if name in (predictor.classes or predictor.names)]


def _settings(weights: Path, source: Source, predictor: Predictor) -> dict[str, Any]:
    frames = {"every": source.every} if source.every else {}
    return {
        "kdlnet": __version__,
        "weights": str(weights),
        "source": source.name,
        **frames,
        "names": list(predictor.names),
        "classes": None if predictor.classes is None else list(predictor.classes),
        "preprocess": predictor.preprocess.to_dict(),
        "thresholds": predictor.rule.to_dict(predictor.names),
        "iou_threshold": predictor.iou_threshold,
        "max_detections": predictor.max_detections,
        "device": str(predictor.engine.device),
    }
