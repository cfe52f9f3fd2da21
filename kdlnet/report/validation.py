"""What a person looks at after a validation: curves, confusion matrix, the worst images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kdlnet.events import Listener, Progress, ignore
from kdlnet.metrics.errors import Errors
from kdlnet.metrics.result import ImageResult
from kdlnet.report.confusion import confusion_matrix as draw_confusion
from kdlnet.report.draw import draw_match
from kdlnet.report.images import read_again, save_image
from kdlnet.report.plots import pr_curves, score_curves
from kdlnet.report.sheet import contact_sheet
from kdlnet.types import Preprocess

_PICTURES = 24


def draw_validation(
    folder: Path,
    results: Sequence[ImageResult],
    errors: Errors,
    names: Sequence[str],
    preprocess: Preprocess,
    on_event: Listener = ignore,
) -> None:
    """Plots and pictures into ``folder``: the images with most false and missed boxes first."""
    pr_curves(folder / "precision-recall.png", errors.curves)
    score_curves(folder / "scores.png", errors.curves)
    draw_confusion(folder / "confusion.png", errors.confusion, names)
    matches = errors.matches
    faults = [len(found.false) + len(found.missed) for found in matches]
    order = sorted(range(len(results)), key=lambda i: -faults[i])[:_PICTURES]
    drawn, captions = [], []
    for rank, index in enumerate(order, start=1):
        path = Path(results[index].name)
        image = read_again(path, on_event)
        if image is not None:
            picture = draw_match(
                image,
                results[index],
                matches[index],
                names,
                window=preprocess.window,
                roi=preprocess.roi,
            )
            save_image(folder / "pictures" / f"{rank:02d}-{path.stem}.png", picture)
            drawn.append(picture)
            captions.append(path.name)
        on_event(Progress("draw pictures", rank, len(order)))
    if drawn:
        save_image(folder / "worst.png", contact_sheet(drawn, captions))
