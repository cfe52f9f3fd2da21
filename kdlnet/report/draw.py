"""Detections, true, false and missed boxes drawn on their image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kdlnet.metrics.matching import Match
from kdlnet.metrics.result import ImageResult
from kdlnet.report.canvas import DASHED, DOTTED, SOLID, Mark, add_legend, draw_marks
from kdlnet.report.colors import FALSE, MISSED, REGION, TRUE, Color, palette
from kdlnet.report.images import Image, to_display
from kdlnet.types import Roi


def draw_detections(
    image: NDArray[Any],
    boxes: ArrayLike,
    labels: ArrayLike,
    scores: ArrayLike | None,
    names: Sequence[str],
    *,
    colors: Sequence[Color] | None = None,
    window: tuple[float, float] | None = None,
    roi: Roi | None = None,
) -> Image:
    """Boxes with class name and score on a copy of the image, one colour a class.

    A label that would hide another or a box is left out, never that of the best score.

    ``image`` (H, W), (H, W, 1) or (H, W, 3) RGB, uint8 or deeper; ``window`` holds the
    intensities shown as black and white (see :func:`~kdlnet.report.images.to_display`).
    ``boxes`` (N, 4) xyxy in pixels of that image; ``scores`` None for true boxes. Returns RGB
    uint8 (H * f, W * f, 3): images with a short side under 400 are enlarged by a whole factor f.
    A region of interest ``roi`` has a grey frame.
    """
    boxes_N4 = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    labels_N = np.asarray(labels, dtype=np.int64).reshape(-1)
    colors = colors or palette(len(names))
    if scores is None:
        values = [""] * len(labels_N)
        order = np.arange(len(labels_N))
    else:
        scores_N = np.asarray(scores, dtype=np.float64).reshape(-1)
        values = [f" {score:.2f}" for score in scores_N]
        order = np.argsort(-scores_N, kind="stable")
    marks = [
        Mark(boxes_N4[n].tolist(), names[labels_N[n]] + values[n], colors[labels_N[n]])
        for n in order
    ]
    return draw_marks(to_display(image, window), marks + _region(roi))


def draw_match(
    image: NDArray[Any],
    result: ImageResult,
    match: Match,
    names: Sequence[str],
    *,
    window: tuple[float, float] | None = None,
    roi: Roi | None = None,
) -> Image:
    """What was found, wrongly called and missed on one image, with a legend below.

    True detections are green with a solid line, false ones red and dashed, missed true boxes
    yellow and dotted; labels say "false" and "missed" in words. ``image`` and the returned
    picture as in :func:`draw_detections`, the legend added below.
    """

    boxes, truth = result.boxes.tolist(), result.truth_boxes.tolist()
    classes = [names[label] for label in result.truth_labels]
    called = [
        f"{names[label]} {score:.2f}"
        for label, score in zip(result.labels, result.scores, strict=True)
    ]
    marks = [Mark(truth[t], f"missed {classes[t]}", MISSED, DOTTED) for t in match.missed]
    marks += [Mark(boxes[n], f"false {called[n]}", FALSE, DASHED) for n in match.false]
    marks += [Mark(boxes[n], called[n], TRUE) for n in match.true]
    picture = draw_marks(to_display(image, window), marks + _region(roi))
    return add_legend(
        picture,
        [
            (f"{len(match.true)} true", TRUE, SOLID),
            (f"{len(match.false)} false", FALSE, DASHED),
            (f"{len(match.missed)} missed", MISSED, DOTTED),
        ],
    )


def _region(roi: Roi | None) -> list[Mark]:
    """Drawn below all others."""
    return [] if roi is None else [Mark(roi, "", REGION, DASHED)]
