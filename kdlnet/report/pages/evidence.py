"""What a page carries so that the browser can count anew at another threshold: compact columns.

Matching is by falling score and never crosses classes, so that the boxes above any thresholds are
matched as they are among all: a true box counts as found from the score of its one finder on, and
the browser needs no geometry.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kdlnet.metrics.binomial import clopper_pearson
from kdlnet.metrics.matching import MATCH_IOU, match
from kdlnet.metrics.rates import Parts
from kdlnet.metrics.result import Floats, ImageResult, Ints

MOST_BOXES = 30_000
_MOST_TRUTHS = 40_000
_MOST_ENTRIES = 120_000
_MOST_ROWS = 40_000
_EVERY = 2_000
_GRID = 65_535


@dataclass(frozen=True)
class Boxes:
    """Detections from ``floor`` on and true boxes, flat, in the order of the images.

    Of each detection (N,): ``image``, ``label``, ``score`` and ``found``, the row of the true box
    that it found or -1; ``boxes`` (N, 4) in pixels of the original image. Of each true box (T,)
    ``truth_image``, ``truth_label``, ``truth_boxes`` and ``finder``: the score of the detection
    that found it, -inf for none.
    """

    floor: float
    image: Ints
    label: Ints
    score: Floats
    found: Ints
    boxes: Floats
    truth_image: Ints
    truth_label: Ints
    truth_boxes: Floats
    finder: Floats


def pool(results: Sequence[ImageResult], lowest: float) -> Boxes:
    """All boxes of all images from a ``floor`` on that keeps them few, at most ``lowest``."""
    floor = _floor([result.scores for result in results], lowest)
    rows = [_of_image(result, floor) for result in results]
    shift = np.cumsum([0, *(len(result.truth_labels) for result in results)])
    found = [np.where(f < 0, -1, f + start) for (_, f, _), start in zip(rows, shift, strict=False)]
    orders = [order for order, _, _ in rows]
    pairs = list(zip(results, orders, strict=True))
    return Boxes(
        floor,
        _numbers([len(order) for order in orders]),
        _joined([result.labels[order] for result, order in pairs], np.int64),
        _joined([result.scores[order] for result, order in pairs], np.float64),
        _joined(found, np.int64),
        _joined([result.boxes[order] for result, order in pairs], np.float64, 4),
        _numbers([len(result.truth_labels) for result in results]),
        _joined([result.truth_labels for result in results], np.int64),
        _joined([result.truth_boxes for result in results], np.float64, 4),
        _joined([finder for _, _, finder in rows], np.float64),
    )


def _floor(scores: Sequence[Floats], lowest: float) -> float:
    pooled = np.sort(_joined(scores, np.float64))[::-1]
    usual = float(pooled[MOST_BOXES]) if len(pooled) > MOST_BOXES else 0.0
    return float(np.float32(min(max(usual, 0.001), lowest)))  # as scores and thresholds meet


def _of_image(result: ImageResult, floor: float) -> tuple[Ints, Ints, Floats]:
    """Positions of the detections (K,) from ``floor`` on, the true box of each, and the finders."""
    matched = match(result, MATCH_IOU, floor)
    order = np.concatenate([matched.true, matched.false])
    found = np.concatenate([matched.found, np.full(len(matched.false), -1)])
    finder = np.full(len(result.truth_labels), -np.inf)
    finder[matched.found] = result.scores[matched.true]
    falling = np.argsort(-result.scores[order], kind="stable")
    return order[falling], found[falling], finder


def _numbers(lengths: Sequence[int]) -> Ints:
    return np.repeat(np.arange(len(lengths)), lengths)


def _joined(arrays: Sequence[NDArray[Any]], dtype: Any, columns: int | None = None) -> NDArray[Any]:
    shape = (0,) if columns is None else (0, columns)
    return np.concatenate([np.zeros(shape, dtype), *arrays]).astype(dtype)


def evidence(parts: Parts, boxes: Boxes, size: int) -> dict[str, Any] | None:
    """Columns for ``judge.js``; None for a set that no page of 5 MB can hold.

    ``size`` is the longest side of all images. ``boxes`` and ``truths`` are None where there are
    too many of them; the parts can be judged all the same.
    """
    part, label = np.nonzero(parts.scores >= np.float32(boxes.floor))
    shown, shows = np.nonzero(parts.shows)
    if len(part) + len(shown) > _MOST_ENTRIES:
        return None
    fits = len(boxes.score) <= 2 * MOST_BOXES and len(boxes.finder) <= _MOST_TRUTHS
    unit = _GRID / max(size, 1)
    return {
        "parts": len(parts.scores),
        "floor": boxes.floor,
        "unit": unit,
        "scores": {
            "part": column(part, "u4"),
            "label": column(label, "u2"),
            "score": column(parts.scores[part, label], "f4"),
        },
        "shows": {"part": column(shown, "u4"), "label": column(shows, "u2")},
        "boxes": _of_boxes(boxes, unit) if fits else None,
        "truths": _of_truths(boxes, unit) if fits else None,
    }


def _of_boxes(boxes: Boxes, unit: float) -> dict[str, str]:
    return {
        "image": column(boxes.image, "u4"),
        "label": column(boxes.label, "u2"),
        "score": column(boxes.score, "f4"),
        "found": column(boxes.found, "i4"),
        "rect": column(np.rint(boxes.boxes * unit), "u2"),
    }


def _of_truths(boxes: Boxes, unit: float) -> dict[str, str]:
    return {
        "image": column(boxes.truth_image, "u4"),
        "label": column(boxes.truth_label, "u2"),
        "finder": column(boxes.finder, "f4"),
        "rect": column(np.rint(boxes.truth_boxes * unit), "u2"),
    }


def column(values: ArrayLike, kind: str) -> str:
    """Numbers of one kind (``u2``, ``u4``, ``i4``, ``f4``, ``f8``), little-endian, in base64."""
    array = np.asarray(values)
    if kind == "u2":
        array = np.clip(array, 0, _GRID)
    return base64.b64encode(np.ascontiguousarray(array, dtype=f"<{kind}").tobytes()).decode()


def interval_tables(sizes: Sequence[int]) -> dict[str, dict[str, str]]:
    """Exact intervals of counts from 0 to each of ``sizes``: columns ``count``, ``low``, ``high``.

    Between two counts that are there an end is read off a straight line, to less than a millionth
    of itself. The first sizes matter most; what would make the page too heavy is left out.
    """
    tables, rows = {}, 0
    for size in dict.fromkeys(sizes):
        counts = _knots(size)
        if size and rows + len(counts) <= _MOST_ROWS:
            rows += len(counts)
            low, high = zip(*(clopper_pearson(count, size) for count in counts), strict=True)
            kinds = ((counts, "u4"), (low, "f8"), (high, "f8"))
            names = ("count", "low", "high")
            tables[str(size)] = dict(zip(names, (column(*kind) for kind in kinds), strict=True))
    return tables


def _knots(size: int) -> list[int]:
    """Every count near 0 and near ``size``, between them steps of a hundredth."""
    counts, count = {size // 2}, 0
    while count <= size // 2:
        counts.add(count)
        count += max(1, (count - _EVERY) // 100)
    return sorted(counts | {size - count for count in counts})
