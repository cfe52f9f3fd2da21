"""Detections matched once, figures counted as often as wanted.

A set in which every image stands a number of times is a weight for each image; its figures are sums
of weights in one table (:func:`tabulate`). So a thousand resampled sets cost no new matching.
faster-coco-eval, which measures AP elsewhere, would match a thousand times; with every image
counted once the figures are its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from kdlnet.metrics.curves import RECALL_STEPS, limit_per_class
from kdlnet.metrics.matching import assign, by_score, class_iou, ranked
from kdlnet.metrics.result import Floats, ImageResult, Ints
from kdlnet.ops.limits import MAX_DETECTIONS

FIGURES = ("ap", "ap50", "ap75", "recall", "recall50")
IOUS = tuple(0.5 + 0.05 * step for step in range(10))
_IOU_50, _IOU_75 = 0, 5
_CELLS = 4_000_000  # numbers in one intermediate array


@dataclass(frozen=True, slots=True)
class ClassTable:
    """Detections of one class by falling score, cut down to those that found something.

    Precision has its peaks and recall its steps where a true box is found, so between two finds (H
    in all, at any IoU) only the number of calls matters. ``images`` (H,) is the image of each
    find, ``hits`` (10, H) says at which IoU thresholds it is one, ``calls`` (H, images) counts the
    detections of each image since the find before, this one included. ``truths`` (images,) counts
    true boxes.
    """

    images: Ints
    hits: NDArray[np.bool_]
    calls: csr_array
    truths: Ints


@dataclass(frozen=True, slots=True)
class Table:
    """One :class:`ClassTable` a class; ``truths`` (images, C) counts true boxes."""

    classes: tuple[ClassTable, ...]
    truths: Ints


def tabulate(results: Sequence[ImageResult], classes: int) -> Table:
    """Matches every image at every IoU threshold of COCO."""
    scores, labels, images, hits = [np.zeros(0)], [np.zeros(0, np.int64)], [], []
    truths = np.zeros((len(results), classes), dtype=np.int64)
    for index, result in enumerate(results):
        order = limit_per_class(ranked(result), result.labels, MAX_DETECTIONS)
        iou = class_iou(result, order)
        scores.append(result.scores[order])
        labels.append(result.labels[order])
        images.append(np.full(len(order), index))
        hits.append(np.stack([assign(iou, threshold) >= 0 for threshold in IOUS]))
        truths[index] = np.bincount(result.truth_labels, minlength=classes)
    falling = by_score(np.concatenate(scores))
    label = np.concatenate(labels)[falling]
    image = np.concatenate([np.zeros(0, np.int64), *images])[falling]
    hit = np.concatenate([np.zeros((len(IOUS), 0), bool), *hits], axis=1)[:, falling]
    tables = []
    for c in range(classes):
        mine = label == c
        tables.append(class_table(image[mine], hit[:, mine], truths[:, c]))
    return Table(tuple(tables), truths)


def class_table(images: Ints, hits: NDArray[np.bool_], truths: Ints) -> ClassTable:
    """From the image (N,) of each detection by falling score and where it is a hit (10, N)."""
    finds = np.flatnonzero(hits.any(axis=0))
    last = int(finds[-1]) + 1 if len(finds) else 0
    segment = np.searchsorted(finds, np.arange(last), side="left")
    shape = len(finds), len(truths)
    calls = csr_array((np.ones(last), (segment, images[:last])), shape=shape)
    return ClassTable(images[finds], hits[:, finds], calls, truths)


def figures_by_class(table: Table, weights: Floats) -> Floats:
    """``FIGURES`` (R, C, 5) when image i counts ``weights[r, i]`` times (R, images).

    nan for a class without true boxes.
    """
    found = [_class_figures(one, weights) for one in table.classes]
    return np.stack(found, axis=1) if found else np.zeros((len(weights), 0, len(FIGURES)))


def mean_over_classes(figures: Floats) -> Floats:
    """(R, C, 5) -> (R, 5): classes without true boxes do not enter; nan where none has any."""
    known = ~np.isnan(figures)
    count = known.sum(axis=1)
    total = np.where(known, figures, 0.0).sum(axis=1)
    mean: Floats = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return mean


def _class_figures(table: ClassTable, weights: Floats) -> Floats:
    """(R, 5), in parts that fit into memory."""
    parts = max(1, -(-len(weights) * max(1, len(table.images)) // _CELLS))
    pieces = np.array_split(weights, min(parts, max(1, len(weights))))
    return np.concatenate([_part(table, np.ascontiguousarray(piece.T)) for piece in pieces])


def _part(table: ClassTable, weights: Floats) -> Floats:
    """(images, R) -> (R, 5)."""
    total = (table.truths @ weights).astype(np.float64)
    figures = np.full((weights.shape[1], len(FIGURES)), np.nan)
    known = total > 0
    calls = np.cumsum(table.calls @ weights, axis=0)
    mine = weights[table.images]
    lines = [_at_iou(hits, mine, calls, np.where(known, total, 1.0)) for hits in table.hits]
    ap, recall = (np.stack(values) for values in zip(*lines, strict=True))
    rows = ap.mean(axis=0), ap[_IOU_50], ap[_IOU_75], recall.mean(axis=0), recall[_IOU_50]
    figures[known] = np.stack(rows, axis=1)[known]
    return figures


def _at_iou(
    hits: NDArray[np.bool_], weights: Floats, calls: Floats, total: Floats
) -> tuple[Floats, Floats]:
    """AP (R,) and recall (R,) at one IoU from weights and calls of all finds (H, R)."""
    if not hits.any():
        return np.zeros(len(total)), np.zeros(len(total))
    found = np.cumsum(weights[hits], axis=0)
    at = calls[hits]
    precision = np.divide(found, at, out=np.zeros_like(found), where=at > 0)
    envelope = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    recall = found / total
    # How many of COCO's 101 recall steps each find reaches, and how many of them it is first at.
    steps = np.searchsorted(RECALL_STEPS, recall, side="right")
    first = np.diff(steps, axis=0, prepend=0)
    return (envelope * first).sum(axis=0) / len(RECALL_STEPS), recall[-1]
