"""How sure a difference is: the paired bootstrap over images.

Detections are matched once (:func:`tabulate`); a resampled set is a number of copies for each
image, and its figures are weighted counts in the same table. faster-coco-eval, which measures AP
elsewhere, would match a thousand times; with every image counted once the figures are its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdlnet.metrics.curves import RECALL_STEPS, rank
from kdlnet.metrics.result import Floats, ImageResult, Ints

FIGURES = ("ap", "ap50", "recall")
_IOUS = tuple(0.5 + 0.05 * step for step in range(10))
_LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Table:
    """Detections of a set of images by class and falling score.

    ``images`` holds for each class the image of each detection (N,), ``hits`` whether it found a
    true box at each of the ten IoU thresholds (10, N); ``truths`` (images, C) counts true boxes.
    """

    images: tuple[Ints, ...]
    hits: tuple[NDArray[np.bool_], ...]
    truths: Ints


@dataclass(frozen=True, slots=True)
class Difference:
    """B minus A of one figure with its 95 % interval; ``a`` and ``b`` are means over the pairs.

    ``shown`` is True when the interval does not hold zero.
    """

    a: float
    b: float
    difference: float
    low: float
    high: float

    @property
    def shown(self) -> bool:
        return self.low > 0 or self.high < 0

    def to_dict(self) -> dict[str, Any]:
        """Builtins, ready for JSON."""
        return {**asdict(self), "shown": self.shown}


def tabulate(results: Sequence[ImageResult], classes: int, max_detections: int = 300) -> Table:
    """Matches every image at every IoU threshold of COCO."""
    rankings = [rank(results, classes, iou, max_detections) for iou in _IOUS]
    first = rankings[0]
    true = np.stack([ranking.true for ranking in rankings])
    mine = [first.labels == c for c in range(classes)]
    return Table(
        tuple(first.images[rows] for rows in mine),
        tuple(true[:, rows] for rows in mine),
        first.truths,
    )


def weighted_figures(table: Table, weights: Floats) -> Floats:
    """AP, AP50 and recall (3,) when image i counts ``weights[i]`` times (images,).

    With all weights 1 they are COCO's. Classes without true boxes do not enter; nan when none
    has any.
    """
    rows = []
    for images, hits, truths in zip(table.images, table.hits, table.truths.T, strict=True):
        total = float(weights @ truths)
        if total > 0:
            rows.append(_class_figures(hits, weights[images], total))
    return np.mean(rows, axis=0) if rows else np.full(len(FIGURES), np.nan)


def paired_bootstrap(
    pairs: Sequence[tuple[Table, Table]],
    groups: Sequence[int] | None = None,
    rounds: int = 1000,
    seed: int = 0,
) -> dict[str, Difference]:
    """B minus A over images, and over pairs where there are several (one a training seed).

    ``pairs`` are tables (A, B) of the same images. In each round images are drawn with
    replacement, the same for A and B and for all pairs; so are the pairs. Images of one group
    (``groups``: a number an image) are drawn together. The interval holds the middle 95 % of the
    rounds (percentile bootstrap, Efron and Tibshirani 1993, chapter 13).
    """
    images = len(pairs[0][0].truths)
    group = np.arange(images) if groups is None else np.unique(groups, return_inverse=True)[1]
    count = int(group.max()) + 1
    whole = np.array([_of_pair(pair, np.ones(images)) for pair in pairs]).mean(axis=0)
    drawn = np.empty((rounds, len(FIGURES)))
    for number in range(rounds):
        rng = np.random.Generator(np.random.Philox(key=np.array([seed, number], np.uint64)))
        copies = rng.multinomial(count, np.full(count, 1 / count))
        chosen = np.bincount(rng.integers(len(pairs), size=len(pairs)), minlength=len(pairs))
        weights = copies[group].astype(np.float64)
        found = [
            times * _of_pair(pair, weights)
            for pair, times in zip(pairs, chosen, strict=True)
            if times
        ]
        a, b = np.sum(found, axis=0) / len(pairs)
        drawn[number] = b - a
    edge = 100 * (1 - _LEVEL) / 2
    low, high = np.nanpercentile(drawn, [edge, 100 - edge], axis=0)
    return {
        name: Difference(*(float(value[i]) for value in (*whole, whole[1] - whole[0], low, high)))
        for i, name in enumerate(FIGURES)
    }


def _of_pair(pair: tuple[Table, Table], weights: Floats) -> Floats:
    """(2, 3): figures of A and of B."""
    return np.stack([weighted_figures(table, weights) for table in pair])


def _class_figures(hits: NDArray[np.bool_], weights: Floats, total: float) -> Floats:
    if not len(weights):
        return np.zeros(len(FIGURES))
    found = np.cumsum(hits * weights, axis=1)
    calls = np.cumsum(weights)
    recall = found / total
    precision = np.divide(found, calls, out=np.zeros_like(found), where=calls > 0)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    at_steps = [
        np.append(line, 0.0)[np.searchsorted(reached, RECALL_STEPS, side="left")].mean()
        for line, reached in zip(envelope, recall, strict=True)
    ]
    return np.array([np.mean(at_steps), at_steps[0], recall[:, -1].mean()])
