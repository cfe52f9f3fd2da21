"""What a person looks at after a validation: curves, confusion matrix, the worst images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kdlnet.events import Listener, Progress, ignore
from kdlnet.images.read import read_image
from kdlnet.metrics.confusion import confusion_matrix
from kdlnet.metrics.curves import Curves, curves
from kdlnet.metrics.matching import Match, match
from kdlnet.metrics.result import ImageResult
from kdlnet.report.confusion import confusion_matrix as draw_confusion
from kdlnet.report.draw import draw_match
from kdlnet.report.images import save_image
from kdlnet.report.plots import pr_curves, score_curves
from kdlnet.report.sheet import contact_sheet
from kdlnet.types import Preprocess

_IOU = 0.5
_PICTURES = 24


def write_inspection(
    folder: Path,
    results: Sequence[ImageResult],
    names: Sequence[str],
    preprocess: Preprocess,
    pictures: bool = True,
    on_event: Listener = ignore,
) -> dict[str, Any]:
    """Writes plots and pictures into ``folder``; what they show, as JSON values.

    Boxes count from the score with the best F1 over all classes on this split. The pictures are
    the images with most false and missed boxes first.
    """
    measured = curves(results, names, _IOU)
    score = measured.overall.best.score if measured.overall.best else 0.25
    matrix = confusion_matrix(results, len(names), _IOU, score)
    matches = [match(result, _IOU, score) for result in results]
    if pictures:
        pr_curves(folder / "precision-recall.png", measured)
        score_curves(folder / "scores.png", measured)
        draw_confusion(folder / "confusion.png", matrix, names)
        _draw_worst(folder, results, matches, names, preprocess, on_event)
    return _summary(measured, score, matches) | {"confusion": matrix.tolist()}


def _summary(measured: Curves, score: float, matches: Sequence[Match]) -> dict[str, Any]:
    best = {c.name: c.best.score for c in measured.per_class if c.best is not None}
    return {
        "operating_point": {
            "score": score,
            "iou": _IOU,
            "true": sum(len(found.true) for found in matches),
            "false": sum(len(found.false) for found in matches),
            "missed": sum(len(found.missed) for found in matches),
        },
        "best_f1_score_per_class": best,
    }


def _draw_worst(
    folder: Path,
    results: Sequence[ImageResult],
    matches: Sequence[Match],
    names: Sequence[str],
    preprocess: Preprocess,
    on_event: Listener,
) -> None:
    faults = [len(found.false) + len(found.missed) for found in matches]
    order = sorted(range(len(results)), key=lambda i: -faults[i])[:_PICTURES]
    drawn, captions = [], []
    for rank, index in enumerate(order, start=1):
        path = Path(results[index].name)
        picture = draw_match(
            read_image(path), results[index], matches[index], names, window=preprocess.window
        )
        save_image(folder / "pictures" / f"{rank:02d}-{path.stem}.png", picture)
        drawn.append(picture)
        captions.append(path.name)
        on_event(Progress("draw pictures", rank, len(order)))
    save_image(folder / "worst.png", contact_sheet(drawn, captions))
